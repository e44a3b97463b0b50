"""Read weights out of files that strangers made, without running anything in them.

What a file is follows from its bytes, never from its name. A file that is set aside has a code:

    empty, truncated, damaged     the bytes are not all there, or contradict one another
    unknown-format                none of the formats in READERS
    program                       TorchScript, an exported program: they carry code
    pickle-code                   a pickle that needs or would run code
    bomb                          small on disk, huge in memory
    view, layout, dtype           tensors that are not plain arrays of stored numbers
    keys, nesting, no-tensors     not a state dict
    operator, inputs              an ONNX graph that cannot be run here, see onnx_graph
    several                       a folder of several checkpoints, none of which is the main one
    missing, symlink, not-a-file, unreadable, outside, changed, no-room     see store
    crashed, timed-out, memory, missing-package                             see sandbox
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .errors import Refused
from .plain_json import read_json
from .recognise import INDEX, format_of
from .store import open_regular
from .weights import Weights

MOST_TENSORS = 100_000
LONGEST_NAME = 1024
MOST_WARNINGS = 100
LONGEST_SAID, MOST_SAID = 4096, 1000
LARGEST_CONFIG = 4 << 20
CONFIG = "config.json"
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_HINT = "get the file again, or save it again as safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The weights of one checkpoint as plain arrays, in the file's order, with what is odd about them.

    Tensors may be read only when they are asked for, one at each access. Brain floats are widened to float32;
    other dtypes stay. Warnings are a code and what it concerns: nan, inf, all-zero, constant (the last two for
    weights of two or more axes only). `config` is the config.json that lies beside, or what the file itself
    says of its architecture: data that a stranger wrote. `file` is the main file, `beside` what belongs to it.
    """

    format: str
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    beside: Mapping[str, Path] = field(default_factory=dict)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor; nothing is read where the tensors are not in memory."""
        known = getattr(self.tensors, "shapes", None)
        return known if known is not None else {name: array.shape for name, array in self.tensors.items()}


class Wanted(Exception):
    """A reader needs files beside the main one: their names, relative and with forward slashes."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(", ".join(names[:3]))
        self.names = names


Reader = Callable[[Path, Mapping[str, Path]], Checkpoint]


def read_checkpoint(path: Path, beside: Mapping[str, Path] | None = None) -> Checkpoint:
    """Read a checkpoint of any known format, and look at all its tensors once.

    Files that belong to it are given by the names that it knows them by. Raises Wanted where more of them are
    needed, and Refused with one of the codes listed above.
    """
    return examine(open_checkpoint(path, beside or {}))


def open_checkpoint(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Do what `read_checkpoint` does, without a look at the tensors."""
    found = _read(path, beside)
    if CONFIG in beside and not found.config:
        config = read_json(beside[CONFIG], CONFIG, largest=LARGEST_CONFIG)
        if not isinstance(config, dict):
            raise Refused("damaged", f"has a broken {CONFIG}: it is not an object", hint=_HINT)
        found = replace(found, config=config)
    return replace(found, tensors=_without_prefix(found.tensors), file=path, beside=dict(beside))


def examine(checkpoint: Checkpoint) -> Checkpoint:
    """Add what is odd about its tensors to a checkpoint, reading one after the other.

    Raises Refused (no-tensors, bomb).
    """
    names = checkpoint.tensors.keys()
    if not names:
        raise Refused("no-tensors", "holds no tensors", hint="save model.state_dict()")
    if len(names) > MOST_TENSORS or any(len(name) > LONGEST_NAME for name in names):
        raise Refused("bomb", "has far too many tensors, or names that are far too long", hint=_HINT)
    odd = [f"{code}: {name}" for name, array in checkpoint.tensors.items() for code in _oddities(array)]
    metadata = dict(
        islice(((k, v) for k, v in checkpoint.metadata.items() if len(k) + len(v) <= LONGEST_SAID), MOST_SAID)
    )
    if left := len(checkpoint.metadata) - len(metadata):
        odd.append(f"left-out: {left:,} entries of its metadata, which are long or many")
    warnings = [*checkpoint.warnings, *odd]
    if len(warnings) > MOST_WARNINGS:
        warnings[MOST_WARNINGS:] = [f"more: {len(warnings) - MOST_WARNINGS:,} warnings like these"]
    return replace(checkpoint, metadata=metadata, warnings=tuple(warnings))


def _late(module: str, function: str) -> Reader:
    """Import a reader when it is first used: the packages that some need are heavy."""

    def read(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
        found: Checkpoint = getattr(import_module(f".{module}", __package__), function)(path, beside)
        return found

    return read


READERS: dict[str, Reader] = {
    "safetensors": _late("format_safetensors", "read_safetensors"),
    "torch": _late("format_torch", "read_torch"),
    "npz": _late("format_npz", "read_npz"),
    "npy": _late("format_npz", "read_npy"),
    "onnx": _late("format_onnx", "read_onnx"),
    "keras": _late("format_keras", "read_keras"),
}


def _read(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    with open_regular(path) as file:
        kind = format_of(file)
    if kind != INDEX:
        return READERS[kind](path, beside)
    read_index: Callable[..., Checkpoint] = import_module(".sharded", __package__).read_index
    return read_index(path, beside, _read_shard)


def _read_shard(path: Path) -> Checkpoint:
    with open_regular(path) as file:
        kind = format_of(file)
    if kind == INDEX:
        raise Refused("damaged", "is an index itself", hint=_HINT)
    return READERS[kind](path, {})


def _without_prefix(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    names = {name: name for name in tensors}
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            names = {name.removeprefix(prefix): whole for name, whole in names.items()}
    if not isinstance(tensors, Weights) or list(names) == list(names.values()):
        return tensors
    return Weights({name: tensors.places[whole] for name, whole in names.items()})


def _oddities(array: np.ndarray) -> list[str]:
    if array.dtype.kind != "f" or not array.size:
        return []
    lowest, highest = float(array.min()), float(array.max())
    if np.isnan(lowest):
        return ["nan"] + (["inf"] if np.isinf(array).any() else [])
    if np.isinf([lowest, highest]).any():
        return ["inf"]
    if array.ndim < 2 or array.size < 2 or lowest != highest:
        return []
    return ["all-zero" if lowest == 0 else "constant"]
