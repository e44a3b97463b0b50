"""A photo reaches a network as the network was trained: size, order of channels, range of numbers, layout."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from consilience.zoo.errors import Refused
from consilience.zoo.preprocess import Preprocessing, preprocess, shape_shown

PHOTOS = np.random.default_rng(0).integers(0, 256, size=(3, 12, 12, 3), dtype=np.uint8)
CAFFE = (104.0, 117.0, 123.0)


def test_what_is_told_nothing_is_resized_and_runs_from_0_to_1() -> None:
    found = preprocess(PHOTOS, None, (3, 12, 12))
    assert found.dtype == np.float32
    assert np.array_equal(found, PHOTOS.transpose(0, 3, 1, 2) / np.float32(255))
    assert preprocess(PHOTOS, None, (3, 5, 7)).shape == (3, 3, 5, 7)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((12, 12, 3), PHOTOS / 255),
        ((432,), PHOTOS.transpose(0, 3, 1, 2).reshape(3, -1) / 255),
        ((1, 12, 12), None),
        ((12, 12, 1), None),
        ((12, 12), None),
        ((144,), None),
    ],
)
def test_a_shape_tells_channels_and_layout(shape: tuple[int, ...], expected: np.ndarray | None) -> None:
    if expected is None:
        grey = np.stack([np.asarray(Image.fromarray(photo).convert("L")) for photo in PHOTOS])
        expected = grey.reshape(3, *shape) / 255
    assert np.allclose(preprocess(PHOTOS, None, shape), expected, atol=1e-6)


def test_caffe_means_are_taken_off_in_the_order_of_the_channels() -> None:
    steps = Preprocessing(channels="bgr", scale=255.0, mean=CAFFE)
    found = preprocess(PHOTOS, steps, (3, 12, 12))
    assert np.allclose(found[:, 0], PHOTOS[..., 2] - 104.0)
    assert np.allclose(found[:, 2], PHOTOS[..., 0] - 123.0)


def test_minus_one_to_one() -> None:
    found = preprocess(PHOTOS, Preprocessing(mean=(0.5,), std=(0.5,)), (3, 12, 12))
    assert np.allclose(found, PHOTOS.transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)
    kept = preprocess(PHOTOS, Preprocessing(layout="nhwc", scale=2.0, std=(0.5,)), (12, 12, 3))
    assert np.allclose(kept, PHOTOS / 255 * 4, atol=1e-6)


def test_the_middle_is_cut_out_before_resizing() -> None:
    photo = np.zeros((1, 40, 40, 3), dtype=np.uint8)
    photo[:, 10:30, 10:30] = 200
    assert (preprocess(photo, Preprocessing(crop=0.5, scale=255.0), (3, 20, 20)) == 200).all()
    whole = preprocess(photo, Preprocessing(scale=255.0), (3, 20, 20))
    assert whole[0, 0, 0, 0] == 0
    assert whole[0, 0, 10, 10] == 200


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_is_pillows(interpolation: str) -> None:
    kind = getattr(Image.Resampling, interpolation.upper())
    expected = np.stack([np.asarray(Image.fromarray(photo).resize((5, 7), kind)) for photo in PHOTOS])
    steps = Preprocessing(size=(7, 5), scale=255.0, interpolation=interpolation)
    assert np.array_equal(preprocess(PHOTOS, steps, (3, 7, 5)), expected.transpose(0, 3, 1, 2))


def test_no_photos_give_no_inputs() -> None:
    assert preprocess(PHOTOS[:0], None, (3, 8, 8)).shape == (0, 3, 8, 8)


def test_photos_stay_as_they_are() -> None:
    before = PHOTOS.copy()
    preprocess(PHOTOS, Preprocessing(channels="bgr", layout="nhwc", mean=CAFFE), (12, 12, 3))
    assert np.array_equal(PHOTOS, before)


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        (None, (3, 64, 64)),
        (Preprocessing(size=(32, 24)), (3, 32, 24)),
        (Preprocessing(channels="grey"), (1, 64, 64)),
        (Preprocessing(layout="nhwc", channels="bgr"), (64, 64, 3)),
    ],
)
def test_the_shape_shown_to_a_network_that_takes_any_size(steps: Preprocessing | None, shape: tuple[int, ...]) -> None:
    assert shape_shown(steps, 64) == shape
    assert preprocess(PHOTOS, steps, shape).shape == (3, *shape)


@pytest.mark.parametrize(
    ("steps", "shape", "what"),
    [
        (None, (13,), r"takes \(13,\), which is no image of 3 channels"),
        (None, (4, 3, 8, 8), "is no image of 1 channel$"),
        (None, (6, 8, 9), "is no image of 1 channel$"),
        (None, (), r"takes \(\)"),
        (Preprocessing(), (1, 8, 8), "is no image of 3 channels"),
        (Preprocessing(size=(8, 9)), (3, 8, 8), r"takes \(3, 8, 8\), preprocessing gives \(3, 8, 9\)"),
        (Preprocessing(size=(8, 8)), (8, 8, 3), r"preprocessing gives \(3, 8, 8\)"),
    ],
)
def test_inputs_that_are_no_such_images(steps: Preprocessing | None, shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(Refused, match=what) as caught:
        preprocess(PHOTOS, steps, shape)
    assert caught.value.code == "input-shape"
    assert "preprocessing" in caught.value.hint


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        (Preprocessing(mean=(0.5, 0.5)), "preprocessing.mean has 2 numbers for rgb"),
        (Preprocessing(channels="grey", std=(1.0, 1.0, 1.0)), "preprocessing.std has 3 numbers for grey"),
        (Preprocessing(std=(1.0, 0.0, 1.0)), "preprocessing.std has a zero"),
    ],
)
def test_numbers_that_do_not_fit(steps: Preprocessing, what: str) -> None:
    with pytest.raises(Refused, match=what) as caught:
        preprocess(PHOTOS, steps, (steps.depth, 8, 8))
    assert caught.value.code == "preprocessing"
    assert caught.value.hint == "correct [networks.preprocessing] in zoo.toml"
