"""All ways to align networks, in one table: each maps the units, or directions, of every two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...zoo.errors import BadInput
from .matching import Alignment, alignment, assignment, mutual, partial
from .shared import shared_directions
from .similarity import Activations, same_samples, standardise
from .subspace import Directions, cca, procrustes, soft, svcca
from .universe import universe

Alignments = Mapping[tuple[int, int], Alignment | Directions]
Work = Callable[[Sequence[Activations], str], Alignments]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to align: what it does with networks on a device, and whether it matters to it what the axes are.

    One to which it does not matter gives the same for rotated units: that null tells nothing of it.
    """

    work: Work
    axes: bool


def align_networks(networks: Sequence[Activations], *, method: str = "mutual", device: str = "cpu") -> Alignments:
    """Align every two networks by one of METHODS; keys are (left, right) with left < right.

    A match has r < 0 only where one of the two layers is odd. Raises BadInput for an unknown method and
    for networks recorded on different samples.
    """
    work = named(method).work
    same_samples(networks)
    return work(networks, device)


def named(method: str) -> Method:
    """Look up a method. Raises BadInput for one that is not there."""
    if method not in METHODS:
        raise BadInput(f"no alignment method {method!r}", hint=f"choose one of {', '.join(METHODS)}")
    return METHODS[method]


def _pairwise(align: Callable[..., Alignment | Directions]) -> Work:
    def work(networks: Sequence[Activations], device: str) -> Alignments:
        pairs = combinations(range(len(networks)), 2)
        return {(left, right): align(networks[left], networks[right], device=device) for left, right in pairs}

    return work


def _through_universe(networks: Sequence[Activations], device: str) -> Alignments:
    placed = universe(networks, device=device)
    standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
    found = {}
    for left, right in combinations(range(len(networks)), 2):
        _, rows, columns = np.intersect1d(
            np.where(networks[left].alive, placed.slots[left], -1 - np.arange(networks[left].alive.size)),
            np.where(networks[right].alive, placed.slots[right], -1),
            return_indices=True,
        )
        r = np.einsum("sp,sp->p", standard[left][:, rows], standard[right][:, columns])
        # Two units may share a slot for the sake of the others, without being alike.
        kept = r * placed.signs[left][rows] * placed.signs[right][columns] > 0.0
        found[left, right] = alignment(networks[left].alive.size, rows[kept], columns[kept], r[kept])
    return found


def _through_weights(networks: Sequence[Activations], device: str) -> Alignments:
    """Match the weights of networks of one architecture; pairs of different ones have no matches."""
    sources = [one.source for one in networks if one.source is not None]
    if len(sources) < len(networks):
        raise BadInput("arrays have no weights to match", hint="give a zoo, or another method")
    from .weight_matching import match_layer  # which loads torch

    standard = [standardise(one.values, alive=one.alive).astype(np.float32) for one in networks]
    found = {}
    for left, right in combinations(range(len(networks)), 2):
        partner = match_layer(sources[left], sources[right])
        both = np.flatnonzero(networks[left].alive & (partner >= 0))
        both = both[networks[right].alive[partner[both]]]
        r = np.einsum("sp,sp->p", standard[left][:, both], standard[right][:, partner[both]])
        kept = networks[left].odd | networks[right].odd | (r > 0.0)
        found[left, right] = alignment(networks[left].alive.size, both[kept], partner[both[kept]], r[kept])
    return found


def _through_shared_directions(networks: Sequence[Activations], device: str) -> Alignments:
    shared = shared_directions(networks)
    return {pair: shared.between(*pair) for pair in combinations(range(len(networks)), 2)}


METHODS: dict[str, Method] = {
    "assignment": Method(assignment, axes=True),
    "mutual": Method(mutual, axes=True),
    "partial": Method(partial, axes=True),
    "universe": Method(_through_universe, axes=True),
    "weights": Method(_through_weights, axes=True),
    "soft": Method(_pairwise(soft), axes=True),
    "cca": Method(_pairwise(cca), axes=False),
    "svcca": Method(_pairwise(svcca), axes=False),
    "procrustes": Method(_pairwise(procrustes), axes=False),
    "gcca": Method(_through_shared_directions, axes=False),
}
