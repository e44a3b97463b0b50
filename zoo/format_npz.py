"""Read npz archives and bare npy files, having compared every claim with the file before memory is set aside."""

from __future__ import annotations

import os
import sys
import tokenize
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from .archive import begin_of, check_sum, list_archive, open_member, refuse_bomb
from .checkpoint import LONGEST_NAME, Checkpoint
from .errors import Refused
from .store import open_regular
from .weights import Place, Weights, is_shape

ALWAYS, RATIO = 64 << 20, 20  # savez_compressed: weights hardly compress, masks and zeros do
LONGEST_TEXT = 4096
ONLY = "weight"
"""What the one array of a bare npy file is called."""
_HINT = "get the file again, or save it again as safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class _Unpacked(Mapping[str, np.ndarray]):
    """Arrays of a compressed archive, unpacked one at a time when they are asked for."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        with open_regular(self.path) as file, zipfile.ZipFile(file) as archive:
            return _read_member(archive, f"{name}.npy")

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, slots=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    length: int

    @property
    def size(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def read_npz(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read an npz archive of plain arrays; text and whole numbers without axes become metadata.

    Raises Refused (truncated, damaged, bomb, dtype, pickle-code).
    """
    with open_regular(path) as file:
        members = list_archive(file)
        refuse_bomb(members, limit=max(ALWAYS, RATIO * os.fstat(file.fileno()).st_size))
        with zipfile.ZipFile(file) as archive:
            headers = {member.filename: _header_of(archive, member) for member in members}
            metadata = _metadata(archive, headers)
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        begins = {member.filename: begin_of(file, member) for member in members} if stored else {}
        for member in members if stored else ():
            check_sum(file, member)
    kept = {name: found for name, found in headers.items() if found.dtype.kind not in "US" and not _is_said(found)}
    if stored:
        places = {_short(n): _place(path, begins[n], found) for n, found in kept.items()}
        return Checkpoint("npz", Weights(places), metadata)
    return Checkpoint("npz", _Unpacked(path, {_short(n): found.shape for n, found in kept.items()}), metadata)


def read_npy(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read a bare array as one tensor called "weight". Raises Refused (truncated, damaged, dtype, pickle-code)."""
    with open_regular(path) as file:
        header = _read_header(file)
        there = os.fstat(file.fileno()).st_size - header.length
    if there < header.size:
        what = f"is cut short: it declares {header.size:,} bytes of numbers and {there:,} are there"
        raise Refused("truncated", what, hint=_HINT)
    if there > header.size:
        raise Refused("damaged", "goes on after the array that it declares", hint=_HINT)
    if header.dtype.kind in "US":
        raise Refused("no-tensors", "holds text, not numbers", hint="save arrays of numbers")
    return Checkpoint("npy", Weights({ONLY: _place(path, 0, header)}), {})


def _short(name: str) -> str:
    return name.removesuffix(".npy")


def _is_said(header: _Header) -> bool:
    """Tell text and whole numbers without axes: they are said of the weights."""
    return not header.shape and header.dtype.kind in "USiu"


def _metadata(archive: zipfile.ZipFile, headers: Mapping[str, _Header]) -> dict[str, str]:
    said = {n: found for n, found in headers.items() if _is_said(found) and found.dtype.itemsize <= LONGEST_TEXT}
    return {_short(name): _text(_read_member(archive, name)) for name in said}


def _text(array: np.ndarray) -> str:
    """Write text or a number; what is no letter becomes the sign that stands for such."""
    if array.dtype.kind not in "US":
        return str(array.item())
    code = "utf-8" if array.dtype.kind == "S" else "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
    return array.tobytes().decode(code, "replace").rstrip("\0")


def _place(path: Path, begin: int, header: _Header) -> Place:
    strides = None
    if header.fortran and len(header.shape) > 1:
        strides = tuple(prod(header.shape[:axis]) for axis in range(len(header.shape)))
    order = ">" if header.dtype.str[0] == ">" else "<"
    return Place(path, begin + header.length, order + header.dtype.str[1:], header.shape, strides)


def _header_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Header:
    """Read what one array claims to be, and compare it with what the archive declares for it."""
    if len(member.filename) > LONGEST_NAME:
        raise Refused("bomb", "has names that are far too long", hint=_HINT)
    with open_member(archive, member.filename) as stream:
        header = _read_header(stream)
    if header.size != member.file_size - header.length:
        raise Refused("damaged", "has an array that is not of the size it declares", hint=_HINT)
    return header


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with open_member(archive, name) as stream:
        header = _read_header(stream)
        content = bytearray(stream.read(header.size + 1))
    if len(content) != header.size:
        raise Refused("damaged", "has an array that is not of the size it declares", hint=_HINT)
    array = np.frombuffer(content, header.dtype) if content else np.empty(0, header.dtype)
    array = array.reshape(header.shape, order="F" if header.fortran else "C")
    return array.astype(header.dtype.newbyteorder("="), copy=False)


def _read_header(stream: IO[bytes] | zipfile.ZipExtFile) -> _Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            modern = np.lib.format.read_magic(stream) != (1, 0)
            read = np.lib.format.read_array_header_2_0 if modern else np.lib.format.read_array_header_1_0
            shape, fortran, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        raise Refused("damaged", "has an array with a broken header", hint=_HINT) from None
    if not all(type(length) is int and 0 <= length < 2**48 for length in shape) or not is_shape(shape):
        raise Refused("damaged", "has an array with a broken header", hint=_HINT)
    if dtype.hasobject:
        raise Refused("pickle-code", "holds Python objects", hint="save it again with plain arrays only")
    if dtype.kind not in "fiubUS" or (dtype.itemsize > 8 and dtype.kind not in "US") or not dtype.itemsize:
        raise Refused("dtype", f"holds numbers of an unknown kind ({dtype.str})", hint="use float32")
    return _Header(shape, dtype, fortran, stream.tell())
