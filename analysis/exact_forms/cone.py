"""The part of a network of dense layers that one unit depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...zoo.dense import Dense


@dataclass(frozen=True, slots=True, eq=False)
class Cone:
    """Layers up to one unit, with no other unit than it depends on; `units` are their numbers in the network."""

    layers: tuple[Dense, ...]
    units: tuple[tuple[int, ...], ...]

    @property
    def inputs(self) -> int:
        """Count the inputs of the network."""
        return int(self.layers[0].weight.shape[1])


def cone(layers: Sequence[Dense], place: int, unit: int) -> Cone:
    """Cut out what the unit of the layer at a place depends on: weights of 0 carry nothing."""
    kept = np.array([unit])
    found: list[tuple[Dense, np.ndarray]] = []
    for layer in reversed(layers[: place + 1]):
        mine = replace(layer, weight=layer.weight[kept], bias=layer.bias[kept], numbers=layer.numbers[kept])
        if found:
            below, units = found[-1]
            found[-1] = (replace(below, weight=below.weight[:, kept]), units)
        found.append((mine, kept))
        kept = np.flatnonzero(mine.weight.any(axis=0))
    found.reverse()
    return Cone(tuple(layer for layer, _ in found), tuple(tuple(units.tolist()) for _, units in found))
