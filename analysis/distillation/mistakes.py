"""How the mistakes of networks hang together over the inputs, and so what a number of points is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

REACHES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Lengths over which mistakes may be smooth, in standard deviations of an input times the root of their number."""

RIDGE = 0.01
"""Keeps parts small of which a fit leaves nearly nothing to see; a share of what all parts together are seen by."""

NEIGHBOURS = 12
"""Points around which mistakes are about as large."""

SAME = 1e-9
"""A direction is in the span of others if no more than this share of its square is left without them."""

FEWEST, MOST = 6.0, 30.0
"""Degrees of freedom with which a variance may count as known: the family of covariances is a guess as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """The covariance of one lineage's mistakes at so many points, as a sum of parts of several smoothnesses.

    `weights` are those of the parts, `without` the same learnt without each lineage in turn. `shares` are the
    lineages' mean squared mistakes.
    """

    parts: Float[np.ndarray, "parts samples samples"]
    weights: Float[np.ndarray, " parts"]
    without: Float[np.ndarray, "lineages parts"]
    shares: Float[np.ndarray, " lineages"]

    @property
    def effective(self) -> float:
        """Say how many independent points the samples are worth: (tr K)² / tr K² (Satterthwaite 1946)."""
        covariance = np.tensordot(self.weights, self.parts, axes=1)
        squares = float(np.square(covariance).sum())
        return float(np.trace(covariance) ** 2) / squares if squares > 0 else float(len(covariance))

    @property
    def witnesses(self) -> float:
        """Say how many lineages of equal mistakes the lineages are worth (Box 1954)."""
        squares = float(np.square(self.shares).sum())
        return float(self.shares.sum() ** 2) / squares if squares > 0 else float(len(self.shares))

    def along(self, directions: Float[np.ndarray, "lineages samples"]) -> Variance:
        """Say how far mistakes go along directions, on average, and how sure that is (jackknife over lineages)."""
        sizes = np.square(directions).sum(axis=1)
        slopes = np.array([np.mean(((directions @ part) * directions).sum(axis=1) / sizes) for part in self.parts])
        value, each = float(slopes @ self.weights), self.without @ slopes
        doubt = float((len(each) - 1) / len(each) * np.square(each - each.mean()).sum())
        freedom = 2 * value**2 / doubt if doubt > 0 else MOST
        return Variance(value, float(np.clip(freedom, FEWEST, MOST)))


@dataclass(frozen=True, slots=True)
class Variance:
    """A variance, and the degrees of freedom with which it is known."""

    value: float
    freedom: float


def learn_mistakes(
    residuals: Float[np.ndarray, "lineages samples"],
    inputs: Float[np.ndarray, "samples inputs"],
    tangent: Float[np.ndarray, "samples directions"],
) -> Mistakes:
    """Learn how smooth mistakes are from what is left of lineages after everything was fitted to each alone.

    A fit takes away whatever of a mistake lies along `tangent`, so only the other directions are looked at, and
    the parts that explain the products of residuals there say what to expect along `tangent` (MINQUE, Rao 1971:
    variance components by least squares, here none negative).
    """
    apart, rest = residuals - residuals.mean(axis=0), complement(tangent)
    sizes = _local_size(apart, inputs)
    parts = _parts(inputs) * np.outer(sizes, sizes)
    seen = apart @ rest
    inner = np.stack([rest.T @ part @ rest for part in parts])
    products = np.einsum("li,pij,lj->lp", seen, inner, seen)
    gram = np.einsum("pij,qij->pq", inner, inner)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    total, many = products.sum(axis=0), len(residuals) - 1
    without = [_weigh(gram, (total - one) / max(many - 1, 1)) for one in products]
    return Mistakes(parts, _weigh(gram, total / many), np.stack(without), np.square(seen).mean(axis=1))


def _weigh(
    gram: Float[np.ndarray, "parts parts"], products: Float[np.ndarray, " parts"]
) -> Float[np.ndarray, " parts"]:
    """Solve least squares with weights that are not negative."""
    size = float(np.abs(products).max())
    if size == 0.0:  # no mistakes at all
        return np.zeros(len(gram))
    root = np.linalg.cholesky(gram)
    return np.asarray(size * nnls(root.T, np.linalg.solve(root, products / size))[0])


def complement(tangent: Float[np.ndarray, "samples directions"]) -> Float[np.ndarray, "samples others"]:
    """Give axes of everything at right angles to some directions."""
    norms = np.linalg.norm(tangent, axis=0)
    axes, sizes, _ = np.linalg.svd(tangent[:, norms > 0] / norms[norms > 0], full_matrices=True)
    return np.asarray(axes[:, int((sizes**2 > SAME).sum()) :])


def _local_size(
    apart: Float[np.ndarray, "lineages samples"], inputs: Float[np.ndarray, "samples inputs"]
) -> Float[np.ndarray, " samples"]:
    """Measure how large mistakes are around each point: networks err more where a law is steep, and in corners."""
    near = np.argsort(_squares(inputs), axis=1)[:, :NEIGHBOURS]
    squares = np.square(apart).mean(axis=0)
    return np.asarray(np.sqrt(squares[near].mean(axis=1)))


def _squares(inputs: Float[np.ndarray, "samples inputs"]) -> Float[np.ndarray, "samples samples"]:
    """Give squared distances in standard deviations of an input, over the number of inputs."""
    spread = inputs.std(axis=0)
    standard = inputs / np.where(spread > 0, spread, np.inf)
    return np.asarray(np.square(standard[:, None] - standard[None]).sum(axis=-1) / max(int((spread > 0).sum()), 1))


def _parts(inputs: Float[np.ndarray, "samples inputs"]) -> Float[np.ndarray, "parts samples samples"]:
    """Give a Gaussian covariance for each of REACHES, and one of mistakes that every point makes alone."""
    squares = _squares(inputs)
    return np.stack([*(np.exp(-squares / (2 * reach**2)) for reach in REACHES), np.eye(len(inputs))])
