"""A network whose filters have their weights in another order: what is left of it without their form."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from .errors import BadInput
from .network import Network
from .store import content_key

FILTERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def shuffled_twin(network: Network, *, seed: int) -> Network:
    """Copy a network with the weights of every unit in another order: each filter's numbers, and nothing of its form.

    What the architecture, the sizes of weights and their offsets give is kept; the draw depends on the seed and
    on the network. Raises BadInput for a network whose weights are not those of a torch module.
    """
    digest = content_key("shuffled", network.digest, seed)
    generator = torch.Generator().manual_seed(int(digest[:15], 16))
    module = copy.deepcopy(network.module)
    filters = [part.weight for part in module.modules() if isinstance(part, FILTERS)]
    if not filters:
        raise BadInput(f"{network.name}: no filters that could be shuffled", hint="give a network of torch modules")
    with torch.no_grad():
        for weights in filters:
            flat = weights.data.flatten(1)
            order = torch.rand(flat.shape, generator=generator).argsort(dim=1)
            weights.data = flat.gather(1, order).reshape(weights.shape)
    name = f"{network.name} (shuffled {seed})"
    return replace(network, name=name, digest=digest, lineage=name, module=module.eval().requires_grad_(False))
