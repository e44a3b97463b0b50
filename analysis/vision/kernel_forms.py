"""A kernel as a closed form: shapes fitted by variable projection, in the metric of pixels or of natural patches.

Every form is a sum of images (see `kernel_shapes`) times a weight for each channel: only the few numbers
of the images are searched, the weights follow by linear least squares (Golub and Pereyra 1973, with
Kaufman's Jacobian).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from ..formulas.expression import Expression
from .kernel_canonical import Weights, canonical, colour_axis, colour_name
from .kernel_equation import channel_expression, kernel_expression
from .kernel_shapes import SHAPES, Grid, Kernel, Shape

REFINED = 3
"""So many starts are refined."""
FIRST, LAST = 12, 200
"""Evaluations for every start, and for the best of them."""
STEP = 1e-6
EXACT = 1e-12
"""Share of the squares that is left of a perfect fit, so that its logarithm is finite."""

Numbers = Float[np.ndarray, " numbers"]
Gram = Float[np.ndarray, "values values"]


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """How much natural patches make of a difference between kernels: e·gram·e is the mean square it makes.

    `gram` is the second moment of the patches' values (channels, rows, columns, in this order) and
    `root` a matrix whose product with its own transpose gives it back: |root·e|² = e·gram·e.
    """

    gram: Gram
    root: Float[np.ndarray, "rank values"]


@dataclass(frozen=True, slots=True, eq=False)
class KernelFit:
    """A kernel's closed form.

    `numbers` are in pixels of the grid, radians and cycles per pixel; the angle lies in [0, pi), the
    phase in [0, pi), the amplitude bears the sign. `colour` is the unit vector of the channels' weights.
    `r2` is 1 - SSE/sum of squares on the kernel itself, whatever the metric of the fit; `bic` counts the
    error in the metric of the fit. `expression` is in x and y; channel c is colour[c] times it (for
    `gabor` only its part along the colour axis is: see `channels`).
    """

    form: str
    numbers: Mapping[str, float]
    colour: tuple[float, ...]
    colour_name: str
    r2: float
    bic: float
    modelled: Kernel
    expression: Expression

    @property
    def channels(self) -> tuple[Expression, ...]:
        """Write every channel in full, in x and y."""
        count = len(self.colour)
        return tuple(channel_expression(self.form, self.numbers, self.colour, channel) for channel in range(count))


def patch_metric(patches: Float[np.ndarray, "patches channels rows columns"]) -> Metric:
    """Measure the metric of patches as the layer gets them, normalised as the network does."""
    values = patches.reshape(len(patches), -1).astype(float)
    gram = values.T @ values / len(values)
    size, directions = np.linalg.eigh(gram)
    kept = size > size[-1] * 1e-12
    return Metric(gram, np.sqrt(size[kept])[:, None] * directions[:, kept].T)


def raced_forms(shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Name the forms that have fewer numbers than a kernel of this shape has values."""
    return tuple(form for form, entry in SHAPES.items() if entry.numbers(shape[0]) < math.prod(shape))


def fit_form(kernel: Kernel, form: str, *, metric: Metric | None = None) -> KernelFit:
    """Fit one form of SHAPES to a kernel.

    Raises BadInput where the form is unknown or has as many numbers as the kernel has values, or where
    the kernel is zero or not finite.
    """
    _check(kernel, form)
    shape, grid, scale = SHAPES[form], Grid(*kernel.shape[1:]), float(np.linalg.norm(kernel))
    unit = kernel.astype(float) / scale
    problem = _problem(unit, shape, grid, metric)
    numbers = _search(unit, shape, grid, problem)
    weights, _ = problem.solve(numbers)
    images = shape.basis(numbers[None], grid)[0]
    modelled = (scale * weights @ images).reshape(kernel.shape)
    named = dict(zip(shape.parameters, numbers.tolist(), strict=True))
    colour = colour_axis(weights @ images)
    numbers_of = canonical(form, named, scale * weights, colour)
    return KernelFit(
        form=form,
        numbers=numbers_of,
        colour=tuple(colour.tolist()),
        colour_name=colour_name(tuple(colour.tolist())),
        r2=1 - float(np.sum((kernel - modelled) ** 2)) / scale**2,
        bic=_bic(problem.error(numbers), problem.size, shape.numbers(kernel.shape[0])),
        modelled=modelled,
        expression=kernel_expression(form, numbers_of),
    )


def _check(kernel: Kernel, form: str) -> None:
    if form not in SHAPES:
        raise BadInput(f"{form!r} is no form of a kernel", hint=f"known are {', '.join(SHAPES)}")
    if form not in raced_forms(kernel.shape):
        raise BadInput(
            f"{form} has as many numbers as a kernel of {'x'.join(map(str, kernel.shape))} has values",
            hint=f"the forms for this shape are: {', '.join(raced_forms(kernel.shape)) or 'none'}",
        )
    if not np.isfinite(kernel).all() or not kernel.any():
        raise BadInput("a kernel is zero or not finite", hint="leave such kernels out")


# Variable projection


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is left of a kernel when the weights are at their best, as a function of the other numbers."""

    design: Callable[[Float[np.ndarray, "starts numbers"]], Float[np.ndarray, "starts rows weights"]]
    target: Float[np.ndarray, "rows sides"]
    channels: int

    @property
    def size(self) -> int:
        return self.target.size

    def solve(self, numbers: Numbers) -> tuple[Weights, Float[np.ndarray, "rows sides"]]:
        design = self.design(numbers[None])[0]
        weights = np.linalg.pinv(design) @ self.target
        by_channel = weights.T if self.target.shape[1] == self.channels else weights.reshape(self.channels, -1)
        return by_channel, self.target - design @ weights

    def residual(self, numbers: Numbers) -> Float[np.ndarray, " values"]:
        return self.solve(numbers)[1].ravel()

    def error(self, numbers: Numbers) -> float:
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


def _problem(unit: Kernel, shape: Shape, grid: Grid, metric: Metric | None) -> _Problem:
    channels = unit.shape[0]
    if metric is None:
        return _Problem(
            lambda starts: shape.basis(starts, grid).transpose(0, 2, 1), unit.reshape(channels, -1).T, channels
        )
    if metric.root.shape[1] != unit.size:
        raise BadInput(
            f"the metric is of {metric.root.shape[1]} values, the kernel has {unit.size}",
            hint="measure the metric on patches of the kernel's shape",
        )
    root = metric.root.reshape(len(metric.root), channels, -1)

    def design(starts: Float[np.ndarray, "starts numbers"]) -> Float[np.ndarray, "starts rows weights"]:
        lifted = np.einsum("rcp,skp->srck", root, shape.basis(starts, grid), optimize=True)
        return np.asarray(lifted.reshape(*lifted.shape[:2], -1))

    return _Problem(design, (metric.root @ unit.ravel())[:, None], channels)


def _search(unit: Kernel, shape: Shape, grid: Grid, problem: _Problem) -> Numbers:
    """Refine the best start of each of the best groups for a while, and the best of these to the end."""
    if not shape.parameters:
        return np.zeros(0)
    bounds = shape.bounds(grid)
    starts = _starts(unit, shape, grid)
    refined = [_refine(problem, start, bounds, FIRST) for start in starts]
    return _refine(problem, min(refined, key=problem.error), bounds, LAST)


def _starts(unit: Kernel, shape: Shape, grid: Grid) -> list[Numbers]:
    low, high = shape.bounds(grid)
    pixels = _problem(unit, shape, grid, None)
    best = []
    for group in shape.seeds(unit):
        numbers = np.clip([[start[name] for name in shape.parameters] for start in group], low, high)
        scores = pixels.explained(numbers)
        best.append((float(scores.max()), numbers[int(scores.argmax())]))
    return [numbers for _, numbers in sorted(best, key=lambda entry: -entry[0])[:REFINED]]


def _refine(problem: _Problem, start: Numbers, bounds: tuple[list[float], list[float]], limit: int) -> Numbers:
    from scipy.optimize import least_squares

    found = least_squares(
        problem.residual, start, problem.jacobian, bounds=bounds, max_nfev=limit, xtol=1e-6, ftol=1e-8, gtol=1e-8
    )
    return np.asarray(found.x)


def _bic(error: float, size: int, numbers: int) -> float:
    return size * math.log(max(error, EXACT)) + numbers * math.log(size)
