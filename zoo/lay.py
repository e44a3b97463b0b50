"""Lay out the result of a call from what it is given: where its rows, places and units stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest

import torch

from .lay_places import Known, assign, first, gather, index, item, narrow, scatter, select
from .layout import Axis, Layout, axis, has, joined, length, merged, reshaped, resized, rolled
from .step import CONVOLUTIONS, MOVES, RESHAPES, STATES, Step, numbers

Rule = Callable[[Step, Known], Layout | None]


def lay(step: Step, known: Known) -> Layout | None:
    """Lay out a call's result. None where that is not known, or where it does not depend on the rows."""
    rule = _RULES.get(step.function, _broadcast)
    try:
        found = rule(step, known)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):  # a form that the rule does not know
        return None
    return found if found is not None and tuple(map(length, found)) == tuple(step.result.shape) else None


def _broadcast(step: Step, known: Known) -> Layout | None:
    """What works element by element, or along an axis that it leaves: the rule for functions without one."""
    shape = tuple(step.result.shape)
    tensors = [part for part in step.sources if isinstance(part, torch.Tensor) and _spreads(part.shape, shape)]
    sizes = zip_longest(*(part.shape[::-1] for part in tensors), fillvalue=1)
    if not tensors or tuple(map(max, sizes))[::-1] != shape:
        return _resize(step, known) if step.function in _RESIZES else None
    layouts = [layout for part in tensors if (layout := known(part)) is not None]
    return merged(layouts, shape) if layouts else None


def _spreads(shape: Sequence[int], whole: Sequence[int]) -> bool:
    """Tell whether what has a shape can be spread over another by broadcasting."""
    return len(shape) <= len(whole) and all(
        size in (1, full) for size, full in zip(reversed(shape), reversed(whole), strict=False)
    )


def _reshape(step: Step, known: Known) -> Layout | None:
    return reshaped(first(step, known), step.result.shape)


def _resize(step: Step, known: Known) -> Layout | None:
    return resized(first(step, known), step.result.shape)


def _move(step: Step, known: Known) -> Layout | None:
    layout, rest = first(step, known), step.sources[1:]
    places = list(range(len(layout)))
    name = step.function
    if name == "permute":
        order = [place % len(layout) for place in numbers(rest)]
    elif name in ("transpose", "swapaxes", "swapdims"):
        order = _swapped(places, *numbers(rest))
    elif name in ("T", "t"):
        order = places[::-1]
    elif name in ("mT", "mH", "adjoint"):
        order = _swapped(places, -2, -1)
    else:
        order = _moved(places, *(numbers([value]) for value in rest[:2]))
    return tuple(layout[place] for place in order)


def _swapped(places: list[int], one: int, other: int) -> list[int]:
    found = list(places)
    found[one], found[other] = found[other], found[one]
    return found


def _moved(places: list[int], sources: list[int], targets: list[int]) -> list[int]:
    count = len(places)
    taken = {target % count: source % count for source, target in zip(sources, targets, strict=True)}
    rest = iter(place for place in places if place not in taken.values())
    return [taken[place] if place in taken else next(rest) for place in places]


def _linear(step: Step, known: Known) -> Layout | None:
    return (*first(step, known)[:-1], axis("unit", step.result.shape[-1]))


def _steps(step: Step, known: Known) -> Layout | None:
    """States of a recurrent layer: what is neither rows nor units are steps."""
    layout = first(step, known)[:-1]
    named = (pieces if has(pieces, "row") else axis("step", length(pieces)) for pieces in layout)
    return (*named, axis("unit", step.result.shape[-1]))


_SIDES = {1: ("token",), 2: ("y", "x"), 3: ("z", "y", "x")}


def _convolution(step: Step, known: Known) -> Layout | None:
    layout, shape = first(step, known), step.result.shape
    sides = [axis(name, size) for name, size in zip(_SIDES[len(shape) - 2], shape[2:], strict=True)]
    return (layout[0], axis("unit", shape[1]), *sides)


def _product(step: Step, known: Known) -> Layout | None:
    """A matrix product: rows of matrices from the left, columns from the right, the rest from both."""
    factors = step.sources[1:3] if step.function == "baddbmm" else step.sources[:2]
    left, right = (known(source) for source in factors)
    if min(part.ndim for part in factors) < 2:
        return None
    columns = (*right[:-2], (), right[-1]) if right else (axis("unit", step.result.shape[-1]),)
    return merged([(*left[:-1], ()), columns] if left else [columns], step.result.shape)


def _attention(step: Step, known: Known) -> Layout | None:
    """Scaled dot-product attention: places of the queries, units of the values, the rest from all."""
    query, key, value = (known(source) for source in step.sources[:3])
    sides = [
        (*query[:-1], ()) if query else None,
        (*value[:-2], (), value[-1]) if value else None,
        (*key[:-2], (), ()) if key else None,
    ]
    return merged([side for side in sides if side is not None], step.result.shape)


def _heads(step: Step, known: Known) -> Layout | None:
    """What the heads of nn.MultiheadAttention give: laid out as its queries, or as keys where those are learned."""
    query, key = known(step.sources[0]), known(step.sources[1])
    shape = step.result.shape
    around = query[:-1] if query else merged([((), *key[1:-1])], shape[:-1]) if key else None
    return None if around is None else (*around, axis("unit", shape[-1]))


def _einsum(step: Step, known: Known) -> Layout | None:
    equation, operands = step.sources[0], step.sources[1:]
    if operands and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow or "." in equation:
        return None
    sides, weights = [], dict[str, Axis]()
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        layout = known(operand)
        if layout is None:
            weights |= {letter: axis("unit", size) for letter, size in zip(letters, operand.shape, strict=True)}
        else:
            where: Mapping[str, Axis] = dict(zip(letters, layout, strict=True))
            sides.append(tuple(where.get(letter, ()) for letter in output))
    return merged([*sides, tuple(weights.get(letter, ()) for letter in output)], step.result.shape)


def _join(step: Step, known: Known) -> Layout | None:
    parts = list(step.sources[0])
    layouts = [known(part) for part in parts]
    place = (numbers(step.sources[1:]) or [0])[0] % step.result.ndim
    others = [_without(layout, place) for layout in layouts if layout is not None]
    around = merged(others, (*step.result.shape[:place], *step.result.shape[place + 1 :])) if others else None
    sizes = [
        part.shape[place] if layout is None else layout[place] for part, layout in zip(parts, layouts, strict=True)
    ]
    between = joined(sizes)
    return None if around is None or between is None else (*around[:place], between, *around[place:])


def _without(layout: Layout, place: int) -> Layout:
    return (*layout[:place], *layout[place + 1 :])


def _stack(step: Step, known: Known) -> Layout | None:
    parts = list(step.sources[0])
    place = (numbers(step.sources[1:]) or [0])[0] % step.result.ndim
    layouts = [layout for part in parts if (layout := known(part)) is not None]
    around = merged(layouts, parts[0].shape) if layouts else None
    return None if around is None else (*around[:place], axis("step", len(parts)), *around[place:])


def _expand(step: Step, known: Known) -> Layout | None:
    layout, shape = first(step, known), step.result.shape
    whole = ((),) * (len(shape) - len(layout)) + layout
    return tuple(
        pieces if length(pieces) == size else _many(pieces, size) for pieces, size in zip(whole, shape, strict=True)
    )


def _many(pieces: Axis, size: int) -> Axis:
    if has(pieces, "row"):
        raise ValueError("rows are repeated")
    return axis("token", size)


def _reduce(step: Step, known: Known) -> Layout | None:
    """Sums, means and the like over some axes, which stay with length one or go."""
    layout, shape = first(step, known), step.result.shape
    gone = {place % len(layout) for place in numbers(step.sources[1:2])}
    if len(shape) == len(layout):
        return tuple(() if place in gone else pieces for place, pieces in enumerate(layout))
    return tuple(pieces for place, pieces in enumerate(layout) if place not in gone)


def _flip(step: Step, known: Known) -> Layout | None:
    layout = list(first(step, known))
    for place in numbers(step.sources[1:]):
        if has(layout[place], "row"):
            return None
        layout[place] = axis("mixed", length(layout[place]))
    return tuple(layout)


def _unbind(step: Step, known: Known) -> Layout | None:
    layout, place = first(step, known), (numbers(step.sources[1:2]) or [0])[0]
    if has(layout[place], "row"):
        return None
    return _without(layout, place % len(layout))


def _embed(step: Step, known: Known) -> Layout | None:
    return (*first(step, known), axis("unit", step.result.shape[-1]))


def _roll(step: Step, known: Known) -> Layout | None:
    layout = list(first(step, known))
    shifts, places = (numbers([value] if isinstance(value, int) else value) for value in step.sources[1:3])
    for shift, place in zip(shifts, places, strict=True):
        turned = rolled(layout[place], shift)
        if turned is None:
            return None
        layout[place] = turned
    return tuple(layout)


_RESIZES = (
    frozenset({"split", "chunk", "tensor_split", "split_with_sizes", "topk", "sort", "pad", "repeat", "tile"})
    | {"interpolate", "upsample", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"}
    | {f"adaptive_{kind}_pool{sides}d" for kind in ("avg", "max") for sides in (1, 2, 3)}
)
_REDUCES = ("sum", "mean", "amax", "amin", "max", "min", "prod", "logsumexp", "std", "var", "any", "all", "median")
_TABLE: tuple[tuple[Iterable[str], Rule], ...] = (
    (RESHAPES, _reshape),
    (MOVES, _move),
    (CONVOLUTIONS, _convolution),
    (STATES, _steps),
    (("linear",), _linear),
    (("matmul", "bmm", "mm", "baddbmm"), _product),
    (("einsum",), _einsum),
    (("scaled_dot_product_attention",), _attention),
    (("multi_head_attention",), _heads),
    (("cat", "concat", "concatenate"), _join),
    (("stack",), _stack),
    (("expand", "expand_as", "broadcast_to"), _expand),
    ((*_REDUCES, "argmax", "argmin"), _reduce),
    (("getitem",), item),
    (("setitem",), assign),
    (("select",), select),
    (("narrow",), narrow),
    (("unbind",), _unbind),
    (("gather", "take_along_dim"), gather),
    (("index_select",), index),
    (("index_add", "scatter_add", "scatter_reduce", "scatter"), scatter),
    (("embedding", "one_hot"), _embed),
    (("roll",), _roll),
    (("flip",), _flip),
)
_RULES = {name: rule for names, rule in _TABLE for name in names}


def has_rule(function: str) -> bool:
    """Tell whether it is known what a function does to the axes: if its result is not laid out, with reason."""
    return function in _RULES or function in _RESIZES
