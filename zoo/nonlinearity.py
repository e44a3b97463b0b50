"""Find where a layer's values stand before and after its nonlinearity, and which one that is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .graph import CONSTANT, NOTHING, Node
from .layer import ACTIVATIONS
from .step import CONVOLUTIONS, MOVES, NORMS, PASSED, RESHAPES

LINEAR = frozenset({"linear", "matmul", "mm", "addmm"}) | CONVOLUTIONS
AFFINE = frozenset({"add", "sub", "mul", "div", "truediv"})
SCATTERS = frozenset({"index_add", "scatter_add", "scatter_reduce", "scatter"})
SUMS = frozenset({"sum", "mean"}) | SCATTERS


def nonlinearity(nodes: Sequence[Node], start: int) -> tuple[int, int, str]:
    """Find the nonlinearity of a layer that gives one vector, or one map per channel, for each row.

    Before it stands what comes out of a norm, if one is between. A bias that was not the layer's own counts
    as the layer's.
    """
    pre = value = start
    activation = "identity"
    for index, node in _later(nodes, start):
        if value not in node.sources:
            continue
        direct = node.sources[0] == value
        if direct and node.function in ACTIVATIONS:
            return pre, index, node.function
        if direct and node.function in NORMS | PASSED:
            value = index
            pre = index if node.function in NORMS else pre
        elif value == start and node.function == "add" and _is_bias(nodes[start], node):
            pre = value = index
        elif node.function not in LINEAR:
            activation = "other"
    return pre, pre, activation


def nonlinearity_of_tokens(nodes: Sequence[Node], start: int, *, sums: Collection[int]) -> tuple[int, int, str]:
    """Find the nonlinearity of a layer that gives a vector for every place of a row.

    What is reshaped, moved, shifted or scaled by constants on the way is still the layer's. Sums over places,
    and those into a residual stream (`sums`), are linear steps.
    """
    pre = value = start
    activation, summed = "identity", False
    for index, node in _later(nodes, start):
        if value not in node.sources:
            continue
        direct = node.sources[0] == value
        if direct and node.function in ACTIVATIONS and not summed:
            return pre, index, node.function
        if (direct and node.function in NORMS | PASSED | RESHAPES | MOVES) or _is_affine(node):
            value = index
            pre = index if not summed and node.function in NORMS | AFFINE else pre
        elif node.function in SUMS:
            value, summed = index, True
        elif node.function not in LINEAR and index not in sums:
            activation = "other"
    return pre, pre, activation


def _later(nodes: Sequence[Node], start: int) -> list[tuple[int, Node]]:
    return list(enumerate(nodes))[start + 1 :]


def _is_bias(layer: Node, node: Node) -> bool:
    biased = len(layer.sources) > 2 and layer.sources[2] == CONSTANT
    return layer.function == "linear" and not biased and CONSTANT in node.sources


def _is_affine(node: Node) -> bool:
    """Tell whether a step shifts or scales one tensor by constants."""
    return node.function in AFFINE and sum(source not in (CONSTANT, NOTHING) for source in node.sources) == 1
