"""Settle what an ONNX graph takes where it leaves that open: the shape of a row, and how many rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .blueprint import Blueprint
from .errors import Refused, one_line

LARGEST = 2**31
_SAY_IT = "say it in zoo.toml, without the axis of rows: options = { input_shape = [3, 224, 224] }"


@dataclass(frozen=True, slots=True)
class Takes:
    """What a graph takes: the shape of a row, how many rows at once (0: any number), rows without a first axis."""

    shape: tuple[int, ...]
    group: int
    bare: bool


def settle(feed: Mapping[str, Any], blueprint: Blueprint) -> Takes:
    """Settle what a graph takes, by what it says, by the options input_shape and batch, and by the probe.

    Raises Refused (input-shape, options).
    """
    given, name = blueprint.options.get("input_shape"), shown(feed["name"])
    if feed["shape"] is None:
        if given is None:
            raise Refused("input-shape", f"does not say what shape {name} has", hint=_SAY_IT)
        return Takes(_lengths(given), 0, False)
    bare, rest = _is_bare(feed["shape"], blueprint.options.get("batch"), name), feed["shape"]
    rows, rest = (None, rest) if bare else (rest[0], rest[1:])
    shape = _lengths(given) if given is not None else _closed(rest, blueprint, name)
    if len(shape) != len(rest) or any(length not in (None, own) for length, own in zip(rest, shape, strict=True)):
        said = " x ".join(str(length or "?") for length in rest)
        raise Refused("options", f"takes {name} of shape {said}, options say {list(shape)}", hint="correct input_shape")
    return Takes(shape, 1 if bare else rows or 0, bare)


def _is_bare(shape: Sequence[int | None], said: object, name: str) -> bool:
    """Tell whether a graph takes one row without an axis for rows."""
    if said is not None:
        return not said
    if not shape or shape[0] in (None, 1):
        return not shape
    if len(shape) == 1:
        return True
    what = f"takes {name} of shape {' x '.join(str(length or '?') for length in shape)}: is the first axis rows?"
    raise Refused("input-shape", what, hint="say it in zoo.toml: options = { batch = true }, or false")


def _closed(rest: Sequence[int | None], blueprint: Blueprint, name: str) -> tuple[int, ...]:
    """Fill in a length that is left open, if the width of the probe leaves one choice."""
    known = prod(length for length in rest if length is not None)
    if rest.count(None) == 1 and blueprint.inputs and blueprint.inputs % known == 0:
        return tuple(length if length is not None else blueprint.inputs // known for length in rest)
    if blueprint.shape is not None and len(blueprint.shape) == len(rest):
        return blueprint.shape
    if None in rest:
        raise Refused("input-shape", f"leaves open how long the axes of {name} are", hint=_SAY_IT)
    return tuple(length for length in rest if length is not None)


def _lengths(given: object) -> tuple[int, ...]:
    plain = isinstance(given, list | tuple) and all(type(length) is int and 0 < length < LARGEST for length in given)
    if not plain or not isinstance(given, list | tuple) or prod(given) > LARGEST:
        raise Refused("options", "options has an input_shape that is not a list of lengths", hint="[3, 224, 224]")
    return tuple(given)


def shown(name: object) -> str:
    """Write a name that a stranger chose so that it can stand in a sentence."""
    return one_line(str(name)[:40])
