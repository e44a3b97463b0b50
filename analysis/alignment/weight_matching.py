"""Which unit of one network is which unit of another of the same architecture, by their weights alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from ...zoo.errors import BadInput
from ...zoo.network import Network
from ...zoo.permute import mixed, reordered, unfolded
from ...zoo.symmetry import Group, Place, Symmetry
from ...zoo.symmetry import symmetry as symmetry_of

SWEEPS, ROUNDS, BALANCED = 100, 10, 20
EXPECTED = 0.3
"""The correlation of weights that a start reckons with: the more is expected, the sooner it commits itself."""
STEADY, LEAST, FARTHEST = 0.01, 1e-6, 60.0
GAIN = 1e-6
"""Of the whole: what a move must gain, or two equal ones would take turns for ever."""

Tensors = dict[str, torch.Tensor]
Order = Int[np.ndarray, " _units"]


@dataclass(frozen=True, slots=True, eq=False)
class WeightMatching:
    """For every group of a symmetry the order that brings the right network's units to the left one's.

    `similarity` is the correlation of the left network's weights with the reordered ones of the right, both
    standardised tensor by tensor, and `sweeps` how often all groups were gone through.
    """

    symmetry: Symmetry
    orders: tuple[Int[np.ndarray, " _units"], ...]
    similarity: float
    sweeps: int


def match_weights(left: Network, right: Network, *, symmetry: Symmetry | None = None, seed: int = 0) -> WeightMatching:
    """Find the orders of the right network's units that make its weights most similar to the left one's.

    One group after the other is assigned while all others stay (Ainsworth et al. 2023, Git Re-Basin,
    algorithm 1), in random order, until nothing moves: from the units as they are, and from a start that weighs
    all orders at once. The more similar outcome counts. Weights are standardised tensor by tensor; the
    statistics of normalisations have no say. Raises BadInput for two architectures, and what `symmetry` raises.
    """
    _same_architecture(left, right)
    symmetry = symmetry_of(left) if symmetry is None else symmetry
    names = {place.tensor for group in symmetry.groups for place in group.places}
    ours, theirs = _scaled(left, names), _scaled(right, names)
    starts = [_Descent(symmetry.groups, ours, theirs) for _ in range(2)]
    starts[1].begin()
    for start in starts:
        start.descend(np.random.default_rng(seed))
    best = max(starts, key=lambda start: start.similarity())
    return WeightMatching(symmetry, tuple(best.orders), best.similarity(), best.sweeps)


def match_layer(left: tuple[Network, str], right: tuple[Network, str]) -> Order:
    """Tell for every unit of a layer of the left network which unit of one of the right it is, by all weights.

    -1 where weights do not tell: for another architecture, and for layers whose units are not one group.
    Outputs stay where they are.
    """
    layer = next(layer for layer in left[0].layers if layer.name == left[1])
    if layer.role == "output" and left[1] == right[1]:
        return np.arange(layer.units)
    try:
        matching = _matched(left[0], right[0])
    except BadInput:
        return np.full(layer.units, -1)
    for group, order in zip(matching.symmetry.groups, matching.orders, strict=True):
        if {left[1], right[1]} <= set(group.layers):
            return order
    return np.full(layer.units, -1)


@lru_cache(maxsize=64)
def _matched(left: Network, right: Network) -> WeightMatching:
    return match_weights(left, right)


def _same_architecture(left: Network, right: Network) -> None:
    shapes = [{name: tuple(part.shape) for name, part in one.module.state_dict().items()} for one in (left, right)]
    if shapes[0] == shapes[1]:
        return
    odd = next(name for name in {**shapes[0], **shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
    told = " and ".join(
        f"{shape[odd]} in {one.name}" if odd in shape else f"missing in {one.name}"
        for shape, one in zip(shapes, (left, right), strict=True)
    )
    what = f"networks of two architectures cannot be matched by weights: {odd} is {told}"
    raise BadInput(what, hint="match them by their activations, with align")


def _scaled(network: Network, names: set[str]) -> Tensors:
    """Take the weights in the groups, those of every tensor brought to mean zero and variance one."""
    found = {}
    for name, part in network.module.named_parameters(remove_duplicate=False):
        if name in names and part.is_floating_point():
            centred = part.detach().float() - part.detach().float().mean()
            found[name] = centred / max(float(centred.square().mean().sqrt()), 1e-30)
    return found


class _Descent:
    """Orders of all groups, and the right network's weights in them."""

    def __init__(self, groups: Sequence[Group], left: Tensors, right: Tensors) -> None:
        self.groups, self.left, self.right = groups, left, dict(right)
        self.orders = [np.arange(group.size) for group in groups]
        self.sweeps = 0
        self._moved = dict.fromkeys(left, 0)  # how often the units in a tensor were moved
        self._settled: dict[int, int] = {}  # how often those of a group had been, when no other order was better
        self._places: dict[str, list[tuple[int, Place]]] = {name: [] for name in left}
        for number, group in enumerate(groups):
            for place in group.places:
                if place.tensor in left:
                    self._places[place.tensor].append((number, place))

    def similarity(self) -> float:
        """Correlate all weights, in [-1, 1]."""
        count = sum(tensor.numel() for tensor in self.left.values())
        return self._product(self.left) / max(count, 1)

    def begin(self) -> None:
        """Start from what all weights together make likely, no unit being assigned until the end.

        Shares of every unit in every other (mean field, each group by Sinkhorn's scaling) begin equal, so that
        at first only weights count that lead to inputs and outputs.
        """
        shares = [torch.full((group.size, group.size), 1 / group.size) for group in self.groups]
        for turn in range(ROUNDS):
            before, forth = list(shares), range(len(shares))
            for number in reversed(forth) if turn % 2 else forth:
                shares[number] = _balanced(EXPECTED / (1 - EXPECTED**2) * self._similarity(number, shares))
            if all(float((new - old).abs().max()) < STEADY for new, old in zip(shares, before, strict=True)):
                break
        for number, share in enumerate(shares):
            self._move(number, _assigned(share))

    def descend(self, draw: np.random.Generator) -> None:
        """Assign group by group, in random order, until no move gains anything."""
        moved = True
        while moved and self.sweeps < SWEEPS:
            moved, self.sweeps = False, self.sweeps + 1
            for number in draw.permutation(len(self.groups)).tolist():
                moved |= self._improved(number)

    def _improved(self, number: int) -> bool:
        """Assign a group anew, if that gains: where it stands on two axes of a tensor it need not."""
        names = {place.tensor for place in self._of(number)}
        if self._settled.get(number) == self._moves(names):
            return False
        order, before = _assigned(self._similarity(number)), self._product(names)
        if (order != np.arange(order.size)).any():
            self._move(number, order)
            if self._product(names) > before + GAIN * sum(self.left[name].numel() for name in names):
                return True
            self._move(number, np.argsort(order))
        self._settled[number] = self._moves(names)
        return False

    def _moves(self, names: Iterable[str]) -> int:
        return sum(self._moved[name] for name in names)

    def _of(self, number: int) -> list[Place]:
        return [place for place in self.groups[number].places if place.tensor in self.left]

    def _similarity(self, number: int, shares: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Multiply the weights of all units of a group on the left with those on the right, mixed by shares."""
        size = self.groups[number].size
        found = torch.zeros(size, size)
        for place in self._of(number):
            right = self.right[place.tensor]
            for other, where in self._places[place.tensor]:
                right = mixed(right, where, shares[other]) if shares is not None and where != place else right
            found += _units(self.left[place.tensor], place, size) @ _units(right, place, size).T
        return found

    def _move(self, number: int, order: Order) -> None:
        self.orders[number] = self.orders[number][order]
        for place in self._of(number):
            self.right[place.tensor] = reordered(self.right[place.tensor], place, order)
            self._moved[place.tensor] += 1

    def _product(self, names: Iterable[str]) -> float:
        return sum((float((self.left[name] * self.right[name]).sum(dtype=torch.float64)) for name in names), 0.0)


def _units(tensor: torch.Tensor, place: Place, size: int) -> torch.Tensor:
    """Lay out what belongs to each unit at a place: units by numbers."""
    return unfolded(tensor, place, size).movedim(place.axis + 1, 0).reshape(size, -1)


def _assigned(similarity: torch.Tensor) -> Order:
    return np.asarray(linear_sum_assignment(similarity.double().numpy(), maximize=True)[1])


def _balanced(similarity: torch.Tensor) -> torch.Tensor:
    """Turn similarities into shares: rows and columns of sum one, in proportion to their exponentials."""
    found = (similarity - similarity.amax(1, keepdim=True)).clamp(min=-FARTHEST).exp()
    for _ in range(BALANCED):
        found = found / found.sum(0, keepdim=True)
        found = found / found.sum(1, keepdim=True)
    return torch.where(found > LEAST, found, 0.0)
