"""Names and places: what is no file, what leads elsewhere, what is called so that it does harm."""

from __future__ import annotations

import gzip
import os
import random
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from hostile_case import ANY, READ, SECRET, Case, Place
from hostile_safetensors import network, safetensors, written

DEEP = 2500
"""Folders in one another: more than a path can name, and than functions can call themselves."""


def special_cases(place: Place) -> Iterator[Case]:
    """Make what is no file."""
    secret = place.outside / "secret.safetensors"
    links = {
        "outside": ("a link to a file outside", secret),
        "outside-relative": ("a link to a file above", Path(place.up("places/x", "secret.safetensors"))),
        "inside": ("a link to a file inside", Path("../honest/mlp.safetensors")),
        "dangling": ("a link to nothing", Path("nowhere.safetensors")),
        "itself": ("a link to itself", Path("link-itself.safetensors")),
        "zero": ("a link to a device that never ends", Path("/dev/zero")),
        "random": ("a link to a device that never ends", Path("/dev/urandom")),
        "input": ("a link to the standard input", Path("/dev/stdin")),
        "memory": ("a link to a process's memory", Path("/proc/self/mem")),
        "environment": ("a link to a process's environment", Path("/proc/self/environ")),
        "program": ("a link to the program", Path("/proc/self/exe")),
    }
    for trick, (why, target) in links.items():
        yield Case(f"places/link-{trick}.safetensors", why, lambda path, target=target: path.symlink_to(target))
    yield Case("places/pipe.safetensors", "a pipe", os.mkfifo)
    yield Case("places/socket.pt", "a socket", bind)
    yield Case("places/folder.safetensors", "a folder called like a file", lambda path: path.mkdir(), ANY)
    yield Case("places/folder.pt", "a folder with a file in it", in_folder, ANY, parts=("places/folder.pt/inside.pt",))
    yield Case("places/linked-folder", "a link to a folder outside", lambda path: path.symlink_to(place.outside), ANY)
    yield Case("places/loop", "a link to a folder above", lambda path: path.symlink_to(".."), ANY)
    yield Case(
        "places/hard.safetensors",
        "a hard link to a file outside",
        lambda path: os.link(place.outside / "linked.bin", path),
    )
    yield Case("places/unreadable.safetensors", "a file without rights", unreadable, ANY)
    yield Case("places/locked", "a folder without rights", locked, ANY, parts=("places/locked/inside.safetensors",))
    if place.vast:
        yield Case("places/sparse.safetensors", "8 TB of nothing with a true header", sparse)
        yield Case("places/sparse.bin", "8 TB of nothing", lambda path: hole(path, b""))
    yield Case("places/deep", "folders in one another without end", deep, ANY)
    with suppress(OSError):
        yield from device(place)


def bind(path: Path) -> None:
    """Leave a socket behind; its name is given relative, since names of sockets must be short."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def in_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.pt").write_bytes(b"no weights")


def unreadable(path: Path) -> None:
    path.write_bytes(written(network(90)))
    path.chmod(0)


def locked(path: Path) -> None:
    path.mkdir()
    (path / "inside.safetensors").write_bytes(written(network(91)))
    path.chmod(0)


def hole(path: Path, head: bytes) -> None:
    path.write_bytes(head)
    os.truncate(path, 8 << 40)


def sparse(path: Path) -> None:
    """Declare one tensor that is as large as the hole behind the header."""
    for length in range(80, 120):
        count = (8 << 40) - 8 - length
        header = {"0.weight": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
        if len(safetensors(header)) == 8 + length:
            return hole(path, safetensors(header))
    raise AssertionError


def deep(path: Path) -> None:
    """Go down by descriptor, as the whole path is longer than the system takes."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("dd", dir_fd=here)
        below = os.open("dd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("w.safetensors", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def device(place: Place) -> Iterator[Case]:
    """Make devices, where one is allowed to."""
    for name, numbers in (("zero", (1, 5)), ("memory", (1, 1))):
        probe = place.canaries.parent / "device"
        os.mknod(probe, stat.S_IFCHR | 0o600, os.makedev(*numbers))
        probe.unlink()
        make: Callable[[Path], object] = lambda path, n=numbers: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*n))  # noqa: E731
        yield Case(f"places/device-{name}.pt", "a device", make)


def name_cases(place: Place) -> Iterator[Case]:
    """Call honest files by names that do harm where a name is taken for anything but a name."""
    command = place.shell("name").replace("/", "\u2215")
    names: list[bytes] = [
        b"line\nerror: all is lost\nhint: run this",
        b"\x1b[2J\x1b]0;owned\x07\x1b[31mred",
        b"back\x08\x08\x08\x08space\r",
        b"\xff\xfe\x80 not Unicode",
        b"\\xff\\xfe\\x80 not Unicode",
        b"\xed\xa0\x80 half a letter",
        "\u202egnp.reversed\u202c".encode(),
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        "größe 模型 🧠".encode(),
        b"n" * 240,
        "é".encode() * 120,
        b"--force",
        b"-",
        b" leading and trailing ",
        b"'); DROP TABLE networks; --",
        b"\"quoted\" and 'quoted'",
        b"<script>alert(1)<|script>",
        b"[bold red]markup[|]",
        b"$(" + command.encode()[:100] + b")",
        b"`id`; rm -rf ~ #",
        b"%s%n%x{0}{__class__}",
        b"=cmd|' |C calc'!A0",
        b"*",
        b"[a-z]?",
        b"CON",
        b"package:tglfnn_ukaea",
        b"hf:owner",
        b"$\\frac{1}{0}$",
        b"__class__",
        b"a,b;c\td",
    ]
    for number, raw in enumerate(names):
        path = os.fsdecode(b"names/" + raw + b".safetensors")
        yield Case(path, "an honest file with an odd name", written(network(100 + number)), READ)
    yield Case("names/.safetensors", "a hidden file", written(network(150)), ANY)
    yield Case("names/no suffix", "an honest file without a suffix", written(network(151)), READ)
    yield Case("names/wrong.pt", "safetensors by another name", written(network(152)), READ)
    yield Case("names/UPPER.SAFETENSORS", "an honest file in capitals", written(network(153)), READ)
    yield Case("names/same.safetensors", "two files of one name but the suffix", written(network(154)), READ)
    yield Case("names/same.model", "two files of one name but the suffix", written(network(155)), READ)
    yield Case("names/\\same.safetensors", "a backslash", written(network(156)), READ)


def junk_cases() -> Iterator[Case]:
    """Be no checkpoint at all."""
    draw = random.Random(0)
    junk: dict[str, tuple[str, bytes]] = {
        "empty.pt": ("nothing", b""),
        "one.safetensors": ("one byte", b"{"),
        "zeros.bin": ("a megabyte of zeros", bytes(1 << 20)),
        "ones.pth": ("a megabyte of ones", b"\xff" * (1 << 20)),
        "random.npz": ("a megabyte of chance", draw.randbytes(1 << 20)),
        "random.onnx": ("some chance", draw.randbytes(1000)),
        "random.h5": ("some chance", draw.randbytes(1000)),
        "page.pt": ("a web page", b"<!DOCTYPE html><html><body>404</body></html>"),
        "page.onnx": ("a web page", b"<html>" + b"x" * 1000),
        "pointer.safetensors": (
            "a pointer of Git LFS",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n",
        ),
        "json.safetensors": ("JSON", b'{"0.weight": [[1, 2], [3, 4]]}'),
        "text.npz": ("a text", b"These are no weights.\n" * 100),
        "table.bin": ("a table", b"a,b\n1,2\n" * 1000),
        "gguf.gguf": ("a GGUF file that declares exabytes", b"GGUF\x03\0\0\0" + b"\xff" * 16 + bytes(64)),
        "msgpack.msgpack": ("a flax checkpoint", b"\x81\xa6params\xdf\xff\xff\xff\xff" + bytes(64)),
        "picture.pt": ("the head of a picture", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        "database.bin": ("a database", b"SQLite format 3\0" + bytes(200)),
        "packed.npz": ("a packed text", gzip.compress(b"x" * 1000)),
        "saved_model.pb": ("a SavedModel's graph", b"\x08\x01\x12\x10" + bytes(100)),
        "partial.crdownload": ("half a download", written(network(95))[:150]),
    }
    for name, (why, content) in junk.items():
        yield Case(f"junk/{name}", why, content)


def plant(place: Place) -> None:
    """Put what nobody may read into the folder outside."""
    marked = {name: array * 0 + 0.123456789 for name, array in network(0).items()}
    (place.outside / "secret.safetensors").write_bytes(written(marked, {"activation": "tanh", "note": SECRET}))
    (place.outside / "secret.bin").write_bytes(SECRET.encode() * 100)
    (place.outside / "secret.json").write_text(f'{{"model_type": "{SECRET}"}}')
    (place.outside / "linked.bin").write_bytes(b"read by way of a hard link")


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from special_cases(place)
    yield from name_cases(place)
    yield from junk_cases()
