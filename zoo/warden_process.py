"""Start a warden, hand it jobs, and hear from it how they ended."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from .errors import BadInput
from .warden import ENDED, READY, SECONDS

LARGEST_ANSWER = 32 << 20
START_SECONDS = 300.0
"""Generous: a machine under load may take long to import what the warden needs."""
GRACE_SECONDS = 15.0
"""How long the warden may take to end a child whose time is over."""
_EVERYBODYS = [
    f"consilience.zoo.{name}" for name in ("inspection", "format_safetensors", "format_torch", "format_npz", "sharded")
]
"""Imported once, not by every child: what nearly every file needs."""
_PROGRAM = "import json, sys; sys.path += json.loads(sys.argv[3]); from consilience.zoo.warden import main; \
main(json.loads(sys.argv[1]), int(sys.argv[2]))"
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",  # no filter plugins: they are code that a file could ask for
    "HDF5_USE_FILE_LOCKING": "FALSE",
}
_NOT_INHERITED = {"PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONSTARTUP"}


class WardenGone(Exception):
    """The warden was killed from outside, with whatever it was doing."""


class WardenProcess:
    """The process that forks the children, and the socket to it."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = _start(theirs, preload)
        self._control.settimeout(START_SECONDS)
        if self._read_ready() != READY:
            self.end()
            named = f" with {', '.join(preload)}" if preload else ""
            raise BadInput(
                f"the process that reads foreign files does not start{named}",
                hint=f"see what `{sys.executable} -c 'import consilience.zoo.warden{_imports(preload)}'` says",
            )
        self._control.settimeout(GRACE_SECONDS)

    def _read_ready(self) -> bytes:
        try:
            return self._control.recv(1)
        except OSError:
            return b""

    def serves(self) -> bool:
        """Tell whether it is still there."""
        return self._process.poll() is None

    def end(self) -> None:
        """Close the socket, at which the warden kills its children and leaves; help where it does not."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, request: bytes, seconds: float) -> tuple[bytes, tuple[int, bool] | None]:
        """Have a child work on a request; give its answer and how it ended. Raises WardenGone."""
        ours, theirs = socket.socketpair()
        ended, theirs_ended = os.pipe()
        try:
            try:
                with self._lock:
                    socket.send_fds(self._control, [SECONDS.pack(seconds)], [theirs.fileno(), theirs_ended])
            except OSError:
                raise WardenGone from None
            finally:
                theirs.close()
                os.close(theirs_ended)
            deadline = time.monotonic() + seconds + GRACE_SECONDS
            answer = _converse(ours, request, deadline)
            ours.close()  # a child that would say more is not waited for
            return answer, _how_it_ended(ended, deadline)
        finally:
            ours.close()
            os.close(ended)


def _start(control: socket.socket, preload: Sequence[str]) -> subprocess.Popen[bytes]:
    modules = [*_EVERYBODYS, *preload]
    packages = (sys.modules[__package__.partition(".")[0]], np)
    roots = [str(Path(package.__file__ or "").absolute().parents[1]) for package in packages]
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(modules), str(os.getpid()), json.dumps(roots)]
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return subprocess.Popen(
        command,
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=kept | _QUIET,
        start_new_session=True,  # Ctrl-C is for the program, which then closes the sandbox
    )


def _imports(preload: Sequence[str]) -> str:
    return "".join(f", {name}" for name in preload)


def _converse(stream: socket.socket, request: bytes, deadline: float) -> bytes:
    """Send a request and read until the other end closes; an answer that is too long is cut."""
    parts, length = [], 0
    with suppress(OSError):  # the child may end at any moment: how it did comes over the pipe
        stream.settimeout(max(0.0, deadline - time.monotonic()))
        stream.sendall(request)
        while length <= LARGEST_ANSWER and (part := stream.recv(1 << 20)):
            parts.append(part)
            length += len(part)
            stream.settimeout(max(0.001, deadline - time.monotonic()))
    return b"".join(parts)


def _how_it_ended(pipe: int, deadline: float) -> tuple[int, bool] | None:
    ready, _, _ = select.select([pipe], [], [], max(1.0, deadline - time.monotonic()))
    message = os.read(pipe, ENDED.size) if ready else b""
    return ENDED.unpack(message) if len(message) == ENDED.size else None
