"""Laws of contrast (0 to 1), and of two contrasts at once: of a plaid, or of a centre and what surrounds it."""

from __future__ import annotations

from .tuning_law import Number, TuningLaw, constant, rectified

CONTRAST = (
    constant("contrast"),
    TuningLaw("line", "a*contrast + b", ("contrast",), ("a", "b")),
    TuningLaw(
        "rectified line",
        rectified("(a*contrast + b)"),
        ("contrast",),
        (),
        (Number("a", "sign"), Number("b", "threshold")),
        gain=("a", "b"),
    ),
    TuningLaw(
        "line with a ceiling",
        "a*(abs(contrast - start) - abs(contrast - end)) + b",
        ("contrast",),
        ("a", "b"),
        (Number("start", "place"), Number("end", "place")),
        source="a rectifier that is cut off: Krizhevsky 2010",
    ),
    TuningLaw("power", "a*contrast**n + b", ("contrast",), ("a", "b"), (Number("n", "exponent"),)),
    TuningLaw(
        "hyperbolic ratio",
        "a*contrast**n/(contrast**n + half**n) + b",
        ("contrast",),
        ("a", "b"),
        (Number("n", "exponent"), Number("half", "half way")),
        source="Naka & Rushton 1966; Albrecht & Hamilton 1982",
    ),
)

BOTH = ("contrast1", "contrast2")
CONTRASTS = (
    constant(*BOTH),
    TuningLaw("linear sum", "a*contrast1 + c*contrast2 + b", BOTH, ("a", "c", "b")),
    TuningLaw(
        "rectified sum",
        rectified("(a*contrast1 + c*contrast2 + b)"),
        BOTH,
        (),
        (Number("a", "share", 0), Number("c", "share", 1), Number("b", "threshold", 0)),
        gain=("a", "c", "b"),
    ),
    TuningLaw(
        "power sum",
        "a*contrast1**n + c*contrast2**n + b",
        BOTH,
        ("a", "c", "b"),
        (Number("n", "exponent"),),
        source="Adelson & Bergen 1985, with n = 2",
    ),
    TuningLaw(
        "divisive",
        "a*contrast1**n/(half**n + contrast1**n + w*contrast2**n) + b",
        BOTH,
        ("a", "b"),
        (Number("n", "exponent"), Number("half", "half way"), Number("w", "weight")),
        source="Heeger 1992; Carandini, Heeger & Movshon 1997",
    ),
    TuningLaw(
        "divisive sum",
        "(a*contrast1**n + c*contrast2**n)/(half**n + contrast1**n + contrast2**n) + b",
        BOTH,
        ("a", "c", "b"),
        (Number("n", "exponent"), Number("half", "half way")),
        source="Busse, Wade & Carandini 2009",
    ),
)
