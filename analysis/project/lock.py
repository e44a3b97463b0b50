"""Lock others out of a project, by a file that the system unlocks when its holder ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ...zoo.errors import CatalogueLocked


@contextmanager
def locked(file: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a lock file; process and host are noted in another beside it.

    Raises CatalogueLocked, naming the process that holds it, after `wait` seconds.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(file), file.with_suffix(".holder")
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise CatalogueLocked(
            f"{file.parent}: {holder(file)} is at work on it", hint="wait for it, or use --wait-for-lock SECONDS"
        ) from None
    try:
        note.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def holder(file: Path) -> str:
    """Say in words who holds a lock file."""
    try:
        content = json.loads(file.with_suffix(".holder").read_text())
        return f"process {int(content['pid'])} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
