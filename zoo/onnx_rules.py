"""Tell single nodes of an ONNX graph as calls of torch functions: the name and the arguments in torch's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import onnx

from .onnx_graph import attribute
from .onnx_patterns import activation_of
from .onnx_run import NUMBERS_AT, Run, Source

Told: TypeAlias = tuple[str, list[Source]]


def told(run: Run, node: onnx.NodeProto) -> Told:
    """Tell a node by torch's name of its operator, or by its own in small letters."""
    return _RULES.get(node.op_type, _plainly)(run, node)


def _plainly(run: Run, node: onnx.NodeProto) -> Told:
    """Tell a node by torch's name of its operator, or by its own, with the tensors that it takes."""
    name = activation_of(node, run.uses) or _NAMES.get(node.op_type, node.op_type.lower())
    sources = [run.tensor(value) for value in node.input]
    return name, sources[:1] if name == "to" else sources


def _reshape(run: Run, node: onnx.NodeProto) -> Told:
    return "reshape", [run.tensor(node.input[0]), ["shape"]]


def _expand(run: Run, node: onnx.NodeProto) -> Told:
    return "expand", [run.tensor(node.input[0]), ["shape"]]


def _permute(run: Run, node: onnx.NodeProto) -> Told:
    backwards = range(len(run.shape(node.input[0])))[::-1]
    order = [int(place) for place in attribute(node, "perm", backwards)]
    return "permute", [run.tensor(node.input[0]), ["tuple", *order]]


def _cat(run: Run, node: onnx.NodeProto) -> Told:
    rolled = _rolled(run, node)
    if rolled is not None:
        return "roll", rolled
    return "cat", [["list", *map(run.tensor, node.input)], int(attribute(node, "axis", 0))]


def _rolled(run: Run, node: onnx.NodeProto) -> list[Source] | None:
    """Find the two ends of a tensor that were put together the other way round, as shifted windows need them."""
    ends = [run.uses.maker.get(value) for value in node.input]
    if len(ends) != 2 or any(end is None or end.op_type != "Slice" for end in ends):
        return None
    (first, last), rank = ([end for end in ends if end is not None]), len(run.shape(node.output[0]))
    axis, at = int(attribute(node, "axis", 0)) % max(rank, 1), [_cut(run, end) for end in (first, last)]
    if first.input[0] != last.input[0] or at[0] is None or at[1] is None:
        return None
    length = run.shape(first.input[0])[axis]
    if [at[0][0], at[1][0]] != [axis, axis] or at[0][1:] != (at[1][2], length) or at[1][1] != 0:
        return None
    return [run.tensor(first.input[0]), ["tuple", -at[0][1]], ["tuple", axis]]


def _cut(run: Run, node: onnx.NodeProto) -> tuple[int, int, int] | None:
    """Tell of a slice along one axis which it is, where it begins and where it ends."""
    settings = [run.settings(node, name, place) for place, name in enumerate(("starts", "ends", "axes"), start=1)]
    steps = run.settings(node, "steps", 4)
    if any(found is None or len(found) != 1 for found in settings) or steps not in (None, [1]):
        return None
    (start,), (end,), (axis,) = (found for found in settings if found is not None)
    shape = run.shape(node.input[0])
    places = range(shape[axis])[start:end]
    return axis % len(shape), places.start, places.stop


def _softmax(run: Run, node: onnx.NodeProto) -> Told:
    axis = int(attribute(node, "axis", -1 if run.graph.opset >= 13 else 1))
    return _NAMES[node.op_type], [run.tensor(node.input[0]), axis]


def _reduce(run: Run, node: onnx.NodeProto) -> Told:
    axes = run.settings(node, "axes", 1)
    if axes is None:
        axes = list(range(len(run.shape(node.input[0]))))
    return _NAMES.get(node.op_type, node.op_type.lower()), [
        run.tensor(node.input[0]),
        ["tuple", *axes],
        bool(attribute(node, "keepdims", 1)),
    ]


def _slice(run: Run, node: onnx.NodeProto) -> Told:
    starts, ends = run.settings(node, "starts", 1), run.settings(node, "ends", 2)
    axes, steps = run.settings(node, "axes", 3), run.settings(node, "steps", 4)
    rank = len(run.shape(node.input[0]))
    if starts is None or ends is None or not rank:
        return "slice", [run.tensor(node.input[0])]
    items: list[Source] = [["slice", None, None, None]] * rank
    places = axes if axes is not None else range(len(starts))
    for place, start, end, step in zip(places, starts, ends, steps or [1] * len(starts), strict=False):
        items[place % rank] = ["slice", start, end, step]
    return "getitem", [run.tensor(node.input[0]), ["tuple", *items]]


def _gather(run: Run, node: onnx.NodeProto) -> Told:
    axis = int(attribute(node, "axis", 0)) % max(len(run.shape(node.input[0])), 1)
    table, places = run.tensor(node.input[0]), run.tensor(node.input[1])
    if node.input[0] not in run.moving:
        return ("embedding", [places, table]) if axis == 0 else ("gather", [table, axis, places])
    known = run.whole(node, 1)
    if known is not None:
        places = known if isinstance(known, int) else ["index", known]
    return "getitem", [table, ["tuple", *([["slice", None, None, None]] * axis), places]]


def _elements(run: Run, node: onnx.NodeProto) -> Told:
    """GatherElements and ScatterElements."""
    first, *rest = (run.tensor(value) for value in node.input)
    sums = attribute(node, "reduction", "none") == "add"
    name = "gather" if node.op_type == "GatherElements" else "scatter_add" if sums else "scatter"
    return name, [first, int(attribute(node, "axis", 0)), *rest]


def _pool(run: Run, node: onnx.NodeProto) -> Told:
    sides = max(len(run.shape(node.input[0])) - 2, 1)
    return f"{_NAMES[node.op_type]}{sides}d", [run.tensor(node.input[0])]


def _norm(run: Run, node: onnx.NodeProto) -> Told:
    first, *rest = (run.tensor(value) for value in node.input)
    return _NAMES[node.op_type], [first, None, *rest]


def _einsum(run: Run, node: onnx.NodeProto) -> Told:
    return "einsum", [str(attribute(node, "equation", "")), *map(run.tensor, node.input)]


def _attention(run: Run, node: onnx.NodeProto) -> Told:
    four = len(run.shape(node.input[0])) == 4
    return "scaled_dot_product_attention" if four else "onnx_attention", [*map(run.tensor, node.input[:4])]


_RULES: dict[str, Callable[[Run, onnx.NodeProto], Told]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("GatherElements", "ScatterElements"), _elements),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), _pool),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization"), _norm),
    **dict.fromkeys([name for name in NUMBERS_AT if name.startswith("Reduce")], _reduce),
    "Expand": _expand,
    "Transpose": _permute,
    "Concat": _cat,
    "Slice": _slice,
    "Gather": _gather,
    "Einsum": _einsum,
    "Attention": _attention,
}
_NAMES = {
    "AveragePool": "avg_pool",
    "BatchNormalization": "batch_norm",
    "Cast": "to",
    "Clip": "clamp",
    "DepthToSpace": "pixel_shuffle",
    "Equal": "eq",
    "GlobalAveragePool": "adaptive_avg_pool",
    "GlobalMaxPool": "adaptive_max_pool",
    "Greater": "gt",
    "GroupNormalization": "group_norm",
    "Identity": "clone",
    "InstanceNormalization": "instance_norm",
    "LayerNormalization": "layer_norm",
    "LeakyRelu": "leaky_relu",
    "Less": "lt",
    "LogSoftmax": "log_softmax",
    "LpPool": "lp_pool",
    "Max": "maximum",
    "MaxPool": "max_pool",
    "Min": "minimum",
    "RMSNormalization": "rms_norm",
    "ReduceL1": "norm",
    "ReduceL2": "norm",
    "ReduceLogSumExp": "logsumexp",
    "ReduceMax": "amax",
    "ReduceMean": "mean",
    "ReduceMin": "amin",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "Resize": "interpolate",
    "Softmax": "softmax",
    "Upsample": "interpolate",
}
"""Torch's names of operators that it calls otherwise than in small letters."""
