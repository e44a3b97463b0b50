"""Find the numbers of ONNX tensors: in the graph's own file, in a file beside it, or in the parsed message."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .checkpoint import LONGEST_NAME, Wanted
from .errors import Refused
from .sharded import check_names
from .store import open_regular
from .weights import KINDS, MOST_AXES, Place, read_place
from .wire import DOUBLES, FLOATS, RAW

LARGEST = 1 << 42
NUMBERS = {
    1: "f4",
    2: "u1",
    3: "i1",
    4: "u2",
    5: "i2",
    6: "i4",
    7: "i8",
    9: "b1",
    10: "f2",
    11: "f8",
    12: "u4",
    13: "u8",
    16: "bf2",
}
"""Kinds of numbers by the code that ONNX gives them."""
_HINT = "get the file again, or export it again"
_AS_PLAIN = "export it again with weights of 32 or 16 bits"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """Numbers that a graph holds: their kind (of KINDS), their shape, and the numbers or where they lie.

    Brain floats in memory are whole numbers of 16 bits.
    """

    kind: str
    shape: tuple[int, ...]
    stored: Place | np.ndarray

    @property
    def size(self) -> int:
        """How many numbers."""
        return prod(self.shape)

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.size * KINDS[self.kind]

    def read(self) -> np.ndarray:
        """Read the numbers, brain floats widened."""
        if isinstance(self.stored, Place):
            return read_place(self.stored)
        if self.kind == "bf2":
            return (self.stored.astype(np.uint32) << 16).view(np.float32)
        return self.stored

    def raw(self) -> bytes:
        """Read the numbers as they lie in a file."""
        if isinstance(self.stored, np.ndarray):
            return self.stored.astype(self.stored.dtype.newbyteorder("<"), copy=False).tobytes()
        kind = {"bf2": "u2", "b1": "u1"}.get(self.kind, self.kind)
        place = Place(self.stored.file, self.stored.offset, "<" + kind, self.shape)
        return read_place(place).tobytes()


def constant_of(
    tensor: onnx.TensorProto, *, path: Path, beside: Mapping[str, Path], cut: Mapping[int, tuple[int, int]]
) -> Constant:
    """Find the numbers of a tensor; `cut` tells where those lie in the file itself that the message lacks.

    Raises Refused (damaged, truncated, dtype, layout, outside) where they are not what the tensor declares.
    """
    kind, shape = _kind(tensor), _shape(tensor)
    if tensor.HasField("segment"):
        raise Refused("layout", "holds a piece of a tensor", hint=_HINT)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        if cut or tensor.raw_data:
            raise _damaged(tensor, "its numbers are in two places")
        return Constant(kind, shape, _outer(tensor, kind, shape, beside))
    if len(cut) + sum(bool(len(getattr(tensor, name))) for name in _TYPED) > 1:
        raise _damaged(tensor, "its numbers are in two places")
    if cut:
        return Constant(kind, shape, _inner(tensor, kind, shape, path, cut))
    return Constant(kind, shape, _parsed(tensor, kind, shape))


def wanted_by(tensors: list[onnx.TensorProto], beside: Mapping[str, Path]) -> None:
    """Ask for the files in which tensors lie. Raises Wanted, and Refused (outside, bomb) for other folders."""
    places = dict.fromkeys(_location(tensor) for tensor in tensors if tensor.external_data or _is_outer(tensor))
    check_names(tuple(places))
    if missing := tuple(place for place in places if place not in beside):
        raise Wanted(missing)


def _is_outer(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _kind(tensor: onnx.TensorProto) -> str:
    found = NUMBERS.get(tensor.data_type)
    if found is None:
        known = onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in known else tensor.data_type
        raise Refused("dtype", f"holds numbers of an unknown kind ({name})", hint=_AS_PLAIN)
    return found


def _shape(tensor: onnx.TensorProto) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if len(shape) > MOST_AXES or min(shape, default=0) < 0 or prod(max(length, 1) for length in shape) > LARGEST:
        raise _damaged(tensor, "its shape is absurd")
    return shape


def _inner(
    tensor: onnx.TensorProto, kind: str, shape: tuple[int, ...], path: Path, cut: Mapping[int, tuple[int, int]]
) -> Place:
    ((number, (offset, length)),) = cut.items()
    if {FLOATS: kind == "f4", DOUBLES: kind == "f8"}.get(number, number == RAW) is False:
        raise _damaged(tensor, "its numbers are of another kind")
    if length != prod(shape) * KINDS[kind]:
        raise _damaged(tensor, f"it has {length:,} bytes for a shape of {prod(shape):,} numbers")
    return Place(path, offset, f"<{kind}", shape)


def _outer(tensor: onnx.TensorProto, kind: str, shape: tuple[int, ...], beside: Mapping[str, Path]) -> Place:
    said = {entry.key: entry.value for entry in tensor.external_data}
    offset, needed = _natural(tensor, said.get("offset", "0")), prod(shape) * KINDS[kind]
    if "length" in said and _natural(tensor, said["length"]) != needed:
        raise _damaged(tensor, f"it has {said['length'][:20]} bytes for a shape of {prod(shape):,} numbers")
    with open_regular(beside[_location(tensor)]) as file:
        there = os.fstat(file.fileno()).st_size
    if offset + needed > there:
        what = f"needs {offset + needed:,} bytes of weights beside it, {there:,} are there"
        raise Refused("truncated", what, hint="get the file beside it again")
    return Place(beside[_location(tensor)], offset, f"<{kind}", shape)


def _location(tensor: onnx.TensorProto) -> str:
    said = {entry.key: entry.value for entry in tensor.external_data}
    return str(said.get("location", "")).removeprefix("./")


def _natural(tensor: onnx.TensorProto, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise _damaged(tensor, "its place is no number")
    return int(text)


_TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data", "raw_data")
_FIELDS = {"f4": "float_data", "f8": "double_data", "i8": "int64_data", "u8": "uint64_data", "u4": "uint64_data"}


def _parsed(tensor: onnx.TensorProto, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read numbers that the message holds: as bytes, or one by one in the field for their kind."""
    bits = {"bf2": "u2"}.get(kind, kind)
    if tensor.raw_data:
        values = np.frombuffer(tensor.raw_data, np.uint8)
        if values.size == prod(shape) * KINDS[kind]:
            return values.view(np.bool_ if kind == "b1" else np.dtype(f"<{bits}")).reshape(shape)
        raise _damaged(tensor, f"it has {values.size:,} bytes for a shape of {prod(shape):,} numbers")
    listed: Any = getattr(tensor, _FIELDS.get(kind, "int32_data"))
    if len(listed) != prod(shape):
        raise _damaged(tensor, f"it has {len(listed):,} numbers for a shape of {prod(shape):,}")
    if kind in ("f4", "f8"):
        return np.array(listed, kind).reshape(shape)
    whole = np.array(listed, np.uint64 if kind in ("u4", "u8") else np.int64).reshape(shape)
    if kind in ("f2", "bf2"):
        return whole.astype(np.uint16).view(np.float16 if kind == "f2" else np.uint16)
    narrow = whole.astype(np.bool_ if kind == "b1" else np.dtype(bits))
    if not np.array_equal(narrow, whole):
        raise _damaged(tensor, "its numbers are too large for their kind")
    return narrow


def _damaged(tensor: onnx.TensorProto, why: str) -> Refused:
    name = f" {tensor.name}" if tensor.name and len(tensor.name) < LONGEST_NAME else ""
    return Refused("damaged", f"has a broken tensor{name}: {why}", hint=_HINT)
