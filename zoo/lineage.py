"""Which networks descend from one another, or from one initialisation: only lineages are independent witnesses.

A network is compared with the likely relatives that fingerprints propose, not with all others; nothing counts
as kinship that the tensors themselves do not show (see resemblance).

    copy                    the same values under the same names, or those rounded to 16 bits
    renamed                 the same values under other names, or in another order of tensors
    permuted                the same values in another order, signs aside; hidden units reordered and rescaled
    pruned                  weights set to zero, or units removed
    fine-tuned              trained further
    shared-initialisation   trained apart from the same random numbers
    shared-layers           some tensors in common, others not
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from .candidates import candidates
from .fingerprint import Fingerprint
from .pairing import Side
from .reordered import reordered
from .resemblance import Resemblance, resemblance
from .units import FEWEST
from .widths import narrowed

FALSE_ALARM = 1e-6
"""Probability of calling any two unrelated networks of a zoo related, by the bounds of chance."""
TRIES = 4
"""So many members of one lineage a network is compared with before it is taken for no relative."""
MOST_TRIES = 16


@dataclass(frozen=True, slots=True)
class Kinship:
    """Two networks by number, the earlier one first, how they are related, how similar (0 to 1) and what shows it."""

    left: int
    right: int
    relation: str
    similarity: float
    evidence: str


def kinships(
    fingerprints: Sequence[Fingerprint], weights: Callable[[int], Mapping[str, np.ndarray]]
) -> tuple[Kinship, ...]:
    """Find the relatives among networks: each with its nearest earlier relative, and what else joins lineages.

    `weights` gives the tensors of a network by its number; they are read for likely relatives only, and only
    where the two are not in one lineage already.
    """
    found = list(_same_values(fingerprints))
    forest = _Forest(len(fingerprints), found)
    copies = {kin.right for kin in found if kin.relation == "copy"}
    originals = [number for number in range(len(fingerprints)) if number not in copies]
    count = len(originals)
    chance = float(np.log(FALSE_ALARM) - np.log(max(count * (count - 1), 2)))
    for place, likely in enumerate(candidates([fingerprints[number] for number in originals])):
        right = originals[place]
        tries: dict[int, int] = {}
        for left in (originals[other] for other in likely):
            lineage = forest.first(left)
            if lineage == forest.first(right) or tries.get(lineage, 0) >= TRIES or sum(tries.values()) >= MOST_TRIES:
                continue
            tries[lineage] = tries.get(lineage, 0) + 1
            sides = (Side(fingerprints[number], weights(number)) for number in (left, right))
            if (seen := _compare(*sides, chance=chance)) is not None:
                found.append(Kinship(left, right, seen.relation, seen.similarity, seen.evidence))
                forest.join(left, right)
    return tuple(sorted(found, key=lambda kin: (kin.right, kin.left)))


def lineages(count: int, kinships: Sequence[Kinship]) -> list[int]:
    """Tell for each of so many networks the first one of its lineage, by number."""
    forest = _Forest(count, kinships)
    return [forest.first(number) for number in range(count)]


class _Forest:
    """Networks joined into lineages, each known by its first member."""

    def __init__(self, count: int, kinships: Sequence[Kinship]) -> None:
        self._earlier = list(range(count))
        for kin in kinships:
            self.join(kin.left, kin.right)

    def first(self, number: int) -> int:
        while self._earlier[number] != number:
            self._earlier[number] = self._earlier[self._earlier[number]]
            number = self._earlier[number]
        return number

    def join(self, left: int, right: int) -> None:
        low, high = sorted((self.first(left), self.first(right)))
        self._earlier[high] = low


def _compare(left: Side, right: Side, *, chance: float) -> Resemblance | None:
    shapes = [Counter(side.marks.shapes) for side in (left, right)]
    return resemblance(left, right, chance=chance) or (
        reordered(left, right) if shapes[0] == shapes[1] else narrowed(left, right, chance=chance)
    )


def _same_values(fingerprints: Sequence[Fingerprint]) -> Iterator[Kinship]:
    """Find networks that hold the values of an earlier one: as they are, under other names, in another order."""
    seen: dict[Hashable, int] = {}
    for right, marks in enumerate(fingerprints):
        keys = [(kind, key(marks)) for kind, key in _KEYS.items() if len(marks.names)]
        known = next(((kind, seen[kind, key]) for kind, key in keys if key and (kind, key) in seen), None)
        if known is not None:
            (relation, evidence), left = known
            yield Kinship(left, right, relation, 1.0, evidence.format(_counted(len(marks.names))))
        for kind, key in keys:
            seen.setdefault((kind, key), right)


def _counted(tensors: int) -> str:
    return f"all {tensors} tensors" if tensors > 1 else "its only tensor"


def _names_and_digests(marks: Fingerprint) -> Hashable:
    return tuple(sorted(zip(marks.names, map(tuple, marks.digests.tolist()), strict=True)))


def _digests(marks: Fingerprint) -> Hashable:
    """List what every tensor holds, without counters, which some formats leave out."""
    return tuple(sorted(tuple(marks.digests[number].tolist()) for number in _with_axes(marks)))


def _sorted_values(marks: Fingerprint) -> Hashable:
    """List the hashes of all tensors' values in any order; nothing where there are few values to tell by."""
    telling = sum(prod(shape) for shape, tells in zip(marks.shapes, marks.telling, strict=True) if tells)
    return tuple(sorted(int(marks.unordered[number]) for number in _with_axes(marks))) if telling >= FEWEST else ()


def _with_axes(marks: Fingerprint) -> list[int]:
    return [number for number, shape in enumerate(marks.shapes) if shape]


_KEYS: dict[tuple[str, str], Callable[[Fingerprint], Hashable]] = {
    ("copy", "{} equal"): _names_and_digests,
    ("renamed", "{} equal, under other names"): _digests,
    ("permuted", "{} equal after sorting, signs aside"): _sorted_values,
}
