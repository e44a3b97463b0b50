"""Folders for what is needed only meanwhile. What killed processes left of them goes when the next one is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

from .store import STALE_SECONDS

PREFIX = "consilience-scratch-"


class Scratch:
    """A temporary folder that is gone with its last use, at the end of a with block or of the program."""

    def __init__(self) -> None:
        _sweep(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._remove = weakref.finalize(self, _remove, self.path, _held(self.path), os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()


def _held(path: Path) -> int:
    """Lock a folder for as long as this process lives. Raises OSError where another one holds it, or it is a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(path: Path, descriptor: int, owner: int) -> None:
    if owner == os.getpid():  # no fork of it
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@cache
def _sweep(parent: str) -> None:
    """Remove old folders that nobody holds, once; a lock tells who lives also in another container."""
    for path in Path(parent).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > STALE_SECONDS:
                _remove(path, _held(path), os.getpid())
