"""What two tensors of one shape have in common, number by number and unit by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from .chance import Agreement, agreement
from .marks import BLOCK, brain
from .pairing import Axis, Pair, Side, companions, hidden_axes
from .units import centred, is_ordered, table

COMPARED_UNITS = 1024
COMPARED_NUMBERS = 4096


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two tensors side by side: their cosine, the share of zeros in each, and how many numbers are equal.

    `shared` counts the numbers that are zero in neither, `equal` those of them that are the same in both;
    `rounded` tells that one tensor is the other in half precision or brain floats.
    """

    size: int
    cosine: float
    left_zeros: float
    right_zeros: float
    shared: int
    equal: int
    rounded: bool


def overlap(left: Shaped[np.ndarray, "*shape"], right: Shaped[np.ndarray, "*shape"]) -> Overlap:
    """Compare two tensors number by number, in blocks; what is not finite in one of them is left out."""
    first, second = left.reshape(-1), right.reshape(-1)
    sums, counts, rounded = np.zeros(3), np.zeros(4, np.int64), {"half", "brain"}
    scale = _largest(first), _largest(second)
    for start in range(0, first.size, BLOCK):
        a, b = (np.asarray(flat[start : start + BLOCK], np.float64) for flat in (first, second))
        a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
        both = (a != 0) & (b != 0)
        counts += (np.count_nonzero(a == 0), np.count_nonzero(b == 0), both.sum(), (both & (a == b)).sum())
        rounded = {kind for kind in rounded if _is_rounded(a, b, kind)}
        a, b = a / scale[0], b / scale[1]
        sums += (a @ b, a @ a, b @ b)
    norm = np.sqrt(sums[1] * sums[2])
    count = max(first.size, 1)
    cosine = float(np.clip(sums[0] / norm, -1, 1)) if norm > 0 else 0.0
    zeros = counts[:2] / count
    return Overlap(first.size, cosine, float(zeros[0]), float(zeros[1]), int(counts[2]), int(counts[3]), bool(rounded))


def agreement_of(
    left: Side, right: Side, pair: Pair, first: Shaped[np.ndarray, "*shape"], second: Shaped[np.ndarray, "*shape"]
) -> tuple[Axis, Agreement] | None:
    """Compare the units of two tensors under equal numbers, along the axis that shows the least.

    None where no axis lists hidden units without an order of their own.
    """
    found = []
    for axis in hidden_axes(left.marks, pair.left):
        tables = described(left, pair.left, first, axis), described(right, pair.right, second, axis)
        if tables[0].shape == tables[1].shape and not any(is_ordered(centred(units)) for units in tables):
            found.append((axis, agreement(*tables)))
    return max(found, key=lambda item: item[1].chance, default=None)


def described(side: Side, number: int, array: np.ndarray, axis: Axis) -> Float32[np.ndarray, "units numbers"]:
    """Lay out the units along an axis of a tensor, with their biases and what leads to the outputs beside it."""
    whole = layout(array, axis)
    if axis.axis or len(whole) * axis.fold < len(array):
        return whole
    beside = [np.asarray(side.tensor(other), np.float64) for other in companions(side.marks, number)]
    columns = [extra.reshape(-1, axis.fold if extra.ndim == 1 else 1, len(whole)) for extra in beside]
    extras = [np.where(np.isfinite(extra), extra, 0).reshape(-1, len(whole)).T for extra in columns]
    scaled = [extra / max(float(np.abs(extra).max(initial=0)), 1e-300) for extra in extras]
    return np.concatenate([whole, *scaled], axis=1, dtype=np.float32)


def layout(array: np.ndarray, axis: Axis) -> Float32[np.ndarray, "units numbers"]:
    """Lay out the units along an axis of a tensor."""
    return table(array, axis=axis.axis, fold=axis.fold, most_units=COMPARED_UNITS, most_numbers=COMPARED_NUMBERS)


def _largest(flat: Shaped[np.ndarray, " numbers"]) -> float:
    largest = 0.0
    for start in range(0, flat.size, BLOCK):
        block = np.abs(np.asarray(flat[start : start + BLOCK], np.float64))
        largest = max(largest, float(block[np.isfinite(block)].max(initial=0)))
    return largest or 1.0


def _is_rounded(a: Shaped[np.ndarray, " block"], b: Shaped[np.ndarray, " block"], kind: str) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = a.astype(np.float32), b.astype(np.float32)
        if kind == "brain":
            return bool((brain(first) == second).all() or (first == brain(second)).all())
        return bool((first.astype(np.float16) == second).all() or (first == second.astype(np.float16)).all())
