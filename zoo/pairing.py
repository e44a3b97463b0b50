"""Which tensors of two networks stand for each other, and along which axes their units may be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .fingerprint import Fingerprint
from .units import FEWEST

GATES = (2, 3, 4)
"""So many blocks of one axis may describe the same units: gated units, queries with keys and values, LSTMs."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of two networks: its fingerprint and its weights."""

    marks: Fingerprint
    weights: Mapping[str, np.ndarray]

    def tensor(self, number: int) -> np.ndarray:
        """Read one tensor."""
        return self.weights[self.marks.names[number]]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a weight tensor along which hidden units lie, in so many parts; `group` names the units."""

    axis: int
    fold: int
    group: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tensors of one shape that stand for each other, by their numbers in the networks."""

    left: int
    right: int


def pairs(left: Fingerprint, right: Fingerprint) -> tuple[Pair, ...]:
    """Pair tensors of one shape that can tell of descent: by name, then whichever are left in their order."""
    found, waiting = [], defaultdict(list)
    names = {name: number for number, name in enumerate(right.names) if right.telling[number]}
    for number in np.flatnonzero(left.telling).tolist():
        partner = names.get(left.names[number])
        if partner is not None and right.shapes[partner] == left.shapes[number]:
            found.append(Pair(number, partner))
            del names[left.names[number]]
        else:
            waiting[left.shapes[number]].append(number)
    for number in names.values():
        if waiting[right.shapes[number]]:
            found.append(Pair(waiting[right.shapes[number]].pop(0), number))
    return tuple(sorted(found, key=lambda pair: pair.left))


def hidden_axes(network: Fingerprint, number: int) -> tuple[Axis, ...]:
    """Tell along which axes of a tensor units lie that another tensor of the network takes in or gives out.

    Inputs and outputs of the whole network have meanings of their own: they are numbered alike in networks
    that never met. So a linear model, which has no hidden units, shows nothing here.
    """
    weights = [shape for place, shape in enumerate(network.shapes) if len(shape) > 1 and place != number]
    shape, chain = network.shapes[number], plain_layers(network)
    into, out = {other[1] for other in weights}, {other[0] for other in weights}
    folds = _fold_of_outputs(shape, into), _fold_of_inputs(shape, out)
    long = [axis for axis in (0, 1) if folds[axis] and shape[axis] // folds[axis] >= FEWEST]
    if number not in chain:
        return tuple(Axis(axis, folds[axis], str(shape[axis] // folds[axis])) for axis in long)
    place = chain.index(number)
    own = 1 if place == len(chain) - 1 else 0  # so that every hidden layer is looked at once, by what leads into it
    return tuple(Axis(axis, folds[axis], f"after {place - axis}") for axis in long if axis == own)


def _fold_of_outputs(shape: tuple[int, ...], into: set[int]) -> int:
    """In how many parts the first axis lists units that others take in; 0 where none does."""
    if shape[0] in into or any(other > shape[0] and other % shape[0] == 0 for other in into):
        return 1
    return next((gates for gates in GATES if shape[0] % gates == 0 and shape[0] // gates in into), 0)


def _fold_of_inputs(shape: tuple[int, ...], out: set[int]) -> int:
    """In how many parts the second axis lists units that others give out: the places of a flattened channel."""
    if shape[1] in out or any(shape[1] * gates in out for gates in GATES):
        return 1
    whole = [other for other in out if other >= FEWEST and shape[1] % other == 0]
    return shape[1] // max(whole) if whole and len(shape) == 2 else 0


def plain_layers(network: Fingerprint) -> Sequence[int]:
    """List the weights if each takes in what the one before gives out, as in a plain network; else nothing."""
    found = [number for number, shape in enumerate(network.shapes) if len(shape) > 1]
    shapes = [network.shapes[number] for number in found]
    if all(_follows(first[0], second[1], second) for first, second in pairwise(shapes)):
        return found
    return ()


def _follows(given: int, taken: int, shape: tuple[int, ...]) -> bool:
    return given == taken or (len(shape) == 2 and taken % given == 0)


def companions(network: Fingerprint, number: int) -> list[int]:
    """List what else describes the units along the first axis of a weight: its bias, weights to a few outputs."""
    shape, chain, found = network.shapes[number], plain_layers(network), biases(network, number)
    if len(chain) > 1 and number == chain[-2] and network.shapes[chain[-1]][1:] == shape[:1]:
        found += [chain[-1]] if network.shapes[chain[-1]][0] < FEWEST else []
    return found


def biases(network: Fingerprint, number: int) -> list[int]:
    """Find the bias of a weight by its name; none or one."""
    stem, _, last = network.names[number].rpartition(".")
    found = [place for place, name in enumerate(network.names) if last == "weight" and name == f"{stem}.bias"]
    return [place for place in found if network.shapes[place] == network.shapes[number][:1]]
