"""Walk through what protobuf wrote, and take the large runs of numbers out of an ONNX file before it is parsed.

Nothing is built from the bytes here, so that the size of the file bounds what a parser can be made to hold.
Numbers of fields are those of onnx.proto; the encoding is described at protobuf.dev under "Encoding".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from .errors import Refused

LARGEST_GRAPH = 64 << 20
MOST_FIELDS = 400_000
GRAPH, INITIALIZER = 7, 5
FLOATS, RAW, DOUBLES = 4, 9, 10
"""Fields of a tensor that hold its numbers as they lie in memory."""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_WINDOW = 1 << 16
_HINT = "get the file again, or export it again"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, its kind, where its tag begins and where its content stands."""

    number: int
    kind: int
    start: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Outline:
    """An ONNX file without the numbers of its initialisers, and where those lie: offset and length by field."""

    content: bytes
    numbers: tuple[Mapping[int, tuple[int, int]], ...]


def outline(file: BinaryIO) -> Outline:
    """Take the numbers of initialisers out of an ONNX file.

    Raises Refused (damaged, truncated, bomb) where the file is not protobuf, has not exactly one graph, or is
    long without its numbers.
    """
    sizes = os.fstat(file.fileno()).st_size
    walk = _Walk(file)
    kept = _Kept()
    graphs = []
    for part in walk.fields(0, sizes):
        if part.number != GRAPH:
            kept.add(walk.read(part.start, part.end))
        elif part.kind == _BYTES:
            graphs.append(part)
    if len(graphs) != 1:
        raise _damaged("it has several graphs" if graphs else "it has no graph")
    inner, numbers = _Kept(), []
    for part in walk.fields(graphs[0].begin, graphs[0].end):
        if (part.number, part.kind) != (INITIALIZER, _BYTES):
            inner.add(walk.read(part.start, part.end))
            continue
        bare, found = _bare(walk, part)
        inner.add(_message(INITIALIZER, bare))
        numbers.append(found)
    kept.add(_message(GRAPH, b"".join(inner.parts)))
    return Outline(b"".join(kept.parts), tuple(numbers))


def _bare(walk: _Walk, tensor: Field) -> tuple[bytes, dict[int, tuple[int, int]]]:
    """Split a tensor into what describes it and where its numbers are."""
    kept, found = _Kept(), {}
    for part in walk.fields(tensor.begin, tensor.end):
        if part.number not in (FLOATS, RAW, DOUBLES) or part.kind != _BYTES:
            kept.add(walk.read(part.start, part.end))
        elif part.number in found:
            raise _damaged("a tensor has its numbers twice")
        else:
            found[part.number] = (part.begin, part.end - part.begin)
    return b"".join(kept.parts), found


@dataclass(slots=True)
class _Kept:
    """Pieces that a parser will see, as long as they are not too many."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self.parts.append(part)
        if self.size > LARGEST_GRAPH:
            what = f"describes its graph with more than {LARGEST_GRAPH >> 20} MB"
            raise Refused("bomb", what, hint="export it again, with its weights as raw data")


class _Walk:
    """Reads the fields of messages through a window onto the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0
        self._at, self._seen = 0, b""

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """Give the fields of the message that stands there. Raises Refused (damaged, truncated, bomb)."""
        position = begin
        while position < end:
            self._count += 1
            if self._count > MOST_FIELDS:
                raise Refused("bomb", "has far too many nodes or tensors", hint=_HINT)
            start = position
            tag, position = self._number(position, end)
            value, after = self._number(position, end) if tag & 7 in (_VARINT, _BYTES) else (0, position)
            begins, length = _extent(tag & 7, value, position, after)
            if begins + length > end:
                raise Refused("truncated", "is cut short within its graph", hint=_HINT)
            position = begins + length
            yield Field(tag >> 3, tag & 7, start, begins, position)

    def read(self, begin: int, end: int) -> bytes:
        """Read a piece of the file."""
        if end - begin > LARGEST_GRAPH:
            return self._file_read(begin, LARGEST_GRAPH + 1)  # too large to be kept, whatever it is
        if not self._at <= begin <= end <= self._at + len(self._seen):
            return self._file_read(begin, end - begin)
        return self._seen[begin - self._at : end - self._at]

    def _file_read(self, begin: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), count, begin)

    def _number(self, position: int, end: int) -> tuple[int, int]:
        if not self._at <= position <= position + 10 <= self._at + len(self._seen):
            self._at, self._seen = position, self._file_read(position, _WINDOW)
        value, base = 0, position - self._at
        for count, byte in enumerate(self._seen[base : base + min(10, end - position)]):
            value |= (byte & 127) << (7 * count)
            if byte < 128:
                return value, position + count + 1
        raise _damaged("a number does not end")


def _extent(kind: int, value: int, position: int, after: int) -> tuple[int, int]:
    """Tell where the content of a field begins and how long it is."""
    if kind == _BYTES:
        return after, value
    sizes = {_VARINT: after - position, _EIGHT: 8, _FOUR: 4}
    if kind not in sizes:
        raise _damaged("it has fields of an unknown kind")
    return position, sizes[kind]


def _message(number: int, content: bytes) -> bytes:
    """Write a message as a field of another."""
    length, rest = b"", len(content)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | _BYTES]) + length + bytes([rest]) + content


def _damaged(why: str) -> Refused:
    return Refused("damaged", f"is a broken ONNX file: {why}", hint=_HINT)
