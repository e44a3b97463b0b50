"""Slots that all networks share: every unit has a place, so maps between networks close all cycles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from .similarity import Activations, product, same_samples, standardise

ROUNDS = 100
# A gain must exceed float32 rounding, or two equal assignments would take turns for ever.
GAIN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Universe:
    """Slots shared by all networks: where each unit went (-1: dead or left over) and with which sign."""

    slots: tuple[Int[np.ndarray, " _units"], ...]
    signs: tuple[Int[np.ndarray, " _units"], ...]
    total: float


def universe(
    networks: Sequence[Activations], *, size: int | None = None, starts: int = 1, device: str = "cpu"
) -> Universe:
    """Place the live units of all networks into slots that all share, at most one of a network in each.

    Each network in turn is assigned to the sums of what the others put into the slots, until nothing
    moves; the sum of all pairwise correlations within slots never falls. The widest networks take turns at
    filling the slots first, as many as `starts` says, and the best outcome is kept. Maps between networks
    go through the slots, so they close every cycle. `size` defaults to the live units of the widest
    network; networks of one lineage share a vote.
    """
    same_samples(networks)
    standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
    slots = size or max((int(one.alive.sum()) for one in networks), default=0)
    widest = sorted(range(len(networks)), key=lambda index: -int(networks[index].alive.sum()))
    found = [_settle(networks, standard, first, slots, device) for first in widest[:starts]]
    return max(found, key=lambda outcome: outcome.total, default=Universe((), (), 0.0))


def _settle(
    networks: Sequence[Activations],
    standard: Sequence[Float[np.ndarray, "samples _units"]],
    first: int,
    size: int,
    device: str,
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
            products = product(mine[:, live], sums, device=device)
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
