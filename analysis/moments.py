"""Exact mean, variance and correlation of units, gathered batch by batch in float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float, Num

from ..zoo.errors import BadInput

# Deviations below this share of a unit's mean are float32 rounding, not variation.
ROUNDING = 4.0 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, mean and sum of squared deviations of every unit seen so far."""

    count: int
    mean: Float[np.ndarray, "units"]
    squares: Float[np.ndarray, "units"]

    @property
    def variance(self) -> Float[np.ndarray, "units"]:
        """Give the population variance; NaN or infinite where a unit gave such values."""
        return self.squares / max(self.count, 1)

    @property
    def alive(self) -> Bool[np.ndarray, "units"]:
        """Mark the units that vary by more than float32 rounding and are finite throughout."""
        return _varies(self.mean, self.squares, self.count)


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
    mean, centred = _centre(batch)
    return Moments(len(batch), mean, np.sum(centred * centred, axis=0))


def merge(first: Moments, second: Moments) -> Moments:
    """Combine the moments of two disjoint sets of samples (Chan, Golub & LeVeque 1983)."""
    _same_units(first, second)
    count = first.count + second.count
    shift = _shift(first, second)
    weight = first.count * second.count / max(count, 1)
    mean = first.mean + shift * (second.count / max(count, 1))
    return Moments(count, mean, first.squares + second.squares + shift * shift * weight)


def update(moments: Moments, batch: Num[np.ndarray, "samples units"]) -> Moments:
    """Add one batch."""
    return merge(moments, measure(batch))


def gather(batches: Iterable[Num[np.ndarray, "samples units"]]) -> Moments:
    """Take the moments of all batches; raise BadInput when there is none."""
    return reduce(merge, _some(map(measure, batches)))


def measure_pair(
    left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "samples right"]
) -> CrossMoments:
    """Take the moments of two layers and the products between them over one batch."""
    (left_mean, left_centred), (right_mean, right_centred) = _centre(left), _centre(right)
    return CrossMoments(
        Moments(len(left), left_mean, np.sum(left_centred**2, axis=0)),
        Moments(len(right), right_mean, np.sum(right_centred**2, axis=0)),
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


def _centre(
    batch: Num[np.ndarray, "samples units"],
) -> tuple[Float[np.ndarray, "units"], Float[np.ndarray, "samples units"]]:
    if not len(batch):
        raise BadInput("a batch without samples has no moments", hint="leave empty batches out")
    values = np.asarray(batch, dtype=np.float64)
    # A unit with one NaN or infinity is dead as a whole: NaN says so and travels without warnings.
    values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
    mean = values.mean(axis=0)
    return mean, values - mean


def _finite(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _shift(first: Moments, second: Moments) -> Float[np.ndarray, "units"]:
    return second.mean - first.mean


def _varies(
    mean: Float[np.ndarray, "units"], squares: Float[np.ndarray, "units"], count: int
) -> Bool[np.ndarray, "units"]:
    deviation = np.sqrt(squares / max(count, 1))
    return np.isfinite(deviation) & (deviation > 0.0) & (deviation > ROUNDING * np.abs(mean))


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
