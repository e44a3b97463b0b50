"""Read safetensors: a header that is checked against the file it stands in, then plain numbers."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

from .checkpoint import LONGEST_NAME, MOST_TENSORS, Checkpoint
from .errors import Refused
from .plain_json import parse_json
from .store import open_regular
from .weights import KINDS, Place, Weights, is_shape

LARGEST_HEADER = 16 << 20
MOST_PADDING = 4096

_FLOATS = {"F64": "f8", "F32": "f4", "F16": "f2", "BF16": "bf2"}
_SIGNED = {"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1"}
_UNSIGNED = {"U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"}
_KINDS = {**_FLOATS, **_SIGNED, **_UNSIGNED, "BOOL": "b1"}
_HINT = "get the file again, or save it again with safetensors"


def read_safetensors(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read a safetensors file whose header holds what it promises.

    Stricter than the safetensors library: no blank before the brace, no key twice, little padding, and
    ranges that tile the file without gap or overlap. Raises Refused (truncated, damaged, bomb, dtype).
    """
    with open_regular(path) as file:
        header, start = _read_header(file)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise _damaged("its metadata is not text")
        _check_ranges(header, os.fstat(file.fileno()).st_size - start)
    return Checkpoint("safetensors", Weights({name: _place(path, start, header[name]) for name in header}), metadata)


def _place(path: Path, start: int, entry: Mapping[str, Any]) -> Place:
    return Place(path, start + entry["data_offsets"][0], "<" + _KINDS[entry["dtype"]], tuple(entry["shape"]))


def _read_header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Read the header and the place where the numbers begin."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if length > LARGEST_HEADER:
        raise Refused("bomb", f"declares a header of {length:,} bytes", hint=_HINT)
    text = file.read(length)
    if not length or len(text) < length:
        raise Refused("truncated", "is cut short within its header", hint=_HINT)
    if text[:1] != b"{" or len(text) - len(text.rstrip(b" ")) > MOST_PADDING:
        raise _damaged("it does not begin with a brace or is padded")
    header = parse_json(text, "header")
    if not isinstance(header, dict):
        raise _damaged("it is not an object")
    return header, 8 + length


def _check_ranges(header: Mapping[str, Any], available: int) -> None:
    if len(header) > MOST_TENSORS or any(len(name) > LONGEST_NAME for name in header):
        raise Refused("bomb", "declares far too many tensors, or names that are far too long", hint=_HINT)
    position = 0
    for begin, end in sorted(_check_entry(entry) for entry in header.values()):
        if begin != position:
            raise _damaged("its tensors overlap or leave gaps")
        position = end
    if position > available:
        raise Refused(
            "truncated",
            f"is cut short: it declares {position:,} bytes of weights and {available:,} are there",
            hint=_HINT,
        )
    if position < available:
        raise _damaged("bytes follow that belong to no tensor")


def _check_entry(entry: Any) -> tuple[int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged("an entry is not a dtype, a shape and a range")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or not is_shape(shape):
        raise _damaged("a shape or a range is not made of natural numbers")
    if not isinstance(dtype, str) or dtype not in _KINDS:
        raise Refused("dtype", f"holds numbers of an unknown kind ({dtype!r:.20})", hint="save them as float32")
    if prod(shape) * KINDS[_KINDS[dtype]] != offsets[1] - offsets[0]:
        raise _damaged("a range is not of the size of its tensor")
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**48 for number in value)


def _damaged(why: str) -> Refused:
    return Refused("damaged", f"has a broken header: {why}", hint=_HINT)
