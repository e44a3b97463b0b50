"""Read the arrays of an npz archive, having compared every claim with the file before memory is set aside."""

from __future__ import annotations

import os
import tokenize
import warnings
import zipfile
from math import prod
from typing import IO

import numpy as np

from .archive import list_archive, open_member, refuse_bomb
from .errors import Refused

ALWAYS, RATIO = 64 << 20, 20  # savez_compressed: weights hardly compress, masks and zeros do
_HINT = "get the file again, or save it again as safetensors"


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Read all arrays of numbers, truth values or text, in native byte order and writable.

    Raises Refused (truncated, damaged, bomb, dtype, pickle-code).
    """
    members = list_archive(file)
    refuse_bomb(members, limit=max(ALWAYS, RATIO * os.fstat(file.fileno()).st_size))
    with zipfile.ZipFile(file) as archive:
        return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read one array, having compared what its header claims with what the archive declares for it."""
    with open_member(archive, member.filename) as stream:
        shape, fortran, dtype = _read_header(stream)
        if dtype.hasobject:
            raise Refused("pickle-code", "holds Python objects", hint="save it again with plain arrays only")
        if dtype.kind not in "fiubUS" or (dtype.itemsize > 8 and dtype.kind not in "US") or not dtype.itemsize:
            raise Refused("dtype", f"holds numbers of an unknown kind ({dtype.str})", hint="use float32")
        count = prod(shape)
        if count * dtype.itemsize != member.file_size - stream.tell():
            raise Refused("damaged", "has an array that is not of the size it declares", hint=_HINT)
        content = bytearray(stream.read())
        array = np.frombuffer(content, dtype, count) if content else np.empty(count, dtype)
        array = array.reshape(shape, order="F" if fortran else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: IO[bytes] | zipfile.ZipExtFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            modern = np.lib.format.read_magic(stream) != (1, 0)
            read = np.lib.format.read_array_header_2_0 if modern else np.lib.format.read_array_header_1_0
            shape, fortran, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        raise Refused("damaged", "has an array with a broken header", hint=_HINT) from None
    if not all(type(length) is int and length >= 0 for length in shape):
        raise Refused("damaged", "has an array with a broken header", hint=_HINT)
    return shape, fortran, dtype
