"""Laws of places (pixels), of curvature (1/pixel) and of corners."""

from __future__ import annotations

from .tuning_law import Number, TuningLaw, band, constant, log_gaussian

CURVATURE = (
    constant("curvature"),
    TuningLaw(
        "Gaussian",
        "a*exp(-(curvature - curvature0)**2/(2*sigma**2)) + b",
        ("curvature",),
        ("a", "b"),
        (Number("curvature0", "place"), Number("sigma", "width")),
        source="Pasupathy & Connor 2001",
    ),
    band("curvature"),
)


def _blob(places: str, width: str) -> str:
    return f"exp(-({places})/(2*{width}**2))"


def spots(coordinates: tuple[str, ...]) -> tuple[TuningLaw, ...]:
    """Give the laws of a place on a line or in the plane."""
    centre = tuple(Number(f"{name}0", "place", i) for i, name in enumerate(coordinates))
    apart = " + ".join(f"({name} - {name}0)**2" for name in coordinates)
    return (
        constant(*coordinates),
        TuningLaw(
            "Gaussian",
            f"a*{_blob(apart, 'sigma')} + b",
            coordinates,
            ("a", "b"),
            (*centre, Number("sigma", "width")),
        ),
        TuningLaw(
            "difference of Gaussians",
            f"a*{_blob(apart, 'sigma')} + c*{_blob(apart, 'tau')} + b",
            coordinates,
            ("a", "c", "b"),
            (*centre, Number("sigma", "width"), Number("tau", "wide")),
            source="Rodieck 1965; Sceniak et al. 1999",
        ),
    )


CORNER = ("angle", "roundness")
_POINTING = "exp(kappa*(cos(angle - angle0) - 1))"
_ROUND = log_gaussian("roundness", "roundness0", "sigma")
_WAY = (Number("angle0", "full turn", 0), Number("kappa", "concentration", 0))
_TIP = (Number("roundness0", "frequency", 1), Number("sigma", "log width", 1))
CORNERS = (
    constant(*CORNER),
    TuningLaw("angle alone", f"a*{_POINTING} + b", CORNER, ("a", "b"), _WAY),
    TuningLaw("roundness alone", f"a*{_ROUND} + b", CORNER, ("a", "b"), _TIP),
    TuningLaw(
        "von Mises x log-Gaussian",
        f"a*{_POINTING}*{_ROUND} + b",
        CORNER,
        ("a", "b"),
        (*_WAY, *_TIP),
        source="Pasupathy & Connor 2001",
    ),
)
