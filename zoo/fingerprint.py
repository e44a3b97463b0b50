"""A small fingerprint of a network's weights, from which likely relatives are found without reading them again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt32, UInt64

from .errors import Refused
from .folding import LONGEST, Sketch, joined, sketched, within_budget
from .marks import (
    Hashes,
    digest,
    direction_marks,
    distinct,
    has_units,
    is_fixed,
    is_varied,
    is_weight,
    magnitudes,
    rare,
    rounding_marks,
    unordered,
    value_marks,
)
from .units import centred, is_ordered, projected, table

HEAD = 1 << 16
"""Leading weights of a network that its marks are taken from."""
SKETCHED = 1024
"""Most units, and most numbers of each, that a sketch looks at."""
MOST_SHAPES = 1024
MOST_LEADS = 4
LEAD_UNITS = 96
LEAD_NUMBERS = 32
_SAMPLE = 4096
_VECTORS = 16
_LARGEST_FILE = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """The directions of the first units of a tensor; `shape` is that of one unit, `units` counts all of them."""

    shape: tuple[int, ...]
    units: int
    rows: Float16[np.ndarray, "rows numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of a network's weights to find its relatives.

    For each tensor in the file's order: its name, shape, digest, the hash of its magnitudes in any order, and
    whether it can tell anything of descent (many different trained numbers along two axes at least). Of the
    whole: marks of its values and of its units' directions, marks of it rounded to half precision and to brain
    floats, sketches and leads.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    digests: UInt64[np.ndarray, "tensors 2"]
    unordered: UInt64[np.ndarray, " tensors"]
    telling: Bool[np.ndarray, " tensors"]
    rounded: UInt64[np.ndarray, " 2"]
    values: UInt64[np.ndarray, " values"]
    directions: UInt64[np.ndarray, " directions"]
    sketches: tuple[Sketch, ...]
    leads: tuple[Lead, ...]


def fingerprint(tensors: Mapping[str, np.ndarray]) -> Fingerprint:
    """Take the fingerprint of a network, reading each tensor once and holding one in memory at a time.

    Takes whatever a file may hold: no tensor at all, empty ones, whole numbers, NaN and infinities.
    """
    collector = _Collector()
    for name in tensors:
        collector.add(name, tensors[name])
    return collector.whole()


def write_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Write a fingerprint as an npz of plain arrays, to exactly this path."""
    about = {
        "names": fingerprint.names,
        "shapes": fingerprint.shapes,
        "sketches": [[s.shape, s.units, s.size, s.spread, len(s.numbers)] for s in fingerprint.sketches],
        "leads": [[lead.shape, lead.units, *lead.rows.shape] for lead in fingerprint.leads],
    }
    plain = {name: getattr(fingerprint, name) for name in _ARRAYS}
    numbers = [np.zeros(0, np.float32), *(sketch.numbers for sketch in fingerprint.sketches)]
    rows = [np.zeros(0, np.float16), *(lead.rows.reshape(-1) for lead in fingerprint.leads)]
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with path.open("wb") as file:  # savez would add a suffix to a path
        np.savez(file, about=text, numbers=np.concatenate(numbers), rows=np.concatenate(rows), **plain)


def read_fingerprint(path: Path) -> Fingerprint:
    """Read what `write_fingerprint` wrote. Raises Refused (damaged) for anything else."""
    try:
        return _read(path)
    except (OSError, EOFError, ValueError, LookupError, TypeError, ArithmeticError, zipfile.BadZipFile):
        raise Refused("damaged", "is no fingerprint", hint="remove it and run the same command again") from None


_ARRAYS = {
    "digests": (np.uint64, 2),
    "unordered": (np.uint64, 1),
    "telling": (np.bool_, 1),
    "rounded": (np.uint64, 1),
    "values": (np.uint64, 1),
    "directions": (np.uint64, 1),
}


def _read(path: Path) -> Fingerprint:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > min(_LARGEST_FILE, 2 * path.stat().st_size):
            raise ValueError("not written here")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in (*_ARRAYS, "about", "numbers", "rows")}
    about = json.loads(arrays["about"].tobytes())
    plain = {name: _checked(arrays[name], *kind) for name, kind in _ARRAYS.items()}
    names, shapes = tuple(map(str, about["names"])), tuple(_shape(shape) for shape in about["shapes"])
    if not len(names) == len(shapes) == len(plain["digests"]) == len(plain["unordered"]) == len(plain["telling"]):
        raise ValueError("lengths differ")
    numbers, rows = _checked(arrays["numbers"], np.float32, 1), _checked(arrays["rows"], np.float16, 1)
    sketches, start = [], 0
    for shape, units, size, share, length in about["sketches"]:
        part = _part(numbers, start, length)
        if length & (length - 1) or length > LONGEST:
            raise ValueError("not folded here")
        sketches.append(Sketch(_shape(shape), int(units), int(size), float(share), part))
        start += length
    leads, start = [], 0
    for shape, units, count, width in about["leads"]:
        if width != min(prod(_shape(shape)), LEAD_NUMBERS):
            raise ValueError("not laid out here")
        leads.append(Lead(_shape(shape), int(units), _part(rows, start, count * width).reshape(count, width)))
        start += count * width
    return Fingerprint(names, shapes, sketches=tuple(sketches), leads=tuple(leads), **plain)


def _part(array: np.ndarray, start: int, length: int) -> np.ndarray:
    if not 0 < length <= len(array) - start:
        raise ValueError("too short")
    return array[start : start + length]


def _checked(array: np.ndarray, dtype: type, axes: int) -> np.ndarray:
    if array.dtype != dtype or array.ndim != axes:
        raise ValueError("another kind of array")
    return array


def _shape(lengths: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(length) for length in lengths)


class _Collector:
    """What is known of a network after some of its tensors."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._shapes: list[tuple[int, ...]] = []
        self._digests: list[tuple[int, int]] = []
        self._unordered: list[int] = []
        self._telling: list[bool] = []
        self._values: list[UInt32[np.ndarray, " some"]] = []
        self._rounded = np.zeros(2, np.uint64)
        self._left = HEAD
        self._first: tuple[str, np.ndarray, np.ndarray] | None = None
        self._vectors: dict[str, np.ndarray] = {}
        self._sketches: dict[tuple[int, ...], Sketch] = {}
        self._leads: dict[tuple[int, ...], Lead] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        array = array if array.flags.c_contiguous else array.copy()
        self._names.append(name)
        self._shapes.append(array.shape)
        self._digests.append(digest(array))
        self._unordered.append(unordered(array) if array.dtype.kind in "fiub" else 0)
        if array.dtype.kind == "f":
            self._rounded += np.array(rounding_marks(array.reshape(-1)[:_SAMPLE]), np.uint64)
        if array.ndim == 1 and len(self._vectors) < _VECTORS and array.size <= SKETCHED and array.dtype.kind == "f":
            self._vectors[name] = array
        telling = array.dtype.kind == "f" and is_weight(array.shape) and not is_fixed(name)
        bits = magnitudes(array.reshape(-1)[:_SAMPLE]) if telling else np.zeros(0, np.uint32)
        self._telling.append(telling and is_varied(bits) and self._look(name, array))
        if self._telling[-1]:
            self._mark(array)

    def _mark(self, array: np.ndarray) -> None:
        if self._left:
            head = array.reshape(-1)[: self._left]
            self._values.append(rare(magnitudes(head)))
            self._left -= len(head)

    def _look(self, name: str, array: np.ndarray) -> bool:
        """Sketch a tensor; False where each of its long axes has an order, as in a table of positions."""
        axes = [axis for axis, long in enumerate(has_units(array.shape)) if long]
        tables = {axis: table(array, axis=axis, most_units=SKETCHED, most_numbers=SKETCHED) for axis in axes}
        whole = {axis: centred(units) for axis, units in tables.items()}
        if axes and all(is_ordered(units) for units in whole.values()):
            return False
        if self._first is None:
            self._first = name, _leading(array), _leading(np.moveaxis(array, 1, 0))
        if axes:
            self._sketch(array.shape, whole[axes[0]])
        if 0 in axes:
            self._lead(array)
        return True

    def _sketch(self, shape: tuple[int, ...], units: Float32[np.ndarray, "units numbers"]) -> None:
        if shape in self._sketches or len(self._sketches) < MOST_SHAPES:
            new, known = sketched(shape, units), self._sketches.get(shape)
            self._sketches[shape] = new if known is None else joined(known, new)

    def _lead(self, array: np.ndarray) -> None:
        shape = array.shape[1:]
        if shape in self._leads or len(self._leads) >= MOST_LEADS:
            return
        units = table(array[:LEAD_UNITS], most_units=LEAD_UNITS, most_numbers=LONGEST)
        lengths = np.sqrt(np.square(units).sum(axis=1, keepdims=True))
        rows = projected(np.divide(units, lengths, out=np.zeros_like(units), where=lengths > 0), LEAD_NUMBERS)
        self._leads[shape] = Lead(shape, len(array), rows.astype(np.float16))

    def whole(self) -> Fingerprint:
        return Fingerprint(
            names=tuple(self._names),
            shapes=tuple(self._shapes),
            digests=np.array(self._digests, np.uint64).reshape(-1, 2),
            unordered=np.array(self._unordered, np.uint64),
            telling=np.array(self._telling, np.bool_),
            rounded=self._rounded,
            values=value_marks(self._values),
            directions=self._directions(),
            sketches=within_budget(list(self._sketches.values())),
            leads=tuple(self._leads.values()),
        )

    def _directions(self) -> Hashes:
        """Mark the directions of the first weight's units, without their biases and with them."""
        if self._first is None:
            return np.zeros(0, np.uint64)
        name, outputs, inputs = self._first
        tables = [outputs, inputs]
        bias = self._vectors.get(f"{name.removesuffix('.weight')}.bias")
        if bias is not None and len(bias) == len(outputs):
            tables.append(np.concatenate([np.where(np.isfinite(bias), bias, 0)[:, None], outputs], axis=1))
        return distinct(np.concatenate([direction_marks(units) for units in tables]))


def _leading(array: np.ndarray) -> Float32[np.ndarray, "units numbers"]:
    """Copy the first numbers of each unit along the first axis."""
    few = array[:HEAD].reshape(min(len(array), HEAD), -1)[:, :LEAD_NUMBERS]
    with np.errstate(over="ignore", invalid="ignore"):
        single = few.astype(np.float32)
    return np.where(np.isfinite(single), single, np.float32(0))
