import itertools
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from consilience.zoo.checkpoint import Checkpoint, Wanted, read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.format_onnx import read_onnx
from consilience.zoo.weights import Weights

DRAW = np.random.default_rng(0)
FLOAT = TensorProto.FLOAT


def numbers(*shape: int, kind: str = "f4") -> np.ndarray:
    return DRAW.normal(size=shape).astype(kind)


def given(name: str = "x", kind: int = FLOAT, shape: object = ("batch", 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, weights, *, inputs=None, outputs=("y",), opset: int = 17, **more) -> onnx.ModelProto:
    held = [
        tensor if isinstance(tensor, TensorProto) else numpy_helper.from_array(tensor, name)
        for name, tensor in weights.items()
    ]
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(list(nodes), "graph", inputs or [given()], values, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def read(folder: Path, made: onnx.ModelProto | bytes, beside=None) -> Checkpoint:
    path = folder / "graph.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return read_checkpoint(path, beside)


def mlp(first: str, second: str, biases: tuple[str, str] = ("0.bias", "2.bias"), names: tuple[str, str] = ("", "")):
    """Two layers as exporters write them for rows with several axes: a product and a sum."""
    arrays = {first: numbers(3, 5), biases[0]: numbers(5), second: numbers(5, 2), biases[1]: numbers(2)}
    nodes = [
        helper.make_node("MatMul", ["x", first], ["a"], name=f"{names[0]}MatMul" if names[0] else ""),
        helper.make_node("Add", [biases[0], "a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", second], ["d"], name=f"{names[1]}MatMul" if names[1] else ""),
        helper.make_node("Add", ["d", biases[1]], ["y"]),
    ]
    return nodes, arrays


def test_a_weight_that_lost_its_name_is_called_after_its_bias(tmp_path: Path) -> None:
    nodes, arrays = mlp("onnx::MatMul_10", "onnx::MatMul_12")
    found = read(tmp_path, model(nodes, arrays))
    assert found.format == "onnx"
    assert isinstance(found.tensors, Weights)
    assert dict(found.shapes) == {"0.weight": (5, 3), "0.bias": (5,), "2.weight": (2, 5), "2.bias": (2,)}
    np.testing.assert_array_equal(found.tensors["0.weight"], arrays["onnx::MatMul_10"].T)
    np.testing.assert_array_equal(found.tensors["2.bias"], arrays["2.bias"])


@pytest.mark.parametrize(
    ("paths", "layers"),
    [
        (("/blocks/blocks.0/fc1/", "/blocks/blocks.1/fc1/"), ["blocks.0.fc1", "blocks.1.fc1"]),
        (("model/dense/", "model/dense_1/"), ["model.dense", "model.dense_1"]),
        (("/", "/"), ["MatMul_0", "MatMul_1"]),
        (("", ""), ["MatMul_0", "MatMul_1"]),
        (("/head/", "/head/"), ["head", "head_2"]),
    ],
)
def test_a_weight_without_any_name_is_called_after_its_node(tmp_path: Path, paths, layers) -> None:
    nodes, arrays = mlp("12", "val_3", ("onnx::Add_1", "t_4"), paths)
    found = read(tmp_path, model(nodes, arrays))
    assert list(found.tensors) == [f"{layer}.{role}" for layer, role in itertools.product(layers, ("weight", "bias"))]


def test_nodes_of_the_newer_torch_exporter_tell_their_module(tmp_path: Path) -> None:
    nodes, arrays = mlp("val_0", "val_1", ("val_2", "val_3"), ("node_", "node_"))
    for node, scopes in ((nodes[0], "['', 'body', 'body.up', 'linear']"), (nodes[3], "['', 'head', 'linear_1']")):
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    assert list(read(tmp_path, model(nodes, arrays)).tensors) == [
        "body.up.weight",
        "body.up.bias",
        "head.weight",
        "head.bias",
    ]


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm_reads_as_outputs_by_inputs_with_its_factors(tmp_path: Path, transposed: int) -> None:
    stored = numbers(2, 3) if transposed else numbers(3, 2)
    arrays = {"w": stored, "b": numbers(1, 2)}
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="Gemm_7", transB=transposed, alpha=2.0, beta=0.5)
    found = read(tmp_path, model([node], arrays))
    np.testing.assert_array_equal(
        found.tensors["w"],
        2 * (stored if transposed else stored.T),
    )
    np.testing.assert_array_equal(found.tensors["b"], arrays["b"][0] / 2)


def test_convolutions_norms_and_recurrent_layers_have_the_roles_of_torch(tmp_path: Path) -> None:
    arrays = {
        "onnx::Conv_1": numbers(4, 3, 3, 3),
        "onnx::Conv_2": numbers(4),
        **{f"onnx::Norm_{n}": abs(numbers(4)) for n in range(4)},
    }
    nodes = [
        helper.make_node("Conv", ["x", "onnx::Conv_1", "onnx::Conv_2"], ["a"], name="/stem/Conv"),
        helper.make_node("BatchNormalization", ["a", *list(arrays)[2:]], ["y"], name="/norm/BatchNormalization"),
    ]
    found = read(tmp_path, model(nodes, arrays, inputs=[given(shape=("b", 3, 8, 8))]))
    roles = ("weight", "bias", "running_mean", "running_var")
    assert list(found.tensors) == ["stem.weight", "stem.bias", *(f"norm.{role}" for role in roles)]


def test_a_bias_that_is_added_to_channels_belongs_to_the_convolution(tmp_path: Path) -> None:
    arrays = {"1": numbers(4, 3, 3, 3), "2": numbers(1, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "1"], ["a"], name="net/stem/Conv2D"),
        helper.make_node("Add", ["a", "2"], ["y"], name="net/stem/BiasAdd"),
    ]
    found = read(tmp_path, model(nodes, arrays, inputs=[given(shape=("b", 3, 8, 8))]))
    assert dict(found.shapes) == {"net.stem.weight": (4, 3, 3, 3), "net.stem.bias": (4,)}


def test_weights_that_two_layers_share_are_read_once(tmp_path: Path) -> None:
    arrays = {"w": numbers(3, 3)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="/one/MatMul"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="/two/MatMul"),
    ]
    assert list(read(tmp_path, model(nodes, arrays)).tensors) == ["w"]


def test_constants_of_every_kind_are_read(tmp_path: Path) -> None:
    """In raw bytes, number by number, in a node of their own, behind a cast or a transposition."""
    listed = helper.make_tensor("a.weight", FLOAT, (3, 3), numbers(9).tolist())
    halves = numbers(3, 3, kind="f2")
    typed = TensorProto(
        name="h.weight", dims=(3, 3), data_type=TensorProto.FLOAT16, int32_data=halves.view("u2").ravel().tolist()
    )
    brain = numbers(3, 3).view(np.uint32) & 0xFFFF0000
    widened = TensorProto(
        name="b.weight", dims=(3, 3), data_type=TensorProto.BFLOAT16, int32_data=(brain >> 16).ravel().tolist()
    )
    inner = numbers(3, 3)
    nodes = [
        helper.make_node("MatMul", ["x", "a.weight"], ["1"]),
        helper.make_node("Cast", ["h.weight"], ["h"], to=FLOAT),
        helper.make_node("MatMul", ["1", "h"], ["2"]),
        helper.make_node("Cast", ["b.weight"], ["b"], to=FLOAT),
        helper.make_node("MatMul", ["2", "b"], ["3"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(inner, "")),
        helper.make_node("Transpose", ["c"], ["d"], perm=[1, 0]),
        helper.make_node("MatMul", ["3", "d"], ["4"], name="/last/MatMul"),
        helper.make_node("Constant", [], ["e"], value_float=2.0),
        helper.make_node("Mul", ["4", "e"], ["y"]),
    ]
    found = read(tmp_path, model(nodes, {"a.weight": listed, "h.weight": typed, "b.weight": widened}))
    assert list(found.tensors) == ["a.weight", "h.weight", "b.weight", "c"]
    np.testing.assert_array_equal(found.tensors["a.weight"].T.ravel(), np.array(listed.float_data, "f4"))
    np.testing.assert_array_equal(found.tensors["h.weight"], halves.T)
    np.testing.assert_array_equal(found.tensors["b.weight"], brain.view(np.float32).T)
    np.testing.assert_array_equal(found.tensors["c"], inner)


def test_an_unpacked_list_of_numbers_is_read(tmp_path: Path) -> None:
    values = numbers(3, 3)
    tensor = TensorProto(name="w", dims=(3, 3), data_type=FLOAT)
    loose = b"".join(b"\x25" + struct.pack("<f", value) for value in values.ravel())
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tensor}).SerializeToString()
    plain = tensor.SerializeToString()
    head = made.index(plain)
    longer = plain + loose
    inner = made[: head - 1] + bytes([len(longer)]) + longer + made[head + len(plain) :]
    start = inner.index(b"\x3a")
    grown = inner[: start + 1] + bytes([inner[start + 1] + len(loose)]) + inner[start + 2 :]
    np.testing.assert_array_equal(read(tmp_path, grown).tensors["w"], values.T)


def test_weights_in_a_file_beside_are_asked_for_and_read(tmp_path: Path) -> None:
    nodes, arrays = mlp("p", "q")
    (tmp_path / "w.bin").write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    offset, outer = 0, {}
    for name, array in arrays.items():
        outer[name] = external(name, "./w.bin", array.shape, offset=str(offset), length=str(array.nbytes))
        offset += array.nbytes
    with pytest.raises(Wanted, match=r"w\.bin"):
        read(tmp_path, model(nodes, outer))
    found = read(tmp_path, model(nodes, outer), {"w.bin": tmp_path / "w.bin"})
    np.testing.assert_array_equal(found.tensors["q"], arrays["q"].T)
    assert isinstance(found.tensors, Weights)


def external(name: str, location: str, shape, **more: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=list(shape), data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_old_files_that_list_constants_as_inputs_are_read(tmp_path: Path) -> None:
    nodes, arrays = mlp("up.weight", "down.weight", ("up.bias", "down.bias"))
    inputs = [given(), *(given(name, FLOAT, array.shape) for name, array in arrays.items())]
    made = model(nodes, arrays, inputs=inputs)
    made.ir_version = 3
    assert list(read(tmp_path, made).tensors) == ["up.weight", "up.bias", "down.weight", "down.bias"]


def test_what_the_exporter_said_is_kept(tmp_path: Path) -> None:
    nodes, arrays = mlp("p", "q")
    made = model(nodes, arrays, producer_name="pytorch", producer_version="2.7")
    made.metadata_props.add(key="activation", value="relu")
    assert read(tmp_path, made).metadata == {"activation": "relu", "producer": "pytorch 2.7", "opset": "17"}


def simple(**fields) -> onnx.ModelProto:
    """One layer whose weight is a tensor of these fields."""
    settings = {"name": "w", "dims": [3, 2], "data_type": FLOAT} | fields
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": TensorProto(**settings)})


RAW = np.zeros((3, 2), "f4").tobytes()


@pytest.mark.parametrize(
    ("code", "match", "fields"),
    [
        ("damaged", "0 numbers for a shape of 6", {}),
        ("damaged", "23 bytes for a shape of 6", {"raw_data": RAW[:-1]}),
        ("damaged", "shape is absurd", {"raw_data": RAW, "dims": [-3, -2]}),
        ("damaged", "shape is absurd", {"raw_data": b"", "dims": [1 << 60, 1 << 60, 0]}),
        ("damaged", "in two places", {"raw_data": RAW, "float_data": [0.0] * 6}),
        ("damaged", "of another kind", {"float_data": [0.0] * 6, "data_type": TensorProto.INT32}),
        ("damaged", "too large for their kind", {"int32_data": [300] * 6, "data_type": TensorProto.INT8}),
        ("dtype", "unknown kind.*STRING", {"string_data": [b"a"] * 6, "data_type": TensorProto.STRING}),
        ("dtype", "unknown kind.*999", {"raw_data": RAW, "data_type": 999}),
        ("layout", "a piece of a tensor", {"raw_data": RAW, "segment": TensorProto.Segment(begin=0, end=1)}),
    ],
)
def test_weights_that_contradict_themselves_are_refused(tmp_path: Path, code: str, match: str, fields) -> None:
    with pytest.raises(Refused, match=match) as caught:
        read(tmp_path, simple(**fields))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("code", "match", "said"),
    [
        ("outside", "not beside it", {"location": "/etc/passwd"}),
        ("outside", "not beside it", {"location": "../w.bin"}),
        ("outside", "not beside it", {"location": "C:w.bin"}),
        ("outside", "not beside it", {"location": ""}),
        ("truncated", "needs 1,024 bytes of weights beside it, 48 are there", {"location": "w.bin", "offset": "1000"}),
        ("damaged", "place is no number", {"location": "w.bin", "offset": "-8"}),
        ("damaged", "place is no number", {"location": "w.bin", "offset": "9" * 1000}),
        ("damaged", "4 bytes for a shape of 6", {"location": "w.bin", "length": "4"}),
    ],
)
def test_weights_elsewhere_are_refused(tmp_path: Path, code: str, match: str, said: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(48))
    tensor = external("w", shape=(3, 2), **said)
    with pytest.raises(Refused, match=match) as caught:
        read(
            tmp_path,
            model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tensor}),
            {"w.bin": tmp_path / "w.bin"},
        )
    assert caught.value.code == code


def test_a_weight_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(48))
    tensor = external("w", "w.bin", (3, 2))
    tensor.raw_data = RAW
    with pytest.raises(Refused, match="in two places"):
        read(
            tmp_path,
            model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": tensor}),
            {"w.bin": tmp_path / "w.bin"},
        )


def test_many_weights_of_the_same_numbers_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 28)
    outer = {f"w{n}": external(f"w{n}", "w.bin", (1 << 13, 1 << 13)) for n in range(40)}
    node = helper.make_node("MatMul", ["x", "w0"], ["y"])
    with pytest.raises(Refused, match="same numbers as far too many"):
        read(tmp_path, model([node], outer), {"w.bin": tmp_path / "w.bin"})


WEIGHT = {"w": np.ones((3, 3), "f4")}
FIRST = helper.make_node("MatMul", ["x", "w"], ["a"])


def branch() -> onnx.GraphProto:
    return helper.make_graph([helper.make_node("Tanh", ["a"], ["z"])], "inner", [], [given("z", shape=None)])


YES = numpy_helper.from_array(np.array(True), "yes")


@pytest.mark.parametrize(
    ("code", "match", "node"),
    [
        ("program", "a node If", helper.make_node("If", ["yes"], ["y"], then_branch=branch(), else_branch=branch())),
        ("program", "a node Loop", helper.make_node("Loop", ["", "yes", "a"], ["y"], body=branch())),
        ("program", "a graph within a node Relu", helper.make_node("Relu", ["a"], ["y"], body=branch())),
        ("operator", "not known here: Explode", helper.make_node("Explode", ["a"], ["y"])),
        ("operator", "not known here: Evil of some.where", helper.make_node("Evil", ["a"], ["y"], domain="some.where")),
        ("operator", "EPContext of com.microsoft", helper.make_node("EPContext", ["a"], ["y"], domain="com.microsoft")),
        ("operator", "not known here: SequenceConstruct", helper.make_node("SequenceConstruct", ["a"], ["y"])),
        ("damaged", "not formed as that operator", helper.make_node("Relu", ["a", "a", "a"], ["y"])),
        ("damaged", "not formed as that operator", helper.make_node("Softmax", ["a"], ["y"], axis="one")),
        ("damaged", "gives nothing", helper.make_node("Relu", ["a"], [""])),
        ("damaged", "uses what no node before it gives", helper.make_node("Add", ["a", "y"], ["y"])),
        ("damaged", "two nodes give the same value", helper.make_node("Relu", ["a"], ["a"])),
        ("damaged", "no node gives its output", helper.make_node("Relu", ["a"], ["other"])),
        ("bomb", "names that are far too long", helper.make_node("Relu", ["a"], ["y"], name="n" * 2000)),
    ],
)
def test_nodes_that_are_not_plain_are_refused(tmp_path: Path, code: str, match: str, node: onnx.NodeProto) -> None:
    with pytest.raises(Refused, match=match) as caught:
        read(tmp_path, model([FIRST, node], {**WEIGHT, "yes": YES}))
    assert caught.value.code == code


def test_attributes_of_odd_kinds_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Softmax", ["a"], ["y"])
    node.attribute.add(name="axis", type=onnx.AttributeProto.INT, ref_attr_name="outer")
    with pytest.raises(Refused, match="attribute of an odd kind"):
        read(tmp_path, model([FIRST, node], WEIGHT))
    fill = helper.make_node("ConstantOfShape", ["n"], ["b"], value=external("v", "w.bin", (1,)))
    with pytest.raises(Refused, match="attribute in another file"):
        read(tmp_path, model([FIRST, fill, helper.make_node("Add", ["a", "b"], ["y"])], {**WEIGHT, "n": np.array([3])}))


@pytest.mark.parametrize("settings", [{"value_string": "a"}, {"value_strings": ["a"]}])
def test_constants_that_are_no_tensors_are_refused(tmp_path: Path, settings) -> None:
    nodes = [helper.make_node("Constant", [], ["c"], **settings), helper.make_node("Add", ["a", "c"], ["y"])]
    with pytest.raises(Refused, match="constant that is not a plain tensor"):
        read(tmp_path, model([FIRST, *nodes], WEIGHT))


def changed(change) -> onnx.ModelProto:
    made = model([FIRST, helper.make_node("Relu", ["a"], ["y"])], WEIGHT)
    change(made)
    return made


SPARSE = onnx.SparseTensorProto(dims=[3, 3])


@pytest.mark.parametrize(
    ("code", "match", "change"),
    [
        ("program", "operators of its own", lambda m: m.functions.add(name="f")),
        ("program", "a program that trains it", lambda m: m.training_info.add()),
        ("layout", "sparse tensors", lambda m: m.graph.sparse_initializer.append(SPARSE)),
        ("no-tensors", "without nodes", lambda m: m.graph.ClearField("node")),
        ("operator", "version \\[1000\\]", lambda m: setattr(m.opset_import[0], "version", 1000)),
        ("operator", "version \\[\\]", lambda m: m.ClearField("opset_import")),
        ("damaged", "two initialisers", lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        ("inputs", "2 inputs \\(x, other\\)", lambda m: m.graph.input.append(given("other"))),
        ("inputs", "no input", lambda m: m.graph.ClearField("input")),
        ("inputs", "no tensor of numbers", lambda m: m.graph.input[0].CopyFrom(given(kind=TensorProto.STRING))),
        ("inputs", "absurd shape", lambda m: m.graph.input[0].CopyFrom(given(shape=(-2, 3)))),
        ("bomb", "absurd shape", lambda m: m.graph.input[0].CopyFrom(given(shape=("b", 1 << 40)))),
        ("no-tensors", "holds no weights", lambda m: m.graph.node.pop(0) and m.graph.node[0].input.__setitem__(0, "x")),
        ("bomb", "far too many nodes", lambda m: m.graph.node.extend([FIRST] * 20_000)),
    ],
)  # fmt: skip
def test_models_that_are_not_plain_are_refused(tmp_path: Path, code: str, match: str, change) -> None:
    with pytest.raises(Refused, match=match) as caught:
        read(tmp_path, changed(change))
    assert caught.value.code == code


def test_a_file_that_is_no_protobuf_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x08\x3a\x04\x0a\x02\x0a\x09")
    with pytest.raises(Refused, match=r"not the ONNX file|cut short"):
        read_onnx(path, {})
