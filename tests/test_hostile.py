"""Hundreds of hostile files beside honest ones: none runs, reaches out, hangs or stops the others.

The files are written by `tests/hostile.py`, which also says what must become of each.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.locate import SUFFIXES

HERE = Path(__file__).parent
SECRET = b"the-secret-that-must-not-leave"
NUMBERS = np.full(2, 0.123456789, np.float32).tobytes()
"""What the secret weights are, as bytes."""
PATIENCE = 600.0
"""Seconds for all files together. No timing test: it only tells a hang from an end."""
MEMORY = 500 << 20
"""Beyond the largest honest file: what torch, scipy and duckdb take by being imported is most of it."""
LIMITS = {"crashed", "timed-out", "memory"}
"""Codes of files that only the limits of the sandbox stopped."""
ZOO = """
name = "hostile"
networks = [{ path = ".", activation = "tanh" }]
outputs = [{ name = "y" }]
probe = { samples = 64, variables = [{ name = "a", low = -1, high = 1 }, { name = "b", low = -1, high = 1 }] }
"""
VAST = {"transformers", "timm", "torchvision", "onnx", "onnxruntime", "h5py"}
"""Libraries that meet strangers' files: only in processes apart."""
WATCHED = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))  # there are files that would fill the disk
note = sys.argv.pop(1)
from consilience.cli.main import main
try:
    main()
finally:
    with open("/proc/self/status") as status, open(note, "w") as file:
        peak = dict(line.split(":", 1) for line in status)["VmHWM"].split()[0]
        json.dump({"peak": int(peak) << 10, "modules": list(sys.modules)}, file)
"""
"""The program, which notes its own peak of memory, without that of its children, and what it imported."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches by the means of Linux")


@dataclass(frozen=True)
class Seen:
    """What a run over the corpus left: exit code, what it said, what it noted of itself, a row for each file."""

    code: int
    out: str
    err: str
    note: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Corpus:
    folder: Path
    table: list[dict[str, Any]]
    watch: Watch

    def run(self, *arguments: str) -> tuple[int, str, str, dict[str, Any]]:
        note = self.folder / "note"
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, note, *arguments],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CONSILIENCE_DEBUG": ""},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr, json.loads(note.read_text())


class Watch:
    """Note whatever is opened in a folder, by any process."""

    OPENED = 0x20  # IN_OPEN of linux/inotify.h

    def __init__(self, folder: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._queue = library.inotify_init1(os.O_NONBLOCK)
        assert library.inotify_add_watch(self._queue, os.fsencode(folder), self.OPENED) >= 0

    def opened(self) -> list[str]:
        """Give the names of what was opened since the last time; an empty one is the folder itself."""
        try:
            events = os.read(self._queue, 1 << 20)
        except BlockingIOError:
            return []
        names = []
        while events:
            length = struct.unpack_from("I", events, 12)[0]
            names.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return names


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("hostile") / "files"
    subprocess.run([sys.executable, HERE / "hostile.py", folder, "--vast"], check=True, capture_output=True)
    yield Corpus(folder, json.loads((folder / "table.json").read_text()), Watch(folder / "outside"))
    subprocess.run(["rm", "-rf", folder], check=True)  # Python's own way does not reach the deepest folders


def shown(path: str) -> str:
    """Write a path as the program does where it is no Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(scope="module")
def checked(corpus: Corpus) -> Seen:
    code, out, err, note = corpus.run("check", "corpus", "--activation", "tanh", "--format", "json")
    assert out, err[-2000:]
    rows = {row["file"].removeprefix("corpus/"): row for row in json.loads(out)}
    return Seen(code, out, err, note, rows)


@pytest.fixture(scope="module")
def ingested(corpus: Corpus) -> Seen:
    (corpus.folder / "corpus" / "zoo.toml").write_text(ZOO)
    code, out, err, note = corpus.run("ingest", "corpus")
    catalogue = corpus.folder / "corpus" / ".consilience" / "catalogue.duckdb"
    assert catalogue.exists(), err[-2000:]
    with duckdb.connect(str(catalogue), read_only=True) as connection:
        found = connection.execute("SELECT file, status, code, message, hint FROM networks").fetchall()
    keys = ("file", "status", "code", "message", "hint")
    return Seen(code, out, err, note, {row[0]: dict(zip(keys, row, strict=True)) for row in found})


@pytest.fixture(params=["checked", "ingested"])
def seen(request: pytest.FixtureRequest) -> Seen:
    found: Seen = request.getfixturevalue(request.param)
    return found


def promises_nothing(corpus: Corpus, path: str) -> bool:
    """Tell what may be passed by in a folder: folders, hidden files, names that are none of a checkpoint."""
    name = Path(path)
    return (
        (corpus.folder / "corpus" / path).is_dir() or name.name.startswith(".") or name.suffix.lower() not in SUFFIXES
    )


def test_the_corpus_is_large_and_of_all_kinds(corpus: Corpus) -> None:
    assert len(corpus.table) >= 600
    assert len({Path(row["path"]).parts[0] for row in corpus.table}) >= 12
    assert len([row for row in corpus.table if row["becomes"] == ["refused"]]) >= 350


def test_what_the_hostile_files_are_made_from_is_read(corpus: Corpus) -> None:
    """Else they would be refused for a fault that nobody planted."""
    for row in corpus.table:
        if row["reads"]:
            assert read_checkpoint(corpus.folder / "corpus" / row["path"]).tensors, row["path"]


def test_every_file_becomes_what_it_must(corpus: Corpus, seen: Seen) -> None:
    wrong = {}
    for case in corpus.table:
        row = seen.rows.get(shown(case["path"]))
        if row is None:
            if not ("refused" in case["becomes"] and promises_nothing(corpus, case["path"])):
                wrong[case["path"]] = f"is not listed: {case['why']}"
        elif row["status"] not in case["becomes"]:
            wrong[case["path"]] = f"{row['status']}, {row['code']}: {row['message']} ({case['why']})"
    assert not wrong


def test_the_readers_themselves_refuse(corpus: Corpus, seen: Seen) -> None:
    """The limits of the sandbox are the last line: what is refused by them costs seconds."""
    limited = {shown(case["path"]) for case in corpus.table if case["limited"]}
    found = {file: row["message"] for file, row in seen.rows.items() if row["code"] in LIMITS and file not in limited}
    assert not found


def test_every_refusal_says_why_and_what_to_do(seen: Seen) -> None:
    refused = [row for row in seen.rows.values() if row["status"] == "refused"]
    assert len(refused) > 350
    for row in refused:
        for key in ("code", "message", "hint"):
            assert row[key], row
            assert row[key].isprintable(), row
        assert len(row["message"]) < 400, row
    assert seen.code == 3


def test_no_payload_runs(corpus: Corpus, seen: Seen) -> None:
    assert list((corpus.folder / "canaries").iterdir()) == []


def test_nothing_outside_is_opened(corpus: Corpus, seen: Seen) -> None:
    assert corpus.watch.opened() == []
    (corpus.folder / "outside" / "secret.bin").read_bytes()
    assert corpus.watch.opened() == ["secret.bin"]


def test_nothing_from_outside_is_kept_or_said(corpus: Corpus, seen: Seen) -> None:
    assert SECRET.decode() not in seen.out + seen.err
    kept = corpus.folder / "corpus" / ".consilience"
    for file in kept.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert SECRET not in content, file
            assert NUMBERS not in content, file


def test_nothing_breaks_and_nothing_reaches_the_terminal(seen: Seen) -> None:
    for text in (seen.out, seen.err):
        assert "Traceback" not in text
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
    assert not [line for line in seen.err.splitlines() if line.startswith("error: all is lost")]


def test_memory_stays_within_bounds(corpus: Corpus, seen: Seen) -> None:
    honest = (corpus.folder / "corpus" / "honest").rglob("*")
    largest = max(file.stat().st_size for file in honest if file.is_file())
    assert seen.note["peak"] < 1.5 * largest + MEMORY


def test_the_program_itself_imports_none_of_what_meets_the_files(seen: Seen) -> None:
    assert not VAST & set(seen.note["modules"])


LIVE = """
import pickle, sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hostile_case import Place
from hostile_pickles import payloads
warnings.simplefilter("ignore")
place = Place(*map(Path, sys.argv[2:5]))
for trick, _, part in payloads(place):
    try:
        pickle.loads(b"\\x80\\x04" + part + b".")
    except Exception:
        pass
"""


def test_the_payloads_are_live(tmp_path: Path) -> None:
    """A reader that ran them would leave canaries: without this, that there are none proves nothing."""
    subprocess.run([sys.executable, "-c", LIVE, HERE, tmp_path, tmp_path, tmp_path], check=True, capture_output=True)
    found = {path.name for path in tmp_path.iterdir()}
    assert len(found) >= 12, sorted(found)
    assert {"system", "exec", "inst", "obj", "newobj", "build", "getattr", "dotted", "partial"} <= found
