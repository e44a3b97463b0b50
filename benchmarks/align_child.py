"""One measurement in a process of its own, by any interpreter that has numpy."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Work = Callable[[Arrays], "Callable[[], Arrays]"]
"""Takes data, does what is not to be measured (imports, other containers), and gives what is."""
ENOUGH = 4.0
"""No more repeats after so many seconds."""


def serve(works: Mapping[str, Work]) -> None:
    """Do `WORK REPEATS LIMIT FILE ...`: write an answer beside each file, and tell seconds and peaks of memory.

    More than LIMIT seconds of the processor end it.
    """
    name, repeats, limit, *files = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
    wall, processor, peaks, added = [], [], [], []
    for file in map(Path, files):
        data = dict(np.load(file)) if file.suffix == ".npz" else {"folder": np.array(str(file))}
        work = works[name](data)
        peaks.append(peak())
        before = rest()
        spent, used = [], []
        while len(spent) < int(repeats) and sum(spent) < ENOUGH:
            start, begin = time.process_time(), time.perf_counter()
            answer = work()
            spent.append(time.perf_counter() - begin)
            used.append(time.process_time() - start)
        wall.append(min(spent))
        processor.append(min(used))
        peaks.append(peak())
        added.append(peak() - before)
        np.savez(file.with_name(f"{file.stem}.{name}.answer.npz"), **answer)
    told: dict[str, Any] = {"wall": wall, "cpu": processor, "peak": max(peaks), "added": max(added)}
    print(json.dumps(told))


def peak() -> int:
    """Give the peak of resident memory in bytes."""
    try:
        # Unlike ru_maxrss this does not begin with what the parent had.
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10


def rest() -> int:
    """Forget the peak so far, where the system can, and give what memory is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return peak()


def layers_of(data: Arrays) -> list[np.ndarray]:
    return [data[f"layer{number}"] for number in range(sum(name.startswith("layer") for name in data))]
