"""Take the inputs of a module inside the networks for the ground: messages, say, in terms of what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from jaxtyping import Float

from ..zoo.errors import BadInput, NotFound
from ..zoo.inner import INSIDE, are_free, given, inner
from ..zoo.manifest import InnerTable
from ..zoo.network import Network
from .expression import variables
from .ground import Ground, halves
from .parsing import parse
from .stage_cluster import Member
from .stage_probe import Observed
from .study import Study
from .target import Rows

SPREAD = 4
"""Lines are taken from so many times more rows than need be: those of one row are alike."""
ALIKE = 1e-4
"""By so much of its spread may what a module is given differ between networks."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """One module in all networks of a zoo, by the lines that it is given; made once, asked by many members."""

    study: Study
    networks: Mapping[str, Observed]
    module: str
    reference: Rows
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


def ground_within(study: Study, networks: Mapping[str, Observed], module: str, *, first: str) -> Ground:
    """Take what a module is given on the probe; variables are called as zoo.toml has it, else i0, i1, …

    `first` names the network whose module is watched; the others' must be given the same. Raises NotFound for a
    network without such a module, BadInput for one that does not treat every place by itself.
    """
    network, probe = networks[first].network, study.probe
    reference = given(network, module, probe.inputs)
    table = next((one for one in study.manifest.distil.inner if one.module == module), InnerTable(module=module))
    names = _names(study, table, reference.shape[1])
    places = len(reference) / len(probe.inputs)
    low, high = reference.min(axis=0), reference.max(axis=0)

    def rows_for(samples: int) -> int:
        return max(ceil(min(SPREAD / places, 1.0) * samples), 8)

    def lines(rows: Rows, samples: int, seed: int) -> Rows:
        return _shuffled(given(network, module, rows), seed)[:samples]

    def both(samples: int, seed: int) -> tuple[Rows, Rows]:
        fitting, held_out = halves(study, rows_for(samples), seed)
        return lines(fitting, samples, seed + 1), lines(held_out, samples, seed + 2)

    def outside(samples: int, seed: int) -> Rows | None:
        rows = probe.draw_outside(rows_for(samples), seed=seed)
        if rows is None:
            return None
        found = given(network, module, rows)
        beyond = found[((found < low) | (found > high)).any(axis=1)]
        return _shuffled(beyond, seed)[:samples] if len(beyond) >= min(samples, 32) else None

    return Ground(
        names=names,
        derived={part.name: parse(part.formula) for part in table.derived},
        free=probe.box and are_free(network, module, probe.inputs),
        reference=_shuffled(reference, 0)[: len(probe.inputs)],
        draw=lambda samples, seed: lines(probe.draw(rows_for(samples), seed=seed), samples, seed),
        halves=both,
        outside=outside,
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


def _shuffled(lines: Float[np.ndarray, "uses inputs"], seed: int) -> Float[np.ndarray, "uses inputs"]:
    return lines[np.random.default_rng(seed).permutation(len(lines))]
