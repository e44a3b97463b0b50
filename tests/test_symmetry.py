"""Which units can change places is read off a run: for every kind of network, and never where order counts."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.errors import Refused
from consilience.zoo.network import Network
from consilience.zoo.permute import permuted
from consilience.zoo.record import trace
from consilience.zoo.symmetry import Group, Place, Symmetry, symmetry
from consilience.zoo.symmetry_check import holding


def around(module: nn.Module, *shape: int) -> Network:
    module = module.eval().requires_grad_(False)
    return Network("n", "d", "n", module, trace(module, torch.zeros(2, *shape)).layers, shape)


def drawn(make: Callable[[], nn.Module], *shape: int) -> Network:
    """Make a network of random weights, and of statistics as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        for name, part in module.state_dict().items():
            if part.is_floating_point():
                noise = 0.1 * torch.randn(part.shape)
                part.copy_(part + (noise.abs() if "var" in name else noise))
    return around(module, *shape)


def keeps(network: Network, found: Symmetry, *, seed: int = 0) -> bool:
    """Reorder all groups at random; tell whether the outputs stay, and see to it that the weights do not."""
    draw = np.random.default_rng(seed)
    other = permuted(network, found, [draw.permutation(group.size) for group in found.groups])
    rows = torch.randn(4, *network.input_shape, generator=torch.Generator().manual_seed(seed))
    before, after = network.module(rows), other.module(rows)
    states = network.module.state_dict(), other.module.state_dict()
    moved = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert moved or not found.groups
    return bool((before - after).abs().max() <= 1e-4 * before.std())


class Residual(nn.Module):
    """A stem and two blocks on one stream, with batch norm and an in-place ReLU."""

    def __init__(self, channels: int = 8, inner: int = 6) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(self.block(channels, inner) for _ in range(2))
        self.head = nn.Linear(channels, 3)

    def block(self, channels: int, inner: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        stream = functional.relu(self.norm(self.stem(inputs)), inplace=True)
        for block in self.blocks:
            stream = torch.relu(stream + block(stream))
        return self.head(stream.mean((2, 3)))


class Last(nn.Module):
    """A recurrent network whose last states lead to the outputs."""

    def __init__(self, kind: Any, ways: int = 1, **options: Any) -> None:
        super().__init__()
        self.runs, self.head = kind(4, 6, batch_first=True, **options), nn.Linear(6 * ways, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.runs(inputs)[0][:, -1])


class Joined(nn.Module):
    """Two branches side by side, and each with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 6, 1)
        self.head = nn.Linear(11 * 16, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        maps = torch.cat([inputs, torch.relu(self.one(inputs))], dim=1)
        return self.head(torch.cat([maps, torch.relu(self.other(maps))], dim=1).flatten(1))


class Tied(nn.Module):
    """One weight used in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(5, 7), nn.Linear(7, 5)
        self.again = nn.Linear(5, 7)
        self.again.weight = self.encode.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = self.decode(torch.relu(self.encode(inputs)))
        return self.decode(torch.relu(self.again(values)))


class Shared(nn.Module):
    """One square layer run twice: its outputs are its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.turn, self.last = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.turn(torch.relu(self.turn(torch.relu(self.first(inputs)))))))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Hardswish(), nn.Conv2d(4, 6, 1), nn.GroupNorm(1, 6), nn.GELU()),
        *(nn.Flatten(), nn.Linear(54, 7), nn.LayerNorm(7), nn.Linear(7, 3)),
    )


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 2, 16, batch_first=True)
    return nn.Sequential(nn.Linear(5, 12), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(48, 2))


def up_and_down() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.PReLU(8), nn.PixelShuffle(2), nn.Conv2d(2, 6, 3), nn.SiLU()),
        *(nn.ConvTranspose2d(6, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.ELU(), nn.Conv2d(4, 1, 3), nn.Flatten()),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[tuple[int, tuple[str, ...]]]]] = {
    "mlp": (mlp, (5,), [(8, ("0",)), (6, ("2",))]),
    "cnn, depthwise, norms": (cnn, (1, 8, 8), [(4, ("0", "4")), (6, ("6",)), (7, ("10",))]),
    "residual": (
        Residual,
        (1, 8, 8),
        [(8, ("stem", "blocks.0.3", "blocks.1.3")), (6, ("blocks.0.0",)), (6, ("blocks.1.0",))],
    ),
    "transformer": (
        encoder,
        (4, 5),
        [
            (12, ("0", "1.layers.0", "1.layers.1")),
            *((2, ()), (6, ()), (16, ("1.layers.0.linear1",))),
            *((2, ()), (6, ()), (16, ("1.layers.1.linear1",))),
        ],
    ),
    "lstm": (lambda: Last(nn.LSTM, num_layers=2), (3, 4), [(6, ("runs.0",)), (6, ("runs.1",))]),
    "gru, both ways": (lambda: Last(nn.GRU, 2, bidirectional=True), (3, 4), [(6, ()), (6, ())]),
    "concatenation": (Joined, (1, 4, 4), [(4, ("one",)), (6, ("other",))]),
    "pixel shuffle": (up_and_down, (1, 8, 8), [(2, ()), (6, ("3",)), (4, ("5",))]),
    "tied": (Tied, (5,), [(7, ("encode", "again"))]),
    "twice": (Shared, (5,), [(7, ("first", "turn", "turn#2"))]),
    "no hidden units": (lambda: nn.Linear(3, 2), (3,), []),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_of_the_graph_and_keep_the_function(name: str) -> None:
    make, shape, expected = NETWORKS[name]
    network = drawn(make, *shape)
    found = symmetry(network)
    assert [(group.size, group.layers) for group in found.groups] == expected
    assert keeps(network, found)


def test_places_say_where_units_stand() -> None:
    dense = symmetry(drawn(cnn, 1, 8, 8)).groups[1]
    assert dense.places[0] == Place("6.weight", axis=0, before=1, after=1)
    assert dense.places[-1] == Place("10.weight", axis=1, before=1, after=9)  # channels of flattened maps
    heads = symmetry(drawn(encoder, 4, 5)).groups[1]
    assert heads.places[0] == Place("1.layers.0.self_attn.in_proj_weight", axis=0, before=3, after=6)
    one, other = symmetry(drawn(Joined, 1, 4, 4)).groups
    assert [place for place in one.places if place.tensor == "other.weight"] == [
        Place("other.weight", 1, 1, 1, start=1)
    ]
    assert other.places[-1] == Place("head.weight", axis=1, before=1, after=16, start=5 * 16)
    gates = symmetry(drawn(lambda: Last(nn.LSTM), 3, 4)).groups[0]
    assert gates.places[0] == Place("runs.weight_ih_l0", axis=0, before=4, after=1)


class Between(nn.Module):
    """Two dense layers of eight units with any function between them."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], width: int = 8) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(5, 8), nn.Linear(width, 2), between

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(torch.tanh(self.first(inputs))))


RAMP = torch.arange(8.0)
MIXED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int]] = {
    "cumsum": (lambda x: x.cumsum(1), 8),
    "roll": (lambda x: x.roll(1, 1), 8),
    "flip": (lambda x: x.flip(1), 8),
    "sort": (lambda x: x.sort(1).values, 8),
    "numbers of its own": (lambda x: x + RAMP, 8),
    "convolution over units": (lambda x: functional.conv1d(x[:, None], torch.ones(1, 1, 3), padding=1)[:, 0], 8),
    "every second": (lambda x: x[:, ::2], 4),
    "neighbours": (lambda x: functional.avg_pool1d(x[:, None], 2)[:, 0], 4),
    "fft": (lambda x: torch.fft.fft(x).real, 8),
    "picked": (lambda x: x[:, torch.tensor([3, 1, 4])], 3),
    "largest": (lambda x: x.argmax(1, keepdim=True) + x, 8),
}


@pytest.mark.parametrize("name", MIXED)
def test_units_whose_order_counts_are_fixed(name: str) -> None:
    between, width = MIXED[name]
    assert symmetry(drawn(lambda: Between(between, width), 5)).groups == ()


KEPT: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], int, list[int]]] = {
    "slice": (lambda x: torch.cat([x[:, :3] * 2, x[:, 3:]], 1), 8, [3, 5]),
    "half": (lambda x: x.chunk(2, 1)[0], 4, [4, 4]),
    "gated": (lambda x: functional.glu(x), 4, [4]),
    "softmax": (lambda x: x.softmax(1), 8, [8]),
    "mean": (lambda x: x - x.mean(1, keepdim=True), 8, [8]),
    "blocks": (lambda x: x.reshape(-1, 2, 4).sum(1), 4, [2, 4]),
    "shuffled": (lambda x: x.reshape(-1, 2, 4).transpose(1, 2).reshape(-1, 8), 8, [2, 4]),
    "einsum": (lambda x: torch.einsum("bi,bj->bij", x, x).sum(2), 8, [8]),
    "padded": (lambda x: x + functional.pad(x[:, :3], (0, 5)), 8, [3, 5]),
    "in place": (lambda x: x.clone().mul_(2).add_(1).clamp_(min=-1), 8, [8]),
    "written": (lambda x: torch.zeros_like(x).copy_(x), 8, [8]),
}


@pytest.mark.parametrize("name", KEPT)
def test_units_move_together_where_that_is_all_that_counts(name: str) -> None:
    between, width, sizes = KEPT[name]
    network = drawn(lambda: Between(between, width), 5)
    found = symmetry(network)
    assert [group.size for group in found.groups] == sizes
    assert keeps(network, found)


def test_what_is_wrongly_proposed_is_dropped() -> None:
    network = drawn(mlp, 5)
    right, _ = symmetry(network).groups
    wrong = Group(6, (Place("2.weight", 0, 1, 1),), ())  # without the bias, and what the units lead to
    assert holding(network.module, torch.randn(2, 5), [wrong, right]) == (right,)


def test_zeros_at_the_start_of_training_hide_nothing() -> None:
    network = drawn(mlp, 5)
    wrong = Group(6, (Place("2.weight", 0, 1, 1), Place("4.weight", 1, 1, 1)), ())
    network.module.state_dict()["2.bias"].zero_()
    assert holding(network.module, torch.randn(2, 5), [wrong]) == ()


def test_nothing_of_the_module_changes() -> None:
    network = drawn(Residual, 1, 8, 8)
    before = {name: part.clone() for name, part in network.module.state_dict().items()}
    symmetry(network)
    assert all(torch.equal(before[name], part) for name, part in network.module.state_dict().items())
    assert not network.module.training


class Graph(nn.Module):
    """A module that follows itself, as those from ONNX do."""

    def follow(self, rows: torch.Tensor, only: Any = None) -> tuple[Any, torch.Tensor]:
        return [], rows


def test_graphs_are_refused() -> None:
    with pytest.raises(Refused, match="does not run in torch") as caught:
        symmetry(Network("n", "d", "n", Graph(), (), (3,)))
    assert caught.value.code == "no-symmetry"
    assert caught.value.hint


def test_outputs_that_do_not_vary_are_refused() -> None:
    with pytest.raises(Refused, match="do not vary") as caught:
        symmetry(around(Between(lambda x: x * float("nan")), 5))
    assert caught.value.code == "no-symmetry"


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return pytest.importorskip("timm")


NAMED: dict[str, tuple[dict[str, Any], int, int]] = {
    "resnet10t": ({}, 64, 10),
    "mobilenetv2_050": ({}, 64, 25),
    "vit_tiny_patch16_224": ({"img_size": 32, "depth": 2}, 32, 7),
    "tf_efficientnet_lite0": ({}, 64, 24),
    "convnext_atto": ({}, 64, 16),
    "densenet121": ({}, 64, 120),
    "regnety_002": ({}, 64, 57),
    "swin_tiny_patch4_window7_224": ({"img_size": 56, "window_size": 7, "depths": (1, 1, 1, 1)}, 56, 16),
}
QUICK = ("resnet10t", "mobilenetv2_050", "vit_tiny_patch16_224")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMED]
)
def test_networks_that_others_built(timm: ModuleType, name: str) -> None:
    options, side, groups = NAMED[name]
    network = drawn(lambda: timm.create_model(name, num_classes=10, **options), 3, side, side)
    found = symmetry(network)
    hidden = {layer.name for layer in network.layers[:-1] if layer.kind in ("dense", "residual")}
    assert len(found.groups) == groups
    assert hidden <= {name for group in found.groups for name in group.layers}
    assert keeps(network, found)


@pytest.mark.slow
def test_a_resnet_has_four_streams_and_a_group_in_every_block() -> None:
    models = pytest.importorskip("torchvision").models
    network = drawn(lambda: models.resnet18(num_classes=10), 3, 32, 32)
    found = symmetry(network)
    assert sorted(group.size for group in found.groups) == [size for size in (64, 128, 256, 512) for _ in range(3)]
    assert {layer.name for layer in network.layers[:-1]} == {name for group in found.groups for name in group.layers}
    assert keeps(network, found)
