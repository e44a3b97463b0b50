"""Which pairs of networks to look at closely: found from fingerprints alone, all pairs by one product per shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int
from scipy import sparse

from .fingerprint import Fingerprint, Lead
from .folding import LONGEST, Sketch, folded
from .units import centred, spread

LIKELY = 4.2
"""Standard deviations of a sketch's cosine from which two networks are worth a look."""
LIKELY_SMALL = 3.6
"""The same for small tensors, where few units limit what can be seen and a look costs little."""
FEWEST_MARKS = 4
QUERIES = 16
HEADS = (16, 32, 64)
"""Of so many first units are those of equal number compared, in networks of other widths."""
RISING = 0.7
MOST = 24
"""So many candidates are kept for each network, the likeliest."""
_HOLDERS = 64
_ROWS = 512

Likely = tuple[int, int, float]
"""Two networks, and roughly how similar they are (0 to 1)."""


def candidates(marks: Sequence[Fingerprint]) -> list[list[int]]:
    """List for each network the earlier ones that may be its relatives, the likeliest first."""
    scores: list[dict[int, float]] = [{} for _ in marks]
    for source in (_by_marks, _by_sketches, _by_leads):
        for first, second, score in source(marks):
            left, right = sorted((first, second))
            scores[right][left] = max(score, scores[right].get(left, 0.0))
    return [sorted(found, key=lambda left: (-found[left], left))[:MOST] for found in scores]


def _by_marks(marks: Sequence[Fingerprint]) -> Iterator[Likely]:
    kinds: list[tuple[Callable[[Fingerprint], Iterable[Hashable]], int]] = [
        (lambda mark: [int(mark.rounded[0])], 1),
        (lambda mark: [int(mark.rounded[1])], 1),
        (lambda mark: map(tuple, mark.digests[mark.telling].tolist()), 1),
        (lambda mark: mark.values.tolist(), FEWEST_MARKS),
        (lambda mark: mark.directions.tolist(), FEWEST_MARKS),
    ]
    for kind, fewest in kinds:
        yield from _sharing([list(dict.fromkeys(kind(mark))) for mark in marks], fewest)


def _sharing(held: Sequence[Sequence[Hashable]], fewest: int) -> Iterator[Likely]:
    """Find networks that hold some marks in common; a mark of many is looked up in its first holders only."""
    holders: dict[Hashable, list[int]] = defaultdict(list)
    for network, marks in enumerate(held):
        for mark in marks:
            holders[mark].append(network)
    common = [numbers for numbers in holders.values() if len(numbers) > 1]
    if not common:
        return
    shape = (len(held), len(common))
    whole = _incidence(common, shape)
    first = _incidence([numbers[:_HOLDERS] for numbers in common], shape)
    counts = sparse.coo_array(whole @ first.T)
    for left, right, count in zip(*counts.coords, counts.data, strict=True):
        if left > right and count >= fewest:
            yield int(right), int(left), count / max(len(held[left]), len(held[right]))


def _incidence(groups: Sequence[Sequence[int]], shape: tuple[int, int]) -> sparse.csr_array:
    columns = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    rows = np.concatenate([np.asarray(group, np.int64) for group in groups])
    return sparse.csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)


def _by_sketches(marks: Sequence[Fingerprint]) -> Iterator[Likely]:
    """Find networks whose sketches agree in one shape, or in all of them together, more than chance allows."""
    shapes: dict[tuple[int, ...], list[tuple[int, Sketch]]] = defaultdict(list)
    for number, mark in enumerate(marks):
        for sketch in mark.sketches:
            shapes[sketch.shape].append((number, sketch))
    groups = [_Group(members) for members in shapes.values() if len(members) > 1]
    for start in range(0, len(marks), _ROWS):
        likely, total, count, cosine = (
            np.zeros((min(_ROWS, len(marks) - start), len(marks)), np.float32) for _ in "1234"
        )
        for group in groups:
            rows = group.within(start, start + _ROWS)
            if not len(rows):
                continue
            place = np.ix_(group.networks[rows] - start, group.networks)
            cosines = group.cosines(rows)
            scores = cosines / group.deviations(rows) * (1 if group.large else LIKELY / LIKELY_SMALL)
            likely[place] = np.maximum(likely[place], scores)
            total[place] += scores
            cosine[place] += cosines
            count[place] += 1
        likely = np.maximum(likely, total / np.sqrt(np.maximum(count, 1)))
        for row, left in np.argwhere(likely > LIKELY):
            if left < start + row:
                yield int(left), int(start + row), float(cosine[row, left] / count[row, left])


class _Group:
    """The sketches of one shape, each as long as it is; shorter ones are compared with the others' first folds."""

    def __init__(self, members: Sequence[tuple[int, Sketch]]) -> None:
        self.networks = np.array([number for number, _ in members])
        self._lengths = np.array([len(sketch.numbers) for _, sketch in members])
        self._spreads = np.array([sketch.spread for _, sketch in members], np.float32)
        self._units, self._size = members[0][1].units, members[0][1].size
        self.large = self._size > LONGEST
        self._folds = {int(length): self._folded(members, int(length)) for length in np.unique(self._lengths)}

    def _folded(self, members: Sequence[tuple[int, Sketch]], length: int) -> Float32[np.ndarray, "networks numbers"]:
        whole = np.stack([folded(sketch.numbers, length) for _, sketch in members if len(sketch.numbers) >= length])
        sizes = np.sqrt(np.square(whole).sum(axis=1, keepdims=True))
        return np.asarray(np.divide(whole, sizes, out=np.zeros_like(whole), where=sizes > 0))

    def within(self, start: int, stop: int) -> Int[np.ndarray, " rows"]:
        return np.flatnonzero((self.networks >= start) & (self.networks < stop))

    def cosines(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows networks"]:
        found = np.zeros((len(rows), len(self.networks)), np.float32)
        for length, numbers in self._folds.items():  # from the shortest to the longest that both have
            long = self._lengths >= length
            place = np.cumsum(long) - 1
            chosen = long[rows]
            found[np.ix_(chosen, long)] = numbers[place[rows[chosen]]] @ numbers.T
        return found

    def deviations(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows networks"]:
        """Tell how far cosines of unrelated networks stray: by chance numbering, and by folding."""
        lengths = np.minimum(self._lengths[rows][:, None], self._lengths[None, :])
        noise = np.where(lengths < self._size, 1 / lengths, 0)
        alike = self._spreads[rows][:, None] * self._spreads[None, :] / max(self._units - 1, 1)
        return np.asarray(np.sqrt(np.maximum(noise + alike, 1e-12)), np.float32)


def _by_leads(marks: Sequence[Fingerprint]) -> Iterator[Likely]:
    """Find networks of other widths whose first units are alike by number, or alike in the same order."""
    shapes: dict[tuple[int, ...], list[tuple[int, Lead]]] = defaultdict(list)
    for number, mark in enumerate(marks):
        for lead in mark.leads:
            if len(lead.rows) >= QUERIES:
                shapes[lead.shape].append((number, lead))
    for members in shapes.values():
        if len({lead.units for _, lead in members}) > 1:
            yield from _rising(members)
            for count in HEADS:
                yield from _alike([(number, lead) for number, lead in members if len(lead.rows) >= count], count)


def _rising(members: Sequence[tuple[int, Lead]]) -> Iterator[Likely]:
    widths = np.array([lead.units for _, lead in members])
    queries = np.stack([lead.rows[:QUERIES].astype(np.float32) for _, lead in members])
    for number, lead in members:
        narrower = np.flatnonzero(widths < lead.units)
        nearest = (queries[narrower] @ lead.rows.astype(np.float32).T).argmax(axis=2)
        scores = _rise(nearest)
        for place in np.flatnonzero(scores >= RISING):
            yield number, members[narrower[place]][0], 0.1 * float(scores[place])


def _alike(members: Sequence[tuple[int, Lead]], count: int) -> Iterator[Likely]:
    units = [centred(lead.rows[:count].astype(np.float32)) for _, lead in members]
    spreads = np.array([spread(table) for table in units], np.float32)
    whole = np.array([table.reshape(-1) / max(float(np.linalg.norm(table)), 1e-12) for table in units])
    widths = np.array([lead.units for _, lead in members])
    for row in range(len(members)):
        cosines = whole[:row] @ whole[row]
        deviations = np.sqrt(spreads[:row] * spreads[row] / (count - 1)) + 1e-12
        for left in np.flatnonzero((cosines > LIKELY_SMALL * deviations) & (widths[:row] != widths[row])):
            yield members[int(left)][0], members[row][0], 0.1 * float(cosines[left])


def _rise(matches: Int[np.ndarray, "networks units"]) -> Float32[np.ndarray, " networks"]:
    """Tell how far numbers rise from first to last, from -1 to 1 (Kendall's rank correlation)."""
    first, second = np.triu_indices(matches.shape[1], 1)
    return np.asarray(np.sign(matches[:, second] - matches[:, first]).mean(axis=1, dtype=np.float32))
