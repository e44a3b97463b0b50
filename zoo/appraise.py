"""Appraise a checkpoint: what would run it, how wide it is at both ends, and what its file does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from .architecture import build_network, infer
from .checkpoint import Checkpoint
from .errors import Refused
from .inspection import Inspected
from .network import Network


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to take the weights: the width at both ends, and what is known between layers."""

    inputs: int
    outputs: int
    activations: tuple[str, ...]
    doubt: str


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint: what would run it ("" where nothing is known), the ways to read it, or why there is none."""

    file: str
    architecture: str
    readings: Mapping[int, Reading]
    doubt: str
    tensors: tuple[str, ...]
    warnings: tuple[str, ...]
    image: bool = False


def appraise(file: str, seen: Inspected, *, said: Mapping[str, str], search_path: Path) -> Found:
    """Say how a checkpoint can be run, without knowing what it is to be shown.

    `said` are keys of [[networks]] in zoo.toml that hold for it. Raises Refused where it cannot be read,
    and for a name that TOML cannot hold.
    """
    try:
        file.encode()
    except UnicodeEncodeError:
        raise Refused("name", "has a name that is not text", hint="rename the file") from None
    if seen.checkpoint is None:
        raise seen.refusal or Refused("unreadable", "cannot be read")
    checkpoint = seen.checkpoint
    kind = said.get("architecture") or infer(checkpoint)
    if kind == "mlp":
        readings, doubt = _as_mlp(search_path, checkpoint, said)
        kind, image = ("mlp" if readings else ""), False
    else:
        kind, image, readings, doubt = _as_named(search_path, checkpoint, kind, said)
    return Found(file, kind, readings, doubt, tuple(sorted(checkpoint.shapes)), checkpoint.warnings, image)


def _as_mlp(search_path: Path, checkpoint: Checkpoint, said: Mapping[str, str]) -> tuple[dict[int, Reading], str]:
    """Try the weights as an MLP of every width that one of them takes."""
    readings, doubt = {}, "none of the weights has two axes"
    widths = {shape[1] for shape in checkpoint.shapes.values() if len(shape) == 2 and 0 not in shape}
    for inputs in sorted(widths):
        try:
            readings[inputs] = _reading(search_path, checkpoint, np.zeros((1, inputs)), said)[0]
        except Refused as refusal:
            doubt = doubt if refusal.code == "input-shape" else f"the file {refusal.what}"
    return readings, doubt


def _as_named(
    search_path: Path, checkpoint: Checkpoint, kind: str, said: Mapping[str, str]
) -> tuple[str, bool, dict[int, Reading], str]:
    try:
        reading, network = _reading(search_path, checkpoint, None, said)
    except Refused as refusal:
        return "", False, {}, f"the file {refusal.what}"
    return kind, len(network.input_shape) == 3, {reading.inputs: reading}, ""


def _reading(
    search_path: Path, checkpoint: Checkpoint, example: np.ndarray | None, said: Mapping[str, str]
) -> tuple[Reading, Network]:
    try:
        network, doubt = _built(search_path, checkpoint, example, said), ""
    except Refused as refusal:
        if refusal.code != "no-activation":
            raise
        network = _built(search_path, checkpoint, example, {**said, "activation": "identity"})
        told = checkpoint.metadata.get("activation")
        doubt = f"the files say {told!r}, which is not known here" if told else "the files do not say it"
    hidden = sorted({layer.activation for layer in network.layers if layer.role == "hidden"})
    count, outputs = prod(network.input_shape), network.layers[-1].units
    return Reading(count, outputs, () if doubt else tuple(hidden), doubt), network


def _built(search_path: Path, checkpoint: Checkpoint, example: np.ndarray | None, said: Mapping[str, str]) -> Network:
    return build_network(
        checkpoint,
        name="draft",
        digest="",
        lineage="draft",
        architecture=said.get("architecture"),
        activation=said.get("activation"),
        strip_prefix=said.get("strip_prefix", ""),
        example=example,
        search_path=search_path,
    )
