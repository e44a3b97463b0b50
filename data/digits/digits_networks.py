"""The small convolutional networks of this zoo, named in zoo.toml as `python:digits_networks:cnn`.

An architecture that cannot be read off the weights is a function from the tensors of a checkpoint
(and the `options` of its entry) to a module that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def cnn(tensors: Mapping[str, np.ndarray], *, activation: str) -> nn.Module:
    """Rebuild a trained network; its channels are read off the weights."""
    channels = len(tensors["1.weight"]), len(tensors["3.weight"])
    network = untrained_cnn(channels, activation)
    network.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return network


def untrained_cnn(channels: tuple[int, int], activation: str) -> nn.Sequential:
    """Build two convolutions and a linear layer that take rows of 64 pixels to ten logits."""
    first, second = channels
    nonlinearity = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, first, 3, padding=1),
        nonlinearity(),
        nn.Conv2d(first, second, 3, padding=1),
        nonlinearity(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(second * 4 * 4, 10),
    )
