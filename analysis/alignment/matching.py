"""Which unit of one layer is which unit of another, by their similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from .nearest import mutual as mutual_choice
from .nearest import nearest
from .null import null_zoos
from .similarity import Activations, product, resemblance, standardise

WIDE = 4096
CHANCE = 0.95
"""A partial matching leaves a unit alone where so many units of a null do as well."""

Pairs = tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]
Live = Float[np.ndarray, "live_left live_right"]
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


Alignments = Mapping[tuple[int, int], Alignment]


def assignment(networks: Sequence[Activations], device: str = "cpu") -> Alignments:
    """Match one to one so that the sum of similarities is largest (Li et al. 2016, Ainsworth et al. 2023)."""
    return _matched(networks, pair_by_assignment, device)


def mutual(networks: Sequence[Activations], device: str = "cpu") -> Alignments:
    """Match the units that are each other's most similar one; of wide layers in blocks, never all correlations."""
    if max((one.alive.size for one in networks), default=0) <= WIDE:
        return _matched(networks, pair_by_mutual_choice, device)
    return {
        (left, right): _nearest(networks[left], networks[right], device)
        for left, right in combinations(range(len(networks)), 2)
    }


def partial(networks: Sequence[Activations], device: str = "cpu") -> Alignments:
    """Match one to one, leaving alone the units that find no better partner than chance would give.

    Partial transport between unit masses, with the price of staying alone as its multiplier (Caffarelli &
    McCann 2010, section 2). The price is what the best twentieth of units finds in rotated copies of the
    layers, or shuffled ones where they have no other axes.
    """
    zoos = null_zoos(networks, draw=0, seed=0)
    null = _similarities(zoos.get("rotated", zoos["shuffled"]), device)
    prices = {pair: _price(similarity) for pair, _, similarity in null}
    return {
        pair: _aligned(networks, pair, r, pair_by_assignment(similarity - prices[pair]))
        for pair, r, similarity in _similarities(networks, device)
    }


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
    units: int, rows: Int[np.ndarray, " pairs"], columns: Int[np.ndarray, " pairs"], r: Float[np.ndarray, " pairs"]
) -> Alignment:
    """Write pairs, and what they correlate, as an alignment of so many left units."""
    partner, values = np.full(units, -1), np.zeros(units)
    partner[rows], values[rows] = columns, np.clip(r, -1.0, 1.0)
    return Alignment(partner, np.where(values < 0.0, -1, 1), values)


def _matched(networks: Sequence[Activations], pairing: Pairing, device: str) -> Alignments:
    return {
        pair: _aligned(networks, pair, r, pairing(similarity))
        for pair, r, similarity in _similarities(networks, device)
    }


def _similarities(networks: Sequence[Activations], device: str) -> Iterator[tuple[tuple[int, int], Live, Live]]:
    """Correlate the live units of every two networks; and tell how alike they are, as far as their signs allow."""
    standard = [standardise(one.values, alive=one.alive)[:, one.alive].astype(np.float32) for one in networks]
    for left, right in combinations(range(len(networks)), 2):
        r = product(standard[left], standard[right], device=device)
        yield (left, right), r, resemblance(r, left_odd=networks[left].odd, right_odd=networks[right].odd)


def _aligned(networks: Sequence[Activations], pair: tuple[int, int], r: Live, pairs: Pairs) -> Alignment:
    left, right = (np.flatnonzero(networks[one].alive) for one in pair)
    rows, columns = pairs
    return alignment(networks[pair[0]].alive.size, left[rows], right[columns], r[rows, columns])


def _price(similarity: Live) -> float:
    best = similarity.max(axis=1, initial=0.0)
    return float(np.quantile(best, CHANCE)) if best.size else 0.0


def _nearest(left: Activations, right: Activations, device: str) -> Alignment:
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
    return alignment(left.alive.size, rows, columns, found.left.r[rows, 0])
