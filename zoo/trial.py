"""Build what a stranger's config.json describes in a process apart first, around weights that are all zero.

So vast libraries meet a config that fits no weights, or was written to do harm, only there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from .blueprint import Blueprint
from .checkpoint import Checkpoint
from .frame import not_installed
from .sandbox import Limits, own_sandbox

_SECONDS, _NUMBERS_A_SECOND = 60.0, 20e6
_MEMORY, _BYTES_A_NUMBER = 2 << 30, 8


@dataclass(frozen=True, slots=True, eq=False)
class Hollow(Mapping[str, np.ndarray]):
    """Tensors of zeros, each made when it is asked for: memory that is never written to costs nothing."""

    kinds: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    def __getitem__(self, name: str) -> np.ndarray:
        return np.zeros(self.shapes[name], self.kinds[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def try_apart(builder: str, blueprint: Blueprint, *, package: str, preload: Sequence[str]) -> None:
    """Have "module:function" of this folder build a blueprint in a sandbox, without its numbers.

    Raises Refused: missing-package, what the builder raises, and crashed, timed-out, memory.
    """
    if find_spec(package) is None:
        raise not_installed(package, package)
    shapes = blueprint.checkpoint.shapes
    numbers = sum(prod(shape) for shape in shapes.values())
    limits = Limits(_SECONDS + numbers / _NUMBERS_A_SECOND, memory=_MEMORY + _BYTES_A_NUMBER * numbers)
    own_sandbox().call(
        "trial:build_hollow",
        (package, *preload),
        limits,
        done="built",
        builder=builder,
        config=dict(blueprint.checkpoint.config),
        kinds=_kinds(blueprint.checkpoint),
        shapes={name: list(shape) for name, shape in shapes.items()},
        given={
            "detail": blueprint.detail,
            "activation": blueprint.activation,
            "options": json.loads(json.dumps(dict(blueprint.options), default=str)),  # TOML has dates, JSON not
            "inputs": blueprint.inputs,
            "strip_prefix": blueprint.strip_prefix,
            "rename": dict(blueprint.rename),
            "image": blueprint.image,
        },
        shape=None if blueprint.shape is None else list(blueprint.shape),
    )


def build_hollow(
    builder: str,
    config: Mapping[str, Any],
    kinds: Mapping[str, str],
    shapes: Mapping[str, Sequence[int]],
    given: Mapping[str, Any],
    shape: Sequence[int] | None,
) -> None:
    """Build within the sandbox what `try_apart` was given. Raises what the builder does."""
    hollow = Hollow(kinds, {name: tuple(lengths) for name, lengths in shapes.items()})
    blueprint = Blueprint(
        Checkpoint("", hollow, {}, config=config),
        search_path=Path(),
        shape=None if shape is None else tuple(shape),
        **given,
    )
    module, _, function = builder.partition(":")
    getattr(import_module(f".{module}", __package__), function)(blueprint)


def _kinds(checkpoint: Checkpoint) -> dict[str, str]:
    """Tell the kind of every tensor's numbers, halves as the singles that they become."""
    places = getattr(checkpoint.tensors, "places", None)
    if places is None:
        kinds = {name: array.dtype.str[1:] for name, array in checkpoint.tensors.items()}
    else:
        kinds = {name: place.kind[1:] for name, place in places.items()}
    return {name: "f4" if kind in ("f2", "bf2") else kind for name, kind in kinds.items()}
