"""Follow where rows lie through an ONNX graph that takes a fixed number of them at once.

What such a graph gives for further rows is put together there, as if it had run on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np
import onnx

from .onnx_graph import Graph, attribute
from .onnx_run import Run, Seen

_RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


class RowsAt(NamedTuple):
    """The axis on which rows lie, and how many values of that axis each of them is apart: 1 where it is theirs."""

    axis: int
    outer: int = 1


def rows_at(graph: Graph, seen: Seen, *, group: int) -> dict[str, RowsAt]:
    """Tell for the values that move with the rows where these lie; first where that is not known."""
    run = Run(graph, seen)
    found = {graph.feed.name: RowsAt(0)}
    for node in graph.nodes:
        for value in node.output:
            if value in run.moving:
                found[value] = _after(run, node, value, found, group)
    return found


def join(parts: Sequence[np.ndarray], at: RowsAt, *, rows: int, group: int) -> np.ndarray:
    """Put together what groups of rows gave, without what filled up the last group.

    What does not hold as many rows as it should is given as the first group gave it.
    """
    shape = parts[0].shape
    if (len(parts) == 1 and rows == group) or not shape:
        return parts[0]
    before = prod(shape[: at.axis]) * at.outer
    if before < 1 or parts[0].size % (before * group):
        return parts[0]
    whole = np.concatenate([part.reshape(before, group, -1) for part in parts], axis=1)[:, :rows]
    return whole.reshape(scaled(shape, at, rows=rows, group=group))


def scaled(shape: Sequence[int], at: RowsAt, *, rows: int, group: int) -> tuple[int, ...]:
    """Tell the shape that a value has for all rows by that for a group of them."""
    if not shape:
        return ()
    axis = min(at.axis, len(shape) - 1)
    return (*shape[:axis], shape[axis] * rows // group, *shape[axis + 1 :])


def _after(run: Run, node: onnx.NodeProto, value: str, known: dict[str, RowsAt], group: int) -> RowsAt:
    moving = [name for name in node.input if name in known]
    if not moving:
        return RowsAt(0)
    given, shape = run.shape(moving[0]), run.shape(value)
    at = known[moving[0]]
    if node.op_type in _RESHAPES:
        return _reshaped(prod(given[: at.axis]) * at.outer, shape, group)
    if node.op_type == "Transpose":
        order = [int(place) for place in attribute(node, "perm", range(len(given))[::-1])]
        return RowsAt(order.index(at.axis), at.outer) if at.axis in order else RowsAt(0)
    gone = _gone(run, node, len(given)) if len(shape) < len(given) else []
    if gone:
        left = at.axis - sum(place < at.axis for place in gone)
        return RowsAt(0) if at.axis in gone else RowsAt(left, at.outer)
    if node.op_type == "Gather":
        return at
    widest = max(moving, key=lambda name: len(run.shape(name)))
    behind = len(run.shape(widest)) - known[widest].axis
    return RowsAt(max(len(shape) - behind, 0), known[widest].outer)


def _reshaped(before: int, shape: tuple[int, ...], group: int) -> RowsAt:
    """Find rows in a new shape: as many values stand before them as did, on an axis of their own if there is one.

    Rows that share the last axis with units would make more units of them: then they share the one before it.
    """
    fronts = [prod(shape[:place]) for place in range(len(shape))]
    for place, front in enumerate(fronts):
        if front == before and shape[place] == group:
            return RowsAt(place)
    for place in reversed(range(len(shape))):
        if fronts[place] and before % fronts[place] == 0 and fronts[place] <= before:
            outer = before // fronts[place]
            last = outer == 1 and place == len(shape) - 1 and place > 0
            return RowsAt(place - 1, shape[place - 1]) if last else RowsAt(place, outer)
    return RowsAt(0)


def _gone(run: Run, node: onnx.NodeProto, rank: int) -> list[int]:
    """List the axes that a node takes away."""
    if node.op_type == "Gather":
        return [int(attribute(node, "axis", 0)) % rank]
    if node.op_type.startswith("Reduce") or node.op_type in ("ArgMax", "ArgMin"):
        axes = run.settings(node, "axes", 1) if node.op_type.startswith("Reduce") else [int(attribute(node, "axis", 0))]
        return [place % rank for place in axes] if axes is not None else list(range(rank))
    return []
