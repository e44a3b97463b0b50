"""Exact mean, variance and correlation of units, gathered batch by batch in float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float, Num

from ...zoo.errors import BadInput

# Deviations below this many last digits of a unit's mean are rounding, not variation.
ROUNDING = 4.0
# Units taken at once: their float64 copies stay small, however wide the layer.
BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, mean and sum of squared deviations of every unit seen so far.

    digit: the relative rounding error of the numbers that came in.
    """

    count: int
    mean: Float[np.ndarray, " units"]
    squares: Float[np.ndarray, " units"]
    digit: float

    @property
    def variance(self) -> Float[np.ndarray, " units"]:
        """Give the population variance; NaN or infinite where a unit gave such values."""
        variance: Float[np.ndarray, " units"] = self.squares / max(self.count, 1)
        return variance

    @property
    def alive(self) -> Bool[np.ndarray, " units"]:
        """Mark the units that vary by more than rounding and are finite throughout."""
        deviation = np.sqrt(self.variance)
        alive: Bool[np.ndarray, " units"] = deviation > ROUNDING * self.digit * np.abs(self.mean)
        alive &= np.isfinite(deviation)
        return alive


@dataclass(frozen=True, slots=True, eq=False)
class CrossMoments:
    """Moments of two layers over the same samples, and the sums of products between them."""

    left: Moments
    right: Moments
    products: Float[np.ndarray, "left right"]

    @property
    def correlation(self) -> Float[np.ndarray, "left right"]:
        """Give Pearson's r, in [-1, 1]; 0 wherever a unit is dead."""
        scale = [np.sqrt(np.where(side.alive, side.squares, 1.0)) for side in (self.left, self.right)]
        both = self.left.alive[:, None] & self.right.alive
        r = np.where(both, self.products, 0.0) / np.outer(*scale)
        return np.clip(r, -1.0, 1.0)


def measure(batch: Num[np.ndarray, "samples units"]) -> Moments:
    """Take the moments of one batch, in two passes."""
    starts = range(0, max(batch.shape[1], 1), BLOCK)
    parts = [_measure(batch[:, start : start + BLOCK]) for start in starts]
    means, squares = zip(*parts, strict=True)
    return Moments(len(batch), np.concatenate(means), np.concatenate(squares), _digit(batch))


def merge(first: Moments, second: Moments) -> Moments:
    """Combine the moments of two disjoint sets of samples (Chan, Golub & LeVeque 1983)."""
    _same_units(first, second)
    count = first.count + second.count
    shift = _shift(first, second)
    weight = first.count * second.count / max(count, 1)
    mean = first.mean + shift * (second.count / max(count, 1))
    squares = first.squares + second.squares + shift * shift * weight
    return Moments(count, mean, squares, max(first.digit, second.digit))


def update(moments: Moments, batch: Num[np.ndarray, "samples units"]) -> Moments:
    """Add one batch."""
    return merge(moments, measure(batch))


def gather(batches: Iterable[Num[np.ndarray, "_samples units"]]) -> Moments:
    """Take the moments of all batches; raise BadInput when there is none."""
    return reduce(merge, _some(map(measure, batches)))


def measure_pair(left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "samples right"]) -> CrossMoments:
    """Take the moments of two layers and the products between them over one batch."""
    (left_mean, left_centred), (right_mean, right_centred) = _centre(left), _centre(right)
    return CrossMoments(
        Moments(len(left), left_mean, np.sum(left_centred**2, axis=0), _digit(left)),
        Moments(len(right), right_mean, np.sum(right_centred**2, axis=0), _digit(right)),
        _finite(left_centred).T @ _finite(right_centred),
    )


def merge_pairs(first: CrossMoments, second: CrossMoments) -> CrossMoments:
    """Combine cross-moments of two disjoint sets of samples, exactly as `merge` does."""
    left, right = merge(first.left, second.left), merge(first.right, second.right)
    weight = first.left.count * second.left.count / max(left.count, 1)
    shifts = [_finite(_shift(*pair)) for pair in ((first.left, second.left), (first.right, second.right))]
    return CrossMoments(left, right, first.products + second.products + weight * np.outer(*shifts))


def update_pair(
    moments: CrossMoments, left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "samples right"]
) -> CrossMoments:
    """Add one batch of both layers."""
    return merge_pairs(moments, measure_pair(left, right))


def _measure(
    batch: Num[np.ndarray, "samples units"],
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    mean, centred = _centre(batch)
    return mean, np.einsum("su,su->u", centred, centred)


def _centre(
    batch: Num[np.ndarray, "samples units"],
) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, "samples units"]]:
    if not len(batch):
        raise BadInput("a batch without samples has no moments", hint="leave empty batches out")
    values = np.asarray(batch, dtype=np.float64)
    # A unit with one NaN or infinity is dead as a whole: NaN says so and travels without warnings.
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        values = np.where(finite, values, np.nan)
    mean: Float[np.ndarray, " units"] = values.mean(axis=0)
    centred = values - mean
    # The mean of many samples is rounded by more than one digit, which would pass for variation.
    rest = centred.mean(axis=0)
    centred -= rest
    return mean + rest, centred


def _finite(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where(np.isfinite(values), values, 0.0)


def _shift(first: Moments, second: Moments) -> Float[np.ndarray, " units"]:
    shift: Float[np.ndarray, " units"] = second.mean - first.mean
    return shift


def _digit(batch: Num[np.ndarray, "samples units"]) -> float:
    return float(np.finfo(batch.dtype).eps) if np.issubdtype(batch.dtype, np.floating) else 0.0


def _same_units(first: Moments, second: Moments) -> None:
    if first.mean.shape != second.mean.shape:
        raise BadInput(
            f"moments of {first.mean.size} units cannot be merged with those of {second.mean.size}",
            hint="merge batches of the same layer only",
        )


def _some(found: Iterable[Moments]) -> Iterable[Moments]:
    moments = list(found)
    if not moments:
        raise BadInput("no batches to take moments of", hint="give at least one batch of samples")
    return moments
