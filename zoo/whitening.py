"""Whiten photos in part: what natural images have too much of, coarse structure, is turned down.

The power spectrum of natural images falls as 1/f² (Field 1987), so that nearly all of their variance is coarse and
units that have little in common correlate. Dividing amplitudes by those of the mean image whitens them; a low-pass
filter keeps noise at the highest frequencies down (Olshausen & Field 1996, 1997).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Num

CUT = 0.4
"""Where the low-pass exp(-(f / CUT)⁴) cuts, in cycles per pixel: 200 cycles a picture of 512 pixels in the source."""
ROUNDING = 1 / 255 / 12**0.5
"""The amplitude of the noise that eight bits make: nothing below it is raised."""
CLIPPED = 0.01
"""So much of the values may lie beyond black and white."""
MEASURED = 64
"""Spectrum and range are measured on so many images, evenly chosen."""
TOGETHER = 16


def whiten(images: Num[np.ndarray, "samples side side 3"], power: float) -> Num[np.ndarray, "samples side side 3"]:
    """Divide every amplitude by the images' mean amplitude at its frequency, raised to a power.

    At 0 images stay as they are, at 1 their mean spectrum is flat below the low-pass: a power spectrum P becomes
    P^(1 - power). One filter serves all channels and directions, so that colours and orientations stay. The mean
    colour of all images stays, contrast is brought down where more than a hundredth would clip. Whole numbers are
    from 0 to 255, others from 0 to 1.
    """
    if not power or not len(images):
        return images
    some = images[np.unique(np.linspace(0, len(images) - 1, MEASURED).round().astype(int))]
    mean = _mean(some)
    gains = _gains(some, mean, power)
    gains = gains * _contrast(some, mean, gains)
    found = np.empty_like(images)
    for at, part in enumerate(_parts(images)):
        shown = np.clip(_filtered(part - mean, gains) + mean, 0, 1)
        found[at * TOGETHER : at * TOGETHER + len(part)] = np.rint(255 * shown) if images.dtype == np.uint8 else shown
    return found


def _parts(images: np.ndarray) -> Iterator[Float32[np.ndarray, "some side side 3"]]:
    scale = np.float32(255 if images.dtype == np.uint8 else 1)
    return (images[start : start + TOGETHER] / scale for start in range(0, len(images), TOGETHER))


def spectrum(images: Num[np.ndarray, "samples side side 3"]) -> Float[np.ndarray, " rings"]:
    """Measure the mean power of images in rings of half a cycle an image, over all channels and directions.

    By the cosine transform, which sees no edge where an image ends. The first ring holds what lies off the mean
    colour of all images.
    """
    return _spectrum(images, _mean(images))


def _mean(images: np.ndarray) -> Float32[np.ndarray, " channels"]:
    colours = np.concatenate([part.mean(axis=(1, 2)) for part in _parts(images)])
    return np.asarray(colours.mean(axis=0))


def _spectrum(images: np.ndarray, mean: np.ndarray) -> Float[np.ndarray, " rings"]:
    from scipy.fft import dctn

    power = np.zeros(images.shape[1:3])
    for part in _parts(images):
        power += (dctn(part - mean, axes=(1, 2), norm="ortho") ** 2).sum(axis=(0, 3), dtype=np.float64)
    rings = np.rint(_rings(len(power))).astype(int)
    total, held = np.bincount(rings.ravel(), power.ravel()), np.bincount(rings.ravel())
    return np.asarray(total / held / (3 * len(images)))


def _rings(side: int) -> Float[np.ndarray, "side side"]:
    """Tell the frequency of every cosine, in half cycles an image."""
    return np.hypot(np.arange(side)[:, None], np.arange(side))


def _gains(images: np.ndarray, mean: np.ndarray, power: float) -> Float32[np.ndarray, "side side 1"]:
    """Make the filter: what every cosine is multiplied by. The mean of an image counts as what is coarsest."""
    amplitudes = np.maximum(np.sqrt(_spectrum(images, mean)), ROUNDING)
    rings = np.maximum(_rings(images.shape[1]), 1)
    raised = np.interp(rings, np.arange(len(amplitudes)), amplitudes) ** -power
    low = np.exp(-((rings / (2 * len(rings)) / CUT) ** 4))
    return np.asarray(raised * low, dtype=np.float32)[..., None]


def _filtered(part: np.ndarray, gains: np.ndarray) -> np.ndarray:
    from scipy.fft import dctn, idctn

    return np.asarray(idctn(dctn(part, axes=(1, 2), norm="ortho") * gains, axes=(1, 2), norm="ortho"))


def _contrast(images: np.ndarray, mean: np.ndarray, gains: np.ndarray) -> np.float32:
    """Choose one factor for all images: contrast as it was, or less where more than CLIPPED of the values clips."""
    found = [_filtered(part - mean, gains) for part in _parts(images)]
    before = np.sum([np.sum((part - mean) ** 2) for part in _parts(images)])
    after = np.sum([np.sum(part**2) for part in found])
    room = [np.where(part > 0, 1 - mean, mean) + np.float32(ROUNDING) for part in found]
    shares = [np.abs(part) / most for part, most in zip(found, room, strict=True)]
    reach = np.quantile(np.concatenate(shares), 1 - CLIPPED)
    return np.float32(min(np.sqrt(before / after), 1 / reach)) if after > 0 and reach > 0 else np.float32(1)
