"""Searches for benchmarks/distil.py, each in a process of its own, judged by one oracle, and tables of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from distil_environment import Environment
from distil_sets import Case, write_values

from consilience.analysis.distillation.target import Target
from consilience.analysis.formulas.expression import Expression, Variable, substitute
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.simplify import simplify
from consilience.zoo.errors import BadFormula

HERE = Path(__file__).parent
OURS = "consilience"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RECOVERED, TIME = 2.0, 0.5
"""Asked for: recoveries to the best peer's at least, and median seconds of the processor to it at most."""


@dataclass(frozen=True)
class Outcome:
    """What one program gave for one case: a formula or a reason for none, the seconds it took, and the verdict.

    `asked` says which case, of which program, how; the same is not measured twice.
    """

    asked: str
    group: str
    case: str
    program: str
    formula: str
    cpu: float
    exact: bool
    note: str


@dataclass(frozen=True)
class Bench:
    """Where and how to measure: seconds of the processor for each search of a peer, points, our own limits."""

    scratch: Path
    peers: Environment
    budget: float
    rows: int
    seed: int
    restarts: int
    evaluations: int

    def measure(self, case: Case, program: str) -> Outcome:
        """Let one program loose on one case, and judge what it gives."""
        target, file = case.open(self.rows), self.scratch / f"{case.group}-{case.key}.npz"
        write_values(target, file)
        told = self._run(case, program, file)
        right = bool(told["text"]) and recovers(case, target, told["text"], theirs=program != OURS)
        asked = self.asked(case, program)
        return Outcome(asked, case.group, case.key, program, told["text"], told["cpu"], right, told["note"])

    def asked(self, case: Case, program: str) -> str:
        """Word what is measured."""
        limits = f"{self.restarts} x {self.evaluations}" if program == OURS else f"{self.budget:g} s"
        return f"{case.group} {case.key} {program} {limits} {self.rows} points seed {self.seed}"

    def _run(self, case: Case, program: str, file: Path) -> dict:
        if reason := self.peers.failed.get(program):
            return {"text": "", "cpu": float("nan"), "note": reason}
        ours = [sys.executable, HERE / "distil_ours.py", case.group, case.key, self.rows, self.seed]
        theirs = [self.peers.python, HERE / "distil_peers.py", program, self.budget, self.seed, file]
        command = [*ours, self.restarts, self.evaluations] if program == OURS else theirs
        kept = os.environ | dict.fromkeys(THREADS, "1")
        done = subprocess.run([*map(str, command)], env=kept, cwd=self.scratch, capture_output=True, text=True)
        if -done.returncode == signal.SIGXCPU:
            return {"text": "", "cpu": 3 * self.budget, "note": "not done in three times its budget"}
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            return {"text": "", "cpu": float("nan"), "note": reason[:200]}
        return dict(json.loads(done.stdout.splitlines()[-1]))


def recovers(case: Case, target: Target, text: str, *, theirs: bool) -> bool:
    """Judge a formula as it was given."""
    try:
        found = read(text, tuple(target.fit.columns)) if theirs else parse(text)
    except BadFormula:
        return False
    return case.right(found, target)


def read(text: str, names: Sequence[str]) -> Expression:
    """Read a formula; peers call the variables x0, x1 …"""
    plain = text.replace("^", "**").replace("Abs(", "abs(")
    return simplify(substitute(parse(plain), {f"x{place}": Variable(name) for place, name in enumerate(names)}))


def summary(outcomes: Sequence[Outcome], programs: Sequence[str]) -> list[str]:
    """Count recoveries, take median times, and hold ours against the best peer's."""
    of = {program: [one for one in outcomes if one.program == program] for program in programs}
    ran = {program: found for program, found in of.items() if any(np.isfinite(one.cpu) for one in found)}
    hits = {program: sum(one.exact for one in found) for program, found in ran.items()}
    times = {program: median(one.cpu for one in found if np.isfinite(one.cpu)) for program, found in ran.items()}
    lines = [f"  {name:14}{hits[name]:3} of {len(ran[name])}   median {times[name]:6.1f} s" for name in ran]
    rivals = [name for name in ran if name != OURS]
    if OURS not in ran or not rivals:
        return lines
    best = max(rivals, key=lambda name: (hits[name], -times[name]))
    ratio = hits[OURS] / hits[best] if hits[best] else float("inf")
    share = times[OURS] / times[best]
    return [
        *lines,
        f"  {_verdict(ratio >= RECOVERED)}: {ratio:.2f} times the recoveries of {best}, asked at least {RECOVERED}",
        f"  {_verdict(share <= TIME)}: {share:.2f} of its time, asked at most {TIME}",
    ]


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def keep(outcome: Outcome, file: Path | None) -> None:
    """Add an outcome to a file of JSON lines."""
    if file:
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(outcome)) + "\n")


def kept(file: Path | None) -> list[Outcome]:
    """Read the outcomes of an earlier run, which are not measured again."""
    if not file or not file.exists():
        return []
    return [Outcome(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]
