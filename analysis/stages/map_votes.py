"""Second votes on features of maps: do matched units prefer the same angle, hue and frequency?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..vision.law_agreement import law_agreement
from ..vision.map_features import MapFeature, MapMember
from ..vision.tuning_target import preferred
from .map_equations import Told
from .stage_tuning import family_rows

FEWEST = 6
"""With fewer pairs than this chance says nothing."""
ORIENTED = ("edge", "line", "orientation")


@dataclass(frozen=True, slots=True)
class Number:
    """A number that units have, by what is known of them and their sign (None: they have none), and its period."""

    of: Callable[[Mapping[str, Any], int], float | None]
    period: float | None


def second_votes(features: Sequence[MapFeature], told: Told) -> dict[str, dict[str, float]]:
    """Ask in which numbers matched units of different lineages agree, and how far apart chance would put them.

    Angles and hues in radians, frequencies in octaves; a number that fewer than FEWEST pairs have is left out.
    """
    found = {}
    for name, number in NUMBERS.items():
        pairs = [pair for feature in features for pair in _pairs(feature.members, told, number)]
        if len(pairs) >= FEWEST:
            left, right = np.array(pairs, dtype=np.float64).T
            found[name] = asdict(law_agreement(left, right, number.period))
    return found


def _pairs(members: Sequence[MapMember], told: Told, number: Number) -> list[tuple[float, float]]:
    """Pair lineages by the member that is most like the others, of those that have the number."""
    known: dict[str, float] = {}
    for one in sorted(members, key=lambda member: -abs(member.r)):
        value = number.of(told.get((one.network, one.layer, one.unit), {}), one.sign)
        if value is not None:
            known.setdefault(one.lineage, value)
    return [*combinations(known.values(), 2)]


def _angle(unit: Mapping[str, Any], sign: int) -> float | None:
    return float(unit["indices"]["angle"]) if unit.get("detector") in ORIENTED else None


def _hue(unit: Mapping[str, Any], sign: int) -> float | None:
    if unit.get("detector") != "colour":
        return None
    return preferred(sign * np.array(unit["curves"]["hue"], dtype=np.float64), family_rows("hue")[:, 0], "hue")


def _octave(unit: Mapping[str, Any], sign: int) -> float | None:
    law = unit.get("laws", {}).get("frequency")
    known = law is not None and law["reduced"] and law["law"] != "constant"
    return math.log2(unit["indices"]["frequency"]) if known else None


NUMBERS: Mapping[str, Number] = {
    "angle": Number(_angle, math.pi),
    "hue": Number(_hue, 2 * math.pi),
    "frequency": Number(_octave, None),
}
