"""What layers do to axes: products with weights, norms, attention, pooling."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .symmetry_axes import Axes, fix, fresh, length, merge, split, unify
from .symmetry_call import Call, Rule, broadcast, each, fixed, listed, pieces, unknown


def _matmul(call: Call) -> Axes:
    *added, left, right = (call.known(tensor) for tensor in call.tensors)
    unify(left[-1], right[-2])
    for one, other in zip(left[:-2], right[:-2], strict=True):
        unify(one, other)
    return broadcast(call.result.shape, [(*left[:-1], right[-1]), *added])


def _of_experts(call: Call) -> Axes:
    """Multiply rows, in runs, with one matrix for each run."""
    left, right = (call.known(tensor) for tensor in call.tensors[:2])
    if (len(left), len(right)) != (2, 3):
        return unknown(call)
    fix(left[0], right[0])
    unify(left[1], right[1])
    return (left[0], right[2])


def _vector(call: Call) -> Axes:
    """Multiply with a vector: mv, addmv, dot."""
    *added, left, right = (call.known(tensor) for tensor in call.tensors)
    unify(left[-1], right[-1])
    return broadcast(call.result.shape, [left[:-1], *added])


def _convolution(call: Call) -> Axes:
    inputs, weight, groups = call.axes("input"), call.axes("weight"), call.given["groups"]
    channels, spare = inputs[1], call.given["transposed"]
    ins, outs = split(channels, (groups, length(channels) // groups)), weight[1 if spare else 0]
    if spare:
        unify(weight[0], channels)
        outs = merge([ins[0], outs])
    else:
        given = split(outs, (groups, length(outs) // groups))
        unify(ins[0], given[0])
        unify(ins[1], weight[1])
    fix(*weight[2:], *inputs[2:])
    if call.given["bias"] is not None:
        unify(outs, call.axes("bias")[0])
    return (inputs[0], outs, *fixed(call.result.shape[2:]))


def _recurrent(call: Call) -> Sequence[Axes]:
    """Run one recurrent layer in one call: gate by gate the same units."""
    inputs, *several = (call.axes(name) for name in ("input", "weight0", "weight1", "weight2", "weight3"))
    units, size = fresh(call.given["hidden_size"]), call.given["hidden_size"]
    for axes in several:
        for gate in pieces(axes[0], [size] * (length(axes[0]) // size)):
            unify(units, gate)
    unify(inputs[-1], several[0][1])
    for axes in (several[1], call.axes("hx_"), call.axes("cx_")):
        unify(units, axes[-1])
    fix(inputs[0])
    return [(*fixed(result.shape[:-1]), units) for result in call.results[:3]]


def _per_channel(call: Call) -> Sequence[Axes]:
    """Normalise every channel by numbers of its own; all one-dimensional tensors are of channels."""
    inputs, *others = (call.known(tensor) for tensor in call.tensors)
    for axes in others:
        unify(inputs[1], axes[0])
    return [inputs]


def _group_norm(call: Call) -> Sequence[Axes]:
    inputs, groups = call.first, call.given["group"]
    split(inputs[1], (groups, length(inputs[1]) // groups))
    return _per_channel(call)


def _layer_norm(call: Call) -> Sequence[Axes]:
    inputs, *others = (call.known(tensor) for tensor in call.tensors)
    for axes in others:
        for own, axis in zip(reversed(inputs), reversed(axes), strict=False):
            unify(own, axis)
    return [inputs]


def _attention(call: Call) -> Sequence[Axes]:
    """Scaled dot-product attention."""
    query, key, value = (call.axes(name) for name in ("query", "key", "value"))
    for one, other in zip(query[:-2], key[:-2], strict=True):
        unify(one, other)
    for one, other in zip(key[:-1], value[:-1], strict=True):
        unify(one, other)
    unify(query[-1], key[-1])
    if call.given.get("is_causal"):
        fix(query[-2], key[-2])
    for name in ("attn_mask", "attn_bias"):
        if call.given.get(name) is not None:
            shape = (*map(length, query[:-1]), length(key[-2]))
            broadcast(shape, [(*query[:-1], key[-2]), call.axes(name)])
    return [(*query[:-1], value[-1])]


def _maps(call: Call) -> Sequence[Axes]:
    """Work within maps: what is neither row nor channel has a fixed place."""
    axes, sides = call.first, int(re.findall(r"(\d)d", call.name)[0])
    fix(*axes[-sides:])
    found = (*axes[:-sides], *fixed(listed(call.result)[0].shape[-sides:]))
    return [found] * len(listed(call.result))


def _embedding(call: Call) -> Axes:
    weight, places = call.axes("weight"), call.axes("indices")
    fix(weight[0], *places)
    return (*places, *weight[1:])


LAYERS: dict[str, Rule] = {
    **each(_matmul, "mm bmm addmm baddbmm"),
    **each(_of_experts, "_grouped_mm"),
    **each(_vector, "mv addmv dot"),
    **each(_convolution, "convolution _convolution"),
    **each(_recurrent, "mkldnn_rnn_layer"),
    **each(_per_channel, "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit"),
    **each(_per_channel, "_batch_norm_no_update"),
    **each(_group_norm, "native_group_norm"),
    **each(_layer_norm, "native_layer_norm _fused_rms_norm"),
    **each(
        _attention,
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
        " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention",
    ),
    **each(
        _maps,
        "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d"
        " _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d"
        " upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d upsample_linear1d"
        " upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d"
        " reflection_pad3d replication_pad1d replication_pad2d replication_pad3d max_pool1d"
        " _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    ),
    **each(_embedding, "embedding"),
}
