"""Temporary folders go with their last use; of those that killed processes left, the old ones go later."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from consilience.zoo import scratch
from consilience.zoo.scratch import PREFIX, Scratch

HOLDS = """
import time
from consilience.zoo.scratch import Scratch
held = Scratch()
print(held.path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch._sweep.cache_clear()
    yield tmp_path
    scratch._sweep.cache_clear()


def aged(path: Path) -> Path:
    os.utime(path, (0, 0))
    return path


def test_a_folder_goes_with_its_last_use(place: Path) -> None:
    with Scratch() as folder:
        (folder / "a").write_text("x")
        assert folder.parent == place
    assert list(place.iterdir()) == []
    kept = Scratch()
    assert kept.path.is_dir()
    del kept
    gc.collect()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_once_it_is_old(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(place)}
    ) as process:
        assert process.stdout is not None
        left = aged(Path(process.stdout.readline().strip()))
        with Scratch():
            assert left.exists()  # it is in use
        process.send_signal(signal.SIGKILL)
        process.wait()
    scratch._sweep.cache_clear()
    (left / "graph").write_text("x")  # which makes it young
    with Scratch():
        assert left.exists()
    aged(left)
    scratch._sweep.cache_clear()
    with Scratch():
        assert not left.exists()


def test_nothing_else_is_swept(place: Path) -> None:
    other, linked = place / "other", place / f"{PREFIX}link"
    other.mkdir()
    linked.symlink_to(other, target_is_directory=True)
    os.utime(linked, (0, 0), follow_symlinks=False)
    aged(other)
    (place / f"{PREFIX}file").write_text("x")
    aged(place / f"{PREFIX}file")
    with Scratch():
        assert other.is_dir()
        assert linked.is_symlink()
        assert (place / f"{PREFIX}file").exists()
