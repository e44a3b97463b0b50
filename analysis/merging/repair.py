"""Give the units of an averaged network the mean and the spread that averaging took from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from ...zoo.network import Network, record
from ..alignment.moments import Moments, measure, update
from .averaging import has_statistics, reset_statistics, with_state

FEW = 8
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def repair(
    merged: Network, parents: Sequence[Network], inputs: Num[np.ndarray, "samples ..."], *, device: str = "cpu"
) -> Network:
    """Set mean and standard deviation of every hidden unit to the mean of its parents' (Jordan et al. 2023, REPAIR).

    The parents' units stand in one order. Layer after layer, in the order in which they run, the correction is
    folded into a dense layer's or convolution's own weights, where its values are watched as it gives them;
    without a bias the spread alone is set. Batch norms gather their statistics anew on the inputs instead.
    """
    repaired = reset_statistics(merged, inputs, device=device)
    names = [layer.name for layer in merged.layers if layer.role == "hidden" and _foldable(merged, layer.name, inputs)]
    wanted = [_moments(parent, inputs, names, device) for parent in parents] if names else []
    for name in names:
        mean = np.mean([moments[name].mean for moments in wanted], axis=0)
        deviation = np.mean([np.sqrt(moments[name].variance) for moments in wanted], axis=0)
        own = _moments(repaired, inputs, [name], device)[name]
        repaired = _folded(repaired, name, own, mean, deviation)
        if has_statistics(repaired):
            repaired = reset_statistics(repaired, inputs, device=device)
    return repaired


def _moments(
    network: Network, inputs: Num[np.ndarray, "samples ..."], names: Sequence[str], device: str
) -> dict[str, Moments]:
    found: dict[str, Moments] = {}
    for batch in record(network, inputs, device=device):
        for name in names:
            values = batch[name].pre
            found[name] = update(found[name], values) if name in found else measure(values)
    return found


def _folded(
    network: Network,
    name: str,
    own: Moments,
    mean: Float[np.ndarray, " units"],
    deviation: Float[np.ndarray, " units"],
) -> Network:
    scale = np.where(own.alive, deviation / np.sqrt(np.where(own.alive, own.variance, 1.0)), 1.0)
    state = dict(network.module.state_dict())
    weight, factor = state[f"{name}.weight"], torch.from_numpy(scale)
    state[f"{name}.weight"] = (weight.double() * factor.reshape(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)
    if (bias := state.get(f"{name}.bias")) is not None:
        state[f"{name}.bias"] = (bias.double() * factor + torch.from_numpy(mean - own.mean * scale)).to(bias.dtype)
    return with_state(network, state)


def _foldable(network: Network, name: str, inputs: Num[np.ndarray, "samples ..."]) -> bool:
    """Tell whether a layer is a dense layer or convolution whose values are watched just as it gives them."""
    part = dict(network.module.named_modules()).get(name)
    if not isinstance(part, LINEAR) or f"{name}.weight" not in network.module.state_dict():
        return False
    given: list[torch.Tensor] = []
    with part.register_forward_hook(lambda _part, _inputs, output: given.append(output.detach().double())):
        watched = _moments(network, inputs[:FEW], [name], "cpu")[name].mean
    values = given[-1].movedim(-1 if isinstance(part, nn.Linear) else 1, 0).flatten(1)
    return len(values) == len(watched) and bool(np.allclose(values.mean(dim=1), watched, rtol=1e-4, atol=1e-5))
