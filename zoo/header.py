"""Check the header of a safetensors file before a tensor of it is read."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from math import prod
from typing import IO, Any

from .errors import Refused

LARGEST_HEADER = 16 << 20
MOST_TENSORS = 100_000
LONGEST_NAME = 1024
MOST_PADDING = 4096

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
_HINT = "get the file again, or save it again with safetensors"


def read_header(file: IO[bytes]) -> Mapping[str, str]:
    """Check a safetensors header against the file that it stands in, and return its metadata.

    Stricter than the safetensors library: no blank before the brace, no key twice, little padding, and
    ranges that tile the file without gap or overlap. Raises Refused (truncated, damaged, bomb, dtype).
    """
    size = os.fstat(file.fileno()).st_size
    length = struct.unpack("<Q", file.read(8))[0]
    if length > LARGEST_HEADER:
        raise Refused("bomb", f"declares a header of {length:,} bytes", hint=_HINT)
    text = file.read(length)
    if len(text) < length:
        raise Refused("truncated", "is cut short within its header", hint=_HINT)
    header = _parse(text)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged("its metadata is not text")
    _check_ranges(header, size - 8 - length)
    return metadata


def _parse(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{" or len(text) - len(text.rstrip(b" ")) > MOST_PADDING:
        raise _damaged("it does not begin with a brace or is padded")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _damaged("it is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged("it is not an object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _damaged("it has the same key twice")
    return found


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
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2 or len(shape) > 32:
        raise _damaged("a shape or a range is not made of natural numbers")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise Refused("dtype", f"holds numbers of an unknown kind ({dtype!r:.20})", hint="save them as float32")
    if prod(shape) * ITEM_BYTES[dtype] != offsets[1] - offsets[0]:
        raise _damaged("a range is not of the size of its tensor")
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**48 for number in value)


def _damaged(why: str) -> Refused:
    return Refused("damaged", f"has a broken header: {why}", hint=_HINT)
