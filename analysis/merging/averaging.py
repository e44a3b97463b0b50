"""Networks between networks: averages of their weights, tensor by tensor."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import torch
from jaxtyping import Num
from torch import nn

from ...zoo.errors import BadInput
from ...zoo.network import Network, to_module
from ...zoo.store import content_key

Norm = nn.modules.batchnorm._BatchNorm
ROWS, PHOTOS = 1024, 64
"""So many samples are run at once to gather statistics."""
_HINT = "only networks of one architecture have an average; consilience networks and layers tell what they are"


def average(networks: Sequence[Network], shares: Sequence[float] | None = None) -> Network:
    """Average the weights of networks, equally or by shares; what is not a floating number is the first's.

    Buffers of floating numbers, such as the statistics of batch norms, are averaged as well. The result bears
    the first's name. Raises what `same_architecture` raises.
    """
    networks = same_architecture(networks)
    weights = list(shares) if shares is not None else [1.0 / len(networks)] * len(networks)
    states = [network.module.state_dict() for network in networks]
    mixed = dict(states[0])
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            parts = [weight * state[name].double() for weight, state in zip(weights, states, strict=True)]
            mixed[name] = torch.stack(parts).sum(dim=0).to(tensor.dtype)
    digest = content_key("average", [network.digest for network in networks], weights)
    return with_state(replace(networks[0], digest=digest), mixed)


def with_state(network: Network, state: dict[str, torch.Tensor]) -> Network:
    """Copy a network with other weights in it."""
    module = copy.deepcopy(network.module)
    module.load_state_dict(state)
    module.train()  # which makes modules forget what they keep computed from their weights
    return replace(network, module=module.eval().requires_grad_(False))


def same_architecture(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Check that networks differ in nothing but the numbers in their weights, and perhaps the names of these.

    Gives them with the first's names, which go by the order of their tensors.
    Raises BadInput, naming two networks and the first tensor or setting that differs, and for a network whose
    weights torch does not hold, such as an ONNX graph.
    """
    first = networks[0]
    for network in networks:
        if not network.module.state_dict():
            what = f"{network.name}: torch holds no weights of it that could be averaged"
            raise BadInput(what, hint="give the weights and an architecture instead of a graph")
        if different := _difference(first, network):
            raise BadInput(f"{first.name} and {network.name} are of different architectures: {different}", hint=_HINT)
    return tuple(_named_as(first, network) for network in networks)


def _named_as(first: Network, network: Network) -> Network:
    names, state = list(first.module.state_dict()), network.module.state_dict()
    if list(state) == names:
        return network
    named = replace(network, module=first.module, layers=first.layers)
    return with_state(named, dict(zip(names, state.values(), strict=True)))


def has_statistics(network: Network) -> bool:
    """Tell whether a network has batch norms, whose statistics an average of weights does not fit."""
    return any(_norms(network.module))


def reset_statistics(network: Network, inputs: Num[np.ndarray, "samples ..."], *, device: str = "cpu") -> Network:
    """Gather the statistics of all batch norms anew on these inputs (Jordan et al. 2023, section 3).

    Where there are none the network is given as it is.
    """
    if not has_statistics(network):
        return network
    module = copy.deepcopy(network.module).to(device)
    for norm in _norms(module):
        norm.reset_running_stats()
        norm.momentum = None  # all batches count alike
        norm.train()
    parts = -(-len(inputs) // (PHOTOS if inputs.ndim == 4 else ROWS))
    with torch.no_grad():
        for rows in np.array_split(inputs, parts):
            module(_taken(network, rows).to(device))
    return with_state(network, module.cpu().state_dict())


def _norms(module: nn.Module) -> Iterator[Norm]:
    return (part for part in module.modules() if isinstance(part, Norm) and part.track_running_stats)


def _taken(network: Network, rows: Num[np.ndarray, "samples ..."]) -> torch.Tensor:
    return to_module(
        rows,
        module=network.module,
        input_shape=network.input_shape,
        scaling=network.scaling,
        preprocessing=network.preprocessing,
    )


def _difference(first: Network, other: Network) -> str:
    states = [one.module.state_dict().items() for one in (first, other)]
    for one, two in zip_longest(*states):
        shapes = [None if named is None else tuple(named[1].shape) for named in (one, two)]
        if shapes[0] != shapes[1]:
            return f"tensor {(one or two)[0]} is {_shown(shapes[0])} in one and {_shown(shapes[1])} in the other"
    for layer, its in zip_longest(first.layers, other.layers):
        if layer is None or its is None or replace(its, name=layer.name) != layer:
            told = [f"{at.name} ({at.activation})" if at else "none" for at in (layer, its)]
            return f"layer {told[0]} in one, {told[1]} in the other"
    for setting in ("scaling", "preprocessing", "input_shape"):
        if getattr(first, setting) != getattr(other, setting):
            return f"zoo.toml gives them another {setting.replace('_', ' ')}"
    return ""


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"
