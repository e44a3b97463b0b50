"""Tell the run of an ONNX graph as calls of torch functions, so that layers are found in it as in a module.

What exporters write out in several nodes is one call: a product and the sum with its bias, an activation, a
normalisation, a recurrent layer with what brings its states into torch's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from .onnx_graph import Graph, attribute
from .onnx_names import Names
from .onnx_patterns import patterns
from .onnx_rules import told
from .onnx_run import Run, Seen, Source
from .onnx_uses import key


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One step of a run: torch's function, the layer or block, its arguments, the value that it gives."""

    function: str
    module: str
    sources: tuple[Source, ...]
    value: str


def calls(graph: Graph, seen: Seen) -> list[Call]:
    """Tell a run, in its order."""
    return _Teller(graph, seen).tell()


class _Teller:
    def __init__(self, graph: Graph, seen: Seen) -> None:
        self.graph, self.run = graph, Run(graph, seen)
        self.uses = self.run.uses
        self.layers = Names(self.uses).layers
        self.patterns = patterns(self.uses)
        self.within = {key(part) for found in self.patterns.values() for part in found.nodes[:-1]}
        self.ends: dict[str, Call] = {}

    def tell(self) -> list[Call]:
        found: list[Call] = []
        for node in self.graph.nodes:
            if key(node) in self.ends:
                found.append(self.ends[key(node)])
            elif key(node) not in self.within and self.run.moving.intersection(node.output):
                found += self._tell_node(node)
        return [call for call in found if call.value in self.run.seen.shapes]

    def _tell_node(self, node: onnx.NodeProto) -> list[Call]:
        pattern = self.patterns.get(key(node))
        if pattern is not None:
            given = [pattern.root, *pattern.weights]
            sources = [self.run.tensor(value) for value in given]
            if pattern.function.endswith("_norm"):
                sources.insert(1, None)
            return [self._call(pattern.function, node, *sources)]
        if self.uses.is_linear(node) or self.uses.is_convolution(node):
            return self._layer(node)
        if node.op_type in ("LSTM", "GRU", "RNN"):
            return self._states(node)
        if node.op_type == "Split":
            return self._parts(node)
        name, sources = told(self.run, node)
        return [Call(name, self.uses.blocks[key(node)], tuple(sources), value) for value in node.output if value]

    def _call(self, function: str, node: onnx.NodeProto, *sources: Source) -> Call:
        return Call(function, self.uses.blocks[key(node)], sources, key(node))

    def _layer(self, node: onnx.NodeProto) -> list[Call]:
        """Tell a layer; where a node of its own adds the bias, that node ends it."""
        weight = self.uses.constant(node.input[1])
        assert weight is not None
        way = "_transpose" if node.op_type == "ConvTranspose" else ""
        function = "linear" if self.uses.is_linear(node) else f"conv{way}{len(weight.shape) - 2}d"
        shape = weight.shape[::-1] if function == "linear" and self.uses.transposed(node, 1) else weight.shape
        own = node.input[2] if len(node.input) > 2 and node.input[2] else None
        after = self.uses.bias_after(node)
        bias = own or (after[1] if after else None)
        last = node if after is None else after[0]
        sources = (
            self.run.tensor(node.input[0]),
            ["constant", list(shape), weight.kind],
            bias and self.run.tensor(bias),
        )
        call = Call(function, self.layers[key(node)], sources, key(last))
        if after is None or key(last) in self.within or key(last) in self.patterns:
            return [Call(function, call.module, sources[:2], key(node))] if after else [call]
        self.ends[key(last)] = call
        return []

    def _states(self, node: onnx.NodeProto) -> list[Call]:
        """Tell a recurrent layer; what brings its states into the order (steps, rows, units) ends it."""
        after = self.uses.only_taker(node.output[0]) if node.output[0] else None
        if after is not None and after.op_type == "Transpose" and list(attribute(after, "perm", [])) == [0, 2, 1, 3]:
            after = self.uses.only_taker(after.output[0])
            after = after if after is not None and after.op_type == "Reshape" else None
        elif after is not None and after.op_type != "Squeeze":
            after = None
        function = _cell(node)
        if after is None or function is None or len(self.run.seen.shapes.get(key(after), ())) != 3:
            return [self._call(f"onnx_{node.op_type.lower()}", node, self.run.tensor(node.input[0]))]
        self.ends[key(after)] = Call(function, self.layers[key(node)], (self.run.tensor(node.input[0]),), key(after))
        self.within.add(node.output[0] if after.op_type == "Squeeze" else after.input[0])
        return []

    def _parts(self, node: onnx.NodeProto) -> list[Call]:
        """Tell a split as one slice for each part."""
        shape = self.run.shape(node.input[0])
        axis = int(attribute(node, "axis", 0)) % max(len(shape), 1)
        found, start = [], 0
        for value in node.output:
            size = self.run.shape(value)[axis] if value and value in self.run.seen.shapes else 0
            index = ["tuple", *([["slice", None, None, None]] * axis), ["slice", start, start + size, 1]]
            if value:
                block = self.uses.blocks[key(node)]
                found.append(Call("getitem", block, (self.run.tensor(node.input[0]), index), value))
            start += size
        return found


def _cell(node: onnx.NodeProto) -> str | None:
    """Give torch's name of a recurrent layer; None for one that torch does not have."""
    used = {str(name) for name in map(_text, attribute(node, "activations", []))}
    if node.op_type == "RNN":
        return {"Tanh": "rnn_tanh", "Relu": "rnn_relu"}.get(next(iter(used)) if len(used) == 1 else "Tanh" * (not used))
    return node.op_type.lower() if used <= {"Sigmoid", "Tanh"} else None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
