"""The networks of this zoo, named in zoo.toml as `python:bottleneck_networks:pruned`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """An MLP whose few outputs are only weighted and summed: what they are is left to training."""

    def __init__(self, variables: int, width: int, units: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(variables, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, units)
        )
        self.read = nn.Linear(units, 1)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.read(self.encode(rows))
        return out


def pruned(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Rebuild a trained network; its widths are read off the weights."""
    width, variables = tensors["encode.0.weight"].shape
    network = Bottleneck(variables, width, len(tensors["encode.4.weight"]))
    network.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return network
