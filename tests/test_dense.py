"""Multilayer perceptrons are read as numbers, whatever way they are written; nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.analysis.exact_forms.activation import run_dense
from consilience.zoo.dense import read_dense
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, Scaling, predict, to_module
from consilience.zoo.record import trace

ROWS = np.random.default_rng(0).uniform(-3.0, 3.0, size=(3000, 3))
SCALING = Scaling((1.0,), (2.0, 1.0, 0.5), (3.0, -1.0), (10.0, 0.1))

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "prelu": lambda: nn.PReLU(4, 0.3),
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(0.7),
    "celu": lambda: nn.CELU(0.7),
    "selu": nn.SELU,
    "softplus": lambda: nn.Softplus(2.0),
    "mish": nn.Mish,
    "logsigmoid": nn.LogSigmoid,
    "tanhshrink": nn.Tanhshrink,
    "softsign": nn.Softsign,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
}


class Written(nn.Module):
    """An MLP of four and two units around anything."""

    def __init__(self, between: Callable[..., torch.Tensor], before: Callable[..., torch.Tensor] | None = None) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.between, self.before = between, before or nn.Identity()
        self.register_buffer("mean", torch.tensor([0.1, -0.2, 0.3]))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(self.before(rows))))


def network(module: nn.Module, *, precision: torch.dtype = torch.float64, scaling: Scaling | None = None) -> Network:
    """A network around a module whose weights are drawn large enough for its functions to bend."""
    module, draw = module.to(precision).eval().requires_grad_(False), torch.Generator().manual_seed(0)
    for part in module.parameters():
        part.copy_(torch.randn(part.shape, generator=draw, dtype=torch.float64))
    rows = to_module(ROWS[:2], module=module, input_shape=(3,), scaling=scaling)
    return Network("n", "d", "n", module, trace(module, rows).layers, (3,), (), scaling)


def check(given: Network, *, tolerance: float = 1e-9) -> None:
    expected = predict(given, ROWS)
    found = run_dense(read_dense(given), ROWS)
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_read_gives_what_the_network_predicts(name, precision):
    given = network(Written(ACTIVATIONS[name]()), precision=precision, scaling=SCALING)
    check(given, tolerance=1e-9 if precision == torch.float64 else 1e-5)
    assert [layer.name for layer in read_dense(given)] == ["first", "last"]


class Products(nn.Module):
    """Weights as plain matrices, square ones among them, that rows are multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.empty(3, 3)), nn.Parameter(torch.empty(3, 2))
        self.bias = nn.Parameter(torch.empty(3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows @ self.one + self.bias).clamp(min=0) @ self.two


class Normed(nn.Module):
    """A norm at rest between a layer and its function, and one after."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.inner, self.outer = nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False)
        for norm in (self.inner, self.outer):
            norm.running_mean.copy_(torch.arange(4.0))
            norm.running_var.copy_(torch.arange(1.0, 5.0))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(self.outer(torch.tanh(self.inner(self.first(rows)))))


@pytest.mark.parametrize(
    "module",
    [
        Products(),
        Normed(),
        Written(torch.abs),
        Written(lambda z: z.clamp(-0.5, 0.5)),
        Written(lambda z: z.clamp_(max=0.5)),
        Written(lambda z: functional.leaky_relu(z, negative_slope=0.3)),
        Written(functional.relu6),
        Written(lambda z: torch.tanh(1 - 2 * z)),
        Written(lambda z: 0.5 * torch.sin(z / 3) + 1.0),
        Written(lambda z: torch.relu(torch.tanh(z))),
        Written(nn.Dropout()),
        Written(torch.tanh, lambda rows: (rows - 0.5) / torch.tensor([1.0, 2.0, 4.0])),
        Written(torch.tanh, torch.sin),
        Written(torch.tanh, lambda rows: rows.reshape(-1, 1, 3).flatten(1)),
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid(), nn.Flatten(0)),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
    ],
    ids=range(16),
)
def test_however_it_is_written(module):
    check(network(module), tolerance=1e-6)  # a tensor that is no weight stays in single precision
    if not isinstance(module, nn.Sequential):
        check(network(module, precision=torch.float32, scaling=SCALING), tolerance=1e-5)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(rows + torch.tanh(self.inner(rows)))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Residual(), "computes add of more than what its last layer gives"),
        (Written(lambda z: z * torch.sigmoid(z)), "computes mul of more than what its last layer gives"),
        (Written(lambda z: z[:, [1, 0, 2, 3]].T.reshape(-1, 4)), "which does not keep units apart"),
        (nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(4, 1)), "computes conv1d"),
    ],
)  # fmt: skip
def test_what_is_no_line_of_dense_layers_is_refused(module, said):
    with pytest.raises(Refused, match=said) as refusal:
        read_dense(network(module))
    assert refusal.value.code == "no-dense"
