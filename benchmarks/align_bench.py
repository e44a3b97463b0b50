"""Measurements for benchmarks/align.py, each in a process of its own, and tables of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from align_environment import Environment

HERE = Path(__file__).parent
REPEATS = 9
"""At most; see `align_child.ENOUGH`."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = {
    "scipy": "scipy",
    "scipy_layers": "scipy",
    "pot": "POT",
    "ckatorch": "ckatorch",
    "torch_cka": "torch-cka",
    "rebasin": "rebasin",
    "sinkhorn_rebasin": "sinkhorn-rebasin",
}
"""Works of peers, and where they come from; all others are ours."""
HEAD = f"{'':26}{'time':>10}{'cpu':>10}{'memory':>10}{'added':>10}  {'right':28}peer / ours: time, cpu, memory"

Answers = Sequence[Mapping[str, np.ndarray]]
Judge = Callable[[Answers], str]


@dataclass(frozen=True)
class Measured:
    """Seconds of each file, by the clock and of the processor; the peak of memory in bytes, and how far it is above
    what imports and data hold; answers.
    """

    wall: list[float]
    cpu: list[float]
    peak: int
    added: int
    answers: Answers

    @property
    def figures(self) -> tuple[float, float, float]:
        """Give what ratios are taken of: mean seconds by the clock and of the processor, bytes."""
        return float(np.mean(self.wall)), float(np.mean(self.cpu)), float(self.peak)


@dataclass(frozen=True)
class Bench:
    """Where and how to measure; `limit` in seconds of the processor."""

    scratch: Path
    peers: Environment
    threads: int
    limit: int

    def write(self, name: str, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> Path:
        """Write the data of a measurement; several arrays are layers."""
        if not isinstance(arrays, Mapping):
            arrays = {f"layer{number}": array for number, array in enumerate(arrays)}
        np.savez(self.scratch / f"{name}.npz", **arrays)
        return self.scratch / f"{name}.npz"

    def compare(
        self, title: str, files: Sequence[Path], works: Mapping[str, str | None], judge: Judge
    ) -> dict[str, Measured]:
        """Measure works, each against one before it or none, and print a table."""
        print(f"\n{title}\n{HEAD}")
        found: dict[str, Measured] = {}
        for work, against in works.items():
            one = self.measure(work, files)
            label = PACKAGES.get(work, f"ours: {work}")
            if isinstance(one, str):
                print(f"  {label:24}not measured: {one[:120]}", flush=True)
                continue
            found[work] = one
            print(_row(label, one, judge(one.answers), found.get(against or "")), flush=True)
        return found

    def measure(self, work: str, files: Sequence[Path]) -> Measured | str:
        """Do a work in a process of its own; give the reason if it could not be done."""
        if reason := self.peers.failed.get(PACKAGES.get(work, "")):
            return reason
        theirs = work in PACKAGES
        python, script = (self.peers.python, "align_peers.py") if theirs else (sys.executable, "align_ours.py")
        kept = os.environ | dict.fromkeys(THREADS, str(self.threads))
        kept |= {"PYTHONPATH": str(self.peers.aside)} if work == "sinkhorn_rebasin" else {}
        command = [python, HERE / script, work, str(REPEATS), str(self.limit), *files]
        done = subprocess.run(command, env=kept, capture_output=True, text=True)
        if -done.returncode == signal.SIGXCPU:
            return f"not done after {self.limit} s of the processor"
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        told = json.loads(done.stdout.splitlines()[-1])
        answers = [dict(np.load(file.with_name(f"{file.stem}.{work}.answer.npz"))) for file in files]
        return Measured(**told, answers=answers)


def bound(what: str, value: float | None, most: float, unit: str) -> str:
    """Tell whether a figure that was asked for is met."""
    if value is None:
        return f"not measured: {what}"
    return f"{'met' if value <= most else 'missed'}: {what}: {value:.3f} {unit}, asked at most {most} {unit}"


def _row(label: str, one: Measured, right: str, ours: Measured | None) -> str:
    wall, cpu, peak = one.figures
    ratios = [f"{theirs / mine:9.2f}" for theirs, mine in zip(one.figures, ours.figures, strict=True)] if ours else []
    numbers = f"{wall:8.3f} s{cpu:8.3f} s{peak / 1e6:7.0f} MB{one.added / 1e6:7.0f} MB"
    return f"  {label:24}{numbers}  {right:28}{''.join(ratios)}".rstrip()
