"""ONNX graphs that hold programs, reach outside, or are larger when run than as a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hostile_case import ANY, READ, Case, Place
from hostile_safetensors import network
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
OPSETS = [helper.make_opsetid("", 17)]


# ONNX


def graph(nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto], **more: Any) -> onnx.GraphProto:
    settings = {
        "inputs": [helper.make_tensor_value_info("x", FLOAT, ["batch", 2])],
        "outputs": [helper.make_tensor_value_info("y", FLOAT, None)],
    } | more
    inputs, outputs = settings.pop("inputs"), settings.pop("outputs")
    return helper.make_graph(list(nodes), "graph", inputs, outputs, list(weights), **settings)


def model(inner: onnx.GraphProto, opsets: Sequence[Any] = OPSETS, **more: Any) -> onnx.ModelProto:
    return helper.make_model(inner, opset_imports=list(opsets), ir_version=8, **more)


def mlp_parts(seed: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    arrays = network(seed)
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["a"], name="/0/Gemm", transB=1),
        helper.make_node("Tanh", ["a"], ["b"], name="/1/Tanh"),
        helper.make_node("Gemm", ["b", "2.weight", "2.bias"], ["y"], name="/2/Gemm", transB=1),
    ]
    return nodes, [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def with_node(seed: int, node: onnx.NodeProto, *more: onnx.TensorProto, opsets: Sequence[Any] = OPSETS) -> bytes:
    """Put a node between the first layer and the second of an honest network."""
    (first, _, last), weights = mlp_parts(seed)
    return bytes(model(graph([first, node, last], [*weights, *more]), opsets).SerializeToString())


def external(name: str, location: str, shape: Sequence[int] = (6, 2), **more: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=list(shape), data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def with_external(seed: int, tensor: onnx.TensorProto) -> bytes:
    nodes, weights = mlp_parts(seed)
    return bytes(model(graph(nodes, [tensor, *weights[1:]])).SerializeToString())


def with_weight(seed: int, **fields: Any) -> bytes:
    """Replace the first weight by one with other fields."""
    nodes, weights = mlp_parts(seed)
    return bytes(model(graph(nodes, [TensorProto(**{"name": "0.weight"} | fields), *weights[1:]])).SerializeToString())


def loops() -> dict[str, tuple[str, bytes]]:
    """Give graphs that hold programs."""
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    step = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    value = helper.make_tensor_value_info("v", FLOAT, None)
    passes = [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])]
    outputs = [
        helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v2", FLOAT, None),
    ]
    body = helper.make_graph(passes, "body", [step, condition, value], outputs)
    trip = numpy_helper.from_array(np.array(2**62), "trip")
    yes = numpy_helper.from_array(np.array(True), "yes")
    branch = helper.make_graph(
        [helper.make_node("Tanh", ["a"], ["z"])], "branch", [], [helper.make_tensor_value_info("z", FLOAT, None)]
    )
    scan = helper.make_graph(
        [helper.make_node("Tanh", ["s"], ["z"])],
        "scan",
        [helper.make_tensor_value_info("s", FLOAT, None)],
        [helper.make_tensor_value_info("z", FLOAT, None)],
    )
    deep = branch
    for _ in range(25):
        node = helper.make_node("If", ["yes"], ["z"], then_branch=deep, else_branch=branch)
        deep = helper.make_graph([node], "deep", [], [helper.make_tensor_value_info("z", FLOAT, None)])
    return {
        "loop": (
            "a loop of 2^62 rounds",
            with_node(20, helper.make_node("Loop", ["trip", "yes", "a"], ["b"], body=body), trip, yes),
        ),
        "if": (
            "a branch",
            with_node(20, helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch), yes),
        ),
        "scan": ("a scan", with_node(20, helper.make_node("Scan", ["a"], ["b"], body=scan, num_scan_inputs=1))),
        "deep": (
            "25 branches in one another",
            with_node(20, helper.make_node("If", ["yes"], ["b"], then_branch=deep, else_branch=branch), yes),
        ),
    }


def onnx_cases(place: Place) -> Iterator[Case]:
    """Make ONNX graphs that must not be run."""
    for trick, (why, content) in loops().items():
        yield Case(f"onnx/{trick}.onnx", why, content)
    yield from external_cases(place)
    own = [*OPSETS, helper.make_opsetid("evil", 1)]
    microsoft = [*OPSETS, helper.make_opsetid("com.microsoft", 1)]
    domains = {
        "domain": ("an operator of its own", helper.make_node("Anything", ["a"], ["b"], domain="evil"), own),
        "python": (
            "an operator that calls Python",
            helper.make_node("PyOp", ["a"], ["b"], domain="ai.onnx.contrib", module="os", compute="system"),
            [*OPSETS, helper.make_opsetid("ai.onnx.contrib", 1)],
        ),
        "context": (
            "an operator that loads a library",
            helper.make_node(
                "EPContext",
                ["a"],
                ["b"],
                domain="com.microsoft",
                ep_cache_context=str(place.outside / "secret.bin"),
                embed_mode=0,
            ),
            microsoft,
        ),
        "aten": (
            "an operator that calls torch",
            helper.make_node("ATen", ["a"], ["b"], domain="org.pytorch.aten", operator="from_file"),
            own,
        ),
        "unknown": ("an operator that there is not", helper.make_node("Explode", ["a"], ["b"]), OPSETS),
    }
    for trick, (why, node, opsets) in domains.items():
        yield Case(f"onnx/{trick}.onnx", why, with_node(21, node, opsets=opsets))
    nodes, weights = mlp_parts(22)
    function = helper.make_function(
        "evil", "F", ["a"], ["b"], [helper.make_node("Anything", ["a"], ["b"], domain="evil")], OPSETS
    )
    called = [nodes[0], helper.make_node("F", ["a"], ["b"], domain="evil"), nodes[2]]
    yield Case(
        "onnx/function.onnx",
        "a function of its own",
        model(graph(called, weights), own, functions=[function]).SerializeToString(),
    )
    trained = model(graph(nodes, weights))
    trained.training_info.add().algorithm.CopyFrom(
        graph([helper.make_node("Anything", ["x"], ["y"], domain="evil")], [])
    )
    yield Case("onnx/training.onnx", "a way to train it", trained.SerializeToString())
    yield from shape_cases()
    yield from growing_cases()
    yield from wire_cases()


def external_cases(place: Place) -> Iterator[Case]:
    """Lead to weights outside."""
    secret = str(place.outside / "secret.bin")
    up = place.up("onnx/x", "secret.bin")
    places: dict[str, tuple[str, str, dict[str, str]]] = {
        "absolute": ("weights by an absolute path", secret, {}),
        "up": ("weights in a folder above", up, {}),
        "dots": ("weights above, by way of a folder", f"a/../{up}", {}),
        "backslash": ("weights above, written as Windows does", "..\\outside\\secret.bin", {}),
        "url": ("weights on the web", "https://example.org/weights.bin", {}),
        "empty": ("weights without a place", "", {}),
        "nul": ("weights in a place with a NUL", "w\0.bin", {}),
        "missing": ("weights that are not there", "nowhere.bin", {}),
        "folder": ("weights that are a folder", ".", {}),
        "itself": ("weights that are the graph itself", "external-itself.onnx", {"offset": "0", "length": "48"}),
        "link": ("weights that are a link to the outside", "link.data", {}),
        "hard": ("weights that are a hard link to the outside", "hard.data", {}),
        "pipe": ("weights that are a pipe", "pipe.data", {}),
        "device": ("weights that are a device", "device.data", {}),
        "process": ("weights that are a process", "/proc/self/mem", {}),
    }
    beside: dict[str, Callable[[Path], object]] = {
        "link.data": lambda path: path.symlink_to(secret),
        "hard.data": lambda path: os.link(place.outside / "linked.bin", path),
        "pipe.data": os.mkfifo,
        "device.data": lambda path: path.symlink_to("/dev/zero"),
    }
    for trick, (why, location, more) in places.items():
        content = with_external(23, external("0.weight", location, **more))
        write = _with(content, location, beside.get(location))
        becomes = ANY if trick in ("itself", "hard") else ("refused",)
        yield Case(
            f"onnx/external-{trick}.onnx",
            why,
            write,
            becomes,
            parts=(f"onnx/{location}",) if location in beside else (),
        )
    ranges = {
        "offset": ("weights from before their file", {"offset": "-8"}),
        "far": ("weights from behind their file", {"offset": str(1 << 62)}),
        "length": ("more weights than there are", {"length": str(1 << 62)}),
        "words": ("weights from a place in words", {"offset": "0x10", "length": "ten"}),
        "digits": ("weights from a place of 100,000 digits", {"offset": "9" * 100_000}),
        "short": ("fewer weights than the shape says", {"length": "4"}),
    }
    data = lambda path: path.write_bytes(bytes(48))  # noqa: E731
    for trick, (why, more) in ranges.items():
        content = with_external(24, external("0.weight", f"{trick}.data", **more))
        yield Case(
            f"onnx/range-{trick}.onnx", why, _with(content, f"{trick}.data", data), parts=(f"onnx/{trick}.data",)
        )
    constant = helper.make_node("Constant", [], ["c"], value=external("c", secret, (1, 6)))
    (first, _, last), weights = mlp_parts(25)
    hidden = [first, constant, helper.make_node("Add", ["a", "c"], ["b"]), last]
    yield Case(
        "onnx/external-constant.onnx",
        "weights outside, named by a constant",
        model(graph(hidden, weights)).SerializeToString(),
    )
    sparse = onnx.SparseTensorProto(
        values=external("s", secret, (1,)), indices=external("i", secret, (1,)), dims=[6, 2]
    )
    nodes, weights = mlp_parts(25)
    yield Case(
        "onnx/external-sparse.onnx",
        "weights outside, in a sparse tensor",
        model(graph(nodes, weights[1:], sparse_initializer=[sparse])).SerializeToString(),
    )
    honest = with_external(26, external("0.weight", "weights.data", offset="0", length="48"))
    put = lambda path: path.write_bytes(network(26)["0.weight"].tobytes())  # noqa: E731
    yield Case(
        "honest/outer.onnx",
        "weights in a file beside",
        _with(honest, "weights.data", put),
        READ,
        parts=("honest/weights.data",),
    )


def _with(content: bytes, name: str, beside: Callable[[Path], object] | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
        if beside is not None:
            beside(path.parent / name)

    return write


def shape_cases() -> Iterator[Case]:
    """Claim weights and inputs that cannot be."""
    raw = network(27)["0.weight"].tobytes()
    weights: dict[str, tuple[str, dict[str, Any]]] = {
        "no-data": ("a weight of terabytes without a byte", {"dims": [1 << 40, 2], "data_type": FLOAT}),
        "short": (
            "a weight of fewer numbers than its shape",
            {"dims": [6, 2], "data_type": FLOAT, "raw_data": raw[:20]},
        ),
        "ragged": ("a weight of half a number", {"dims": [6, 2], "data_type": FLOAT, "raw_data": raw[:-1]}),
        "negative": ("negative lengths", {"dims": [-6, -2], "data_type": FLOAT, "raw_data": raw}),
        "overflow": (
            "lengths whose product overflows",
            {"dims": [1 << 33, 1 << 33], "data_type": FLOAT, "raw_data": b""},
        ),
        "both": ("numbers twice", {"dims": [6, 2], "data_type": FLOAT, "raw_data": raw, "float_data": [1.0] * 12}),
        "kind": ("a kind of number that there is not", {"dims": [6, 2], "data_type": 999, "raw_data": raw}),
        "undefined": ("no kind of number", {"dims": [6, 2], "data_type": 0, "raw_data": raw}),
        "texts": ("texts as weights", {"dims": [1], "data_type": TensorProto.STRING, "string_data": [b"\xff\xfe"]}),
        "axes": ("a thousand axes", {"dims": [1] * 1000, "data_type": FLOAT, "raw_data": raw[:4]}),
        "segment": (
            "a piece of a weight",
            {"dims": [6, 2], "data_type": FLOAT, "raw_data": raw, "segment": TensorProto.Segment(begin=5, end=1 << 60)},
        ),
        "giant-empty": (
            "no numbers, but lengths that overflow",
            {"dims": [1 << 60, 1 << 60, 0], "data_type": FLOAT, "raw_data": b""},
        ),
    }
    for trick, (why, fields) in weights.items():
        becomes = ANY if trick in ("both", "segment") else ("refused",)
        yield Case(f"onnx/weight-{trick}.onnx", why, with_weight(27, **fields), becomes)
    nodes, held = mlp_parts(28)
    x, other = (helper.make_tensor_value_info(name, FLOAT, ["batch", 2]) for name in ("x", "other"))
    sequence = helper.make_tensor_sequence_value_info("x", FLOAT, [2])
    optional = onnx.ValueInfoProto(
        name="x", type=helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    )
    inputs: dict[str, tuple[str, list[onnx.ValueInfoProto]]] = {
        "two": ("two inputs", [x, other]),
        "none": ("no input", []),
        "sequence": ("a sequence as its input", [sequence]),
        "optional": ("an input that need not be", [optional]),
        "texts": ("texts as its input", [helper.make_tensor_value_info("x", TensorProto.STRING, ["batch", 2])]),
        "negative": ("an input of negative length", [helper.make_tensor_value_info("x", FLOAT, [-1, -2])]),
        "vast": ("an input of terabytes", [helper.make_tensor_value_info("x", FLOAT, ["batch", 1 << 40])]),
        "axes": ("an input of a hundred axes", [helper.make_tensor_value_info("x", FLOAT, ["batch", *[2] * 100])]),
    }
    for trick, (why, given) in inputs.items():
        yield Case(f"onnx/input-{trick}.onnx", why, model(graph(nodes, held, inputs=given)).SerializeToString())
    outputs = {"none": [], "lost": [helper.make_tensor_value_info("nowhere", FLOAT, None)]}
    for trick, given in outputs.items():
        yield Case(
            f"onnx/output-{trick}.onnx",
            "no output, or one that no node makes",
            model(graph(nodes, held, outputs=given)).SerializeToString(),
        )
    cycle = [nodes[0], helper.make_node("Add", ["a", "c"], ["b"]), helper.make_node("Tanh", ["b"], ["c"]), nodes[2]]
    yield Case("onnx/cycle.onnx", "nodes that wait for one another", model(graph(cycle, held)).SerializeToString())
    twice = [nodes[0], helper.make_node("Tanh", ["a"], ["b"]), helper.make_node("Relu", ["a"], ["b"]), nodes[2]]
    yield Case("onnx/twice.onnx", "two nodes that make the same tensor", model(graph(twice, held)).SerializeToString())
    yield Case(
        "onnx/opset.onnx",
        "operators of a far future",
        model(graph(nodes, held), [helper.make_opsetid("", 10**9)]).SerializeToString(),
    )
    names = {
        "escape": ("names that would move the cursor", "\x1b[2J\x1b]0;owned\x07"),
        "path": ("names that are paths", "../../../etc/passwd"),
        "newline": ("names of several lines", "a\nerror: all is lost\nhint: run this"),
        "long": ("names of a million letters", "n" * 1_000_000),
        "nul": ("names with a NUL", "w\0"),
    }
    for trick, (why, name) in names.items():
        named = [helper.make_node("Gemm", ["x", name, "0.bias"], ["a"], name=name, transB=1), *nodes[1:]]
        first = numpy_helper.from_array(network(28)["0.weight"], name)
        yield Case(f"onnx/name-{trick}.onnx", why, model(graph(named, [first, *held[1:]])).SerializeToString(), ANY)


def growing_cases() -> Iterator[Case]:
    """Be small as a file and vast when run, or never end when run."""
    large = numpy_helper.from_array(np.array([1, 1 << 20, 1 << 20], np.int64), "n")
    grown = {
        "fill": helper.make_node("ConstantOfShape", ["n"], ["b"]),
        "expand": helper.make_node("Expand", ["a", "n"], ["b"]),
        "tile": helper.make_node("Tile", ["a", "two"], ["b"]),
        "random": helper.make_node("RandomNormal", [], ["b"], shape=[1 << 20, 1 << 20]),
        "one-hot": helper.make_node("OneHot", ["n", "depth", "values"], ["b"]),
    }
    more = [
        large,
        numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "two"),
        numpy_helper.from_array(np.array(1 << 40), "depth"),
        numpy_helper.from_array(np.array([0, 1], np.float32), "values"),
    ]
    for trick, node in grown.items():
        yield Case(f"onnx/grows-{trick}.onnx", "tensors of terabytes when it is run", with_node(29, node, *more))
    counts = [numpy_helper.from_array(np.array(n), name) for name, n in (("first", 0), ("last", 1 << 60), ("step", 1))]
    yield Case(
        "onnx/grows-range.onnx",
        "a range of 2^60 numbers",
        with_node(29, helper.make_node("Range", ["first", "last", "step"], ["b"]), *counts),
    )
    (first, _, last), weights = mlp_parts(29)
    doubling = [
        first,
        *(helper.make_node("Concat", [f"d{n}" if n else "a"] * 2, [f"d{n + 1}"], axis=0) for n in range(50)),
    ]
    doubling.append(helper.make_node("Identity", ["d50"], ["b"]))
    yield Case(
        "onnx/grows-doubling.onnx",
        "a tensor doubled fifty times",
        model(graph([*doubling, last], weights)).SerializeToString(),
        limited=True,
    )
    many = [first, *(helper.make_node("Tanh", [f"t{n}" if n else "a"], [f"t{n + 1}"]) for n in range(120_000))]
    many.append(helper.make_node("Identity", ["t120000"], ["b"]))
    yield Case(
        "onnx/many-nodes.onnx",
        "120,000 nodes",
        model(graph([*many, last], weights)).SerializeToString(),
        ANY,
        limited=True,
    )


def wire_cases() -> Iterator[Case]:
    """Break or overstretch the encoding itself."""
    nodes, weights = mlp_parts(30)
    good = model(graph(nodes, weights)).SerializeToString()
    nested = b""
    for _ in range(5000):
        nested = b"\x3a" + varint(len(nested)) + nested
    groups = b"\x7b" * 200_000
    yield Case("onnx/cut.onnx", "cut in half", good[: len(good) // 2])
    yield Case("onnx/nested.onnx", "5,000 graphs in one another", b"\x08\x08" + nested)
    yield Case("onnx/groups.onnx", "200,000 groups in one another", good + groups)
    yield Case("onnx/varint.onnx", "a number of 10,000 bytes", b"\x08" + b"\xff" * 10_000 + b"\x01")
    yield Case(
        "onnx/varints.onnx", "a million lengths of a weight", good + field(7, field(5, field(1, b"\x01" * 1_000_000)))
    )
    yield Case("onnx/length.onnx", "a graph that declares exabytes", b"\x08\x08\x3a" + b"\xff" * 8 + b"\x7f")
    yield Case(
        "onnx/metadata.onnx",
        "a graph and nothing but words",
        good + b"".join(field(14, field(1, b"k%d" % n) + field(2, b"v")) for n in range(20_000)),
        ANY,
    )
    yield Case("onnx/merged.onnx", "two graphs, which protobuf makes one", good + good, ANY)
    yield Case("onnx/not-utf8.onnx", "names that are no Unicode", good.replace(b"0.weight", b"\xff\xfe\x80weig"), ANY)
    yield Case("onnx/no-graph.onnx", "no graph", b"\x08\x08\x12\x04evil")
    yield Case("onnx/empty-graph.onnx", "an empty graph", model(graph([], [])).SerializeToString())


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def honest() -> Iterator[Case]:
    """Write what exporters write."""
    yield Case("honest/mlp.onnx", "an MLP", model(graph(*mlp_parts(53))).SerializeToString(), READ)
    why = "what the hostile ones are made from"
    raw = network(27)["0.weight"].tobytes()
    yield Case("base/node.onnx", why, with_node(60, helper.make_node("Tanh", ["a"], ["b"])), ANY, reads=True)
    yield Case("base/weight.onnx", why, with_weight(27, dims=[6, 2], data_type=FLOAT, raw_data=raw), ANY, reads=True)


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest()
    yield from onnx_cases(place)
