"""A graph as it was seen to run: which values move with the rows, their shapes, and the numbers among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from .onnx_graph import Graph, attribute
from .onnx_tensor import NUMBERS
from .onnx_uses import Uses

Source: TypeAlias = Any
"""JSON: a number, a truth value, a text or None as it is; else a list of what it is and what is in it."""
LARGEST_INDEX = 1 << 16
_MEASURES = frozenset({"Shape", "Size"})
NUMBERS_AT = {
    "Slice": (1, 2, 3, 4),
    "Gather": (1,),
    **{f"Reduce{how}": (1,) for how in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare")},
}
"""Inputs whose values, not only shapes, tell where rows and units go."""
_TRUTHS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor", "IsNaN"})
_COUNTS = frozenset({"Shape", "Size", "ArgMax", "ArgMin", "NonZero"})


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was measured in a run: shapes of values, and the whole numbers that some of them are."""

    shapes: Mapping[str, tuple[int, ...]]
    numbers: Mapping[str, Any]


def to_measure(graph: Graph) -> tuple[list[str], list[str]]:
    """List the values whose shapes, and those whose numbers, must be seen in a run before it can be told."""
    moving = _moving(graph)
    shapes: dict[str, None] = {graph.feed.name: None}
    numbers: dict[str, None] = {}
    for node in graph.nodes:
        if not moving.intersection(node.output):
            continue
        shapes |= dict.fromkeys(value for value in (*node.input, *node.output) if value)
        places = [place for place in NUMBERS_AT.get(node.op_type, ()) if place < len(node.input)]
        numbers |= dict.fromkeys(node.input[place] for place in places if node.input[place] not in moving)
    made = {value for node in graph.nodes for value in node.output}
    return [value for value in shapes if value in made], [value for value in numbers if value in made]


class Run:
    """What calls are told of: the values of a graph as torch's arguments."""

    def __init__(self, graph: Graph, seen: Seen) -> None:
        self.graph, self.seen = graph, seen
        self.uses = Uses(graph)
        self.moving = _moving(graph)
        self.kinds = {graph.feed.name: graph.feed.kind, **{name: found.kind for name, found in graph.constants.items()}}
        for node in graph.nodes:
            self.kinds |= dict.fromkeys(node.output, self._kind(node))

    def _kind(self, node: onnx.NodeProto) -> str:
        """Tell what kind of numbers a node gives."""
        if node.op_type in _TRUTHS:
            return "b1"
        if node.op_type in _COUNTS:
            return "i8"
        if node.op_type == "Cast":
            return NUMBERS.get(int(attribute(node, "to", 1)), "f4")
        place = 1 if node.op_type == "Where" else 0
        return self.kinds.get(node.input[place], "f4") if len(node.input) > place else "f4"

    def tensor(self, value: str) -> Source:
        """Give an argument that is a tensor: a value of the run, or a constant of which the shape is enough."""
        if not value:
            return None
        if value in self.moving:
            return ["value", value]
        return ["constant", list(self.shape(value)), self.kinds.get(value, "f4")]

    def shape(self, value: str) -> tuple[int, ...]:
        """Give the shape of a value."""
        found = self.uses.constant(value)
        return found.shape if found is not None and value in self.graph.constants else self.seen.shapes.get(value, ())

    def whole(self, node: onnx.NodeProto, place: int) -> Any:
        """Give the whole numbers that an input is, as nested lists; None if they depend on the rows."""
        value = node.input[place] if place < len(node.input) else ""
        found = self.uses.constant(value)
        if found is None:
            return self.seen.numbers.get(value)
        return found.read().tolist() if found.size <= LARGEST_INDEX and found.kind[0] in "iu" else None

    def settings(self, node: onnx.NodeProto, name: str, place: int) -> list[int] | None:
        """Give whole numbers that are an attribute in older versions of an operator and an input in newer ones."""
        given = attribute(node, name)
        given = self.whole(node, place) if given is None else given
        return [int(number) for number in np.ravel(given)] if given is not None else None


def _moving(graph: Graph) -> set[str]:
    """Find the values that depend on what the graph is given, other than on its shape."""
    found = {graph.feed.name}
    for node in graph.nodes:
        if node.op_type not in _MEASURES and found.intersection(node.input):
            found.update(value for value in node.output if value)
    return found
