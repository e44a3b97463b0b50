"""One member of a TGLF ensemble as a module: physical inputs in, mean and variance of one flux out.

The package tglfnn-ukaea keeps five members per flux stacked along the first axis of each array. With
every step as its arrays define it (means and standard deviations in float64, layers in float32):

    hidden   = (inputs - input_mean) / input_std, then five Linear and ReLU of 512 units
    mean     = output_mean + output_std · last[0]
    variance = output_std² · (softplus(last[1]) + variance_epsilon)

The ensemble is the mixture of its members: the mean of their means; the mean of their variances plus
the (population) variance of their means.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

FLUXES = ("efe_gb", "efi_gb", "pfi_gb")  # the order in which the package stores their scalings


class Normalise(nn.Module):
    """Bring physical inputs to zero mean and unit variance over the training data."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[np.ndarray, " variables"], std: Float[np.ndarray, " variables"]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    def forward(self, inputs: Float[Tensor, "samples variables"]) -> Float[Tensor, "samples variables"]:
        return ((inputs.double() - self.mean) / self.std).float()


class MeanAndVariance(nn.Module):
    """Bring the last layer's two numbers to the units of the flux, the second as a variance."""

    mean: Tensor
    std: Tensor
    epsilon: Tensor

    def __init__(self, mean: float, std: float, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))
        self.register_buffer("epsilon", torch.tensor(epsilon, dtype=torch.float64))

    def forward(self, last: Float[Tensor, "samples 2"]) -> Float[Tensor, "samples 2"]:
        mean, raw = last.double().unbind(dim=1)
        variance = nn.functional.softplus(raw) + self.epsilon
        return torch.stack((self.mean + self.std * mean, self.std**2 * variance), dim=1)


def member(tensors: Mapping[str, np.ndarray], *, flux: str, member: int) -> nn.Module:
    """Build one member of the ensemble for one flux."""
    index = FLUXES.index(flux)
    layers: list[nn.Module] = [Normalise(tensors["input_mean"][index], tensors["input_std"][index])]
    for depth in count():
        if f"{flux}/layer_{depth}/weight" not in tensors:
            break
        weight = tensors[f"{flux}/layer_{depth}/weight"][member]
        bias = tensors[f"{flux}/layer_{depth}/bias"][member]
        layers += [linear(weight, bias), nn.ReLU()]
    scales = [float(tensors[name][index]) for name in ("output_mean", "output_std", "variance_epsilon")]
    return nn.Sequential(*layers[:-1], MeanAndVariance(*scales))


def linear(weight: Float[np.ndarray, "outputs inputs"], bias: Float[np.ndarray, " outputs"]) -> nn.Linear:
    """Build a layer that holds these weights."""
    outputs, inputs = weight.shape
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer
