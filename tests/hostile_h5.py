"""HDF5 files and .keras archives that reach outside or are larger inside than outside."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import h5py
import numpy as np
from hostile_archives import deflated, stored
from hostile_case import ANY, READ, SECRET, Case, Place
from hostile_safetensors import network


def h5(write: Callable[[h5py.File], object], **settings: Any) -> bytes:
    """Make an HDF5 file in memory."""
    file = io.BytesIO()
    with h5py.File(file, "w", **settings) as opened:
        write(opened)
    return file.getvalue()


def keras3(seed: int, extra: Callable[[h5py.File], object] = lambda _: None) -> Callable[[h5py.File], None]:
    """Lay out weights as Keras 3 does, with something more."""

    def write(file: h5py.File) -> None:
        arrays = network(seed)
        for number, layer in ((0, "dense"), (2, "dense_1")):
            parts = file.create_group(f"layers/{layer}/vars")
            parts.create_dataset("0", data=arrays[f"{number}.weight"].T)
            parts.create_dataset("1", data=arrays[f"{number}.bias"])
        extra(file)

    return write


def legacy_h5(seed: int, extra: Callable[[h5py.File], object] = lambda _: None) -> Callable[[h5py.File], None]:
    """Lay out weights as Keras 2 did, with something more."""

    def write(file: h5py.File) -> None:
        arrays = network(seed)
        file.attrs["layer_names"] = np.array([b"dense", b"dense_1"])
        file.attrs["backend"] = b"tensorflow"
        for number, layer in ((0, "dense"), (2, "dense_1")):
            group = file.create_group(layer)
            names = [f"{layer}/kernel:0", f"{layer}/bias:0"]
            group.attrs["weight_names"] = np.array([name.encode() for name in names])
            group.create_dataset(names[0], data=arrays[f"{number}.weight"].T)
            group.create_dataset(names[1], data=arrays[f"{number}.bias"])
        extra(file)

    return write


def h5_cases(place: Place) -> Iterator[Case]:
    """Make HDF5 files that reach outside or blow up."""
    secret, raw = str(place.outside / "secret.h5"), str(place.outside / "secret.bin")
    up = place.up("h5/x", "secret.h5")
    source = h5py.VirtualSource(secret, "w", shape=(6, 2))
    layout = h5py.VirtualLayout(shape=(6, 2), dtype="f4")
    layout[:] = source
    tricks: dict[str, tuple[str, Callable[[h5py.File], object]]] = {
        "external-link": ("a link into another file", lambda f: linked(f, h5py.ExternalLink(secret, "/w"))),
        "external-up": ("a link into a file above", lambda f: linked(f, h5py.ExternalLink(up, "/w"))),
        "external-itself": (
            "a link by way of itself",
            lambda f: linked(f, h5py.ExternalLink("external-itself.h5", "/layers")),
        ),
        "external-device": ("a link into a device", lambda f: linked(f, h5py.ExternalLink("/dev/zero", "/w"))),
        "soft-link": ("a link to what is not there", lambda f: linked(f, h5py.SoftLink("/nowhere"))),
        "soft-cycle": ("a link to itself", lambda f: linked(f, h5py.SoftLink("/layers/dense/vars/0"))),
        "hard-cycle": ("a group that holds itself", lambda f: f["layers"].__setitem__("again", f["/"])),
        "external-storage": (
            "numbers that lie in another file",
            lambda f: f.create_dataset("w", (6, 2), "f4", external=[(raw, 0, 48)]),
        ),
        "external-process": (
            "numbers that are a process",
            lambda f: f.create_dataset("w", (6, 2), "f4", external=[("/proc/self/mem", 0, h5py.h5f.UNLIMITED)]),
        ),
        "virtual": ("numbers put together from other files", lambda f: f.create_virtual_dataset("w", layout)),
        "objects": ("texts of any length", lambda f: f.create_dataset("w", data=["a", "b"], dtype=h5py.string_dtype())),
        "ragged": ("rows of any length", lambda f: f.create_dataset("w", (3,), h5py.vlen_dtype("f4"))),
        "references": ("references in place of numbers", lambda f: f.create_dataset("w", (3,), h5py.ref_dtype)),
        "regions": ("references to regions", lambda f: f.create_dataset("w", (3,), h5py.regionref_dtype)),
        "compound": ("records", lambda f: f.create_dataset("w", (3,), [("a", "f4"), ("b", "i4")])),
        "opaque": ("nothing but bytes", lambda f: f.create_dataset("w", (3,), "V1000")),
        "complex": ("complex numbers", lambda f: f.create_dataset("w", (3,), "c8")),
        "array-type": (
            "numbers that are arrays",
            lambda f: f.create_dataset("w", (3,), np.dtype(("f4", (1000, 1000)))),
        ),
        "declared": ("a shape of terabytes without a byte", lambda f: f.create_dataset("w", (1 << 20, 1 << 20), "f4")),
        "chunked": (
            "chunks of terabytes without a byte",
            lambda f: f.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10), fillvalue=1.0),
        ),
        "exabytes": (
            "a shape of exabytes",
            lambda f: f.create_dataset("w", (1 << 30, 1 << 30, 4), "f4", chunks=(1, 1 << 10, 1)),
        ),
        "packed": ("2 GB of zeros, packed", lambda f: bomb(f, "w", gigabytes=2)),
        "packed-often": ("2 GB of zeros in each of ten", lambda f: [bomb(f, f"w{n}", gigabytes=2) for n in range(10)]),
        "packed-twice": ("zeros packed and packed again", lambda f: bomb(f, "w", gigabytes=1, twice=True)),
        "filter": ("packed by a plug-in", lambda f: plugin(f)),
        "scale-offset": (
            "packed by a filter that loses",
            lambda f: f.create_dataset("w", data=np.ones((64, 64), "f4"), chunks=True, scaleoffset=2),
        ),
        "weight-names": ("names of weights that lead elsewhere", lambda f: names_elsewhere(f, up)),
        "unlimited": (
            "a shape that may grow for ever",
            lambda f: f.create_dataset("w", (1 << 40, 2), "f4", chunks=(1024, 2), maxshape=(None, None)),
        ),
        "scalar-empty": ("a tensor without a shape", lambda f: f.create_dataset("w", data=h5py.Empty("f4"))),
        "axes": ("32 axes", lambda f: f.create_dataset("w", (1,) * 32, "f4")),
    }
    soft = ("scalar-empty", "axes", "weight-names", "scale-offset", "soft-link")
    for trick, (why, extra) in tricks.items():
        becomes = ANY if trick in soft else ("refused",)
        yield Case(f"h5/{trick}.h5", why, h5(keras3(40, extra)), becomes)
    yield from odd_h5(place)
    yield from keras_cases(place, secret)


def linked(file: h5py.File, link: Any) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"]["0"] = link


def bomb(file: h5py.File, name: str, *, gigabytes: int, twice: bool = False) -> None:
    """Declare gigabytes that are one small packed chunk each, written over and over."""
    chunk = 64 << 20
    packed = _packed(chunk)
    settings = {"chunks": (chunk // 4,), "compression": "gzip", "shuffle": twice}
    data = file.create_dataset(name, ((gigabytes << 30) // 4,), "f4", **settings)
    for start in range(0, data.shape[0], chunk // 4):
        data.id.write_direct_chunk((start,), packed)


@cache
def _packed(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def plugin(file: h5py.File) -> None:
    """Ask for a filter that a plug-in would bring; the number is Blosc's."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4, 2))
    settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (0, 0, 0, 0))
    space = h5py.h5s.create_simple((8, 2))
    data = h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, settings)
    data.write_direct_chunk((0, 0), bytes(32))


def names_elsewhere(file: h5py.File, up: str) -> None:
    file.attrs["layer_names"] = np.array([b"/", b"..", up.encode(), b"/layers/dense", b"nowhere"])
    for group in (file, file["layers/dense"]):
        group.attrs["weight_names"] = np.array([b"/etc/passwd", b"../../x", up.encode(), b"vars", b"vars/0"])


def odd_h5(place: Place) -> Iterator[Case]:
    """Make HDF5 files that are odd as files."""
    good = h5(keras3(41))
    yield Case("h5/cut.h5", "cut in half", good[: len(good) // 2])
    yield Case("h5/cut-little.h5", "cut short by some bytes", good[:-100], ANY)
    yield Case("h5/behind.h5", "something behind the file", good + b"MZ" + bytes(500), ANY)
    front = b"#!/bin/sh\n" + place.shell("user-block").encode()
    yield Case(
        "h5/user-block.h5",
        "a script in the block for users",
        front.ljust(512, b"\n") + h5(keras3(42), userblock_size=512)[512:],
        ANY,
    )
    yield Case("h5/zeros.h5", "a good beginning and nothing more", good[:8] + bytes(2000))
    yield Case(
        "h5/root-far.h5",
        "a root at the end of the universe",
        good.replace(struct.pack("<Q", 96), struct.pack("<Q", 1 << 62), 1),
    )
    yield Case(
        "h5/root-itself.h5",
        "a root that is the beginning itself",
        good.replace(struct.pack("<Q", 96), struct.pack("<Q", 0), 1),
    )
    yield Case(
        "h5/deep.h5", "3,000 groups in one another", h5(keras3(43, lambda f: f.create_group("/".join("g" * 3000))))
    )
    yield Case(
        "h5/many.h5", "5,000 groups", h5(keras3(43, lambda f: [f.create_group(f"g{n}") for n in range(5_000)])), ANY
    )
    yield Case("h5/attributes.h5", "5,000 attributes", h5(keras3(43, many_attributes), libver="latest"), ANY)
    yield Case("h5/large-attribute.h5", "an attribute of 16 MB", h5(keras3(43, large_attribute), libver="latest"), ANY)
    yield Case("h5/nothing.h5", "no tensors", h5(lambda f: f.create_group("layers")))
    names = {
        "escape": "\x1b[2J\x1b]0;owned\x07",
        "newline": "a\nerror: all is lost\nhint: run this",
        "bytes": b"\xff\xfe\x80",
        "dots": "...",
        "long": "n" * 60_000,
    }
    for trick, name in names.items():
        extra = lambda f, name=name: f.create_dataset(name, data=np.ones((2, 2), "f4"))  # noqa: E731
        yield Case(f"h5/name-{trick}.h5", "a tensor with an odd name", h5(keras3(44, extra), libver="latest"), ANY)
    draw = np.random.default_rng(0)
    for number in range(8):
        spoilt = bytearray(good)
        for position in draw.integers(8, len(good), 1 << number):
            spoilt[position] = draw.integers(256)
        yield Case(f"h5/damaged-{number}.h5", f"{1 << number} bytes are others", bytes(spoilt), ANY, limited=True)


def many_attributes(file: h5py.File) -> None:
    for number in range(5000):
        file.attrs[f"a{number}"] = number


def large_attribute(file: h5py.File) -> None:
    file.attrs["model_config"] = np.bytes_(b"x" * (16 << 20))


LAMBDA = "4wEAAAAAAAAAAAAAAAEAAAADAAAA"


def lambda_config(place: Place, case: str) -> dict[str, object]:
    """Describe a model whose loading would run code, in the three ways that were found in the wild."""
    code = place.python(case)
    layers: list[dict[str, object]] = [
        {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": LAMBDA}}}},
        {"class_name": "exec", "module": "builtins", "config": {"source": code}, "registered_name": "exec"},
        {"class_name": "function", "module": "os", "config": "system", "registered_name": "function"},
    ]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "evil", "layers": layers}}


def keras_zip(
    weights: bytes, config: object, more: Mapping[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED
) -> bytes:
    members = [
        ("metadata.json", b'{"keras_version": "3.8.0"}'),
        ("config.json", config if isinstance(config, bytes) else json.dumps(config).encode()),
    ]
    return stored([*members, ("model.weights.h5", weights), *(more or {}).items()], kind)


def keras_cases(place: Place, secret: str) -> Iterator[Case]:
    """Make .keras archives whose config or weights are hostile."""
    plain = {"class_name": "Sequential", "config": {"layers": []}}
    good = h5(keras3(45))
    outward = h5(keras3(45, lambda f: linked(f, h5py.ExternalLink(secret, "/w"))))
    evil = lambda case: lambda_config(place, case)  # noqa: E731
    yield Case("keras/lambda.keras", "code in its config", keras_zip(good, evil("lambda")), ("warned", "refused"))
    full = lambda f: f.attrs.__setitem__("model_config", json.dumps(evil("lambda-h5")))  # noqa: E731
    yield Case("keras/lambda.h5", "code in its config", h5(legacy_h5(46, full)), ("warned", "refused"))
    yield Case("keras/outward.keras", "weights that are a link outside", keras_zip(outward, plain))
    yield Case("keras/two.keras", "weights twice", keras_zip(good, plain, {"MODEL.WEIGHTS.H5": outward}))
    yield Case(
        "keras/same.keras",
        "weights twice under one name",
        keras_zip(good, plain, {"model.weights.h5 ": outward}).replace(b"h5 ", b"h5\0"),
        ANY,
    )
    yield Case(
        "keras/up.keras", "an asset that leads outside", keras_zip(good, plain, {"../../assets/evil.py": b"x"}), ANY
    )
    yield Case("keras/json.keras", "a config of 100,000 levels", keras_zip(good, b"[" * 100_000), ANY)
    yield Case("keras/json-list.keras", "a config that is a list", keras_zip(good, b"[1,2]"), ANY)
    yield Case(
        "keras/config-large.keras",
        "a config of 40 MB, packed",
        keras_zip(good, b" " * (40 << 20) + b"{}", kind=zipfile.ZIP_DEFLATED),
        ANY,
    )
    yield Case(
        "keras/no-weights.keras",
        "no weights",
        stored([("config.json", json.dumps(plain).encode()), ("metadata.json", b"{}")]),
    )
    yield Case("keras/cut.keras", "weights cut short", keras_zip(good[:1000], plain))
    yield Case("keras/not-h5.keras", "weights that are a pickle", keras_zip(b"cposix\nsystem\n.", plain))
    bombs = [("metadata.json", b"{}"), ("config.json", b"{}"), ("model.weights.h5", good)]
    yield Case("keras/bomb.keras", "weights that unpack to 4 GB", deflated(bombs, 4096))
    lying = deflated(bombs, 1024, declared=len(good))
    yield Case("keras/lying.keras", "weights that unpack to more than they declare", lying, ANY)


def honest_h5() -> Iterator[Case]:
    """Write what Keras writes."""
    yield Case("honest/keras3.weights.h5", "weights of Keras 3", h5(keras3(50)), READ)
    yield Case("honest/keras2.h5", "weights of Keras 2", h5(legacy_h5(51)), READ)
    config = {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"activation": "tanh"}}]},
    }
    why = "what the hostile ones are made from"
    yield Case("base/keras3.h5", why, h5(keras3(40)), ANY, reads=True)
    yield Case("base/keras2.h5", why, h5(legacy_h5(40)), ANY, reads=True)
    yield Case("base/zip.keras", why, keras_zip(h5(keras3(40)), {"class_name": "Sequential"}), ANY, reads=True)
    yield Case("honest/model.keras", "a model of Keras 3", keras_zip(h5(keras3(52)), config), READ)


def plant(place: Place) -> None:
    """Put what nobody may read into the folder outside."""
    with h5py.File(place.outside / "secret.h5", "w") as file:
        file["w"] = np.full((6, 2), 0.123456789, np.float32)
        file.attrs["note"] = SECRET


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest_h5()
    yield from h5_cases(place)
