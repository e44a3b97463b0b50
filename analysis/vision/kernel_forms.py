"""A kernel as a closed form: shapes fitted by variable projection, in the metric of pixels or of natural patches.

Every form is a sum of images (see `kernel_shapes`) times a weight for each channel: only the few numbers
of the images are searched, the weights follow by linear least squares (see `kernel_projection`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from ..formulas.expression import Expression
from .kernel_canonical import canonical, colour_axis, colour_name
from .kernel_equation import channel_expression, kernel_expression
from .kernel_projection import problem_of, search
from .kernel_shapes import SHAPES, Grid, Kernel

TOLD = 5e-3
"""Forms that leave less of a kernel's squares than this are not told apart: training leaves as much noise."""
EXACT = 1e-12
"""The same of its responses to patches, where little things count."""

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
    problem = problem_of(unit, shape, grid, None if metric is None else metric.root)
    numbers = search(unit, shape, grid, problem)
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
        bic=_bic(max(problem.error(numbers), EXACT if metric else TOLD), problem.size, shape.numbers(kernel.shape[0])),
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


def _bic(error: float, size: int, numbers: int) -> float:
    return size * math.log(error) + numbers * math.log(size)
