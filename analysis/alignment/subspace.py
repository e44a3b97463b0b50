"""Which directions of one layer are which directions of another, whatever the axes of their units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from .similarity import Activations, product, resemblance, same_samples, standardise

SHRINKAGES = (0.0, 0.001, 0.01, 0.1, 0.5)
"""How far a layer's covariance may be drawn towards that of independent units; the samples choose."""
VARIANCE = 0.99
"""SVCCA keeps so much of a layer's variance."""
ROUNDING = 1e-10
"""Directions with less of the largest one's variance are rounding."""
BLOCKS = 20
TRANSPORT_STEPS = 10_000_000

Units = Float[np.ndarray, "samples _units"]
Weights = Float[np.ndarray, "_units directions"]


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """Pairs of directions: weights of the left and of the right units, over standardised units.

    Every direction has unit variance over the samples; dead units weigh 0. `r` is what left @ and right @
    correlate, strongest first: for `cca`, `svcca` and `procrustes` on samples that the fit has not seen.
    `q` is the false discovery rate at which a direction would pass; None where it was not held against chance.
    """

    left: Float[np.ndarray, "left directions"]
    right: Float[np.ndarray, "right directions"]
    r: Float[np.ndarray, " directions"]
    q: Float[np.ndarray, " directions"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """Principal components of centred units: the sum of squares that each holds, largest first, and its weights."""

    power: Float[np.ndarray, " components"]
    axes: Float[np.ndarray, "units components"]

    def whiten(self, *, shrinkage: float = 0.0, variance: float = 1.0) -> Float[np.ndarray, "units components"]:
        """Weigh units so that they become uncorrelated and of length one, less so by `shrinkage`."""
        power = self.power
        kept = power > ROUNDING * power.max(initial=0.0)
        # The first component to reach the share of variance is kept as well.
        kept &= np.cumsum(power) - power < variance * power.sum()
        shrunk = (1.0 - shrinkage) * power[kept] + shrinkage * power.sum() / max(len(self.axes), 1)
        weights: Float[np.ndarray, "units components"] = self.axes[:, kept] / np.sqrt(shrunk)
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    units: Units
    principal: Principal


Fit = Callable[[_Side, _Side], tuple[Weights, Weights]]


def cca(left: Activations, right: Activations, *, device: str = "cpu") -> Directions:
    """Pair the directions that correlate most, then the next, uncorrelated with those (Hotelling 1936).

    Covariances are shrunk towards independent units (Vinod 1976) as far as serves unseen samples: weights
    come from all samples; `r` is the mean correlation, on either half of the samples, of what was fitted on
    the other half, at least 0. So noise gives about 0, however few the samples.
    """
    return _directions(left, right, [partial(_canonical, shrinkage=one, device=device) for one in SHRINKAGES], device)


def svcca(left: Activations, right: Activations, *, device: str = "cpu") -> Directions:
    """Pair directions as `cca` does, among those that hold 99 % of each layer's variance (Raghu et al. 2017)."""
    return _directions(left, right, [partial(_canonical, variance=VARIANCE, device=device)], device)


def procrustes(left: Activations, right: Activations, *, device: str = "cpu") -> Directions:
    """Pair the directions that an orthogonal map lays upon each other (Ding et al. 2021, Williams et al. 2021).

    Unlike `cca` it asks that directions of large variance meet such. `r` is that of unseen samples, as there.
    """
    return _directions(left, right, [partial(_orthogonal, device=device)], device)


def soft(left: Activations, right: Activations, *, device: str = "cpu") -> Directions:
    """Pair every live left unit with a mixture of right units (soft matching, Khosla & Williams 2024).

    All units carry the same mass, whatever the widths; optimal transport brings it where similarities sum
    up most. Signs turn only where one of the layers is odd.
    """
    same_samples([left, right])
    first, second = (standardise(one.values, alive=one.alive) for one in (left, right))
    columns = np.flatnonzero(right.alive)
    rows = np.flatnonzero(left.alive) if columns.size else columns
    r = np.clip(product(first[:, rows], second[:, columns], device=device), -1.0, 1.0)
    similarity = resemblance(r, left_odd=left.odd, right_odd=right.odd)
    mixtures = np.zeros((right.alive.size, len(rows)))
    mixtures[columns] = (transport(similarity) * np.where(similarity == r, 1.0, -1.0)).T
    return paired(first, second, np.eye(left.alive.size)[:, rows], mixtures)


def transport(similarity: Float[np.ndarray, "left right"]) -> Float[np.ndarray, "left right"]:
    """Move equal masses of the left units to equal masses of the right ones where similarities sum up most.

    Rows sum to 1 / left, columns to 1 / right.
    """
    from ot import emd

    left, right = similarity.shape
    if not similarity.size:
        return np.zeros_like(similarity)
    cost = np.asarray(1.0 - similarity, dtype=np.float64)
    return np.asarray(emd(np.full(left, 1 / left), np.full(right, 1 / right), cost, numItermax=TRANSPORT_STEPS))


def paired(
    first: Float[np.ndarray, "samples left"],
    second: Float[np.ndarray, "samples right"],
    left: Float[np.ndarray, "left directions"],
    right: Float[np.ndarray, "right directions"],
    r: Float[np.ndarray, " directions"] | None = None,
) -> Directions:
    """Scale directions over standardised units to unit variance and sort them by r, or what they correlate."""
    one, two = first @ left, second @ right
    lengths = [np.linalg.norm(side, axis=0) for side in (one, two)]
    scales = [np.where(length > 0.0, length, 1.0) for length in lengths]
    if r is None:
        r = np.clip(np.einsum("sd,sd->d", one / scales[0], two / scales[1]), -1.0, 1.0)
    order = np.argsort(-r, kind="stable")
    return Directions((left / scales[0])[:, order], (right / scales[1])[:, order], r[order])


def halves(samples: int) -> Iterator[tuple[Bool[np.ndarray, " samples"], Bool[np.ndarray, " samples"]]]:
    """Split the samples in two, both ways: what to fit, what to hold out.

    Blocks take turns, two by two, so that what lies side by side (positions of an image) mostly stays together.
    """
    block = np.arange(samples) * min(BLOCKS, samples) // samples
    outer = (block + 1) // 2 % 2 == 0
    yield outer, ~outer
    yield ~outer, outer


def basis(
    units: Units, *, shrinkage: float = 0.0, variance: float = 1.0, device: str = "cpu"
) -> Float[np.ndarray, "units components"]:
    """Find weights that make centred units uncorrelated and of length one, less so by `shrinkage`.

    Only the principal components that hold the given share of variance are kept.
    """
    return principal(units, device=device).whiten(shrinkage=shrinkage, variance=variance)


def principal(units: Units, *, device: str = "cpu") -> Principal:
    """Find the principal components of centred units."""
    if len(units) < units.shape[1]:
        _, lengths, axes = svd(units, device)
        return Principal(lengths**2, axes.T)
    # The smaller problem: a Gram matrix tells power well down to 1e-16 of the largest.
    power, axes = _eigh(product(units, units, device=device), device)
    return Principal(np.maximum(power[::-1], 0.0), axes[:, ::-1])


def svd(
    matrix: Float[np.ndarray, "rows columns"], device: str = "cpu"
) -> tuple[Float[np.ndarray, "rows rank"], Float[np.ndarray, " rank"], Float[np.ndarray, "rank columns"]]:
    """Decompose a matrix into singular vectors and values on a device."""
    if device == "cpu" or not matrix.size:
        first, values, second = np.linalg.svd(matrix, full_matrices=False)
        return first, values, second
    import torch

    parts = torch.linalg.svd(torch.from_numpy(np.ascontiguousarray(matrix)).to(device), full_matrices=False)
    first, values, second = (np.asarray(part.cpu().numpy()) for part in parts)
    return first, values, second


def _eigh(
    matrix: Float[np.ndarray, "rows rows"], device: str
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, "rows rows"]]:
    if device == "cpu":
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors
    import torch

    parts = torch.linalg.eigh(torch.from_numpy(matrix).to(device))
    values, vectors = (np.asarray(part.cpu().numpy()) for part in parts)
    return values, vectors


def column_r(
    first: Float[np.ndarray, "samples directions"], second: Float[np.ndarray, "samples directions"]
) -> Float[np.ndarray, " directions"]:
    """Correlate each column with its counterpart; 0 where one does not vary."""
    one, two = (side - side.mean(axis=0) for side in (first, second))
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(two, axis=0)
    return np.asarray(np.einsum("sd,sd->d", one, two) / np.where(lengths > 0.0, lengths, np.inf))


def _directions(left: Activations, right: Activations, fits: Sequence[Fit], device: str) -> Directions:
    """Take the fit that serves unseen samples best."""
    same_samples([left, right])
    first, second = (standardise(one.values, alive=one.alive)[:, one.alive] for one in (left, right))
    unseen = _unseen(first, second, fits, device)
    best = int(np.argmax([np.sum(r * np.abs(r)) for r in unseen]))
    ours, theirs = fits[best](_side(first, device), _side(second, device))
    r = np.zeros(ours.shape[1])
    known = min(len(r), len(unseen[best]))
    r[:known] = np.clip(unseen[best][:known], 0.0, 1.0)
    found = paired(first, second, ours, theirs, r)
    return Directions(_spread(found.left, left.alive), _spread(found.right, right.alive), found.r)


def _unseen(first: Units, second: Units, fits: Sequence[Fit], device: str) -> list[Float[np.ndarray, " directions"]]:
    """Correlate what each fit gives on one half of the samples on the other half; averaged rank by rank."""
    found: list[list[Float[np.ndarray, " directions"]]] = [[] for _ in fits]
    for seen, held in halves(len(first)):
        one, two = (_side(side[seen] - side[seen].mean(axis=0), device) for side in (first, second))
        for r, fit in zip(found, fits, strict=True):
            ours, theirs = fit(one, two)
            r.append(column_r(first[held] @ ours, second[held] @ theirs))
    return [np.mean([r[: min(map(len, both))] for r in both], axis=0) for both in found]


def _canonical(
    first: _Side, second: _Side, *, shrinkage: float = 0.0, variance: float = 1.0, device: str
) -> tuple[Weights, Weights]:
    one, two = (side.principal.whiten(shrinkage=shrinkage, variance=variance) for side in (first, second))
    ours, _, theirs = svd(one.T @ product(first.units, second.units, device=device) @ two, device)
    return one @ ours, two @ theirs.T


def _orthogonal(first: _Side, second: _Side, *, device: str) -> tuple[Weights, Weights]:
    ours, lengths, theirs = svd(product(first.units, second.units, device=device), device)
    kept = lengths > np.sqrt(ROUNDING) * lengths.max(initial=0.0)
    return ours[:, kept], theirs[kept].T


def _side(units: Units, device: str) -> _Side:
    return _Side(units, principal(units, device=device))


def _spread(weights: Weights, alive: Bool[np.ndarray, " all"]) -> Float[np.ndarray, "all directions"]:
    """Give dead units the weight 0."""
    full = np.zeros((alive.size, weights.shape[1]))
    full[alive] = weights
    return full
