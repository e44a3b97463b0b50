"""How the mistakes of networks hang together over the inputs, and so what a number of points is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

REACHES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Lengths over which mistakes may be smooth, in standard deviations of an input times the root of their number."""

ROUNDS = 60
"""Rounds of the variance components; after so many they change by less than they are uncertain."""

SAME = 1e-9
"""A direction is in the span of others if no more than this share of its square is left without them."""


@dataclass(frozen=True, slots=True, eq=False)
class Mistakes:
    """The covariance of one lineage's mistakes at so many points, as a sum of parts of several smoothnesses.

    `information` is that of residual maximum likelihood on the parts' weights. `shares` compares the lineages:
    each one's mean squared mistake over that of all.
    """

    parts: Float[np.ndarray, "parts samples samples"]
    weights: Float[np.ndarray, " parts"]
    information: Float[np.ndarray, "parts parts"]
    shares: Float[np.ndarray, " lineages"]

    @property
    def covariance(self) -> Float[np.ndarray, "samples samples"]:
        """Add up the parts."""
        return np.asarray(np.tensordot(self.weights, self.parts, axes=1))

    @property
    def effective(self) -> float:
        """Say how many independent points the samples are worth: (tr K)² / tr K² (Satterthwaite 1946)."""
        covariance = self.covariance
        return float(np.trace(covariance) ** 2 / np.square(covariance).sum())

    @property
    def witnesses(self) -> float:
        """Say how many lineages of equal mistakes the lineages are worth (Box 1954)."""
        return float(self.shares.sum() ** 2 / np.square(self.shares).sum())

    def freedom(self, direction: Float[np.ndarray, " samples"]) -> float:
        """Say how many degrees of freedom the variance along a direction is known with (Satterthwaite)."""
        slopes = np.einsum("i,kij,j->k", direction, self.parts, direction)
        variance = float(slopes @ self.weights)
        doubt = float(slopes @ np.linalg.pinv(self.information, rcond=1e-8, hermitian=True) @ slopes)
        return float(np.clip(2 * variance**2 / max(doubt, 1e-300), 4.0, 1e6))


def learn_mistakes(
    residuals: Float[np.ndarray, "lineages samples"],
    inputs: Float[np.ndarray, "samples inputs"],
    tangent: Float[np.ndarray, "samples directions"],
) -> Mistakes:
    """Learn how smooth mistakes are from what is left of lineages after everything was fitted to each alone.

    A fit takes away whatever of a mistake lies along `tangent`; residual maximum likelihood (Patterson & Thompson
    1971) looks at the other directions only, so what a fit took away is not missed. Weights by the
    monotone updates of Zhou, Hu, Qian & Cho (2019).
    """
    parts = _parts(inputs)
    rest = complement(tangent)
    seen = (residuals - residuals.mean(axis=0)) @ rest
    many = max(len(residuals) - 1, 1)
    scale = float(np.square(seen).sum()) / (many * seen.shape[1])
    if scale == 0.0:
        return Mistakes(parts, np.zeros(len(parts)), np.eye(len(parts)), np.ones(len(residuals)))
    inner = np.stack([rest.T @ part @ rest for part in parts])
    weights, information = _weigh(inner, seen.T @ seen / (many * scale), many)
    shares = np.square(seen).sum(axis=1) / np.square(seen).sum(axis=1).mean()
    return Mistakes(parts, weights * scale, information / scale**2, shares)


def complement(tangent: Float[np.ndarray, "samples directions"]) -> Float[np.ndarray, "samples others"]:
    """Give axes of everything at right angles to some directions."""
    norms = np.linalg.norm(tangent, axis=0)
    axes, sizes, _ = np.linalg.svd(tangent[:, norms > 0] / norms[norms > 0], full_matrices=True)
    return np.asarray(axes[:, int((sizes**2 > SAME).sum()) :])


def _parts(inputs: Float[np.ndarray, "samples inputs"]) -> Float[np.ndarray, "parts samples samples"]:
    """Give a Gaussian covariance for each of REACHES, and one of mistakes that every point makes alone."""
    spread = inputs.std(axis=0)
    standard = inputs / np.where(spread > 0, spread, np.inf)
    squares = np.square(standard[:, None] - standard[None]).sum(axis=-1) / max(int((spread > 0).sum()), 1)
    return np.stack([*(np.exp(-squares / (2 * reach**2)) for reach in REACHES), np.eye(len(inputs))])


def _weigh(
    parts: Float[np.ndarray, "parts others others"], seen: Float[np.ndarray, "others others"], many: int
) -> tuple[Float[np.ndarray, " parts"], Float[np.ndarray, "parts parts"]]:
    weights = np.full(len(parts), 1.0 / len(parts))
    for _ in range(ROUNDS):
        inverse = _inverse(parts, weights)
        expected = np.einsum("ij,kji->k", inverse, parts)
        found = np.einsum("ij,kji->k", inverse @ seen @ inverse, parts)
        weights = weights * np.sqrt(found / expected)
    leading = np.stack([_inverse(parts, weights) @ part for part in parts])
    information = many / 2 * np.einsum("aij,bji->ab", leading, leading)
    return weights, np.asarray(information)


def _inverse(
    parts: Float[np.ndarray, "parts others others"], weights: Float[np.ndarray, " parts"]
) -> Float[np.ndarray, "others others"]:
    total = np.tensordot(weights, parts, axes=1)
    return np.asarray(np.linalg.inv(total + 1e-8 * np.trace(total) / len(total) * np.eye(len(total))))
