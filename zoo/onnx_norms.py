"""Find normalisations that exporters write out in several nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from .onnx_graph import attribute
from .onnx_uses import Uses, key


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Nodes that together are one function: of which value, of which weights, and the nodes, the last one last."""

    function: str
    root: str
    nodes: tuple[onnx.NodeProto, ...]
    weights: tuple[str, ...] = ()


def normalisation(node: onnx.NodeProto, uses: Uses) -> Pattern | None:
    """Find a normalisation around the node that divides by the spread, or that normalises groups.

    Layer norms are over the last axis; RMS norms are without the mean; a group norm is an instance norm between
    two reshapes. Weights and biases that follow belong to it.
    """
    found = _group(node, uses) if node.op_type == "InstanceNormalization" else _last_axis(node, uses)
    if found is None:
        return None
    nodes, weights = list(found.nodes), list(found.weights)
    for op in ("Mul", "Add"):
        after = uses.only_taker(key(nodes[-1]))
        vector = _vector(after, key(nodes[-1]), uses) if after is not None and after.op_type == op else None
        if after is not None and vector is not None:
            nodes.append(after)
            weights.append(vector)
    if found.function == "group_norm" and len(weights) < 2:
        return None
    return Pattern(found.function, found.root, tuple(nodes), tuple(weights))


def _group(node: onnx.NodeProto, uses: Uses) -> Pattern | None:
    before, after = uses.maker.get(node.input[0]), uses.only_taker(key(node))
    if before is None or after is None or before.op_type != "Reshape" or after.op_type != "Reshape":
        return None
    return Pattern("group_norm", before.input[0], (before, node, after)) if uses.only_taker(key(before)) else None


def _last_axis(node: onnx.NodeProto, uses: Uses) -> Pattern | None:
    """Find (x - mean) / sqrt(mean of squares + epsilon) that ends here, or the same without the mean."""
    split = _quotient(node, uses)
    if split is None:
        return None
    value, (square, *outer) = split
    squared = _argument(square, uses)
    minus, other = uses.maker.get(value), uses.maker.get(squared or "")
    if squared is None or not (squared == value or _same(minus, other)):
        return None
    inner = [square, *outer]
    means = uses.maker.get(minus.input[1]) if minus is not None and minus.op_type == "Sub" else None
    if minus is None or means is None or not _is_mean(means, uses) or means.input[0] != minus.input[0]:
        return _closed("rms_norm", value, [*inner, node], uses)
    twin = [other] if other is not None and other is not minus else []
    return _closed("layer_norm", minus.input[0], [means, minus, *twin, *inner, node], uses)


def _quotient(node: onnx.NodeProto, uses: Uses) -> tuple[str, list[onnx.NodeProto]] | None:
    """Split a node into what is divided and the nodes that make the spread: squares, their mean, ..., the root."""
    for value, spread in ((0, 1), (1, 0))[: 1 if node.op_type == "Div" else 2]:
        if node.op_type not in ("Div", "Mul") or len(node.input) != 2:
            return None
        found: list[onnx.NodeProto] = []
        maker = uses.maker.get(node.input[spread])
        if node.op_type == "Mul":
            inverse = maker is not None and (maker.op_type == "Reciprocal" or _is_inverse(maker, uses))
            if maker is None or not inverse:
                continue
            found.append(maker)
            maker = uses.maker.get(maker.input[-1])
        for op in ("Sqrt", "Add", "ReduceMean"):
            if maker is None or maker.op_type != op or (op == "ReduceMean" and not _is_mean(maker, uses)):
                break
            found.append(maker)
            inputs = [name for name in maker.input if name and uses.scalar(name) is None]
            maker = uses.maker.get(inputs[0]) if inputs else None
        else:
            if maker is not None:
                return node.input[value], [maker, *found[::-1]]
    return None


def _is_inverse(node: onnx.NodeProto, uses: Uses) -> bool:
    return bool(node.op_type == "Div" and uses.scalar(node.input[0]) == 1.0)


def _argument(node: onnx.NodeProto, uses: Uses) -> str | None:
    """Give the value that a node squares."""
    if node.op_type == "Pow" and uses.scalar(node.input[1]) == 2.0:
        return str(node.input[0])
    return str(node.input[0]) if node.op_type == "Mul" and node.input[0] == node.input[1] else None


def _is_mean(node: onnx.NodeProto, uses: Uses) -> bool:
    """Tell a mean over the last axis alone."""
    if node.op_type != "ReduceMean":
        return False
    given = uses.constant(node.input[1]) if len(node.input) > 1 else None
    axes = attribute(node, "axes") if given is None else given.read().reshape(-1)
    return axes is not None and len(axes) == 1 and int(axes[0]) in (-1, 1, 2, 3)


def _same(one: onnx.NodeProto | None, other: onnx.NodeProto | None) -> bool:
    return one is not None and other is not None and one.op_type == other.op_type and one.input[:] == other.input[:]


def _closed(function: str, root: str, nodes: list[onnx.NodeProto], uses: Uses) -> Pattern | None:
    """Make a pattern of nodes, if nobody else uses what is between them."""
    names = {key(node) for node in nodes}
    for name in names - {key(nodes[-1])}:
        if name in uses.outputs or any(key(taker) not in names for taker in uses.takers.get(name, [])):
            return None
    return Pattern(function, root, tuple(nodes))


def _vector(node: onnx.NodeProto, value: str, uses: Uses) -> str | None:
    """Give the other input of a node, if it is a constant along one axis."""
    (other,) = [name for name in node.input if name != value] or [""]
    found = uses.constant(other)
    return other if found is not None and np.count_nonzero(np.array(found.shape) != 1) <= 1 else None
