"""Features of several networks' maps: units that do the same, each looked at where it fits the others best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from ...zoo.errors import BadInput
from ..alignment.cluster import cluster
from ..alignment.feature import Features, cast_votes, labels, member_signs, pool
from ..alignment.null import Kinds, null_zoos, q_values, worst
from ..alignment.similarity import Activations, resemblance, standardise
from .match_maps import SHIFTS, STILL, MapUnits, best_matches, shifted, unit_p_values

ROUNDS = 5
DRAWS = 5
CUT_QUANTILE = 0.95
"""A unit joins a feature that it is more like than so many units are like any of a null network."""
WITNESS = 0.05
Choice = Int[np.ndarray, " _units"]


@dataclass(frozen=True, slots=True)
class MapMember:
    """A unit of a feature: its sign against the prototype, r with the other lineages', and shift in steps.

    `p` is the share of null networks' best units, over all features, that lie as far above what their feature finds
    by chance; of the network's best member.
    """

    network: str
    lineage: str
    layer: str
    unit: int
    sign: int
    r: float
    shift: tuple[float, float]
    p: float


@dataclass(frozen=True, slots=True)
class MapFeature:
    """Units that do the same, with what speaks for it.

    `lineages` have a member, `witnesses` one with p of at most .05. `agreement` is the mean over networks of what the
    best member correlates with the other lineages' prototype, `chance` what the best units of null networks
    do, of the null that gives most. `universality` is the share of all lineages that are witnesses.
    """

    members: tuple[MapMember, ...]
    lineages: int
    witnesses: int
    universality: float
    agreement: float
    chance: float
    p: float
    q: float


@dataclass(frozen=True, slots=True, eq=False)
class MapFeatures:
    """Features, those of most witnesses first; as they were found, with each unit's place in SHIFTS.

    `chance` holds what null networks gave in the places of the members' networks, by null.
    """

    features: tuple[MapFeature, ...]
    found: Features
    shifts: tuple[Choice, ...]
    chance: Mapping[str, Float[np.ndarray, "_draws _places"]]


def map_features(
    networks: Sequence[MapUnits], *, twins: Kinds | None = None, seed: int = 0, draws: int = DRAWS
) -> MapFeatures:
    """Find the units that do the same in several networks, and hold what is found against null networks.

    Every unit is first shifted to where it is most like a unit of another lineage; then the units are grouped
    as those of any level are, at a cut that chance supplies. A feature's members are held against the best units
    that null networks have in their place: see `match_maps`, whose nulls and `twins` these are. q is over as many
    findings as the widest network has units. Raises BadInput for networks of a single lineage, or read at
    different places.
    """
    _comparable(networks)
    level = [one.activations for one in networks]
    shifts = register(level)
    standing = [replace(one, values=_chosen(one, choice)) for one, choice in zip(level, shifts, strict=True)]
    found = cluster(standing, cut=chance_cut(level, twins=twins, seed=seed))
    places = _places(standing, found)
    chance = _chance(level, places, twins=twins, seed=seed, draws=draws)
    return MapFeatures(_listed(networks, found, shifts, places, chance), found, tuple(shifts), chance)


def chance_cut(level: Sequence[Activations], *, twins: Kinds | None = None, seed: int = 0) -> float:
    """Give what the best twentieth of units finds in null networks of other lineages, up to a shift."""
    tops = []
    for zoo in null_zoos(level, draw=0, seed=seed, twins=twins).values():
        best = [
            np.abs(best_matches(mine, other).r)
            for mine in level
            for other, real in zip(zoo, level, strict=True)
            if mine.lineage != real.lineage
        ]
        tops.append(float(np.quantile(np.concatenate(best), CUT_QUANTILE)))
    return max(tops)


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


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where features have members: feature and network, the prototype without the network's lineage, best |r|."""

    feature: Int[np.ndarray, " places"]
    network: Int[np.ndarray, " places"]
    prototype: Float[np.ndarray, "samples places"]
    r: Float[np.ndarray, " places"]


def _places(standing: Sequence[Activations], found: Features) -> _Places:
    units = pool(standing)
    label = labels(units, found)
    votes = cast_votes(units, label, member_signs(units, found), len(found))
    shared = np.flatnonzero(np.isfinite(found.agreement))
    rows = np.flatnonzero(np.isin(found.feature, shared))
    feature, network = np.unique(np.stack([found.feature[rows], found.network[rows]]), axis=1)
    r, prototype = np.zeros(len(feature)), np.zeros((len(units.standard), len(feature)), dtype=np.float32)
    for place, (one, home) in enumerate(zip(feature, network, strict=True)):
        others = units.lineage != units.lineage[units.network == home][0]
        prototype[:, place] = units.standard[:, others] @ votes[others][:, [one]].toarray()[:, 0]
        r[place] = np.abs(found.r[(found.feature == one) & (found.network == home)]).max()
    return _Places(feature, network, standardise(prototype).astype(np.float32), r)


def _chance(
    level: Sequence[Activations], places: _Places, *, twins: Kinds | None, seed: int, draws: int
) -> dict[str, Float[np.ndarray, "_draws _places"]]:
    """Find how well the best units of null networks do in the places of members, by null."""
    found: dict[str, list[np.ndarray]] = {}
    for draw in range(draws):
        for name, zoo in null_zoos(level, draw=draw, seed=seed, twins=twins).items():
            best = np.zeros(len(places.feature))
            for index, one in enumerate(zoo):
                here = places.network == index
                best[here] = _best(one, places.prototype[:, here])
            found.setdefault(name, []).append(best)
    return {name: np.stack(parts) for name, parts in found.items()}


def _best(one: Activations, prototypes: Float[np.ndarray, "samples places"]) -> Float[np.ndarray, " places"]:
    """Tell how alike a network's best unit is to each prototype, at any of SHIFTS."""
    best = np.zeros(prototypes.shape[1])
    for shift in range(len(SHIFTS)):
        r = shifted(one, shift).astype(np.float32).T @ prototypes
        best = np.maximum(best, resemblance(r, left_odd=one.odd, right_odd=False).max(axis=0, initial=0.0))
    return best


def _listed(
    networks: Sequence[MapUnits],
    found: Features,
    shifts: Sequence[Choice],
    places: _Places,
    chance: Mapping[str, Float[np.ndarray, "_draws _places"]],
) -> tuple[MapFeature, ...]:
    shared, which = np.unique(places.feature, return_inverse=True)
    sums = np.zeros((len(which), len(shared)))
    sums[np.arange(len(which)), which] = 1.0
    mean = sums / np.maximum(sums.sum(axis=0), 1.0)
    own_p = worst({name: unit_p_values(places.r, null) for name, null in chance.items()}, len(which))
    ours, theirs = places.r @ mean, {name: null @ mean for name, null in chance.items()}
    p = worst({name: unit_p_values(ours, null) for name, null in theirs.items()}, len(shared))
    widest = max(one.unit.size for one in networks)
    q = q_values(np.concatenate([p, np.ones(max(0, widest - len(p)))]))[: len(p)]
    usual = np.max([null.mean(axis=0) for null in theirs.values()], axis=0)
    place_p = dict(zip(zip(places.feature.tolist(), places.network.tolist(), strict=True), own_p.tolist(), strict=True))
    listed = []
    for position, one in enumerate(shared.tolist()):
        rows = np.flatnonzero(found.feature == one).tolist()
        members = tuple(_member(networks, found, shifts, row, place_p[one, int(found.network[row])]) for row in rows)
        witnesses = len({member.lineage for member in members if member.p <= WITNESS})
        listed.append(
            MapFeature(
                members,
                len({member.lineage for member in members}),
                witnesses,
                witnesses / len({network.lineage for network in networks}),
                float(ours[position]),
                float(usual[position]),
                float(p[position]),
                float(q[position]),
            )
        )
    return tuple(sorted(listed, key=lambda feature: (feature.witnesses, feature.agreement), reverse=True))


def _member(networks: Sequence[MapUnits], found: Features, shifts: Sequence[Choice], row: int, p: float) -> MapMember:
    index, column = int(found.network[row]), int(found.unit[row])
    network = networks[index]
    down, right = SHIFTS[shifts[index][column]].tolist()
    return MapMember(
        network.network,
        network.lineage,
        network.layer[column],
        int(network.unit[column]),
        int(found.sign[row]),
        float(found.r[row]),
        (down, right),
        p,
    )


def _comparable(networks: Sequence[MapUnits]) -> None:
    if len({one.lineage for one in networks}) < 2:
        raise BadInput("units of one lineage have nothing in common with others", hint="give networks trained apart")
    if len({(*one.values.shape[:2], one.step) for one in networks}) > 1:
        raise BadInput("networks were not read at the same places in the same steps", hint="read all of them alike")
