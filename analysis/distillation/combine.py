"""Find two variables that enter a function through one combination of them only, from its slopes.

If f = F(a(x) + c b(y), …), then f_x / f_y = a'(x) / (c b'(y)) whatever F is: a ratio of partial derivatives does
not know the outer function. So one variable may stand for both, also where a function is known up to a link only.
(For F = identity: Udrescu et al. 2020, AI Feynman 2.0, arXiv 2006.10782, section III.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Apply, Expression
from ..formulas.simplify import simplify
from .problem import Field

LARGEST = 0.2
"""Residual, as a share of the slopes at a point, above which no two variables are merged."""
ALWAYS = 0.01
"""Residual that networks are taken to share, however little they disagree."""
NOISES = 2.5
"""Residual, in standard errors of the lineages' mean, up to which a combination may be theirs."""
CERTAIN = 1.6
"""Residual, in the same unit, up to which it is: mistakes that networks make apart leave about 1."""
WARY = 3.0
"""Standard errors of a slope that weigh as much as the slope itself: where lineages disagree, points count less."""
ROUNDS = 4
"""So often weights and ratio are set anew; they settle in two or three."""
MIXED = 0.4
"""Cost of x · exp(b(y)): over a short range much else looks like it."""
NEAR = 0.04
"""A fitted ratio as near to a simple one starts there; the fit of the whole corrects it."""

Column = Float[np.ndarray, " samples"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a variable contributes to a sum: a function whose slope is factor · above / below; cost ranks equals."""

    write: Callable[[Expression], Expression]
    factor: float
    above: Callable[[Column], Column]
    below: Callable[[Column], Column]
    cost: float
    positive: bool = False


def _same(x: Expression) -> Expression:
    return x


def _one(x: Column) -> Column:
    return np.ones_like(x)


def _itself(x: Column) -> Column:
    return x


LOGARITHM = Part(lambda x: Apply("log", (x,)), 1.0, _one, _itself, 0.0)
PARTS: dict[str, Part] = {
    "plain": Part(_same, 1.0, _one, _one, 0.0),
    "log": LOGARITHM,
    "square": Part(lambda x: x**2.0, 2.0, _itself, _one, 0.2),
    "reciprocal": Part(lambda x: 1.0 / x, -1.0, _one, np.square, 0.4),
    "over square": Part(lambda x: 1.0 / x**2.0, -2.0, _one, lambda x: x**3, 0.5),
    "root": Part(lambda x: Apply("sqrt", (x,)), 0.5, _one, np.sqrt, 0.5, True),
}


PAIRS = tuple(
    (one, other)
    for one, other in product(PARTS.values(), repeat=2)
    if (one is LOGARITHM) == (other is LOGARITHM) or {one, other} & {PARTS["plain"], PARTS["square"]}
)
"""What is added to what; of products with an exponential only the common ones, since much looks like them."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Two compounds of a problem, by their places, that one expression can stand for.

    `residual` is in standard errors, see CERTAIN; `cost` tells simple combinations from others as good.
    """

    left: int
    right: int
    expression: Expression
    residual: float
    cost: float

    @property
    def certain(self) -> bool:
        """Whether nothing but the networks' own mistakes is left."""
        return bool(self.residual <= CERTAIN)


def merges(field: Field) -> list[Merge]:
    """List the combinations that the slopes allow, the surest first."""
    pairs = combinations(range(field.columns.shape[1]), 2)
    found = [merge for left, right in pairs for merge in _of_pair(field, left, right)]
    return sorted(found, key=lambda merge: max(merge.residual, 1.0) + merge.cost)


def _of_pair(field: Field, left: int, right: int) -> Iterator[Merge]:
    x, y = field.columns[:, left], field.columns[:, right]
    for one, other in PAIRS:
        if (one.positive and x.min() <= 0) or (other.positive and y.min() <= 0):
            continue
        slopes_x = field.partials[:, :, left] * one.below(x) * other.above(y) / one.factor
        slopes_y = field.partials[:, :, right] * other.below(y) * one.above(x) / other.factor
        ratio, residual, noise = _ratio(slopes_x, slopes_y)
        if residual > min(LARGEST, NOISES * noise):
            continue
        expression = _write(field, (left, one), (right, other), ratio)
        if expression is not None:
            mixed = MIXED if (one is LOGARITHM) != (other is LOGARITHM) else 0.0
            yield Merge(left, right, simplify(expression), residual / noise, one.cost + other.cost + mixed)


def _ratio(
    slopes_x: Float[np.ndarray, "lineages samples"], slopes_y: Float[np.ndarray, "lineages samples"]
) -> tuple[float, float, float]:
    """Give c of slopes_y = c · slopes_x, and what is left as a share of the slopes: of their mean, and as its noise.

    Every point counts by its direction, those less where the lineages disagree.
    """
    x, y = slopes_x.mean(axis=0), slopes_y.mean(axis=0)
    few = len(slopes_x) < 2
    noise_x, noise_y = (0.1 * np.abs(x), 0.1 * np.abs(y)) if few else map(_error, (slopes_x, slopes_y))
    with np.errstate(all="ignore"):
        ratio = float(np.median(np.abs(y)) / np.median(np.abs(x)))
        for _ in range(ROUNDS):
            size = np.sqrt(np.square(ratio * x) + np.square(y))
            unsure = np.sqrt(np.square(ratio * noise_x) + np.square(noise_y))
            weight = 1.0 / np.square(np.hypot(size, WARY * unsure))
            share_x, share_y, both = (float(weight @ part) for part in (x * x, y * y, x * y))
            ratio = float(np.copysign(np.sqrt(share_y / share_x), both))
        seen = weight @ np.square(size) + 1e-300
        rest = float(np.sqrt(weight @ np.square(ratio * x - y) / seen))
        noise = float(np.sqrt(weight @ np.square(unsure) / seen))
    return (ratio, rest, np.hypot(noise, ALWAYS)) if np.isfinite(ratio) and ratio else (1.0, np.inf, 1.0)


def _error(slopes: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, " samples"]:
    return np.asarray(slopes.std(axis=0, ddof=1) / len(slopes) ** 0.5)


def _write(field: Field, left: tuple[int, Part], right: tuple[int, Part], ratio: float) -> Expression | None:
    """Write a(x) + c b(y), logarithms as products."""
    (place_x, one), (place_y, other) = left, right
    x, y = (field.problem.compounds[place].expression for place in (place_x, place_y))
    ratio = near_simple(ratio)
    if one is LOGARITHM and other is LOGARITHM:
        return _product(field, place_x, place_y, ratio)
    if one is LOGARITHM:
        return x * Apply("exp", (ratio * other.write(y),))
    if other is LOGARITHM:
        return y * Apply("exp", (near_simple(1 / ratio) * one.write(x),))
    return one.write(x) + ratio * other.write(y)


def _product(field: Field, left: int, right: int, ratio: float) -> Expression | None:
    """Write x · y^c: quotients as what is mostly below 1, of numbers that change sign whole powers only."""
    if abs(ratio) < 1:
        left, right, ratio = right, left, near_simple(1 / ratio)
    x, y = (field.problem.compounds[place].expression for place in (left, right))
    if ratio == -1:
        above, below = (float(np.median(np.abs(field.columns[:, place]))) for place in (left, right))
        return x / y if above <= below else y / x
    if ratio != round(ratio) and not (field.columns[:, [left, right]] > 0).all():
        return None
    return x / y**-ratio if ratio < 0 else x * y**ratio


def near_simple(value: float) -> float:
    """Take a ratio for the small fraction that it is near to."""
    for denominator in (1, 2, 3):
        simple = round(value * denominator) / denominator
        if simple and abs(simple) <= 6 and abs(value - simple) <= NEAR * abs(simple) / denominator:
            return simple
    return value
