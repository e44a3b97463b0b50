"""Features of several networks' maps: units that do the same, each looked at where it fits the others best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from ...zoo.errors import BadInput
from ..alignment.cluster import chance_cut, cluster
from ..alignment.feature import Features
from ..alignment.null import Kinds, null_zoos
from ..alignment.significance import CUT_DRAWS, Judgement, judge
from ..alignment.similarity import Activations, resemblance
from .match_maps import SHIFTS, STILL, MapUnits, shifted

ROUNDS = 5
DRAWS = 5
PERMUTATIONS = 9999
Choice = Int[np.ndarray, " _units"]


@dataclass(frozen=True, slots=True)
class MapMember:
    """A unit of a feature: its sign against the prototype, r with the other lineages', and shift in steps."""

    network: str
    lineage: str
    layer: str
    unit: int
    sign: int
    r: float
    shift: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MapFeature:
    """Units that do the same, with what speaks for it; see `feature.Features` and `significance.Judgement`."""

    members: tuple[MapMember, ...]
    lineages: int
    universality: float
    agreement: float
    support: float
    lift: float
    p: float
    q: float


@dataclass(frozen=True, slots=True, eq=False)
class MapFeatures:
    """Features, best supported first; the judgement that they are from, and each unit's place in SHIFTS."""

    features: tuple[MapFeature, ...]
    judgement: Judgement
    shifts: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class LawAgreement:
    """How far matched units' numbers lie apart, in the middle; how far those of units matched at random do; and p."""

    distance: float
    chance: float
    p: float
    pairs: int


def map_features(
    networks: Sequence[MapUnits], *, twins: Kinds | None = None, seed: int = 0, draws: int = DRAWS
) -> MapFeatures:
    """Find the units that do the same in several networks, and hold what is found against null zoos.

    Every unit is first shifted to where it is most like a unit of another lineage; then the units are grouped
    as those of any level are. Null zoos go through both. `twins` gives the values of all networks' twins,
    shifts as further samples. Raises BadInput for networks of a single lineage, or read at different places.
    """
    if len({one.lineage for one in networks}) < 2:
        raise BadInput("units of one lineage have nothing in common with others", hint="give networks trained apart")
    if len({(*one.values.shape[:2], one.step) for one in networks}) > 1:
        raise BadInput("networks were not read at the same places in the same steps", hint="read all of them alike")
    level = [one.activations for one in networks]
    drawn = [null_zoos(level, draw=draws + number, seed=seed, twins=twins) for number in range(CUT_DRAWS)]
    cut = chance_cut([registered(zoo) for zoos in drawn for zoo in zoos.values()], seed=seed)
    judged = judge(level, find=partial(find_features, fallback=cut), twins=twins, seed=seed, draws=draws)
    shifts = register(level)
    return MapFeatures(_listed(networks, judged, shifts), judged, tuple(shifts))


def find_features(level: Sequence[Activations], *, fallback: float | None = None) -> Features:
    """Shift every unit to where it fits best, then group the units; see `cluster.cluster`."""
    return cluster(registered(level), fallback=fallback)


def registered(level: Sequence[Activations]) -> list[Activations]:
    """Keep of every unit only the samples of the shift that `register` chooses for it."""
    return [replace(one, values=_chosen(one, choice)) for one, choice in zip(level, register(level), strict=True)]


def register(level: Sequence[Activations]) -> list[Choice]:
    """Choose a shift for every unit: that at which it is most like some unit of another lineage.

    The widest network stays where it is. The others come one by one and look at those that are there already;
    then they take turns looking at all, until no unit moves, at most five times round. Shifts come as further
    samples: see `MapUnits.activations`.
    """
    choices = [np.full(one.alive.size, STILL) for one in level]
    order = sorted(range(len(level)), key=lambda index: -int(level[index].alive.sum()))
    standing = {index: shifted(level[index], STILL).astype(np.float32) for index in order[:1]}
    for _ in range(ROUNDS):
        moved = False
        for index in order[1:]:
            versions = [shifted(level[index], shift).astype(np.float32) for shift in range(len(SHIFTS))]
            choice = _turn(level, standing, index, versions, choices[index])
            moved |= index not in standing or bool(np.any(choice != choices[index]))
            choices[index], standing[index] = choice, _picked(versions, choice)
        if not moved:
            break
    return choices


def _turn(
    level: Sequence[Activations],
    standing: Mapping[int, np.ndarray],
    index: int,
    versions: Sequence[np.ndarray],
    held: Choice,
) -> Choice:
    """Let one network's units look for their best shifts; of equal ones they keep what they have."""
    mine, units = level[index], np.arange(len(held))
    best = np.zeros((len(SHIFTS), len(held)))
    for other, values in standing.items():
        if level[other].lineage == mine.lineage:
            continue
        for shift, own in enumerate(versions):
            alike = resemblance(own.T @ values, left_odd=mine.odd, right_odd=level[other].odd)
            best[shift] = np.maximum(best[shift], alike.max(axis=1, initial=0.0))
    choice = best.argmax(axis=0)
    return np.where(best[choice, units] > best[held, units] + 1e-6, choice, held)


def _chosen(one: Activations, choice: Choice) -> Float[np.ndarray, "samples units"]:
    return _picked(one.values.reshape(len(SHIFTS), -1, one.values.shape[1]), choice)


def _picked(values: Sequence[np.ndarray] | np.ndarray, choice: Choice) -> Float[np.ndarray, "samples units"]:
    return np.stack([values[shift][:, unit] for unit, shift in enumerate(choice.tolist())], axis=1)


def _listed(networks: Sequence[MapUnits], judged: Judgement, shifts: Sequence[Choice]) -> tuple[MapFeature, ...]:
    found = judged.features
    order = np.argsort(-found.support, kind="stable")
    return tuple(
        _feature(
            [_member(networks, found, shifts, row) for row in np.flatnonzero(found.feature == one).tolist()],
            judged,
            one,
        )
        for one in order.tolist()
    )


def _member(networks: Sequence[MapUnits], found: Features, shifts: Sequence[Choice], row: int) -> MapMember:
    index, column = int(found.network[row]), int(found.unit[row])
    network = networks[index]
    row_shift, column_shift = SHIFTS[shifts[index][column]].tolist()
    return MapMember(
        network.network,
        network.lineage,
        network.layer[column],
        int(network.unit[column]),
        int(found.sign[row]),
        float(found.r[row]),
        (row_shift, column_shift),
    )


def _feature(members: Sequence[MapMember], judged: Judgement, index: int) -> MapFeature:
    found = judged.features
    return MapFeature(
        tuple(members),
        len({member.lineage for member in members}),
        float(found.universality[index]),
        float(found.agreement[index]),
        float(found.support[index]),
        float(judged.lift[index]),
        float(judged.p[index]),
        float(judged.q[index]),
    )


def law_agreement(
    left_numbers: Float[np.ndarray, " pairs"],
    right_numbers: Float[np.ndarray, " pairs"],
    period: float | None = None,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> LawAgreement:
    """Tell whether matched units agree in a number of their laws more than units matched at random do.

    A second vote beside r: preferred angle (period pi, or 2 pi), hue (2 pi), or the logarithm of a frequency
    (no period). Pairs where either number is NaN are left out. p is the share of random matchings (of the same
    units) with a mean distance at most as large; 1 for fewer than two pairs.
    """
    known = np.isfinite(left_numbers) & np.isfinite(right_numbers)
    left, right = left_numbers[known], right_numbers[known]
    if len(left) < 2:
        return LawAgreement(float("nan"), float("nan"), 1.0, len(left))
    rng = np.random.default_rng(seed)
    ours = _apart(left, right, period)
    drawn = [_apart(left, rng.permutation(right), period) for _ in range(permutations)]
    better = sum(one.mean() <= ours.mean() for one in drawn)
    chance = float(np.median(np.concatenate(drawn[:99])))
    return LawAgreement(float(np.median(ours)), chance, float(1 + better) / (1 + permutations), len(left))


def _apart(
    left: Float[np.ndarray, " pairs"], right: Float[np.ndarray, " pairs"], period: float | None
) -> Float[np.ndarray, " pairs"]:
    apart = left - right
    return np.asarray(np.abs(apart if period is None else (apart + period / 2) % period - period / 2))
