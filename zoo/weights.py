"""Numbers that lie at known places of files, read one tensor at a time when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from .errors import Refused
from .store import open_regular

_FLOATS = {"f8": 8, "f4": 4, "f2": 2, "bf2": 2}
_WHOLE = {"i8": 8, "i4": 4, "i2": 2, "i1": 1, "u8": 8, "u4": 4, "u2": 2, "u1": 1}
KINDS = {**_FLOATS, **_WHOLE, "b1": 1}
"""Bytes of a number of each kind: numpy's names, and bf2 for brain floats."""
MOST_AXES = 32
MOST_ENTRIES = 1 << 56
_AT_ONCE = 1 << 30


def is_shape(lengths: Sequence[int]) -> bool:
    """Tell whether an array can have a shape: also of an empty one the lengths must not overflow."""
    return len(lengths) <= MOST_AXES and prod(max(length, 1) for length in lengths) <= MOST_ENTRIES


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: the file, the byte it begins at, the kind of its numbers, its shape.

    `kind` is one of KINDS after "<" or ">" for the order of bytes. `strides` count numbers from one entry to
    the next along each axis; None where the tensor is stored row by row.
    """

    file: Path
    offset: int
    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None

    @property
    def span(self) -> int:
        """How many stored numbers there are from the first to the last of the tensor."""
        if self.strides is None or 0 in self.shape:
            return prod(self.shape)
        return 1 + sum((length - 1) * step for length, step in zip(self.shape, self.strides, strict=True))

    @property
    def end(self) -> int:
        """The byte after the last of the tensor."""
        return self.offset + self.span * KINDS[self.kind[1:]]


@dataclass(frozen=True, slots=True, eq=False)
class Weights(Mapping[str, np.ndarray]):
    """The tensors of one checkpoint by name; each access reads one, names and shapes are free.

    Brain floats are widened to float32; the order of bytes is the machine's.
    """

    places: Mapping[str, Place]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, without reading one."""
        return {name: place.shape for name, place in self.places.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return read_place(self.places[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places


def keep(path: Path, tensors: Mapping[str, np.ndarray]) -> Weights:
    """Write tensors one after the other as plain numbers, each in memory only meanwhile; tell where they lie.

    Raises Refused (dtype) for numbers of other kinds than KINDS.
    """
    places: dict[str, Place] = {}
    with path.open("wb") as file:
        for name, array in tensors.items():
            if array.dtype.str[1:] not in KINDS:
                raise Refused("dtype", f"holds numbers of an unknown kind ({array.dtype})", hint="save them as float32")
            places[name] = Place(path, file.tell(), "<" + array.dtype.str[1:], array.shape)
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)
    return Weights(places)


def read_place(place: Place) -> np.ndarray:
    """Read one tensor into memory of its own. Raises Refused (truncated, and what `open_regular` raises)."""
    kind = place.kind[1:]
    stored = np.empty(place.span, place.kind[0] + ("u2" if kind == "bf2" else "u1" if kind == "b1" else kind))
    _fill(place.file, place.offset, stored)
    if place.strides is not None:
        steps = [step * stored.itemsize for step in place.strides]
        stored = np.ascontiguousarray(np.lib.stride_tricks.as_strided(stored, place.shape, steps))
    stored = stored.reshape(place.shape)
    if kind == "b1":
        return stored.view(np.bool_) if not (stored > 1).any() else np.asarray(stored != 0)
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return _widened(native) if kind == "bf2" else native


def _widened(halves: np.ndarray) -> np.ndarray:
    whole = halves.astype(np.uint32)
    whole <<= 16
    return whole.view(np.float32)


def _fill(path: Path, offset: int, target: np.ndarray) -> None:
    """Read by position, not by memory map: a file that shrinks meanwhile would kill the process with SIGBUS."""
    if not target.size:
        return
    memory = target.reshape(-1).view(np.uint8).data
    done = 0
    with open_regular(path) as file:
        while done < len(memory):
            count = os.preadv(file.fileno(), [memory[done : done + _AT_ONCE]], offset + done)
            if count == 0:
                raise Refused("truncated", "is cut short", hint="get the file again")
            done += count
