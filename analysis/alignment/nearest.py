"""The most alike units of two layers of any width, their correlations never held all at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product as pairs

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from ...zoo.errors import BadInput
from .batches import Batches, Layers, measure_layers, row_blocks, unit_blocks
from .similarity import product, resemblance
from .sketch import SKETCH, correlate_pairs, project

# Wider layers than this are first compared through a sketch of their samples.
SKETCH_UNITS = 200_000
# Of the sketch's best, so many are looked at exactly: the true best one is among them, unless it is weak.
CANDIDATES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """For every unit of a layer its most alike units of another, best first, and their signed r.

    Where a unit has fewer, partners are -1 and r is 0.
    """

    partner: Int[np.ndarray, "units k"]
    r: Float[np.ndarray, "units k"]


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest right units of every left unit, and the nearest left units of every right one."""

    left: Neighbours
    right: Neighbours


def nearest(
    left: Num[np.ndarray, "samples left"],
    right: Num[np.ndarray, "_samples right"],
    *,
    k: int = 1,
    left_odd: Bool[np.ndarray, " left"] | bool = False,
    right_odd: Bool[np.ndarray, " right"] | bool = False,
    left_alive: Bool[np.ndarray, " left"] | None = None,
    right_alive: Bool[np.ndarray, " right"] | None = None,
    device: str = "cpu",
    sketch: bool | None = None,
    seed: int = 0,
) -> Nearest:
    """Find the k most alike partners of every unit of two layers, in both directions.

    Alike is r, or |r| where one of the two units is odd, and above 0; dead units have no partner. The layers
    may be memory maps far larger than memory. Layers of more than 200,000 units, or any with `sketch`, are
    first compared through random directions of their samples: r is exact all the same, but a weak partner
    may be missed. Raises BadInput for layers on different samples, fewer than four samples, and k below 1.
    """
    return nearest_in_batches(
        partial(row_blocks, left, right),
        k=k,
        left_odd=left_odd,
        right_odd=right_odd,
        left_alive=left_alive,
        right_alive=right_alive,
        device=device,
        sketch=sketch,
        seed=seed,
    )


def nearest_in_batches(
    batches: Batches,
    *,
    k: int = 1,
    left_odd: Bool[np.ndarray, " left"] | bool = False,
    right_odd: Bool[np.ndarray, " right"] | bool = False,
    left_alive: Bool[np.ndarray, " left"] | None = None,
    right_alive: Bool[np.ndarray, " right"] | None = None,
    device: str = "cpu",
    sketch: bool | None = None,
    seed: int = 0,
) -> Nearest:
    """Do what `nearest` does for layers that come in batches of samples.

    batches: a function that gives both sides' batches from the start each time. It is called once for the
    moments, and once for every two blocks of 4096 units.
    """
    if k < 1:
        raise BadInput(f"{k} nearest units cannot be sought", hint="ask for one at least")
    layers = measure_layers(batches, odd=(left_odd, right_odd), alive=(left_alive, right_alive))
    widths = [side.scale.size for side in layers.sides]
    wide = max(widths) > SKETCH_UNITS and layers.samples > 2 * SKETCH
    if not (wide if sketch is None else sketch) or not min(widths):
        return search(layers, k=k, device=device)
    found = search(_sketched(layers, seed=seed), k=max(k, CANDIDATES), device=device)
    return Nearest(_rank(layers, found.left, k=k), _rank(layers.turned(), found.right, k=k))


def mutual(found: Nearest) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pair the units that are each other's nearest one."""
    choice, reply = found.left.partner[:, 0], found.right.partner[:, 0]
    left = np.flatnonzero(choice >= 0)
    left = left[reply[choice[left]] == left]
    return left, choice[left]


def search(layers: Layers, *, k: int, device: str = "cpu") -> Nearest:
    """Find the k most alike partners, as `nearest` does, of layers that know how to standardise themselves."""
    left, right = layers.left, layers.right
    found = Nearest(_nobody(left.scale.size, k), _nobody(right.scale.size, k))
    for rows, columns in pairs(unit_blocks(left.scale.size), unit_blocks(right.scale.size)):
        r = _correlate(layers, rows, columns, device=device)
        alike = resemblance(r, left_odd=left.odd[rows], right_odd=right.odd[columns])
        _update(found.left, rows, columns.start, r, alike)
        _update(found.right, columns, rows.start, r.T, np.ascontiguousarray(alike.T))
    return found


def _nobody(units: int, k: int) -> Neighbours:
    return Neighbours(np.full((units, k), -1), np.zeros((units, k)))


def _correlate(layers: Layers, rows: slice, columns: slice, *, device: str) -> Float[np.ndarray, "left right"]:
    r: Float[np.ndarray, "left right"] = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
    for left, right in layers.read():
        r += product(layers.left.standardise(left, rows), layers.right.standardise(right, columns), device=device)
    np.clip(r, -1.0, 1.0, out=r)
    return r


def _update(
    held: Neighbours,
    units: slice,
    first: int,
    r: Float[np.ndarray, "units others"],
    alike: Float[np.ndarray, "units others"],
) -> None:
    """Write the best of a block over what was held for its units."""
    top = _top(alike, held.r.shape[1])
    _keep(held, units, top + first, np.take_along_axis(r, top, axis=1), np.take_along_axis(alike, top, axis=1))


def _top(alike: Float[np.ndarray, "units others"], k: int) -> Int[np.ndarray, "units top"]:
    if k == 1:
        best: Int[np.ndarray, "units top"] = alike.argmax(axis=1)[:, None]
        return best
    if k >= alike.shape[1]:
        return np.tile(np.arange(alike.shape[1]), (len(alike), 1))
    return np.sort(np.argpartition(alike, -k, axis=1)[:, -k:], axis=1)


def _keep(
    held: Neighbours,
    units: slice,
    partner: Int[np.ndarray, "units others"],
    r: Float[np.ndarray, "units others"],
    alike: Float[np.ndarray, "units others"],
) -> None:
    partners = np.hstack([held.partner[units], np.where(alike > 0.0, partner, -1)])
    values = np.hstack([held.r[units], np.where(alike > 0.0, r, 0.0)])
    # Stable, so that of equals the first unit wins whatever the blocks.
    best = np.argsort(-np.abs(values), axis=1, kind="stable")[:, : held.r.shape[1]]
    held.partner[units] = np.take_along_axis(partners, best, axis=1)
    held.r[units] = np.take_along_axis(values, best, axis=1)


def _sketched(layers: Layers, *, seed: int) -> Layers:
    """Put two layers' sketches in their places, standardised already."""
    sketches = project(layers, seed=seed)
    left, right = (replace(side, mean=0.0 * side.mean, scale=1.0 * (side.scale > 0.0)) for side in layers.sides)
    return Layers(lambda: [sketches], left, right, SKETCH)


def _rank(layers: Layers, candidates: Neighbours, *, k: int) -> Neighbours:
    """Keep the k best of all candidates by their exact correlations."""
    r = correlate_pairs(layers, candidates.partner)
    right_odd = layers.right.odd[candidates.partner]
    alike = np.where(layers.left.odd[:, None] | right_odd, np.abs(r), r)
    found = _nobody(len(r), k)
    _keep(found, slice(None), candidates.partner, np.clip(r, -1.0, 1.0), alike)
    return found
