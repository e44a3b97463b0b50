"""Which unit of one layer is which unit of another, by their similarities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from .nearest import mutual as mutual_choice
from .nearest import nearest
from .null import null_zoos
from .similarity import Activations, product, resemblance, standardise

CHANCE = 0.95
"""A partial matching leaves a unit alone where so many units of a null do as well."""

Pairs = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
Pairing = Callable[[Float[np.ndarray, "left right"]], Pairs]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """For every left unit its partner on the right (-1: none), the partner's sign and their signed r.

    `q` is the false discovery rate at which a match would pass, NaN without a partner; None where the
    alignment was not held against chance.
    """

    partner: Int[np.ndarray, " left"]
    sign: Int[np.ndarray, " left"]
    r: Float[np.ndarray, " left"]
    q: Float[np.ndarray, " left"] | None = None


def assignment(left: Activations, right: Activations, *, device: str = "cpu") -> Alignment:
    """Match one to one so that the sum of similarities is largest (Li et al. 2016, Ainsworth et al. 2023)."""
    return _matched(left, right, pair_by_assignment, device)


def mutual(left: Activations, right: Activations, *, device: str = "cpu") -> Alignment:
    """Match the units that are each other's most similar one; of layers of any width, in blocks."""
    found = nearest(
        left.values,
        right.values,
        left_odd=left.odd,
        right_odd=right.odd,
        left_alive=left.alive,
        right_alive=right.alive,
        device=device,
    )
    rows, columns = mutual_choice(found)
    partner, r = np.full(left.alive.size, -1), np.zeros(left.alive.size)
    partner[rows], r[rows] = columns, found.left.r[rows, 0]
    return Alignment(partner, np.where(r < 0.0, -1, 1), r)


def partial(left: Activations, right: Activations, *, device: str = "cpu") -> Alignment:
    """Match one to one, leaving alone the units that find no better partner than chance would give.

    Partial transport between unit masses, with the price of staying alone as its multiplier (Caffarelli &
    McCann 2010, section 2). The price is what the best twentieth of units finds in a rotated copy of the
    other layer, or a shuffled one where it has no other axes.
    """
    zoos = null_zoos([left, right], draw=0, seed=0)
    null = zoos.get("rotated", zoos["shuffled"])
    best = _similar(null[0], null[1], device)[1].max(axis=1, initial=0.0)
    price = float(np.quantile(best, CHANCE)) if best.size else 0.0
    return _matched(left, right, lambda similarity: pair_by_assignment(similarity - price), device)


def pair_by_assignment(similarity: Float[np.ndarray, "left right"]) -> Pairs:
    """Pair one to one so that the sum of similarities is largest; pairs that add nothing are dropped."""
    # Solved as it stands, so that a weak pair never costs a strong one; then what is worth nothing goes.
    left, right = linear_sum_assignment(np.maximum(similarity, 0.0), maximize=True)
    kept = similarity[left, right] > 0.0
    return left[kept], right[kept]


def pair_by_mutual_choice(similarity: Float[np.ndarray, "left right"]) -> Pairs:
    """Pair the units that are each other's most similar one."""
    if not similarity.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    choice, reply = similarity.argmax(axis=1), similarity.argmax(axis=0)
    left = np.arange(len(choice))
    kept = (reply[choice] == left) & (similarity[left, choice] > 0.0)
    return left[kept], choice[kept]


def alignment(
    r: Float[np.ndarray, "left right"], rows: Int[np.ndarray, " pairs"], columns: Int[np.ndarray, " pairs"]
) -> Alignment:
    """Write pairs as an alignment, with the correlations between all units."""
    partner, values = np.full(len(r), -1), np.zeros(len(r))
    partner[rows], values[rows] = columns, np.clip(r[rows, columns], -1.0, 1.0)
    return Alignment(partner, np.where(values < 0.0, -1, 1), values)


def _matched(left: Activations, right: Activations, pairing: Pairing, device: str) -> Alignment:
    r, similarity = _similar(left, right, device)
    rows, columns = np.flatnonzero(left.alive), np.flatnonzero(right.alive)
    first, second = pairing(similarity)
    return alignment(r, rows[first], columns[second])


def _similar(
    left: Activations, right: Activations, device: str
) -> tuple[Float[np.ndarray, "left right"], Float[np.ndarray, "live_left live_right"]]:
    """Correlate all units; and how alike the live ones are, as far as their signs allow."""
    first, second = (standardise(one.values, alive=one.alive).astype(np.float32) for one in (left, right))
    r = product(first, second, device=device)
    live = r[np.ix_(np.flatnonzero(left.alive), np.flatnonzero(right.alive))]
    return r, resemblance(live, left_odd=left.odd, right_odd=right.odd)
