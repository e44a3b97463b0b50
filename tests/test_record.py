"""Layers are found by running the module, with their values before and after the nonlinearity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.architecture import ACTIVATIONS as BUILT
from consilience.zoo.errors import Refused
from consilience.zoo.record import ACTIVATIONS, Layer, capture, trace

ROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class Between(nn.Module):
    """Two dense layers with any function between them."""

    def __init__(
        self,
        between: Callable[[torch.Tensor], torch.Tensor],
        after: Callable[..., torch.Tensor] | None = None,
    ):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.between, self.after = between, after

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.last(self.between(self.first(inputs)))
        return self.after(outputs) if self.after else outputs


FUNCTIONS: dict[str, list[Callable[[torch.Tensor], torch.Tensor]]] = {
    "relu": [nn.ReLU(), nn.ReLU(inplace=True), functional.relu, torch.relu, torch.relu_, lambda x: x.relu()],
    "tanh": [nn.Tanh(), torch.tanh, functional.tanh, lambda x: x.tanh_()],
    "silu": [nn.SiLU(), functional.silu, lambda x: functional.silu(x, inplace=True)],
    "gelu": [nn.GELU(), functional.gelu],
    "elu": [nn.ELU(), functional.elu],
    "sigmoid": [nn.Sigmoid(), torch.sigmoid],
    "softplus": [nn.Softplus(), functional.softplus],
    "leaky_relu": [nn.LeakyReLU(), functional.leaky_relu],
    "sin": [torch.sin],
    "prelu": [nn.PReLU()],
    "mish": [nn.Mish()],
    "identity": [nn.Identity(), lambda x: x, nn.Dropout()],
    "other": [
        lambda x: x * 2,
        lambda x: x / (1 + x * x),
        lambda x: torch.relu(x + 1),
        lambda x: x.mul_(2).relu(),
    ],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, all in FUNCTIONS.items() for n in range(len(all))])
def test_nonlinearities_are_seen_however_they_are_written(name: str, number: int) -> None:
    module = Between(FUNCTIONS[name][number]).eval()
    plan = trace(module, ROWS)
    assert [layer.activation for layer in plan.layers] == [name, "identity"]
    found, output = capture(module, ROWS, plan=plan)
    with torch.no_grad():
        before = module.first(ROWS)
        after = FUNCTIONS[name][number](before.clone()) if name != "other" else before
    np.testing.assert_allclose(found["first"].pre, before.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["first"].post, after.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(output.numpy(), module(ROWS).detach().numpy())


def test_every_activation_that_is_built_is_recognised() -> None:
    for name, make in BUILT.items():
        assert name in ACTIVATIONS | {"identity"}
        assert trace(Between(make()), ROWS).layers[0].activation == name


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.LayerNorm(4)])
def test_before_means_after_the_norm(norm: nn.Module) -> None:
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    module = Between(nn.Sequential(norm, nn.Dropout(), nn.ReLU(inplace=True))).eval()
    plan = trace(module, ROWS)
    found, _ = capture(module, ROWS, plan=plan)
    with torch.no_grad():
        expected = norm(module.first(ROWS))
    np.testing.assert_allclose(found["first"].pre, expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found["first"].post, expected.relu().numpy(), rtol=1e-6)
    assert plan.layers[0].activation == "relu"


class Convolutions(nn.Module):
    """A small CNN with batch norm, an in-place ReLU and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.deep = nn.Conv2d(5, 5, 3, padding=1)
        self.wide = nn.Conv1d(5, 6, 3)
        self.head = nn.Linear(6, 10)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.norm(self.stem(inputs.reshape(-1, 1, 9, 11))))
        maps = self.relu(self.deep(maps) + maps)
        return self.head(torch.tanh(self.wide(maps.flatten(2))).mean(2))


def test_convolutions_are_sampled_on_a_common_grid() -> None:
    torch.manual_seed(0)
    module, images = Convolutions().eval(), torch.randn(4, 99)
    plan = trace(module, images)
    assert [(layer.name, layer.kind, layer.units, layer.positions) for layer in plan.layers] == [
        ("stem", "convolution", 5, 16),
        ("deep", "convolution", 5, 16),
        ("wide", "convolution", 6, 16),
        ("head", "dense", 10, 1),
    ]
    assert [layer.activation for layer in plan.layers] == ["relu", "other", "tanh", "identity"]
    found, _ = capture(module, images, plan=plan)
    with torch.no_grad():
        maps = module.norm(module.stem(images.reshape(-1, 1, 9, 11)))
        pooled = functional.adaptive_avg_pool2d(maps.relu(), 4)
    assert found["stem"].post.shape == (4 * 16, 5)
    for image, row, column in [(0, 0, 0), (1, 2, 3), (3, 3, 1)]:
        sample = found["stem"].post[image * 16 + row * 4 + column]
        np.testing.assert_allclose(sample, pooled[image, :, row, column].numpy(), rtol=1e-5, atol=1e-7)
    assert found["wide"].pre.shape == (4 * 16, 6)


def test_small_maps_make_a_small_grid() -> None:
    module = nn.Sequential(nn.Unflatten(1, (1, 3, 5)), nn.Conv2d(1, 4, 2), nn.Flatten(), nn.Linear(32, 1))
    plan = trace(module, torch.randn(2, 15))
    assert plan.layers[0].positions == 4


def test_the_output_is_one_layer_whatever_follows_it() -> None:
    def named(module: nn.Module) -> list[tuple[str, str, int]]:
        return [(layer.name, layer.role, layer.units) for layer in trace(module, ROWS).layers]

    hidden = ("first", "hidden", 4)
    assert named(Between(torch.tanh)) == [hidden, ("last", "output", 2)]
    assert named(Between(torch.tanh, functional.softplus)) == [hidden, ("output", "output", 2)]
    assert named(Between(torch.tanh, lambda x: x * 3 + 1)) == [hidden, ("output", "output", 2)]
    split = named(Between(torch.tanh, lambda x: x[:, :1]))
    assert split == [hidden, ("last", "hidden", 2), ("output", "output", 1)]
    assert named(nn.Flatten()) == [("output", "output", 3)]
    clash = nn.Sequential()
    clash.add_module("output", nn.Linear(3, 5))
    clash.add_module("then", nn.Softmax(dim=1))
    clash.add_module("rest", nn.Flatten())
    clash.add_module("sum", nn.AvgPool1d(5))
    assert [name for name, _, _ in named(clash)] == ["output", "(output)"]


def test_shared_modules_are_a_layer_for_each_time_they_run() -> None:
    shared = nn.Linear(3, 3)
    module = nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(3, 1))
    plan = trace(module, ROWS)
    assert [layer.name for layer in plan.layers] == ["0", "0#2", "4"]
    found, _ = capture(module, ROWS, plan=plan)
    with torch.no_grad():
        np.testing.assert_allclose(found["0#2"].pre, shared(torch.tanh(shared(ROWS))).numpy(), rtol=1e-5)


def test_signs_may_flip_only_where_the_function_is_odd() -> None:
    def layer(activation: str, role: str = "hidden") -> Layer:
        return Layer("a", "dense", role, 3, 0.5, activation)

    odd = [name for name in (*sorted(ACTIVATIONS), "identity", "other") if layer(name).odd]
    assert odd == ["sin", "softsign", "tanh", "tanhshrink", "identity"]
    assert not layer("identity", "output").odd


class Forgetful(nn.Module):
    """A module that returns something else than one tensor with a row for each row."""

    def __init__(self, give: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.give = give

    def forward(self, inputs: torch.Tensor) -> object:
        return self.give(inputs)


@pytest.mark.parametrize(
    ("give", "code", "match"),
    [
        (lambda x: ("x", 3), "output-shape", "gives tuple for 6 rows"),
        (lambda x: x.sum(), "output-shape", r"gives \(\) for 6 rows"),
        (lambda x: x[:2], "output-shape", r"gives \(2, 3\) for 6 rows"),
        (lambda x: x[:, :0], "output-shape", r"gives \(6, 0\) for 6 rows"),
        (lambda x: x @ torch.ones(7, 2), "forward", "fails on a row of the probe: RuntimeError: mat1"),
        (lambda x: 1 / 0, "forward", "ZeroDivisionError"),
        (lambda x: nn.Linear(5, 2)(x), "forward", "RuntimeError"),
    ],
)
def test_modules_that_do_not_run_are_refused(give: Callable[..., object], code: str, match: str) -> None:
    with pytest.raises(Refused, match=match) as caught:
        trace(Forgetful(give), ROWS)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_misfit_is_told_by_layer() -> None:
    with pytest.raises(Refused, match="takes 5 inputs, the probe has 3") as caught:
        trace(nn.Sequential(nn.Linear(5, 2)), ROWS)
    assert caught.value.code == "input-shape"
    with pytest.raises(Refused, match="1 takes 8, is given 4"):
        trace(nn.Sequential(nn.Linear(3, 4), nn.Linear(8, 1)), ROWS)


def test_choices_that_depend_on_the_data_are_refused() -> None:
    module = Forgetful(lambda x: torch.tanh(x) if x.sum() > 0 else torch.relu(x))
    plan = trace(module, torch.ones(2, 3))
    with pytest.raises(Refused, match="in another way for other inputs") as caught:
        capture(module, -torch.ones(2, 3), plan=plan)
    assert caught.value.code == "forward"


def test_watching_leaves_no_trace() -> None:
    module = Between(torch.tanh)
    trace(module, ROWS)
    with pytest.raises(Refused):
        trace(module, torch.ones(2, 7))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


class Keeps(nn.Module):
    """A module that computes something from its weights once, and keeps it until it is trained again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.shift = nn.Parameter(torch.randn(4))
        self.kept: torch.Tensor | None = None

    def train(self, mode: bool = True) -> Keeps:
        self.kept = None if mode else self.kept
        return super().train(mode)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.kept is None:
            self.kept = torch.sin(self.shift) * 3
        return self.last(torch.relu(self.first(inputs) + self.kept))


def test_what_is_computed_once_is_no_other_way_of_computing() -> None:
    module = Keeps().eval()
    plan = trace(module, ROWS)
    found, _ = capture(module, ROWS, plan=plan)
    assert [layer.name for layer in plan.layers] == ["first", "last"]
    assert found["first"].pre.shape == (6, 4)


def test_a_trace_estimates_what_its_steps_need() -> None:
    plan = trace(Convolutions().eval(), torch.randn(4, 99))
    maps = 5 * 9 * 11 * 4
    assert 4 * maps <= plan.live <= 8 * maps
    assert 5 * maps <= plan.whole <= 12 * maps
    twice = trace(Convolutions().eval(), torch.randn(8, 99))
    assert (twice.live, twice.whole) == (plan.live, plan.whole)
