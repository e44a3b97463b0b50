"""What a checkpoint is follows from its content; MLPs are built where names and shapes leave no doubt."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.architecture import ACTIVATIONS, BUILDERS, LARGEST_INPUT, build_network, infer
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, Scaling, predict
from consilience.zoo.preprocess import Preprocessing
from consilience.zoo.weights import Place

ROW = np.array([0.3, -0.7, 1.1])
ROWS = np.random.default_rng(0).normal(size=(50, 3))


def checkpoint(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Checkpoint:
    return Checkpoint("safetensors", tensors, metadata or {})


def state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def build(source: Checkpoint, **changes: Any) -> Network:
    settings: dict[str, Any] = {
        "name": "n",
        "digest": "d",
        "lineage": "n",
        "example": ROW,
        "search_path": Path(),
    }
    return build_network(source, **(settings | changes))


def perceptron(*widths: int, activation: type[nn.Module] = nn.Tanh, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    steps: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        steps += [nn.Linear(inputs, outputs, bias=bias), activation()]
    return nn.Sequential(*steps[:-1])


def outputs(module: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return module(torch.tensor(ROWS, dtype=torch.float32)).double().numpy()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_mlp_computes_what_its_author_did(name: str) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 7), ACTIVATIONS[name](), nn.Linear(7, 5), ACTIVATIONS[name](), nn.Linear(5, 2))
    network = build(checkpoint(state(module)), activation=name)
    np.testing.assert_array_equal(predict(network, ROWS), outputs(module))
    assert [(layer.name, layer.units, layer.role) for layer in network.layers] == [
        ("0", 7, "hidden"),
        ("2", 5, "hidden"),
        ("4", 2, "output"),
    ]
    assert [layer.depth for layer in network.layers] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert network.layers[0].activation == name
    assert network.input_shape == (3,)


def test_the_module_is_at_rest() -> None:
    network = build(checkpoint(state(perceptron(3, 4, 1)), {"activation": "tanh"}))
    assert not network.module.training
    assert not any(weights.requires_grad for weights in network.module.parameters())


NAMINGS = {
    "pytorch": ["net.{}.weight", "net.{}.bias"],
    "tglfnn": ["layer_{}/weight", "layer_{}/bias"],
    "letters": ["W{}", "b{}"],
    "underscored": ["w_{}", "b_{}"],
    "deep": ["model.body.layers.{}.kernel", "model.body.layers.{}.bias"],
    "reserved": ["type.forward.{}.weight", "type.forward.{}.bias"],
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_layers_are_ordered_by_number_not_by_letter(naming: str) -> None:
    module = perceptron(3, *[6] * 11, 1)
    weight, bias = NAMINGS[naming]
    tensors = {}
    for number, layer in enumerate(part for part in module if isinstance(part, nn.Linear)):
        tensors[weight.format(number)] = layer.weight.detach().numpy()
        tensors[bias.format(number)] = layer.bias.detach().numpy()
    shuffled = dict(sorted(tensors.items(), key=lambda item: item[0][::-1]))
    network = build(checkpoint(shuffled), activation="tanh")
    np.testing.assert_array_equal(predict(network, ROWS), outputs(module))
    assert len({layer.name for layer in network.layers}) == 12


@pytest.mark.parametrize("widths", [(3, 8, 8, 1), (3, 8, 8, 3), (3, 8, 8, 8)])
def test_shapes_order_layers_whose_names_do_not(widths: tuple[int, ...]) -> None:
    module = perceptron(*widths)
    names = {"0": "input", "2": "hidden.0", "4": "output"}
    tensors = {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": array for name, array in state(module).items()}
    source = checkpoint(dict(sorted(tensors.items())), {"activation": "tanh"})
    if widths[-1] == 8:
        with pytest.raises(Refused, match="fit together in more than one order") as caught:
            build(source)
        assert caught.value.code == "no-architecture"
    else:
        np.testing.assert_array_equal(predict(build(source), ROWS), outputs(module))


def test_biases_are_optional_and_whole_numbers_are_no_weights() -> None:
    module = perceptron(3, 4, 1, bias=False)
    network = build(checkpoint(state(module) | {"steps": np.array(3)}), activation="tanh")
    np.testing.assert_array_equal(predict(network, ROWS), outputs(module))


def test_one_layer_needs_no_activation() -> None:
    network = build(checkpoint(state(perceptron(3, 2))))
    assert [layer.role for layer in network.layers] == ["output"]


def test_double_precision_is_kept_and_half_is_widened() -> None:
    module = perceptron(3, 4, 1)
    double = {name: array.astype(np.float64) for name, array in state(module).items()}
    half = {name: array.astype(np.float16) for name, array in state(module).items()}
    assert predict(build(checkpoint(double), activation="tanh"), ROWS) == pytest.approx(outputs(module), abs=1e-6)
    assert predict(build(checkpoint(half), activation="tanh"), ROWS) == pytest.approx(outputs(module), abs=1e-2)


def test_the_manifest_overrules_the_checkpoint() -> None:
    source = checkpoint(state(perceptron(3, 4, 1)), {"activation": "tanh"})
    assert build(source).layers[0].activation == "tanh"
    assert build(source, activation="Swish").layers[0].activation == "silu"


def test_an_activation_is_never_guessed() -> None:
    source = checkpoint(state(perceptron(3, 4, 1)))
    with pytest.raises(Refused, match="does not say which activation") as caught:
        build(source)
    assert caught.value.code == "no-activation"
    assert 'activation = "relu"' in caught.value.hint
    with pytest.raises(Refused, match="'rellu' is not known") as caught:
        build(source, activation="rellu")
    assert "relu, tanh" in caught.value.hint


TENSORS = {
    "batch norm": (
        state(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))),
        "belongs to no dense",
    ),
    "scales alone": ({"scale": np.ones(3)}, "no weights with two axes"),
    "no names": (state(nn.Conv3d(1, 4, 3)), "no weights with two axes"),
    "two heads": (state(nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(3, 4)})), "a gives 4, b takes 3"),
    "gap": ({"0.weight": np.ones((4, 3)), "1.weight": np.ones((1, 5))}, "0 gives 4, 1 takes 5"),
    "wide bias": ({"0.weight": np.ones((4, 3)), "0.bias": np.ones(5)}, "0.bias of shape"),
    "loose": ({"0.weight": np.ones((4, 3)), "temperature": np.ones(())}, "temperature of shape"),
    "two of a name": ({"a.weight": np.ones((3, 3)), "a.kernel": np.ones((3, 3))}, "two weights of one name"),
    "two biases": ({"a.weight": np.ones((3, 3)), "a.bias": np.ones(3), "a.b": np.ones(3)}, "two biases"),
    "many names": ({f"{letter}.weight": np.ones((3, 3)) for letter in "pqrstu"}, "6 kinds of names"),
    "recurrent": (state(nn.RNN(3, 4)), "belongs to no dense layer|fit|gives|takes"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_what_is_no_mlp_is_refused(case: str) -> None:
    tensors, match = TENSORS[case]
    with pytest.raises(Refused, match=match) as caught:
        build(checkpoint(tensors), activation="tanh")
    assert caught.value.code == "no-architecture"
    assert '"python:module:factory"' in caught.value.hint


def test_another_input_size_is_said_in_numbers() -> None:
    with pytest.raises(Refused, match="takes 5 inputs, the probe has 3") as caught:
        build(checkpoint(state(perceptron(5, 4, 1))), activation="tanh")
    assert caught.value.code == "input-shape"
    assert "leave this network out" in caught.value.hint


def test_outputs_must_be_as_many_as_named() -> None:
    source = checkpoint(state(perceptron(3, 4, 2)), {"activation": "tanh"})
    assert build(source, outputs=("F", "G")).outputs == ("F", "G")
    with pytest.raises(Refused, match=r"gives 2 outputs, zoo\.toml names 1") as caught:
        build(source, outputs=("F",))
    assert caught.value.code == "output-shape"


def test_an_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(
        Refused, match="'resnet' is none of mlp, cnn, timm, torchvision, transformers, onnx, python"
    ) as caught:
        build(checkpoint({"w": np.ones((1, 3))}), architecture="resnet")
    assert caught.value.code == "no-architecture"
    assert set(BUILDERS) == {"mlp", "cnn", "timm", "torchvision", "transformers", "onnx", "python"}


PLAIN = {"0.weight": np.ones((4, 3)), "0.bias": np.ones(4)}


@pytest.mark.parametrize(
    ("source", "architecture"),
    [
        (checkpoint(PLAIN), "mlp"),
        (checkpoint({**PLAIN, "c.weight": np.ones((4, 3, 3, 3))}), "cnn"),
        (checkpoint({"c.weight": np.ones((4, 3, 3))}), "cnn"),
        (Checkpoint("onnx", PLAIN, {}), "onnx"),
        (Checkpoint("safetensors", PLAIN, {}, config={"model_type": "bert"}), "transformers:"),
        (Checkpoint("torch", PLAIN, {}, config={"architecture": "resnet18.a1", "pretrained_cfg": {}}), "timm:resnet18"),
        (Checkpoint("torch", PLAIN, {}, config={"architecture": "hf-hub:x/y", "pretrained_cfg": {}}), "mlp"),
        (Checkpoint("torch", PLAIN, {}, config={"architecture": "resnet18", "model_type": 5}), "mlp"),
    ],
)
def test_the_architecture_follows_from_the_content(source: Checkpoint, architecture: str) -> None:
    assert infer(source) == architecture


class Watched(dict[str, np.ndarray]):
    """Weights that note which of them are read, as those do that lie in a file."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__(tensors)
        self.read: list[str] = []
        self.places = {name: Place(Path(), 0, f"<{a.dtype.str[1:]}", a.shape) for name, a in tensors.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: place.shape for name, place in self.places.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.append(name)
        return super().__getitem__(name)


def test_weights_are_read_once_and_only_where_they_fit() -> None:
    tensors = Watched(state(perceptron(3, 4, 4, 1)) | {"step": np.array(3)})
    source = Checkpoint("safetensors", tensors, {"activation": "tanh"})
    with pytest.raises(Refused, match="takes 3 inputs, the probe has 5"):
        build(source, example=np.zeros(5))
    with pytest.raises(Refused, match="loose of shape"):
        build(checkpoint(Watched({**tensors, "loose": np.ones(7)})))
    assert set(tensors.read) <= {"0.weight"}  # at the first one the checks of types look
    build(source)
    assert sorted(name for name in tensors.read if name != "0.weight") == sorted(set(tensors) - {"0.weight", "step"})


def test_without_a_probe_an_mlp_takes_what_its_first_layer_does() -> None:
    network = build(checkpoint(state(perceptron(3, 4, 1)), {"activation": "tanh"}), example=None)
    assert network.input_shape == (3,)
    assert predict(network, ROWS).shape == (50, 1)


def test_an_mlp_is_shown_photos_in_one_long_row() -> None:
    source = checkpoint({"0.weight": np.ones((2, 784), dtype=np.float32)})
    photos = np.random.default_rng(0).integers(0, 256, size=(2, 32, 32, 3), dtype=np.uint8)
    network = build(source, example=photos)
    assert network.input_shape == (784,)
    assert predict(network, photos).shape == (2, 2)


def test_weights_of_keras_stand_the_other_way_round() -> None:
    module = perceptron(3, 6, 2)
    names = {"0.weight": "dense/kernel", "0.bias": "dense/bias", "2.weight": "dense_1/kernel", "2.bias": "dense_1/bias"}
    tensors = {names[name]: array.T for name, array in state(module).items()}
    network = build(Checkpoint("keras", tensors, {}), activation="tanh")
    np.testing.assert_allclose(predict(network, ROWS), outputs(module), atol=1e-6)


def test_more_layers_than_any_mlp_has_are_refused() -> None:
    tensors = {f"{n}.weight": np.ones((1, 1)) for n in range(1001)}
    with pytest.raises(Refused, match="it has 1001 layers"):
        build(checkpoint(tensors), activation="tanh", example=None)


def test_scaling_that_does_not_fit_is_refused() -> None:
    source = checkpoint(state(perceptron(3, 4, 1)), {"activation": "tanh"})
    for scaling, match in [
        (Scaling(input_shift=(1.0, 2.0)), "input_shift has 2 numbers for 3"),
        (Scaling(input_scale=(1.0, 0.0, 1.0)), "input_scale has a zero"),
        (Scaling(output_scale=(1.0, 1.0)), "output_scale has 2 numbers for 1"),
    ]:
        with pytest.raises(Refused, match=match) as caught:
            build(source, scaling=scaling)
        assert caught.value.code == "scaling"


FACTORY = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self, tensors, shape=None):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 1.0, -2.0], dtype=torch.float64))
        self.inner = nn.Linear(3, 1)
        self.inner.weight.data = torch.from_numpy(tensors["w"])
        if shape: self.input_shape = tuple(shape)

    def forward(self, inputs):
        return self.inner(inputs.flatten(1) - self.mean)
"""


def test_constants_of_another_precision_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "scaled.py").write_text(FACTORY)
    weights = np.array([[1.0, -2.0, 3.0]], dtype=np.float32)
    network = build(checkpoint({"w": weights}), architecture="python:scaled:Scaled", search_path=tmp_path)
    bias = network.module.inner.bias.item()
    expected = (ROWS - [0.5, 1.0, -2.0]) @ weights.T.astype(np.float64) + bias
    assert predict(network, ROWS) == pytest.approx(expected, abs=1e-5)


def test_a_module_may_say_which_shape_it_takes(tmp_path: Path) -> None:
    (tmp_path / "scaled.py").write_text(FACTORY)
    network = build(
        checkpoint({"w": np.ones((1, 3), dtype=np.float32)}),
        architecture="python:scaled:Scaled",
        options={"shape": [1, 3]},
        search_path=tmp_path,
    )
    assert network.input_shape == (1, 3)
    assert predict(network, ROWS).shape == (50, 1)


def test_a_factory_gets_the_names_that_zoo_toml_gives(tmp_path: Path) -> None:
    (tmp_path / "scaled.py").write_text(FACTORY)
    source = checkpoint({"module.weight": np.ones((1, 3), dtype=np.float32)})
    network = build(
        source,
        architecture="python:scaled:Scaled",
        strip_prefix="module.",
        rename={"weight": "w"},
        search_path=tmp_path,
    )
    assert predict(network, ROWS).shape == (50, 1)


SHY = """
from torch import nn

def flat(tensors): return nn.Sequential(nn.Flatten(), nn.Linear(3, 1))
def maps(tensors): return nn.Conv2d(3, 2, 3)
def nothing(tensors): return nn.ReLU()
def vast(tensors):
    module = nn.ReLU()
    module.input_shape = (1 << 30, 1 << 30)
    return module
"""


def test_without_a_probe_a_factory_says_what_it_takes_by_its_first_layer(tmp_path: Path) -> None:
    (tmp_path / "shy.py").write_text(SHY)
    settings: dict[str, Any] = {"example": None, "search_path": tmp_path}
    source = checkpoint({"w": np.ones((1, 3))})
    assert build(source, architecture="python:shy:flat", **settings).input_shape == (3,)
    assert build(source, architecture="python:shy:maps", **settings).input_shape == (3, 224, 224)
    with pytest.raises(Refused, match="does not say what it takes") as caught:
        build(source, architecture="python:shy:nothing", **settings)
    assert caught.value.code == "input-shape"
    with pytest.raises(Refused, match="numbers a row") as caught:
        build(source, architecture="python:shy:vast", **settings)
    assert caught.value.code == "input-shape"
    assert LARGEST_INPUT >= 3 * 1024 * 1024


def test_photos_come_in_the_size_that_preprocessing_says(tmp_path: Path) -> None:
    (tmp_path / "shy.py").write_text(SHY)
    photos = np.zeros((2, 40, 40, 3), dtype=np.uint8)
    settings: dict[str, Any] = {"architecture": "python:shy:maps", "search_path": tmp_path, "example": photos}
    source = checkpoint({"w": np.ones((1, 3))})
    assert build(source, **settings).input_shape == (3, 40, 40)
    small = build(source, preprocessing=Preprocessing(size=(8, 6)), **settings)
    assert small.input_shape == (3, 8, 6)
    assert predict(small, photos).shape == (2, 2 * 6 * 4)
