"""Pool one skeleton over all lineages: which of its numbers they share, and which each has for itself.

Networks trained on one law give slightly different numbers, since each makes mistakes of its own. A number is split
only where the lineages' values differ by more than such mistakes explain: an F-test between the nested fits, one
value for all and one for each. Mistakes are smooth, so neighbouring points repeat each other; how much of
a mistake falls along a number's direction is learnt from what the fits leave over (see `mistakes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import f as fisher

from .compiled import Compiled, compile_expression
from .expression import Constant, Expression, constants, exponents
from .fit import fit
from .least_squares import levenberg_marquardt
from .mistakes import SAME, Mistakes, learn_mistakes
from .target import Sample, Target

LEVEL = 0.05
POINTS = 192
"""More points than this tell next to nothing more: residuals of networks are smooth."""

STEPS = 25

Numbers = Float[np.ndarray, "lineages constants"]


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the skeleton, or of the link that lineages need: one value for all, or one for each.

    `each` lists the values of the lineages where it is not shared; `value` is then their mean. `F` and `p` hold
    one value for each against one for all, when the numbers that were split before are each lineage's own.
    """

    value: float
    each: tuple[float, ...]
    F: float
    p: float

    @property
    def shared(self) -> bool:
        """Whether one value serves all lineages."""
        return not self.each


@dataclass(frozen=True, slots=True)
class Pooled:
    """One skeleton over all lineages: its numbers from left to right, and the affine link scale · f + offset.

    `linked` says whether lineages need scales or offsets of their own beside the numbers. `F` and `p` are those of
    the number that differs most, p for as many tests as were made. `effective` is how many independent
    points the samples are worth.
    """

    numbers: tuple[Number, ...]
    scale: Number
    offset: Number
    linked: bool
    F: float
    p: float
    effective: float


def pool(target: Target, expression: Expression, *, level: float = LEVEL) -> Pooled:
    """Tell which numbers all lineages share and which each has for itself, by nested fits.

    Numbers are split one after the other, the most different first, until the next is not significant after
    Bonferroni's correction for those left. A single lineage shares everything with itself.
    """
    sample = _thin(target.fit)
    linked = Constant(1.0) * fit(expression, sample.columns, sample.values.mean(axis=0)).expression + Constant(0.0)
    model = _Model(linked, sample)
    if len(sample.values) < 2 or not np.isfinite(model.values(model.start)).all():
        return _report(model.start, (), {}, math.nan)
    mistakes = model.mistakes()
    numbers, own, tests = model.start, list[int](), dict[int, tuple[float, float]]()
    while True:
        found = {place: model.test(place, own, numbers, mistakes) for place in model.places if place not in own}
        tests |= {place: test for place, test in found.items() if place not in own}
        best = _most_different(found, links=(0, model.count - 1))
        if best is None or found[best][1] * len(found) > level:
            return _report(numbers, own, tests, mistakes.effective)
        own.append(best)
        numbers = model.fit(own, numbers)


def _thin(sample: Sample) -> Sample:
    """Take every so manieth point, POINTS in all."""
    kept = np.linspace(0, len(sample.inputs) - 1, min(POINTS, len(sample.inputs))).round().astype(int)
    columns = {name: column[kept] for name, column in sample.columns.items()}
    return Sample(sample.inputs[kept], columns, sample.values[:, kept])


def _most_different(found: dict[int, tuple[float, float]], *, links: tuple[int, int]) -> int | None:
    """Name the most different number; a link only where no number of the skeleton does as well."""
    inside = [place for place in found if place not in links]
    ranked = sorted(found, key=lambda place: (found[place][1], -found[place][0]))
    if not ranked:
        return None
    first = ranked[0]
    rivals = [place for place in inside if found[place][0] >= 0.98 * found[first][0]]
    return max(rivals, key=lambda place: found[place][0]) if first in links and rivals else first


def _report(numbers: Numbers, own: Sequence[int], tests: dict[int, tuple[float, float]], effective: float) -> Pooled:
    def number(place: int) -> Number:
        values = numbers[:, place]
        each = tuple(map(float, values)) if place in own else ()
        return Number(float(values.mean()), each, *tests.get(place, (math.nan, math.nan)))

    places, last = range(numbers.shape[1]), numbers.shape[1] - 1
    first = own[0] if own else min(tests, key=lambda place: tests[place][1], default=None)
    size, p = (math.nan, math.nan) if first is None else tests[first]
    return Pooled(
        tuple(number(place) for place in places if place not in (0, last)),
        number(0),
        number(last),
        0 in own or last in own,
        size,
        min(1.0, p * len(tests)),
        effective,
    )


class _Model:
    """A linked skeleton at the points of a sample, with a row of numbers for every lineage."""

    def __init__(self, linked: Expression, sample: Sample) -> None:
        names = tuple(sample.columns)
        self.compiled: Compiled = compile_expression(linked, names)
        self.rows = np.column_stack([*sample.columns.values()]) if names else np.zeros((sample.values.shape[1], 0))
        self.goal, self.inputs = sample.values, sample.inputs
        self.start: Numbers = np.tile(np.array(constants(linked)), (len(sample.values), 1))
        self.count = self.start.shape[1]
        self.places = self._places(exponents(linked))

    def _places(self, powers: Sequence[int]) -> list[int]:
        """List the numbers that can be varied at all; an exponent of what is not positive cannot."""
        slopes = self.compiled.values_and_jacobian(self.start[0], self.rows)[1]
        stuck = {place for place in powers if (slopes[:, place] == 0).any()}
        return [place for place in range(self.count) if place not in stuck and slopes[:, place].any()]

    def values(self, numbers: Numbers) -> Float[np.ndarray, "lineages samples"]:
        found: Float[np.ndarray, "lineages samples"] = np.stack([self.compiled(row, self.rows) for row in numbers])
        return found

    def slopes(self, numbers: Numbers) -> Float[np.ndarray, "lineages samples constants"]:
        found = [self.compiled.values_and_jacobian(row, self.rows)[1] for row in numbers]
        return np.asarray(np.stack(found))

    def mistakes(self) -> Mistakes:
        """Learn how mistakes look from what is left when every lineage has all numbers for itself."""
        alone = self.fit(self.places, self.start)
        tangent = self.slopes(alone).mean(axis=0)[:, self.places]
        return learn_mistakes(self.goal - self.values(alone), self.inputs, tangent)

    def test(self, place: int, own: Sequence[int], numbers: Numbers, mistakes: Mistakes) -> tuple[float, float]:
        """Hold one value for each lineage against one for all; give F and its p."""
        slopes, residuals = self.slopes(numbers), self.goal - self.values(numbers)
        directions = np.stack([_apart(slope[:, place], slope[:, list(own)]) for slope in slopes])
        sizes = np.square(directions).sum(axis=1)
        if sizes.min() <= SAME * np.square(slopes[:, :, place]).sum(axis=1).max() or mistakes.covariance.max() <= 0:
            return 0.0, 1.0
        moves = (directions * residuals).sum(axis=1) / sizes
        moves -= (sizes * moves).sum() / sizes.sum()
        variance = np.einsum("li,ij,lj->l", directions, mistakes.covariance, directions) / sizes
        lineages = len(residuals)
        F = float((sizes * np.square(moves)).sum() / ((lineages - 1) * variance.mean()))
        above = max((lineages - 1) * mistakes.witnesses / lineages, 1.0)
        return F, float(fisher.sf(F, above, mistakes.freedom(directions.mean(axis=0))))

    def fit(self, own: Sequence[int], start: Numbers) -> Numbers:
        """Fit some numbers to each lineage and the others to all together."""
        lineages, shared = len(start), [place for place in self.places if place not in own]
        scale = np.maximum(np.abs(start), 1e-3)

        def spread(theta: Float[np.ndarray, " free"]) -> Numbers:
            numbers = start.copy()
            numbers[:, shared] = theta[: len(shared)]
            numbers[:, list(own)] = theta[len(shared) :].reshape(lineages, len(own))
            return np.asarray(numbers * scale)

        def residuals(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, " residuals"]:
            return np.asarray((self.values(spread(theta)) - self.goal).ravel())

        def jacobian(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, "residuals free"]:
            slopes = np.nan_to_num(self.slopes(spread(theta)) * scale[:, None, :], posinf=0.0, neginf=0.0)
            blocks = np.einsum("lnk,lm->lnmk", slopes[:, :, list(own)], np.eye(lineages))
            many = lineages * slopes.shape[1]
            together = slopes[:, :, shared].reshape(many, len(shared))
            return np.concatenate([together, blocks.reshape(many, lineages * len(own))], axis=1)

        ratio = start / scale
        theta = np.concatenate([ratio[:, shared].mean(axis=0), ratio[:, list(own)].ravel()])
        return spread(levenberg_marquardt(residuals, jacobian, theta, steps=STEPS))


def _apart(
    direction: Float[np.ndarray, " samples"], others: Float[np.ndarray, "samples others"]
) -> Float[np.ndarray, " samples"]:
    """Take away what of a direction lies in the span of others."""
    if not others.shape[1]:
        return direction
    return np.asarray(direction - others @ np.linalg.lstsq(others, direction, rcond=None)[0])
