"""Headers of safetensors that claim what is not there, or are odd in a way that a reader may trip over."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np
from hostile_case import ANY, READ, Case, Place


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: object = 0, end: object = 24, shape: object = (2, 3), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def raw_entry(name: str = '"w"', *, dtype: str = '"F32"', shape: str = "[2,3]", offsets: str = "[0,24]") -> bytes:
    return f'{{{name}:{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}'.encode("utf-8", "surrogatepass")


def network(seed: int, width: int = 6) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = {"0.weight": (width, 2), "0.bias": (width,), "2.weight": (1, width), "2.bias": (1,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def written(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    header: dict[str, object] = {"__metadata__": dict({"activation": "tanh"} if metadata is None else metadata)}
    data = b""
    for name, array in tensors.items():
        header[name] = entry(len(data), len(data) + array.nbytes, array.shape)
        data += array.tobytes()
    return safetensors(header, data)


def lie_cases() -> Iterator[Case]:
    """Lie in a header."""
    data = bytes(24)
    lies: dict[str, tuple[str, bytes]] = {
        "blank": ("a blank before the brace", safetensors(b" " + raw_entry(), data)),
        "marked": ("a byte order mark before the brace", safetensors(b"\xef\xbb\xbf" + raw_entry(), data)),
        "utf16": ("a header in UTF-16", safetensors(raw_entry().decode().encode("utf-16"), data)),
        "not-utf8": ("a header that is no Unicode", safetensors(raw_entry().replace(b'"w"', b'"\xff\xfe"'), data)),
        "same-key": ("one name twice", safetensors(raw_entry()[:-1] + b"," + raw_entry()[1:], data)),
        "two-metadata": (
            "metadata twice",
            safetensors(b'{"__metadata__":{},' + raw_entry()[1:-1] + b',"__metadata__":{}}', data),
        ),
        "padding": ("10 MB of padding", safetensors(raw_entry() + b" " * (10 << 20), data)),
        "header-exabytes": ("a header of exabytes", struct.pack("<Q", (1 << 63) + 5) + raw_entry() + data),
        "header-large": ("a header of 100 MB", struct.pack("<Q", 100 << 20) + raw_entry() + data),
        "header-short": ("a header that ends in the middle", struct.pack("<Q", 20) + raw_entry() + data),
        "header-nothing": ("a header of no bytes", bytes(8) + b"{}" + data),
        "seven-bytes": ("seven bytes", b"\x02" + bytes(6)),
        "list": ("a list in place of the header", safetensors(b"[1]")),
        "deep": ("100,000 brackets in one another", safetensors(b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
        "deep-objects": ("100,000 braces in one another", safetensors(b'{"w":' * 100_000 + b"1" + b"}" * 100_000)),
        "digits": ("a length of 500,000 digits", safetensors(raw_entry(shape=f"[{'9' * 500_000}]"), data)),
        "digits-few": ("a length of 4,000 digits", safetensors(raw_entry(shape=f"[{'9' * 4000},0]", offsets="[0,0]"))),
        "nan": ("a length that is no number", safetensors(raw_entry(shape="[NaN,3]"), data)),
        "infinity": ("an infinite range", safetensors(raw_entry(offsets="[0,Infinity]"), data)),
        "huge-float": ("a length that overflows", safetensors(raw_entry(shape="[1e999]"), data)),
        "negative": ("negative lengths", safetensors(raw_entry(shape="[-2,-3]"), data)),
        "minus-zero": ("a range that begins at minus nothing", safetensors(raw_entry(offsets="[-0.0,24]"), data)),
        "float-offsets": ("ranges in floating point", safetensors(raw_entry(offsets="[0.0,24.0]"), data)),
        "bool-offsets": (
            "ranges that are truth values",
            safetensors(raw_entry(shape="[]", dtype='"U8"', offsets="[false,true]"), b"1"),
        ),
        "text-shape": ("a length in words", safetensors(raw_entry(shape='["2","3"]'), data)),
        "nested-shape": ("a list as a length", safetensors(raw_entry(shape="[[2,3]]"), data)),
        "object-shape": ("an object as a shape", safetensors(raw_entry(shape='{"0":2,"1":3}'), data)),
        "null-shape": ("no shape", safetensors(raw_entry(shape="null"), data)),
        "backwards": ("a range that ends before it begins", safetensors(raw_entry(offsets="[24,0]"), data)),
        "three-offsets": ("a range of three ends", safetensors(raw_entry(offsets="[0,12,24]"), data)),
        "overlap": ("ranges that overlap", safetensors({"a": entry(), "b": entry(12, 36)}, bytes(36))),
        "gap": ("ranges with a gap", safetensors({"a": entry(), "b": entry(28, 52)}, bytes(52))),
        "same-range": ("two tensors in one range", safetensors({"a": entry(), "b": entry()}, data)),
        "tail": ("bytes behind the last tensor", safetensors({"a": entry()}, bytes(25))),
        "cut": ("cut short", safetensors({"a": entry()}, bytes(20))),
        "cut-header": ("cut short within the header", safetensors({"a": entry()}, data)[:30]),
        "overflow": ("lengths whose product overflows to nothing", safetensors({"a": entry(0, 0, [1 << 33, 1 << 33])})),
        "other-size": ("a range of another size than the tensor", safetensors({"a": entry(0, 24, [2, 2])}, data)),
        "dtype": ("a kind of number that there is not", safetensors({"a": entry(dtype="F31")}, data)),
        "dtype-list": ("a list as the kind of number", safetensors({"a": entry(dtype=["F32"])}, data)),
        "dtype-float8": ("eight-bit floats", safetensors({"a": entry(dtype="F8_E5M2", shape=[24])}, data)),
        "extra-key": (
            "an entry that says more than it should",
            safetensors({"a": entry() | {"code": "import os"}}, data),
        ),
        "metadata-numbers": ("metadata that is no text", safetensors({"__metadata__": {"a": 1}, "w": entry()}, data)),
        "metadata-list": ("metadata that is a list", safetensors({"__metadata__": ["a"], "w": entry()}, data)),
        "metadata-tensor": ("a tensor called metadata", safetensors({"__metadata__": entry()}, data)),
        "nothing": ("no tensors", safetensors({})),
        "only-metadata": ("no tensors", safetensors({"__metadata__": {"activation": "tanh"}})),
        "many": ("150,000 tensors of nothing", safetensors({f"w{n}": entry(0, 0, [0]) for n in range(150_000)})),
        "long-name": ("a name of a million letters", safetensors({"w" * 1_000_000: entry()}, data)),
    }
    for trick, (why, content) in lies.items():
        yield Case(f"safetensors/{trick}.safetensors", why, content)


def odd_cases() -> Iterator[Case]:
    """Be valid, and strange in a way that a reader may trip over."""
    data = bytes(24)
    huge = [(1 << 48) - 1] * 3 + [0]
    odd: dict[str, tuple[str, bytes]] = {
        "empty-giant": ("no numbers, but lengths that overflow", safetensors({"a": entry(0, 0, huge)})),
        "many-axes": ("32 axes", safetensors({"a": entry(0, 4, [1] * 32)}, bytes(4))),
        "too-many-axes": ("200 axes", safetensors({"a": entry(0, 4, [1] * 200)}, bytes(4))),
        "surrogate": ("a name that is half a letter", safetensors(raw_entry('"\\ud800.weight"'), data)),
        "surrogate-metadata": (
            "metadata that is half a letter",
            written(network(71), {"activation": "tanh", "note": "\ud83d", "\udc00": "x"}),
        ),
        "escape": (
            "a name that would move the cursor",
            safetensors(raw_entry('"\\u001b[2J\\u001b]0;owned\\u0007"'), data),
        ),
        "escape-metadata": (
            "metadata that would move the cursor",
            written(network(72), {"activation": "tanh", "a\x1b[2J": "\x1b[31m\r\nerror"}),
        ),
        "odd-activation": (
            "an activation that is a command",
            written(network(73), {"activation": "$(touch x)\n\x1b[2J" * 50}),
        ),
        "large-metadata": ("metadata of 2 MB", written(network(74), {"activation": "tanh", "note": "x" * (2 << 20)})),
        "many-metadata": ("metadata of 50,000 words", written(network(75), {f"k{n}": "v" for n in range(50_000)})),
        "newline": (
            "a name of several lines",
            safetensors(raw_entry('"a\\nerror: all is lost\\nhint: run this"'), data),
        ),
        "nul": ("a name with a NUL", safetensors(raw_entry('"w\\u0000"'), data)),
        "empty-name": ("a name of nothing", safetensors(raw_entry('""'), data)),
        "path": ("a name that is a path", safetensors(raw_entry('"../../../../etc/passwd"'), data)),
        "sql": ("a name that is SQL", safetensors(raw_entry('"\'); DROP TABLE networks; --"'), data)),
        "script": ("a name that is HTML", safetensors(raw_entry('"<script>alert(1)</script>.weight"'), data)),
        "dunder": (
            "names of Python's insides",
            safetensors({"__class__": entry(), "__dict__.weight": entry(24, 48)}, bytes(48)),
        ),
        "booleans": (
            "truth values that are neither",
            safetensors({"a": entry(dtype="BOOL", shape=[24])}, b"\xff" * 24),
        ),
        "nothing-long": (
            "tensors of nothing",
            safetensors({"0.weight": entry(0, 0, [0, 2]), "0.bias": entry(0, 0, [0])}),
        ),
        "ten-thousand": (
            "10,000 tensors",
            safetensors({f"{n}.weight": entry(n, n + 1, [1], "U8") for n in range(10_000)}, bytes(10_000)),
        ),
        "normalised": (
            "two names that look the same",
            safetensors({"\u00e9": entry(), "e\u0301": entry(24, 48)}, bytes(48)),
        ),
        "archive-inside": ("a tensor that is an archive", polyglot()),
    }
    for trick, (why, content) in odd.items():
        yield Case(f"safetensors/{trick}.safetensors", why, content, ANY)


def polyglot() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"cposix\nsystem\n.")
    raw = file.getvalue()
    return safetensors({"w": entry(0, len(raw), [len(raw)], "U8")}, raw)


def honest() -> Iterator[Case]:
    """Write what users write."""
    yield Case("honest/mlp.safetensors", "a state dict", written(network(1)), READ)
    yield Case("honest/another.safetensors", "a state dict", written(network(2)), READ)
    why = "what the hostile ones are made from"
    yield Case("base/entry.safetensors", why, safetensors(raw_entry(), bytes(24)), ANY, reads=True)
    zero = network(8) | {"2.weight": np.zeros((1, 6), np.float32)}
    yield Case("warned/zero.safetensors", "a weight of nothing but zeros", written(zero), ("warned",))
    infinite = network(9)
    infinite["0.bias"][0] = np.inf
    yield Case("warned/infinite.safetensors", "an infinite number", written(infinite), ("warned",))


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest()
    yield from lie_cases()
    yield from odd_cases()
