"""Bring photos to what a network was trained on: its size, its channels, its range of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod
from typing import Literal

import numpy as np
from jaxtyping import Float32, Num, UInt8

from .errors import Refused

_CORRECT = "correct [networks.preprocessing] in zoo.toml"
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""What of red, green and blue makes grey (ITU-R 601-2, as Pillow has it)."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a photo becomes an input, in the order of the steps.

    The middle is cut out (`crop` is its share of each side) and resized to `size` (height, width); the
    `channels` are put in order; 0..255 becomes 0..`scale`; `mean` is taken off and the rest divided by
    `std`, one number for each channel in that order or one for all. No size: that of the network's input.
    """

    size: tuple[int, int] | None = None
    crop: float = 1.0
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["nchw", "nhwc"] = "nchw"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def depth(self) -> int:
        """The number of channels."""
        return 1 if self.channels == "grey" else 3


def preprocess(
    images: UInt8[np.ndarray, "samples height width 3"],
    preprocessing: Preprocessing | None,
    input_shape: tuple[int, ...],
) -> Float32[np.ndarray, "samples ..."]:
    """Turn photos into inputs of this shape (of one sample).

    Where nothing is told, the shape tells size and channels, and 0..255 becomes 0..1. Raises Refused
    (input-shape) for a shape that is no image's and Refused (preprocessing) for numbers that do not fit.
    """
    steps = preprocessing or _plain(input_shape)
    size = steps.size or _size(input_shape, steps)
    found = np.stack([_resized(image, size, steps) for image in images]) if len(images) else np.empty((0, *size, 3))
    laid = _normalised(found.reshape(len(images), *size, steps.depth), 255 / steps.scale, steps)
    if laid.shape[1:] != input_shape and not _flat(input_shape, steps, size):
        raise Refused("input-shape", f"takes {input_shape}, preprocessing gives {laid.shape[1:]}", hint=_CORRECT)
    return np.ascontiguousarray(laid.reshape(len(images), *input_shape))


def pixel_for_pixel(
    images: Num[np.ndarray, "samples height width 3"],
    preprocessing: Preprocessing | None,
    input_shape: tuple[int, ...],
) -> Float32[np.ndarray, "samples ..."]:
    """Show images in RGB from 0 to 1 as they are: the middle is not cut out, nothing is resized.

    Channels, scale, mean, std and layout are the network's. What takes images as one row of numbers, or grey
    ones without an axis for channels, gets them so. Raises Refused (preprocessing) for numbers that do not fit.
    """
    steps = preprocessing or _plain(input_shape)
    laid = _normalised(_in_channels(images, steps), 1 / steps.scale, steps)
    size = (images.shape[1], images.shape[2])
    if laid.shape[1:] != input_shape and _flat(input_shape, steps, size):
        laid = laid.reshape(len(images), *input_shape)
    return np.ascontiguousarray(laid)


def image_sides(preprocessing: Preprocessing | None, shape: tuple[int, ...]) -> tuple[int, int]:
    """Tell the height and width of the image that an input of this shape is. Raises Refused (input-shape)."""
    return _size(shape, preprocessing or _plain(shape))


def shape_shown(preprocessing: Preprocessing | None, side: int) -> tuple[int, ...]:
    """Tell the shape of what a network is shown that takes images of any size: photos have this side."""
    steps = preprocessing or Preprocessing()
    size = steps.size or (side, side)
    return (steps.depth, *size) if steps.layout == "nchw" else (*size, steps.depth)


def _plain(input_shape: tuple[int, ...]) -> Preprocessing:
    """Read channels and layout off a shape: (3, 32, 32), (32, 32, 3), (1, 28, 28), (28, 28), (784,)."""
    if len(input_shape) == 3 and input_shape[0] not in (1, 3):
        return Preprocessing(channels="rgb" if input_shape[2] == 3 else "grey", layout="nhwc")
    deep = len(input_shape) == 3 and input_shape[0] == 3
    deep |= len(input_shape) == 1 and isqrt(input_shape[0]) ** 2 != input_shape[0]
    return Preprocessing(channels="rgb" if deep else "grey")


def _size(input_shape: tuple[int, ...], steps: Preprocessing) -> tuple[int, int]:
    sides = input_shape
    if len(sides) == 3:
        sides = sides[1:] if steps.layout == "nchw" else sides[:2]
    elif len(sides) == 1:
        sides = (isqrt(sides[0] // steps.depth),) * 2
    if len(sides) != 2 or prod(sides) * steps.depth != prod(input_shape):
        raise Refused(
            "input-shape",
            f"takes {input_shape}, which is no image of {steps.depth} channel{'s' * (steps.depth > 1)}",
            hint="tell channels and layout in [networks.preprocessing], or give the probe rows instead of images",
        )
    return sides[0], sides[1]


def _flat(input_shape: tuple[int, ...], steps: Preprocessing, size: tuple[int, int]) -> bool:
    """Tell an input that is an image in other words: one long row, or grey without an axis for channels."""
    return input_shape == (prod(size) * steps.depth,) or (steps.depth == 1 and input_shape == size)


def _in_channels(images: np.ndarray, steps: Preprocessing) -> np.ndarray:
    if steps.channels == "grey":
        return images @ _LUMA[:, None]
    return images[..., ::-1] if steps.channels == "bgr" else images


def _normalised(images: np.ndarray, white: float, steps: Preprocessing) -> np.ndarray:
    """Bring channels whose white is this number to the range that a network takes, and to its layout."""
    values = images.astype(np.float32)
    values /= np.float32(white)
    values -= _spread(steps.mean, 0.0, steps, "mean")
    values /= _spread(steps.std, 1.0, steps, "std")
    return np.moveaxis(values, 3, 1) if steps.layout == "nchw" else values


def _resized(image: np.ndarray, size: tuple[int, int], steps: Preprocessing) -> np.ndarray:
    from PIL import Image

    photo = Image.fromarray(image)
    (height, width), share = size, steps.crop
    left, top = photo.width * (1 - share) / 2, photo.height * (1 - share) / 2
    box = (left, top, photo.width - left, photo.height - top)
    kinds = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    small = photo.resize((width, height), kinds[steps.interpolation], box=box)
    if steps.channels == "grey":
        return np.asarray(small.convert("L"))[..., None]
    return np.asarray(small)[..., ::-1] if steps.channels == "bgr" else np.asarray(small)


def _spread(numbers: tuple[float, ...], default: float, steps: Preprocessing, key: str) -> np.ndarray:
    if len(numbers) not in (0, 1, steps.depth):
        count, channels = len(numbers), steps.channels
        raise Refused("preprocessing", f"preprocessing.{key} has {count} numbers for {channels}", hint=_CORRECT)
    if key == "std" and not all(numbers):
        raise Refused("preprocessing", "preprocessing.std has a zero", hint=_CORRECT)
    return np.asarray(numbers or (default,), dtype=np.float32)
