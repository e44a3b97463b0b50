"""Tell from its bytes what a file is, never from its name."""

from __future__ import annotations

import os
import struct
from typing import IO

from .archive import list_archive
from .errors import Refused
from .foreign import named_code, refuse_code, refuse_program

INDEX = "index"
"""What tells in which of several files each tensor of a checkpoint lies."""
LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
LONGEST_PICKLE = 1 << 20
_OTHERS = {
    b"GGUF": "a GGUF file",
    b"<htm": "a web page",
    b"<HTM": "a web page",
    b"<!DO": "a web page",
    b"<!do": "a web page",
    b"vers": "a pointer of Git LFS, not the file itself: fetch it with git lfs pull",
    b"\x1f\x8b": "packed with gzip: unpack it first",
    b"BZh": "packed with bzip2: unpack it first",
    b"\xfd7zX": "packed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"PAR1": "a Parquet table",
}
_HINT = "save its state dict as safetensors, as a torch state dict or as npz"
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Fields of an ONNX ModelProto and how protobuf writes each: 0 a number, 2 bytes after their length."""
_GRAPH = 7
_MOST_FIELDS = 10_000


def format_of(file: IO[bytes]) -> str:
    """Tell the format of an open file: a key of READERS, or INDEX.

    Raises Refused (empty, unknown-format, program, pickle-code, and what `list_archive` raises).
    """
    size, head = os.fstat(file.fileno()).st_size, file.read(512)
    if not head:
        raise Refused("empty", "is empty", hint="get the file again")
    if head[:4] == b"PK\x03\x04":
        return _archive_format([member.filename for member in list_archive(file)])
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 40:
        return "safetensors"
    if head[:1] == b"\x80" and LEGACY_MAGIC in head[:32]:
        return "torch"
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "keras"
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:1] == b"{" and b'"weight_map"' in _read(file, 0, LONGEST_PICKLE) + _read(file, size - 4096, 4096):
        return INDEX
    if _is_onnx(file, size):
        return "onnx"
    code = named_code(_read(file, 0, LONGEST_PICKLE))
    if code is not None:
        raise refuse_code(code)
    raise Refused("unknown-format", f"is not a checkpoint of a known format: {_described(head)}", hint=_HINT)


def _described(head: bytes) -> str:
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if head[:1] == b"{":
        return "JSON, but no index of weights"
    for begin, what in _OTHERS.items():
        if head.startswith(begin):
            return what
    return f"begins with {head[:8].hex(' ')}"


def _archive_format(names: list[str]) -> str:
    below = [name.partition("/")[2] for name in names]
    if any(name.startswith("code/") or name == "constants.pkl" for name in below):
        raise refuse_program("TorchScript")
    if "models/model.json" in below or any(name.startswith("serialized_exported_program") for name in names):
        raise refuse_program("an exported torch program")
    if any(name.startswith(".data/extern_modules") for name in (*below, *names)):
        raise refuse_program("a torch package")
    if "model.weights.h5" in names:
        return "keras"
    if "data.pkl" in below:
        return "torch"
    if all(name.endswith(".npy") for name in names):
        return "npz"
    raise Refused("unknown-format", "is an archive, but not of weights", hint=_HINT)


def _is_onnx(file: IO[bytes], size: int) -> bool:
    """Walk the outermost fields: all must be ones of a ModelProto, a graph among them.

    A graph that is cut short counts, so that its reader can say so.
    """
    position, graph = 0, False
    for _ in range(_MOST_FIELDS):
        if position >= size:
            return graph
        tag, position = _number(file, position)
        if _MODEL_FIELDS.get(tag >> 3) != tag & 7:
            return False
        value, position = _number(file, position)
        if tag & 7:
            graph = graph or (tag >> 3 == _GRAPH and value > 0)
            position += value
        if position > size:
            return graph and tag >> 3 == _GRAPH
    return False


def _number(file: IO[bytes], position: int) -> tuple[int, int]:
    """Read a number of protobuf and where it ends; what is none reads as a field that is not there."""
    value = 0
    for count, byte in enumerate(_read(file, position, 10)):
        value |= (byte & 127) << (7 * count)
        if byte < 128:
            return value, position + count + 1
    return 0, position + 10


def _read(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(max(offset, 0))
    return file.read(count)
