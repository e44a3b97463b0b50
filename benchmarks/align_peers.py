"""What is measured of others, for benchmarks/align.py: needs numpy, and of the peers those that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from align_child import Arrays, layers_of, serve

LEARNING, STEPS = 10.0, 20
"""Of sinkhorn-rebasin: with these it recovered all units; with its own example's 0.1 none in 10 steps."""


def _match(data: Arrays, match: Callable[[np.ndarray], np.ndarray], *, every: bool = True) -> Callable[[], Arrays]:
    """Match layers by their dense correlations: every two of them, or the first two, the next two."""
    layers = layers_of(data)
    numbers = range(len(layers))
    pairs = list(combinations(numbers, 2) if every else zip(numbers[::2], numbers[1::2], strict=True))

    def run() -> Arrays:
        partners = []
        for first, second in pairs:
            width = layers[first].shape[1]
            partners.append(match(np.corrcoef(layers[first].T, layers[second].T)[:width, width:]))
        return {"pairs": np.array(pairs), "partners": np.array(partners)}

    return run


def scipy(data: Arrays, *, every: bool = True) -> Callable[[], Arrays]:
    from scipy.optimize import linear_sum_assignment

    return _match(data, lambda r: linear_sum_assignment(r, maximize=True)[1], every=every)


def scipy_layers(data: Arrays) -> Callable[[], Arrays]:
    return scipy(data, every=False)


def pot(data: Arrays) -> Callable[[], Arrays]:
    from ot import emd

    def match(r: np.ndarray) -> np.ndarray:
        left, right = (np.full(size, 1 / size) for size in r.shape)
        return np.asarray(emd(left, right, 1 - r, numItermax=10_000_000)).argmax(axis=1)

    return _match(data, match)


def ckatorch(data: Arrays) -> Callable[[], Arrays]:
    import torch
    from ckatorch.core import cka_base

    layers = [torch.from_numpy(layer) for layer in layers_of(data)]

    def run() -> Arrays:
        table = np.eye(len(layers))
        for first, second in combinations(range(len(layers)), 2):
            table[first, second] = cka_base(layers[first], layers[second], unbiased=True)
        return {"table": np.triu(table) + np.triu(table, 1).T}

    return run


def torch_cka(data: Arrays) -> Callable[[], Arrays]:
    """Compare all layers at once: modules that give the activations stand for networks."""
    import torch
    from torch import nn
    from torch_cka import CKA

    layers = [torch.from_numpy(layer) for layer in layers_of(data)]
    names = [str(number) for number in range(len(layers))]

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in names:
                self.add_module(name, nn.Identity())

        def forward(self, rows: Any) -> Any:
            for name, layer in zip(names, layers, strict=True):
                getattr(self, name)(layer)
            return rows

    def run() -> Arrays:
        compared = CKA(Given(), Given(), "left", "right", names, names)
        rows = torch.utils.data.TensorDataset(torch.zeros(len(layers[0]), 1))
        compared.compare(torch.utils.data.DataLoader(rows, batch_size=len(layers[0])))
        return {"table": compared.export()["CKA"].numpy()}

    return run


def rebasin(data: Arrays) -> Callable[[], Arrays]:
    import torch
    from rebasin import PermutationCoordinateDescent

    def run() -> Arrays:
        left, right = module_of(data, "left"), module_of(data, "right")
        PermutationCoordinateDescent(left, right, torch.zeros(2, left[0].in_features)).rebasin()
        return _orders(data, right)

    return run


def sinkhorn_rebasin(data: Arrays) -> Callable[[], Arrays]:
    import torch
    from rebasin import RebasinNet
    from rebasin.loss import DistL2Loss

    def run() -> Arrays:
        left, right = module_of(data, "left"), module_of(data, "right")
        found = RebasinNet(right, input_shape=(1, left[0].in_features))
        found.identity_init()
        loss, optimiser = DistL2Loss(left), torch.optim.AdamW(found.p.parameters(), lr=LEARNING)
        found.train()
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss(found()).backward()
            optimiser.step()
        found.eval()
        return _orders(data, found())

    return run


def module_of(data: Arrays, side: str) -> Any:
    import torch
    from torch import nn

    parts: list[nn.Module] = []
    for number in range(sum(name.startswith(f"{side}.") for name in data) // 2):
        weight, bias = (torch.from_numpy(data[f"{side}.{number}.{name}"].copy()) for name in ("weight", "bias"))
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def _orders(data: Arrays, module: Any) -> Arrays:
    """Read off where units were brought: by their biases, no two of which are equal."""
    found = {}
    for number in range((len(module) + 1) // 2 - 1):
        after = module[2 * number].bias.detach().numpy()
        found[f"order{number}"] = np.abs(after[:, None] - data[f"right.{number}.bias"]).argmin(axis=1)
    return found


if __name__ == "__main__":
    works = (scipy, scipy_layers, pot, ckatorch, torch_cka, rebasin, sinkhorn_rebasin)
    serve({work.__name__: work for work in works})
