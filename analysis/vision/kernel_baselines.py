"""What equations in the place of kernels are held against: other kernels of the same size, or of no sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Kernels = Float[np.ndarray, "units channels rows columns"]
Root = Float[np.ndarray, "rank values"]


@runtime_checkable
class Shown(Protocol):
    """What a baseline may know of a layer: its kernels, and the root of how they answer to natural patches."""

    @property
    def kernels(self) -> Kernels:
        """Give the layer's own kernels."""

    @property
    def root(self) -> Root:
        """Give a matrix whose product with a kernel has the norm of its responses to patches."""


def pca(seen: Shown, numbers: int, seed: int) -> Kernels:
    """Keep the first principal components of the kernels; mean and components, shared by all, are not counted."""
    return _kept(seen.kernels, _apart(seen.kernels), numbers)


def pca_of_responses(seen: Shown, numbers: int, seed: int) -> Kernels:
    """Keep the components that tell most of the responses to natural patches (reduced-rank regression)."""
    return _kept(seen.kernels, _apart(seen.kernels) @ seen.root.T, numbers)


def shuffled(seen: Shown, numbers: int, seed: int) -> Kernels:
    """Give every unit the kernel of another, round one circle of all of them in random order."""
    order = np.random.default_rng(seed).permutation(len(seen.kernels))
    given = np.empty_like(seen.kernels)
    given[order] = seen.kernels[np.roll(order, 1)]
    return given


def mean(seen: Shown, numbers: int, seed: int) -> Kernels:
    """Give every unit the mean kernel."""
    return np.repeat(seen.kernels.mean(axis=0, keepdims=True), len(seen.kernels), axis=0)


BASELINES: Mapping[str, Callable[[Shown, int, int], Kernels]] = {
    "PCA": pca,
    "PCA of responses": pca_of_responses,
    "shuffled": shuffled,
    "mean": mean,
}


def _apart(own: Kernels) -> Float[np.ndarray, "units places"]:
    flat = own.reshape(len(own), -1)
    return np.asarray(flat - flat.mean(axis=0))


def _kept(own: Kernels, weighed: Float[np.ndarray, "units _directions"], numbers: int) -> Kernels:
    """Keep of the kernels less their mean what the first left singular vectors tell."""
    axes = np.linalg.svd(weighed, full_matrices=False)[0][:, :numbers]
    return np.asarray(own.mean(axis=0) + (axes @ (axes.T @ _apart(own))).reshape(own.shape))
