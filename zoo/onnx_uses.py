"""Who gives and who takes each value of an ONNX graph, which are constants in disguise, what nodes are called."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import onnx

from .onnx_graph import Graph, attribute
from .onnx_tensor import Constant

_PASSING = frozenset({"Identity", "Cast", "DequantizeLinear", "Transpose"})
_SCOPES = "pkg.torch.onnx.name_scopes"
_OPERATORS = frozenset(
    {"biasadd", "matmul", "conv1d", "conv2d", "conv3d", "depthwise", "tensordot", "fusedbatchnormv3", "add", "mul"}
)
"""What other libraries call operators, beside what ONNX calls them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The constant that a value comes from, with its two axes swapped or not."""

    constant: str
    swapped: bool


class Uses:
    """A graph with ways to go along its values."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = frozenset(graph.outputs)
        self.maker = {value: node for node in graph.nodes for value in node.output if value}
        self.takers: dict[str, list[onnx.NodeProto]] = {}
        self.origins = {name: Origin(name, False) for name in graph.constants}
        self._scalars: dict[str, float] = {}
        self.blocks: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        seen: Counter[str] = Counter()
        for node in graph.nodes:
            for value in node.input:
                self.takers.setdefault(value, []).append(node)
            origin = self.origins.get(node.input[0]) if node.input and node.op_type in _PASSING else None
            if origin is not None:
                swaps = node.op_type == "Transpose"
                self.origins[node.output[0]] = Origin(origin.constant, origin.swapped != swaps)
            block = self.blocks[key(node)] = block_of(node)
            self.paths[key(node)] = block or _lone(node, seen[node.op_type])
            seen[node.op_type] += 1

    def constant(self, value: str) -> Constant | None:
        """Give the constant behind a value."""
        origin = self.origins.get(value)
        return None if origin is None else self.graph.constants[origin.constant]

    def scalar(self, value: str) -> float | None:
        """Give the number that a value is, if it is one constant number."""
        origin, found = self.origins.get(value), self.constant(value)
        if origin is None or found is None or found.size != 1:
            return None
        if origin.constant not in self._scalars:
            self._scalars[origin.constant] = float(found.read().reshape(-1)[0])
        return self._scalars[origin.constant]

    def only_taker(self, value: str) -> onnx.NodeProto | None:
        """Give the node that takes a value, if it is the only one and the value is no output of the graph."""
        takers = self.takers.get(value, [])
        return takers[0] if len(takers) == 1 and value not in self.outputs else None

    def is_linear(self, node: onnx.NodeProto) -> bool:
        """Tell a product of something computed with constant weights of two axes."""
        if node.op_type not in ("MatMul", "Gemm") or attribute(node, "transA", 0):
            return False
        weight = self.constant(node.input[1])
        return weight is not None and len(weight.shape) == 2 and self.constant(node.input[0]) is None

    def is_convolution(self, node: onnx.NodeProto) -> bool:
        """Tell a convolution with constant weights."""
        weight = self.constant(node.input[1]) if node.op_type in ("Conv", "ConvTranspose") else None
        return weight is not None and 3 <= len(weight.shape) <= 5

    def transposed(self, node: onnx.NodeProto, place: int) -> bool:
        """Tell whether an input of a node must have its axes swapped to be (outputs, inputs) as the graph stores it."""
        swapped = self.origins[node.input[place]].swapped
        if not self.is_linear(node) or place != 1:
            return swapped
        return swapped == bool(attribute(node, "transB", 0))

    def units(self, node: onnx.NodeProto) -> int:
        """Tell how many units a linear layer or a convolution has."""
        weight = self.constant(node.input[1])
        assert weight is not None
        if node.op_type == "ConvTranspose":
            return weight.shape[1] * int(attribute(node, "group", 1))
        return weight.shape[1 if self.is_linear(node) and self.transposed(node, 1) else 0]

    def bias_after(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, str] | None:
        """Find the node that adds a constant to each unit of a layer without a bias, and the constants."""
        after = self.only_taker(node.output[0]) if len([value for value in node.input if value]) == 2 else None
        if after is None or after.op_type != "Add":
            return None
        (other,) = [value for value in after.input if value != node.output[0]] or [""]
        found, weight = self.constant(other), self.constant(node.input[1])
        if found is None or weight is None or found.size != self.units(node):
            return None
        behind = 0 if self.is_linear(node) else len(weight.shape) - 2
        shape = (1,) * (behind + 1) + found.shape
        return (after, other) if shape[len(shape) - 1 - behind] == found.size else None


def key(node: onnx.NodeProto) -> str:
    """Give the first value that a node makes, which no other makes."""
    return str(next(value for value in node.output if value))


def block_of(node: onnx.NodeProto) -> str:
    """Say in which module of its network a node stands; "" at the top, or where the exporter did not say."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
    if len(modules := re.findall(r"'([^']*)'", scopes[:4096])) > 1:
        return str(modules[-2])
    parts = [part for part in node.name.split("/") if part]
    if parts and _is_operator(parts[-1], node.op_type):
        parts.pop()
    found: list[str] = []
    for part in parts:
        if found and part.startswith(f"{found[-1]}."):  # torch: /blocks/blocks.0
            found.pop()
        found.append(part)
    return ".".join(found)


def _lone(node: onnx.NodeProto, number: int) -> str:
    """Name a node that stands in no module: by what it is called, else by its operator and number."""
    last = str(node.name.rpartition("/")[2])
    return last if last not in ("", node.op_type) else f"{node.op_type}_{number}"


def _is_operator(part: str, op: str) -> bool:
    base = re.sub(r"_\d+$", "", part).lower()
    return base == op.lower() or base in _OPERATORS
