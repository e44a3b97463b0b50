"""List a zip archive that is what it declares to be, before anything in it is unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from .errors import Refused

LARGEST_DIRECTORY = 16 << 20
CHUNK = 1 << 20
_HINT = "get the file again, or save it again as safetensors"


def list_archive(file: IO[bytes]) -> tuple[zipfile.ZipInfo, ...]:
    """List the members of a zip archive that two readers cannot read in two ways.

    The directory must end the file, sizes must fit in it, names must differ in more than case (torch
    looks them up without regard to case), members must be stored or deflated. What members unpack to is
    the caller's to bound, see `refuse_bomb`. Raises Refused (truncated, damaged, bomb).
    """
    size = os.fstat(file.fileno()).st_size
    if _directory_size(file, size) > LARGEST_DIRECTORY:
        raise Refused("bomb", "is an archive of far too many members", hint=_HINT)
    try:
        with zipfile.ZipFile(file) as archive:
            members = tuple(archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error):
        raise _damaged("its directory cannot be read") from None
    _check_members(members, size)
    return members


def refuse_bomb(members: tuple[zipfile.ZipInfo, ...], *, limit: int) -> None:
    """Refuse members that declare more bytes together than the limit. Raises Refused (bomb)."""
    declared = sum(member.file_size for member in members)
    if declared > limit:
        raise Refused(
            "bomb",
            f"unpacks to {declared:,} bytes where at most {limit:,} are plausible",
            hint="save it again without compression, as safetensors",
        )


@contextmanager
def open_member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Open a member for reading. Raises Refused (damaged) for what cannot be unpacked, also in the block."""
    try:
        with archive.open(name) as stream:
            yield stream
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        struct.error,
    ):
        raise _damaged("a member cannot be unpacked") from None


def begin_of(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Tell where the bytes of a stored member begin. Raises Refused (damaged)."""
    local = _read_at(file, member.header_offset, 30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise _damaged("a member is not where the directory says")
    name_length, extra_length = struct.unpack("<HH", local[26:30])
    begin = int(member.header_offset + 30 + name_length + extra_length)
    if begin + member.file_size > os.fstat(file.fileno()).st_size:
        raise _damaged("a member is not where the directory says")
    if _read_at(file, member.header_offset + 30, name_length) != _encoded(member):
        raise _damaged("a member has two names")
    return begin


def check_sum(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Compare a stored member with its checksum, where there is one: torch can leave them out.

    Raises Refused (damaged).
    """
    if not member.CRC:
        return
    file.seek(begin_of(file, member))
    left, found = member.file_size, 0
    while left and (chunk := file.read(min(left, CHUNK))):
        found = zlib.crc32(chunk, found)
        left -= len(chunk)
    if found != member.CRC:
        raise _damaged("a member is not what its checksum says")


def _encoded(member: zipfile.ZipInfo) -> bytes:
    return member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437")


def _directory_size(file: IO[bytes], size: int) -> int:
    """Read the size of the directory from the record that must be the very end of the file."""
    end = max(size - 22, 0)
    record = _read_at(file, end, 22)
    if len(record) < 22 or record[:4] != b"PK\x05\x06" or record[20:] != b"\0\0":
        raise Refused("truncated", "is an archive that is cut short", hint=_HINT)
    length, start = struct.unpack("<II", record[12:20])
    locator = _read_at(file, end - 20, 20) if end >= 20 else b""
    if locator[:4] == b"PK\x06\x07":
        (end,) = struct.unpack("<Q", locator[8:16])
        record = _read_at(file, end, 56) if end < size else b""
        if record[:4] != b"PK\x06\x06" or len(record) < 56:
            raise _damaged("its directory cannot be read")
        length, start = struct.unpack("<QQ", record[40:56])
    if start + length != end:
        raise _damaged("its directory is not where it says")
    return int(length)


def _read_at(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _check_members(members: tuple[zipfile.ZipInfo, ...], size: int) -> None:
    if len({member.filename.casefold() for member in members}) != len(members):
        raise _damaged("two of its members have one name")
    if sum(member.compress_size for member in members) > size:
        raise Refused("bomb", "is an archive whose members overlap", hint=_HINT)
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if member.flag_bits & 1 or not (stored or member.compress_type == zipfile.ZIP_DEFLATED):
            raise _damaged("a member is encrypted or packed in an unknown way")
        if stored and member.compress_size != member.file_size:
            raise _damaged("a member is not of the size it declares")


def _damaged(why: str) -> Refused:
    return Refused("damaged", f"is a broken archive: {why}", hint=_HINT)
