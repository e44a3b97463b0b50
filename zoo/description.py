"""Write down as JSON what a checkpoint is and where its tensors lie, and take such a description for what it is."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint
from .weights import KINDS, Place, Weights, is_shape


def describe(checkpoint: Checkpoint, homes: Mapping[Path, str]) -> dict[str, Any]:
    """Describe a checkpoint whose tensors lie in files; each file is named as `homes` says."""
    assert isinstance(checkpoint.tensors, Weights)
    places = checkpoint.tensors.places
    return {
        "format": checkpoint.format,
        "tensors": {name: _plain(place, homes[place.file]) for name, place in places.items()},
        "metadata": dict(checkpoint.metadata),
        "warnings": list(checkpoint.warnings),
        "config": dict(checkpoint.config),
    }


def restore(plain: Any, files: Mapping[str, Path]) -> Checkpoint:
    """Make a checkpoint of its description, checking every claim; the files are known by the names used there.

    Raises ValueError where it is not such a description, or where a file does not hold what it says.
    """
    try:
        sizes = {name: path.stat().st_size for name, path in files.items()}
        return Checkpoint(
            format=_text(plain["format"]),
            tensors=Weights({_text(name): _place(e, files, sizes) for name, e in plain["tensors"].items()}),
            metadata={_text(name): _text(said) for name, said in plain["metadata"].items()},
            warnings=tuple(_text(warning) for warning in plain["warnings"]),
            config=dict(plain["config"]),
        )
    except (KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError("no description of a checkpoint") from error


def _plain(place: Place, home: str) -> list[Any]:
    strides = None if place.strides is None else list(place.strides)
    return [home, place.offset, place.kind, list(place.shape), strides]


def _place(entry: Any, files: Mapping[str, Path], sizes: Mapping[str, int]) -> Place:
    home, offset, kind, shape, strides = entry
    if kind[:1] not in ("<", ">") or kind[1:] not in KINDS:
        raise ValueError("numbers of an unknown kind")
    place = Place(files[home], _natural(offset), kind, _naturals(shape), strides and _naturals(strides))
    if not is_shape(place.shape) or (place.strides is not None and len(place.strides) != len(place.shape)):
        raise ValueError("no shape of an array")
    if prod(place.shape) > place.span:
        raise ValueError("an array that shows more numbers than it has")
    if place.end > sizes[home]:
        raise ValueError("numbers beyond the end of a file")
    return place


def _naturals(value: list[Any]) -> tuple[int, ...]:
    return tuple(_natural(number) for number in value)


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("not a natural number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    return value
