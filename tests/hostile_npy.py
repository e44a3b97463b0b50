"""Headers of npy files that claim what is not there, bare and in archives."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

import numpy as np
from hostile_case import ANY, READ, Case, Place
from hostile_safetensors import network


def npy(shape: tuple[int, ...] = (1,), *, descr: str = "'<f8'", data: bytes | None = None, kind: str = "") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {kind or repr(shape)}, }}"
    content = bytes(8 * int(np.prod([n for n in shape if n < 1 << 20]))) if data is None else data
    return bare(header, content)


def bare(header: str | bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header if isinstance(header, bytes) else header.encode()
    text = text.ljust(118) if len(text) < 118 else text
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + data


def as_npz(content: bytes, name: str = "w.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("0.weight.npy", npy((2, 3), descr="'<f4'", data=bytes(24)))
        archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def npy_cases(place: Place) -> Iterator[Case]:
    """Lie in the headers of arrays, bare and in archives."""
    code = f"exec({place.python('npy')!r})"
    head = "{{'descr': {}, 'fortran_order': False, 'shape': (3,), }}"
    lies: dict[str, tuple[str, bytes]] = {
        "terabytes": ("declares terabytes", npy((1 << 40,), data=bytes(8))),
        "negative": ("negative lengths", npy((-1, -8))),
        "bools": ("a truth value as a length", npy(kind="(True,)")),
        "floats": ("a length in floating point", npy(kind="(1.0,)")),
        "giant": ("a length of 4,000 digits", npy(kind=f"({'9' * 4000},)")),
        "not-tuple": ("a shape that is a number", npy(kind="1")),
        "call": ("a call in the header", bare(code)),
        "call-inside": ("a call within the header", bare(head.format(code), bytes(24))),
        "format": ("an attribute chain in the header", bare(head.format("().__class__.__bases__[0]"), bytes(24))),
        "power": ("a sum that takes for ever", bare(head.format("9**9**9**9"), bytes(24))),
        "brackets": ("1,000 brackets in one another", bare("(" * 1000 + ")" * 1000)),
        "signs": ("9,000 signs in front of a number", bare(head.format("-" * 9000 + "1"), bytes(24))),
        "objects": (
            "Python objects",
            bare(head.format("'|O'"), b"\x80\x04cposix\nsystem\n(V" + place.shell("npy").encode() + b"\ntR."),
        ),
        "object-field": ("Python objects in a field", bare(head.format("[('a', '|O'), ('b', '<f8')]"), bytes(48))),
        "fields": ("a record of numbers", bare(head.format("[('a', '<f8')]"), bytes(24))),
        "titles": ("a field with a title", bare(head.format("[(('title', 'a'), '<f8')]"), bytes(24))),
        "subarray": ("a field of a million numbers each", bare(head.format("('<f8', (1 << 20,))"), bytes(24))),
        "subarray-many": (
            "a field of 2,000,000,000 numbers each",
            bare(head.format("[('a', '<f8', (2000000000,))]"), bytes(24)),
        ),
        "void": ("nothing but bytes", bare(head.format("'|V8'"), bytes(24))),
        "void-huge": ("items of 2 GB", bare(head.format("'|V2147483647'"), bytes(24))),
        "text-huge": ("texts of 2 GB", bare(head.format("'<U500000000'"), bytes(24))),
        "text-none": ("texts of nothing, a trillion of them", npy((10**12,), descr="'<U0'", data=b"")),
        "dates": ("dates", bare(head.format("'<M8[s]'"), bytes(24))),
        "complex": ("complex numbers", bare(head.format("'<c16'"), bytes(48))),
        "long-double": ("long doubles", bare(head.format("'<f16'"), bytes(48))),
        "alias": ("a kind of number by a name of Python", bare(head.format("'object'"), bytes(24))),
        "comma": ("kinds of number in one text", bare(head.format("'f8,f8,O'"), bytes(72))),
        "repeat": ("a kind of number with a count", bare(head.format("'1000000000f8'"), bytes(24))),
        "missing": ("a header that lacks the shape", bare("{'descr': '<f8', 'fortran_order': False}", bytes(8))),
        "extra": (
            "a header that says more",
            bare("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}", bytes(8)),
        ),
        "header-gigabytes": ("a header of 4 GB", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(40)),
        "header-large": ("a header of 1 MB", bare(head.format("'<f8'").ljust(1 << 20), bytes(24), b"\x02\x00")),
        "not-utf8": ("a header that is no Unicode", bare(b"{'descr': '<f8\xff\xfe'}", bytes(8), b"\x03\x00")),
        "nul": ("a header with a NUL", bare(b"{'descr': '<f8'\x00}", bytes(8))),
        "cut": ("cut short", npy((3,))[:-5]),
        "long": ("longer than declared", npy((3,)) + b"tail"),
        "many-axes": ("more axes than numpy knows", npy((1,) * 100, data=bytes(8))),
    }
    odd: dict[str, tuple[str, bytes]] = {
        "empty-giant": ("no numbers, but lengths that overflow", npy((1 << 60, 1 << 60, 0), data=b"")),
        "no-letters": ("a text of letters that there are not", npy((), descr="'<U1'", data=b"\xff" * 4)),
        "surrogate": ("a text of half letters", npy((), descr="'<U1'", data=b"\x00\xd8\x00\x00")),
        "not-ascii": ("a text of bytes that are no letters", npy((), descr="'|S4'", data=b"\xff\xfe\x80\x00")),
        "long-text": ("a text of a million letters", npy((), descr="'<U1000000'", data=b"a\0\0\0" * 1_000_000)),
        "booleans": ("truth values that are neither", npy((8,), descr="'|b1'", data=b"\xff" * 8)),
        "version": ("a version that there is not", bare(head.format("'<f8'"), bytes(24), b"\x09\x00")),
        "old": ("a header as Python 2 wrote it", npy(kind="(1L,)", data=bytes(8))),
    }
    for trick, (why, content) in lies.items():
        kind, wrap = ("npy", bytes) if hash_of(trick) % 2 else ("npz", as_npz)
        yield Case(f"npy/{trick}.{kind}", why, wrap(content))
    for trick, (why, content) in odd.items():
        yield Case(f"npy/{trick}.npz", why, as_npz(content), ANY)
    names = {
        "up": "../../../evil.npy",
        "absolute": "/etc/evil.npy",
        "escape": "\x1b[2J.npy",
        "nothing": ".npy",
        "spaces": " \t\n.npy",
    }
    for trick, name in names.items():
        yield Case(f"npy/name-{trick}.npz", f"an array called {name!r}", as_npz(npy(), name), ANY)
    yield Case("npy/no-suffix.npz", "an array without a suffix", as_npz(npy(), "w"), ANY)


def hash_of(text: str) -> int:
    return sum(text.encode())


def honest() -> Iterator[Case]:
    """Write what users write."""
    for seed, save in ((3, np.savez), (4, np.savez_compressed)):
        file = io.BytesIO()
        save(file, **network(seed))
        yield Case(f"honest/{save.__name__}.npz", "arrays by name", file.getvalue(), READ)
    file = io.BytesIO()
    np.save(file, network(5)["2.weight"])
    yield Case("honest/bare.npy", "one bare array", file.getvalue(), ANY)
    why = "what the hostile ones are made from"
    yield Case("base/array.npz", why, as_npz(npy((3,))), ANY, reads=True)
    yield Case("base/array.npy", why, npy((3,)), ANY, reads=True)


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest()
    yield from npy_cases(place)
