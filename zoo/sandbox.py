"""Run jobs on foreign files in limited processes: whatever a file does there, it costs one refusal.

Codes of what the sandbox itself refuses: crashed, timed-out, memory, missing-package.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from .errors import Refused, one_line
from .warden_process import LARGEST_ANSWER, WardenGone, WardenProcess

JSON: TypeAlias = Any
Given = TypeVar("Given")
Made = TypeVar("Made")
AHEAD = 4
"""How many items for each worker are begun before they are asked for."""
MOST_PATIENT = 10.0
"""A busy machine makes the clock's limit this much longer at the most: a file that sleeps is ended in any case."""
_LEAVE = "get the file again, save it again as safetensors, or leave it out"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use: seconds, bytes of memory beyond the warden's, bytes of one file that it writes, open files.

    Seconds are the processor's, and those of the clock too, but for what a busy machine makes of them (`patience`).
    """

    seconds: float = 10.0
    memory: int = 2 << 30
    file: int = 1 << 30
    files: int = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: its value, or why there is none."""

    value: JSON
    refusal: Refused | None = None


class Sandbox:
    """Processes that read and run foreign files, one child for each job; close it, or use it in a with block.

    A job is "module:function" of this package; its arguments and its value are JSON. Safe for threads, and
    for processes that are forked later: they start processes of their own.
    """

    def __init__(self, *, workers: int = 2, limits: Limits | None = None) -> None:
        self.workers, self.limits = workers, limits or Limits()
        self._renew()

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self.workers)
        self._wardens: dict[tuple[str, ...], WardenProcess] = {}
        weakref.finalize(self, _end, self._wardens, self._owner)  # also when the program ends

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes, also such as still work."""
        if self._owner == os.getpid():
            with self._lock:
                _end(self._wardens, self._owner)

    def call(
        self,
        job: str,
        preload: Sequence[str] = (),
        limits: Limits | None = None,
        *,
        done: str = "read",
        **arguments: JSON,
    ) -> JSON:
        """Do one job and wait for its value. Modules to preload are imported once, before the first such job.

        `done` is what the job does with a file, for the words of a refusal. Raises Refused: what the job raised,
        or crashed, timed-out, memory, missing-package.
        """
        if self._owner != os.getpid():
            self._renew()
        allowed = limits or self.limits
        seconds = allowed.seconds * patience()
        request = {"job": job, "arguments": arguments, "limits": asdict(allowed)}
        with self._free:
            try:
                answer, ended = self._warden(preload).ask(json.dumps(request).encode() + b"\n", seconds)
            except WardenGone:  # killed from outside, with whatever it was doing: a fresh one gets one try
                answer, ended = self._warden(preload).ask(json.dumps(request).encode() + b"\n", seconds)
        return _value(answer, ended, allowed, done)

    def map(self, job: str, arguments: Iterable[Mapping[str, JSON]]) -> Iterator[Outcome]:
        """Do a job for many arguments, several at once, and give what became of each in their order."""
        return in_order(lambda named: self._outcome(job, named), arguments, workers=self.workers)

    def _outcome(self, job: str, arguments: Mapping[str, JSON]) -> Outcome:
        try:
            return Outcome(self.call(job, **arguments))
        except Refused as refusal:
            return Outcome(None, refusal)

    def _warden(self, preload: Sequence[str]) -> WardenProcess:
        with self._lock:
            warden = self._wardens.get(tuple(preload))
            if warden is None or not warden.serves():
                if warden is not None:
                    warden.end()
                warden = self._wardens[tuple(preload)] = WardenProcess(preload)
            return warden


def patience() -> float:
    """Tell by how much longer everything takes here than alone: processes that want a processor, for each there is."""
    try:
        waiting = os.getloadavg()[0]
    except OSError:  # a system that does not say
        return 1.0
    return float(min(max(1.0, waiting / (os.cpu_count() or 1)), MOST_PATIENT))


@cache
def own_sandbox() -> Sandbox:
    """Give the sandbox of this process, which ends with it: for jobs that come one by one."""
    return Sandbox()


def _end(wardens: dict[tuple[str, ...], WardenProcess], owner: int) -> None:
    while wardens and owner == os.getpid():
        wardens.popitem()[1].end()


def in_order(function: Callable[[Given], Made], items: Iterable[Given], *, workers: int) -> Iterator[Made]:
    """Do something in threads for many items, some ahead of what is asked for, and give what it made in order."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _value(answer: bytes, ended: tuple[int, bool] | None, limits: Limits, done: str) -> JSON:
    status, over = ended or (1, False)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if over or number in (signal.SIGALRM, signal.SIGXCPU):
        what = f"is not {done} after {limits.seconds:.0f} seconds"
        raise Refused("timed-out", what, hint="get the file again, or leave it out")
    if len(answer) > LARGEST_ANSWER:
        raise Refused("bomb", "needs far too many words to be described", hint="get the file again")
    if number == signal.SIGKILL:
        raise _out_of_memory(limits, done)
    if status:
        raise _crashed(f"signal {number}" if number else "it ended early")
    try:
        found = json.loads(answer)
        if "value" in found:
            return found["value"]
        raise _refusal(found, limits, done)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _crashed("it answered nothing that can be read") from None


def _refusal(found: Mapping[str, Any], limits: Limits, done: str) -> Refused:
    code, what, hint = (one_line(str(text)[:2000]) for text in found["refused"])
    if code == "memory" and not what:
        return _out_of_memory(limits, done)
    refusal = Refused(code, what, hint=hint or _LEAVE)
    if "traceback" in found:
        refusal.add_note(str(found["traceback"]))
    return refusal


def _out_of_memory(limits: Limits, done: str) -> Refused:
    return Refused("memory", f"needs more than {limits.memory >> 20:,} MB of memory to be {done}", hint=_LEAVE)


def _crashed(how: str) -> Refused:
    return Refused("crashed", f"makes its reader crash ({how})", hint=_LEAVE)
