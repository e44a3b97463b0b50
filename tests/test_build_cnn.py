"""Plain convolutional networks run as their makers' did, or are refused with every way that fits."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.architecture import build_network
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, predict
from consilience.zoo.preprocess import Preprocessing


class LeNet(nn.Module):
    """Named layers, pooling that leaves no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 8, 5)
        self.fc1, self.fc2 = nn.Linear(8 * 16, 20), nn.Linear(20, 10)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        for layer in (self.conv1, self.conv2):
            maps = functional.max_pool2d(torch.relu(layer(maps)), 2)
        return self.fc2(torch.relu(self.fc1(maps.flatten(1))))


class Normed(nn.Module):
    """Norms that are paired with layers by their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 64, 4)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.bn1(self.conv1(maps)))
        return self.fc(torch.relu(self.bn2(self.conv2(maps))).flatten(1))


class Listed(nn.Module):
    """Lists, whose numbers say nothing of what stands between."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.head = nn.Linear(4 * 16, 2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        for layer, norm in zip(self.convs, self.norms, strict=True):
            maps = torch.relu(norm(layer(maps)))
        return self.head(maps.flatten(1))


def stack(*steps: nn.Module) -> nn.Sequential:
    return nn.Sequential(*steps)


def conv(inputs: int, outputs: int, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **more)


SURE = {
    "plain": (
        lambda: stack(conv(1, 4), nn.ReLU(), conv(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)),
        (1, 8, 8),
    ),
    "norms by number": (Normed, (3, 8, 8)),
    "norms after activations": (
        lambda: stack(
            *(conv(1, 4), nn.ReLU(), nn.BatchNorm2d(4), conv(4, 5), nn.ReLU(), nn.BatchNorm2d(5)),
            *(nn.Flatten(), nn.Linear(80, 3)),
        ),
        (1, 8, 8),
    ),
    "one axis": (
        lambda: stack(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)),
        (2, 16),
    ),
    "dense norms": (
        lambda: stack(
            *(conv(1, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(144, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)),
        ),
        (1, 8, 8),
    ),
}
DOUBTFUL = {
    "pooling": (LeNet, (1, 28, 28), 5),
    "pooling in a sequence": (
        lambda: stack(
            *(conv(3, 4, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
            *(conv(4, 8, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 2)),
        ),
        (3, 16, 16),
        3,
    ),
    "no dense layer": (lambda: stack(conv(3, 4, padding=1), nn.ReLU(), conv(4, 3, padding=1)), (3, 16, 16), 4),
}
TOLD = {
    "lists": (Listed, (1, 8, 8), {"padding": 0, "pool": "none"}),
    "means": (
        lambda: stack(
            *(conv(3, 4, padding=1), nn.ReLU(), conv(4, 8, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        ),
        (3, 16, 16),
        {"padding": 1, "stride": 1, "pool": "none"},
    ),
    "largest values": (
        lambda: stack(conv(3, 4), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
        (3, 16, 16),
        {"padding": 0, "stride": 1, "pool": "none", "head": "max"},
    ),
    "strides": (
        lambda: stack(
            *(nn.Conv2d(4, 8, 8, 4), nn.ReLU(), nn.Conv2d(8, 8, 4, 2), nn.ReLU(), conv(8, 8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(8 * 49, 16), nn.ReLU(), nn.Linear(16, 6)),
        ),
        (4, 84, 84),
        {"stride": [4, 2, 1], "pool": "none"},
    ),
    "no square": (
        lambda: stack(conv(1, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 10, 2)),
        (1, 6, 12),
        {"input": [1, 6, 12]},
    ),
    "means of maps": (
        lambda: stack(conv(3, 4), nn.ReLU(), conv(4, 5), nn.AdaptiveAvgPool2d(1)),
        (3, 9, 9),
        {"padding": 0, "stride": 1, "head": "mean", "pool": "none"},
    ),
}


def made(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
                nn.init.normal_(part.weight)
    return module.eval()


def checkpoint(module: nn.Module, **more: Any) -> Checkpoint:
    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    return Checkpoint("torch", tensors, {"activation": "relu"}, **more)


def build(source: Checkpoint, **changes: Any) -> Network:
    settings: dict[str, Any] = {"name": "n", "digest": "d", "lineage": "n", "example": None, "search_path": Path()}
    return build_network(source, **(settings | changes))


def compare(module: nn.Module, shape: tuple[int, ...], **said: Any) -> float:
    rows = np.random.default_rng(0).normal(size=(3, int(np.prod(shape))))
    network = build(checkpoint(module), example=rows, **said)
    with torch.no_grad():
        wanted = module(torch.tensor(rows, dtype=torch.float32).reshape(3, *shape)).flatten(1).numpy()
    found = predict(network, rows)
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf


@pytest.mark.parametrize("case", SURE)
def test_what_only_one_plan_fits_runs_as_it_did(case: str) -> None:
    make, shape = SURE[case]
    assert compare(made(make), shape) < 1e-6


@pytest.mark.parametrize("case", TOLD)
def test_what_zoo_toml_says_is_taken(case: str) -> None:
    make, shape, options = TOLD[case]
    assert compare(made(make), shape, options=options) < 1e-6


@pytest.mark.parametrize("case", DOUBTFUL)
def test_where_several_plans_fit_they_are_listed_to_choose_from(case: str) -> None:
    make, shape, ways = DOUBTFUL[case]
    module = made(make)
    with pytest.raises(Refused, match=f"can be run in {ways} ways") as caught:
        compare(module, shape)
    assert caught.value.code == "no-architecture"
    choices = re.findall(r"options = \{ .*? \}", caught.value.hint)
    found = [compare(module, shape, **tomllib.loads(choice)) for choice in choices]
    assert sum(difference < 1e-6 for difference in found) == 1


def test_layers_keep_their_names_and_activations() -> None:
    network = build(checkpoint(made(Normed)), example=np.zeros(192), activation="silu")
    layers = [(layer.name, layer.kind, layer.units, layer.activation) for layer in network.layers]
    assert layers == [
        ("conv1", "convolution", 6, "silu"),
        ("conv2", "convolution", 8, "silu"),
        ("fc", "dense", 4, "identity"),
    ]
    assert network.input_shape == (3, 8, 8)


def test_an_activation_is_never_guessed() -> None:
    source = checkpoint(made(Normed))
    with pytest.raises(Refused, match="does not say which activation"):
        build(Checkpoint("torch", source.tensors, {}), example=np.zeros(192))


def test_photos_come_in_the_size_that_fits() -> None:
    source = checkpoint(made(Normed))
    photos = np.random.default_rng(0).integers(0, 256, size=(2, 20, 20, 3), dtype=np.uint8)
    network = build(source, example=photos, preprocessing=Preprocessing(size=(8, 8)))
    assert predict(network, photos).shape == (2, 4)
    told = build(source, example=photos, options={"input": [3, 8, 8]})
    assert told.input_shape == (3, 8, 8)
    with pytest.raises(Refused, match=r"in \d+ ways") as caught:
        build(source, example=photos)
    assert "input = [3, 8, 8]" in caught.value.hint
    maps = made(TOLD["means of maps"][0])
    free = build(checkpoint(maps), example=photos, options=TOLD["means of maps"][2])
    assert free.input_shape == (3, 20, 20)


def test_weights_of_keras_stand_the_other_way_round() -> None:
    make, shape = SURE["plain"]
    module = made(make)
    tensors = {}
    for (name, tensor), new in zip(module.state_dict().items(), ("a", "a", "b", "b", "c", "c"), strict=True):
        array = tensor.numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:  # Keras goes over channels last where it makes rows of maps
            array = array.reshape(3, 5, 4, 4).transpose(2, 3, 1, 0).reshape(80, 3)
        tensors[f"{'conv2d' if new < 'c' else 'dense'}_{new}/{'kernel' if 'weight' in name else 'bias'}"] = array
    rows = np.random.default_rng(0).normal(size=(3, 64))
    options = {"padding": 0, "pool": "none"}
    network = build(Checkpoint("keras", tensors, {}), example=rows, activation="relu", options=options)
    with torch.no_grad():
        wanted = module(torch.tensor(rows, dtype=torch.float32).reshape(3, *shape)).numpy()
    np.testing.assert_allclose(predict(network, rows), wanted, atol=1e-6)


W, V = np.ones((4, 3, 3, 3), np.float32), np.ones(4, np.float32)
NONE: dict[str, tuple[Mapping[str, np.ndarray], str]] = {
    "no convolution": ({"a.weight": np.ones((4, 3))}, "no convolution over one axis or two"),
    "one axis and two": ({"a1.weight": W, "a2.weight": np.ones((4, 4, 3))}, "have one axis and two"),
    "no chain": ({"a1.weight": W, "a2.weight": W}, "a1 gives 4, a2 takes 3"),
    "two orders": ({"a.weight": np.ones((3, 3, 3, 3)), "b.weight": np.ones((3, 3, 3, 3))}, "in more than one order"),
    "blocks": ({f"{n}.conv{m}.weight": np.ones((3, 3, 3, 3)) for n in (1, 2) for m in (1, 2)}, "shortcuts"),
    "branches": ({f"{n}.{m}.weight": np.ones((3, 3, 3, 3)) for n in (1, 2) for m in "ab"}, "shortcuts"),
    "loose": ({"a.weight": W, "scale": V}, "scale of shape"),
    "wide bias": ({"a.weight": W, "a.bias": np.ones(5)}, "a.bias of shape"),
    "five axes": ({"a.weight": W, "b.weight": np.ones((1, 1, 1, 1, 1))}, "b.weight of shape"),
    "misfit dense": ({"a.weight": W, "b.weight": np.ones((2, 7))}, "a gives 4 maps, b takes 7"),
    "norm too many": (
        {"a.weight": W}
        | {f"n{n}.{role}": V for n in (1, 2) for role in ("weight", "bias", "running_mean", "running_var")},
        "where its normalisations stand",
    ),
    "no activation": (
        {"0.weight": W, "1.weight": np.ones((4, 4, 3, 3)), "3.weight": np.ones((4, 4, 3, 3))},
        "without an activation between them",
    ),
}


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_plain_stack_is_refused(case: str) -> None:
    tensors, match = NONE[case]
    with pytest.raises(Refused, match=match) as caught:
        build(Checkpoint("torch", tensors, {"activation": "relu"}), architecture="cnn")
    assert caught.value.code == "no-architecture"
    assert '"python:module:factory"' in caught.value.hint


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"paddign": 1}, "options.paddign is not known"),
        ({"padding": [1, 2, 3]}, "options.padding is"),
        ({"stride": 0}, "options.stride is 0"),
        ({"stride": 1 << 40}, "options.stride is"),
        ({"pool": "max3"}, "options.pool is 'max3'"),
        ({"head": "sum"}, "options.head is 'sum'"),
        ({"input": "3x8x8"}, "options.input is '3x8x8'"),
        ({"input": [3, 8]}, "options.input is"),
    ],
)
def test_options_that_are_none_are_refused(options: Mapping[str, object], match: str) -> None:
    with pytest.raises(Refused, match=match) as caught:
        build(checkpoint(made(Normed)), options=options, example=np.zeros(192))
    assert caught.value.code == "options"
    assert caught.value.hint


def test_an_even_kernel_has_no_same_padding() -> None:
    source = checkpoint(stack(nn.Conv2d(1, 2, 2)))
    with pytest.raises(Refused, match="a kernel has an even side"):
        build(source, options={"padding": "same"})


def test_an_input_that_does_not_fit_is_told() -> None:
    source = checkpoint(made(Normed))
    with pytest.raises(Refused, match="takes 3 channels of square images, the probe has 100 numbers") as caught:
        build(source, example=np.zeros(100))
    assert caught.value.code == "input-shape"
    with pytest.raises(Refused, match="takes 3 channels, is given 1") as caught:
        build(source, options={"input": [1, 8, 8]})
    assert caught.value.code == "input-shape"
    with pytest.raises(Refused, match="no plain padding, stride and pooling bring images of") as caught:
        build(source, options={"input": [3, 5, 5]})
    assert caught.value.code == "no-architecture"
