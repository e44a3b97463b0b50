"""Files are copied, read apart and described; the same content is read once; what is odd costs one refusal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from consilience.zoo import inspection
from consilience.zoo.bundle import MAIN_FILES
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.description import describe, restore
from consilience.zoo.errors import Refused
from consilience.zoo.fingerprint import read_fingerprint
from consilience.zoo.inspection import Inspected, Located, inspect
from consilience.zoo.sandbox import Sandbox
from consilience.zoo.store import Store
from consilience.zoo.weights import Place, Weights

STATE = {"net.0.weight": torch.arange(12.0).reshape(4, 3) - 5, "net.0.bias": torch.arange(4.0)}
CONFIG = {"model_type": "vit"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    return folder


@pytest.fixture
def store(zoo: Path) -> Store:
    return Store(zoo / ".consilience")


def look(store: Store, sandbox: Sandbox, *files: Path, inside: Path | None = None) -> list[Inspected]:
    places = [Located(file, inside or store.root.parent) for file in files]
    return list(inspect(places, store=store, sandbox=sandbox))


def refused(store: Store, sandbox: Sandbox, file: Path) -> Refused:
    (found,) = look(store, sandbox, file)
    assert found.checkpoint is None
    assert found.fingerprint is None
    assert found.refusal is not None
    assert found.refusal.hint
    return found.refusal


def check(found: Inspected, kind: str) -> Checkpoint:
    assert found.refusal is None
    checkpoint = found.checkpoint
    assert checkpoint is not None
    assert checkpoint.format == kind
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in STATE.items()}
    for name, tensor in STATE.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor.numpy())
    assert found.fingerprint is not None
    assert set(read_fingerprint(found.fingerprint).names) == set(STATE)
    return checkpoint


def write_all(zoo: Path) -> dict[str, str]:
    save_file(STATE, zoo / "a.safetensors", metadata={"activation": "tanh"})
    torch.save({"model": STATE, "epoch": 7}, zoo / "b.pt")
    torch.save(STATE, zoo / "c.pt", _use_new_zipfile_serialization=False)
    arrays = {name: tensor.numpy() for name, tensor in STATE.items()}
    np.savez(zoo / "d.npz", **arrays)
    np.savez_compressed(zoo / "e.npz", **arrays)
    return {"a.safetensors": "safetensors", "b.pt": "torch", "c.pt": "torch", "d.npz": "npz", "e.npz": "npz"}


def test_every_format_is_described(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    kinds = write_all(zoo)
    found = look(store, sandbox, *(zoo / name for name in kinds))
    for kind, item in zip(kinds.values(), found, strict=True):
        checkpoint = check(item, kind)
        assert checkpoint.file == store.object_path(item.digest)
    assert found[0].checkpoint is not None
    assert found[0].checkpoint.metadata == {"activation": "tanh"}
    written = list(store.root.rglob("*.weights"))
    assert len(written) == 1  # of the compressed one: the others are used where they lie


def test_what_was_read_is_not_read_again(
    store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = write_all(zoo)
    files = [zoo / name for name in kinds]
    first = look(store, sandbox, *files)
    monkeypatch.setattr(Sandbox, "call", None)
    again = look(store, sandbox, *files)
    for kind, one, other in zip(kinds.values(), first, again, strict=True):
        check(other, kind)
        assert other.digest == one.digest


@pytest.mark.parametrize("damage", ["cut", "gone", "other", "beyond", "no-fingerprint"])
def test_what_is_kept_is_not_believed(store: Store, sandbox: Sandbox, zoo: Path, damage: str) -> None:
    save_file(STATE, zoo / "a.safetensors")
    look(store, sandbox, zoo / "a.safetensors")
    (file,) = (store.root / "results" / "checkpoint").glob("*.json")
    plain = json.loads(file.read_text())
    if damage == "no-fingerprint":
        file.with_suffix(".npz").unlink()
    elif damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_text(file.read_text()[:50])
    elif damage == "other":
        file.write_text("[1]")
    else:
        plain["tensors"]["net.0.bias"][1] += 1 << 20
        file.write_text(json.dumps(plain))
    check(look(store, sandbox, zoo / "a.safetensors")[0], "safetensors")


def test_warnings_come_with_the_description(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    save_file({"w": torch.tensor([[float("nan")]]), "z": torch.zeros(2, 2)}, zoo / "a.safetensors")
    for _ in range(2):
        (found,) = look(store, sandbox, zoo / "a.safetensors")
        assert found.checkpoint is not None
        assert sorted(found.checkpoint.warnings) == ["all-zero: z", "nan: w"]


def test_one_bad_file_stops_nothing(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    save_file(STATE, zoo / "a.safetensors")
    (zoo / "b").write_bytes(b"hello, this is no checkpoint")
    os.mkfifo(zoo / "c")
    (zoo / "d").symlink_to(zoo / "a.safetensors")
    found = look(store, sandbox, zoo / "b", zoo / "c", zoo / "d", zoo / "none", zoo / ".." / "x", zoo / "a.safetensors")
    codes = [item.refusal.code if item.refusal else "" for item in found]
    assert codes == ["unknown-format", "not-a-file", "symlink", "missing", "outside", ""]
    assert found[0].digest
    assert [item.digest for item in found[1:5]] == [""] * 4


def test_the_store_may_lie_at_a_relative_path(sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_all(zoo)
    monkeypatch.chdir(zoo)
    places = [Located(Path(name), Path()) for name in ("a.safetensors", "e.npz")]
    one, other = inspect(places, store=Store(Path("store")), sandbox=sandbox)
    monkeypatch.chdir("/")
    check(one, "safetensors")
    check(other, "npz")


def test_refusals_are_kept_but_not_what_was_refused(
    store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (zoo / "a").write_bytes(b"hello, this is no checkpoint")
    first = refused(store, sandbox, zoo / "a")
    assert not list(store.root.glob("objects/*/*"))
    monkeypatch.setattr(Sandbox, "call", None)
    again = refused(store, sandbox, zoo / "a")
    assert (again.code, again.what, again.hint) == (first.code, first.what, first.hint)


def test_what_is_useless_alone_may_be_a_part(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    folder = hugging_face(zoo / "net")
    for places in ([folder / "config.json", folder], [folder, folder / "config.json"]):
        found = dict(zip(places, look(store, sandbox, *places), strict=True))
        assert check(found[folder], "safetensors").config == CONFIG
        assert found[folder / "config.json"].refusal is not None
        assert len(list(store.root.glob("objects/*/*"))) == 2


def test_what_the_machine_could_not_do_is_tried_again(
    store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(STATE, zoo / "a.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(inspection, "BASE_SECONDS", 0.0)
        patch.setattr(inspection, "BYTES_A_SECOND", 1e12)
        assert refused(store, sandbox, zoo / "a.safetensors").code == "timed-out"
    check(look(store, sandbox, zoo / "a.safetensors")[0], "safetensors")
    assert not list(store.root.rglob(".tmp-*"))


def test_copies_are_read_once(store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(STATE, zoo / "0")
    for n in range(1, 12):
        shutil.copy(zoo / "0", zoo / str(n))
    calls = []
    call = Sandbox.call
    monkeypatch.setattr(Sandbox, "call", lambda *args, **named: (calls.append(1), call(*args, **named))[1])
    found = look(store, sandbox, *(zoo / str(n) for n in range(12)))
    assert len({item.digest for item in found}) == 1
    assert len(calls) == 1


# Folders


def hugging_face(folder: Path, *, sharded: bool = False, suffix: str = "safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save = save_file if suffix == "safetensors" else torch.save
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    if not sharded:
        save(STATE, folder / f"{stem}.{suffix}")
        return folder
    homes = {}
    for number, (name, tensor) in enumerate(STATE.items(), 1):
        homes[name] = f"{stem}-{number:05}-of-00002.{suffix}"
        save({name: tensor}, folder / homes[name])
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": homes}))
    return folder


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("sharded", [True, False])
def test_hugging_face_folders(store: Store, sandbox: Sandbox, zoo: Path, sharded: bool, suffix: str) -> None:
    folder = hugging_face(zoo / "net", sharded=sharded, suffix=suffix)
    (main,) = [folder / name for name in MAIN_FILES if (folder / name).exists()]
    digests = set()
    for place in (folder, main, folder):
        (found,) = look(store, sandbox, place)
        checkpoint = check(found, "safetensors" if suffix == "safetensors" else "torch")
        assert checkpoint.config == CONFIG
        assert len(checkpoint.beside) == (3 if sharded else 1)
        digests.add(found.digest)
    assert len(digests) == 1
    (folder / "config.json").write_text("{}")
    assert look(store, sandbox, folder)[0].digest not in digests


def test_a_folder_of_one_file_by_another_name(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    folder = hugging_face(zoo / "net")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert check(look(store, sandbox, folder)[0], "safetensors").config == CONFIG
    assert check(look(store, sandbox, folder / "other.safetensors")[0], "safetensors").config == {}
    shutil.copy(folder / "other.safetensors", folder / "third.safetensors")
    error = refused(store, sandbox, folder)
    assert error.code == "several"
    assert "2 checkpoints" in str(error)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert refused(store, sandbox, folder).code == "no-tensors"


def test_a_cache_of_the_hub_is_links(store: Store, sandbox: Sandbox, zoo: Path) -> None:
    cache, snapshot = zoo / "models--a--b", zoo / "models--a--b" / "snapshots" / "0123"
    real = hugging_face(cache / "blobs", sharded=True)
    snapshot.mkdir(parents=True)
    for file in real.iterdir():
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    (found,) = inspect([Located(snapshot, cache, linked=True)], store=store, sandbox=sandbox)
    assert check(found, "safetensors").config == CONFIG
    assert refused(store, sandbox, snapshot).code == "symlink"
    (snapshot / "config.json").unlink()
    (zoo / "secret").write_text("{}")
    (snapshot / "config.json").symlink_to(zoo / "secret")
    (found,) = inspect([Located(snapshot, cache, linked=True)], store=store, sandbox=sandbox)
    assert found.refusal is not None
    assert found.refusal.code == "outside"


@pytest.mark.parametrize(
    ("name", "change", "code", "match"),
    [
        ("config.json", lambda f: f.write_text("["), "damaged", "broken config.json"),
        ("config.json", lambda f: f.write_bytes(b"[" * 10**5), "nesting", "config.json that nests deeper"),
        ("config.json", lambda f: os.truncate(f, 1 << 30), "bomb", "needs config.json beside it, which is 1,073"),
        ("config.json", lambda f: (f.unlink(), os.mkfifo(f)), "not-a-file", "needs config.json beside it"),
        ("config.json", lambda f: (f.unlink(), f.symlink_to("/etc/hostname")), "symlink", "needs config.json"),
        ("model.safetensors.index.json", lambda f: os.truncate(f, 1 << 30), "bomb", "is 1,073,741,824 bytes long"),
        ("model.safetensors.index.json", lambda f: f.write_text('{"weight_map": {"a": "../x"}}'), "outside", "beside"),
        ("model-00001-of-00002.safetensors", lambda f: f.unlink(), "missing", "which does not exist"),
        ("model-00001-of-00002.safetensors", lambda f: os.truncate(f, 90), "truncated", "has a part, model-00001"),
        ("model-00001-of-00002.safetensors", lambda f: (f.unlink(), f.symlink_to("x")), "symlink", "needs model-00001"),
    ],
)
def test_folders_that_lie(
    store: Store, sandbox: Sandbox, zoo: Path, name: str, change: object, code: str, match: str
) -> None:
    folder = hugging_face(zoo / "net", sharded=True)
    assert callable(change)
    change(folder / name)
    error = refused(store, sandbox, folder)
    assert (error.code, match in str(error)) == (code, True), str(error)


def test_a_reader_that_asks_for_ever_more(
    store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdefgh":
        (zoo / name).write_text(name)
    monkeypatch.setattr(Sandbox, "call", lambda *_, beside, **__: {"wanted": ["bcdefgh"[len(beside)]]})
    assert "ever more files" in str(refused(store, sandbox, zoo / "a"))


def test_a_reader_that_says_what_is_not_so(
    store: Store, sandbox: Sandbox, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (zoo / "a").write_text("four")
    answer = describe(Checkpoint("npz", Weights({"w": Place(zoo / "a", 0, "<f4", (1,))}), {}), {zoo / "a": ""})
    answer["tensors"]["w"][1] = 3

    def call(*_: object, fingerprint: str, **__: object) -> object:
        Path(fingerprint).write_bytes(b"x")
        return answer

    monkeypatch.setattr(Sandbox, "call", call)
    error = refused(store, sandbox, zoo / "a")
    assert error.code == "crashed"
    assert "what is not so" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"tensors": {"w": ["", 0, "<c8", [1], None]}},
        {"tensors": {"w": ["", 0, "=f4", [1], None]}},
        {"tensors": {"w": ["", -4, "<f4", [1], None]}},
        {"tensors": {"w": ["", 0, "<f4", [-1], None]}},
        {"tensors": {"w": ["", 0, "<f4", [1] * 40, None]}},
        {"tensors": {"w": ["", 0, "<f4", [0, 1 << 40, 1 << 40], None]}},
        {"tensors": {"w": ["", 0, "<f4", [2], [1, 1]]}},
        {"tensors": {"w": ["", 0, "<f4", [2], [1 << 40]]}},
        {"tensors": {"w": ["", 9, "<f4", [2], None]}},
        {"tensors": {"w": ["x", 0, "<f4", [2], None]}},
        {"tensors": {"w": ["", 0, "<f4", [2]]}},
        {"tensors": 3},
        {"metadata": {"a": 1}},
        {"warnings": [1]},
        {"config": 3},
    ],
)
def test_descriptions_are_checked(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "a").write_bytes(bytes(16))
    good = {"format": "npz", "tensors": {"w": ["", 0, "<f4", [2], [2]]}, "metadata": {}, "warnings": [], "config": {}}
    assert restore(good, {"": tmp_path / "a"}).tensors["w"].tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"\w"):
        restore(good | change, {"": tmp_path / "a"})
    with pytest.raises(ValueError, match="no description"):
        restore(good, {"": tmp_path / "b"})


LARGE = """
import json, resource, sys
from pathlib import Path
from consilience.zoo.inspection import Located, inspect
from consilience.zoo.sandbox import Sandbox
from consilience.zoo.store import Store
zoo = Path(sys.argv[1])
with Sandbox() as sandbox:
    (found,) = inspect([Located(zoo / "net", zoo)], store=Store(zoo / "store"), sandbox=sandbox)
assert found.refusal is None, found.refusal
own = dict(line.split(":", 1) for line in open("/proc/self/status"))["VmHWM"].split()[0]
print(json.dumps([int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are in other units elsewhere")
def test_a_large_checkpoint_is_never_held_whole(zoo: Path) -> None:
    (zoo / "net").mkdir()
    homes = {}
    for shard in range(4):
        names = [f"layers.{4 * shard + n}.weight" for n in range(4)]
        save_file({name: torch.randn(4096, 1024) for name in names}, zoo / "net" / f"part-{shard}.safetensors")
        homes |= dict.fromkeys(names, f"part-{shard}.safetensors")
    (zoo / "net" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    done = subprocess.run([sys.executable, "-c", LARGE, zoo], check=True, capture_output=True, timeout=300)
    parent, child = (peak << 10 for peak in json.loads(done.stdout))
    tensor, all_of_it = 16 << 20, 256 << 20
    assert parent < 100 << 20 < all_of_it
    assert child < (100 << 20) + 4 * tensor < all_of_it
