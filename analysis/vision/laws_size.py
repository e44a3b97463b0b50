"""Laws of how large a stimulus is (pixels): what is driven and what suppresses are summed over Gaussians of their own.

Without a stimulus there is no response, so there is no offset; a rectified unit may need some size to respond at all.
"""

from __future__ import annotations

from collections.abc import Callable

from .tuning_law import Number, TuningLaw, constant, rectified

CENTRE, SURROUND = Number("sigma", "width"), Number("tau", "wide")
DRIVE = (Number("a", "one"), Number("b", "level"))


def sizes(name: str, grown: Callable[[str], str]) -> tuple[TuningLaw, ...]:
    """Give the laws of a size; `grown` writes how much of a Gaussian of some width a stimulus of that size covers."""
    own, centre, surround = (name,), grown("sigma"), grown("tau")
    return (
        constant(name),
        TuningLaw("saturating", f"a*{centre}", own, ("a",), (CENTRE,)),
        TuningLaw("rectified saturating", rectified(f"(a*{centre} + b)"), own, (), (CENTRE, *DRIVE), gain=("a", "b")),
        TuningLaw(
            "difference of Gaussians",
            f"a*{centre} - c*{surround}",
            own,
            ("a", "c"),
            (CENTRE, SURROUND),
            source="DeAngelis, Freeman & Ohzawa 1994; Sceniak et al. 1999, 2001",
        ),
        TuningLaw(
            "ratio of Gaussians",
            f"a*{centre}/(1 + w*{surround})",
            own,
            ("a",),
            (CENTRE, SURROUND, Number("w", "weight")),
            source="Cavanaugh, Bair & Movshon 2002",
        ),
    )


def disc(name: str, width: str) -> str:
    """Write the share of a round Gaussian that a disc about its middle covers, of this radius."""
    return f"(1 - exp(-{name}**2/(2*{width}**2)))"


def bar(name: str, width: str) -> str:
    """Write the share of a bell along a bar that it covers, of this length.

    The hyperbolic tangent stands for the integral of a Gaussian, from which it is nowhere further than .02 in
    units of its width.
    """
    return f"tanh({name}/{width})"


SIZE = sizes("radius", lambda width: disc("radius", width))
LENGTH = sizes("length", lambda width: bar("length", width))
