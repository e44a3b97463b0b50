"""Keep bytes by their content: checkpoints that were read once, results that were computed once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import BadInput, Refused

CHUNK = 1 << 20
STALE_SECONDS = 24 * 3600.0
TEMPORARY = ".tmp-"
SPARSE = 64 << 20
"""Files above this size are checked for holes and for room."""
MOST_STRETCHES = 10_000


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading: never a link, a pipe, a device or a folder, and never waiting.

    Raises Refused (missing, symlink, not-a-file, unreadable).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unopened(error) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise Refused("not-a-file", f"is {kind}, not a file", hint="give the path of a checkpoint file")
    return os.fdopen(descriptor, "rb")


def _unopened(error: Exception) -> Refused:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ELOOP, errno.EMLINK):
        return Refused("symlink", "is a symbolic link", hint="copy the file itself into the zoo's folder")
    if number in (errno.ENXIO, errno.EOPNOTSUPP):
        return Refused("not-a-file", "is a socket, not a file", hint="give the path of a checkpoint file")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return Refused("missing", "does not exist", hint="correct path in zoo.toml")
    return Refused("unreadable", f"cannot be opened: {os.strerror(number or errno.EIO)}", hint="check its rights")


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of facts: objects named by the hash of their bytes, results by the key of what made them.

    Opening it sweeps the temporary files that killed processes left more than a day ago.
    """

    root: Path

    def __post_init__(self) -> None:
        _sweep(self.root)

    def add_object(self, path: Path, *, inside: Path, linked: bool = False, largest: int | None = None) -> str:
        """Copy a file into the store while hashing it, and return the sha256 of its bytes in hex.

        The file must lie under the folder `inside` after all links in its parents are followed; it may be a
        link itself only where `linked`, as in the cache of the Hub. The same bytes are kept once. Raises
        Refused (outside, missing, symlink, not-a-file, unreadable, changed, bomb, no-room) and BadInput when
        the disk is full or not writable.
        """
        with open_regular(_within(path, inside, linked=linked)) as source:
            self._refuse_oversized(source, largest)
            try:
                return self._copy(source)
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else "it failed"
                raise BadInput(
                    f"{self.root}: cannot copy a checkpoint here: {reason}",
                    hint="make room, or set another project folder, and run the same command again",
                ) from None

    def _refuse_oversized(self, source: BinaryIO, largest: int | None) -> None:
        size = os.fstat(source.fileno()).st_size
        if largest is not None and size > largest:
            what = f"is {size:,} bytes long where at most {largest:,} are plausible"
            raise Refused("bomb", what, hint="get the file again")
        if size > SPARSE and not _stores(source.fileno(), size // 8):
            raise Refused("bomb", f"declares {size:,} bytes, nearly all of them holes", hint="get the file again")
        if size > SPARSE and size > (free := shutil.disk_usage(_existing(self.root)).free):
            raise Refused("no-room", f"is {size:,} bytes long, there is room for {free:,}", hint="make room")

    def _copy(self, source: BinaryIO) -> str:
        temporary = _temporary_beside(self.root / "objects" / "new")
        try:
            with temporary.open("xb") as target:
                digest = _copy_hashing(source, target)
            target_path = self.object_path(digest)
            if not target_path.exists():
                _publish(temporary, target_path)
            return digest
        finally:
            temporary.unlink(missing_ok=True)

    def object_path(self, digest: str) -> Path:
        """Tell where the object with this sha256 lies, or would lie."""
        return self.root / "objects" / _safe(digest)[:2] / digest

    def forget_object(self, digest: str) -> None:
        """Remove an object that turned out to be of no use."""
        self.object_path(digest).unlink(missing_ok=True)

    def result_path(self, stage: str, key: str, suffix: str) -> Path:
        """Tell where a stage keeps its result; the suffix begins with a dot. See `write_atomically`."""
        return self.root / "results" / _safe(stage) / f"{_safe(key)}.{_safe(suffix.removeprefix('.'))}"

    @staticmethod
    def write_atomically(path: Path) -> AbstractContextManager[Path]:
        """See the function of the same name in this module."""
        return write_atomically(path)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside the target that takes its place once the block ends without an error.

    A reader sees the old file or the whole new one, also after a kill or a power cut. Where nothing was
    written, nothing changes. The temporary name ends like the target's, since some writers go by the suffix.
    """
    temporary = _temporary_beside(path)
    try:
        yield temporary
        if temporary.exists():
            _publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def content_key(*parts: object) -> str:
    """Name plain data (None, bool, numbers, text, lists, mappings) by the sha256 of its canonical JSON.

    Raises TypeError for anything else: what cannot be written down cannot be a key.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _within(path: Path, inside: Path, *, linked: bool) -> Path:
    try:
        found, root = path.resolve() if linked else path.parent.resolve() / path.name, inside.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a NUL in it
        raise Refused("missing", "does not exist", hint="correct path in zoo.toml") from None
    if not found.is_relative_to(root):
        raise Refused("outside", f"lies outside {root}", hint="copy the file into the zoo's folder, or move zoo.toml")
    return found


def _stores(descriptor: int, enough: int) -> bool:
    """Tell whether a file really holds some number of bytes, going from one stretch of data to the next."""
    found, position = 0, 0
    try:
        for _ in range(MOST_STRETCHES):
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
            position = os.lseek(descriptor, begin, os.SEEK_HOLE)
            found += position - begin
            if found >= enough:
                return True
        return False
    except OSError as error:
        return error.errno != errno.ENXIO  # no data any more; any other: this file system does not tell
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def _existing(path: Path) -> Path:
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _copy_hashing(source: BinaryIO, target: BinaryIO) -> str:
    expected, copied, digest = os.fstat(source.fileno()).st_size, 0, hashlib.sha256()
    while copied <= expected and (chunk := source.read(CHUNK)):
        digest.update(chunk)
        target.write(chunk)
        copied += len(chunk)
    if copied != expected:
        raise Refused(
            "changed",
            "changes while it is read",
            hint="wait until it is written and run the same command again",
        )
    return digest.hexdigest()


def _temporary_beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")


def _publish(temporary: Path, path: Path) -> None:
    _flush(temporary)
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _flush(path.parent.parent)
    temporary.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(root: Path) -> None:
    oldest = time.time() - STALE_SECONDS
    for leftover in root.rglob(f"{TEMPORARY}*"):
        try:
            if leftover.lstat().st_mtime < oldest:
                leftover.unlink()
        except OSError:  # its owner finished, or it is not ours: harmless either way
            continue


def _safe(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
        raise ValueError(f"not a name for a file: {name!r}")
    return name
