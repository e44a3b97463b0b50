"""What a builder may go by: the weights, what zoo.toml says of them, and what they will be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

from .checkpoint import Checkpoint
from .errors import Refused

NAME_IT = 'name it in zoo.toml: architecture = "timm:NAME", "torchvision:NAME" or "python:module:factory"'


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """A checkpoint, what zoo.toml says of it (`detail` is what follows the colon of its architecture), and the input.

    `inputs` is how many numbers a row of the probe has, None where there is no probe or it shows photos.
    `shape` is the shape of one sample as the module is given it, where that is known before the module is.
    """

    checkpoint: Checkpoint
    detail: str
    activation: str | None
    options: Mapping[str, object]
    inputs: int | None
    search_path: Path
    strip_prefix: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    image: bool = False
    shape: tuple[int, ...] | None = None


def float_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Give the shapes of the tensors that hold no whole numbers, without reading those that are still in the file."""
    places = getattr(checkpoint.tensors, "places", None)
    if places is not None:
        return {name: place.shape for name, place in places.items() if "f" in place.kind}
    return {name: array.shape for name, array in checkpoint.tensors.items() if array.dtype.kind == "f"}


def image_shape(blueprint: Blueprint, usual: tuple[int, int, int]) -> tuple[int, ...]:
    """Tell the shape of the images that a module gets which takes any size: as known, or square, or the usual one."""
    if blueprint.shape is not None and len(blueprint.shape) == 3:
        return blueprint.shape
    channels = usual[0]
    side = isqrt((blueprint.inputs or 0) // channels)
    return (channels, side, side) if side and channels * side**2 == blueprint.inputs else usual


def wrong_width(takes: int, given: int | None) -> Refused:
    """Word the refusal of a network that takes another number of inputs than the probe has."""
    return Refused(
        "input-shape",
        f"takes {takes} inputs, the probe has {given}",
        hint="give the probe the network's variables, or leave this network out of the zoo",
    )
