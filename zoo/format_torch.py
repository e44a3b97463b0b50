"""Read torch state dicts without torch: the pickle is rehearsed, the numbers are read where they lie."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from .archive import begin_of, check_sum, list_archive, refuse_bomb
from .checkpoint import Checkpoint
from .errors import Refused
from .nesting import unpack
from .rehearsal import Rehearsal, Storage, View, rehearse
from .store import open_regular
from .weights import KINDS, Place, Weights

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
SLACK = 1 << 20
LARGEST_PICKLE = 128 << 20
_ORDERS = {b"little": "<", b"big": ">"}
_HINT = "get the file again, or save it again as safetensors"


@dataclass(slots=True)
class _Found:
    """What a torch file says, where each of its storages begins, and the order of their bytes."""

    content: object
    begins: dict[str, int]
    order: str


def read_torch(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read a torch state dict, bare or in a training checkpoint, zipped or legacy; see `nesting`.

    Raises Refused: what `rehearse` and `unpack` raise, and truncated, damaged, bomb, layout.
    """
    with open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        found = (_open_zip if zipped else _open_legacy)(file)
    state = unpack(found.content)
    places = {name: _place(path, view, found) for name, view in state.tensors.items()}
    return Checkpoint("torch", Weights(places), state.metadata, tuple(state.warnings))


def _place(path: Path, view: View, found: _Found) -> Place:
    kind = view.storage.kind
    begin = found.begins[view.storage.key]
    if 0 in view.shape:
        return Place(path, begin, found.order + kind, view.shape)
    begin += view.offset * KINDS[kind]
    strides = None if _is_plain(view) else view.strides
    return Place(path, begin, found.order + kind, view.shape, strides)


def _is_plain(view: View) -> bool:
    """Tell whether a tensor is stored row by row."""
    step = 1
    for length, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if length > 1 and stride != step:
            return False
        step *= length
    return True


def _open_zip(file: IO[bytes]) -> _Found:
    members, size = list_archive(file), os.fstat(file.fileno()).st_size
    refuse_bomb(members, limit=2 * size + SLACK)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise Refused("layout", "is a torch file that was compressed again", hint="zip it without compression")
    named = {member.filename: member for member in members}
    (top, *others) = {name.partition("/")[0] for name in named}
    if others:
        raise Refused("damaged", "is an archive of several folders", hint=_HINT)
    rehearsal = rehearse(BytesIO(_content(file, named[f"{top}/data.pkl"], LARGEST_PICKLE)))
    _refuse_many_views(rehearsal, size)
    order = named.get(f"{top}/byteorder")
    said = _ORDERS.get(_content(file, order, 64)) if order else "<"
    if said is None:
        raise Refused("damaged", "does not say in which order its bytes are", hint=_HINT)
    begins = {key: _begin(file, named.get(f"{top}/data/{key}"), rehearsal.storages[key]) for key in rehearsal.storages}
    return _Found(rehearsal.value, begins, said)


def _begin(file: IO[bytes], member: zipfile.ZipInfo | None, storage: Storage) -> int:
    if member is None or member.file_size != storage.size:
        raise Refused("damaged", "does not hold the numbers that its tensors need", hint=_HINT)
    check_sum(file, member)
    return begin_of(file, member)


def _content(file: IO[bytes], member: zipfile.ZipInfo, largest: int) -> bytes:
    if member.file_size > largest:
        raise Refused("bomb", f"holds a pickle of {member.file_size:,} bytes", hint=_HINT)
    check_sum(file, member)
    file.seek(begin_of(file, member))
    return file.read(member.file_size)


def _open_legacy(file: IO[bytes]) -> _Found:
    """Go through the five pickles of the old format: magic number, version, system, tensors, storages."""
    size = os.fstat(file.fileno()).st_size
    magic, _, system, rehearsal, keys = [rehearse(file) for _ in range(5)]
    if magic.value != LEGACY_MAGIC or not isinstance(keys.value, list) or not isinstance(system.value, dict):
        raise Refused("damaged", "is not the torch file it seems to be", hint=_HINT)
    storages = rehearsal.storages
    if sorted(map(str, keys.value)) != sorted(storages):
        raise Refused("damaged", "does not hold the numbers that its tensors need", hint=_HINT)
    needed = sum(8 + storage.size for storage in storages.values())
    if (there := size - file.tell()) != needed:
        code, what = ("truncated", "is cut short") if there < needed else ("damaged", "is too long")
        raise Refused(code, f"{what}: needs {needed:,} bytes of weights, has {there:,}", hint=_HINT)
    _refuse_many_views(rehearsal, size)
    order = "<" if system.value.get("little_endian", True) else ">"
    return _Found(rehearsal.value, _legacy_begins(file, [storages[str(key)] for key in keys.value], order), order)


def _legacy_begins(file: IO[bytes], storages: list[Storage], order: str) -> dict[str, int]:
    begins, position = {}, file.tell()
    for storage in storages:
        file.seek(position)
        if struct.unpack(f"{order}q", file.read(8))[0] != storage.count:
            raise Refused("damaged", "does not hold the numbers that its tensors need", hint=_HINT)
        begins[storage.key] = position + 8
        position += 8 + storage.size
    return begins


def _refuse_many_views(rehearsal: Rehearsal, size: int) -> None:
    if rehearsal.shown_bytes > 8 * size + SLACK:
        raise Refused("bomb", "shows the same numbers as far too many tensors", hint=_HINT)
