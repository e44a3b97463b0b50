"""A weight tensor as a table of units: what leads into each neuron or channel, or what leads out of it.

Which unit of a layer has which number is chance: training begins with random weights and treats all units alike.
So two networks that never shared weights agree no better under equal numbers than under any other numbering,
however alike they have become. All that is said here of lineage rests on this.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np
from jaxtyping import Bool, Float32, Int

FEWEST = 8
"""Units of which there must be as many for their order to say anything."""
UNORDERED = 4.5
"""Standard deviations from which neighbouring units resemble one another too much for a chance order."""
_PROBES = 64
_KEY = 0xC0111E7E


def even(count: int, most: int) -> Int[np.ndarray, " kept"]:
    """Choose at most so many of a count of items, evenly spread, always the same ones."""
    kept = min(count, most)
    return np.arange(kept, dtype=np.int64) * count // max(kept, 1)


def table(
    array: np.ndarray, *, axis: int = 0, fold: int = 1, most_units: int, most_numbers: int
) -> Float32[np.ndarray, "units numbers"]:
    """Lay out a tensor with one row for each unit along its first or second axis, at most so large, evenly spread.

    With `fold`, so many parts of the axis describe the same units (the gates of a recurrent layer; the positions
    that a flattened channel has). Entries that tie a unit to the one of the same number are evened out, since
    they may stand out in every network (a forget gate, an identity at the start); what is not finite is zero.
    The largest magnitude is one, or zero.
    """
    outputs, inputs = array.shape[:2]
    cube = array.reshape(outputs, inputs, prod(array.shape[2:]))
    if axis == 0:
        rows, columns = _blocks(outputs, fold, most_units), even(inputs, max(1, most_numbers // fold))
    else:
        rows, columns = even(outputs, max(1, most_numbers // fold)), _spans(inputs, fold, most_units)
    units = (len(rows) if axis == 0 else len(columns)) // fold
    own = len(columns if axis == 0 else rows) * fold
    inner = even(cube.shape[2], max(1, most_numbers // max(own, 1)))
    part = _finite(cube[np.ix_(rows, columns, inner)])
    _smooth(part, _same_unit(outputs, inputs, rows, columns))
    if axis == 0:
        return part.reshape(fold, units, own // fold * len(inner)).transpose(1, 0, 2).reshape(units, own * len(inner))
    return part.transpose(1, 0, 2).reshape(units, own * len(inner))


def centred(units: Float32[np.ndarray, "units numbers"]) -> Float32[np.ndarray, "units numbers"]:
    """Take away what all units have in common, and bring every unit to length one in between (single numbers below it).

    The sum over all entries of the product of two such tables averages zero over all numberings of the units.
    """
    if units.shape[1] == 1:
        whole = units / (np.abs(units) + max(float(np.median(np.abs(units))), 1e-12))
        return np.asarray(whole - whole.mean(axis=0))
    whole = units - units.mean(axis=1, keepdims=True) if units.shape[1] >= FEWEST else units
    lengths = np.sqrt(np.einsum("ij,ij->i", whole, whole))[:, None]
    whole = np.divide(whole, lengths, out=np.zeros_like(whole), where=lengths > 1e-12)
    return np.asarray(whole - whole.mean(axis=0))


def spread(units: Float32[np.ndarray, "units numbers"]) -> float:
    """Tell how far the units of a centred table point in few directions: from 1 over their number up to 1.

    |P Pᵀ| / |P|²: the more alike the units, the better do the numberings of two unrelated networks fit by chance.
    """
    gram, size = _gram(units), float(np.square(units).sum())
    return float(np.sqrt(np.square(gram).sum())) / size if size > 0 else 1.0


def is_ordered(units: Float32[np.ndarray, "units numbers"]) -> bool:
    """Tell whether units of a centred table are alike or unlike by their numbers, as in a table of positions.

    Single numbers are ordered if they rise or fall throughout. Else the sum over neighbours, and over those one
    further, is compared with that under a random order (a permutation test, normal approximation).
    """
    if units.shape[1] == 1:
        return bool((np.diff(units[:, 0]) >= 0).all() or (np.diff(units[:, 0]) <= 0).all())
    own = np.einsum("ij,ij->i", units, units)
    apart = float(np.square(_gram(units)).sum() - np.square(own).sum())
    scale = np.sqrt(max(apart, 1e-12) / max(len(units) - 1, 1))
    return any(abs(_neighbours(units, step) + own.mean()) > UNORDERED * scale for step in (1, 2))


def _neighbours(units: Float32[np.ndarray, "units numbers"], step: int) -> float:
    return float(np.einsum("ij,ij->", units[:-step], units[step:]))


def signs(count: int, key: int) -> Float32[np.ndarray, " count"]:
    """Draw as many signs as asked for: the same for the same key, on every machine."""
    words = np.random.Philox(key=key).random_raw(count // 64 + 1)
    bits = np.unpackbits(np.asarray(words, "<u8").view(np.uint8), count=count)
    return np.where(bits, np.float32(1), np.float32(-1))


def projected(units: Float32[np.ndarray, "units numbers"], most: int) -> Float32[np.ndarray, "units kept"]:
    """Bring units to at most so many numbers; products of units stay what they were, on average."""
    numbers = units.shape[1]
    if numbers <= most:
        return units
    return np.asarray(units @ _onto(numbers, most))


@lru_cache(maxsize=16)
def _onto(numbers: int, most: int) -> Float32[np.ndarray, "numbers kept"]:
    return np.asarray(signs(numbers * most, _KEY ^ numbers).reshape(numbers, most) / np.float32(np.sqrt(most)))


def _gram(units: Float32[np.ndarray, "units numbers"]) -> Float32[np.ndarray, "some some"]:
    if len(units) <= _PROBES:
        return np.asarray(units @ units.T)
    few = projected(units, _PROBES)
    return np.asarray(few.T @ few)


def _blocks(count: int, fold: int, most: int) -> Int[np.ndarray, " kept"]:
    units = even(count // fold, most)
    return np.asarray((np.arange(fold)[:, None] * (count // fold) + units).ravel())


def _spans(count: int, fold: int, most: int) -> Int[np.ndarray, " kept"]:
    units = even(count // fold, most)
    return np.asarray((units[:, None] * fold + np.arange(fold)).ravel())


def _finite(array: np.ndarray) -> Float32[np.ndarray, "*shape"]:
    whole = np.asarray(array, np.float64 if array.dtype.itemsize > 4 else np.float32)
    whole = np.where(np.isfinite(whole), whole, 0)
    largest = np.abs(whole).max(initial=0)
    return np.asarray(whole / largest if largest > 0 else whole, np.float32)


def _smooth(part: Float32[np.ndarray, "rows columns inner"], holes: Bool[np.ndarray, "rows columns"]) -> None:
    """Replace what stands in the holes by the mean of the other rows, so that the holes leave no pattern."""
    if not holes.any():
        return
    part[holes] = 0
    others = np.maximum(len(part) - holes.sum(axis=0), 1)[:, None]
    part[holes] = np.broadcast_to(part.sum(axis=0) / others, part.shape)[holes]


def _same_unit(
    outputs: int, inputs: int, rows: Int[np.ndarray, " rows"], columns: Int[np.ndarray, " columns"]
) -> Bool[np.ndarray, "rows columns"]:
    fewer, more = sorted((outputs, inputs))
    if fewer < FEWEST or more % fewer:
        return np.zeros((len(rows), len(columns)), bool)
    return np.asarray((rows % fewer)[:, None] == (columns % fewer)[None, :])
