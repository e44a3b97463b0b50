"""Classifiers of handwritten digits that are trained for a case, probed and not kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from digits import build, scale, train
from jaxtyping import Float
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from consilience.analysis.alignment.correspond import RecordedLayer, correspond
from consilience.analysis.alignment.similarity import Activations, activations
from consilience.zoo.network import Network, record
from consilience.zoo.record import trace

PROBE = 600


@cache
def images(side: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give images, half to learn from and half to judge and probe with, each followed by its labels."""
    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels, labels, test_size=0.5, stratify=labels, random_state=0)
    seen, unseen = (scale(part).reshape(-1, 1, 8, 8) for part in split[:2])
    large = [nn.functional.interpolate(part, (side, side), mode="bilinear").flatten(1) for part in (seen, unseen)]
    return large[0], torch.tensor(split[2]), large[1], torch.tensor(split[3])


def probe(side: int = 8) -> Float[np.ndarray, "samples pixels"]:
    """Give images that no network has learned from."""
    return np.asarray(images(side)[2][:PROBE].numpy())


def network(module: nn.Module, name: str) -> Network:
    """Take a module for a network of the program."""
    module = module.eval().requires_grad_(False)
    shape = (images()[0].shape[1] if not isinstance(module[0], nn.Linear) else module[0].in_features,)
    return Network(name, name, name, module, trace(module, torch.zeros(2, *shape)).layers, shape)


def mlp(inputs: int, widths: Sequence[int], activation: str, *, seed: int) -> nn.Sequential:
    """Begin an MLP from its own seed."""
    torch.manual_seed(seed)
    if inputs == 64:
        return build("mlp", tuple(widths), activation)
    layers = [part for pair in pairwise((inputs, *widths)) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def learned(module: nn.Module, *, seed: int, side: int = 8) -> nn.Module:
    """Train a network in place, on its own draw of the images."""
    torch.manual_seed(seed)
    train(module, *images(side)[:2])
    return module


def recorded(one: Network, rows: Float[np.ndarray, "samples pixels"]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Give what the units of every layer do, before and after their nonlinearity."""
    batches = list(record(one, rows))
    names = [layer.name for layer in one.layers]
    return {
        name: (
            np.concatenate([part[name].pre for part in batches]),
            np.concatenate([part[name].post for part in batches]),
        )
        for name in names
    }


def levels(networks: Sequence[Network]) -> list[tuple[str, list[Activations]]]:
    """Put the layers of networks into levels, as the program does, and give what they did on the probe."""
    seen = [recorded(one, probe()) for one in networks]
    layers = [
        [RecordedLayer(at.role, at.kind, at.axes, at.positions, values[at.name][0]) for at in one.layers]
        for one, values in zip(networks, seen, strict=True)
    ]
    return [
        (
            level.role,
            [
                activations(
                    layers[place][at].values,
                    odd=networks[place].layers[at].odd,
                    lineage=networks[place].name,
                    source=(networks[place], networks[place].layers[at].name),
                )
                for place, at in level.layers
            ],
        )
        for level in correspond(layers)
    ]
