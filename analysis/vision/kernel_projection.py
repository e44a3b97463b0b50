"""Fitting what is linear in its weights: only the other numbers are searched (variable projection).

Golub and Pereyra 1973, with the Jacobian of Kaufman 1975.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from .kernel_canonical import Weights
from .kernel_shapes import Grid, Kernel, Shape

REFINED = 3
"""So many starts are refined."""
FIRST, LAST = 12, 200
"""Evaluations for every start, and for the best of them."""
STEP = 1e-6

Numbers = Float[np.ndarray, " numbers"]
Root = Float[np.ndarray, "rank values"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is left of a kernel when the weights are at their best, as a function of the other numbers."""

    design: Callable[[Float[np.ndarray, "starts numbers"]], Float[np.ndarray, "starts rows weights"]]
    target: Float[np.ndarray, "rows sides"]
    channels: int

    @property
    def size(self) -> int:
        """Count the values that are fitted."""
        return self.target.size

    def solve(self, numbers: Numbers) -> tuple[Weights, Float[np.ndarray, "rows sides"]]:
        """Find the weights of the images for each channel, and what they leave."""
        design = self.design(numbers[None])[0]
        weights = np.linalg.pinv(design) @ self.target
        by_channel = weights.T if self.target.shape[1] == self.channels else weights.reshape(self.channels, -1)
        return by_channel, self.target - design @ weights

    def residual(self, numbers: Numbers) -> Float[np.ndarray, " values"]:
        """List what is left."""
        return self.solve(numbers)[1].ravel()

    def error(self, numbers: Numbers) -> float:
        """Measure what is left as a share of the squares."""
        return float(np.sum(self.residual(numbers) ** 2) / np.sum(self.target**2))

    def jacobian(self, numbers: Numbers) -> Float[np.ndarray, "values numbers"]:
        """Differentiate the residual, the change of the weights left out (Kaufman 1975)."""
        moved = self.design(np.vstack([numbers, numbers + STEP * np.eye(len(numbers))]))
        inverse = np.linalg.pinv(moved[0])
        slopes = (moved[1:] - moved[0]) / STEP @ (inverse @ self.target)
        outside = slopes - moved[0] @ (inverse @ slopes)
        return np.asarray(-outside.reshape(len(numbers), -1).T)

    def explained(self, starts: Float[np.ndarray, "starts numbers"]) -> Float[np.ndarray, " starts"]:
        """Measure how much of the squares each start explains."""
        directions, _ = np.linalg.qr(self.design(starts))
        return np.asarray(np.sum((directions.transpose(0, 2, 1) @ self.target) ** 2, axis=(1, 2)))


def problem_of(unit: Kernel, shape: Shape, grid: Grid, root: Root | None = None) -> Problem:
    """Set up the fit of a shape to a kernel of norm 1; `root` is that of a metric.

    Raises BadInput where the metric is of another number of values.
    """
    channels = unit.shape[0]
    if root is None:
        return Problem(
            lambda starts: shape.basis(starts, grid).transpose(0, 2, 1), unit.reshape(channels, -1).T, channels
        )
    if root.shape[1] != unit.size:
        raise BadInput(
            f"the metric is of {root.shape[1]} values, the kernel has {unit.size}",
            hint="measure the metric on patches of the kernel's shape",
        )
    by_channel = root.reshape(len(root), channels, -1)

    def design(starts: Float[np.ndarray, "starts numbers"]) -> Float[np.ndarray, "starts rows weights"]:
        lifted = np.einsum("rcp,skp->srck", by_channel, shape.basis(starts, grid), optimize=True)
        return np.asarray(lifted.reshape(*lifted.shape[:2], -1))

    return Problem(design, (root @ unit.ravel())[:, None], channels)


def search(unit: Kernel, shape: Shape, grid: Grid, problem: Problem) -> Numbers:
    """Refine the best start of each of the best groups for a while, and the best of these to the end."""
    if not shape.parameters:
        return np.zeros(0)
    bounds = shape.bounds(grid)
    starts = _starts(unit, shape, grid)
    refined = [_refine(problem, start, bounds, FIRST) for start in starts]
    return _refine(problem, min(refined, key=problem.error), bounds, LAST)


def _starts(unit: Kernel, shape: Shape, grid: Grid) -> list[Numbers]:
    low, high = shape.bounds(grid)
    pixels = problem_of(unit, shape, grid)
    best = []
    for group in shape.seeds(unit):
        numbers = np.clip([[start[name] for name in shape.parameters] for start in group], low, high)
        scores = pixels.explained(numbers)
        best.append((float(scores.max()), numbers[int(scores.argmax())]))
    return [numbers for _, numbers in sorted(best, key=lambda entry: -entry[0])[:REFINED]]


def _refine(problem: Problem, start: Numbers, bounds: tuple[list[float], list[float]], limit: int) -> Numbers:
    from scipy.optimize import least_squares

    found = least_squares(
        problem.residual, start, problem.jacobian, bounds=bounds, max_nfev=limit, xtol=1e-6, ftol=1e-8, gtol=1e-8
    )
    return np.asarray(found.x)
