"""Two layers that come in batches of samples, standardised as they are read."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from ...zoo.errors import BadInput
from .moments import Moments, measure, merge
from .similarity import FEWEST_SAMPLES

# Units and samples taken at once: enough for the speed of matrix products, half a gigabyte of numbers.
BLOCK = 4096
ROWS = 4096
# No more bytes than this of two layers are read before a mapped file's pages are given back.
MAPPED = 2**29

Batch = tuple[Num[np.ndarray, "samples left"], Num[np.ndarray, "samples right"]]
# Gives the same batches from the start each time it is called.
Batches = Callable[[], Iterable[Batch]]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """How to standardise a layer; units with scale 0 are dead."""

    mean: Float[np.ndarray, " units"]
    scale: Float[np.ndarray, " units"]
    odd: Bool[np.ndarray, " units"]

    def standardise(self, batch: Num[np.ndarray, "samples units"], units: slice) -> Float[np.ndarray, "samples block"]:
        """Read some units of a batch, so that sums of products over all batches are correlations."""
        values = np.array(batch[:, units], dtype=np.float64)
        values[:, self.scale[units] == 0.0] = 0.0
        values -= self.mean[units]
        values *= self.scale[units]
        return values.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Two layers: their batches, how to standardise each, and how many samples there are."""

    batches: Batches
    left: Side
    right: Side
    samples: int

    @property
    def sides(self) -> tuple[Side, Side]:
        """Give left and right."""
        return self.left, self.right

    def turned(self) -> Layers:
        """Swap left and right."""
        return Layers(lambda: ((right, left) for left, right in self.batches()), self.right, self.left, self.samples)

    def read(self) -> Iterator[Batch]:
        """Go through all batches once more; raise BadInput when fewer samples come than the first time."""
        seen = 0
        for batch in self.batches():
            yield batch
            seen += len(batch[0])
        if seen != self.samples:
            raise BadInput(
                f"batches gave {self.samples} samples at first and {seen} when asked again",
                hint="give a function that starts from the first batch each time it is called",
            )


def row_blocks(left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "_samples right"]) -> Iterator[Batch]:
    """Cut two layers into batches, and let go of what was read of a mapped file."""
    width = sum(side.shape[1] * side.itemsize for side in (left, right))
    rows = min(ROWS, max(1, MAPPED // max(width, 1)))
    for start in range(0, max(len(left), len(right)), rows):
        yield left[start : start + rows], right[start : start + rows]
        for side in (left, right):
            _release(side)


def unit_blocks(units: int) -> list[slice]:
    """Cut the units of a layer into blocks."""
    return [slice(start, min(start + BLOCK, units)) for start in range(0, units, BLOCK)]


def measure_layers(
    batches: Batches,
    *,
    odd: tuple[Bool[np.ndarray, " _left"] | bool, Bool[np.ndarray, " _right"] | bool],
    alive: tuple[Bool[np.ndarray, " _left"] | None, Bool[np.ndarray, " _right"] | None],
) -> Layers:
    """Go through the batches once for the moments of both sides.

    Raises BadInput for fewer than four samples, or not as many on both sides.
    """
    moments: list[Moments] = []
    for left, right in batches():
        if len(left) != len(right):
            raise BadInput(
                f"{len(left)} samples on one side, {len(right)} on the other",
                hint="record both layers on the same probe",
            )
        fresh = [measure(left), measure(right)]
        moments = [merge(*both) for both in zip(moments, fresh, strict=True)] if moments else fresh
    samples = moments[0].count if moments else 0
    if samples < FEWEST_SAMPLES:
        raise BadInput(
            f"{samples} samples are too few to compare units",
            hint=f"give at least {FEWEST_SAMPLES} samples, better a thousand",
        )
    left_side, right_side = (_side(*one) for one in zip(moments, odd, alive, strict=True))
    return Layers(batches, left_side, right_side, samples)


def _side(moments: Moments, odd: Bool[np.ndarray, " units"] | bool, alive: Bool[np.ndarray, " units"] | None) -> Side:
    live = moments.alive if alive is None else moments.alive & alive
    scale = np.where(live, 1.0 / np.sqrt(np.where(live, moments.squares, 1.0)), 0.0)
    return Side(np.where(live, moments.mean, 0.0), scale, np.broadcast_to(np.asarray(odd), live.shape))


def _release(array: np.ndarray) -> None:
    """Give back the pages of a mapped file, which otherwise stay in memory once they were read."""
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode == "c":
            return  # its changed pages are nowhere else
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
