"""One order of units for all networks of a zoo: that of the slots of the universe in which they meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ...zoo.errors import Refused
from ...zoo.symmetry import Symmetry, symmetry
from ..alignment.activation_matching import Orders
from ..alignment.similarity import Activations, activations, standardise
from ..alignment.universe import universe
from .stage_align import Aligned

Order = Int[np.ndarray, " units"]


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """How the units of one network can be reordered, and into which order: new[i] = old[order[i]]."""

    symmetry: Symmetry
    orders: Orders


def universal_orders(aligned: Aligned, *, device: str = "cpu") -> dict[int, Ordered | Refused]:
    """Give the units of every network the order of the universe of their levels, by the network's number.

    Networks whose group of units has its layers in the same levels share a universe; samples of several layers
    are stacked, each layer standardised by itself. Signs count as they are, since reordering flips none. A unit
    stands at the number of its slot where the network has room for all slots, else in the order of the slots;
    units without one take what is left. Groups that are no layer's stay. Where a network has no symmetry its
    value is the reason.
    """
    found: dict[int, Symmetry | Refused] = {}
    for number, seen in enumerate(aligned.observed):
        try:
            found[number] = symmetry(seen.network)
        except Refused as refusal:
            found[number] = refusal
    ordered = {
        number: [np.arange(group.size) for group in one.groups]
        for number, one in found.items()
        if isinstance(one, Symmetry)
    }
    for members in _meeting(aligned, {number: one for number, one in found.items() if isinstance(one, Symmetry)}):
        placed = universe([_stacked(aligned, number, layers) for number, _, layers in members], device=device)
        for (number, group, _), slots in zip(members, placed.slots, strict=True):
            ordered[number][group] = order_of(slots)
    return {
        number: one if isinstance(one, Refused) else Ordered(one, tuple(ordered[number]))
        for number, one in found.items()
    }


def order_of(slots: Int[np.ndarray, " units"]) -> Order:
    """Put units into the order of their slots (-1: none): each at its slot's number, where there are so many places.

    >>> order_of(np.array([2, -1, 0])).tolist()
    [2, 1, 0]
    >>> order_of(np.array([7, -1, 4])).tolist()
    [2, 0, 1]
    """
    last = np.where(slots < 0, np.iinfo(np.int64).max, slots)
    if slots.max(initial=-1) >= len(slots):
        return np.argsort(last, kind="stable")
    order = np.full(len(slots), -1)
    held = np.flatnonzero(slots >= 0)
    order[slots[held]] = held
    order[order < 0] = np.flatnonzero(slots < 0)
    return order


Member = tuple[int, int, list[str]]


def _meeting(aligned: Aligned, found: Mapping[int, Symmetry]) -> list[list[Member]]:
    """Gather (network, group, layers) of which the layers lie in the same levels."""
    levels = {
        (number, aligned.observed[number].network.layers[position].name): at
        for at, level in enumerate(aligned.levels)
        for number, position in level.layers
    }
    meeting: dict[tuple[int, ...], list[Member]] = {}
    for number, one in found.items():
        for group, units in enumerate(one.groups):
            layers = sorted((levels[number, name], name) for name in units.layers if (number, name) in levels)
            if layers:
                key = tuple(level for level, _ in layers)
                meeting.setdefault(key, []).append((number, group, [name for _, name in layers]))
    return list(meeting.values())


def _stacked(aligned: Aligned, number: int, names: Sequence[str]) -> Activations:
    seen = aligned.observed[number]
    layers = [next(layer for layer in seen.network.layers if layer.name == name) for name in names]
    values = [standardise(seen.pre(layer), alive=seen.alive(layer)).astype(np.float32) for layer in layers]
    return activations(np.concatenate(values), lineage=seen.network.lineage)
