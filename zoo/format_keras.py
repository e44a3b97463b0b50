"""Read the weights of Keras files: HDF5 as Keras 2 and Keras 3 write it, and .keras archives. Any other HDF5 file
of plain arrays reads as well, its tensors named by their paths.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from .archive import begin_of, check_sum, list_archive, open_member, refuse_bomb
from .checkpoint import LARGEST_CONFIG, LONGEST_NAME, MOST_TENSORS, Checkpoint
from .errors import Refused
from .held import Packed, hold
from .keras_config import activation_of, code_in
from .keras_names import is_beside, names_of
from .plain_json import parse_json
from .store import open_regular
from .weights import KINDS, MOST_AXES, Place

INNER = "model.weights.h5"
ALWAYS, RATIO = 64 << 20, 20  # as for npz: weights hardly compress
DEEPEST, MOST_OBJECTS, MOST_LISTED = 32, 100_000, 10_000
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000})
"""gzip, shuffle, checksums, and lzf by its registered number."""
_HINT = "get the file again, or save it again as safetensors"
_AS_PLAIN = "save the weights again with model.save_weights"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an HDF5 file is: a file itself, a piece of an archive that is stored as it is, or unpacked in memory."""

    path: Path
    size: int
    begin: int = 0
    content: bytes | None = None

    @contextmanager
    def open(self) -> Iterator[h5py.File]:
        """Open it for reading. Raises Refused (damaged) for what HDF5 cannot read, also in the block."""
        with open_regular(self.path) as file, _reading():
            inner: Any = self.path
            if self.content is not None or self.begin:
                inner = io.BytesIO(self.content) if self.content else _Piece(file, self.begin, self.size)
            with h5py.File(inner, "r") as opened:
                yield opened


class _Piece(io.RawIOBase):
    """A piece of a file, as a file. HDF5 opens no other file by way of it."""

    def __init__(self, file: BinaryIO, begin: int, size: int) -> None:
        self._file, self._begin, self._size, self._at = file, begin, size, 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any place of it can be read."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """Tell the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read at the place."""
        memory = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        count = os.preadv(self._file.fileno(), [memory], self._begin + self._at) if len(memory) else 0
        self._at += count
        return count


def read_keras(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read the weights that a Keras file holds, and what it says of its model, which is never built here.

    Numbers stay where they lie until they are asked for. Dense weights are (inputs, outputs) and filters
    (height, width, inputs, outputs), as Keras has them. Raises Refused (truncated, damaged, bomb, dtype, layout,
    outside, keys, nesting, no-tensors).
    """
    with open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"
        source, said = _unzip(path, file) if zipped else (_Source(path, os.fstat(file.fileno()).st_size), {})
    with source.open() as opened:
        found = _Walk(source, opened).walk()
        described = _attribute(opened, "model_config")
        versions = {key: _attribute(opened, key) for key in ("keras_version", "backend")}
    config = said if zipped else _config(described)
    metadata = {key: value for key, value in versions.items() if value}
    between = activation_of(config)
    if between is not None:
        metadata["activation"] = between
    return Checkpoint("keras", hold(found), metadata, code_in(config), config)


def _unzip(path: Path, file: BinaryIO) -> tuple[_Source, dict[str, Any]]:
    """Find the weights in a .keras archive, and read its description."""
    members = {member.filename: member for member in list_archive(file)}
    if INNER not in members:
        raise Refused("no-tensors", f"is an archive without {INNER}", hint=_AS_PLAIN)
    refuse_bomb(tuple(members.values()), limit=max(ALWAYS, RATIO * os.fstat(file.fileno()).st_size))
    member = members[INNER]
    with zipfile.ZipFile(file) as archive:
        said = _described(archive, members.get("config.json"))
        if member.compress_type == zipfile.ZIP_STORED:
            check_sum(file, member)
            return _Source(path, member.file_size, begin_of(file, member)), said
        with open_member(archive, INNER) as stream:
            content = stream.read(member.file_size + 1)
    return _Source(path, len(content), content=content), said


def _described(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None) -> dict[str, Any]:
    if member is None:
        return {}
    if member.file_size > LARGEST_CONFIG:
        raise Refused("bomb", f"has a config.json of {member.file_size:,} bytes", hint=_HINT)
    with open_member(archive, member.filename) as stream:
        return _config(stream.read(member.file_size))


def _config(text: bytes | str | None) -> dict[str, Any]:
    if not text:
        return {}
    config = parse_json(text.encode(errors="replace") if isinstance(text, str) else text, "config")
    return config if isinstance(config, dict) else {}


class _Walk:
    """Goes through an HDF5 file and lists its datasets, following nothing that leads elsewhere."""

    def __init__(self, source: _Source, file: h5py.File) -> None:
        self._source, self._file = source, file
        self._top = frozenset(file)
        self._seen: set[int] = set()
        self._left = max(ALWAYS, RATIO * source.size)
        self._parts: dict[tuple[str, ...], Place | Packed] = {}
        self._called: dict[tuple[str, ...], str] = {}
        self._listed: list[str] = []

    def walk(self) -> dict[str, Place | Packed]:
        """Give where all weights are, by name."""
        self._group((), self._file)
        if not self._parts:
            raise Refused("no-tensors", "holds no weights", hint=_AS_PLAIN)
        shapes = {path: part.shape for path, part in self._parts.items()}
        return {name: self._parts[path] for path, name in names_of(shapes, self._called, self._listed).items()}

    def _group(self, path: tuple[str, ...], group: h5py.Group) -> None:
        if len(path) > DEEPEST:
            raise Refused("nesting", f"nests groups deeper than {DEEPEST} levels", hint=_HINT)
        self._note(path, group)
        if path and path[-1] == "vars" and (called := _attribute(group, "name")) and _is_plain(called):
            self._called[path] = called
        self._listed += _texts(group, "weight_names")
        for name in self._in_order(group):
            if not _is_plain(name):
                raise Refused("keys", "has names that are not plain text", hint=_AS_PLAIN)
            if is_beside((*path, name), self._top):
                continue
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused("outside", f"links to what may lie elsewhere ({name[:80]})", hint=_AS_PLAIN)
            item = group[name]
            if isinstance(item, h5py.Group):
                self._group((*path, name), item)
            elif isinstance(item, h5py.Dataset):
                self._note((*path, name), item)
                self._parts[*path, name] = self._part((*path, name), item)

    def _in_order(self, group: h5py.Group) -> list[str]:
        """List what is in a group: layers in the order of the model where the file tells that."""
        if len(group) > MOST_OBJECTS:
            raise Refused("bomb", "has far too many groups and tensors", hint=_HINT)
        names = list(group)
        listed = {name: place for place, name in enumerate(_texts(group, "layer_names"))}
        return sorted(names, key=lambda name: listed.get(name, len(listed))) if listed else names

    def _note(self, path: tuple[str, ...], item: h5py.HLObject) -> None:
        """Take note of an object. Raises Refused where it is met again by another way, or there are too many."""
        place = h5py.h5o.get_info(item.id).addr
        if place in self._seen:
            raise Refused("damaged", f"holds the same twice ({'/'.join(path)[:80]})", hint=_HINT)
        self._seen.add(place)
        if len(self._seen) > MOST_OBJECTS or len(self._parts) > MOST_TENSORS or sum(map(len, path)) > LONGEST_NAME:
            raise Refused("bomb", "has far too many groups and tensors, or names that are far too long", hint=_HINT)

    def _part(self, path: tuple[str, ...], data: h5py.Dataset) -> Place | Packed:
        """Find where the numbers of a dataset lie, having compared all that it declares with what is there."""
        name, settings = "/".join(path), data.id.get_create_plist()
        kind = _kind(name, data)
        size = int(np.prod(data.shape, dtype=object)) * KINDS[kind[1:]]
        stored = data.id.get_storage_size()
        if settings.get_external_count() or settings.get_layout() == h5py.h5d.VIRTUAL:
            raise Refused("outside", f"has its numbers in another file ({name[:80]})", hint=_AS_PLAIN)
        filters = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())}
        if not filters <= _FILTERS:
            raise Refused("layout", f"is packed in an unknown way ({name[:80]})", hint=_AS_PLAIN)
        if size and (not stored or (not filters and stored < size)):
            raise Refused("damaged", f"declares numbers that are not there ({name[:80]})", hint=_HINT)
        self._left -= size
        if self._left < 0:
            raise Refused("bomb", "unpacks to far more than is plausible", hint="save it again without compression")
        offset = data.id.get_offset()
        if offset is None or self._source.content is not None:
            return Packed(data.shape, lambda: self._unpack(name))
        return Place(self._source.path, self._source.begin + offset, kind, data.shape)

    def _unpack(self, name: str) -> np.ndarray:
        with self._source.open() as opened:
            values = opened[name][()]
            return np.asarray(values).astype(values.dtype.newbyteorder("="), copy=False)


def _kind(name: str, data: h5py.Dataset) -> str:
    """Tell what kind of numbers a dataset holds, as Place has it."""
    dtype: np.dtype[Any] = data.dtype
    plain = dtype.kind in "fiub" and dtype.str[1:] in KINDS and not dtype.metadata and dtype.subdtype is None
    if data.shape is None or not plain:
        what = "nothing" if data.shape is None else str(dtype)
        raise Refused("dtype", f"holds numbers of an unknown kind ({what[:40]}) in {name[:80]}", hint=_AS_PLAIN)
    if len(data.shape) > MOST_AXES:
        raise Refused("damaged", f"has a tensor of an absurd shape ({name[:80]})", hint=_HINT)
    return (">" if dtype.str[0] == ">" else "<") + dtype.str[1:]


def _attribute(group: h5py.Group, name: str) -> str | None:
    """Read an attribute that is one text; None where it is none."""
    if not h5py.h5a.get_num_attrs(group.id) or name not in group.attrs:
        return None
    stored = group.attrs.get_id(name)
    if stored.shape != () or stored.get_storage_size() > LARGEST_CONFIG or stored.dtype.kind not in "SO":
        return None
    value: Any = group.attrs[name]
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) and len(text) <= LARGEST_CONFIG else None


def _texts(group: h5py.Group, name: str) -> list[str]:
    """Read an attribute that is a list of texts of fixed length, as Keras writes them; nothing where it is none."""
    if not h5py.h5a.get_num_attrs(group.id) or name not in group.attrs:
        return []
    stored = group.attrs.get_id(name)
    plain = len(stored.shape or ()) == 1 and stored.shape[0] <= MOST_LISTED and stored.dtype.kind == "S"
    if not plain or stored.get_storage_size() > LARGEST_CONFIG:
        return []
    values: Any = group.attrs[name]
    return [str(value, errors="replace") for value in values.tolist()]


def _is_plain(name: str) -> bool:
    return name.isprintable() and 0 < len(name) <= LONGEST_NAME and "/" not in name


@contextmanager
def _reading() -> Iterator[None]:
    """Say in our words that HDF5 cannot read a file; it has many ways to say so."""
    try:
        yield
    except (MemoryError, Refused):
        raise
    except Exception:
        raise Refused("damaged", "cannot be read as HDF5", hint=_HINT) from None
