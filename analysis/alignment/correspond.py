"""Which layers of networks of different depth stand for one another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float, Int, Num

from .similarity import cka_table

ROUNDS = 10

Place = tuple[int, int]
Sort = tuple[str, tuple[str, ...], int]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedLayer:
    """A layer as it was recorded: what it is, and what it gave. Layers come in order of depth."""

    role: str
    kind: str
    axes: tuple[str, ...]
    positions: int
    values: Num[np.ndarray, "samples units"]


@dataclass(frozen=True, slots=True)
class Level:
    """Layers that stand for one another: (network, position in that network), at most one a network."""

    name: str
    role: str
    kind: str
    axes: tuple[str, ...]
    positions: int
    layers: tuple[Place, ...]


def correspond(networks: Sequence[Sequence[RecordedLayer]]) -> tuple[Level, ...]:
    """Put the layers of all networks into levels, hidden ones by depth first, outputs last.

    Only layers of the same kind and sample axes compare; outputs are with outputs. Within a network the
    order of layers is kept. The deepest networks define the levels; the others are laid along them by
    dynamic programming on unbiased linear CKA, against everything that the level holds, until stable.
    Raises BadInput when layers of one level were recorded on different samples.
    """
    hidden = [level for group in _groups(networks, "hidden") for level in _hidden_levels(networks, group)]
    outputs = [_level("output", networks, tuple(places)) for _, places in sorted(_split(networks, "output").items())]
    return tuple(hidden + outputs)


def _split(networks: Sequence[Sequence[RecordedLayer]], role: str) -> dict[tuple[int, Sort], list[Place]]:
    """Group places by what may compare, in order of where such layers first come in a network."""
    found: dict[Sort, list[Place]] = {}
    for network, layers in enumerate(networks):
        for position, layer in enumerate(layers):
            if layer.role == role:
                found.setdefault(_sort(layer), []).append((network, position))
    return {(min(position for _, position in places), sort): places for sort, places in found.items()}


def _groups(networks: Sequence[Sequence[RecordedLayer]], role: str) -> list[list[Place]]:
    return [places for _, places in sorted(_split(networks, role).items())]


def _hidden_levels(networks: Sequence[Sequence[RecordedLayer]], group: list[Place]) -> list[Level]:
    stacks = [list(places) for _, places in groupby(group, key=lambda place: place[0])]
    assigned = _lay(stacks, _resemblances(networks, group))
    sort, sorts = _sort(networks[group[0][0]][group[0][1]]), _sorts(networks)
    depth = max(map(len, stacks))
    return [
        _level(
            _name(sort, sorts, number + 1),
            networks,
            tuple(place for place, level in assigned.items() if level == number),
        )
        for number in range(depth)
    ]


def _sort(layer: RecordedLayer) -> Sort:
    return layer.kind, layer.axes, layer.positions


def _sorts(networks: Sequence[Sequence[RecordedLayer]]) -> set[Sort]:
    return {_sort(layer) for layers in networks for layer in layers if layer.role == "hidden"}


def _name(sort: Sort, others: Collection[Sort], number: int) -> str:
    """Name a level, saying no more of its sort than tells it from the others."""
    kind, axes, positions = sort
    if len(others) == 1:
        return f"hidden {number}"
    alike = [other for other in others if other[0] == kind]
    same = [other for other in alike if other[1] == axes]
    per = f" per {' and '.join(axes[1:] or axes)}" if len(same) < len(alike) else ""
    return f"{kind}{per} {number}" + (f" at {positions} positions" if len(same) > 1 else "")


def _level(name: str, networks: Sequence[Sequence[RecordedLayer]], places: tuple[Place, ...]) -> Level:
    network, position = places[0]
    first = networks[network][position]
    return Level(name, first.role, first.kind, first.axes, first.positions, places)


def _resemblances(networks: Sequence[Sequence[RecordedLayer]], group: list[Place]) -> dict[tuple[Place, Place], float]:
    """Take CKA between every two layers of a group."""
    table = cka_table([networks[network][position].values for network, position in group])
    return {(first, second): float(table[i, j]) for i, first in enumerate(group) for j, second in enumerate(group)}


def _lay(stacks: list[list[Place]], cka: Mapping[tuple[Place, Place], float]) -> dict[Place, int]:
    """Lay every stack of layers along the deepest ones."""
    depth = max(map(len, stacks))
    assigned = {place: level for stack in stacks if len(stack) == depth for level, place in enumerate(stack)}
    for _ in range(ROUNDS):
        before = dict(assigned)
        for stack in stacks:
            if len(stack) < depth:
                others = {place: level for place, level in assigned.items() if place[0] != stack[0][0]}
                table = np.array([_scores(place, others, cka, depth) for place in stack])
                assigned |= dict(zip(stack, _increasing_path(table).tolist(), strict=True))
        if assigned == before:
            break
    return assigned


def _scores(
    place: Place, others: Mapping[Place, int], cka: Mapping[tuple[Place, Place], float], depth: int
) -> list[float]:
    return [
        float(np.mean([cka[place, other] for other, at in others.items() if at == level])) for level in range(depth)
    ]


def _increasing_path(scores: Float[np.ndarray, "layers levels"]) -> Int[np.ndarray, " layers"]:
    """Choose strictly increasing levels for the layers so that the sum of scores is largest."""
    layers, levels = scores.shape
    best = np.full((layers + 1, levels + 1), -np.inf)
    best[0] = 0.0
    taken = np.zeros((layers + 1, levels + 1), dtype=bool)
    for layer in range(1, layers + 1):
        for level in range(layer, levels + 1):
            here = best[layer - 1, level - 1] + scores[layer - 1, level - 1]
            taken[layer, level] = here > best[layer, level - 1]
            best[layer, level] = max(here, best[layer, level - 1])
    path, level = [], levels
    for layer in range(layers, 0, -1):
        while not taken[layer, level]:
            level -= 1
        level -= 1
        path.append(level)
    return np.array(path[::-1])
