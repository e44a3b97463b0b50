"""Real files of every format are read; files that lie, run code or blow up are set aside in one line."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import pickle
import random
import socket
import struct
import zipfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from consilience.zoo import format_torch
from consilience.zoo.checkpoint import READERS, Checkpoint, read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.recognise import format_of

WEIGHTS = {
    "net.0.weight": np.arange(12, dtype=np.float32).reshape(4, 3) - 5,
    "net.0.bias": np.zeros(4, dtype=np.float32),
    "net.2.weight": np.arange(4, dtype=np.float32).reshape(1, 4),
    "net.2.bias": np.zeros(1, dtype=np.float32),
}
MARKER = "code-was-run"


def tensors() -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in WEIGHTS.items()}


def write_safetensors(path: Path) -> None:
    save_file(tensors(), path, metadata={"activation": "tanh"})


def write_torch(path: Path) -> None:
    torch.save(tensors(), path)


def write_legacy(path: Path) -> None:
    torch.save(tensors(), path, _use_new_zipfile_serialization=False)


def write_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **WEIGHTS)


def write_compressed(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **WEIGHTS)


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": ("safetensors", write_safetensors),
    "torch": ("torch", write_torch),
    "torch-legacy": ("torch", write_legacy),
    "npz": ("npz", write_npz),
    "npz-compressed": ("npz", write_compressed),
}


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    WRITERS[request.param][1](path)
    return path


def refused(path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert caught.value.hint
    return caught.value


class Runs:
    """Pickles to a call that leaves a file behind when it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.folder / MARKER}",)


def repack(source: Path, changes: dict[str, bytes], *, names: dict[str, str] | None = None) -> None:
    """Write a zip archive again with other content for the members whose names end as given."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(source, "w") as archive:
        for name, content in members.items():
            new = next((data for end, data in changes.items() if name.endswith(end)), content)
            archive.writestr((names or {}).get(name, name), new)


# What is read


@pytest.mark.parametrize("case", WRITERS)
def test_every_format_gives_the_same_arrays(tmp_path: Path, case: str) -> None:
    kind, write = WRITERS[case]
    path = tmp_path / "weights.bin"
    write(path)
    found = read_checkpoint(path)
    assert found.format == kind
    assert kind in READERS
    assert set(found.tensors) == set(WEIGHTS)
    for name, array in found.tensors.items():
        assert type(array) is np.ndarray
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, WEIGHTS[name])
    assert found.warnings == ()


def test_safetensors_keep_their_metadata(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a")
    assert read_checkpoint(tmp_path / "a").metadata == {"activation": "tanh"}


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_brain_floats_are_widened_exactly(tmp_path: Path, save: Callable[..., None]) -> None:
    exact = torch.tensor([[1.5, -2.25], [0.0078125, 3.0]])
    save({"w": exact.bfloat16()}, tmp_path / "a")
    array = read_checkpoint(tmp_path / "a").tensors["w"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, exact.numpy())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_other_dtypes_stay(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"w": torch.ones(2, 2).to(dtype)}, tmp_path / "a")
    assert read_checkpoint(tmp_path / "a").tensors["w"].dtype == torch.ones(1).to(dtype).numpy().dtype


@pytest.mark.parametrize("nest", ["state_dict", "model"])
def test_a_training_checkpoint_is_unpacked_and_prefixes_go(tmp_path: Path, nest: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, nest: state, "optimizer": optimizer.state_dict(), "activation": "relu"}, tmp_path / "a")
    found = read_checkpoint(tmp_path / "a")
    assert set(found.tensors) == set(model.state_dict())
    assert found.metadata == {"epoch": "3", "activation": "relu"}


def test_parameters_transposed_views_and_shared_weights_are_read(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"p": nn.Parameter(weight), "t": weight.T, "row": weight[1], "again": weight}, tmp_path / "a")
    found = read_checkpoint(tmp_path / "a").tensors
    np.testing.assert_array_equal(found["t"], weight.numpy().T)
    np.testing.assert_array_equal(found["row"], weight.numpy()[1])
    np.testing.assert_array_equal(found["again"], found["p"])


def test_npz_text_and_whole_numbers_become_metadata(tmp_path: Path) -> None:
    labels = np.array(["a", "bc"])
    order = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez(
        tmp_path / "a.npz",
        version="1.0.1",
        layers=6,
        labels=labels,
        w=order,
        big=np.arange(3.0).astype(">f8"),
    )
    found = read_checkpoint(tmp_path / "a.npz")
    assert found.metadata == {"version": "1.0.1", "layers": "6"}
    assert set(found.tensors) == {"w", "big"}
    np.testing.assert_array_equal(found.tensors["w"], order)
    np.testing.assert_array_equal(found.tensors["big"], [0, 1, 2])
    assert found.tensors["big"].dtype == np.float64


def test_what_is_odd_is_told(tmp_path: Path) -> None:
    odd = {
        "nan": torch.tensor([[1.0, float("nan")]]),
        "both": torch.tensor([float("inf"), float("nan")]),
        "inf": torch.tensor([float("-inf")]),
        "zero": torch.zeros(2, 2),
        "same": torch.full((2, 2), 7.0),
        "bias": torch.zeros(5),
        "one": torch.zeros(1, 1),
    }
    save_file(odd, tmp_path / "a")
    assert sorted(read_checkpoint(tmp_path / "a").warnings) == sorted(
        ["nan: nan", "nan: both", "inf: both", "inf: inf", "all-zero: zero", "constant: same"]
    )


# Not a file, not all there, not a checkpoint


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_set_aside(written: Path, share: float) -> None:
    content = written.read_bytes()
    written.write_bytes(content[: int(len(content) * share)])
    assert refused(written).code == ("empty" if share == 0 else "truncated")


def test_cut_in_half_is_said_in_numbers(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[:-40])
    with pytest.raises(Refused, match=r"cut short: it declares 84 bytes of weights and 44 are there"):
        read_checkpoint(tmp_path / "a")


def test_what_is_no_file_is_never_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    write_torch(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert refused(tmp_path).code == "not-a-file"
    assert refused(tmp_path / "pipe").code == "not-a-file"
    assert refused(tmp_path / "link").code == "symlink"
    assert refused(tmp_path / "none").code == "missing"
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert refused(tmp_path / "s").code == "not-a-file"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<html><body>404</body></html>", "a web page"),
        (b"GGUF" + bytes(60), "a GGUF file"),
        (b"\x1f\x8b" + bytes(60), "packed with gzip"),
        (bytes(257) + b"ustar" + bytes(60), "a tar archive"),
        (b'{"a": 1}', "JSON, but no index"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"import torch\nprint('hello')\n", "begins with 69 6d"),
        (b"cat\ndog\nnot a pickle, though it begins like one", "begins with 63 61"),
        (b"\x00" * 100, "begins with 00"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a").write_bytes(content)
    error = refused(tmp_path / "a")
    assert error.code == "unknown-format"
    assert match in str(error)


def test_other_archives_are_told_apart(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("letter.txt", "hello")
    assert refused(tmp_path / "a").code == "unknown-format"


# Code


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("how", ["bare", "zip", "legacy", "npz"])
def test_code_is_never_run(tmp_path: Path, how: str, protocol: int) -> None:
    path, code = tmp_path / "a", Runs(tmp_path)
    if how == "bare":
        path.write_bytes(pickle.dumps({"w": code}, protocol))
    elif how == "npz":
        with path.open("wb") as file:
            np.savez(file, w=np.array([code], dtype=object))
    else:
        torch.save({"w": code}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=how == "zip")
    error = refused(path)
    if protocol < 2 and how in ("zip", "legacy"):  # torch.save itself cannot be relied on there
        assert error.code in ("pickle-code", "damaged", "unknown-format")
    else:
        assert error.code == "pickle-code"
    if how != "npz" and error.code == "pickle-code":
        assert str(error).endswith("would run posix.system")
        assert "ask its author" in error.hint
    assert not (tmp_path / MARKER).exists()


def test_a_whole_module_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "a")
    error = refused(tmp_path / "a")
    assert error.code == "pickle-code"
    assert "needs the code of torch.nn.modules.linear.Linear" in str(error)
    assert 'python -c "import sys, torch; m = torch.load(' in error.hint


def archive_of(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "TorchScript"),
        (("m/models/model.json", "m/archive_format"), "exported torch program"),
        (("m/.data/extern_modules", "m/model/model.pkl"), "torch package"),
    ],
)
def test_programs_are_refused_with_the_command_that_converts_them(
    tmp_path: Path, names: tuple[str, ...], match: str
) -> None:
    archive_of(tmp_path / "a", *names)
    error = refused(tmp_path / "a")
    assert error.code == "program"
    assert match in str(error)
    assert 'python -c "' in error.hint


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_torchscript_is_refused_and_its_command_works(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3)).save(str(tmp_path / "a"))
    error = refused(tmp_path / "a")
    assert error.code == "program"
    state = torch.jit.load(str(tmp_path / "a"), "cpu").state_dict()
    torch.save(state, tmp_path / "new.pt")
    assert set(read_checkpoint(tmp_path / "new.pt").tensors) == {"weight", "bias"}


# Tensors that are not plain


def sparse() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[0, 1]]), torch.ones(2), (2,), check_invariants=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: torch.zeros(3).expand(4, 3), "view"),
        (lambda: torch.zeros(1).expand(1 << 20, 1 << 20), "view"),
        (lambda: torch.zeros(100).as_strided((4, 5), (0, 1)), "view"),
        (lambda: torch.zeros(6).as_strided((2, 2), (1, 1)), None),
        (sparse, "layout"),
        (lambda: torch.empty(3, device="meta"), "layout"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "dtype"),
        (lambda: torch.zeros(2, dtype=torch.float8_e4m3fn), "dtype"),
        (lambda: torch.zeros(2, dtype=torch.uint16), "dtype"),
    ],
)
def test_only_plain_tensors_pass(tmp_path: Path, make: Callable[[], torch.Tensor], code: str | None) -> None:
    torch.save({"w": make()}, tmp_path / "a")
    if code is None:
        assert read_checkpoint(tmp_path / "a").tensors["w"].shape == (2, 2)
    else:
        assert refused(tmp_path / "a").code == code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({1: torch.ones(2)}, "keys"),
        ({("a",): torch.ones(2)}, "keys"),
        ({}, "no-tensors"),
        ([torch.ones(2)], "no-tensors"),
        (torch.ones(2), "no-tensors"),
        ({"epoch": 3}, "no-tensors"),
        ({"w" * 2000: torch.ones(2)}, "bomb"),
    ],
)
def test_only_state_dicts_pass(tmp_path: Path, content: object, code: str) -> None:
    torch.save(content, tmp_path / "a")
    assert refused(tmp_path / "a").code == code


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dicts_of_every_protocol_are_read(tmp_path: Path, protocol: int, zipped: bool) -> None:
    state = {"w": tensors(), "epoch": 3, "odd": [b"bytes", {1, 2}, -5, 1 << 80, "text", 2.5, None, True]}
    torch.save(state, tmp_path / "a", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "a")
    assert set(found.tensors) == set(WEIGHTS)
    assert found.metadata == {"epoch": "3"}


def test_what_training_leaves_beside_the_weights_stays_unread(tmp_path: Path) -> None:
    beside = {
        "best": np.float64(0.5),
        "rows": np.arange(3),
        "args": argparse.Namespace(lr=0.1, out=PurePosixPath("/tmp"), since=datetime.datetime(2020, 1, 1)),
        "seen": defaultdict(int, a=1),
        "kinds": {"a", "b"},
    }
    torch.save({"state_dict": tensors(), **beside}, tmp_path / "a")
    found = read_checkpoint(tmp_path / "a")
    assert set(found.tensors) == set(WEIGHTS)
    assert found.metadata == {}


# Bombs and lies in archives


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 21)}, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert refused(tmp_path / "b").code == "bomb"


def test_an_npz_bomb_is_not_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(9 << 20))
    error = refused(tmp_path / "a.npz")
    assert error.code == "bomb"
    assert "unpacks to 75,497,600 bytes" in str(error)


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", "damaged"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", "damaged"),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}", "dtype"),
        ("{'descr': '<c16', 'fortran_order': False, 'shape': (0,)}", "dtype"),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (0,)}", "dtype"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "pickle-code"),
        ("{'descr': " + "(" * 500, "damaged"),
        ("__import__('os').system('true')", "damaged"),
    ],
)
def test_an_array_that_claims_what_is_not_there(tmp_path: Path, header: str, code: str) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("w.npy", npy(header))
    assert refused(tmp_path / "a").code == code


def test_archives_that_two_readers_read_in_two_ways(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_torch(path)
    good = path.read_bytes()
    repack(path, {}, names={"a/version": "a/DATA.PKL"})
    assert refused(path).code == "damaged"
    path.write_bytes(good)
    repack(path, {}, names={"a/version": "b/version"})
    assert refused(path).code == "damaged"
    path.write_bytes(good + b"trailing")
    assert refused(path).code == "truncated"
    path.write_bytes(b"PK\x03\x04" + good)
    assert refused(path).code == "damaged"


def test_an_encrypted_or_oddly_packed_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("w.npy", b"x" * 100)
    assert refused(tmp_path / "a").code == "damaged"


def test_a_directory_of_millions_is_not_listed(tmp_path: Path) -> None:
    content = b"PK\x03\x04" + bytes(17 << 20)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(content) - 4, 4, 0)
    (tmp_path / "a").write_bytes(content + end)
    assert refused(tmp_path / "a").code == "bomb"


def test_storage_of_another_size_than_its_tensor(tmp_path: Path) -> None:
    write_torch(tmp_path / "a")
    repack(tmp_path / "a", {"data/0": b"1234"})
    assert refused(tmp_path / "a").code == "damaged"


# Lies in safetensors headers


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, *, shape: list[int] | None = None, dtype: str = "F32") -> dict[str, object]:
    return {
        "dtype": dtype,
        "shape": [(end - begin) // 4] if shape is None else shape,
        "data_offsets": [begin, end],
    }


@pytest.mark.parametrize(
    ("content", "code", "match"),
    [
        (safetensors(b' {"a":1}'), "unknown-format", "known format"),
        (safetensors(b'{"a":{},"a":{}}'), "damaged", "same key twice"),
        (safetensors(b'{"a":' + b"[" * 100_000 + b"}"), "nesting", "deeper than 64"),
        (safetensors(b'{"a":' + b"[" * 80 + b"]" * 80 + b"}"), "nesting", "deeper than 64"),
        (safetensors({"a": entry(0, 0, shape=[0, 1 << 40, 1 << 40])}), "damaged", "natural numbers"),
        (safetensors(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b"]}}"), "damaged", "not JSON"),
        (safetensors(b'{"a"}'), "damaged", "not JSON"),
        (safetensors(b"{}" + b" " * 5000), "damaged", "padded"),
        (struct.pack("<Q", 1 << 30) + b"{", "bomb", "header of 1,073,741,824 bytes"),
        (safetensors({"a": 1}), "damaged", "not a dtype"),
        (safetensors({"a": entry(0, 8)}, bytes(4)), "truncated", "declares 8 bytes"),
        (safetensors({"a": entry(0, 8)}, bytes(9)), "damaged", "belong to no tensor"),
        (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "damaged", "overlap"),
        (safetensors({"a": entry(0, 8), "b": entry(12, 16)}, bytes(16)), "damaged", "gaps"),
        (safetensors({"a": entry(0, 8, shape=[1 << 40])}, bytes(8)), "damaged", "not of the size"),
        (safetensors({"a": entry(0, 8, shape=[-1, -2])}, bytes(8)), "damaged", "natural numbers"),
        (safetensors({"a": entry(0, 8, dtype="F8_E4M3")}, bytes(8)), "dtype", "F8_E4M3"),
        (safetensors({"__metadata__": {"a": 1}}), "damaged", "not text"),
        (safetensors({"__metadata__": {"a": "b"}}), "no-tensors", "no tensors"),
        (safetensors({"n" * 2000: entry(0, 0)}), "bomb", "too long"),
    ],
)
def test_headers_that_lie(tmp_path: Path, content: bytes, code: str, match: str) -> None:
    (tmp_path / "a").write_bytes(content)
    error = refused(tmp_path / "a")
    assert (error.code, match in str(error)) == (code, True)


# Anything


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_read_or_refused(written: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(written.read_bytes())
    for _ in range(draw.choice([1, 4, 16])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    written.write_bytes(content)
    with suppress(Refused):
        assert read_checkpoint(written).tensors


def test_the_order_of_bytes_is_heeded(tmp_path: Path) -> None:
    write_torch(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        numbers = {name: archive.read(name) for name in archive.namelist() if "/data/" in name}
    swapped = {name: np.frombuffer(content, "<f4").astype(">f4").tobytes() for name, content in numbers.items()}
    repack(tmp_path / "a", {"a/byteorder": b"big", **swapped})
    for name, array in read_checkpoint(tmp_path / "a").tensors.items():
        np.testing.assert_array_equal(array, WEIGHTS[name])
    repack(tmp_path / "a", {"a/byteorder": b"middle"})
    with pytest.raises(Refused, match="in which order its bytes are") as caught:
        read_checkpoint(tmp_path / "a")
    assert caught.value.code == "damaged"


def test_old_big_endian_files_are_read(tmp_path: Path) -> None:
    write_legacy(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    little, big = b"little_endianq\x02\x88", b"little_endianq\x02\x89"
    assert little in content
    (tmp_path / "a").write_bytes(content.replace(little, big))
    assert refused(tmp_path / "a").code == "damaged"  # its counts are in the other order


def test_checksums_are_compared_where_there_are_any(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    content[content.find(np.arange(1000, dtype="<f4").tobytes()) + 100] ^= 1
    (tmp_path / "a").write_bytes(content)
    assert "checksum" in str(refused(tmp_path / "a"))
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(1000.0)}, tmp_path / "a")
    finally:
        torch.serialization.set_crc32_options(True)
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a").tensors["w"], np.arange(1000))


def test_a_torch_file_compressed_again_is_refused_in_words(tmp_path: Path) -> None:
    torch.save({"w": torch.randn(100)}, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(Refused, match="compressed again") as caught:
        read_checkpoint(tmp_path / "a")
    assert caught.value.code == "layout"


def test_members_that_lie_about_where_they_are(tmp_path: Path) -> None:
    write_torch(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content.replace(b"a/data/0", b"a/data/9", 1))
    with pytest.raises(Refused, match="a member has two names"):
        read_checkpoint(tmp_path / "a")
    directory = content.rindex(b"PK\x01\x02", 0, content.rindex(b"a/data.pkl"))
    moved = content[: directory + 42] + struct.pack("<L", 7) + content[directory + 46 :]
    (tmp_path / "a").write_bytes(moved)
    with pytest.raises(Refused, match="not where the directory says"):
        read_checkpoint(tmp_path / "a")


def test_a_pickle_of_a_hundred_megabytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_torch(tmp_path / "a")
    monkeypatch.setattr(format_torch, "LARGEST_PICKLE", 100)
    with pytest.raises(Refused, match="holds a pickle of") as caught:
        read_checkpoint(tmp_path / "a")
    assert caught.value.code == "bomb"


# What lies beside, and how tensors are read


def test_config_and_files_are_told(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a")
    (tmp_path / "c").write_text(json.dumps({"model_type": "vit", "layers": [1, 2]}))
    found = read_checkpoint(tmp_path / "a", {"config.json": tmp_path / "c"})
    assert found.config == {"model_type": "vit", "layers": [1, 2]}
    assert found.file == tmp_path / "a"
    assert found.beside == {"config.json": tmp_path / "c"}
    assert read_checkpoint(tmp_path / "a").config == {}


@pytest.mark.parametrize(
    ("content", "code", "match"),
    [
        (b"[1]", "damaged", "not an object"),
        (b"{", "damaged", "not JSON"),
        (b'{"a": 1, "a": 2}', "damaged", "same key twice"),
        (b'{"a": "\xff"}', "damaged", "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "damaged", "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nesting", "deeper than 64 levels"),
        (b'{"a": "' + b"x" * (5 << 20) + b'"}', "bomb", "config.json of 5,242,889 bytes"),
    ],
)
def test_a_config_that_blows_up(tmp_path: Path, content: bytes, code: str, match: str) -> None:
    write_safetensors(tmp_path / "a")
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(Refused, match=match) as caught:
        read_checkpoint(tmp_path / "a", {"config.json": tmp_path / "c"})
    assert caught.value.code == code


def test_shapes_are_known_without_reading(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a")
    found = read_checkpoint(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert found.shapes == {name: array.shape for name, array in WEIGHTS.items()}
    with pytest.raises(Refused, match="does not exist"):
        found.tensors["net.0.weight"]
    assert Checkpoint("x", WEIGHTS, {}).shapes == found.shapes


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4)),
        np.array([[True, False]]),
        np.array(2.5),
        np.zeros((0, 3)),
    ],
)
def test_a_bare_array_is_one_tensor(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_checkpoint(tmp_path / "a.npy")
    assert found.format == "npy"
    assert found.tensors["weight"].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found.tensors["weight"], array)


@pytest.mark.parametrize(
    ("change", "code", "match"),
    [
        (lambda content: content[:-1], "truncated", "cut short"),
        (lambda content: content + b"x", "damaged", "goes on after"),
        (lambda content: content[:20], "damaged", "broken header"),
        (lambda content: content.replace(b"<f8", b"|O8"), "pickle-code", "Python objects"),
        (lambda content: content.replace(b"<f8", b"<U2"), "no-tensors", "holds text"),
        (lambda content: content.replace(b"(3,)", b"(9,)"), "truncated", "declares 72 bytes"),
        (lambda content: content.replace(b"(3,), }      ", b"(0, 1 << 70)}"), "damaged", "broken header"),
        (
            lambda content: content.replace(b"(3,), }                    ", b"(0,100000000000000000000) }"),
            "damaged",
            "broken header",
        ),
    ],
)
def test_a_bare_array_that_lies(tmp_path: Path, change: Callable[[bytes], bytes], code: str, match: str) -> None:
    np.save(tmp_path / "a.npy", np.arange(3.0))
    content = (tmp_path / "a.npy").read_bytes()
    changed = change(content)
    assert changed != content
    (tmp_path / "a.npy").write_bytes(changed)
    with pytest.raises(Refused, match=match) as caught:
        read_checkpoint(tmp_path / "a.npy")
    assert caught.value.code == code


def test_text_of_no_letters_is_said_as_well_as_can_be(tmp_path: Path) -> None:
    header = "{'descr': '%s', 'fortran_order': False, 'shape': ()}"
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("u.npy", npy(header % "<U2", b"\xff\xff\xff\x7f" + b"a\0\0\0"))
        archive.writestr("s.npy", npy(header % "|S2", b"\xffb"))
        archive.writestr("w.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(4)))
    assert read_checkpoint(tmp_path / "a").metadata == {"u": "\ufffda", "s": "\ufffdb"}


def test_a_brain_float_view_of_every_other_number(tmp_path: Path) -> None:
    whole = torch.arange(12.0).bfloat16()
    torch.save({"w": whole[1::2].reshape(2, 3).T}, tmp_path / "a")
    expected = whole[1::2].reshape(2, 3).T.float().numpy()
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "a").tensors["w"], expected)


def test_truth_values_are_zero_or_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(safetensors({"m": entry(0, 3, shape=[3], dtype="BOOL")}, b"\x00\x02\x01"))
    mask = read_checkpoint(tmp_path / "a").tensors["m"]
    assert mask.dtype == np.bool_
    assert mask.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_bare_truth_value_of_any_byte_is_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    header = f"{{'descr': '|b1', 'fortran_order': False, 'shape': {shape}, }}"
    (tmp_path / "a.npy").write_bytes(npy(header, b"\x02" * math.prod(shape)))
    found = read_checkpoint(tmp_path / "a.npy")
    ((_, array),) = found.tensors.items()
    assert array.dtype == np.bool_
    assert array.shape == shape
    assert array.all()


def test_many_warnings_and_long_metadata_are_cut(tmp_path: Path) -> None:
    odd = {f"w{n}": torch.tensor([float("nan")]) for n in range(150)}
    save_file(odd, tmp_path / "a", metadata={"short": "a", "long": "b" * 5000})
    found = read_checkpoint(tmp_path / "a")
    assert found.metadata == {"short": "a"}
    assert len(found.warnings) == 101
    assert found.warnings[-1] == "more: 51 warnings like these"


def test_onnx_is_told_by_its_fields(tmp_path: Path) -> None:
    graph = b"\x3a\x04abcd"
    for content, known in [
        (b"\x08\x09" + graph, True),
        (graph + b"\x42\x00", True),
        (b"\x08\x09" + graph[:-2], True),
        (b"\x08\x09\x12\x02me", False),
        (b"\x08\x09\x12\x7fme", False),
        (b"\x08" + b"\xff" * 12 + graph, False),
        (b"\x08\x09" * 20_000 + graph, False),
    ]:
        (tmp_path / "a").write_bytes(content)
        with (tmp_path / "a").open("rb") as file:
            if known:
                assert format_of(file) == "onnx"
            else:
                with pytest.raises(Refused, match="not a checkpoint of a known format"):
                    format_of(file)
