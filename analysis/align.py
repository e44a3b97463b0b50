"""Which unit of one network is which unit of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from ..zoo.errors import BadInput
from .similarity import Activations, resemblance, standardise

ROUNDS = 100
# A gain must exceed float32 rounding, or two equal assignments would take turns for ever.
GAIN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """For every left unit its partner on the right (-1: none), the partner's sign and their signed r."""

    partner: Int[np.ndarray, " left"]
    sign: Int[np.ndarray, " left"]
    r: Float[np.ndarray, " left"]


@dataclass(frozen=True, slots=True, eq=False)
class Universe:
    """Slots shared by all networks: where each unit went (-1: dead or left over) and with which sign."""

    slots: tuple[Int[np.ndarray, " _units"], ...]
    signs: tuple[Int[np.ndarray, " _units"], ...]
    total: float


Alignments = Mapping[tuple[int, int], Alignment]
Method = Callable[[Sequence[Activations]], Alignments]
Pairing = Callable[[Float[np.ndarray, "left right"]], tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]]


def align(networks: Sequence[Activations], *, method: str = "mutual") -> Alignments:
    """Align every two networks by one of METHODS; keys are (left, right) with left < right.

    A pair has r < 0 only where one of the two layers is odd. Raises BadInput for an unknown method and
    for networks recorded on different samples.
    """
    if method not in METHODS:
        raise BadInput(f"no alignment method {method!r}", hint=f"choose one of {', '.join(METHODS)}")
    _same_samples(networks)
    return METHODS[method](networks)


def pair_by_assignment(
    similarity: Float[np.ndarray, "left right"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pair one to one so that the sum of similarities is largest; pairs that add nothing are dropped."""
    left, right = linear_sum_assignment(similarity, maximize=True)
    kept = similarity[left, right] > 0.0
    return left[kept], right[kept]


def pair_by_mutual_choice(
    similarity: Float[np.ndarray, "left right"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pair the units that are each other's most similar one."""
    if not similarity.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    choice, reply = similarity.argmax(axis=1), similarity.argmax(axis=0)
    left = np.arange(len(choice))
    kept = (reply[choice] == left) & (similarity[left, choice] > 0.0)
    return left[kept], choice[kept]


def universe(networks: Sequence[Activations], *, size: int | None = None, starts: int = 1) -> Universe:
    """Place the live units of all networks into slots that all share, at most one of a network in each.

    Each network in turn is assigned to the sums of what the others put into the slots, until nothing
    moves; the sum of all pairwise correlations within slots never falls. The widest networks take turns at
    filling the slots first, as many as `starts` says, and the best outcome is kept. Maps between networks
    go through the slots, so they close every cycle. `size` defaults to the live units of the widest
    network; networks of one lineage share a vote.
    """
    _same_samples(networks)
    standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
    slots = size or max((int(one.alive.sum()) for one in networks), default=0)
    widest = sorted(range(len(networks)), key=lambda index: -int(networks[index].alive.sum()))
    found = [_settle(networks, standard, first, slots) for first in widest[:starts]]
    return max(found, key=lambda outcome: outcome.total, default=Universe((), (), 0.0))


def _settle(
    networks: Sequence[Activations],
    standard: Sequence[Float[np.ndarray, "samples _units"]],
    first: int,
    size: int,
) -> Universe:
    votes = Counter(one.lineage for one in networks)
    weights = [1.0 / votes[one.lineage] for one in networks]
    places = [np.full(one.alive.size, -1) for one in networks]
    signs = [np.ones(one.alive.size, dtype=np.int64) for one in networks]
    samples = len(standard[0]) if standard else 0
    sums = np.zeros((samples, size), dtype=np.float32)
    fixed = np.zeros(size, dtype=np.int64)  # how many members of a slot hold its sign, with that sign
    order = [first, *(index for index in range(len(networks)) if index != first)]
    for _ in range(ROUNDS):
        moved = False
        for index in order:
            network, mine, live = networks[index], standard[index], np.flatnonzero(networks[index].alive)
            _withdraw(sums, fixed, mine, places[index], signs[index], network.odd, weights[index])
            products = mine[:, live].T @ sums
            slot, sign = _choose(products, network.odd, fixed, places[index][live], signs[index][live])
            moved |= bool(np.any(slot != places[index][live]) or np.any(sign != signs[index][live]))
            places[index][live], signs[index][live] = slot, sign
            _enter(sums, fixed, mine, places[index], signs[index], network.odd, weights[index])
        if not moved:
            break
    return Universe(tuple(places), tuple(signs), float(np.sum(sums.astype(np.float64) ** 2)))


def _choose(
    products: Float[np.ndarray, "units slots"],
    odd: bool,
    fixed: Int[np.ndarray, " slots"],
    slot: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
) -> tuple[Int[np.ndarray, " units"], Int[np.ndarray, " units"]]:
    """Assign units to slots, keeping what they had unless the sum of similarities truly grows."""
    orientation = np.sign(fixed)
    flips = np.where(products < 0.0, -1, 1)
    allowed = flips if odd else np.where(orientation == 0, flips, orientation)
    gain = products * allowed
    left, right = linear_sum_assignment(gain, maximize=True)
    held = slot >= 0
    before = float(np.sum(products[np.flatnonzero(held), slot[held]] * sign[held])) if held.any() else -np.inf
    if held.sum() == len(left) and gain[left, right].sum() <= before + GAIN * len(left):
        return slot, sign
    places, signs = np.full(len(slot), -1), np.ones(len(slot), dtype=np.int64)
    places[left], signs[left] = right, allowed[left, right]
    return places, signs


def _enter(
    sums: Float[np.ndarray, "samples slots"],
    fixed: Int[np.ndarray, " slots"],
    mine: Float[np.ndarray, "samples units"],
    slot: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
    odd: bool,
    weight: float,
) -> None:
    held = np.flatnonzero(slot >= 0)
    sums[:, slot[held]] += (weight * sign[held] * mine[:, held]).astype(np.float32)
    if not odd:
        fixed[slot[held]] += sign[held]


def _withdraw(
    sums: Float[np.ndarray, "samples slots"],
    fixed: Int[np.ndarray, " slots"],
    mine: Float[np.ndarray, "samples units"],
    slot: Int[np.ndarray, " units"],
    sign: Int[np.ndarray, " units"],
    odd: bool,
    weight: float,
) -> None:
    _enter(sums, fixed, mine, slot, -sign, odd, weight)


def _pairwise(pairing: Pairing) -> Method:
    def method(networks: Sequence[Activations]) -> Alignments:
        standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
        found = {}
        for left, right in combinations(range(len(networks)), 2):
            first, second = networks[left], networks[right]
            r = standard[left].T @ standard[right]
            rows, columns = np.flatnonzero(first.alive), np.flatnonzero(second.alive)
            chosen = pairing(resemblance(r[np.ix_(rows, columns)], left_odd=first.odd, right_odd=second.odd))
            found[left, right] = _alignment(r, rows[chosen[0]], columns[chosen[1]])
        return found

    return method


def _through_universe(networks: Sequence[Activations]) -> Alignments:
    placed = universe(networks)
    standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
    found = {}
    for left, right in combinations(range(len(networks)), 2):
        _, rows, columns = np.intersect1d(
            np.where(networks[left].alive, placed.slots[left], -1 - np.arange(networks[left].alive.size)),
            np.where(networks[right].alive, placed.slots[right], -1),
            return_indices=True,
        )
        r = standard[left].T @ standard[right]
        sign = placed.signs[left][rows] * placed.signs[right][columns]
        # Two units may share a slot for the sake of the others, without being alike.
        kept = r[rows, columns] * sign > 0.0
        found[left, right] = _alignment(r, rows[kept], columns[kept])
    return found


def _alignment(
    r: Float[np.ndarray, "left right"],
    rows: Int[np.ndarray, " pairs"],
    columns: Int[np.ndarray, " pairs"],
) -> Alignment:
    partner, values = np.full(len(r), -1), np.zeros(len(r))
    partner[rows], values[rows] = columns, np.clip(r[rows, columns], -1.0, 1.0)
    return Alignment(partner, np.where(values < 0.0, -1, 1), values)


def _same_samples(networks: Sequence[Activations]) -> None:
    if len({len(one.values) for one in networks}) > 1:
        raise BadInput(
            f"networks with {sorted({len(one.values) for one in networks})} samples cannot be aligned",
            hint="record all networks on the same probe",
        )


METHODS: dict[str, Method] = {
    "assignment": _pairwise(pair_by_assignment),
    "mutual": _pairwise(pair_by_mutual_choice),
    "universe": _through_universe,
}
