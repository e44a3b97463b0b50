"""First groups of units, from which features grow."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from .batches import Layers, Side
from .feature import Pool
from .nearest import search
from .similarity import resemblance

# So many networks show every feature that a fifth of all have twice, nearly always.
FEWEST_NETWORKS = 20

Seeds = tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]


def find_seeds(units: Pool, cut: float, *, most: int) -> Seeds:
    """Group units by average linkage; give groups (-1: not looked at) and signs within them.

    Linkage takes memory for all pairs at once: of more than `most` units, those of some of the networks are
    grouped, or of all of them in another way, where only a few networks would be left.
    """
    some = _some_networks(units, most)
    if len(np.unique(units.network[some])) < min(FEWEST_NETWORKS, len(np.unique(units.network))):
        return merge_nearest(units.standard, units.odd, cut)
    label, sign = np.full(len(units.unit), -1), np.ones(len(units.unit), dtype=np.int64)
    label[some], sign[some] = link(units.standard[:, some], units.odd[some], cut)
    return label, sign


def _some_networks(units: Pool, most: int) -> Int[np.ndarray, " units"]:
    sizes = np.bincount(units.network)
    if sizes.sum() <= most:
        return np.arange(len(units.network))
    spread = np.argsort(np.arange(len(sizes)) * 0.6180339887 % 1.0)  # evenly over the zoo, whatever its order
    chosen = spread[np.cumsum(sizes[spread]) <= most]
    return np.flatnonzero(np.isin(units.network, chosen))


def link(
    standard: Float[np.ndarray, "samples units"], odd: Bool[np.ndarray, " units"], cut: float
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Group standardised units by average linkage at the cut; give groups, from 0, and signs within them."""
    if len(odd) < 2:
        return np.zeros(len(odd), dtype=np.int64), np.ones(len(odd), dtype=np.int64)
    r = standard.T @ standard
    distance = 1.0 - resemblance(r, left_odd=odd, right_odd=odd)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(np.maximum(distance, 0.0), checks=False), "average")
    found = fcluster(tree, 1.0 - cut, criterion="distance").astype(np.int64) - 1
    # A group's signs are taken from its most central unit.
    order = np.lexsort((distance.sum(axis=1), found))
    centre = order[np.searchsorted(found[order], found)]
    return found, np.where(r[np.arange(len(odd)), centre] < 0.0, -1, 1)


def merge_nearest(standard: Float[np.ndarray, "samples units"], odd: Bool[np.ndarray, " units"], cut: float) -> Seeds:
    """Do what `link` does in bounded memory: merge groups that are each other's nearest, until none reaches the cut.

    Reciprocal nearest neighbours give the tree of average linkage (Murtagh 1983). Products of groups' means
    are means of the units' correlations, in the signs that the groups gave them.
    """
    group, sign = np.arange(len(odd)), np.ones(len(odd), dtype=np.int64)
    means, size, free = standard, np.ones(len(odd), dtype=np.int64), odd.copy()
    while True:
        first, second, turn = _reciprocal(means, free, cut)
        if not len(first):
            return group, sign
        # The one that may be flipped takes the other's sign.
        first, second = np.where(free[second], first, second), np.where(free[second], second, first)
        target = np.arange(len(size))
        target[second] = first
        flip = np.ones(len(size), dtype=np.int64)
        flip[second] = turn
        sign, (names, group) = sign * flip[group], np.unique(target[group], return_inverse=True)
        weights = csr_array((size * flip, (np.arange(len(size)), np.searchsorted(names, target))))
        total = np.bincount(np.searchsorted(names, target), weights=size).astype(np.int64)
        means = np.asarray(means @ weights / total, dtype=np.float32)
        free[first] &= free[second]
        size, free = total, free[names]


def _reciprocal(
    means: Float[np.ndarray, "samples groups"], free: Bool[np.ndarray, " groups"], cut: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pair the groups that are each other's nearest and reach the cut; give the sign between them."""
    groups = np.arange(len(free))
    side = Side(np.zeros(len(free)), np.ones(len(free)), free)
    found = search(Layers(lambda: [(means, means)], side, side, len(means)), k=2).left
    own = found.partner[:, 0] == groups
    partner, r = found.partner[groups, own.astype(int)], found.r[groups, own.astype(int)]
    near = (partner > groups) & (partner[partner] == groups) & (np.abs(r) >= cut)
    return groups[near], partner[near], np.where(r[near] < 0.0, -1, 1)
