"""What is measured of this program, for benchmarks/distil.py: one distillation in a process of its own."""

from __future__ import annotations

import json
import resource
import sys

import torch
from distil_sets import case

from consilience.analysis.distillation.distil import distil
from consilience.analysis.distillation.search import resolve
from consilience.analysis.formulas.printing import to_text


def spent() -> float:
    """Give the seconds of the processor that this process and its children have taken."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Do `GROUP CASE ROWS SEED RESTARTS EVALUATIONS`; tell the equation and the seconds, imports left out."""
    group, key, *numbers = sys.argv[1:]
    rows, seed, restarts, evaluations = map(int, numbers)
    torch.set_num_threads(1)
    start = spent()
    target = case(group, key).open(rows)
    found = distil(target, engine=resolve("auto"), restarts=restarts, evaluations=evaluations, seed=seed)
    text = to_text(found.chosen.expression) if found.status == "equation" else ""
    print(json.dumps({"text": text, "cpu": spent() - start, "note": found.reason}))


if __name__ == "__main__":
    main()
