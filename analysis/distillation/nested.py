"""Nested least squares over lineages: some numbers of a skeleton shared by all, others each lineage's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import f as fisher

from ..formulas.compiled import compile_expression
from ..formulas.expression import Expression, constants, exponents
from ..formulas.least_squares import levenberg_marquardt
from .mistakes import SAME, Mistakes, learn_mistakes
from .target import Sample

MARGIN = 4.0
"""How many times the variance that smooth mistakes explain a number's must exceed.

Mistakes of networks are larger along the law than in other directions, for there the law itself is steep: lineages
whose numbers differ by less than twice what mistakes anywhere explain say nothing else than the others.
"""

EXACT = 1e-7
"""Differences that are smaller, as a share of the largest value, are rounding."""

STEPS = 25

Numbers = Float[np.ndarray, "lineages constants"]


@dataclass(frozen=True, slots=True)
class Split:
    """What one value for each lineage gains on one for all: its F and p, and the squares that it explains."""

    F: float
    p: float
    explained: float


class Nested:
    """A skeleton at the points of a sample, with a row of numbers for every lineage."""

    def __init__(self, skeleton: Expression, sample: Sample) -> None:
        names = tuple(sample.columns)
        self.compiled = compile_expression(skeleton, names)
        self.rows = np.column_stack([*sample.columns.values()]) if names else np.zeros((sample.values.shape[1], 0))
        self.goal, self.inputs = sample.values, sample.inputs
        self.start: Numbers = np.tile(np.array(constants(skeleton)), (len(sample.values), 1))
        self.places = self._places(exponents(skeleton))

    def _places(self, powers: Sequence[int]) -> list[int]:
        """List the numbers that can be varied at all; an exponent of what is not positive cannot."""
        slopes = self.compiled.values_and_jacobian(self.start[0], self.rows)[1]
        stuck = {place for place in powers if (slopes[:, place] == 0).any()}
        return [place for place in range(slopes.shape[1]) if place not in stuck and slopes[:, place].any()]

    def values(self, numbers: Numbers) -> Float[np.ndarray, "lineages samples"]:
        """Compute every lineage with its own row of numbers."""
        return np.asarray([self.compiled(row, self.rows) for row in numbers], dtype=np.float64)

    def slopes(self, numbers: Numbers) -> Float[np.ndarray, "lineages samples constants"]:
        """Differentiate every lineage with respect to its numbers."""
        each = [self.compiled.values_and_jacobian(row, self.rows)[1] for row in numbers]
        return np.nan_to_num(np.asarray(each, dtype=np.float64), posinf=0.0, neginf=0.0)

    def mistakes(self) -> Mistakes:
        """Learn how mistakes look from what is left when every lineage has all numbers for itself."""
        alone = self.fit(self.places, self.start)
        tangent = self.slopes(alone).mean(axis=0)[:, self.places]
        return learn_mistakes(self.goal - self.values(alone), self.inputs, tangent)

    def split(self, place: int, own: Sequence[int], numbers: Numbers, mistakes: Mistakes) -> Split:
        """Hold one value for each lineage against one for all, when those of `own` are each lineage's already.

        A minimum-effect F-test (Murphy & Myors 1999): the variance of the lineages' values against MARGIN times that
        which mistakes give them. What all lineages share, the skeleton's own errors too, drops out.
        """
        slopes, residuals = self.slopes(numbers), self.goal - self.values(numbers)
        directions = np.stack([_apart(slope[:, place], slope[:, list(own)]) for slope in slopes])
        sizes = np.square(directions).sum(axis=1)
        if sizes.min() <= SAME * np.square(slopes[:, :, place]).sum(axis=1).max():
            return Split(0.0, 1.0, 0.0)
        moves = (directions * residuals).sum(axis=1) / sizes
        moves -= (sizes * moves).sum() / sizes.sum()
        explained, apart = float((sizes * np.square(moves)).sum()), len(residuals) - 1
        expected = mistakes.along(directions)
        rounding = float(np.square(EXACT * np.abs(self.goal).max())) or np.finfo(float).tiny
        F = explained / (apart * max(expected.value, rounding))
        above = max(apart * mistakes.witnesses / len(residuals), 1.0)
        return Split(F, float(fisher.sf(F / MARGIN, above, expected.freedom)), explained)

    def fit(self, own: Sequence[int], start: Numbers) -> Numbers:
        """Fit some numbers to each lineage and the others to all together."""
        lineages, mine = len(start), list(own)
        shared = [place for place in self.places if place not in own]
        scale = np.maximum(np.abs(start), 1e-3)

        def spread(theta: Float[np.ndarray, " free"]) -> Numbers:
            ratios = start / scale
            ratios[:, shared] = theta[: len(shared)]
            ratios[:, mine] = theta[len(shared) :].reshape(lineages, len(mine))
            return np.asarray(ratios * scale)

        def residuals(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, " residuals"]:
            return np.asarray((self.values(spread(theta)) - self.goal).ravel())

        def jacobian(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, "residuals free"]:
            slopes = self.slopes(spread(theta)) * scale[:, None, :]
            many = lineages * slopes.shape[1]
            each = np.einsum("lnk,lm->lnmk", slopes[:, :, mine], np.eye(lineages)).reshape(many, lineages * len(mine))
            return np.concatenate([slopes[:, :, shared].reshape(many, len(shared)), each], axis=1)

        ratios = start / scale
        theta = np.concatenate([ratios[:, shared].mean(axis=0), ratios[:, mine].ravel()])
        return spread(levenberg_marquardt(residuals, jacobian, theta, steps=STEPS))


def _apart(
    direction: Float[np.ndarray, " samples"], others: Float[np.ndarray, "samples others"]
) -> Float[np.ndarray, " samples"]:
    """Take away what of a direction lies in the span of others."""
    if not others.shape[1]:
        return direction
    return np.asarray(direction - others @ np.linalg.lstsq(others, direction, rcond=None)[0])
