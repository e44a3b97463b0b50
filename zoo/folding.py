"""Sketches: tensors in random signs, folded until they are short; products between them stay what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from jaxtyping import Float32

from .units import signs, spread

LONGEST = 4096
BUDGET = 1 << 14
_SHORTEST = 64


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """The sum of all tensors of one shape, centred, in random signs folded onto a power of two of numbers.

    The cosine of two sketches estimates that of the tensors themselves, whatever their names and order.
    `units` and `size` count what was sketched; `spread` see units.
    """

    shape: tuple[int, ...]
    units: int
    size: int
    spread: float
    numbers: Float32[np.ndarray, " numbers"]


def sketched(shape: tuple[int, ...], units: Float32[np.ndarray, "units numbers"]) -> Sketch:
    """Sketch the centred units of a tensor of this shape, brought to length one."""
    size = float(np.sqrt(np.square(units).sum())) or 1.0
    length = min(LONGEST, 1 << max(units.size - 1, 1).bit_length())
    key = int.from_bytes(hashlib.sha256(repr(shape).encode()).digest()[:8], "little")
    whole = np.zeros(-(-units.size // length) * length, np.float32)
    whole[: units.size] = units.reshape(-1) * signs(units.size, key) / np.float32(size)
    return Sketch(shape, len(units), units.size, spread(units), whole.reshape(-1, length).sum(axis=0))


def joined(left: Sketch, right: Sketch) -> Sketch:
    """Add sketches of tensors of one shape; the larger `spread` is the more careful."""
    return replace(left, spread=max(left.spread, right.spread), numbers=left.numbers + right.numbers)


def within_budget(sketches: Sequence[Sketch]) -> tuple[Sketch, ...]:
    """Fold sketches until all of them together are small; of very many, keep the largest tensors'."""
    kept = sorted(sketches, key=lambda sketch: -prod(sketch.shape))[: BUDGET // _SHORTEST]
    longest = LONGEST
    while sum(min(longest, len(sketch.numbers)) for sketch in kept) > BUDGET:
        longest //= 2
    return tuple(replace(sketch, numbers=folded(sketch.numbers, longest)) for sketch in kept)


def folded(numbers: Float32[np.ndarray, " numbers"], most: int) -> Float32[np.ndarray, " kept"]:
    """Halve a sketch until it has at most so many numbers: what a shorter one would have been."""
    while len(numbers) > most:
        numbers = numbers.reshape(2, -1).sum(axis=0)
    return numbers
