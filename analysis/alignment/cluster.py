"""Find the features of a level: units of many networks that do the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from .feature import Features, Pool, likeness, measure_features, network_blocks, orient, pool, renumber, score
from .matching import pair_by_mutual_choice
from .null import null_zoos
from .seeds import find_seeds
from .similarity import Activations, resemblance
from .universe import universe

ROUNDS = 10
STARTS = 8
# Above this many pooled units linkage takes too much memory for all pairs at once: see `find_seeds`.
SEED_UNITS = 8192
# Two modes are believed when they shorten the description by this many nats a pair: smooth functions
# without anything in common stayed below 0.06 in most zoos, planted ones were above 0.06 in nearly all.
TWO_MODES = 0.06
# Where true pairs are few, the long tail of the weakest ones hides them.
TAIL = 0.1
SMALLEST_MODE = 0.02
NULL_QUANTILE = 0.95
# One draw of a wide zoo has enough pairs; narrow ones are drawn again until their quantile means something.
ENOUGH_PAIRS = 200
MOST_DRAWS = 50
# Networks differ in noise when the spread of their factors is this many times its error, and worth the
# while: zoos of even noise stayed below 3 and 0.01, noise of 0.3 and 0.8 in one zoo gave 17 and 0.1.
LEVEL_SIGNIFICANCE = 5.0
LEVEL_SPREAD = 0.03
FEWEST_TO_LEVEL = 4
WEAKEST = 0.7
RESOLUTION = 1e-6


def cluster(level: Sequence[Activations], *, fallback: float | None = None, cut: float | None = None) -> Features:
    """Group the units of a level that do the same thing, across networks of any widths.

    Seeds come from average linkage of the units' correlations; then every network's units are assigned to
    the seeds' prototypes, accepted at the cut, duplicates absorbed, until nothing moves. The cut lies
    between the two modes of mutual nearest similarities; where there is one mode only it is `fallback`,
    by default what the best mutual pairs of rotated axes (or shuffled samples) reach by chance. A `cut` that is
    given is taken as it is, for networks as noisy as they are. A group inside a single lineage is kept as a
    feature with support 0. One lineage alone has no features.
    """
    whole = pool(level)
    if len(np.unique(whole.lineage)) < 2:
        return measure_features(whole, np.full(len(whole.unit), -1), np.ones(len(whole.unit), dtype=np.int64))
    units, origin = (whole, "given") if cut is not None else (level_out(whole), "two modes")
    cut = natural_cut(mutual_similarities(units)) if cut is None else cut
    if cut is None:
        cut, origin = (chance_cut([level], seed=0) if fallback is None else fallback), "nulls"
    seed_label, seed_sign = _settled(units, *find_seeds(units, cut, most=SEED_UNITS))
    label, sign = _refine(units, seed_label, seed_sign, cut)
    label, sign = _keep_repeats(units, label, sign, seed_label, seed_sign)
    return measure_features(whole, label, sign, cut=cut, cut_from=origin)


def cluster_outputs(level: Sequence[Activations]) -> Features:
    """Group output units one to one: as many features as a network has outputs, one unit of each network.

    The task fixes what outputs there are, so units are assigned to a universe of that many slots, however
    weak the likeness. Networks with different numbers of outputs have no such universe: see `cluster`.
    """
    units = pool(level)
    if len({one.alive.size for one in level}) > 1:
        return cluster(level)
    placed = universe(level, size=level[0].alive.size, starts=STARTS)
    places = list(zip(units.network, units.unit, strict=True))
    label = np.array([placed.slots[network][unit] for network, unit in places], dtype=np.int64)
    sign = np.array([placed.signs[network][unit] for network, unit in places], dtype=np.int64)
    return measure_features(units, renumber(label)[0], sign, cut_from="assignment")


def mutual_similarities(units: Pool) -> Float[np.ndarray, " pairs"]:
    """Collect the similarities of units of two lineages that are each other's nearest."""
    found = [similar for _, similar in _mutual_blocks(units)]
    return np.concatenate(found) if found else np.zeros(0)


def level_out(units: Pool) -> Pool:
    """Make up for networks that are noisier than others, so that one cut can serve all.

    Independent noise multiplies every correlation by one factor for each of the two networks. The factors
    are read off the best tenth of mutual nearest pairs, by least squares over all pairs of networks. Where
    they differ by more than their error, units are lengthened so that all networks correlate as the best
    one does; only by so much, or a network that has nothing in common with the others would join them.
    """
    networks = np.unique(units.network)
    blocks = [(pair, strength(similar)) for pair, similar in _mutual_blocks(units) if similar.size]
    if len(networks) < FEWEST_TO_LEVEL or len(blocks) <= len(networks):
        return units
    design = np.array([np.isin(networks, pair) for pair, _ in blocks], dtype=np.float64)
    logs = np.log([max(top, RESOLUTION) for _, top in blocks])
    factor = np.linalg.lstsq(design, logs, rcond=None)[0]
    error = np.sum((logs - design @ factor) ** 2) / (len(blocks) - len(networks)) / (len(networks) - 2)
    if factor.var() <= max(LEVEL_SIGNIFICANCE**2 * error, LEVEL_SPREAD**2):
        return units
    share = np.maximum(np.exp(factor - factor.max()), WEAKEST)
    scale = share[np.searchsorted(networks, units.network)]
    return replace(units, standard=(units.standard / scale).astype(np.float32))


def natural_cut(similarities: Float[np.ndarray, " pairs"]) -> float | None:
    """Find the similarity between chance pairs and true ones; None where the distribution has one mode.

    Minimum error thresholding (Kittler & Illingworth 1986) of Fisher's z, in which a correlation's
    sampling error does not depend on its size: the narrow peak of true pairs is told from the broad
    flank of chance, which Otsu's criterion with its equal widths cuts through. The gain over a single
    normal distribution decides whether there are two modes; where it does not suffice, the weakest pairs
    are left out and it is tried once more.
    """
    z = np.sort(np.arctanh(np.clip(similarities, 0.0, 1.0 - RESOLUTION)))
    for tail in (0.0, TAIL):
        kept = z[int(tail * len(z)) :]
        threshold, gain = _least_error(kept)
        if gain >= TWO_MODES:
            return float(np.tanh(threshold))
    return None


def chance_cut(zoos: Sequence[Sequence[Activations]], *, seed: int) -> float:
    """Give what the best twentieth of mutual nearest pairs reaches by chance.

    zoos: null zoos to look at; a single real one is rotated first, or shuffled where it has no axes, as often
    as gives some hundred pairs.
    """
    if len(zoos) == 1:
        found = [_chance_pairs(zoos[0], seed=seed)]
    else:
        found = [mutual_similarities(level_out(pool(zoo))) for zoo in zoos]
    return float(max((np.quantile(best, NULL_QUANTILE) for best in found if best.size), default=NULL_QUANTILE))


def _chance_pairs(level: Sequence[Activations], *, seed: int) -> Float[np.ndarray, " pairs"]:
    pairs = np.zeros(0)
    for draw in range(MOST_DRAWS):
        drawn = null_zoos(level, draw=draw, seed=seed)
        zoo = drawn.get("rotated", drawn["shuffled"])
        pairs = np.concatenate([pairs, mutual_similarities(level_out(pool(zoo)))])
        if len(pairs) >= ENOUGH_PAIRS:
            break
    return pairs


def _mutual_blocks(units: Pool) -> Iterator[tuple[tuple[int, int], Float[np.ndarray, " pairs"]]]:
    blocks = network_blocks(units)
    for (first, left), (second, right) in combinations(blocks, 2):
        if units.lineage[left.start] != units.lineage[right.start]:
            similar = _resemblance(units, left, right)
            yield (first, second), similar[pair_by_mutual_choice(similar)].astype(np.float64)


def strength(similarities: Float[np.ndarray, " pairs"]) -> float:
    """Give the mean of the best tenth."""
    return float(np.mean(np.sort(similarities)[-max(3, len(similarities) // 10) :]))


def _least_error(z: Float[np.ndarray, " pairs"]) -> tuple[float, float]:
    """Split sorted values into two normal distributions; give the threshold and what two save over one."""
    pairs, edge = len(z), max(5, int(SMALLEST_MODE * len(z)))
    if pairs < 4 * edge or z.var() < RESOLUTION:
        return 0.0, 0.0
    below = np.arange(edge, pairs - edge + 1)
    weight = below / pairs
    sums, squares = np.cumsum(z), np.cumsum(z * z)
    low = _spread(sums[below - 1], squares[below - 1], below)
    high = _spread(sums[-1] - sums[below - 1], squares[-1] - squares[below - 1], pairs - below)
    entropy = -weight * np.log(weight) - (1.0 - weight) * np.log(1.0 - weight)
    cost = weight * np.log(low) + (1.0 - weight) * np.log(high) + entropy
    best = int(cost.argmin())
    threshold = (z[below[best] - 1] + z[below[best]]) / 2.0
    return float(threshold), float(np.log(z.std()) - cost[best])


def _spread(
    total: Float[np.ndarray, " cuts"], squares: Float[np.ndarray, " cuts"], count: Int[np.ndarray, " cuts"]
) -> Float[np.ndarray, " cuts"]:
    spread: Float[np.ndarray, " cuts"] = np.sqrt(np.maximum(squares / count - (total / count) ** 2, RESOLUTION))
    return spread


def _resemblance(units: Pool, left: slice, right: slice) -> Float[np.ndarray, "left right"]:
    r = units.standard[:, left].T @ units.standard[:, right]
    return resemblance(r, left_odd=units.odd[left], right_odd=units.odd[right])


def _refine(
    units: Pool, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"], cut: float
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    for _ in range(ROUNDS):
        before = label
        scores = score(units, label, sign, int(label.max(initial=-1)) + 1)
        similar = likeness(units, scores, label, sign)
        label = np.full_like(label, -1)
        for _, rows in network_blocks(units):
            label[rows] = accept(similar[rows], _resemblance(units, rows, rows), cut)
        held = np.flatnonzero(label >= 0)
        sign = np.ones_like(sign)
        sign[held] = np.where(scores.mean[held, label[held]] < 0.0, -1, 1)
        label, sign = _settled(units, label, sign)
        if np.array_equal(label, before):
            break
    return label, sign


def accept(
    similar: Float[np.ndarray, "units features"], twins: Float[np.ndarray, "units units"], cut: float
) -> Int[np.ndarray, " units"]:
    """Assign one network's units to prototypes, one to one first; then absorb duplicates.

    A unit that the assignment sends to its second best prototype, because a unit that does the same
    already has the best, is a duplicate too.
    """
    choice = np.full(len(similar), -1)
    if not similar.shape[1]:
        return choice
    best = np.where(similar.max(axis=1) >= cut, similar.argmax(axis=1), -1)
    wanted = np.flatnonzero((similar >= cut).any(axis=0))
    gain = np.maximum(similar[:, wanted] - cut, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    kept = similar[rows, wanted[columns]] >= cut
    choice[rows[kept]] = wanted[columns[kept]]
    holder = {int(feature): unit for unit, feature in enumerate(choice) if feature >= 0}
    for unit in np.flatnonzero(choice != best):
        first = holder.get(int(best[unit]))
        if choice[unit] < 0 or (first is not None and twins[unit, first] >= cut):
            choice[unit] = best[unit]
    return choice


def _settled(
    units: Pool, label: Int[np.ndarray, " units"], sign: Int[np.ndarray, " units"]
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Turn features the right way round, drop what does not fit their sign, and single units."""
    label, count = renumber(label)
    sign = orient(label, sign, units.odd, count)
    label = np.where(~units.odd & (sign < 0), -1, label)
    size = np.bincount(label[label >= 0], minlength=count + 1)
    label, _ = renumber(np.where((label >= 0) & (size[label] > 1), label, -1))
    return label, np.where(label >= 0, sign, 1)


def _keep_repeats(
    units: Pool,
    label: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
    seed_label: Int[np.ndarray, " units"],
    seed_sign: Int[np.ndarray, " units"],
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Bring back the seeds whose units all belong to one lineage and found no other prototype."""
    left = np.where(label < 0, seed_label, -1)
    first = label.max(initial=-1) + 1
    for group in np.unique(left[left >= 0]):
        members = left == group
        if members.sum() > 1 and len(np.unique(units.lineage[members])) == 1:
            label, sign = np.where(members, first, label), np.where(members, seed_sign, sign)
            first += 1
    return _settled(units, label, sign)
