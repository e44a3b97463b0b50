"""What random directions of the samples tell of very wide layers, and exact correlations of a few pairs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Num

from .batches import Batch, Layers, Side, unit_blocks

# Random directions; correlations seen through them err by at most about 1 / 32.
SKETCH = 1024
# Numbers gathered at once when pairs are held against each other.
GATHERED = 2**24


def project(layers: Layers, *, seed: int) -> Batch:
    """Project standardised units on random directions of the samples, and scale them to length one.

    Products of what comes out estimate correlations (Johnson & Lindenstrauss 1984).
    """
    rng = np.random.default_rng(seed)
    left, right = (np.zeros((SKETCH, side.scale.size), dtype=np.float32) for side in layers.sides)
    for batch in layers.read():
        directions = rng.standard_normal((len(batch[0]), SKETCH), dtype=np.float32)
        for sketch, side, values in zip((left, right), layers.sides, batch, strict=True):
            for units in unit_blocks(side.scale.size):
                sketch[:, units] += directions.T @ side.standardise(values, units)
    for sketch in (left, right):
        length = np.linalg.norm(sketch, axis=0)
        sketch /= np.where(length > 0.0, length, 1.0)
    return left, right


def correlate_pairs(layers: Layers, partners: Int[np.ndarray, "left partners"]) -> Float[np.ndarray, "left partners"]:
    """Correlate every left unit with its own few right partners; 0 where a partner is -1."""
    r = np.zeros(partners.shape)
    rows = max(1, GATHERED // max(1, *(side.scale.size for side in layers.sides)))
    for left, right in layers.read():
        for start in range(0, len(left), rows):
            part = slice(start, start + rows)
            _add_products(r, _transposed(layers.left, left[part]), _transposed(layers.right, right[part]), partners)
    return np.where(partners < 0, 0.0, r)


def _transposed(side: Side, batch: Num[np.ndarray, "samples units"]) -> Float[np.ndarray, "units samples"]:
    return np.ascontiguousarray(side.standardise(batch, slice(None)).T)


def _add_products(
    r: Float[np.ndarray, "left partners"],
    left: Float[np.ndarray, "left samples"],
    right: Float[np.ndarray, "right samples"],
    partners: Int[np.ndarray, "left partners"],
) -> None:
    step = max(1, GATHERED // (partners.shape[1] * left.shape[1]))
    for start in range(0, len(left), step):
        units = slice(start, start + step)
        r[units] += np.einsum("us,ups->up", left[units], right[partners[units]])
