"""A second vote on matches: do the laws of matched units have the same numbers?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

PERMUTATIONS = 9999


@dataclass(frozen=True, slots=True)
class LawAgreement:
    """How far matched units' numbers lie apart, in the middle; how far those of units matched at random do; and p."""

    distance: float
    chance: float
    p: float
    pairs: int


def law_agreement(
    left_numbers: Float[np.ndarray, " pairs"],
    right_numbers: Float[np.ndarray, " pairs"],
    period: float | None = None,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> LawAgreement:
    """Tell whether matched units agree in a number of their laws more than units matched at random do.

    A second vote beside r: preferred angle (period pi, or 2 pi), hue (2 pi), or the logarithm of a frequency
    (no period). Pairs where either number is NaN are left out. p is the share of random matchings (of the same
    units) with a mean distance at most as large; 1 for fewer than two pairs.
    """
    known = np.isfinite(left_numbers) & np.isfinite(right_numbers)
    left, right = left_numbers[known], right_numbers[known]
    if len(left) < 2:
        return LawAgreement(float("nan"), float("nan"), 1.0, len(left))
    rng = np.random.default_rng(seed)
    ours = _apart(left, right, period)
    drawn = [_apart(left, rng.permutation(right), period) for _ in range(permutations)]
    better = sum(one.mean() <= ours.mean() for one in drawn)
    chance = float(np.median(np.concatenate(drawn[:99])))
    return LawAgreement(float(np.median(ours)), chance, float(1 + better) / (1 + permutations), len(left))


def _apart(
    left: Float[np.ndarray, " pairs"], right: Float[np.ndarray, " pairs"], period: float | None
) -> Float[np.ndarray, " pairs"]:
    apart = left - right
    return np.asarray(np.abs(apart if period is None else (apart + period / 2) % period - period / 2))
