"""Let a network join the features of a level at the cost of one product against their prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from ...zoo.errors import BadInput
from .cluster import (
    FEWEST_TO_LEVEL,
    LEVEL_SIGNIFICANCE,
    LEVEL_SPREAD,
    RESOLUTION,
    WEAKEST,
    accept,
    level_out,
    strength,
)
from .feature import Features, Pool, cast_votes, labels, likeness, member_signs, pool, renumber, score
from .seeds import link
from .similarity import Activations, resemblance

# Units that nobody resembled yet wait for company; so many newest ones, so that a network's cost has a bound.
WAITING = 2048
# Where features come from that have no cut: a network has one unit of each.
GIVEN = ("assignment", "grouping")


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """What is known of a level's features without the activations they came from.

    Members stand in the order in which they joined, `r` is their correlation with the prototype of the
    other lineages then (NaN where there was no other). A feature's prototype is the mean of one vote a
    lineage; `sums` adds them up and `voters` counts them. `fixed` features have a member that may not be
    flipped. Units `waiting` have no feature. `usual` is what a network's best units correlate with
    features, and how that varies, as logs.
    """

    feature: Int[np.ndarray, " members"]
    network: Int[np.ndarray, " members"]
    unit: Int[np.ndarray, " members"]
    sign: Int[np.ndarray, " members"]
    r: Float[np.ndarray, " members"]
    sums: Float[np.ndarray, "features samples"]
    voters: Int[np.ndarray, " features"]
    fixed: Bool[np.ndarray, " features"]
    waiting: Float[np.ndarray, "waiting samples"]
    waiting_network: Int[np.ndarray, " waiting"]
    waiting_unit: Int[np.ndarray, " waiting"]
    waiting_fixed: Bool[np.ndarray, " waiting"]
    lineages: tuple[str, ...]
    networks: int
    cut: float
    usual: tuple[float, float]

    def __len__(self) -> int:
        return len(self.voters)

    @property
    def universality(self) -> Float[np.ndarray, " features"]:
        """Give the share of lineages that have each feature."""
        return self.voters / max(len(self.lineages), 1)


def standing(level: Sequence[Activations], features: Features) -> Standing:
    """Sum up the features that were found on a level, so that other networks can join them.

    Raises BadInput for features without a cut that no task gave either, as those of one lineage.
    """
    if features.cut <= 0.0 and features.cut_from not in GIVEN:
        raise BadInput("features without a cut cannot be joined", hint="cluster two lineages at least")
    units = level_out(pool(level)) if features.cut > 0.0 else pool(level)
    label, sign = labels(units, features), member_signs(units, features)
    held = label >= 0
    votes = cast_votes(units, label, sign, len(features))
    left = np.flatnonzero(~held)[-WAITING:] if features.cut > 0.0 else np.zeros(0, dtype=np.int64)
    heard = np.zeros((units.lineages, len(features)), dtype=np.int64)
    heard[units.lineage[held], label[held]] = 1
    return Standing(
        features.feature,
        features.network,
        features.unit,
        features.sign,
        features.r,
        np.asarray(votes.T @ units.standard.T, dtype=np.float32),
        heard.sum(axis=0),
        np.isin(np.arange(len(features)), label[held & ~units.odd]),
        units.standard[:, left].T,
        units.network[left],
        units.unit[left],
        ~units.odd[left],
        tuple(dict.fromkeys(one.lineage for one in level)),
        len(level),
        features.cut,
        _usual(units, label, sign, len(features)),
    )


def insert(before: Standing, newcomer: Activations) -> Standing:
    """Assign a newcomer's units to the features, as `cluster` assigns a network's units to prototypes.

    A unit belongs to a feature where its mean correlation with the lineages' votes reaches the cut: one to
    one first, then duplicates. Units left over found new features with those of earlier networks that
    wait, or with duplicates of their own, or wait themselves. Earlier members stay where they are. A
    network noisier than the others, or less so, is levelled out first. Features without a cut, given by the
    task, get one unit each. Raises BadInput for other samples than the level's, and for a lineage that has
    voted already, since a lineage has one vote.
    """
    _check(before, newcomer)
    units = pool([newcomer])
    means = _means(before, units.standard)
    free = newcomer.odd | ~np.concatenate([before.fixed, before.waiting_fixed])
    similar = np.where(free, np.abs(means), means)
    share = _share(before, similar)
    units = replace(units, standard=(units.standard / share).astype(np.float32))
    place = _place(before, similar / share, units)
    sign = _signs(means, free, place)
    if not newcomer.odd:
        place = np.where(_minority(place, sign), -1, place)
    after, place, sign = _found(before, place, sign, units)
    return _join(after, place, sign, units, newcomer.lineage)


def _check(before: Standing, newcomer: Activations) -> None:
    if len(newcomer.values) != before.sums.shape[1]:
        raise BadInput(
            f"a network with {len(newcomer.values)} samples cannot join a level with {before.sums.shape[1]}",
            hint="record it on the same probe",
        )
    if newcomer.lineage in before.lineages:
        raise BadInput(
            f"lineage {newcomer.lineage!r} has voted already",
            hint="cluster the level anew: all networks of a lineage share one vote",
        )


def _means(before: Standing, standard: Float[np.ndarray, "samples units"]) -> Float[np.ndarray, "units columns"]:
    """Correlate units with the votes for every feature, on average, and with all units that wait."""
    return np.hstack([standard.T @ before.sums.T / np.maximum(before.voters, 1), standard.T @ before.waiting.T])


def _usual(
    units: Pool, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], count: int
) -> tuple[float, float]:
    similar = likeness(units, score(units, label, sign, count), label, sign).max(axis=1, initial=0.0)
    networks = np.unique(units.network)
    if len(networks) < FEWEST_TO_LEVEL or not count:
        return 0.0, np.inf
    logs = np.log([max(strength(similar[units.network == network]), RESOLUTION) for network in networks])
    return float(logs.mean()), float(logs.std(ddof=1))


def _share(before: Standing, similar: Float[np.ndarray, "units columns"]) -> float:
    """Tell by which factor a network correlates less than others with the features, where that is beyond doubt."""
    usual, spread = before.usual
    if not similar.size or not np.isfinite(spread):
        return 1.0
    gap = float(np.log(max(strength(similar[:, : len(before)].max(axis=1)), RESOLUTION)) - usual)
    doubt = max(LEVEL_SIGNIFICANCE * spread, LEVEL_SPREAD)
    return float(np.clip(np.exp(gap), WEAKEST, 1.0 / WEAKEST)) if abs(gap) > doubt else 1.0


def _place(before: Standing, similar: Float[np.ndarray, "units columns"], units: Pool) -> Int[np.ndarray, " units"]:
    if before.cut > 0.0:
        twins = resemblance(units.standard.T @ units.standard, left_odd=units.odd, right_odd=units.odd)
        return accept(similar, twins, before.cut)
    place = np.full(len(similar), -1)
    rows, columns = linear_sum_assignment(similar, maximize=True)
    place[rows] = columns
    return place


def _signs(
    means: Float[np.ndarray, "units columns"], free: Bool[np.ndarray, " columns"], place: Int[np.ndarray, " units"]
) -> Int[np.ndarray, " units"]:
    sign, held = np.ones(len(place), dtype=np.int64), np.flatnonzero(place >= 0)
    sign[held] = np.where(free[place[held]] & (means[held, place[held]] < 0.0), -1, 1)
    return sign


def _minority(place: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"]) -> Bool[np.ndarray, " units"]:
    """Mark units of fixed sign that stand against most others of the same place."""
    total = np.bincount(place + 1, weights=sign)[place + 1]
    minority: Bool[np.ndarray, " units"] = (place >= 0) & (sign != np.where(total < 0.0, -1, 1))
    return minority


def _found(
    before: Standing, place: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], units: Pool
) -> tuple[Standing, Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Make features of the waiting units that were chosen, and of the newcomer's own duplicates; let the rest wait."""
    met = np.unique(place[place >= len(before)])
    place = np.where(place >= len(before), len(before) + np.searchsorted(met, place), place)
    chosen = met - len(before)
    own, own_sign = _duplicates(before, place, units)
    place = np.where(own >= 0, len(before) + len(chosen) + own, place)
    left = np.flatnonzero(place < 0) if before.cut > 0.0 else np.zeros(0, dtype=np.int64)
    kept = np.delete(np.arange(len(before.waiting)), chosen)
    kept = kept[max(0, len(kept) + len(left) - WAITING) :]
    empty = np.zeros((own.max(initial=-1) + 1, before.sums.shape[1]), dtype=np.float32)
    after = replace(
        before,
        feature=np.concatenate([before.feature, len(before) + np.arange(len(chosen))]),
        network=np.concatenate([before.network, before.waiting_network[chosen]]),
        unit=np.concatenate([before.unit, before.waiting_unit[chosen]]),
        sign=np.concatenate([before.sign, np.ones(len(chosen), dtype=np.int64)]),
        r=np.concatenate([before.r, np.full(len(chosen), np.nan)]),
        sums=np.concatenate([before.sums, before.waiting[chosen], empty]),
        voters=np.concatenate([before.voters, np.repeat([1, 0], [len(chosen), len(empty)])]),
        fixed=np.concatenate([before.fixed, before.waiting_fixed[chosen], np.zeros(len(empty), dtype=bool)]),
        waiting=np.concatenate([before.waiting[kept], units.standard[:, left].T]),
        waiting_network=np.concatenate([before.waiting_network[kept], np.full(len(left), before.networks)]),
        waiting_unit=np.concatenate([before.waiting_unit[kept], units.unit[left]]),
        waiting_fixed=np.concatenate([before.waiting_fixed[kept], ~units.odd[left]]),
    )
    return after, place, np.where(own >= 0, own_sign, sign)


def _duplicates(
    before: Standing, place: Int[np.ndarray, " units"], units: Pool
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Group the newcomer's units without a place that do the same; -1 for single ones."""
    own, sign = np.full(len(place), -1), np.ones(len(place), dtype=np.int64)
    left = np.flatnonzero(place < 0)
    if before.cut <= 0.0 or not len(left):
        return own, sign
    group, turn = link(units.standard[:, left], units.odd[left], before.cut)
    own[left] = renumber(np.where(np.bincount(group)[group] > 1, group, -1))[0]
    sign[left] = np.where(units.odd[left], turn, 1)
    return own, sign


def _join(
    after: Standing, place: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], units: Pool, lineage: str
) -> Standing:
    """Count the newcomer's votes and write down its members."""
    held = np.flatnonzero(place >= 0)
    held = held[np.argsort(place[held], kind="stable")]
    own = place[held]
    touched = np.unique(own)
    votes = cast_votes(units, place, sign, len(after))[:, touched]
    vote = np.asarray(votes.T @ units.standard.T, dtype=np.float32)
    turn = np.ones(len(after), dtype=np.int64)
    turn[own] = np.where(units.odd[held], 1, sign[held])
    r = np.concatenate([after.r, _rowwise(units.standard[:, held].T, after.sums[own])])
    # A founder's only fellow member is the newcomer.
    alone = np.flatnonzero((np.bincount(after.feature, minlength=len(after)) == 1)[after.feature])
    alone = alone[np.isin(after.feature[alone], touched)]
    founded = after.feature[alone]
    r[alone] = after.sign[alone] * _rowwise(after.sums[founded], vote[np.searchsorted(touched, founded)])
    sums = after.sums.copy()
    sums[touched] = (sums[touched] + vote) * turn[touched, None].astype(np.float32)
    voters, fixed = after.voters.copy(), after.fixed.copy()
    voters[touched] += 1
    fixed[own[~units.odd[held]]] = True
    feature = np.concatenate([after.feature, own])
    return replace(
        after,
        feature=feature,
        network=np.concatenate([after.network, np.full(len(own), after.networks)]),
        unit=np.concatenate([after.unit, units.unit[held]]),
        sign=np.concatenate([after.sign, sign[held]]) * turn[feature],
        r=r * turn[feature],
        sums=sums,
        voters=voters,
        fixed=fixed,
        lineages=(*after.lineages, lineage),
        networks=after.networks + 1,
    )


def _rowwise(
    left: Float[np.ndarray, "rows samples"], right: Float[np.ndarray, "rows samples"]
) -> Float[np.ndarray, " rows"]:
    """Correlate row by row; NaN where one is nothing but zeros."""
    length = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    r = np.einsum("rs,rs->r", left, right) / np.where(length > 0.0, length, 1.0)
    return np.where(length > 0.0, np.clip(r, -1.0, 1.0), np.nan).astype(np.float64)
