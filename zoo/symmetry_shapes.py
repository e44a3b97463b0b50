"""What moving, cutting, joining and picking do to axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import torch

from .symmetry_axes import Axes, Axis, cut, fix, fresh, length, merge, split, unify, view
from .symmetry_call import Call, Rule, broadcast, each, fixed, pieces, put, unknown


def _view(call: Call) -> Axes:
    return view(call.first, call.result.shape)


def _strided(call: Call) -> Axes:
    """Lay memory out anew: known only where it is laid out as before."""
    tensor = call.tensors[0]
    same = call.result.shape == tensor.shape and call.result.storage_offset() == tensor.storage_offset()
    strides = zip(tensor.shape, tensor.stride(), call.result.stride(), strict=False)
    return call.first if same and all(old == new or size == 1 for size, old, new in strides) else unknown(call)


def _expand(call: Call) -> Axes:
    return broadcast(call.result.shape, [call.first])


def _permute(call: Call) -> Axes:
    return tuple(call.first[place] for place in call.given["dims"])


def _transpose(call: Call) -> Axes:
    found = list(call.first)
    one, other = (call.given["dim0"], call.given["dim1"]) if "dim0" in call.given else (0, -1)
    if found:
        found[one], found[other] = found[other], found[one]
    return tuple(found)


def _slice(call: Call) -> Axes:
    place, axes = call.given["dim"], call.first
    size = length(axes[place])
    kept = range(size)[slice(call.given["start"], call.given["end"], call.given["step"])]
    if len(kept) == size:
        return axes
    if kept.step != 1 or not kept:
        fix(axes[place])
        return put(axes, place, fresh(len(kept), fixed=True))
    return put(axes, place, _taken(axes[place], kept.start, len(kept)))


def _taken(axis: Axis, start: int, size: int) -> Axis:
    return cut(cut(axis, start)[1], size)[0]


def _select(call: Call) -> Axes:
    place, axes = call.given["dim"], call.first
    cut(cut(axes[place], call.given["index"] % length(axes[place]))[1], 1)
    return put(axes, place)


def _unbind(call: Call) -> Sequence[Axes]:
    place, axes = call.given["dim"], call.first
    list(pieces(axes[place], [1] * length(axes[place])))
    return [put(axes, place)] * len(call.result)


def _split(call: Call) -> Sequence[Axes]:
    place, axes = call.given["dim"], call.first
    return [put(axes, place, part) for part in pieces(axes[place], [part.shape[place] for part in call.result])]


def _cat(call: Call) -> Axes:
    place = call.given["dim"] % call.result.ndim
    several = [call.known(tensor) for tensor in call.given["tensors"] if tensor.ndim == call.result.ndim]
    whole = tuple(chain.from_iterable(axes[place] for axes in several))
    around = [put(axes, place, ((),)) for axes in several]
    sides = [1 if at == place else size for at, size in enumerate(call.result.shape)]
    return put(broadcast(sides, around), place, whole)


def _stack(call: Call) -> Axes:
    several = [call.known(tensor) for tensor in call.given["tensors"]]
    place = call.given["dim"] % call.result.ndim
    found = broadcast(call.given["tensors"][0].shape, several)
    return (*found[:place], fresh(len(several), fixed=True), *found[place:])


def _pad(call: Call) -> Axes:
    pads, found = call.given["pad"], list(call.first)
    for place in range(len(pads) // 2):
        before, after = pads[2 * place : 2 * place + 2]
        if before or after:
            axis = found[-1 - place]
            if min(before, after) < 0:
                fix(axis)
                axis = fresh(length(axis) + before + after, fixed=True)
                before = after = 0
            found[-1 - place] = (*fresh(before), *axis, *fresh(after))
    return tuple(found)


def _repeat(call: Call) -> Axes:
    counts, axes = call.given["repeats"], call.first
    axes = (*[((),)] * (len(counts) - len(axes)), *axes)
    return tuple(merge([fresh(count), axis]) for count, axis in zip(counts, axes, strict=True))


def _index(call: Call) -> Axes:
    """Take places of one axis, or of axes side by side, by tensors of numbers."""
    axes, indices = call.first, list(call.given["indices"])
    indices += [None] * (len(axes) - len(indices))
    chosen = [place for place, index in enumerate(indices) if index is not None]
    if chosen != list(range(chosen[0], chosen[-1] + 1)) or any(
        index.dtype in (torch.bool, torch.uint8) for index in indices if index is not None
    ):
        return unknown(call)
    fix(*(axes[place] for place in chosen), *_of_numbers(call))
    added = call.result.ndim - len(axes) + len(chosen)
    shape = call.result.shape[chosen[0] : chosen[0] + added]
    return (*axes[: chosen[0]], *fixed(shape), *axes[chosen[-1] + 1 :])


def _index_select(call: Call) -> Axes:
    place, axes = call.given["dim"], call.first
    if not axes:
        return axes
    fix(axes[place], *_of_numbers(call))
    return put(axes, place, fresh(call.result.shape[place], fixed=True))


def _of_numbers(call: Call) -> Iterator[Axis]:
    """Walk through the axes of the tensors that say which places are taken."""
    return chain.from_iterable(call.known(tensor) for tensor in call.tensors[1:])


def _scatter(call: Call) -> Axes:
    """Take or add entry by entry along one axis: gather, scatter, index_add."""
    place, several = call.given["dim"], [call.known(tensor) for tensor in call.tensors]
    if not call.first or any(tensor.ndim != len(call.first) for tensor in call.tensors if tensor.ndim != 1):
        return unknown(call)
    whole = [axes for axes in several if len(axes) == len(call.first)]
    fix(*(axes[place] for axes in whole))
    around = [put(axes, place, ((),)) for axes in whole]
    for other in around[1:]:
        for one, same in zip(around[0], other, strict=True):
            if length(one) == length(same):
                unify(one, same)
            else:
                fix(one, same)
    return put(around[0], place, fresh(call.result.shape[place], fixed=True))


def _shuffle(call: Call) -> Axes:
    """pixel_shuffle and pixel_unshuffle."""
    *around, channels, height, width = call.first
    fix(height, width)
    step = call.given.get("upscale_factor") or call.given["downscale_factor"]
    if "upscale_factor" in call.given:
        channels = split(channels, (length(channels) // step**2, step**2))[0]
    else:
        channels = merge([channels, fresh(step**2, fixed=True)])
    return (*around, channels, *fixed(call.result.shape[-2:]))


def _glu(call: Call) -> Axes:
    place, axes = call.given["dim"], call.first
    one, other = cut(axes[place], length(axes[place]) // 2)
    unify(one, other)
    return put(axes, place, one)


SHAPES: dict[str, Rule] = {
    **each(_view, "view _unsafe_view reshape _reshape_alias unsqueeze squeeze"),
    **each(_strided, "as_strided"),
    **each(_expand, "expand"),
    **each(_permute, "permute"),
    **each(_transpose, "transpose t"),
    **each(_slice, "slice"),
    **each(_select, "select"),
    **each(_unbind, "unbind"),
    **each(_split, "split split_with_sizes unsafe_split unsafe_split_with_sizes split_copy split_with_sizes_copy"),
    **each(_cat, "cat"),
    **each(_stack, "stack"),
    **each(_pad, "constant_pad_nd"),
    **each(_repeat, "repeat"),
    **each(_shuffle, "pixel_shuffle pixel_unshuffle"),
    **each(_index, "index"),
    **each(_index_select, "index_select"),
    **each(_scatter, "gather scatter scatter_add index_add scatter_reduce"),
    **each(_glu, "glu"),
}
