"""Find what exporters write out in several nodes: activations, by what they compute, and normalisations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import erf

import numpy as np
import onnx
from jaxtyping import Float64

from .onnx_graph import attribute
from .onnx_norms import Pattern, normalisation
from .onnx_uses import Uses, key

FARTHEST = 8
"""How many values back what an activation is a function of is sought."""
MOST_PARTS, MOST_TRIED = 24, 5_000
_TOLERANCE = 1e-5
_POINTS = np.array([*np.linspace(-4.3, 4.1, 29), -12.0, -0.01, 0.02, 11.0])
Points = Float64[np.ndarray, " points"]


_ERF = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: Points) -> Points:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _gelu(x: Points) -> Points:
    return np.asarray(0.5 * x * (1 + _ERF(x / np.sqrt(2))))


_KNOWN: dict[str, tuple[Callable[[Points], Points], ...]] = {
    "silu": (lambda x: x * _sigmoid(x),),
    "gelu": (
        _gelu,
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        lambda x: x * _sigmoid(1.702 * x),
    ),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)),),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6,),
    "hardsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6,),
    "relu": (lambda x: np.maximum(x, 0),),
    "relu6": (lambda x: np.clip(x, 0, 6),),
    "hardtanh": (lambda x: np.clip(x, -1, 1),),
    "sigmoid": (_sigmoid,),
    "tanh": (np.tanh,),
    "softplus": (lambda x: np.logaddexp(0, x),),
    "logsigmoid": (lambda x: -np.logaddexp(0, -x),),
    "softsign": (lambda x: x / (1 + np.abs(x)),),
    "tanhshrink": (lambda x: x - np.tanh(x),),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),),
    "selu": (lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),),
}
_VALUES = {name: [function(_POINTS) for function in functions] for name, functions in _KNOWN.items()}

_ONE: dict[str, Callable[[Points], Points]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Erf": _ERF,
    "Exp": np.exp,
    "Log": np.log,
    "Softplus": lambda x: np.logaddexp(0, x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Identity": lambda x: x,
    "Cast": lambda x: x,
}
_TWO: dict[str, Callable[[Points, Points], Points]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Min": np.minimum,
    "Max": np.maximum,
}
_OWN = frozenset({"HardSigmoid", "HardSwish", "Clip", "Elu", "Selu", "LeakyRelu", "Mish", "Gelu"})
"""Elementwise operators with settings of their own."""
_BENT = frozenset({*_ONE, *_OWN, "Min", "Max"}) - {"Neg", "Reciprocal", "Identity", "Cast"}
"""Operators one of which there is in every activation."""


def patterns(uses: Uses) -> dict[str, Pattern]:
    """Find all patterns, by what their last node gives; none shares a node with another."""
    finder = _Activations(uses)
    found: dict[str, Pattern] = {}
    taken: set[str] = set()
    for search in (lambda node: normalisation(node, uses), finder.ending_at):
        for node in reversed(uses.graph.nodes):
            pattern = None if key(node) in taken else search(node)
            if pattern is not None and not any(key(part) in taken for part in pattern.nodes):
                found[key(pattern.nodes[-1])] = pattern
                taken.update(key(part) for part in pattern.nodes)
    return found


def activation_of(node: onnx.NodeProto, uses: Uses) -> str | None:
    """Name the activation that one node is, by what it computes."""
    if node.op_type not in {*_ONE, *_OWN} or len(node.output) != 1:
        return None
    with np.errstate(all="ignore"):
        return _named(_compute(node, uses, {node.input[0]: _POINTS}))


class _Activations:
    """Nodes that work element by element on one value and on single numbers, however many there are of them.

    `_straight` counts, for what such nodes give, the nodes since the last one that bends.
    """

    def __init__(self, uses: Uses) -> None:
        self._uses = uses
        self._tried = 0
        self._roots: dict[str, tuple[str, ...]] = {}
        self._straight: dict[str, int] = {}
        for node in uses.graph.nodes:
            if _is_elementwise(node):
                self._roots[node.output[0]] = self._roots_of(node)
                before = [self._straight.get(value, FARTHEST) for value in node.input if value]
                self._straight[node.output[0]] = 0 if node.op_type in _BENT else 1 + min(before, default=FARTHEST)

    def _roots_of(self, node: onnx.NodeProto) -> tuple[str, ...]:
        """List the values that a node's result is a function of alone, the nearest first."""
        moving = [value for value in dict.fromkeys(node.input) if value and self._uses.scalar(value) is None]
        if not moving or any(self._uses.constant(value) is not None for value in moving):
            return ()
        (first, *rest) = [(value, *self._roots.get(value, ())) for value in moving]
        return tuple(root for root in first if all(root in other for other in rest))[:FARTHEST]

    def ending_at(self, node: onnx.NodeProto) -> Pattern | None:
        """Find an activation whose last node this is: of all ways to read it, the one of the fewest nodes."""
        if node.op_type not in _TWO and node.op_type not in ("Clip", "Neg", "Log"):
            return None
        if self._straight.get(node.output[0], 0) >= FARTHEST or self._tried > MOST_TRIED:
            return None
        for root in self._roots.get(node.output[0], ()):
            self._tried += 1
            inner = self._between(root, node)
            if inner is None or not any(part.op_type in _BENT for part in inner) or len(inner) < 2:
                continue
            with np.errstate(all="ignore"):
                name = self._name(root, inner)
            if name is not None:
                return Pattern(name, root, tuple(inner))
        return None

    def _between(self, root: str, last: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """List the nodes from a value to a node in their order; None where others use what is between."""
        found, waiting = {key(last): last}, [last]
        while waiting:
            for value in waiting.pop().input:
                maker = self._uses.maker.get(value)
                if value == root or maker is None or self._uses.scalar(value) is not None:
                    continue
                if key(maker) not in found:
                    found[key(maker)] = maker
                    waiting.append(maker)
                if len(found) > MOST_PARTS:
                    return None
        for name, node in found.items():
            takers = self._uses.takers.get(name, [])
            outside = name in self._uses.outputs or any(key(taker) not in found for taker in takers)
            if node is not last and outside:
                return None
        return list(self._ordered(found))

    @staticmethod
    def _ordered(found: dict[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Give nodes in an order in which they can run."""
        waiting = dict(found)
        while waiting:
            ready = [name for name, node in waiting.items() if not any(value in waiting for value in node.input)]
            for name in ready:
                yield waiting.pop(name)

    def _name(self, root: str, nodes: list[onnx.NodeProto]) -> str | None:
        values = {root: _POINTS}
        for node in nodes:
            computed = _compute(node, self._uses, values)
            if computed is None:
                return None
            values[node.output[0]] = computed
        return _named(values[nodes[-1].output[0]])


def _is_elementwise(node: onnx.NodeProto) -> bool:
    return (node.op_type in _ONE or node.op_type in _TWO or node.op_type in _OWN) and len(node.output) == 1


def _named(values: Points | None) -> str | None:
    if values is None or not np.isfinite(values).all():
        return None
    for name, expected in _VALUES.items():
        if any(np.allclose(values, points, rtol=_TOLERANCE, atol=_TOLERANCE) for points in expected):
            return name
    return None


def _compute(node: onnx.NodeProto, uses: Uses, values: dict[str, Points]) -> Points | None:
    """Compute what an elementwise node gives at the points; None where it needs what is not known."""
    given = [values[value] if value in values else uses.scalar(value) for value in node.input if value]
    if any(value is None for value in given) or not given:
        return None
    numbers = [np.broadcast_to(np.float64(value), _POINTS.shape) for value in given if value is not None]
    if node.op_type in _ONE:
        return _ONE[node.op_type](numbers[0])
    if node.op_type in _TWO and len(numbers) == 2:
        return _TWO[node.op_type](numbers[0], numbers[1])
    return _compute_own(node, numbers)


def _compute_own(node: onnx.NodeProto, numbers: list[Points]) -> Points | None:
    x, name = numbers[0], node.op_type
    if name == "Clip":
        lowest = float(attribute(node, "min", -np.inf))
        highest = float(attribute(node, "max", np.inf))
        low, high = [*numbers[1:], np.asarray(highest)][:2] if len(numbers) > 1 else (lowest, highest)
        return np.asarray(np.clip(x, low, high))
    if name == "HardSigmoid":
        return np.clip(float(attribute(node, "alpha", 0.2)) * x + float(attribute(node, "beta", 0.5)), 0, 1)
    if name == "Elu":
        return np.where(x > 0, x, float(attribute(node, "alpha", 1.0)) * np.expm1(np.minimum(x, 0)))
    if name in ("Selu", "HardSwish", "Mish", "Gelu"):
        return _KNOWN[name.lower()][0](x)
    return None
