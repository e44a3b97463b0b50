"""Textbook laws of tuning: how a unit's response may depend on the coordinates of a stimulus.

Each is an expression in coordinates and named numbers. Which of a unit's numbers are linear, and where the others may
lie, stands beside it: `tuning_fit` looks through a grid of those for a start and solves the linear ones. max(0, z) is
written 0.5*(z + abs(z)). A law is one entry of LAWS, under the kinds of its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Expression, variables
from ..formulas.parsing import parse

Column = Float[np.ndarray, " samples"]
Starts = Float[np.ndarray, " starts"]


@dataclass(frozen=True, slots=True)
class Role:
    """What a number that is not linear means: where to start, given its coordinate's values, and its bounds.

    `low` and `high` are in units of what `unit` gives for the coordinate; a number of a circle comes back in [0, turn).
    """

    starts: Callable[[Column], Starts]
    low: float = -math.inf
    high: float = math.inf
    unit: Callable[[Column], float] = lambda column: 1.0
    turn: float = 0.0


def _span(column: Column) -> float:
    return float(np.ptp(column)) or 1.0


def _largest(column: Column) -> float:
    return float(np.abs(column).max()) or 1.0


def _around(turn: float) -> Callable[[Column], Starts]:
    return lambda column: np.linspace(0.0, turn, 12, endpoint=False)


def _fixed(*values: float) -> Callable[[Column], Starts]:
    return lambda column: np.array(values)


def _spans(*values: float) -> Callable[[Column], Starts]:
    return lambda column: _span(column) * np.array(values)


def _log_places(column: Column) -> Starts:
    positive = column[column > 0]
    return np.geomspace(positive.min(), positive.max(), 8) if len(positive) else np.full(1, np.nan)


def _offsets(column: Column) -> Starts:
    """Give thresholds of a rectifier whose slope is 1 or -1: all along the coordinate, and one that it never meets."""
    places = np.linspace(column.min() - _span(column), column.max(), 13)[:-1]
    return np.concatenate([-places, places[places > column.min()]])


ROLES: dict[str, Role] = {
    "half turn": Role(_around(math.pi), turn=math.pi),
    "full turn": Role(_around(2 * math.pi), turn=2 * math.pi),
    "concentration": Role(_fixed(0.5, 2.0, 8.0), 1e-3, 200.0),
    "angular width": Role(_fixed(0.15, 0.35, 0.7), 0.01, 5.0),
    "frequency": Role(_log_places, 0.01, 4.0, _largest),
    "log width": Role(_fixed(0.3, 0.6, 1.2), 0.03, 5.0),
    "place": Role(lambda column: np.linspace(column.min(), column.max(), 8)),
    "width": Role(_spans(0.08, 0.2, 0.45), 0.005, 5.0, _span),
    "wide": Role(_spans(0.15, 0.35, 0.7), 0.005, 5.0, _span),
    "exponent": Role(_fixed(0.5, 1.0, 2.0, 3.5), 0.05, 12.0),
    "power": Role(_fixed(-2.0, -1.0, -0.5, 0.5, 1.0, 2.0), -8.0, 8.0),
    "half way": Role(_spans(0.1, 0.3, 0.7), 1e-3, 20.0, _span),
    "weight": Role(_fixed(0.1, 0.5, 1.0, 3.0), 0.0, 100.0),
    "sign": Role(_fixed(1.0, -1.0)),
    "share": Role(_fixed(-1.0, -0.5, 0.0, 0.5, 1.0)),
    "one": Role(_fixed(1.0)),
    "threshold": Role(_offsets),
    "level": Role(_fixed(-0.8, -0.4, 0.0, 0.4, 0.8, 1.5)),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a law that is not linear: its role, and the place of the coordinate that it is about."""

    name: str
    role: str
    coordinate: int = 0


@dataclass(frozen=True, slots=True)
class TuningLaw:
    """A law of tuning: `text` in its coordinates and in numbers.

    It is linear in the numbers `linear`; those of `gain` taken k times as large, k > 0, give k times the response.
    `flip` names a number that can be made positive by turning an angle, that angle, and by how much.
    """

    name: str
    text: str
    coordinates: tuple[str, ...]
    linear: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    gain: tuple[str, ...] = ()
    flip: tuple[str, str, float] | None = None
    source: str = ""

    @property
    def expression(self) -> Expression:
        """Give the tree, in which coordinates and numbers are variables."""
        return parse(self.text)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name the numbers in the order in which the text has them."""
        return tuple(name for name in variables(self.expression) if name not in self.coordinates)

    @property
    def nonlinear(self) -> tuple[str, ...]:
        """Name the numbers that are not linear."""
        return tuple(number.name for number in self.numbers)


def _constant(*coordinates: str) -> TuningLaw:
    return TuningLaw("constant", "b", coordinates, ("b",))


def _rectified(argument: str) -> str:
    return f"0.5*({argument} + abs({argument}))"


def _circular(angle: str, turn: str, times: str, wrapped: str) -> tuple[TuningLaw, ...]:
    """Give the laws of an angle: `times` is 2 where it has no direction, `wrapped` its distance from the preferred."""
    preferred, half = Number(f"{angle}0", turn), math.pi / (2 if times else 1)
    cosine = f"cos({times}({angle} - {angle}0))"
    return (
        _constant(angle),
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


def _log_gaussian(name: str, centre: str, width: str) -> str:
    return f"exp(-log({name}/{centre})**2/(2*{width}**2))"


def _band(name: str) -> TuningLaw:
    return TuningLaw(
        "log-Gaussian",
        f"a*{_log_gaussian(name, f'{name}0', 'sigma')} + b",
        (name,),
        ("a", "b"),
        (Number(f"{name}0", "frequency"), Number("sigma", "log width")),
        source="De Valois et al. 1982",
    )


FREQUENCY = (
    _constant("frequency"),
    TuningLaw("power", "a*frequency**n", ("frequency",), ("a",), (Number("n", "power"),)),
    _band("frequency"),
    TuningLaw(
        "difference of log-Gaussians",
        f"a*{_log_gaussian('frequency', 'frequency0', 'sigma')} + b*{_log_gaussian('frequency', 'frequency1', 'tau')}",
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

HUE = (
    _constant("hue"),
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
        _rectified("(a*cos(hue - hue0) + b)"),
        ("hue",),
        (),
        (Number("hue0", "full turn"), Number("a", "one"), Number("b", "level")),
        gain=("a", "b"),
        flip=("a", "hue0", math.pi),
        source="Kiper, Fenstemaker & Gegenfurtner 1997",
    ),
)

CONTRAST = (
    _constant("contrast"),
    TuningLaw("line", "a*contrast + b", ("contrast",), ("a", "b")),
    TuningLaw(
        "rectified line",
        _rectified("(a*contrast + b)"),
        ("contrast",),
        (),
        (Number("a", "sign"), Number("b", "threshold")),
        gain=("a", "b"),
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

CURVATURE = (
    _constant("curvature"),
    TuningLaw(
        "Gaussian",
        "a*exp(-(curvature - curvature0)**2/(2*sigma**2)) + b",
        ("curvature",),
        ("a", "b"),
        (Number("curvature0", "place"), Number("sigma", "width")),
        source="Pasupathy & Connor 2001",
    ),
    _band("curvature"),
)

BOTH = ("contrast1", "contrast2")
CONTRASTS = (
    _constant(*BOTH),
    TuningLaw("linear sum", "a*contrast1 + c*contrast2 + b", BOTH, ("a", "c", "b")),
    TuningLaw(
        "rectified sum",
        _rectified("(a*contrast1 + c*contrast2 + b)"),
        BOTH,
        (),
        (Number("a", "share", 0), Number("c", "share", 1), Number("b", "threshold", 0)),
        gain=("a", "c", "b"),
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


def _blob(places: str, width: str) -> str:
    return f"exp(-({places})/(2*{width}**2))"


def _spots(coordinates: tuple[str, ...]) -> tuple[TuningLaw, ...]:
    """Give the laws of a place on a line or in the plane."""
    centre = tuple(Number(f"{name}0", "place", i) for i, name in enumerate(coordinates))
    apart = " + ".join(f"({name} - {name}0)**2" for name in coordinates)
    return (
        _constant(*coordinates),
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


GRATING = ("angle", "frequency")
_ANGLE = (Number("angle0", "half turn", 0), Number("kappa", "concentration", 0))
_FREQUENCY = (Number("frequency0", "frequency", 1), Number("sigma", "log width", 1))
_TURNED = "exp(kappa*(cos(2*(angle - angle0)) - 1))"
_TUNED = _log_gaussian("frequency", "frequency0", "sigma")
GRATINGS = (
    _constant(*GRATING),
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

LAWS: dict[str, tuple[TuningLaw, ...]] = {
    "orientation": _circular("angle", "half turn", "2*", "atan(tan(angle - angle0))"),
    "direction": _circular("angle", "full turn", "", "2*atan(tan((angle - angle0)/2))"),
    "frequency": FREQUENCY,
    "hue": HUE,
    "contrast": CONTRAST,
    "curvature": CURVATURE,
    "contrast contrast": CONTRASTS,
    "position": _spots(("x",)),
    "position position": _spots(("x", "y")),
    "orientation frequency": GRATINGS,
}
"""The laws that race, under the kinds of their coordinates in order: radians for angles and hues (an orientation
repeats after pi, a direction and a hue after 2 pi), cycles per pixel, contrast 0 to 1, pixels."""


def laws_of(*kinds: str) -> tuple[TuningLaw, ...]:
    """Give the laws of these kinds of coordinates in order; none where the library has none."""
    return LAWS.get(" ".join(kinds), ())
