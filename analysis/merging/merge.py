"""Merge networks of one architecture into one: bring their units into one order, average, repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Num

from ...zoo.errors import BadInput
from ...zoo.network import Network
from ...zoo.permute import permuted
from ...zoo.symmetry import Symmetry
from ...zoo.symmetry import symmetry as symmetry_of
from ..alignment.activation_matching import Orders, match_many
from ..alignment.weight_matching import match_weights
from .averaging import average, same_architecture
from .repair import repair as repaired

ROUNDS = 20
Inputs = Num[np.ndarray, "samples ..."]
Matching = Callable[[Sequence[Network], Inputs, Symmetry, int, str], Sequence[Orders]]


def merge(
    networks: Sequence[Network],
    inputs: Inputs,
    *,
    method: str = "activations",
    repair: bool = True,
    seed: int = 0,
    device: str = "cpu",
) -> Network:
    """Average networks of one architecture after bringing their units to those of the first by one of MATCHINGS.

    With `repair` every hidden unit gets the mean and spread that its parents have on the inputs. The result bears
    the first's name and has its units in the first's order. Raises what `in_one_order` raises.
    """
    parents = in_one_order(networks, inputs, method=method, seed=seed, device=device)
    merged = average(parents)
    return repaired(merged, parents, inputs, device=device) if repair else merged


def in_one_order(
    networks: Sequence[Network],
    inputs: Inputs,
    *,
    method: str = "activations",
    symmetry: Symmetry | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[Network, ...]:
    """Reorder the units of all networks but the first so that what is alike stands at the same place.

    No network's function changes. Raises BadInput for an unknown method and what `same_architecture` raises,
    Refused for a network that has no symmetry.
    """
    if method not in MATCHINGS:
        raise BadInput(f"no way of matching {method!r}", hint=f"choose one of {', '.join(MATCHINGS)}")
    networks = same_architecture(networks)
    if method == "none":
        return tuple(networks)
    found = symmetry if symmetry is not None else symmetry_of(networks[0])
    orders = MATCHINGS[method](networks, inputs, found, seed, device)
    return tuple(permuted(network, found, mine) for network, mine in zip(networks, orders, strict=True))


def _by_activations(
    networks: Sequence[Network], inputs: Inputs, symmetry: Symmetry, seed: int, device: str
) -> Sequence[Orders]:
    return match_many(networks, inputs, symmetry=symmetry, device=device)


def _by_weights(
    networks: Sequence[Network], inputs: Inputs, symmetry: Symmetry, seed: int, device: str
) -> Sequence[Orders]:
    """Match each network to the mean of the others until nothing moves (Ainsworth et al. 2023, algorithm 3).

    The first stays; before the first round each meets the mean of those before it.
    """
    orders = [tuple(np.arange(group.size) for group in symmetry.groups)]
    placed = [networks[0]]
    for network in networks[1:]:
        orders.append(tuple(match_weights(average(placed), network, symmetry=symmetry, seed=seed).orders))
        placed.append(permuted(network, symmetry, orders[-1]))
    for _ in range(ROUNDS if len(networks) > 2 else 0):
        moved = False
        for at in range(1, len(networks)):
            others = average([*placed[:at], *placed[at + 1 :]])
            found = tuple(match_weights(others, networks[at], symmetry=symmetry, seed=seed).orders)
            if any((one != other).any() for one, other in zip(found, orders[at], strict=True)):
                orders[at], moved = found, True
                placed[at] = permuted(networks[at], symmetry, found)
        if not moved:
            break
    return orders


def _none(networks: Sequence[Network], inputs: Inputs, symmetry: Symmetry, seed: int, device: str) -> Sequence[Orders]:
    return [tuple(np.arange(group.size) for group in symmetry.groups) for _ in networks]


MATCHINGS: dict[str, Matching] = {"none": _none, "activations": _by_activations, "weights": _by_weights}
