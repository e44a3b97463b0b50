"""Layers are recorded at every place of an image, no further than is asked for; and what a place sees is found."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.zoo.architecture import build_network
from consilience.zoo.blueprint import Blueprint
from consilience.zoo.checkpoint import Checkpoint, read_checkpoint
from consilience.zoo.errors import BadInput, NotFound, Refused
from consilience.zoo.maps import Maps, layers_with_maps, record_maps, side_of
from consilience.zoo.network import Network, predict, record, untrained_twin
from consilience.zoo.preprocess import Preprocessing, preprocess
from consilience.zoo.receptive import ReceptiveField, receptive_field

PHOTOS = np.random.default_rng(0).integers(0, 256, size=(5, 24, 24, 3), dtype=np.uint8)
IMAGES = np.random.default_rng(1).random((5, 24, 24, 3), dtype=np.float32)


class Planted(nn.Module):
    """A small CNN whose head takes one size of images only, and that counts how often each half runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.deep = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8 * 6 * 6, 4)
        self.runs = {"stem": 0, "deep": 0, "head": 0}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.runs["stem"] += 1
        first = functional.relu(self.norm(self.stem(images)), inplace=True)
        self.runs["deep"] += 1
        second = torch.tanh(self.deep(first))
        self.runs["head"] += 1
        return self.head(second.flatten(1))


def network(module: nn.Module, side: int = 16, preprocessing: Preprocessing | None = None, depth: int = 3) -> Network:
    """Take a module that is shown images of this side, with random statistics in its norms."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
    module = module.eval().requires_grad_(False)
    return Network("n", "d", "n", module, (), (depth, side, side), preprocessing=preprocessing)


def planted(preprocessing: Preprocessing | None = None) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return network(Planted(), 16, preprocessing)


def maps(asked: Network, images: np.ndarray, *layers: str, **settings: int) -> dict[str, Maps]:
    """Record all images and put the batches together."""
    found = list(record_maps(asked, images, layers, **settings))
    pre, post = ({name: np.concatenate([getattr(one[name], at) for one in found]) for name in layers} for at in AT)
    return {name: Maps(pre[name], post[name]) for name in layers}


AT = ("pre", "post")


def hooked(asked: Network, images: np.ndarray, *names: str) -> dict[str, torch.Tensor]:
    """Run a network on images and see what some of its modules give, by hooks that are taken away again."""
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        asked.module.get_submodule(name).register_forward_hook(
            lambda _, given, value, name=name: seen.__setitem__(name, value.clone())
        )
        for name in names
    ]
    predict(asked, images)
    for hook in hooks:
        hook.remove()
    return seen


def test_maps_are_what_hooks_see() -> None:
    asked = planted()
    seen = hooked(asked, PHOTOS, "norm", "deep")
    found = maps(asked, PHOTOS, "deep", "stem")
    assert found["stem"].pre.shape == (5, 6, 8, 8)
    np.testing.assert_allclose(found["stem"].pre, seen["norm"], atol=1e-6)  # before the ReLU that works in place
    np.testing.assert_allclose(found["stem"].post, seen["norm"].relu(), atol=1e-6)
    np.testing.assert_allclose(found["deep"].post, seen["deep"].tanh(), atol=1e-6)
    assert found["deep"].pre.dtype == np.float32


def test_maps_averaged_are_what_a_record_holds() -> None:
    asked = planted()
    asked = Network("n", "d", "n", asked.module, layers_with_maps(asked), asked.input_shape)
    values = next(record(asked, PHOTOS))["stem"].post
    pooled = maps(asked, PHOTOS, "stem")["stem"].post.reshape(5, 6, 4, 2, 4, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(values.reshape(5, 4, 4, 6), pooled.transpose(0, 2, 3, 1), atol=1e-6)


def test_nothing_runs_after_the_last_layer_that_is_asked_for() -> None:
    asked = planted()
    module = asked.module
    assert isinstance(module, Planted)
    maps(asked, IMAGES, "stem")
    before = dict(module.runs)
    maps(asked, IMAGES, "stem", batch=2)
    assert module.runs == {"stem": before["stem"] + 3, "deep": before["deep"], "head": before["head"]}
    assert not module._forward_hooks
    assert not any(part._forward_pre_hooks for part in module.modules())
    assert predict(asked, PHOTOS).shape == (5, 4)  # afterwards it runs to its end as before


def test_layers_before_a_head_that_takes_one_size_are_had_for_others() -> None:
    asked = planted()
    found = maps(asked, IMAGES, "stem", "deep")
    with torch.no_grad():
        images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
        first = asked.module.norm(asked.module.stem(images))
        second = asked.module.deep(first.relu())
    np.testing.assert_allclose(found["stem"].pre, first, atol=1e-6)
    np.testing.assert_allclose(found["deep"].pre, second, atol=1e-6)
    with pytest.raises(Refused, match="head takes 288, is given 800"):
        next(record(asked, IMAGES))


def test_batches_change_nothing_and_no_images_give_none() -> None:
    asked = planted()
    whole, parts = maps(asked, PHOTOS, "deep"), maps(asked, PHOTOS, "deep", batch=2)
    np.testing.assert_allclose(whole["deep"].post, parts["deep"].post, atol=1e-6)
    assert len(list(record_maps(asked, PHOTOS, ["deep"], batch=2))) == 3
    assert list(record_maps(asked, PHOTOS[:0], ["deep"])) == []
    assert list(record_maps(asked, PHOTOS, [])) == []


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
SHOWN: dict[str, tuple[Preprocessing | None, Callable[[np.ndarray], np.ndarray]]] = {
    "plain": (None, lambda x: x.transpose(0, 3, 1, 2)),
    "normalised": (Preprocessing(mean=MEAN, std=STD), lambda x: ((x - MEAN) / STD).transpose(0, 3, 1, 2)),
    "never cropped or resized": (Preprocessing((16, 16), crop=0.5), lambda x: x.transpose(0, 3, 1, 2)),
    "Caffe": (
        Preprocessing(channels="bgr", scale=255.0, mean=(104.0, 117.0, 123.0)),
        lambda x: (255 * x[..., ::-1] - (104.0, 117.0, 123.0)).transpose(0, 3, 1, 2),
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_images_are_shown_pixel_for_pixel(name: str) -> None:
    steps, by_hand = SHOWN[name]
    asked = planted(steps)
    with torch.no_grad():
        wanted = asked.module.norm(asked.module.stem(torch.from_numpy(by_hand(IMAGES).astype(np.float32))))
    np.testing.assert_allclose(maps(asked, IMAGES, "stem")["stem"].pre, wanted, atol=1e-4)
    doubled = maps(asked, IMAGES.astype(np.float64), "stem")["stem"].pre
    np.testing.assert_allclose(doubled, wanted, atol=1e-4)


def test_photos_go_through_the_whole_preprocessing() -> None:
    steps = Preprocessing((16, 16), crop=0.75, channels="bgr", mean=MEAN, std=STD)
    asked = planted(steps)
    with torch.no_grad():
        wanted = asked.module.norm(asked.module.stem(torch.from_numpy(preprocess(PHOTOS, steps, (3, 16, 16)))))
    np.testing.assert_allclose(maps(asked, PHOTOS, "stem")["stem"].pre, wanted, atol=1e-5)


def test_photos_and_images_of_the_same_pixels_are_alike() -> None:
    photos = PHOTOS[:, :16, :16]
    for steps in (None, Preprocessing(mean=MEAN, std=STD), Preprocessing(channels="bgr", scale=255.0)):
        as_photos = predict(planted(steps), photos)
        np.testing.assert_allclose(predict(planted(steps), photos.astype(np.float32) / 255), as_photos, atol=1e-4)


@pytest.mark.parametrize(("layout", "depth"), [("nchw", 1), ("nhwc", 3)])
def test_grey_and_other_layouts(layout: str, depth: int) -> None:
    steps = Preprocessing(channels="grey" if depth == 1 else "rgb", layout="nhwc" if layout == "nhwc" else "nchw")

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(depth, 2, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            values = images.permute(0, 3, 1, 2) if layout == "nhwc" else images
            return self.stem(values).relu().mean((2, 3))

    asked = network(Seen(), 16, steps, depth)
    shape = (16, 16, depth) if layout == "nhwc" else (depth, 16, 16)
    asked = Network("n", "d", "n", asked.module, (), shape, preprocessing=steps)
    grey = (IMAGES @ np.array([0.299, 0.587, 0.114]))[..., None] if depth == 1 else IMAGES
    with torch.no_grad():
        wanted = asked.module.stem(torch.from_numpy(grey.astype(np.float32)).permute(0, 3, 1, 2))
    np.testing.assert_allclose(maps(asked, IMAGES, "stem")["stem"].pre, wanted, atol=1e-5)


class Tokens(nn.Module):
    """Patches as tokens behind one that stands for the class, one block of attention, positions of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.start, self.places = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 17, 12))
        self.attend = nn.MultiheadAttention(12, 3, batch_first=True)
        self.wide, self.narrow, self.head = nn.Linear(12, 20), nn.Linear(20, 12), nn.Linear(12, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.start.expand(len(tokens), -1, -1), tokens], dim=1) + self.places
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        tokens = tokens + self.narrow(functional.gelu(self.wide(tokens)))
        return self.head(tokens[:, 0])


def test_tokens_lie_as_the_grid_that_they_are() -> None:
    asked = network(Tokens(), 16)
    images = IMAGES[:, :16, :16]
    grid = hooked(asked, images, "wide")["wide"][:, 1:].reshape(5, 4, 4, 20).permute(0, 3, 1, 2)
    found = maps(asked, images, "wide", "patches")
    np.testing.assert_allclose(found["wide"].pre, grid, atol=1e-5)
    np.testing.assert_allclose(found["wide"].post, functional.gelu(grid), atol=1e-5)
    assert found["patches"].pre.shape == (5, 12, 4, 4)


def test_one_vector_for_an_image_is_a_map_of_one_place() -> None:
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.wide, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.wide(self.stem(images).relu().mean((2, 3))).relu())

    asked = network(Ends())
    assert maps(asked, IMAGES, "wide")["wide"].post.shape == (5, 5, 1, 1)
    assert [layer.name for layer in layers_with_maps(asked)] == ["stem"]


def test_which_sides_a_network_takes_is_tried() -> None:
    assert side_of(planted()) is None
    assert side_of(planted(), ["stem"]) is None
    assert side_of(network(Tokens(), 16)) == 16
    assert side_of(network(Tokens(), 16), ["patches"]) is None
    with pytest.raises(Refused, match=r"takes images of 16 × 16 pixels for these layers, is shown 24 × 24") as caught:
        maps(network(Tokens(), 16), IMAGES, "wide")
    assert "show images of that size" in caught.value.hint


def test_a_layer_that_is_not_there_and_one_that_has_no_map() -> None:
    with pytest.raises(NotFound, match="has no hidden layer 'dep'") as caught:
        maps(planted(), IMAGES, "stem", "dep")
    assert caught.value.hint == "did you mean 'deep'?"

    class Signals(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.lines, self.head = nn.Conv2d(3, 4, 3), nn.Conv1d(4, 5, 3), nn.Linear(5, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.lines(self.stem(images).relu().mean(3)).relu().mean(2))

    with pytest.raises(BadInput, match="layer lines gives row × place, which is no map"):
        maps(network(Signals()), IMAGES, "lines")


def test_an_untrained_twin_has_maps_of_its_own() -> None:
    asked = planted()
    twin = untrained_twin(asked, seed=0)
    own, other = maps(asked, IMAGES, "stem")["stem"].pre, maps(twin, IMAGES, "stem")["stem"].pre
    assert own.shape == other.shape
    assert not np.allclose(own, other)


def onnx_graph(path: Path, module: nn.Module) -> Network:
    from consilience.zoo.onnx_module import build_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "rows"}}}
        torch.onnx.export(module, (torch.zeros(2, 3, 16, 16),), str(path), dynamo=False, opset_version=17, **names)
        logging.disable(logging.NOTSET)
    found = build_onnx(Blueprint(read_checkpoint(path), "", None, {}, None, path.parent))
    return Network("o", "d", "o", found, (), (3, 16, 16))


def test_a_graph_of_onnx_has_maps_for_images_of_its_size(tmp_path: Path) -> None:
    asked = planted()
    graph = onnx_graph(tmp_path / "a.onnx", asked.module)
    assert side_of(graph) == 16
    names = [layer.name for layer in layers_with_maps(graph)]
    wanted, found = maps(asked, IMAGES[:, :16, :16], "stem", "deep"), maps(graph, IMAGES[:, :16, :16], *names)
    for ours, theirs in zip(wanted.values(), found.values(), strict=True):
        np.testing.assert_allclose(theirs.post, ours.post, atol=1e-5)
    with pytest.raises(Refused, match="a graph that runs as a whole was made for one size"):
        maps(graph, IMAGES, names[0])
    assert receptive_field(graph, names[0], side=16) is None


def chain(*parts: nn.Module) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(*(make for part in parts for make in (part, nn.ReLU(inplace=True))))
    return network(nn.Sequential(module, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()), 32)


CHAINS = {
    "3×3": ([nn.Conv2d(3, 8, 3, padding=1)], "0.0", (3, 1.0, -15.5)),
    "valid": ([nn.Conv2d(3, 8, 5)], "0.0", (5, 1.0, -13.5)),
    "stride": ([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)], "0.2", (7, 4.0, -15.5)),
    "lopsided": ([nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2)], "0.2", (3, 2.0, -14.5)),
    "pooled": ([nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)], "0.4", (8, 2.0, -15.0)),
    "apart": ([nn.Conv2d(3, 8, 3, padding=3, dilation=3)], "0.0", (7, 1.0, -15.5)),
    "wide": ([nn.Conv2d(3, 8, 7, 2, 3), *(nn.Conv2d(8, 8, 7, padding=3) for _ in range(3))], "0.6", (43, 2.0, -15.5)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_a_place_sees_is_what_kernels_and_strides_say(name: str) -> None:
    parts, layer, (size, stride, offset) = CHAINS[name]
    found = receptive_field(chain(*parts), layer, side=32)
    assert found == ReceptiveField(size, stride, offset, whole=False)


@pytest.mark.parametrize("side", [24, 31, 32])
def test_a_spot_is_where_a_map_says_that_it_is(side: int) -> None:
    asked = chain(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1))
    field = receptive_field(asked, "0.2", side=side)
    assert field is not None
    plain = np.full((1, side, side, 3), 0.5, dtype=np.float32)
    spot = plain.copy()
    spot[0, 9, 14] = 1.0
    change = maps(asked, spot, "0.2")["0.2"].pre - maps(asked, plain, "0.2")["0.2"].pre
    touched = np.argwhere(abs(change).max(axis=(0, 1)) > 0)
    places = field.coordinates(change.shape[2])[touched]
    pixel = np.array([9, 14]) - (side - 1) / 2
    assert (abs(places - pixel) <= field.size // 2).all()
    assert len(touched) == np.prod([sum(abs(field.coordinates(change.shape[2]) - at) <= 3) for at in pixel])


def test_what_sees_the_whole_image_says_so() -> None:
    field = receptive_field(network(Tokens(), 16), "wide", side=16)
    assert field == ReceptiveField(16, 4.0, -6.0, whole=True)
    patches = receptive_field(network(Tokens(), 16), "patches", side=16)
    assert patches is not None
    assert (patches.size, patches.stride, patches.offset) == (4, 4.0, -6.0)
    assert patches.coordinates(4) == pytest.approx([-6, -2, 2, 6])


def test_no_slopes_no_receptive_field() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.stem(images.detach()).relu().mean((2, 3))

    assert receptive_field(network(Cut()), "stem", side=16) is None


ROWS = np.random.default_rng(0).normal(size=(12, 3))


def built(*layers: str) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    tensors = {name: value.numpy() for name, value in module.state_dict().items()}
    settings = {"name": "n", "digest": "d", "lineage": "n", "activation": "relu", "search_path": Path()}
    return build_network(Checkpoint("torch", tensors, {}), example=ROWS, layers=layers, **settings)


def test_only_the_layers_that_are_named_are_known_and_recorded() -> None:
    every, some = built(), built("2*")
    assert [layer.name for layer in every.layers] == ["0", "2", "4"]
    assert some.layers == every.layers[1:]
    kept, whole = next(record(some, ROWS)), next(record(every, ROWS))
    assert set(kept) == {"2", "4"}
    assert np.array_equal(kept["2"].post, whole["2"].post)
    assert built("0", "2").layers == every.layers
    assert untrained_twin(some, seed=0).layers == some.layers


def test_a_layer_that_no_network_has_is_refused_with_near_names() -> None:
    with pytest.raises(Refused, match="has no hidden layer 'stem'") as caught:
        built("0", "stem")
    assert caught.value.code == "layers"
    assert caught.value.hint == "correct layers in zoo.toml: it has 0, 2"
    with pytest.raises(Refused, match="has no hidden layer '4'"):  # the output, which is always kept
        built("4")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "wanted"),
    [
        ("tf_efficientnet_lite0", "conv_stem", (3, 2.0, -63.0, False)),
        ("tf_efficientnet_lite0", "blocks.1.0.conv_dw", (11, 4.0, -61.0, False)),
        ("mobilenetv2_100", "blocks.2.0.conv_dw", None),
        ("vgg11", "features.6", (18, 4.0, None, False)),
        ("convnext_atto", "stages.0.blocks.0.mlp.fc1", None),
    ],
)
def test_networks_by_name_have_maps_for_images_of_any_side(name: str, layer: str, wanted: tuple | None) -> None:
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        asked = network(timm.create_model(name, pretrained=False), 64, Preprocessing(mean=MEAN, std=STD))
    images = np.random.default_rng(2).random((2, 127, 127, 3), dtype=np.float32)
    found = maps(asked, images, layer)[layer]
    out = hooked(asked, images, layer)[layer]
    out = out if out.shape[1] == found.pre.shape[1] else out.movedim(-1, 1)
    assert found.pre.shape == out.shape
    assert np.corrcoef(found.pre[0, 0].ravel(), out[0, 0].ravel())[0, 1] > 0.999  # a norm may come between
    field = receptive_field(asked, layer, side=127)
    assert field is not None
    if wanted is not None:
        size, stride, offset, whole = wanted
        assert (field.size, field.stride, field.whole) == (size, stride, whole)
        assert offset is None or field.offset == offset
