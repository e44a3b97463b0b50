"""Match the units of two networks by their maps of the same images, at the same places, up to a small shift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from ...zoo.errors import BadInput
from ..alignment.null import Kinds, exceedance, null_zoos, q_values, worst
from ..alignment.similarity import Activations, activations, resemblance, standardise

PLACES = 12
MARGIN = 0.2
"""Places keep so much of the side away from the border, where maps show the padding and not the image."""
DRAWS = 5
BLOCK = 1024
CERTAIN = 1.0 - 1e-12
SHIFTS = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)], dtype=np.float64)
"""Shifts in rows and columns, in steps; the one in the middle is none."""
STILL = len(SHIFTS) // 2

Places = Float[np.ndarray, "crops places 2"]


@dataclass(frozen=True, slots=True, eq=False)
class MapUnits:
    """Units of one network, of one layer or more, seen at common places, once for each of SHIFTS.

    `layer` and `unit` say which column is which. `step` is the size of a shift, as a share of the image's
    side: one stride of the coarsest map that is compared. odd: whether a unit may stand for its negative.
    """

    values: Float32[np.ndarray, "shifts samples units"]
    network: str
    lineage: str
    layer: tuple[str, ...]
    unit: Int[np.ndarray, " units"]
    step: float
    odd: bool = True

    @property
    def activations(self) -> Activations:
        """The same with shifts as further samples, so that whatever mixes units treats all shifts alike."""
        return activations(self.values.reshape(-1, self.values.shape[2]), odd=self.odd, lineage=self.lineage)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The best match of every left unit that lives: its r, and how far the right unit is shifted against it.

    `r` is negative where one of the two stands for the other's negative; `shift` counts steps in rows and
    columns; `mutual` tells whether the right unit's best match is the left one. `p` is the largest over the nulls
    and q the false discovery rate at which a match passes. `null_r` holds the best |r| of the units of either
    network in `draws` nulls of the other, by null.
    """

    left_unit: Int[np.ndarray, " matches"]
    right_unit: Int[np.ndarray, " matches"]
    r: Float[np.ndarray, " matches"]
    shift: Float[np.ndarray, "matches 2"]
    mutual: Bool[np.ndarray, " matches"]
    p: Float[np.ndarray, " matches"]
    q: Float[np.ndarray, " matches"]
    null_r: Mapping[str, Float[np.ndarray, " _null"]]
    draws: int


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """For every left unit its most alike right unit (-1: none), their signed r, and which of SHIFTS it needs."""

    partner: Int[np.ndarray, " left"]
    r: Float[np.ndarray, " left"]
    shift: Int[np.ndarray, " left"]


def common_places(crops: int, *, count: int = PLACES, margin: float = MARGIN, seed: int = 0) -> Places:
    """Draw places of every crop, rows and columns as shares of its side; never averages, which kill phase.

    The same seed gives the same places, whatever the size of the networks' maps. Raises BadInput for a margin
    that leaves nothing.
    """
    if not 0.0 <= margin < 0.5:
        raise BadInput(f"a margin of {margin} leaves no place in an image", hint="take one below 0.5")
    return np.random.default_rng(seed).uniform(margin, 1.0 - margin, (crops, count, 2))


def sampled(
    maps: Float32[np.ndarray, "crops units rows columns"], places: Places, shift: tuple[float, float] = (0.0, 0.0)
) -> Float32[np.ndarray, "samples units"]:
    """Read maps at places of their images, between cells by bilinear interpolation.

    A map of n rows is taken to lay its cells evenly over the image: cell i at (i + 1/2) / n of the side. `shift`
    moves all places, as a share of the side. Samples are crops, and within a crop its places.
    """
    import torch
    from torch.nn.functional import grid_sample

    grid = 2.0 * (places + np.asarray(shift))[:, :, None, ::-1] - 1.0  # x first, from -1 to 1 between the edges
    with torch.no_grad():
        found = grid_sample(
            torch.from_numpy(np.ascontiguousarray(maps)),
            torch.from_numpy(np.ascontiguousarray(grid, dtype=np.float32)),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
    return np.ascontiguousarray(found[..., 0].permute(0, 2, 1).reshape(-1, maps.shape[1]).numpy())


def sample_shifts(
    batches: Iterable[Mapping[str, Float32[np.ndarray, "_crops _units _rows _columns"]]], places: Places, step: float
) -> dict[str, Float32[np.ndarray, "shifts samples _units"]]:
    """Read the maps of layers, batch by batch, at all places and once for each of SHIFTS of `step`.

    Maps are let go of as soon as they are read. Raises BadInput where there are not as many crops as `places` has.
    """
    found: dict[str, list[np.ndarray]] = {}
    seen = 0
    for batch in batches:
        crops = len(next(iter(batch.values())))
        here = places[seen : seen + crops]
        seen += crops
        if seen > len(places):
            break
        for name, maps in batch.items():
            shifted = [sampled(maps, here, (step * row, step * column)) for row, column in SHIFTS]
            found.setdefault(name, []).append(np.stack(shifted))
    if seen != len(places):
        raise BadInput(
            f"places of {len(places)} crops do not fit maps of {seen}{' or more' * (seen > len(places))}",
            hint="draw places for as many crops as the networks are shown",
        )
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def map_units(
    layers: Mapping[str, Float32[np.ndarray, "shifts samples _units"]],
    *,
    network: str,
    lineage: str,
    step: float,
    odd: bool = True,
) -> MapUnits:
    """Lay the units of one layer or more of a network side by side."""
    widths = [values.shape[2] for values in layers.values()]
    names = tuple(name for name, width in zip(layers, widths, strict=True) for _ in range(width))
    units = np.concatenate([np.arange(width) for width in widths])
    return MapUnits(np.concatenate(list(layers.values()), axis=2), network, lineage, names, units, step, odd)


def match_maps(
    left: MapUnits, right: MapUnits, *, twins: Kinds | None = None, seed: int = 0, draws: int = DRAWS
) -> Matches:
    """Find the best match of every left unit among the right ones, up to a shift, and hold it against chance.

    Alike is |r| where one side is odd, else r. The same search runs `draws` times for each unit of the one
    network in a null of the other: rotated axes, shuffled samples, and what `twins` gives (the values of both
    networks' twins, shifts as further samples). Neither of the two units may find as good a partner by chance:
    p is the larger of the two, and the largest over the nulls. Raises BadInput for networks that were read at
    different places or with different steps.
    """
    _comparable(left, right)
    pair = [left.activations, right.activations]
    best, reply = best_matches(pair[0], pair[1]), best_matches(pair[1], pair[0])
    units = np.flatnonzero(best.partner >= 0)
    partner, r = best.partner[units], best.r[units]
    chance = _chance(pair, twins=twins, seed=seed, draws=draws)
    found = {
        name: np.maximum(unit_p_values(r, ours[:, units]), unit_p_values(r, theirs[:, partner]))
        for name, (ours, theirs) in chance.items()
    }
    p = worst(found, len(units))
    null_r = {name: np.concatenate([side.ravel() for side in sides]) for name, sides in chance.items()}
    mutual = reply.partner[partner] == units
    return Matches(units, partner, r, SHIFTS[best.shift[units]], mutual, p, q_values(p), null_r, draws)


def unit_p_values(
    r: Float[np.ndarray, " units"], null: Float[np.ndarray, "draws units"]
) -> Float[np.ndarray, " units"]:
    """Give the share of null matches that lie as far above what their own unit finds by chance.

    Units differ far more in what they find by chance (those of coarse patterns are like anything that is) than
    one unit does from draw to draw. So Fisher's z is taken from the mean of the unit's own null matches, for a
    null match from that of its other draws; then all are pooled. A single draw is pooled as it is.
    """
    ours, chance = _z(r), _z(null)
    draws = len(chance)
    if draws < 2:
        return exceedance(ours, chance.ravel())
    others = (chance.sum(axis=0) - chance) / (draws - 1)
    return exceedance(ours - chance.mean(axis=0), (chance - others).ravel())


def best_matches(left: Activations, right: Activations) -> Best:
    """Find, for every left unit without a shift, the right unit and the shift at which they are most alike.

    Shifts come as further samples: see `MapUnits.activations`. Moments are exact, in float64 and of each
    shift's own samples; correlations are held for a block of left units at a time. Dead units match nothing.
    """
    best = Best(*(np.full(left.alive.size, value) for value in (-1, 0.0, STILL)))
    if not right.alive.size:
        return best
    standard = shifted(left, STILL)
    for shift in range(len(SHIFTS)):
        other = shifted(right, shift)
        for start in range(0, left.alive.size, BLOCK):
            r = np.clip(standard[:, start : start + BLOCK].T @ other, -1.0, 1.0)
            similar = resemblance(r, left_odd=left.odd, right_odd=right.odd)
            _keep(best, start, shift, r, similar)
    return best


def shifted(one: Activations, shift: int) -> Float[np.ndarray, "samples units"]:
    """Take the samples of one of SHIFTS, every unit centred and of length one; dead ones are 0."""
    samples = len(one.values) // len(SHIFTS)
    return standardise(one.values[shift * samples : (shift + 1) * samples], alive=one.alive)


def _keep(
    best: Best,
    start: int,
    shift: int,
    r: Float[np.ndarray, "block right"],
    similar: Float[np.ndarray, "block right"],
) -> None:
    """Write what a block of units finds at a shift over what they found before, where it is better."""
    top = similar.argmax(axis=1)
    gain = similar.max(axis=1) - np.abs(best.r[start : start + len(top)])
    better = np.flatnonzero(gain > 0.0)
    best.partner[start + better], best.shift[start + better] = top[better], shift
    best.r[start + better] = r[better, top[better]]


def _chance(
    pair: list[Activations], *, twins: Kinds | None, seed: int, draws: int
) -> dict[str, tuple[Float[np.ndarray, "draws left"], Float[np.ndarray, "draws right"]]]:
    """Collect the best |r| of all units of each network in nulls of the other, by null."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for draw in range(draws):
        for name, null in null_zoos(pair, draw=draw, seed=seed, twins=twins).items():
            sides = (best_matches(pair[0], null[1]), best_matches(pair[1], null[0]))
            found.setdefault(name, []).append((np.abs(sides[0].r), np.abs(sides[1].r)))
    return {name: (np.stack([a for a, _ in drawn]), np.stack([b for _, b in drawn])) for name, drawn in found.items()}


def _z(r: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.asarray(np.arctanh(np.minimum(np.abs(r), CERTAIN)))


def _comparable(left: MapUnits, right: MapUnits) -> None:
    if left.values.shape[:2] != right.values.shape[:2] or left.step != right.step:
        raise BadInput(
            f"{left.network} and {right.network} were not read at the same places in the same steps",
            hint="read both with the places and the step of the coarser map",
        )
