"""Where a target lives: its inputs, how they are drawn, and what equations call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from ...zoo.network import Network
from ..distillation.target import Rows
from ..formulas.expression import Expression, evaluate
from ..formulas.parsing import parse
from ..project.study import Study
from .stage_cluster import Member
from .stage_probe import Observed


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Where a target lives: the probe that whole networks are shown, or what a module inside them is given.

    `names` are those of the inputs, `derived` further variables computed from them, and `reference` the rows on
    which features are standardised. `free` says that inputs may be set one by one. `place` finds the network,
    or the part of it, and the layer in it that hold a member of a feature. `key` tells grounds apart.
    """

    names: tuple[str, ...]
    derived: Mapping[str, Expression]
    free: bool
    reference: Rows
    draw: Callable[[int, int], Rows]
    halves: Callable[[int, int], tuple[Rows, Rows]]
    outside: Callable[[int, int], Rows | None]
    place: Callable[[Member], tuple[Network, str]]
    key: object

    def columns(self, rows: Rows) -> dict[str, Float[np.ndarray, " samples"]]:
        """Name the columns of rows, and compute the derived variables."""
        columns = dict(zip(self.names, rows.T, strict=True))
        return columns | {name: evaluate(formula, columns) for name, formula in self.derived.items()}


def ground_of(study: Study, networks: Mapping[str, Observed]) -> Ground:
    """Take the probe, as whole networks are shown it."""
    probe = study.probe

    def place(member: Member) -> tuple[Network, str]:
        return networks[member.network].network, member.layer

    return Ground(
        names=tuple(variable.name for variable in probe.variables),
        derived={part.name: parse(part.formula) for part in study.probe_table.derived},
        free=probe.box,
        reference=probe.inputs,
        draw=lambda samples, seed: probe.draw(samples, seed=seed),
        halves=partial(halves, study),
        outside=lambda samples, seed: probe.draw_outside(samples, seed=seed),
        place=place,
        key=[study.probe.key, study.probe_table.model_dump(mode="json")],
    )


def halves(study: Study, samples: int, seed: int) -> tuple[Rows, Rows]:
    """Draw one sample to fit on and another that no fit sees."""
    if study.probe.box:
        return study.probe.draw(samples, seed=seed + 1), study.probe.draw(samples, seed=seed + 2)
    rows = study.probe.draw(2 * samples, seed=seed + 1)
    half = len(rows) // 2
    return rows[:half], rows[half:]
