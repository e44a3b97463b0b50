"""Laws of frequency (cycles per pixel), alone and with an angle."""

from __future__ import annotations

from .tuning_law import Number, TuningLaw, band, constant, log_gaussian

FREQUENCY = (
    constant("frequency"),
    TuningLaw("power", "a*frequency**n", ("frequency",), ("a",), (Number("n", "power"),)),
    band("frequency"),
    TuningLaw(
        "difference of log-Gaussians",
        f"a*{log_gaussian('frequency', 'frequency0', 'sigma')} + b*{log_gaussian('frequency', 'frequency1', 'tau')}",
        ("frequency",),
        ("a", "b"),
        (
            Number("frequency0", "frequency"),
            Number("sigma", "log width"),
            Number("frequency1", "frequency"),
            Number("tau", "log width"),
        ),
        source="Hawken & Parker 1987, in log frequency",
    ),
)

GRATING = ("angle", "frequency")
_ANGLE = (Number("angle0", "half turn", 0), Number("kappa", "concentration", 0))
_FREQUENCY = (Number("frequency0", "frequency", 1), Number("sigma", "log width", 1))
_TURNED = "exp(kappa*(cos(2*(angle - angle0)) - 1))"
_TUNED = log_gaussian("frequency", "frequency0", "sigma")
GRATINGS = (
    constant(*GRATING),
    TuningLaw("angle alone", f"a*{_TURNED} + b", GRATING, ("a", "b"), _ANGLE),
    TuningLaw("frequency alone", f"a*{_TUNED} + b", GRATING, ("a", "b"), _FREQUENCY),
    TuningLaw(
        "product",
        f"a*{_TURNED}*{_TUNED} + b",
        GRATING,
        ("a", "b"),
        (*_ANGLE, *_FREQUENCY),
        source="Jones, Stepnoski & Palmer 1987",
    ),
    TuningLaw("sum", f"a*{_TURNED} + c*{_TUNED} + b", GRATING, ("a", "c", "b"), (*_ANGLE, *_FREQUENCY)),
)


BOUNDARY = ("angle", "f1", "f2")
_BOTH = (Number("frequency0", "frequency", 1), Number("sigma", "log width", 1))
_BEHIND, _BEFORE = (log_gaussian(name, "frequency0", "sigma") for name in ("f1", "f2"))
BOUNDARIES = (
    constant(*BOUNDARY),
    TuningLaw("sum of log-Gaussians", f"a*({_BEHIND} + {_BEFORE}) + b", BOUNDARY, ("a", "b"), _BOTH),
    TuningLaw(
        "sum of log-Gaussians x orientation",
        f"a*{_TURNED}*({_BEHIND} + {_BEFORE}) + b",
        BOUNDARY,
        ("a", "b"),
        (*_ANGLE, *_BOTH),
    ),
    TuningLaw(
        "difference of log-Gaussians x von Mises",
        f"a*exp(kappa*(cos(angle - angle0) - 1))*({_BEHIND} - {_BEFORE}) + b",
        BOUNDARY,
        ("a", "b"),
        (Number("angle0", "full turn", 0), Number("kappa", "concentration", 0), *_BOTH),
        source="Schubert et al. 2021, high-low frequency detectors",
    ),
)
