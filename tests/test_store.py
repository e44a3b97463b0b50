"""The same bytes are one object; what is half written is never seen; nothing outside the zoo is read."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from consilience.zoo import store as store_module
from consilience.zoo.errors import BadInput, Refused
from consilience.zoo.store import Store, content_key, open_regular, write_atomically


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    return folder


@pytest.fixture
def store(zoo: Path) -> Store:
    return Store(zoo / ".consilience")


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file())


def test_an_object_is_named_by_its_bytes_and_kept_once(store: Store, zoo: Path) -> None:
    (zoo / "a").write_bytes(b"weights")
    (zoo / "b").write_bytes(b"weights")
    digest = store.add_object(zoo / "a", inside=zoo)
    assert digest == hashlib.sha256(b"weights").hexdigest()
    assert store.add_object(zoo / "b", inside=zoo) == digest
    assert files(store) == [store.object_path(digest)]
    assert store.object_path(digest).read_bytes() == b"weights"


def test_objects_of_many_chunks_are_whole(store: Store, zoo: Path) -> None:
    content = os.urandom(3 * store_module.CHUNK + 17)
    (zoo / "a").write_bytes(content)
    assert store.object_path(store.add_object(zoo / "a", inside=zoo)).read_bytes() == content


@pytest.mark.parametrize("place", ["../secret", "up/secret", "/etc/hostname"])
def test_what_lies_outside_is_refused(store: Store, zoo: Path, place: str) -> None:
    (zoo.parent / "secret").write_bytes(b"secret")
    (zoo / "up").symlink_to(zoo.parent)
    with pytest.raises(Refused, match="lies outside") as caught:
        store.add_object(zoo / place, inside=zoo)
    assert caught.value.code == "outside"
    assert "zoo's folder" in caught.value.hint


def test_links_pipes_and_folders_are_refused(store: Store, zoo: Path) -> None:
    (zoo.parent / "secret").write_bytes(b"secret")
    (zoo / "link").symlink_to(zoo.parent / "secret")
    (zoo / "loop").symlink_to(zoo / "loop")
    os.mkfifo(zoo / "pipe")
    cases = {
        "link": ("symlink", "symbolic link"),
        "loop": ("symlink", "symbolic link"),
        "loop/a": ("missing", "does not exist"),
        "pipe": ("not-a-file", "a pipe or a device"),
        "": ("outside", "lies outside"),
        "none": ("missing", "does not exist"),
        "nul\0": ("missing", "does not exist"),
        "x" * 300: ("unreadable", "File name too long"),
    }
    for name, (code, match) in cases.items():
        with pytest.raises(Refused, match=match) as caught:
            store.add_object(zoo / name if name else zoo / "..", inside=zoo / "sub" if not name else zoo)
        assert (name, caught.value.code) == (name, code)
    with pytest.raises(Refused, match="is a folder"):
        store.add_object(zoo, inside=zoo.parent)
    assert files(store) == []


def test_a_link_within_the_zoo_to_one_of_its_folders_is_followed(store: Store, zoo: Path) -> None:
    (zoo / "real").mkdir()
    (zoo / "real" / "a").write_bytes(b"weights")
    (zoo / "alias").symlink_to(zoo / "real")
    assert store.add_object(zoo / "alias" / "a", inside=zoo)


def test_a_link_in_a_cache_of_the_hub_is_followed_as_far_as_it_stays_inside(store: Store, zoo: Path) -> None:
    (zoo / "blob").write_bytes(b"weights")
    (zoo.parent / "secret").write_bytes(b"secret")
    (zoo / "good").symlink_to("blob")
    (zoo / "bad").symlink_to(zoo.parent / "secret")
    (zoo / "loop").symlink_to("loop")
    assert store.add_object(zoo / "good", inside=zoo, linked=True) == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(Refused, match="lies outside"):
        store.add_object(zoo / "bad", inside=zoo, linked=True)
    with pytest.raises(Refused, match=r"symbolic link|does not exist"):
        store.add_object(zoo / "loop", inside=zoo, linked=True)


def test_what_should_be_small_is_not_copied_when_it_is_large(store: Store, zoo: Path) -> None:
    (zoo / "a").write_bytes(b"weights")
    assert store.add_object(zoo / "a", inside=zoo, largest=7)
    with pytest.raises(Refused, match="is 7 bytes long where at most 6 are plausible") as caught:
        store.add_object(zoo / "a", inside=zoo, largest=6)
    assert caught.value.code == "bomb"


def test_a_file_of_holes_is_not_copied(store: Store, zoo: Path) -> None:
    for name, place in [("all", None), ("begin", 0), ("end", (1 << 40) - 4096)]:
        with (zoo / name).open("wb") as file:
            file.truncate(1 << 40)
            if place is not None:
                file.seek(place)
                file.write(b"x" * 4096)
        with pytest.raises(Refused, match="declares 1,099,511,627,776 bytes, nearly all of them holes") as caught:
            store.add_object(zoo / name, inside=zoo)
        assert caught.value.code == "bomb"
    assert files(store) == []


def test_large_files_need_room(store: Store, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (zoo / "a").write_bytes(b"weights")
    monkeypatch.setattr(store_module, "SPARSE", 3)
    assert store.add_object(zoo / "a", inside=zoo)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 7, 3))
    with pytest.raises(Refused, match="is 7 bytes long, there is room for 3") as caught:
        store.add_object(zoo / "a", inside=zoo)
    assert caught.value.code == "no-room"


def test_an_object_of_no_use_is_forgotten(store: Store, zoo: Path) -> None:
    (zoo / "a").write_bytes(b"weights")
    digest = store.add_object(zoo / "a", inside=zoo)
    store.forget_object(digest)
    store.forget_object(digest)
    assert files(store) == []


@pytest.mark.parametrize("change", [lambda f: f.write(b"more"), lambda f: f.truncate(3)])
def test_a_file_that_changes_meanwhile_is_refused(
    store: Store, zoo: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., object]
) -> None:
    (zoo / "a").write_bytes(b"weights")
    monkeypatch.setattr(store_module, "open_regular", lambda path: Changing(path, change))
    with pytest.raises(Refused, match="changes while it is read") as caught:
        store.add_object(zoo / "a", inside=zoo)
    assert caught.value.code == "changed"
    assert files(store) == []


class Changing(io.FileIO):
    """A file that another program writes to just before it is read."""

    def __init__(self, path: Path, change: Callable[..., object]) -> None:
        super().__init__(path)
        self.path, self.change = path, change

    def read(self, count: int | None = -1) -> bytes:
        with self.path.open("ab") as other:
            self.change(other)
        self.change = lambda _: None
        return super().read(count)


def test_no_room_is_said_in_words(store: Store, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    (zoo / "a").write_bytes(b"weights")
    monkeypatch.setattr(store_module, "_flush", full)
    with pytest.raises(BadInput, match="No space left on device") as caught:
        store.add_object(zoo / "a", inside=zoo)
    assert "make room" in caught.value.hint
    assert files(store) == []


def test_results_are_named_by_stage_and_key(store: Store) -> None:
    path = store.result_path("align", "ab12", ".npz")
    assert path == store.root / "results" / "align" / "ab12.npz"
    for stage, key in [("..", "a"), ("align", "../a"), ("a/b", "c"), ("", "a")]:
        with pytest.raises(ValueError, match="not a name for a file"):
            store.result_path(stage, key, ".npz")


def test_writing_is_all_or_nothing(store: Store) -> None:
    path = store.result_path("probe", "k", ".json")
    with store.write_atomically(path) as temporary:
        temporary.write_text("old")
        assert temporary.suffix == ".json"
    with suppress(ZeroDivisionError), write_atomically(path) as temporary:
        temporary.write_text("new")
        print(1 // 0)
    assert path.read_text() == "old"
    assert files(store) == [path]


def test_writing_nothing_changes_nothing(store: Store) -> None:
    path = store.result_path("probe", "k", ".json")
    with write_atomically(path):
        pass
    assert files(store) == []
    with write_atomically(path) as temporary:
        temporary.write_text("old")
    with write_atomically(path):
        pass
    assert path.read_text() == "old"


def test_a_kill_in_the_middle_leaves_the_old_file(store: Store) -> None:
    path = store.result_path("probe", "k", ".txt")
    with write_atomically(path) as temporary:
        temporary.write_text("old")
    program = (
        "import sys; from pathlib import Path; from consilience.zoo.store import write_atomically\n"
        "with write_atomically(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    (leftover,) = [file for file in files(store) if file != path]
    Store(store.root)
    assert leftover.exists()  # its writer may be alive
    os.utime(leftover, (time.time() - 2 * store_module.STALE_SECONDS,) * 2)
    Store(store.root)
    assert files(store) == [path]


def test_keys_depend_on_content_alone() -> None:
    assert content_key({"b": 1, "a": [1.5, None]}, "x") == content_key({"a": (1.5, None), "b": 1}, "x")
    assert len(content_key()) == 64
    keys = [
        content_key(),
        content_key(1),
        content_key("1"),
        content_key(1.0),
        content_key([1]),
        content_key(1, 2),
    ]
    assert len(set(keys)) == len(keys)
    with pytest.raises(TypeError, match="Path"):
        content_key(Path("a"))


def test_a_regular_file_is_opened_as_it_is(zoo: Path) -> None:
    (zoo / "a").write_bytes(b"weights")
    with open_regular(zoo / "a") as file:
        assert file.read() == b"weights"
