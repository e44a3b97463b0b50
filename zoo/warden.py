"""The process that forks one child for each job of a sandbox, limits it, and ends it when its time is over.

It reads nothing foreign itself. Over its control socket comes, for each job, the seconds it may take and two
descriptors: a socket, over which the child gets its request and answers, and a pipe, into which the warden
writes how the child ended. Both ends speak JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

from .errors import MissingExtra, Refused

SECONDS = struct.Struct("!d")
ENDED = struct.Struct("!i?")
"""The status as waitpid gives it, and whether the warden had to end the child."""
READY = b"!"
_PARENT_DIED = 1  # PR_SET_PDEATHSIG of linux/prctl.h


@dataclass(frozen=True, slots=True)
class _Child:
    deadline: float
    ended: int


def main(preload: Sequence[str], parent: int) -> None:
    """Serve the process that started this one, over the socket that stands for standard input."""
    control = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    for name in preload:
        with suppress(Exception):  # whatever it raises: the job that needs it will say so
            import_module(name)
    with suppress(Exception):  # without a folder for temporary files, say, the children start cold
        import_module(f"{__package__}.inspection").warm_up()
    gc.collect()
    gc.freeze()  # so that the children's collector leaves the shared pages alone,
    gc.set_threshold(50_000)  # and works only in those that live long
    serve(control, parent)


def serve(control: socket.socket, parent: int) -> None:
    """Fork children until the other end closes the control socket or dies; whatever still runs then is killed."""
    wake, waker = os.pipe()
    for descriptor in (wake, waker):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, _nothing)
    signal.set_wakeup_fd(waker)
    children: dict[int, _Child] = {}
    control.sendall(READY)
    try:
        while os.getppid() == parent:
            ready, _, _ = select.select([control.fileno(), wake], [], [], _pause(children))
            if wake in ready:
                os.read(wake, 4096)
            _reap(children)
            if control.fileno() in ready and not _accept(control, (control.fileno(), wake, waker), children):
                return
    finally:
        for pid in children:
            _kill(pid)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _pause(children: Mapping[int, _Child]) -> float:
    return max(0.0, min([1.0, *(child.deadline - time.monotonic() for child in children.values())]))


def _reap(children: dict[int, _Child]) -> None:
    """Say of every child that ended how it did, and end those whose time is over."""
    for pid, child in list(children.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        over = not ended and time.monotonic() >= child.deadline
        if ended or over:
            _kill(pid)  # the whole group: also what the child itself may have started
        if over:
            ended, status = os.waitpid(pid, 0)
        if ended:
            with suppress(OSError):  # nobody may be listening any more
                os.write(child.ended, ENDED.pack(status, over))
            os.close(child.ended)
            del children[pid]


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _accept(control: socket.socket, own: Sequence[int], children: dict[int, _Child]) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, SECONDS.size, 2)
    if not message:
        return False
    (seconds,) = SECONDS.unpack(message)
    request, ended = descriptors
    pid = os.fork()
    if pid == 0:
        others = (*own, ended, *(child.ended for child in children.values()))
        _be_child(request, others, seconds)
    with suppress(PermissionError, ProcessLookupError):  # the child does the same, whoever comes first
        os.setpgid(pid, pid)
    os.close(request)
    children[pid] = _Child(time.monotonic() + seconds, ended)
    return True


def _be_child(request: int, others: Sequence[int], seconds: float) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in others:
            os.close(descriptor)
        os.setpgid(0, 0)
        _die_with_warden()
        signal.setitimer(signal.ITIMER_REAL, seconds + 1)  # should the warden be gone
        with socket.socket(fileno=request) as stream:
            stream.sendall(_answer(stream))
        status = 0
    finally:
        os._exit(status)  # no handler, no buffer and no lock of the warden is this child's to end


def _die_with_warden() -> None:
    set_option = getattr(ctypes.CDLL(None), "prctl", None)  # Linux
    if set_option is not None:
        set_option(_PARENT_DIED, signal.SIGKILL)


def _answer(stream: socket.socket) -> bytes:
    with stream.makefile("rb") as file:
        request = json.loads(file.readline())
    _limit(**request["limits"])
    try:
        answer = {"value": _work(request["job"], request["arguments"])}
        return json.dumps(answer).encode()
    except Refused as refusal:
        found: dict[str, Any] = {"refused": [refusal.code, refusal.what, refusal.hint]}
    except MissingExtra as extra:
        found = {"refused": ["missing-package", extra.what, extra.hint]}
    except ImportError as missing:
        found = {"refused": ["missing-package", f"needs the package {missing.name}", f"pip install {missing.name}"]}
    except MemoryError:
        found = {"refused": ["memory", "", ""]}
    except Exception as error:  # a fault of ours that this file found: the batch goes on without it
        found = {"refused": ["crashed", f"breaks its reader ({type(error).__name__})", ""]}
        if os.environ.get("CONSILIENCE_DEBUG"):
            found["traceback"] = traceback.format_exc(limit=-8)
    return json.dumps(found).encode()


def _work(job: str, arguments: Mapping[str, Any]) -> Any:
    module, _, function = job.partition(":")
    if not (module.isidentifier() and function.isidentifier()):
        raise ValueError(job)
    return getattr(import_module(f"{__package__}.{module}"), function)(**arguments)


def _limit(seconds: float, memory: int, file: int, files: int) -> None:
    """Set hard limits: processor time, address space beyond the warden's own, files written, files open."""
    _set(resource.RLIMIT_CPU, math.ceil(seconds) + 1, beyond=5)  # a signal that tells why, then one that kills
    _set(resource.RLIMIT_FSIZE, file)
    _set(resource.RLIMIT_NOFILE, files)
    _set(resource.RLIMIT_CORE, 0)
    with suppress(OSError), open("/proc/self/statm") as own:  # elsewhere nobody says how large this process is
        _set(resource.RLIMIT_AS, int(own.read().split()[0]) * resource.getpagesize() + memory)


def _set(what: int, limit: int, *, beyond: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    most = limit + beyond if hard == resource.RLIM_INFINITY else min(limit + beyond, hard)
    with suppress(ValueError, OSError):  # not every system knows every limit
        resource.setrlimit(what, (min(limit, most), most))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
