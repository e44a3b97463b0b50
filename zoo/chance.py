"""How likely chance alone would make the units of two networks agree under equal numbers.

The null: the units of one of the networks could as well be numbered in any other way (see units). All bounds
hold for every pair of weight tensors, whatever their distribution, so also for small layers and alike units.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int
from scipy.special import gammaln

from .units import centred

TOLERANCES = (1, 2, 3, 4, 6, 8)
"""Among how many nearest units the one of equal number has to be to count."""


_WEIGHTS = (0.5, 0.06, 0.06, 0.06, 0.06, 0.06)
"""The share of each tolerance in the bound; the sum of products has the rest."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two layers agree under equal numbers: hits (the unit of equal number is the nearest) of so many units.

    `chance` is the natural logarithm of a bound on the probability that unrelated layers agree as well.
    """

    hits: int
    units: int
    chance: float


def agreement(left: Float32[np.ndarray, "units numbers"], right: Float32[np.ndarray, "units numbers"]) -> Agreement:
    """Compare units of equal number with those of other numbers, by nearest neighbours and by all products."""
    ranks = _ranks(left, right)
    live = np.square(left - left.mean(axis=0)).sum(axis=1) > 0
    counts = np.array([(ranks[live] < most).sum() for most in TOLERANCES])
    logs = counts * np.log(TOLERANCES) - gammaln(counts + 1) - np.log(_WEIGHTS)
    products = _products_chance(centred(left), centred(right)) - np.log(1 - sum(_WEIGHTS))
    return Agreement(int(counts[0]), len(left), min(float(logs.min()), products, 0.0))


def order_chance(matches: Int[np.ndarray, " units"]) -> tuple[int, float]:
    """Find how many matches increase together, and bound the chance of it in a random order (as a logarithm).

    The longest strictly increasing subsequence of n different random numbers has length k or more with
    probability at most C(n, k) / k!.
    """
    tails: list[int] = []
    for match in matches.tolist():
        place = bisect_left(tails, match)
        tails[place : place + 1] = [match]
    count, longest = len(matches), len(tails)
    log = gammaln(count + 1) - 2 * gammaln(longest + 1) - gammaln(count - longest + 1)
    return longest, min(float(log), 0.0)


def combined(chances: Sequence[float]) -> float:
    """Combine independent bounds (logarithms) into one by Fisher's method."""
    if not chances:
        return 0.0
    total, count = -float(sum(chances)), len(chances)
    # log of the survival function of the gamma distribution: exp(-t) · Σ tᵏ/k!, k < count
    terms = [k * np.log(max(total, 1e-300)) - gammaln(k + 1) for k in range(count)]
    return min(float(np.logaddexp.reduce(terms)) - total, 0.0)


def pooled(hits: Sequence[int]) -> float:
    """Bound the chance of so many hits in all over layers whose units are numbered independently (as a logarithm).

    n hits or more over m layers have probability at most mⁿ/n!, the sum of 1/(a!·b!·…) over all ways to share them.
    """
    total = sum(hits)
    return min(float(total * np.log(max(len(hits), 1)) - gammaln(total + 1)), 0.0)


def _ranks(
    left: Float32[np.ndarray, "units numbers"], right: Float32[np.ndarray, "units numbers"]
) -> Int[np.ndarray, " units"]:
    """Count, for each unit of the left, the units of the right that are nearer than the one of equal number.

    Columns are brought to one scale. Of k tolerated ranks, the number of units whose partner is among its k
    nearest reaches n with probability at most kⁿ/n!.
    """
    first, second = left - left.mean(axis=0), right - right.mean(axis=0)
    scale = np.sqrt(np.square(first).mean(axis=0))
    scale = np.where(scale > 0, scale, 1)
    first, second = first / scale, second / scale
    nearness = first @ second.T - np.square(second).sum(axis=1) / 2
    # Equal ones count as nearer, so that a layer of equal units never agrees.
    return np.asarray((nearness >= np.diagonal(nearness)[:, None]).sum(axis=1) - 1)


def _products_chance(left: Float32[np.ndarray, "units numbers"], right: Float32[np.ndarray, "units numbers"]) -> float:
    """Bound the chance of the sum of products of units with equal numbers, all of them bounded (Bernstein)."""
    products = left @ right.T
    products = products - products.mean(axis=0) - products.mean(axis=1)[:, None] + products.mean()
    total = float(np.trace(products))
    variance = float(np.square(products).sum()) / max(len(left) - 1, 1)
    largest = float(np.abs(products).max(initial=0))
    if total <= 0 or variance <= 0:
        return 0.0
    return -(total**2) / (2 * (variance + total * largest / 3))
