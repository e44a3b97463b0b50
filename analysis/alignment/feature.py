"""Groups of units that do the same thing, and what can be measured on a given grouping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from ...zoo.errors import BadInput
from .moments import measure
from .similarity import Activations, standardise


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """All live units of a level side by side, centred and of length one, with where they come from."""

    standard: Float[np.ndarray, "samples units"]
    network: Int[np.ndarray, " units"]
    unit: Int[np.ndarray, " units"]
    lineage: Int[np.ndarray, " units"]
    odd: Bool[np.ndarray, " units"]
    lineages: int


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of one level: a table of members, and what is known of every feature.

    Members are sorted by feature, network, unit. `r` is a member's correlation with the prototype of the
    other lineages (NaN where there is no other), in the member's own sign. `agreement` is the mean over
    lineages of what each lineage's members together correlate with the others' prototype; `support` is
    that times `universality`, so it counts lineages as well as likeness. `cut` is the mean correlation
    with the members of other lineages that membership asked for, `cut_from` where it came from.
    """

    feature: Int[np.ndarray, " members"]
    network: Int[np.ndarray, " members"]
    unit: Int[np.ndarray, " members"]
    sign: Int[np.ndarray, " members"]
    r: Float[np.ndarray, " members"]
    prototypes: Float[np.ndarray, "samples features"]
    universality: Float[np.ndarray, " features"]
    agreement: Float[np.ndarray, " features"]
    support: Float[np.ndarray, " features"]
    cut: float
    cut_from: str

    def __len__(self) -> int:
        return len(self.support)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Every unit against every feature, its own lineage left out."""

    mean: Float[np.ndarray, "units features"]
    r: Float[np.ndarray, "units features"]
    others: Int[np.ndarray, "units features"]


def pool(level: Sequence[Activations]) -> Pool:
    """Lay the live units of a level side by side.

    Raises BadInput for a level without networks and for networks recorded on different samples.
    """
    if not level:
        raise BadInput("a level without networks has no features", hint="give at least one network")
    if len({len(one.values) for one in level}) > 1:
        raise BadInput(
            f"networks of one level have {sorted({len(one.values) for one in level})} samples",
            hint="record all networks on the same probe",
        )
    live = [np.flatnonzero(one.alive & measure(one.values).alive) for one in level]
    names = list(dict.fromkeys(one.lineage for one in level))
    sizes = [len(units) for units in live]
    blocks = [standardise(one.values[:, units]).astype(np.float32) for one, units in zip(level, live, strict=True)]
    return Pool(
        np.concatenate(blocks, axis=1),
        np.repeat(np.arange(len(level)), sizes),
        np.concatenate(live),
        np.repeat([names.index(one.lineage) for one in level], sizes).astype(np.int64),
        np.repeat([one.odd for one in level], sizes).astype(bool),
        len(names),
    )


def network_blocks(units: Pool) -> list[tuple[int, slice]]:
    """Give the networks that have live units, and where those stand."""
    names, starts = np.unique(units.network, return_index=True)
    edges = [*starts.tolist(), len(units.network)]
    return [(name, slice(*edge)) for name, edge in zip(names.tolist(), pairwise(edges), strict=True)]


def measure_features(
    units: Pool,
    label: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
    *,
    cut: float = 0.0,
    cut_from: str = "given",
) -> Features:
    """Measure the features that a label for every unit (-1: none) and its sign make."""
    label, count = renumber(label)
    sign = orient(label, sign, units.odd, count)
    scores = score(units, label, sign, count)
    votes = cast_votes(units, label, sign, count)
    member = np.flatnonzero(label >= 0)
    member = member[np.lexsort((units.unit[member], units.network[member], label[member]))]
    own = label[member]
    r = np.where(scores.others[member, own] > 0, scores.r[member, own], np.nan)
    agreement, lineages = _agreement(units, votes, count)
    universality = lineages / max(units.lineages, 1)
    return Features(
        own,
        units.network[member],
        units.unit[member],
        sign[member],
        r,
        _prototypes(units, votes),
        universality,
        agreement,
        np.where(lineages > 1, universality * np.nan_to_num(agreement), 0.0),
        cut,
        cut_from,
    )


def features_from(level: Sequence[Activations], groups: Sequence[Int[np.ndarray, " _units"]]) -> Features:
    """Measure features that are known beforehand, such as outputs named alike in all networks.

    groups: for every network, the feature of each of its units, -1 for none. Dead units are left out.
    Raises BadInput where the groups do not fit the units.
    """
    if [len(group) for group in groups] != [one.alive.size for one in level]:
        raise BadInput(
            "the grouping does not name a feature for every unit",
            hint="give one whole number per unit and network, -1 for none",
        )
    units = pool(level)
    label = np.array(
        [groups[network][unit] for network, unit in zip(units.network, units.unit, strict=True)],
        dtype=np.int64,
    )
    return measure_features(units, label, np.ones_like(label), cut_from="grouping")


def reliability(level: Sequence[Activations], features: Features) -> Float[np.ndarray, " features"]:
    """Tell which share of a feature's members have it as their best one on both halves of the samples.

    In [0, 1]; NaN for a feature of a single lineage. Halves are drawn at random, always the same way.
    """
    units = pool(level)
    label, sign = labels(units, features), np.ones(len(units.unit), dtype=np.int64)
    sign[label >= 0] = member_signs(units, features)[label >= 0]
    order = np.random.default_rng(0).permutation(len(units.standard))
    member = np.flatnonzero(label >= 0)
    stable = np.ones(len(member), dtype=bool)
    for rows in np.array_split(order, 2):
        half = Pool(
            standardise(units.standard[rows]).astype(np.float32),
            units.network,
            units.unit,
            units.lineage,
            units.odd,
            units.lineages,
        )
        found = likeness(half, score(half, label, sign, len(features)), label, sign)
        stable &= found[member].argmax(axis=1) == label[member] if len(features) else True
    total = np.bincount(label[member], minlength=len(features))
    share = np.bincount(label[member], weights=stable, minlength=len(features)) / np.maximum(total, 1)
    return np.where(np.isfinite(features.agreement), share, np.nan)


def labels(units: Pool, features: Features) -> Int[np.ndarray, " units"]:
    """Look up the feature of every pooled unit, -1 for none."""
    return _lookup(units, features, features.feature, missing=-1)


def member_signs(units: Pool, features: Features) -> Int[np.ndarray, " units"]:
    """Look up the sign of every pooled unit, 1 where it has no feature."""
    return _lookup(units, features, features.sign, missing=1)


def score(units: Pool, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], count: int) -> Scores:
    """Hold every unit against the votes of the other lineages for every feature.

    `mean` is the unit's mean correlation with those votes, what average linkage looks at; `r` its
    correlation with their sum, the prototype without the unit's own lineage.
    """
    votes = cast_votes(units, label, sign, count)
    sums = units.standard @ votes if count else np.zeros((len(units.standard), 0), dtype=np.float32)
    present = _present(units, label, count)
    mean = np.zeros((len(label), count), dtype=np.float32)
    r, others = np.zeros_like(mean), np.zeros(mean.shape, dtype=np.int64)
    for lineage in range(units.lineages):
        mine = np.flatnonzero(units.lineage == lineage)
        rest = sums - units.standard[:, mine] @ votes[mine]
        heard = present.sum(axis=0) - present[lineage]
        products = units.standard[:, mine].T @ rest
        length = np.linalg.norm(rest, axis=0)
        mean[mine] = np.where(heard > 0, products / np.maximum(heard, 1), 0.0)
        r[mine] = np.where(heard > 0, products / np.maximum(length, 1e-12), 0.0)
        others[mine] = heard
    return Scores(mean, r, others)


def likeness(
    units: Pool, scores: Scores, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"]
) -> Float[np.ndarray, "units features"]:
    """Give every unit's mean correlation with a feature, without its sign where it may be flipped.

    An odd unit may always be; another one only against a feature that has no member of a fixed sign.
    """
    fixed = np.zeros(scores.mean.shape[1], dtype=bool)
    held = (label >= 0) & ~units.odd
    fixed[label[held]] = True
    free = units.odd[:, None] | ~fixed
    return np.where(free, np.abs(scores.mean), scores.mean)


def orient(
    label: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
    odd: Bool[np.ndarray, " units"],
    count: int,
) -> Int[np.ndarray, " units"]:
    """Turn every feature so that most units of fixed sign count as they are, or else its first unit."""
    member = np.flatnonzero(label >= 0)
    first = member[::-1]
    turn = np.ones(count, dtype=np.int64)
    turn[label[first]] = sign[first]
    fixed = member[~odd[member]]
    majority = np.sign(np.bincount(label[fixed], weights=sign[fixed], minlength=count)).astype(np.int64)
    turn = np.where(majority != 0, majority, turn)
    return np.where(label >= 0, sign * turn[label], 1) if count else np.ones_like(sign)


def renumber(label: Int[np.ndarray, " units"]) -> tuple[Int[np.ndarray, " units"], int]:
    """Number the groups that occur from 0, keeping -1."""
    names, dense = np.unique(label, return_inverse=True)
    shift = int(names.size > 0 and names[0] < 0)
    return dense.reshape(label.shape) - shift, names.size - shift


def _lookup(
    units: Pool, features: Features, values: Int[np.ndarray, " members"], *, missing: int
) -> Int[np.ndarray, " units"]:
    named = dict(zip(zip(features.network.tolist(), features.unit.tolist(), strict=True), values.tolist(), strict=True))
    places = zip(units.network.tolist(), units.unit.tolist(), strict=True)
    return np.array([named.get(place, missing) for place in places], dtype=np.int64)


def _present(units: Pool, label: Int[np.ndarray, " units"], count: int) -> Bool[np.ndarray, "lineages features"]:
    present = np.zeros((units.lineages, count), dtype=bool)
    held = label >= 0
    present[units.lineage[held], label[held]] = True
    return present


def cast_votes(units: Pool, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], count: int) -> csr_array:
    """Weigh units so that every lineage has one vote in a feature, shared by its members."""
    held = np.flatnonzero(label >= 0)
    ballots = units.lineage[held] * max(count, 1) + label[held]
    size = np.bincount(ballots, minlength=units.lineages * max(count, 1))
    weight = (sign[held] / size[ballots]).astype(np.float32)
    return csr_array((weight, (held, label[held])), shape=(len(label), count))


def _prototypes(units: Pool, votes: csr_array) -> Float[np.ndarray, "samples features"]:
    mean = standardise(units.standard @ votes)
    scaled: Float[np.ndarray, "samples features"] = (mean * np.sqrt(len(mean))).astype(np.float32)
    return scaled


def _agreement(
    units: Pool, votes: csr_array, count: int
) -> tuple[Float[np.ndarray, " features"], Int[np.ndarray, " features"]]:
    """Correlate each lineage's vote with the sum of the others' and average over the lineages that vote."""
    sums = units.standard @ votes
    total, lineages = np.zeros(count), np.zeros(count, dtype=np.int64)
    for lineage in range(units.lineages):
        mine = np.flatnonzero(units.lineage == lineage)
        vote = units.standard[:, mine] @ votes[mine]
        rest = sums - vote
        lengths = np.linalg.norm(vote, axis=0) * np.linalg.norm(rest, axis=0)
        total += np.einsum("sf,sf->f", vote, rest) / np.maximum(lengths, 1e-12)
        lineages += np.diff(votes[mine].tocsc().indptr) > 0
    return np.where(lineages > 1, total / np.maximum(lineages, 1), np.nan), lineages
