"""What a law of tuning is: an expression in coordinates and in numbers, and where to start looking for those."""

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


def constant(*coordinates: str) -> TuningLaw:
    """Give the law of what does not depend on any of these coordinates."""
    return TuningLaw("constant", "b", coordinates, ("b",))


def rectified(argument: str) -> str:
    """Write max(0, z)."""
    return f"0.5*({argument} + abs({argument}))"


def log_gaussian(name: str, centre: str, width: str) -> str:
    """Write a Gaussian of the logarithm of a coordinate, 1 at its top."""
    return f"exp(-log({name}/{centre})**2/(2*{width}**2))"


def band(name: str) -> TuningLaw:
    """Give the law of a band on a logarithmic axis."""
    return TuningLaw(
        "log-Gaussian",
        f"a*{log_gaussian(name, f'{name}0', 'sigma')} + b",
        (name,),
        ("a", "b"),
        (Number(f"{name}0", "frequency"), Number("sigma", "log width")),
        source="De Valois et al. 1982",
    )
