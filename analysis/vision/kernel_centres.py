"""Many kernels of one channel brought to one place, size and sign, and the few centres that stand for them."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

from ...zoo.errors import BadInput

CENTRES = 8
DEAD = 0.01
"""Below this share of the median norm a kernel is dead: its values are rounding."""
SHIFTS = tuple(product((0, -1, 1), repeat=2))
"""By how many pixels, down and right, a centre may lie beside another that it is compared with."""

Image = Float[np.ndarray, "rows columns"]
Images = Float[np.ndarray, "kernels rows columns"]
Centres = Float[np.ndarray, "centres rows columns"]


def live(kernels: Images) -> Bool[np.ndarray, " kernels"]:
    """Tell which kernels are finite and not dead. Raises BadInput where none is."""
    norm = np.linalg.norm(kernels.astype(float), axis=(1, 2))
    finite = np.isfinite(norm)
    alive = finite & (norm > DEAD * np.median(norm[finite])) if finite.any() else finite
    if not alive.any():
        raise BadInput("no kernel is finite and other than zero", hint="leave this layer out")
    return np.asarray(alive)


def canonicalise(kernels: Images) -> Images:
    """Bring kernels to one place, size and sign: centre of mass in the middle, norm 1, sum of cubes positive.

    Shifts are whole pixels, zeros follow; noise draws the centre of mass to the middle, so that of noisy
    kernels some stay a pixel off. Raises BadInput where a kernel is zero or not finite.
    """
    if not np.isfinite(kernels).all() or not kernels.any(axis=(1, 2)).all():
        raise BadInput("a kernel is zero or not finite", hint="leave such kernels out")
    steps = _to_middle(kernels)
    moved = np.zeros(kernels.shape)
    for down, right in np.unique(steps, axis=0).tolist():
        chosen = (steps == (down, right)).all(axis=1)
        moved[chosen] = _shifted(kernels[chosen].astype(float), down, right)
    moved /= np.linalg.norm(moved, axis=(1, 2), keepdims=True)
    return np.asarray(moved * np.where((moved**3).sum(axis=(1, 2)) < 0, -1.0, 1.0)[:, None, None])


def find_centres(kernels: Images, *, seed: int, count: int = CENTRES) -> Centres:
    """Find the k-means centres of canonical kernels, norm 1, the one with most kernels first."""
    from sklearn.cluster import KMeans

    found = KMeans(min(count, len(kernels)), n_init=4, random_state=seed).fit(kernels.reshape(len(kernels), -1))
    order = np.argsort(-np.bincount(found.labels_), kind="stable")
    centres = found.cluster_centers_[order].reshape(-1, *kernels.shape[1:])
    return np.asarray(centres / np.linalg.norm(centres, axis=(1, 2), keepdims=True))


def likeness(
    left: Float[np.ndarray, "left rows columns"], right: Float[np.ndarray, "right rows columns"]
) -> Float[np.ndarray, "left right"]:
    """Compare centres of two networks: |cos|, at the best of SHIFTS."""
    cosines = [np.tensordot(left, _shifted(right, *shift), ((1, 2), (1, 2))) for shift in SHIFTS]
    return np.asarray(np.abs(cosines).max(axis=0))


def laid(image: Image, reference: Image) -> Image:
    """Lay a centre over another as `likeness` compares them: shifted, and of its sign."""
    choices = [_shifted(image[None], *shift)[0] for shift in SHIFTS]
    cosines = [float(np.sum(choice * reference)) for choice in choices]
    best = int(np.abs(cosines).argmax())
    return np.asarray(choices[best] * np.copysign(1.0, cosines[best]))


def _to_middle(kernels: Images) -> Int[np.ndarray, "kernels 2"]:
    mass = np.abs(kernels) / np.abs(kernels).sum(axis=(1, 2), keepdims=True)
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in kernels.shape[1:])
    middles = np.stack([mass.sum(axis=2) @ rows, mass.sum(axis=1) @ columns], axis=1)
    return np.asarray(-np.rint(middles).astype(int))


def _shifted(images: Images, down: int, right: int) -> Images:
    """Move images by whole pixels, zeros following."""
    rows, columns = images.shape[1:]
    room = np.pad(images, ((0, 0), (abs(down),) * 2, (abs(right),) * 2))
    top, left = abs(down) - down, abs(right) - right
    return np.asarray(room[:, top : top + rows, left : left + columns])
