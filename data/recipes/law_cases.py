"""Open a trained zoo as what is distilled: the networks as functions, and rows to fit and to judge on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from consilience import Study, open_study
from consilience.analysis.distillation.target import Functions, Sample, Target
from consilience.analysis.stages.sources import sources
from consilience.analysis.stages.stage_ingest import build
from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.network import Network, gradients, predict

SAMPLES, BATCH = 512, 4096
FITTING, HELD_OUT, OUTSIDE = 1, 2, 3
"""What is added to a seed for each sample."""

Rows = Float[np.ndarray, "samples inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One output of several networks, asked in double precision."""

    networks: tuple[Network, ...]
    unit: int

    def values(self, rows: Rows) -> Float[np.ndarray, "lineages samples"]:
        """Predict by every network."""
        return np.stack([predict(network, rows, batch=BATCH)[:, self.unit] for network in self.networks])

    def slopes(self, rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        """Differentiate every network."""
        return np.stack([gradients(network, rows, self.unit, batch=BATCH) for network in self.networks])


def zoo_target(
    folder: Path,
    *,
    output: str | None = None,
    networks: Sequence[int] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    linked: bool = False,
) -> Target:
    """Open a committed zoo as a target: an output, the first if none is named, of all networks or of some of them.

    Rows are drawn from the box of zoo.toml, and those outside from just beyond it; `networks` are places in the
    order of their names.
    """
    study = open_study(folder)
    opened = open_networks(study)
    names = opened[0].outputs
    asked = Asked(
        tuple(opened[place] for place in (range(len(opened)) if networks is None else networks)),
        names.index(output) if output else 0,
    )
    rows = Rowed(study, asked.values)
    return Target(
        name=output or names[0],
        fit=rows.drawn(samples, seed=seed + FITTING),
        held_out=rows.drawn(samples, seed=seed + HELD_OUT),
        outside=rows.outside(samples, seed=seed + OUTSIDE),
        functions=Functions(rows.names, asked.values, asked.slopes, rows.draw),
        linked=linked,
    )


def open_networks(study: Study) -> tuple[Network, ...]:
    """Build the networks of a zoo that the recipes made, in double precision, without a catalogue."""
    found = []
    for source in sources(study):
        network = build(study, source, source.name, read_checkpoint(source.place.file))
        found.append(replace(network, module=network.module.double()))
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Rowed:
    """Draws rows as a zoo's probe does, and asks the networks there."""

    study: Study
    values: Callable[[Rows], Float[np.ndarray, "lineages samples"]]

    @property
    def names(self) -> tuple[str, ...]:
        """Name the variables, in the order of the columns."""
        return tuple(variable.name for variable in self.study.probe.variables)

    def draw(self, samples: int, seed: int) -> Rows:
        """Draw rows from the box."""
        return self.study.probe.draw(samples, seed=seed)

    def drawn(self, samples: int, *, seed: int) -> Sample:
        """Draw a sample from the box."""
        return self._sample(self.draw(samples, seed))

    def outside(self, samples: int, *, seed: int) -> Sample | None:
        """Draw a sample from just outside the box."""
        rows = self.study.probe.draw_outside(samples, seed=seed)
        return None if rows is None else self._sample(rows)

    def _sample(self, rows: Rows) -> Sample:
        return Sample(rows, dict(zip(self.names, rows.T, strict=True)), self.values(rows))
