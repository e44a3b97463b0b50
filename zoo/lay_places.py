"""Lay out what is taken from places of a tensor, or written to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .layout import Atom, Axis, Layout, axis, checked, has, length, merged, sliced
from .step import Step

Known = Callable[[Any], Layout | None]
"""The layout of a tensor; None for what is none, and for what does not depend on the rows."""


def first(step: Step, known: Known) -> Layout:
    """Take the layout of the tensor that a call is about."""
    found = known(step.sources[0])
    if found is None:
        raise ValueError("not laid out")
    return found


def item(step: Step, known: Known) -> Layout | None:
    """Index by numbers, slices, None, an ellipsis, and a tensor of places, or one of rows and one of places."""
    layout, inside = list(first(step, known)), step.sources[1]
    parts = _whole(list(inside) if isinstance(inside, tuple) else [inside], len(layout))
    picks = [part for part in parts if isinstance(part, list | torch.Tensor)]
    if len(picks) > 1:
        return _picked_by_rows(layout, parts, known)
    found: list[Axis] = []
    for part in parts:
        if part is None:
            found.append(())
            continue
        pieces = layout.pop(0)
        if known(part) is not None and not has(pieces, "row"):
            return None  # the same places, chosen by every row, of every row
        found += _taken(pieces, part)
    return checked(tuple(found))


def _whole(parts: list[Any], axes: int) -> list[Any]:
    """Spell out an index: one part for each axis."""
    rest = [slice(None)] * (axes - sum(part is not None and part is not Ellipsis for part in parts))
    at = next((place for place, part in enumerate(parts) if part is Ellipsis), len(parts))
    return parts[:at] + rest + parts[at + 1 :]


def _taken(pieces: Axis, part: Any) -> list[Axis]:
    """Index one axis."""
    if isinstance(part, slice):
        places = range(length(pieces))[part]
        cut = sliced(pieces, places.start, len(places), places.step)
        if cut is None:
            raise ValueError("some of the rows")
        return [cut]
    if isinstance(part, list | torch.Tensor):
        return _picked(pieces, torch.as_tensor(part))
    if has(pieces, "row"):
        raise ValueError("one of the rows")
    return []


def _picked(pieces: Axis, places: torch.Tensor) -> list[Axis]:
    """Take places of an axis by a tensor of numbers: ends of edges, or the neighbours of nodes."""
    if places.dtype in (torch.bool, torch.uint8):
        raise ValueError("a mask")
    if has(pieces, "row"):
        return [_owned(pieces, places, length(pieces), "edge")]
    of = pieces[0].root if len(pieces) == 1 else None
    return [axis("edge" if places.ndim == 1 else "token", size, of) for size in places.shape]


def _picked_by_rows(layout: Sequence[Axis], parts: Sequence[Any], known: Known) -> Layout | None:
    """Take other places in every row: the first tensor counts the rows, the second holds the places."""
    rows, places, *rest = parts
    count = length(layout[0])
    counted = torch.as_tensor(rows).flatten().tolist() == list(range(count)) and len(rows) == count
    if not counted or not has(layout[0], "row") or any(part != slice(None) for part in rest):
        return None
    chosen = known(places) or (layout[0], *(axis("token", size) for size in torch.as_tensor(places).shape[1:]))
    return checked((*chosen, *layout[2:]))


def _owned(pieces: Axis, places: torch.Tensor, size: int, label: str) -> Axis:
    """Where the nodes of all rows stand on one axis: what is as many in every row, row by row."""
    rows, count = pieces[0], len(places) if label == "edge" else size
    owners = places.flatten(1)[:, 0] if places.ndim > 1 else places
    if rows.root.label != "row" or size % rows.size or len(owners) % rows.size:
        raise ValueError("rows are picked")
    owners = owners.reshape(rows.size, -1) // (size // rows.size)
    if not bool((owners == torch.arange(rows.size, device=owners.device)[:, None]).all()):
        raise ValueError("rows are picked in another order")
    of = pieces[1].root if len(pieces) == 2 and label == "edge" else None
    return (rows, *axis(label, count // rows.size, of))


def index(step: Step, known: Known) -> Layout | None:
    """Take places of one axis by a tensor of numbers."""
    layout, at = first(step, known), int(step.sources[1])
    at %= len(layout)
    return (*layout[:at], *_picked(layout[at], step.sources[2]), *layout[at + 1 :])


def select(step: Step, known: Known) -> Layout | None:
    """Take one place of one axis."""
    layout, at = first(step, known), int(step.sources[1])
    at %= len(layout)
    return checked((*layout[:at], *_taken(layout[at], step.sources[2]), *layout[at + 1 :]))


def narrow(step: Step, known: Known) -> Layout | None:
    """Take places that follow one another."""
    layout = first(step, known)
    at, start, size = (int(number) for number in step.sources[1:4])
    at %= len(layout)
    cut = sliced(layout[at], start, size)
    return None if cut is None else (*layout[:at], cut, *layout[at + 1 :])


def assign(step: Step, known: Known) -> Layout | None:
    """Write into a tensor: what is not laid out yet is as far as whole axes of what is written."""
    target, value = known(step.sources[0]), known(step.sources[2])
    if target is not None or value is None:
        return target
    shape, inside = step.result.shape, step.sources[1]
    parts = _whole(list(inside) if isinstance(inside, tuple) else [inside], len(shape))
    given = iter(value)
    found = [
        next(given) if part == slice(None) else axis("step", size) for part, size in zip(parts, shape, strict=True)
    ]
    return checked(tuple(found)) if not list(given) else None


def gather(step: Step, known: Known) -> Layout | None:
    """Gather: places from a tensor of numbers along one axis, from both along the others."""
    source, places, shape = known(step.sources[0]), known(step.sources[2]), step.result.shape
    at = int(step.sources[1]) % len(shape)
    given = [(*source[:at], (), *source[at + 1 :])] if source else []
    return merged([*given, places] if places else given, shape)


def scatter(step: Step, known: Known) -> Layout | None:
    """Sum over edges: nodes along one axis, the rest as in what is summed."""
    target, place = known(step.sources[0]), int(step.sources[1])
    parts = [part for part in step.sources[2:] if isinstance(part, torch.Tensor)]
    message = known(parts[-1])
    if target is not None or message is None:
        return target
    at, size = place % len(message), step.result.shape[place]
    nodes = _owned(message[at], parts[0], size, "token") if has(message[at], "row") else axis("token", size)
    return checked((*message[:at], _ends(message[at], nodes), *message[at + 1 :]))


def _ends(edges: Axis, nodes: Axis) -> Axis:
    """Let edges end at the nodes that they are known to be of, if these are as many."""
    of = edges[-1].root.of if edges else None
    alike = of is not None and nodes and nodes[-1].size == of.size
    return (*nodes[:-1], Atom(of, of.size)) if alike and of is not None else nodes
