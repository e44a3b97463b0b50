"""Kernels of one channel in the form of a few images: each its own image, whole-pixel shift, scale and level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

from ...zoo.errors import BadInput
from ..formulas.expression import Expression
from .kernel_centres import Images
from .kernel_shapes import Grid, places

NUMBERS = 4
"""What a kernel then has of its own: scale, level, and a shift to the right and down."""
LEFT = 0.5
"""A form of which less than this share of its squares is left on the grid is no longer that form."""
PIXELS = 1e-3
"""So much of the patches' mean square counts every pixel by itself: what patches leave open, pixels decide."""

Moments = Float[np.ndarray, "units values values"]


@dataclass(frozen=True, slots=True, eq=False)
class Dictionary:
    """Forms drawn on a grid at every whole-pixel shift; `of` says which form each image is."""

    images: Images
    of: Int[np.ndarray, " images"]

    def scrambled(self, seed: int) -> Dictionary:
        """Put the pixels of all images into one other order: as many images, as alike, without their form."""
        flat = self.images.reshape(len(self.images), -1)
        order = np.random.default_rng(seed).permutation(flat.shape[1])
        return Dictionary(flat[:, order].reshape(self.images.shape), self.of)


def dictionary(forms: Sequence[Expression], grid: Grid) -> Dictionary:
    """Draw expressions in x and y at all shifts of up to half the grid. Raises BadInput where there are none."""
    if not forms:
        raise BadInput("no form to put in the place of kernels", hint="give at least one expression")
    down, right = grid.rows // 2, grid.columns // 2
    shifts = [*product(range(-down, down + 1), range(-right, right + 1))]
    drawn = np.stack([[_drawn(form, grid, *shift) for shift in shifts] for form in forms])
    size = np.square(drawn).sum(axis=(2, 3))
    form, shift = np.nonzero((size >= LEFT * size[:, [len(shifts) // 2]]) & (size > 0))
    return Dictionary(drawn[form, shift], form)


def written(
    kernels: Images, moments: Moments, known: Dictionary, allowed: Bool[np.ndarray, "units forms"] | None = None
) -> Images:
    """Write each kernel as scale times image plus level, all chosen so that its responses to patches fit best.

    `moments` are the second moments of what each unit sees; `allowed` says which forms a unit may have. Least
    squares. Raises BadInput where a kernel or a moment is not finite.
    """
    if not (np.isfinite(kernels).all() and np.isfinite(moments).all()):
        raise BadInput("a kernel, or what it sees, is not finite", hint="leave the network out, or mend it")
    flat, images = (values.reshape(-1, moments.shape[1]) for values in (kernels, known.images))
    metric = _regular(moments)
    told = np.einsum("ui,uij->uj", flat, metric)
    level = metric.sum(axis=1)
    a, b, c = _squares(images, metric), level @ images.T, level.sum(axis=1)[:, None]
    p, q = told @ images.T, told.sum(axis=1)[:, None]
    # A level beside a form that is level itself says nothing more.
    det = a * c - b * b
    both = det > 1e-9 * a * c
    safe = np.where(both, det, 1.0)
    scale, constant = np.where(both, (c * p - b * q) / safe, p / a), np.where(both, (a * q - b * p) / safe, 0.0)
    gain = scale * p + constant * q
    gain = gain if allowed is None else np.where(allowed[:, known.of], gain, -np.inf)
    units, best = np.arange(len(flat)), gain.argmax(axis=1)
    made = scale[units, best, None] * images[best] + constant[units, best, None]
    return np.asarray(made.reshape(kernels.shape))


def _drawn(form: Expression, grid: Grid, down: int, right: int) -> Float[np.ndarray, "rows columns"]:
    x, y = places(grid)
    values = np.asarray(form.numpy(["x", "y"])(x - right, y - down), dtype=float)
    return np.array(np.broadcast_to(values, x.shape).reshape(grid.rows, grid.columns))


def _regular(moments: Moments) -> Moments:
    size = moments.shape[1]
    mean = np.trace(moments, axis1=1, axis2=2) / size
    return np.asarray(moments + np.where(mean > 0, PIXELS * mean, 1.0)[:, None, None] * np.eye(size))


def _squares(images: Float[np.ndarray, "images values"], metric: Moments) -> Float[np.ndarray, "units images"]:
    pairs = np.einsum("di,dj->dij", images, images).reshape(len(images), -1)
    return np.asarray(metric.reshape(-1, pairs.shape[1]) @ pairs.T)
