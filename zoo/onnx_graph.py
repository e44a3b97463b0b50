"""Read an ONNX graph as data: nodes, constants, what goes in and what comes out. Programs are refused.

Codes, beside those of checkpoint.py: operator (one that ONNX does not have, or that is not for networks of
numbers), inputs (more than one, or of an odd kind).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .checkpoint import LONGEST_NAME, MOST_TENSORS
from .errors import Refused
from .onnx_tensor import LARGEST, NUMBERS, Constant, constant_of, wanted_by
from .store import open_regular
from .weights import MOST_AXES, Place
from .wire import outline

MOST_NODES = 20_000
LARGEST_ROW = 1 << 30
PLAIN = ("", "ai.onnx")
PROGRAMS = frozenset({"Loop", "If", "Scan", "SequenceMap"})
_NO_NUMBERS = (
    "Sequence",
    "Optional",
    "String",
    "SplitToSequence",
    "ConcatFromSequence",
    "RegexFullMatch",
    "ImageDecoder",
)
"""Beginnings of operators that work on sequences, texts and files."""
_MICROSOFT = frozenset({"Gelu", "FastGelu", "QuickGelu", "BiasGelu", "FusedMatMul", "FusedGemm", "FusedConv"})
"""Operators of onnxruntime's own that optimisers write, and that only compute."""
_FEEDS = frozenset({"f4", "f8", "f2", "i8", "i4", "u1"})
_VALUES = ("value", "value_float", "value_floats", "value_int", "value_ints")
_HINT = "get the file again, or export it again"
_PLAIN_EXPORT = "export the network itself in eval mode, without control flow, to plain ONNX operators"


@dataclass(frozen=True, slots=True)
class Feed:
    """What a graph takes: the name, the kind of its numbers, the shape with None for lengths that are left open."""

    name: str
    kind: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A graph that was checked: its nodes in an order in which they can run, constants by the name of their value.

    `model` is the message itself, without the numbers of its initialisers. Nodes that only hold a constant are
    left out of `nodes`.
    """

    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Constant]
    feed: Feed
    outputs: tuple[str, ...]
    opset: int


def read_graph(path: Path, beside: Mapping[str, Path]) -> Graph:
    """Read and check a graph.

    Raises Wanted for the files that hold its weights, and Refused (truncated, damaged, bomb, program, operator,
    inputs, outside, layout, dtype).
    """
    with open_regular(path) as file:
        found = outline(file)
        size = os.fstat(file.fileno()).st_size
    model = _parse(found.content)
    opset = _check_model(model)
    graph = model.graph
    for node in graph.node:
        _check_node(node, opset)
    holders = [node for node in graph.node if node.op_type == "Constant" and node.domain in PLAIN]
    values = {node.output[0]: _value(node) for node in holders}
    held = [value for value in values.values() if isinstance(value, onnx.TensorProto)]
    wanted_by([*graph.initializer, *held], beside)
    cuts = dict(zip((tensor.name for tensor in graph.initializer), found.numbers, strict=True))
    if len(cuts) != len(graph.initializer):
        raise _damaged("two initialisers have one name")
    constants = {
        **{t.name: constant_of(t, path=path, beside=beside, cut=cuts[t.name]) for t in graph.initializer},
        **{name: _as_constant(value, path, beside) for name, value in values.items()},
    }
    _check_sizes(constants, size, beside)
    nodes = tuple(node for node in graph.node if not (node.op_type == "Constant" and node.domain in PLAIN))
    feed = _feed(graph, constants)
    outputs = _outputs(graph, nodes, {feed.name, *constants})
    return Graph(model, nodes, constants, feed, outputs, opset)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Give a number, a text or a list of numbers that a node declares."""
    for found in node.attribute:
        if found.name == name:
            value = onnx.helper.get_attribute_value(found)
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return default


def _parse(content: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        return model
    except MemoryError:
        raise
    except Exception:  # protobuf's kinds of errors depend on how it was built
        raise Refused("damaged", "is not the ONNX file it seems to be", hint=_HINT) from None


def _check_model(model: onnx.ModelProto) -> int:
    """Check what stands around the graph and give the version of the operators."""
    if model.functions:
        hint = "write them out: onnx.save(onnx.inliner.inline_local_functions(onnx.load(FILE)), FILE)"
        raise Refused("program", "defines operators of its own", hint=hint)
    if len(model.training_info):
        raise Refused("program", "holds a program that trains it", hint=_PLAIN_EXPORT)
    if len(model.graph.sparse_initializer):
        raise Refused("layout", "holds sparse tensors", hint="export it again with dense weights")
    if len(model.graph.node) > MOST_NODES or len(model.graph.initializer) > MOST_TENSORS:
        raise Refused("bomb", "has far too many nodes or tensors", hint=_HINT)
    if not len(model.graph.node):
        raise Refused("no-tensors", "has a graph without nodes", hint=_HINT)
    versions = [entry.version for entry in model.opset_import if entry.domain in PLAIN]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not 0 < versions[0] <= newest:
        hint = f"export it again for a version of the operators up to {newest}"
        raise Refused("operator", f"is made for version {versions[:1]} of the ONNX operators", hint=hint)
    return int(versions[0])


def _check_node(node: onnx.NodeProto, opset: int) -> None:
    kind = node.op_type[:80]
    if any(len(value) > LONGEST_NAME for value in (*node.input, *node.output, node.name)):
        raise Refused("bomb", "has names that are far too long", hint=_HINT)
    if node.op_type in PROGRAMS and node.domain in PLAIN:
        raise Refused("program", f"holds a program: a node {kind}", hint=_PLAIN_EXPORT)
    for found in node.attribute:
        if found.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) or found.HasField("g"):
            raise Refused("program", f"holds a program: a graph within a node {kind}", hint=_PLAIN_EXPORT)
        if found.type not in _ATTRIBUTES or found.ref_attr_name:
            raise _damaged(f"a node {kind} has an attribute of an odd kind")
        if found.type == onnx.AttributeProto.TENSOR and kind != "Constant" and found.t.external_data:
            raise _damaged(f"a node {kind} has an attribute in another file")
    if not any(node.output):
        raise _damaged(f"a node {kind} gives nothing")
    if node.domain in PLAIN:
        _check_form(node, _schema(node, opset))
    elif node.domain != "com.microsoft" or node.op_type not in _MICROSOFT:
        raise _unknown(node)


def _schema(node: onnx.NodeProto, opset: int) -> Any:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        raise _unknown(node) from None
    if schema.deprecated or node.op_type.startswith(_NO_NUMBERS):
        raise _unknown(node)
    return schema


def _check_form(node: onnx.NodeProto, schema: Any) -> None:
    """Compare the numbers of inputs and outputs and the kinds of attributes with what the operator is to have."""
    counts = schema.min_input <= len(node.input) <= schema.max_input
    counts = counts and schema.min_output <= len(node.output) <= schema.max_output
    kinds = {name: int(found.type.value) for name, found in schema.attributes.items()}
    if not counts or any(kinds.get(found.name) != found.type for found in node.attribute):
        raise _damaged(f"a node {node.op_type} is not formed as that operator is")


def _unknown(node: onnx.NodeProto) -> Refused:
    owner = f" of {node.domain[:80]}" if node.domain else ""
    what = f"needs an operator that is not known here: {node.op_type[:80]}{owner}"
    return Refused("operator", what, hint=_PLAIN_EXPORT)


_ATTRIBUTES = frozenset(
    {
        onnx.AttributeProto.FLOAT,
        onnx.AttributeProto.INT,
        onnx.AttributeProto.STRING,
        onnx.AttributeProto.TENSOR,
        onnx.AttributeProto.FLOATS,
        onnx.AttributeProto.INTS,
        onnx.AttributeProto.STRINGS,
    }
)


def _value(node: onnx.NodeProto) -> onnx.TensorProto | np.ndarray:
    """Give what a node Constant holds."""
    found = [entry for entry in node.attribute if entry.name in _VALUES]
    if len(found) != 1 or len(node.attribute) != 1 or len(node.output) != 1 or len(node.input):
        raise Refused("layout", "holds a constant that is not a plain tensor", hint=_PLAIN_EXPORT)
    if found[0].name == "value":
        tensor: onnx.TensorProto = found[0].t
        return tensor
    kind = np.float32 if found[0].name.startswith("value_float") else np.int64
    return np.asarray(onnx.helper.get_attribute_value(found[0]), kind)


def _as_constant(value: onnx.TensorProto | np.ndarray, path: Path, beside: Mapping[str, Path]) -> Constant:
    if isinstance(value, np.ndarray):
        return Constant(value.dtype.str[1:], value.shape, value)
    return constant_of(value, path=path, beside=beside, cut={})


def _check_sizes(constants: Mapping[str, Constant], size: int, beside: Mapping[str, Path]) -> None:
    """Refuse many tensors that show the same numbers."""
    stored = size + sum(path.stat().st_size for path in beside.values())
    if sum(found.length for found in constants.values() if isinstance(found.stored, Place)) > 8 * stored + LARGEST_ROW:
        raise Refused("bomb", "shows the same numbers as far too many tensors", hint=_HINT)


def _feed(graph: onnx.GraphProto, constants: Mapping[str, Constant]) -> Feed:
    inputs = [given for given in graph.input if given.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(given.name[:40] for given in inputs[:5])
        what = f"takes {len(inputs)} inputs ({names})" if inputs else "takes no input"
        raise Refused("inputs", what, hint="export it with one input, the others as constants")
    (given,) = inputs
    tensor = given.type.tensor_type
    kind = NUMBERS.get(tensor.elem_type, "") if given.type.HasField("tensor_type") else ""
    if kind not in _FEEDS:
        raise Refused("inputs", f"takes {given.name[:40]}, which is no tensor of numbers", hint=_PLAIN_EXPORT)
    if not tensor.HasField("shape"):
        return Feed(given.name, kind, None)
    shape = tuple(_length(length) for length in tensor.shape.dim)
    if len(shape) > MOST_AXES or any(length is not None and not 0 < length < LARGEST for length in shape):
        raise Refused("inputs", f"takes {given.name[:40]} of an absurd shape", hint=_HINT)
    known = [length for length in shape if length is not None]
    if int(np.prod(known, dtype=np.float64)) > LARGEST_ROW:
        raise Refused("bomb", f"takes {given.name[:40]} of an absurd shape", hint=_HINT)
    return Feed(given.name, kind, shape)


def _length(length: Any) -> int | None:
    """Read a length; -1 stands for an open one in old files."""
    if not length.HasField("dim_value") or length.dim_value == -1:
        return None
    return int(length.dim_value)


def _outputs(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], given: set[str]) -> tuple[str, ...]:
    """Check that every value is made once, and before it is used; give those that come out."""
    made = set(given)
    for node in nodes:
        for value in node.input:
            if value and value not in made:
                raise _damaged(f"a node {node.op_type[:80]} uses what no node before it gives")
        _add_made(made, (value for value in node.output if value))
    outputs = tuple(output.name for output in graph.output if output.name not in given)
    if not outputs or not made.issuperset(outputs):
        raise _damaged("no node gives its output")
    return outputs


def _add_made(made: set[str], values: Iterable[str]) -> None:
    for value in values:
        if value in made:
            raise _damaged("two nodes give the same value")
        made.add(value)


def _damaged(why: str) -> Refused:
    return Refused("damaged", f"has a broken graph: {why}", hint=_HINT)
