"""Every call is seen, in its order, with the layer or block that it stands in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.errors import Refused
from consilience.zoo.follow import ask, first_tensor, follow
from consilience.zoo.record import Followed, Step


class Does(nn.Module):
    """Any function as a module, with a few parts."""

    def __init__(self, function: Callable[[Any, torch.Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.function(self, inputs)


ROWS = torch.randn(5, 3)


def steps(function: Callable[[Any, torch.Tensor], Any], rows: torch.Tensor = ROWS, **parts: nn.Module) -> list[Step]:
    found: list[Step] = []
    follow(Does(function, **parts).eval(), rows, found.append)
    return found


def names(found: list[Step]) -> list[tuple[str, str]]:
    return [(step.function, step.module) for step in found]


def test_functions_go_by_one_name() -> None:
    def function(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = (x + 1).relu_()
        y[0] = 0
        y += y.T.T
        return functional.softmax(0.5 * y[:, :2], -1)

    found = [step.function for step in steps(function)]
    assert found == ["add", "relu", "setitem", "T", "T", "add", "getitem", "mul", "softmax"]


def test_weights_make_a_product_a_layer() -> None:
    def function(self: Any, x: torch.Tensor) -> torch.Tensor:
        first = x @ self.weight
        second = functional.linear(first, self.weight)
        third = self.part(second) + self.part.forward(second)
        return torch.addmm(third, third, (self.weight * 2)[:, :3])

    found = steps(function, part=nn.Linear(3, 3))
    layers = [step for step in found if step.function == "linear"]
    assert [step.module for step in layers] == ["weight", "weight", "part", "part", "weight"]
    assert all(isinstance(step.sources[0], torch.Tensor) for step in layers)
    assert layers[1].sources[0] is layers[0].result


def test_products_of_computed_tensors_are_none() -> None:
    found = steps(lambda self, x: functional.linear(x, x.mean(0, keepdim=True) * torch.ones(3, 3)) @ x.mean(0))
    assert not [step for step in found if step.function == "linear"]


def test_blocks_are_named() -> None:
    inner = nn.Sequential(OrderedDict(act=nn.GELU(), norm=nn.LayerNorm(3)))
    found = steps(lambda self, x: self.block(x).sum(1, keepdim=True), block=inner)
    assert names(found) == [("gelu", "block.act"), ("layer_norm", "block.norm"), ("sum", "")]


def test_tuples_are_seen_part_by_part() -> None:
    found = steps(lambda self, x: torch.cat(x.unbind(1)).view(3, 5).T)
    assert [step.function for step in found] == ["unbind", "unbind", "unbind", "cat", "view", "T"]


class NewGELUActivation(nn.Module):
    """The name under which a common library writes a GELU out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x * (1 + torch.tanh(x + 0.044715 * x**3))


def test_activations_that_are_written_out_are_one_step() -> None:
    found = steps(lambda self, x: self.act(x) + 1, act=NewGELUActivation())
    assert names(found) == [("gelu", "act"), ("add", "")]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True, "proj_size": 2}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_run_one_by_one_and_give_the_same(kind: Any, options: dict[str, Any]) -> None:
    if kind is not nn.LSTM:
        options = {key: value for key, value in options.items() if key != "proj_size"}
    module = kind(3, 4, batch_first=True, **options).eval().requires_grad_(False)
    rows = torch.randn(2, 6, 3)

    def both(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.given = self.part(x)
        return self.given[0]

    outer = Does(both, part=module).eval()
    found: list[Step] = []
    follow(outer, rows, found.append)
    states, ends = module(rows)
    torch.testing.assert_close(outer.given[0], states)
    for one, other in zip(outer.given[1], ends, strict=True):
        torch.testing.assert_close(one, other)
    layers = [step.module for step in found if step.function in ("lstm", "gru", "rnn_tanh")]
    assert layers == (["part.0", "part.1"] if "num_layers" in options else ["part"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"kdim": 5, "vdim": 7},
        {"batch_first": True},
    ],
)
@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_is_taken_apart_and_gives_the_same(options: dict[str, Any], weights: bool) -> None:
    module = nn.MultiheadAttention(6, 2, **options).eval().requires_grad_(False)
    rows = torch.randn(2, 4, 6)
    key, value = torch.randn(2, 4, options.get("kdim", 6)), torch.randn(2, 4, options.get("vdim", 6))

    def both(self: Any, x: torch.Tensor) -> torch.Tensor:
        self.given = self.part(x, key, value, need_weights=weights)
        return self.given[0]

    outer = Does(both, part=module).eval()
    found: list[Step] = []
    follow(outer, rows, found.append)
    wanted = module(rows, key, value, need_weights=weights)
    torch.testing.assert_close(outer.given[0], wanted[0])
    if weights:
        torch.testing.assert_close(outer.given[1], wanted[1])
    heads, projection = [step for step in found if step.function in ("multi_head_attention", "linear")]
    assert (heads.module, projection.module) == ("part", "part.out_proj")
    assert projection.sources[0] is heads.result


def test_the_first_tensor_is_the_output() -> None:
    value = torch.ones(5, 2)
    for given in (value, (value, value[:1]), [None, {"a": None, "b": (3, value)}], OrderedDict(a=value)):
        assert first_tensor(given, 5) is value
    for given, match in [({}, "gives dict"), (3, "gives int"), ((value[:2], value), r"gives \(2, 2\)")]:
        with pytest.raises(Refused, match=match) as caught:
            first_tensor(given, 5)
        assert caught.value.code == "output-shape"


class Told(nn.Module):
    """A module that follows itself."""

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__()
        self.fails = fails

    def follow(self, rows: torch.Tensor, only: Any = None) -> tuple[Any, torch.Tensor]:
        if self.fails:
            raise self.fails
        result = rows * 2
        return ([Step("mul", "", (rows, 2), result)] if only is None else {0: result}), result


def test_modules_that_follow_themselves_are_asked() -> None:
    module = Told()
    assert isinstance(module, Followed)
    assert not isinstance(nn.Linear(1, 1), Followed)
    found: list[Step] = []
    assert torch.equal(follow(module, ROWS, found.append), ROWS * 2)
    assert names(found) == [("mul", "")]
    values, output = ask(module, ROWS, (0,))
    assert torch.equal(values[0], output)


def test_their_failures_are_told() -> None:
    with pytest.raises(Refused, match="fails on a row of the probe: ValueError: broken") as caught:
        follow(Told(ValueError("broken\nmore")), ROWS, print)
    assert caught.value.code == "forward"
    with pytest.raises(Refused, match="too slow") as caught:
        ask(Told(Refused("timed-out", "too slow")), ROWS, (0,))
    assert caught.value.code == "timed-out"


def test_refusals_from_within_pass() -> None:
    def refuse(self: Any, x: torch.Tensor) -> torch.Tensor:
        raise Refused("memory", "needs too much")

    with pytest.raises(Refused, match="needs too much"):
        steps(refuse)


def test_following_leaves_no_trace() -> None:
    module = Does(lambda self, x: self.part(x), part=nn.Linear(3, 2))
    follow(module, ROWS, lambda step: None)
    with pytest.raises(Refused, match="takes 3 inputs, the probe has 7"):
        follow(module, torch.ones(2, 7), lambda step: None)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.overrides._get_current_function_mode_stack() == []
