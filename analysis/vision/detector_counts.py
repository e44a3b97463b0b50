"""How many units of each layer detect what, and whether untrained twins hardly ever have so many."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import fisher_exact, norm

from ..alignment.null import q_values

PASSING = 0.05
"""The false discovery rate at which a layer has more units of a detector than its twins have."""
TOGETHER: Mapping[str, tuple[str, ...]] = {"oriented": ("edge", "line", "orientation")}
"""Detectors that are counted together as well: of these only the phase that they prefer says which is which."""
REST = ("not reduced", "silent")
"""What units are called that detect nothing."""

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Count:
    """How many units of a layer are a detector, beside how many of so many units of untrained twins.

    `p` says how often chance gives as many, `q` at which false discovery rate the layer passes, of all layers that
    were asked about this detector; what detects nothing has none. `parts` names the detectors that this is the sum of,
    with commas. `law` is the one that won for most of these units, for `following` of them.
    """

    network: str
    layer: str
    detector: str
    units: int
    of_units: int
    null_units: int
    of_null: int
    p: float
    q: float | None
    parts: str
    law: str
    following: int

    @property
    def above_null(self) -> bool:
        """Whether twins hardly ever have so many."""
        return self.q is not None and self.q <= PASSING


def names_of(detector: str) -> tuple[str, ...]:
    """Give what units are called that count as this detector."""
    return TOGETHER.get(detector, (detector,))


def count_detectors(results: Results, kinds: Mapping[str, str]) -> tuple[Count, ...]:
    """Count detectors by network and layer, in the networks and in their untrained twins.

    `results` hold for every layer its `units`, each with `detector` and `laws`, and for each of its `twins` the names
    of the units; `kinds` says what the laws of a detector are about. For p see `chance`, with the spread of the twins
    over all layers; q: Benjamini & Hochberg 1995.
    """
    found = []
    for detector, tallies in _tallied(results).items():
        spread = dispersion([(one.twins, one.of_twins) for one in tallies])
        p = [chance(one.units, one.of_units, sum(one.twins), sum(one.of_twins), spread) for one in tallies]
        q = [None] * len(p) if detector in REST else q_values(np.array(p)).tolist()
        kind, each = kinds.get(detector, ""), zip(tallies, p, q, strict=True)
        found += [_count(tally, chances, rate, kind) for tally, chances, rate in each]
    return tuple(sorted(found, key=lambda count: (count.network, count.layer, count.detector)))


def twins_apart(results: Results) -> tuple[int, int]:
    """Hold every twin against the others as networks are held against all: how many counts pass, of how many.

    Chance lets one of twenty pass, p being at most PASSING.
    """
    p = []
    for detector, tallies in _tallied(results).items():
        spread = dispersion([(one.twins, one.of_twins) for one in tallies])
        for one in tallies if detector not in REST else ():
            for twin, (units, of_units) in enumerate(zip(one.twins, one.of_twins, strict=True)):
                others = [place for place in range(len(one.twins)) if place != twin]
                null, of_null = (sum(counts[place] for place in others) for counts in (one.twins, one.of_twins))
                p.append(chance(units, of_units, null, of_null, spread))
    return sum(one <= PASSING for one in p), len(p)


def dispersion(layers: Sequence[tuple[Sequence[int], Sequence[int]]]) -> float:
    """Tell how much more counts differ among twins than if units were drawn one by one; 1 at the least.

    Given are a layer's units of a detector and all its units, by twin. Units of one layer share what they read, so
    that twins differ by more than binomial counts: Pearson's chi-squared over its degrees of freedom, over all layers
    (McCullagh & Nelder 1989, section 4.5).
    """
    squares, freedom = 0.0, 0
    for counts, wholes in layers:
        share = sum(counts) / sum(wholes)
        if len(counts) > 1 and 0 < share < 1:
            variances = [whole * share * (1 - share) for whole in wholes]
            each = zip(counts, wholes, variances, strict=True)
            squares += sum((count - whole * share) ** 2 / variance for count, whole, variance in each)
            freedom += len(counts) - 1
    return max(1.0, squares / freedom) if freedom else 1.0


def chance(units: int, of_units: int, null_units: int, of_null: int, spread: float) -> float:
    """Say how often chance gives a layer as many units, beside so many of its twins.

    The larger of Fisher's exact p, which takes every unit for a draw of its own, and of the normal p for two shares
    whose variance is `spread` times the binomial one.
    """
    table = [[units, of_units - units], [null_units, of_null - null_units]]
    exact = float(fisher_exact(table, alternative="greater").pvalue)
    share = (units + null_units) / (of_units + of_null)
    variance = spread * share * (1 - share) * (1 / of_units + 1 / of_null)
    above = units / of_units - null_units / of_null
    return max(exact, float(norm.sf(above / math.sqrt(variance)))) if variance > 0 else exact


def shared_by_two(layers: Sequence[Count], lineage: Mapping[str, str]) -> float:
    """Say how often chance gives counts like these of one detector where fewer than two lineages have it.

    `lineage` names that of every network. A lineage's own p is Simes's (1986) over its layers; that of the second best,
    times the number of lineages less one, is the p of a partial conjunction (Benjamini & Heller 2008).
    """
    by_lineage: dict[str, list[float]] = {name: [] for name in lineage.values()}
    for count in layers:
        by_lineage[lineage[count.network]].append(count.p)
    own = sorted(float(q_values(np.array(p)).min()) if p else 1.0 for p in by_lineage.values())
    return min(1.0, (len(own) - 1) * own[1]) if len(own) > 1 else 1.0


@dataclass(frozen=True, slots=True)
class _Tally:
    """What is counted of one detector in one layer: the units, and by twin how many of how many."""

    network: str
    layer: str
    detector: str
    units: int
    of_units: int
    twins: Sequence[int]
    of_twins: Sequence[int]
    laws: Sequence[Mapping[str, Any]]


def _tallied(results: Results) -> dict[str, list[_Tally]]:
    """Gather what is counted by detector: every name that units of a layer or of its twins have, and TOGETHER."""
    found: dict[str, list[_Tally]] = defaultdict(list)
    for network, layers in results.items():
        for layer, kept in layers.items():
            names = {unit["detector"] for unit in kept["units"]}.union(*kept["twins"])
            whole = [detector for detector, parts in TOGETHER.items() if names.intersection(parts)]
            for detector in sorted({*names, *whole}):
                found[detector].append(_tally(network, layer, detector, kept))
    return found


def _tally(network: str, layer: str, detector: str, kept: Mapping[str, Any]) -> _Tally:
    names = names_of(detector)
    own = [unit["laws"] for unit in kept["units"] if unit["detector"] in names]
    twins = [sum(name in names for name in twin) for twin in kept["twins"]]
    return _Tally(
        network, layer, detector, len(own), len(kept["units"]), twins, [len(twin) for twin in kept["twins"]], own
    )


def _count(tally: _Tally, p: float, q: float | None, kind: str) -> Count:
    laws = Counter(laws[kind]["law"] for laws in tally.laws if kind in laws)
    law, following = laws.most_common(1)[0] if laws else ("", 0)
    return Count(
        network=tally.network,
        layer=tally.layer,
        detector=tally.detector,
        units=tally.units,
        of_units=tally.of_units,
        null_units=sum(tally.twins),
        of_null=sum(tally.of_twins),
        p=p,
        q=q,
        parts=", ".join(TOGETHER.get(tally.detector, ())),
        law=law,
        following=following,
    )
