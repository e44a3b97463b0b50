"""Reorder the units of a network without changing what it computes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import BadInput
from .network import Network
from .store import content_key
from .symmetry_groups import Place, Symmetry

Order = Int[np.ndarray, " _units"]


def permuted(network: Network, symmetry: Symmetry, orders: Sequence[Order]) -> Network:
    """Copy a network with the units of every group in another order. See `permute_state`."""
    module = copy.deepcopy(network.module)
    module.load_state_dict(permute_state(module.state_dict(), symmetry, orders))
    module.train()  # which makes modules forget what they keep computed from their weights
    digest = content_key("permuted", network.digest, [order.tolist() for order in orders])
    return replace(network, digest=digest, module=module.eval().requires_grad_(False))


def permute_state(state: Mapping[str, Tensor], symmetry: Symmetry, orders: Sequence[Order]) -> dict[str, Tensor]:
    """Reorder the units of every group in all tensors where they stand: new[i] = old[order[i]].

    What is not in any group is given as it is, not as a copy. Raises BadInput for orders that are none.
    """
    if [sorted(order.tolist()) for order in orders] != [list(range(group.size)) for group in symmetry.groups]:
        what = f"{len(symmetry.groups)} groups need an order each that holds every unit once"
        raise BadInput(what, hint="give the orders of a matching of networks of this architecture")
    found = dict(state)
    for group, order in zip(symmetry.groups, orders, strict=True):
        for place in group.places:
            found[place.tensor] = reordered(found[place.tensor], place, order)
    return found


def reordered(tensor: Tensor, place: Place, order: Order) -> Tensor:
    """Reorder the units that stand at one place of a tensor."""
    chosen = torch.from_numpy(order).to(tensor.device)
    return _put_back(tensor, place, unfolded(tensor, place, len(order)).index_select(place.axis + 1, chosen))


def mixed(tensor: Tensor, place: Place, shares: Float[Tensor, "units units"]) -> Tensor:
    """Make new units at one place of a tensor, each of shares of the old ones."""
    parts = unfolded(tensor, place, len(shares))
    return _put_back(
        tensor, place, torch.tensordot(shares, parts, dims=([1], [place.axis + 1])).movedim(0, place.axis + 1)
    )


def _put_back(tensor: Tensor, place: Place, units: Tensor) -> Tensor:
    moved = units.flatten(place.axis, place.axis + 2)
    rest = tensor.shape[place.axis] - place.start - moved.shape[place.axis]
    if not place.start and not rest:
        return moved
    before, after = (
        tensor.narrow(place.axis, *end) for end in ((0, place.start), (tensor.shape[place.axis] - rest, rest))
    )
    return torch.cat([before, moved, after], dim=place.axis)


def unfolded(tensor: Tensor, place: Place, size: int) -> Tensor:
    """Take apart the axis where units stand: what comes before, unit, and after."""
    part = tensor.narrow(place.axis, place.start, place.before * size * place.after)
    shape = part.shape
    return part.reshape(*shape[: place.axis], place.before, size, place.after, *shape[place.axis + 1 :])
