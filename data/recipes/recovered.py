"""Distil a target whose law is known, and say whether the law came out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits

from consilience.analysis.distillation.distil import distil
from consilience.analysis.distillation.search import resolve
from consilience.analysis.distillation.target import Target
from consilience.analysis.formulas.expression import Expression
from consilience.analysis.formulas.printing import to_text
from consilience.zoo.manifest import DistilTable

SETTINGS = DistilTable()
"""Those of a zoo.toml that says nothing of distilling."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the program chose for a target, whether it is the law, and what it took; of one lineage no ratio."""

    hit: bool
    status: str
    formula: str
    nodes: int
    ratio: float | None
    seconds: float


def recover(target: Target, is_law: Callable[[Expression], bool], *, seed: int) -> Outcome:
    """Distil with the settings that a zoo.toml has by itself; a law counts only where it is offered as an equation."""
    torch.set_num_threads(1)
    start = time.process_time()
    with threadpool_limits(1):
        found = distil(
            target,
            engine=resolve(SETTINGS.engine),
            restarts=SETTINGS.restarts,
            evaluations=SETTINGS.evaluations,
            seed=seed,
        )
    seconds = time.process_time() - start
    chosen = found.chosen
    return Outcome(
        hit=found.status == "equation" and is_law(chosen.expression),
        status=found.status,
        formula=to_text(chosen.expression),
        nodes=chosen.complexity,
        ratio=chosen.ratio.value if chosen.ratio else None,
        seconds=seconds,
    )
