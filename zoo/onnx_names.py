"""Name the weights of an ONNX graph by the nodes that use them, as they were called where the graph was exported.

Exporters keep the names of most weights, and lose those that they transpose or fuse: "onnx::MatMul_123". Such a
weight belongs to the layer of its bias where that kept its name, else to the path of its node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx

from .onnx_graph import attribute
from .onnx_norms import normalisation
from .onnx_tensor import Constant
from .onnx_uses import Uses, key

_NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization")
_RECURRENT = ("LSTM", "GRU", "RNN")
_ROLES = {
    **{(op, 1): "weight" for op in ("Conv", "ConvTranspose", "Gemm", "MatMul", "PRelu", *_NORMS)},
    **{(op, 1): "weight" for op in ("RMSNormalization", "FusedConv", "FusedMatMul", "FusedGemm")},
    **{(op, 0): "weight" for op in ("MatMul", "Gather")},
    **{(op, 2): "bias" for op in ("Conv", "ConvTranspose", "Gemm", "FusedConv", "FusedGemm", *_NORMS)},
    ("BatchNormalization", 3): "running_mean",
    ("BatchNormalization", 4): "running_var",
    **{(op, place): role for op in _RECURRENT for place, role in ((1, "weight_ih"), (2, "weight_hh"), (3, "bias"))},
}
_ANONYMOUS = re.compile(
    r".*::.*|.*/.*|\d+|_*(val|value|const|constant|t|v|tmp|tensor|param|init|initializer|new|node|x)?_*\d*",
    re.IGNORECASE | re.DOTALL,
)
_ENDING = re.compile(r"(?P<layer>.+)(?P<mark>[._])(weight|kernel|bias)", re.DOTALL)
_FLOATS = frozenset({"f2", "bf2", "f4", "f8"})
_QUANTISED = frozenset({"i1", "u1"})
_LARGEST_FILLER = 1 << 16


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant of the graph as a weight: what to call it, whether to swap its two axes, a factor.

    A flat one has its units along one axis, whatever axes of length one stand around it in the graph.
    """

    constant: str
    name: str
    swapped: bool = False
    flat: bool = False
    factor: float = 1.0


class Names:
    """What layers and weights of a graph are called."""

    def __init__(self, uses: Uses) -> None:
        self._uses = uses
        self._taken: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self.layers: dict[str, str] = {}
        self.weights: dict[str, Weight] = {}
        inner = self._norm_weights()
        self._layer_weights(inner)
        self._other_weights()
        order = {constant: place for place, constant in enumerate(self._in_order())}
        self.weights = dict(sorted(self.weights.items(), key=lambda item: order[item[0]]))

    def _in_order(self) -> dict[str, None]:
        """List the constants in the order in which nodes use them."""
        origins = (self._uses.origins.get(value) for node in self._uses.graph.nodes for value in node.input)
        return dict.fromkeys(origin.constant for origin in origins if origin is not None)

    def _layer_weights(self, inner: set[str]) -> None:
        for node in self._uses.graph.nodes:
            if key(node) in inner or not any((node.op_type, place) in _ROLES for place in range(len(node.input))):
                continue
            roles = [*self._roles(node)]
            if not roles:
                continue
            layer, mark = self._layer(node, [value for value, _, _ in roles])
            self.layers[key(node)] = layer
            for value, role, place in roles:
                self._add(value, f"{layer}{mark}{role}", self._form(node, value, role, place))

    def _roles(self, node: onnx.NodeProto) -> Iterator[tuple[str, str, int]]:
        """Give the weights of a layer: value, role, place among the inputs (-1 for what the next node adds)."""
        for place, value in enumerate(node.input):
            role, found = _ROLES.get((node.op_type, place)), self._uses.constant(value)
            if role is not None and found is not None and _is_weight(found, role):
                yield value, role, place
        if self._uses.is_linear(node) or self._uses.is_convolution(node):
            after = self._uses.bias_after(node)
            if after is not None:
                yield after[1], "bias", -1

    def _layer(self, node: onnx.NodeProto, values: list[str]) -> tuple[str, str]:
        """Name a layer, and what stands between that and its weights' names."""
        for value in values:
            constant = self._uses.origins[value].constant
            own = _ENDING.fullmatch(constant)
            if own and not _ANONYMOUS.fullmatch(constant) and self._is_own(value):
                return own["layer"], own["mark"]
        layer, weight = self._uses.paths[key(node)], self._uses.origins[values[0]].constant
        if self._taken.setdefault(layer, weight) == weight:
            return layer, "."
        name = another(layer, self._taken, self._numbers)
        self._taken[name] = weight
        return name, "."

    def _is_own(self, value: str) -> bool:
        """Tell a constant of one layer from one that exporters let several share since its numbers are equal."""
        return len(self._uses.takers.get(self._uses.origins[value].constant, ())) == 1

    def _form(self, node: onnx.NodeProto, value: str, role: str, place: int) -> Weight:
        origin, linear = self._uses.origins[value], self._uses.is_linear(node)
        if place < 0 or role == "bias":
            factor = float(attribute(node, "beta", 1.0)) if node.op_type == "Gemm" and linear else 1.0
            return Weight(origin.constant, "", flat=linear or place < 0, factor=factor)
        found = self._uses.constant(value)
        swapped = found is not None and len(found.shape) == 2 and self._uses.transposed(node, place)
        factor = float(attribute(node, "alpha", 1.0)) if node.op_type == "Gemm" and linear else 1.0
        return Weight(origin.constant, "", swapped, factor=factor)

    def _add(self, value: str, name: str, form: Weight) -> None:
        if form.constant in self.weights:
            return
        if not _ANONYMOUS.fullmatch(form.constant) and not form.constant.endswith(":0"):
            name = form.constant
        self.weights[form.constant] = replace(form, name=name)

    def _norm_weights(self) -> set[str]:
        """Name the weights of normalisations that were written out in several nodes, and tell those nodes."""
        inner: set[str] = set()
        for node in self._uses.graph.nodes:
            pattern = normalisation(node, self._uses)
            if pattern is None or not pattern.weights:
                continue
            inner.update(key(part) for part in pattern.nodes)
            layer, mark = self._layer(pattern.nodes[-1], list(pattern.weights))
            for after, value in zip(pattern.nodes[-len(pattern.weights) :], pattern.weights, strict=True):
                role = "weight" if after.op_type == "Mul" else "bias"
                self._add(value, f"{layer}{mark}{role}", Weight(self._uses.origins[value].constant, "", flat=True))
        return inner

    def _other_weights(self) -> None:
        """Name floats with axes that are used in other ways: embeddings of places, scales, tokens."""
        for node in self._uses.graph.nodes:
            for value in node.input:
                origin = self._uses.origins.get(value)
                found = self._uses.constant(value)
                if origin is None or found is None or origin.constant in self.weights:
                    continue
                if found.kind in _FLOATS and found.shape and found.size > 1 and not _is_filler(origin.constant, found):
                    name = f"{self._uses.paths[key(node)]}.{node.name.rpartition('/')[2] or node.op_type}"
                    self._add(value, name, Weight(origin.constant, ""))


def weights_of(names: Names) -> list[Weight]:
    """List all weights, each under a name of its own."""
    taken: dict[str, str] = {}
    numbers: dict[str, int] = {}
    found = []
    for weight in names.weights.values():
        name = another(weight.name, taken, numbers) if weight.name in taken else weight.name
        taken[name] = weight.constant
        found.append(replace(weight, name=name))
    return found


def another(name: str, taken: Mapping[str, str], numbers: dict[str, int]) -> str:
    """Number a name that is taken; `numbers` remembers how far that went."""
    while True:
        numbers[name] = numbers.get(name, 1) + 1
        if f"{name}_{numbers[name]}" not in taken:
            return f"{name}_{numbers[name]}"


def _is_filler(name: str, found: Constant) -> bool:
    """Tell a nameless constant of one repeated number, such as the states that a recurrent layer begins with."""
    if not _ANONYMOUS.fullmatch(name) or found.size > _LARGEST_FILLER:
        return False
    values = found.read()
    return bool((values == values.flat[0]).all())


def _is_weight(found: Constant, role: str) -> bool:
    if found.kind in _QUANTISED:
        return role == "weight" and len(found.shape) > 1
    return found.kind in _FLOATS and bool(found.size)
