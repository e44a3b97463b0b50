"""Bring what a layer gave to samples × units: every row, and within a row the same positions for all networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isqrt, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional

from .layout import Atom, Layout, Root, has, is_grid, length

LARGEST_GRID = 4
MOST_POSITIONS = 16
_POOL: dict[int, Callable[[torch.Tensor, Any], torch.Tensor]] = {
    1: functional.adaptive_avg_pool1d,
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}
_NAMES = {"step": "step", "edge": "edge"}


@dataclass(frozen=True, slots=True)
class View:
    """How samples × units are read from a tensor.

    It is split into pieces, these are put in order (rows, places, units), and what counts the same is joined:
    `places` are the lengths. Maps, and images within a sequence (`image`: how many others come before,
    height, width), are averaged over patches to `pooled`; of other places as many as in `picked` are taken,
    evenly from the first to the last.
    """

    split: tuple[int, ...]
    order: tuple[int, ...]
    places: tuple[int, ...]
    shifts: tuple[int, ...]
    units: int
    axes: tuple[str, ...]
    image: tuple[int, int, int] | None = None
    pooled: tuple[int, ...] = ()
    picked: tuple[int, ...] = ()

    @property
    def positions(self) -> int:
        """How many samples there are for each row."""
        return prod(self.pooled or self.picked)


def view_map(shape: Sequence[int]) -> View:
    """Read maps, of which every channel is a unit: rows first, channels second."""
    units, *sides = shape[1:]
    side = isqrt(sides[0]) if len(sides) == 1 else min(sides)
    grid = min(LARGEST_GRID if len(sides) < 3 else LARGEST_GRID // 2, side)
    return View(
        split=(-1, units, *sides),
        order=(0, *range(2, len(shape)), 1),
        places=tuple(sides),
        shifts=(0,) * len(sides),
        units=units,
        axes=("row", "place"),
        pooled=(grid**2,) if len(sides) == 1 else (grid,) * len(sides),
    )


def view_rows(shape: Sequence[int]) -> View:
    """Read one vector for each row."""
    return View((-1, shape[1]), (0, 1), (), (), shape[1], ("row",))


def view_last(layout: Layout) -> View | None:
    """Read a tensor whose last axis holds the units. None where it is not clear what the other axes count."""
    pieces = list(chain.from_iterable(layout))
    units = len(layout[-1])
    around, inner = pieces[: len(pieces) - units], layout[-1]
    rows = [place for place, atom in enumerate(around) if atom.root.label == "row"]
    if len(rows) != 1 or has(inner, "row") or any(atom.root.label in ("unit", "mixed") for atom in around):
        return None
    roots = list(dict.fromkeys(atom.root for atom in around if atom.root.label != "row"))
    if {root.label for root in roots} == {"y", "x"}:
        roots.sort(key=lambda root: root.label, reverse=True)
    groups = [_group(around, root) for root in roots]
    sides = tuple(prod(around[place].size for place in group) for group in groups)
    shifts = tuple(root.shift for root in roots)
    if any(root.shift and side != root.size for root, side in zip(roots, sides, strict=True)):
        return None
    image = roots[0].image if len(roots) == 1 and sides == (roots[0].size,) else None
    how = _how(roots, sides, image)
    if how is None:
        return None
    axes, pooled, picked = how
    return View(
        split=tuple(-1 if place in rows else atom.size for place, atom in enumerate(pieces)),
        order=(rows[0], *chain.from_iterable(groups), *range(len(around), len(pieces))),
        places=sides,
        shifts=shifts,
        units=length(inner),
        axes=("row", *axes),
        image=image,
        pooled=pooled,
        picked=picked,
    )


def _group(atoms: Sequence[Atom], root: Root) -> list[int]:
    """List where the pieces of what is counted stand, the slowest first."""
    return sorted((at for at, atom in enumerate(atoms) if atom.root is root), key=lambda at: -atoms[at].stride)


def _how(
    roots: Sequence[Root], sides: Sequence[int], image: tuple[int, int, int] | None
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Choose positions: names of the axes, what they are pooled to, how many are picked."""
    labels = [root.label for root in roots]
    if image is not None or is_grid(roots, sides):
        grid = min(LARGEST_GRID, *(image[1:] if image else sides))
        return ("token",), (grid, grid), ()
    if len(roots) == 2 and not {"x", "y", "z", "step"} & set(labels):
        first = min(LARGEST_GRID, sides[0])
        second = min(MOST_POSITIONS // first, sides[1])
        return ("token", "token"), (), (min(MOST_POSITIONS // second, sides[0]), second)
    if len(roots) > 1:
        return None
    return tuple(_NAMES.get(label, "token") for label in labels), (), tuple(min(MOST_POSITIONS, s) for s in sides)


def samples(values: torch.Tensor, view: View) -> Float32[np.ndarray, "samples units"]:
    """Read samples × units: a copy in single precision, each position of a row a sample of its own."""
    found = laid(values.detach(), view)
    return np.ascontiguousarray(found.to("cpu", torch.float32, copy=True).numpy())


def laid(values: torch.Tensor, view: View) -> torch.Tensor:
    """Bring a tensor to samples × units, each position of a row a sample of its own."""
    found = everywhere(values, view)
    if view.pooled:
        found = _POOL[len(view.pooled)](found.movedim(-1, 1), view.pooled).flatten(2).transpose(1, 2)
    for place, count in enumerate(view.picked, start=1):
        found = found.index_select(place, evenly(found.shape[place], count).to(found.device))
    return found.reshape(-1, view.units)


def everywhere(values: torch.Tensor, view: View) -> torch.Tensor:
    """Bring a tensor to rows × places × units, every place of it; of a sequence that holds an image, the image's."""
    found = values.reshape(view.split).permute(view.order)
    found = found.reshape(len(found), *view.places, view.units)
    for place, shift in enumerate(view.shifts, start=1):
        if shift:
            found = found.roll(-shift, place)
    if view.image is not None:
        before, height, width = view.image
        found = found[:, before : before + height * width].reshape(len(found), height, width, view.units)
    return found


def evenly(size: int, count: int) -> torch.Tensor:
    """Choose places from the first to the last, as many as asked for."""
    return torch.linspace(0, size - 1, count, dtype=torch.float64).round().long()
