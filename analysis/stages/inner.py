"""Take the inputs of a module inside the networks for the ground: messages, say, in terms of what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from jaxtyping import Float, Num

from ...zoo.errors import BadInput, NotFound
from ...zoo.inner import INSIDE, are_free, given, inner
from ...zoo.manifest import InnerTable
from ...zoo.network import Network
from ..formulas.expression import variables
from ..formulas.parsing import parse
from ..project.study import Study
from .ground import Ground, halves
from .stage_cluster import Member
from .stage_probe import Observed

Shown = Num[np.ndarray, "shown ..."]
Lines = Float[np.ndarray, "lines inputs"]

SPREAD = 4
"""Lines are taken from so many times more rows than need be: those of one row are alike."""
FEWEST = 8
"""At least so many rows are shown, and so many lines beyond the range count."""
ALIKE = 1e-4
"""By so much of its spread may what a module is given differ between networks."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """One module in all networks of a zoo, by the lines that it is given; made once, asked by many members."""

    study: Study
    networks: Mapping[str, Observed]
    module: str
    reference: Lines
    parts: dict[str, Network] = field(default_factory=dict)

    def place(self, member: Member) -> tuple[Network, str]:
        """Find the part of a network that holds a member, and its layer there.

        Raises NotFound for a network without the module, and BadInput where it is given something else
        there than in the others, or the member does not lie in it.
        """
        network = self.networks[member.network].network
        if member.network not in self.parts:
            self._demand_alike(network)
            self.parts[member.network] = inner(network, self.module, self.study.probe.inputs)
        part = self.parts[member.network]
        return part, _layer(network, part, self.module, member)

    def _demand_alike(self, network: Network) -> None:
        lines = given(network, self.module, self.study.probe.inputs)
        slack = ALIKE * self.reference.std(axis=0)
        if lines.shape != self.reference.shape or (np.abs(lines - self.reference) > slack).any():
            raise BadInput(
                f"what {self.module} is given differs between networks: each makes it by itself before",
                hint=f"distil a unit of one network: consilience distil NETWORK/LAYER:UNIT --inner {self.module}",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where lines that a module is given come from: rows of the probe, shown to the network that it is part of."""

    study: Study
    network: Network
    module: str
    reference: Lines

    def draw(self, samples: int, seed: int) -> Lines:
        """Draw lines as they come with rows drawn from the probe."""
        return self._lines(self.study.probe.draw(self._rows(samples), seed=seed), samples, seed)

    def halves(self, samples: int, seed: int) -> tuple[Lines, Lines]:
        """Draw lines of some rows, and lines of others."""
        fitting, held_out = halves(self.study, self._rows(samples), seed)
        return self._lines(fitting, samples, seed + 1), self._lines(held_out, samples, seed + 2)

    def outside(self, samples: int, seed: int) -> Lines | None:
        """Draw lines beyond the range of those on the probe; None where there are hardly any."""
        rows = self.study.probe.draw_outside(self._rows(samples), seed=seed)
        if rows is None:
            return None
        found = self._lines(rows, len(rows) * len(self.reference), seed)
        low, high = self.reference.min(axis=0), self.reference.max(axis=0)
        beyond = found[((found < low) | (found > high)).any(axis=1)][:samples]
        return beyond if len(beyond) >= FEWEST else None

    def _rows(self, samples: int) -> int:
        places = len(self.reference) / len(self.study.probe.inputs)
        return max(ceil(min(SPREAD / places, 1.0) * samples), FEWEST)

    def _lines(self, rows: Shown, samples: int, seed: int) -> Lines:
        lines = given(self.network, self.module, rows)
        return lines[np.random.default_rng(seed).permutation(len(lines))][:samples]


def ground_within(study: Study, networks: Mapping[str, Observed], module: str, *, first: str) -> Ground:
    """Take what a module is given on the probe; variables are called as zoo.toml has it, else i0, i1, …

    `first` names the network whose module is watched; the others' must be given the same. Raises NotFound for a
    network without such a module, BadInput for one that does not treat every place by itself.
    """
    network, probe = networks[first].network, study.probe
    reference = given(network, module, probe.inputs)
    table = next((one for one in study.manifest.distil.inner if one.module == module), InnerTable(module=module))
    source = Source(study, network, module, reference)
    return Ground(
        names=_names(study, table, reference.shape[1]),
        derived={part.name: parse(part.formula) for part in table.derived},
        free=probe.box and are_free(network, module, probe.inputs),
        reference=source.draw(len(probe.inputs), study.manifest.seed),
        draw=source.draw,
        halves=source.halves,
        outside=source.outside,
        place=Inside(study, networks, module, reference).place,
        key=[probe.key, table.model_dump(mode="json"), network.digest],
    )


def end_of(network: Network, module: str) -> str | None:
    """Name the layer with which a module ends, if any lies in it."""
    within = [layer.name for layer in network.layers if _lies_in(layer.name, module)]
    return within[-1] if within else None


def _lies_in(layer: str, module: str) -> bool:
    return layer == module or layer.startswith(f"{module}.")


def _layer(network: Network, part: Network, module: str, member: Member) -> str:
    """Tell what a layer of the whole network is called in the part, of which the last is the output."""
    own = f"{INSIDE}{member.layer.removeprefix(module)}"
    if member.layer == module:
        if member.unit >= part.layers[-1].units:
            known = f"its units are 0 to {part.layers[-1].units - 1}"
            raise NotFound(f"{module} of {network.name} has no unit {member.unit}", hint=known)
        return part.layers[-1].name
    if _lies_in(member.layer, module) and own in {layer.name for layer in part.layers}:
        return own
    if member.layer == end_of(network, module) and not member.weights:
        return part.layers[-1].name
    end = end_of(network, module)
    raise BadInput(
        f"layer {member.layer} of {network.name} does not lie in {module}",
        hint=f"take features and units of layer {end}" if end else "consilience layers NETWORK lists the layers",
    )


def _names(study: Study, table: InnerTable, inputs: int) -> tuple[str, ...]:
    if len(table.variables) > inputs:
        raise BadInput(
            f"{study.path}: distil.inner names {len(table.variables)} variables, {table.module} takes {inputs}",
            hint="name as many as it takes, in that order, or fewer",
        )
    names = (*table.variables, *(f"i{place}" for place in range(len(table.variables), inputs)))
    for part in table.derived:
        unknown = [name for name in variables(parse(part.formula)) if name not in names]
        if unknown:
            raise NotFound(
                f"{study.path}: distil.inner: {unknown[0]!r} is not an input of {table.module}",
                hint=f"they are {', '.join(names[:20])}",
            )
    return names
