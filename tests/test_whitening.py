"""Photos are whitened in part: coarse structure is turned down for all alike, and nothing else is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consilience.zoo.manifest import ProbeTable
from consilience.zoo.probe import make_probe
from consilience.zoo.whitening import CLIPPED, CUT, spectrum, whiten

SIDE = 64
RINGS = np.arange(4, 60)
"""Of 2 to 30 cycles an image, of which the finest has 32."""


def scenes(count: int = 24, *, slope: float = 1.0, contrast: float = 0.12) -> np.ndarray:
    """Draw images in colour whose amplitude falls as natural images' does, with power 1/f^(2·slope)."""
    random = np.random.default_rng(0)
    ring = np.hypot(*np.meshgrid(np.fft.fftfreq(2 * SIDE), np.fft.fftfreq(2 * SIDE)))
    fall = np.maximum(ring, 1 / (2 * SIDE))[..., None] ** -slope
    noise = np.fft.fft2(random.normal(size=(count, 2 * SIDE, 2 * SIDE, 3)), axes=(1, 2))
    waves = np.fft.ifft2(noise * fall, axes=(1, 2)).real[:, :SIDE, :SIDE]
    waves = waves @ np.array([[1.0, 0.6, 0.3], [0.0, 0.7, 0.2], [0.0, 0.0, 0.5]])
    colours = np.array([0.5, 0.45, 0.4]) + contrast * (waves - waves.mean()) / waves.std()
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)


@pytest.mark.parametrize("power", [0.25, 0.5, 0.75, 1.0])
def test_the_power_spectrum_is_raised_to_what_is_left(power: float) -> None:
    images = scenes()
    before, after = np.log(spectrum(images)[RINGS]), np.log(spectrum(whiten(images, power))[RINGS])
    after += 2 * (RINGS / (2 * SIDE) / CUT) ** 4  # without the low-pass
    exponent, height = np.polyfit(before, after, 1)
    assert exponent == pytest.approx(1 - power, abs=0.05)
    assert after == pytest.approx(exponent * before + height, abs=0.2)


def test_nothing_is_changed_at_zero() -> None:
    images = scenes(4)
    assert whiten(images, 0.0) is images


def test_whitening_is_the_same_every_time_and_for_whole_numbers_and_others() -> None:
    images = scenes()
    found = whiten(images, 0.75)
    assert found.dtype == np.uint8
    assert np.array_equal(found, whiten(images.copy(), 0.75))
    floats = whiten(images.astype(np.float32) / 255, 0.75)
    assert floats.dtype == np.float32
    assert abs(floats * 255 - found).max() < 0.52


def test_little_clips_and_the_mean_colour_stays() -> None:
    images = scenes(contrast=0.2)
    found = whiten(images, 0.75)
    assert np.mean((found == 0) | (found == 255)) < 2 * CLIPPED
    assert found.std() <= images.std() + 1
    assert abs(found.mean(axis=(0, 1, 2)) - images.mean(axis=(0, 1, 2))).max() < 3


def test_grey_stays_grey_and_the_hue_of_a_wave_stays() -> None:
    grey = np.repeat(scenes()[..., :1], 3, axis=3)
    found = whiten(grey, 0.75).astype(int)
    assert abs(found - found[..., :1]).max() <= 1
    images = scenes().astype(np.float32) / 255
    wave = 0.2 * np.cos(2 * np.pi * 4 * np.arange(SIDE) / SIDE)[:, None] * np.array([1.0, -0.5, 0.25])
    images[0] = np.float32(images.mean(axis=(0, 1, 2)) + wave[:, None, :])
    shown = whiten(images, 0.5)[0] - images.mean(axis=(0, 1, 2))
    colours = (shown * np.cos(2 * np.pi * 4 * np.arange(SIDE) / SIDE)[:, None, None]).mean(axis=(0, 1))
    assert colours / colours[0] == pytest.approx([1.0, -0.5, 0.25], abs=0.01)


def test_a_filter_turns_with_the_images() -> None:
    images = scenes()
    turned = whiten(np.rot90(images, axes=(1, 2)), 0.75).astype(int)
    assert abs(turned - np.rot90(whiten(images, 0.75), axes=(1, 2))).max() <= 1


def test_plain_images_stay_plain() -> None:
    assert np.array_equal(whiten(np.full((3, 16, 16, 3), 90, np.uint8), 0.75), np.full((3, 16, 16, 3), 90))
    shades = whiten(np.repeat(np.arange(40, 200, 20, dtype=np.uint8), 16 * 16 * 3).reshape(8, 16, 16, 3), 0.75)
    assert all(len(np.unique(image)) == 1 for image in shades)


def test_a_probe_is_whitened_if_zoo_toml_says_so(tmp_path: Path) -> None:
    from PIL import Image

    images = scenes(8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    plain, white = (
        make_probe(ProbeTable(images=("*.png",), side=SIDE, whiten=power), folder=tmp_path, seed=0)
        for power in (0.0, 0.75)
    )
    assert np.array_equal(plain.inputs, images)
    assert np.array_equal(white.inputs, whiten(images, 0.75))
    assert plain.key != white.key
    with pytest.raises(ValueError, match="whiten is for images"):
        ProbeTable(rows="rows.csv", whiten=0.75)
