"""Laws of angles: of an orientation, a direction and a hue (radians)."""

from __future__ import annotations

import math

from .tuning_law import Number, TuningLaw, constant, rectified


def circular(angle: str, turn: str, times: str, wrapped: str) -> tuple[TuningLaw, ...]:
    """Give the laws of an angle: `times` is 2 where it has no direction, `wrapped` its distance from the preferred."""
    preferred, half = Number(f"{angle}0", turn), math.pi / (2 if times else 1)
    cosine = f"cos({times}({angle} - {angle}0))"
    return (
        constant(angle),
        TuningLaw(
            "cosine",
            f"A + B*{cosine}",
            (angle,),
            ("A", "B"),
            (preferred,),
            flip=("B", f"{angle}0", half),
            source="Georgopoulos et al. 1982",
        ),
        TuningLaw(
            "von Mises",
            f"a*exp(kappa*({cosine} - 1)) + b",
            (angle,),
            ("a", "b"),
            (preferred, Number("kappa", "concentration")),
            source="Swindale 1998",
        ),
        TuningLaw(
            "wrapped Gaussian",
            f"a*exp(-({wrapped})**2/(2*sigma**2)) + b",
            (angle,),
            ("a", "b"),
            (preferred, Number("sigma", "angular width")),
            source="Carandini & Ferster 2000",
        ),
    )


HUE = (
    constant("hue"),
    TuningLaw(
        "cosine",
        "A + B*cos(hue - hue0)",
        ("hue",),
        ("A", "B"),
        (Number("hue0", "full turn"),),
        flip=("B", "hue0", math.pi),
        source="Derrington, Krauskopf & Lennie 1984",
    ),
    TuningLaw(
        "double cosine",
        "A + B*cos(2*(hue - hue0))",
        ("hue",),
        ("A", "B"),
        (Number("hue0", "half turn"),),
        flip=("B", "hue0", math.pi / 2),
    ),
    TuningLaw(
        "rectified cosine",
        rectified("(a*cos(hue - hue0) + b)"),
        ("hue",),
        (),
        (Number("hue0", "full turn"), Number("a", "one"), Number("b", "level")),
        gain=("a", "b"),
        flip=("a", "hue0", math.pi),
        source="Kiper, Fenstemaker & Gegenfurtner 1997",
    ),
)
