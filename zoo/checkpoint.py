"""Read weights out of files that strangers made, without running anything in them.

What a file is follows from its bytes, never from its name. A file that is set aside has a code:

    empty, truncated, damaged     the bytes are not all there, or contradict one another
    unknown-format                none of the formats in READERS
    program                       TorchScript, an exported program, a Keras model: they carry code
    pickle-code                   a pickle that needs or would run code
    bomb                          small on disk, huge in memory
    view, layout, dtype           tensors that are not plain arrays of stored numbers
    keys, nesting, no-tensors     not a state dict
    protocol                      a state dict pickled in a way that torch's safe reader does not know
    missing, symlink, not-a-file, unreadable, outside, changed     see store
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .archive import list_archive, open_member, refuse_bomb
from .errors import Refused
from .foreign import named_code, refuse_code, refuse_program
from .header import LONGEST_NAME, read_header
from .npz import read_arrays
from .rehearsal import Rehearsal, rehearse
from .store import open_regular

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
SLACK = 1 << 20
NESTS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
PLAIN = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
}
_HINT = "get the file again, or save it again as safetensors"
_AS_SAFETENSORS = "save its state dict as safetensors, as a torch state dict or as npz"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The weights of one file as plain arrays, in the file's order, with what is odd about them.

    Half-width brain floats are widened to float32; other dtypes stay. Warnings are a code and a tensor:
    nan, inf, all-zero, constant (the last two for weights of two or more axes only).
    """

    format: str
    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any known format. Raises Refused with one of the codes listed above."""
    with open_regular(path) as file:
        kind = _format_of(file)
    return READERS[kind](path)


def read_safetensors(path: Path) -> Checkpoint:
    """Read a safetensors file whose header holds what it promises."""
    with open_regular(path) as file:
        metadata = read_header(file)
    try:
        # Not by memory map: a file that shrinks meanwhile would kill the process with SIGBUS.
        tensors = load_file(path, device="cpu", backend="pread")
    except (SafetensorError, OSError, RuntimeError, ValueError):
        raise Refused("damaged", "cannot be read as safetensors", hint=_HINT) from None
    return _finish("safetensors", {name: _plain(tensors[name]) for name in tensors}, metadata)


def read_torch(path: Path) -> Checkpoint:
    """Read a torch state dict, bare or one level down in a training checkpoint, zipped or legacy."""
    with open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        (_rehearse_zip if zipped else _rehearse_legacy)(file)
        file.seek(0)
        found = _state_dict(_load(file))
    tensors = {name: _plain(value) for name, value in found.items() if isinstance(value, torch.Tensor)}
    scalars = {name: str(value) for name, value in found.items() if isinstance(value, str | int | float)}
    return _finish("torch", _without_prefix(tensors), scalars)


def read_npz(path: Path) -> Checkpoint:
    """Read an npz archive of plain arrays; text and whole numbers without axes become metadata."""
    with open_regular(path) as file:
        arrays = read_arrays(file)
    tensors = {name: array for name, array in arrays.items() if array.dtype.kind not in "US"}
    scalars = {name: array for name, array in arrays.items() if not array.ndim and array.dtype.kind in "USiu"}
    metadata = {name: array.astype(str).item() for name, array in scalars.items()}
    return _finish("npz", {name: tensors[name] for name in tensors if name not in scalars}, metadata)


READERS: dict[str, Callable[[Path], Checkpoint]] = {
    "safetensors": read_safetensors,
    "torch": read_torch,
    "npz": read_npz,
}


def _format_of(file: IO[bytes]) -> str:
    head = file.read(32)
    if not head:
        raise Refused("empty", "is empty", hint=_HINT)
    if head[:4] == b"PK\x03\x04":
        return _archive_format([member.filename for member in list_archive(file)])
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 40:
        return "safetensors"
    if head[:1] == b"\x80" and LEGACY_MAGIC.to_bytes(10, "little") in head:
        return "torch"
    file.seek(0)
    code = named_code(file.read(SLACK))
    if code is not None:
        raise refuse_code(code)
    if head[:4] == b"\x89HDF":
        raise refuse_program("a Keras model")
    known = {
        b"\x93NUM": "one bare array",
        b"GGUF": "a GGUF file",
        b"<htm": "a web page",
        b"<!DO": "a web page",
    }
    what = known.get(head[:4], f"begins with {head[:8].hex(' ')}")
    raise Refused("unknown-format", f"is not a checkpoint of a known format: {what}", hint=_AS_SAFETENSORS)


def _archive_format(names: list[str]) -> str:
    below = [name.partition("/")[2] for name in names]
    if any(name.startswith("code/") or name == "constants.pkl" for name in below):
        raise refuse_program("TorchScript")
    if "models/model.json" in below or any(name.startswith("serialized_exported_program") for name in names):
        raise refuse_program("an exported torch program")
    if any(name.startswith(".data/extern_modules") for name in (*below, *names)):
        raise refuse_program("a torch package")
    if "model.weights.h5" in names:
        raise refuse_program("a Keras model")
    if "data.pkl" in below:
        return "torch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    raise Refused("unknown-format", "is an archive, but not of weights", hint=_AS_SAFETENSORS)


def _rehearse_zip(file: IO[bytes]) -> None:
    members, size = list_archive(file), os.fstat(file.fileno()).st_size
    refuse_bomb(members, limit=2 * size + SLACK)
    sizes = {member.filename: member.file_size for member in members}
    (top, *others) = {name.partition("/")[0] for name in sizes}
    if others:
        raise Refused("damaged", "is an archive of several folders", hint=_HINT)
    with zipfile.ZipFile(file) as archive, open_member(archive, f"{top}/data.pkl") as stream:
        content = io.BytesIO(stream.read())
    rehearsal = rehearse(content)
    for storage in rehearsal.storages.values():
        if sizes.get(f"{top}/data/{storage.key}") != storage.count * storage.item_bytes:
            raise Refused("damaged", "does not hold the numbers that its tensors need", hint=_HINT)
    _refuse_many_views(rehearsal, size)


def _rehearse_legacy(file: IO[bytes]) -> None:
    """Go through the five pickles of the old format: magic number, version, system, tensors, storages."""
    size = os.fstat(file.fileno()).st_size
    magic, _, _, rehearsal, keys = [rehearse(file) for _ in range(5)]
    needed = sum(8 + storage.count * storage.item_bytes for storage in rehearsal.storages.values())
    if magic.value != LEGACY_MAGIC or not isinstance(keys.value, list):
        raise Refused("damaged", "is not the torch file it seems to be", hint=_HINT)
    if sorted(map(str, keys.value)) != sorted(rehearsal.storages):
        raise Refused("damaged", "does not hold the numbers that its tensors need", hint=_HINT)
    if (found := size - file.tell()) != needed:
        code, what = ("truncated", "is cut short") if found < needed else ("damaged", "is too long")
        raise Refused(code, f"{what}: needs {needed:,} bytes of weights, has {found:,}", hint=_HINT)
    _refuse_many_views(rehearsal, size)


def _refuse_many_views(rehearsal: Rehearsal, size: int) -> None:
    if rehearsal.shown_bytes > 8 * size + SLACK:
        raise Refused("bomb", "shows the same numbers as far too many tensors", hint=_HINT)


def _load(file: IO[bytes]) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, weights_only=True, map_location="cpu")
        except Exception:  # torch's own words advise an unsafe way round
            raise Refused("damaged", "cannot be read as a torch state dict", hint=_HINT) from None


def _state_dict(content: object) -> dict[str, object]:
    if not isinstance(content, dict):
        raise Refused("no-tensors", "is not a state dict", hint="save model.state_dict()")
    for nest in NESTS:
        inner = content.get(nest)
        if isinstance(inner, dict) and any(isinstance(value, torch.Tensor) for value in inner.values()):
            outer = {name: value for name, value in content.items() if isinstance(value, str | int | float)}
            content = {**outer, **inner}
            break
    if not all(isinstance(name, str) for name in content):
        raise Refused("keys", "has tensors without a name", hint="save model.state_dict()")
    return content


def _without_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors


def _plain(tensor: torch.Tensor) -> np.ndarray:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise Refused("layout", "holds a tensor that is not plain", hint="save dense CPU tensors")
    if tensor.dtype not in PLAIN:
        raise Refused("dtype", f"holds numbers of an unknown kind ({tensor.dtype})", hint="save them as float32")
    return (tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()).numpy()


def _finish(kind: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Checkpoint:
    if not tensors:
        raise Refused("no-tensors", "holds no tensors", hint="save model.state_dict()")
    if any(len(name) > LONGEST_NAME for name in tensors):
        raise Refused("bomb", "has names that are far too long", hint=_HINT)
    oddities = [f"{code}: {name}" for name, array in tensors.items() for code in _oddities(array)]
    return Checkpoint(kind, tensors, dict(metadata), tuple(oddities))


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
