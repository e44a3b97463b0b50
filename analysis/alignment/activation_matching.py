"""Match the units of networks of one architecture by what they do: for every group of units one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...zoo.network import Network, record
from ...zoo.permute import permute_state
from ...zoo.symmetry import Group, Place, Symmetry
from ...zoo.symmetry import symmetry as symmetry_of
from .moments import CrossMoments, measure_pair, update_pair

ROUNDS = 100
GAIN = 1e-6
"""Below it a gain is rounding, and two equal assignments would take turns for ever."""

Order = Int[np.ndarray, " _units"]
Orders = tuple[Order, ...]
Products = Mapping[tuple[int, int], Float[np.ndarray, "units units"]]


def match_activations(
    left: Network,
    right: Network,
    inputs: Num[np.ndarray, "samples ..."],
    *,
    symmetry: Symmetry | None = None,
    device: str = "cpu",
) -> Orders:
    """Find the orders that bring the units of the right network to those of the left. See `match_many`."""
    return match_many([left, right], inputs, symmetry=symmetry, device=device)[1]


def match_many(
    networks: Sequence[Network],
    inputs: Num[np.ndarray, "samples ..."],
    *,
    symmetry: Symmetry | None = None,
    device: str = "cpu",
) -> tuple[Orders, ...]:
    """Find orders for all networks such that the correlations within places, over all pairs, sum to the most.

    Units are compared before their nonlinearity, with their signs (Li et al. 2016; for two networks this is the
    activation matching of Ainsworth et al. 2023, section 3.1); each layer of a group counts alike. The first
    network stays as it is, and each other in turn is assigned to the rest until nothing moves. Every order holds
    all units: dead ones take the places that are left. Groups that are no layer's follow the weights, given the
    others. Raises what `symmetry` and `record` raise.
    """
    found = symmetry if symmetry is not None else symmetry_of(networks[0])
    names = [name for group in found.groups for name in group.layers]
    r = {
        (one, other): _correlations(networks[one], networks[other], inputs, names, device)
        for one, other in combinations(range(len(networks)), 2)
    }
    orders = [[np.arange(group.size) for group in found.groups] for _ in networks]
    for number, group in enumerate(found.groups):
        if group.layers:
            summed = {pair: np.sum([by_layer[name] for name in group.layers], axis=0) for pair, by_layer in r.items()}
            _set(orders, number, agree(summed, len(networks)))
    for number, group in enumerate(found.groups):
        if not group.layers:
            states = [
                permute_state(network.module.state_dict(), found, mine)
                for network, mine in zip(networks, orders, strict=True)
            ]
            _set(orders, number, agree(_weight_products(states, group), len(networks)))
    return tuple(tuple(mine) for mine in orders)


def agree(products: Products, count: int) -> list[Order]:
    """Give every network an order so that products within places sum to the most; the first keeps its own.

    Keys are (left, right) with left < right. Each network begins at the best place beside those before it.
    """
    size = len(products[0, 1]) if products else 0
    orders = [np.arange(size) for _ in range(count)]
    for network in range(1, count):
        orders[network] = _best(_gains(products, orders, network, range(network)))
    for _ in range(ROUNDS):
        moved = False
        for network in range(1, count):
            gains = _gains(products, orders, network, range(count))
            places, better = np.arange(size), _best(gains)
            if gains[places, better].sum() > gains[places, orders[network]].sum() + GAIN * size:
                orders[network], moved = better, True
        if not moved:
            break
    return orders


def _best(gains: Float[np.ndarray, "places units"]) -> Order:
    return np.asarray(linear_sum_assignment(gains, maximize=True)[1])


def _gains(
    products: Products, orders: Sequence[Order], network: int, others: Sequence[int]
) -> Float[np.ndarray, "places units"]:
    parts = [
        products[other, network][orders[other]] if other < network else products[network, other].T[orders[other]]
        for other in others
        if other != network
    ]
    return np.asarray(np.sum(parts, axis=0))


def _correlations(
    left: Network, right: Network, inputs: Num[np.ndarray, "samples ..."], names: Sequence[str], device: str
) -> dict[str, Float[np.ndarray, "units units"]]:
    found: dict[str, CrossMoments] = {}
    sides = (record(network, inputs, device=device) for network in (left, right))
    for one, other in zip(*sides, strict=True):
        for name in names:
            pair = one[name].pre, other[name].pre
            found[name] = update_pair(found[name], *pair) if name in found else measure_pair(*pair)
    return {name: moments.correlation for name, moments in found.items()}


def _weight_products(states: Sequence[Mapping[str, Tensor]], group: Group) -> Products:
    rows = [
        np.concatenate([_unit_by_unit(state[place.tensor], place, group.size) for place in group.places], axis=1)
        for state in states
    ]
    return {(one, other): rows[one] @ rows[other].T for one, other in combinations(range(len(rows)), 2)}


def _unit_by_unit(tensor: Tensor, place: Place, size: int) -> Float[np.ndarray, "units numbers"]:
    part = tensor.narrow(place.axis, place.start, place.before * size * place.after)
    lengths = (*part.shape[: place.axis], place.before, size, place.after, *part.shape[place.axis + 1 :])
    units = part.reshape(lengths).movedim(place.axis + 1, 0)
    return np.asarray(units.reshape(size, -1).double().cpu().numpy())


def _set(orders: list[list[Order]], number: int, found: Sequence[Order]) -> None:
    for mine, order in zip(orders, found, strict=True):
        mine[number] = order
