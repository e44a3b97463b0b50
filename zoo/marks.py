"""Marks that only shared numbers leave: digests of tensors, and values and directions that two networks have in common.

Numbers of full precision never coincide by chance, so a few of them that are equal to the last bit are proof,
also in a network so small that nothing else is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from math import prod

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt, UInt32, UInt64

from .units import FEWEST

Hashes = UInt64[np.ndarray, " hashes"]
BLOCK = 1 << 18
KEPT_VALUES = 256
KEPT_DIRECTIONS = 128
_COORDINATES = 16
_STEPS = 4096.0
_COARSE = 0xFFF
_FIXED = {
    *("pos", "position", "positions", "positional", "pe", "rope", "rotary", "freq", "freqs", "frequencies", "grid"),
    *("mean", "std", "var", "variance", "mask", "window", "anchors", "index", "indices", "mel", "stft", "dft", "basis"),
    *("melw", "scale", "shift", "offset", "mu", "sigma", "loc", "norm", "scaler"),
    *("center", "centers", "centre", "centres", "knots", "nodes"),
}
_MODULE_WEIGHTS = ("weight", "kernel", "bias")


def digest(array: np.ndarray) -> tuple[int, int]:
    """Name the values and the shape of a tensor by 128 bits; the same numbers in a wider kind count as the same."""
    hasher = hashlib.sha256(repr((array.shape, "f" if array.dtype.kind == "f" else array.dtype.str[1:])).encode())
    for block in _plain_blocks(array):
        hasher.update(np.ascontiguousarray(block).data)
    first, second = np.frombuffer(hasher.digest()[:16], "<u8")
    return int(first), int(second)


def unordered(array: np.ndarray) -> int:
    """Hash the magnitudes of a tensor whatever their order: the same after units are permuted or change sign."""
    total = np.uint64(0)
    for block in _plain_blocks(array):
        total += _mixed(magnitudes(block)).sum(dtype=np.uint64)
    return int(total)


def magnitudes(block: np.ndarray) -> UInt32[np.ndarray, "*shape"]:
    """Write numbers as the bits of their magnitude in single precision; other kinds than floats by their value."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(block, np.float32)
    return single.view(np.uint32) & np.uint32(0x7FFFFFFF)


def rare(bits: UInt32[np.ndarray, "*shape"]) -> UInt32[np.ndarray, " some"]:
    """Keep each magnitude once that has full precision: no zero, no round number, nothing from a half-width grid."""
    return distinct(bits[(bits & np.uint32(_COARSE) != 0) & (bits < np.uint32(0x7F800000))])


def distinct(values: UInt[np.ndarray, "*shape"]) -> UInt[np.ndarray, " some"]:
    """Sort numbers and keep each once; much faster than numpy's own for many different ones."""
    order = np.sort(values, axis=None)
    first = np.concatenate([np.ones(min(order.size, 1), bool), order[1:] != order[:-1]])
    return np.asarray(order[first])


def value_marks(bits: Iterable[UInt32[np.ndarray, " _"]]) -> Hashes:
    """Keep a sample of values that depends on nothing but the values: those whose hashes are least.

    Two networks that share values share hashes here, also if one of them has lost most of its weights.
    """
    return least((np.concatenate(list(bits) or [np.zeros(0, np.uint32)])).astype(np.uint64), KEPT_VALUES)


def direction_marks(units: Float[np.ndarray, "units numbers"]) -> Hashes:
    """Keep a sample of the directions of units, whatever their length and sign: least hashes, as for values."""
    few = units[:, :_COORDINATES].astype(np.float64)
    few /= max(float(np.abs(few).max(initial=0)), 1e-300)
    largest = np.take_along_axis(few, np.abs(few).argmax(axis=1)[:, None], axis=1)
    lengths = np.sqrt(np.square(few).sum(axis=1, keepdims=True)) * np.sign(largest)
    alive = lengths[:, 0] != 0
    steps = np.rint(few[alive] / lengths[alive] * _STEPS).astype(np.int64).astype(np.uint64)
    whole = np.zeros(len(steps), np.uint64)
    for column in steps.T:
        whole = _mixed_long(whole * np.uint64(0x9E3779B97F4A7C15) + column)
    return least(whole, KEPT_DIRECTIONS)


def least(values: Hashes, most: int) -> UInt64[np.ndarray, " kept"]:
    """Hash values and keep the smallest hashes, each once, in order."""
    return distinct(_mixed_long(values))[:most]


def rounding_marks(head: np.ndarray) -> tuple[int, int]:
    """Name numbers as they are after rounding to half precision and to brain floats."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = head.astype(np.float32)
        halves = single.astype(np.float16), brain(single)
    first, second = (hashlib.sha256(kind.tobytes()).digest()[:8] for kind in halves)
    return int.from_bytes(first, "little"), int.from_bytes(second, "little")


def brain(values: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Round to brain floats (eight bits of mantissa, to even), kept in single precision."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


def is_varied(bits: UInt32[np.ndarray, " some"]) -> bool:
    """Tell whether numbers are many different ones, unlike a mask, a table of few levels or quantised weights."""
    alive = bits[bits != 0]
    different = len(distinct(alive))
    return different >= 4 and different >= 0.25 * len(alive)


def is_fixed(name: str) -> bool:
    """Tell by its name that a tensor is no result of training: positions, statistics, masks, filters by formula."""
    last = name.replace("/", ".").rpartition(".")[2].lower()
    return last not in _MODULE_WEIGHTS and not _FIXED.isdisjoint(re.split(r"[^a-z]+", last))


def is_weight(shape: tuple[int, ...]) -> bool:
    """Tell whether a tensor of this shape may connect units: a table, also of one row if that is long enough."""
    return len(shape) > 1 and (is_table(shape) or prod(shape) >= FEWEST)


def is_table(shape: tuple[int, ...]) -> bool:
    """Tell whether there is more than one number along two axes at least."""
    return sum(length > 1 for length in shape) > 1


def has_units(shape: tuple[int, ...]) -> tuple[bool, bool]:
    """Tell for the first and the second axis whether it is long enough for an order of units to mean something."""
    return (len(shape) > 1 and shape[0] >= FEWEST, len(shape) > 1 and shape[1] >= FEWEST)


def _plain_blocks(array: np.ndarray) -> Iterator[Shaped[np.ndarray, " block"]]:
    """Go through a tensor piece by piece, floats as single precision where that loses nothing."""
    flat = array.reshape(-1)
    narrow = flat.dtype.kind == "f" and (flat.dtype.itemsize < 8 or all(map(_is_single, _blocks(flat))))
    for block in _blocks(flat):
        yield block.astype(np.float32, copy=False) if narrow else block


def _blocks(flat: Shaped[np.ndarray, " numbers"]) -> Iterator[Shaped[np.ndarray, " block"]]:
    return (flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK))


def _is_single(block: Shaped[np.ndarray, " block"]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(block.astype(np.float32), block, equal_nan=True)


def _mixed(bits: UInt32[np.ndarray, "*shape"]) -> UInt32[np.ndarray, "*shape"]:
    """Scramble 32 bits (the finaliser "lowbias32" of C. Wellons)."""
    whole = bits ^ (bits >> np.uint32(16))
    whole *= np.uint32(0x7FEB352D)
    whole ^= whole >> np.uint32(15)
    whole *= np.uint32(0x846CA68B)
    whole ^= whole >> np.uint32(16)
    return np.asarray(whole)


def _mixed_long(values: Hashes) -> Hashes:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    whole = values + np.uint64(0x9E3779B97F4A7C15)
    whole = (whole ^ (whole >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    whole = (whole ^ (whole >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(whole ^ (whole >> np.uint64(31)))
