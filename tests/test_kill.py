"""Killed at any moment and started again: nothing is lost, and the catalogue is that of an undisturbed run."""

from __future__ import annotations

import json
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

from consilience.analysis.project.catalogue import writing
from consilience.analysis.project.lock import locked

GOLDEN = 0.6180339887498949


def delays(count: int, longest: float) -> list[float]:
    """Spread moments evenly over an interval, in an order without pattern."""
    return [longest * ((number * GOLDEN) % 1.0) for number in range(1, count + 1)]


def kill_after(running, seconds: float) -> int:
    time.sleep(seconds)
    running.send(signal.SIGKILL)
    return int(running.wait().code)


def kill_once(running, seen: Callable[[], bool]) -> int:
    """Kill a process as soon as something is seen, or let it end."""
    while not running.ended():
        if seen():
            running.send(signal.SIGKILL)
            break
    return int(running.wait().code)


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.005)


def still_there(before: dict[str, int], after: dict[str, int]) -> bool:
    """Check that every fact that was stored is as it was."""
    return before.items() <= after.items()


def test_killed_at_sixteen_moments(studied, warm, tiny, catalogue_of, facts_of):
    kept: dict[str, int] = {}
    kills = 0
    for seconds in delays(64, 0.8):
        code = kill_after(warm.start("run", folder=tiny), seconds)
        assert still_there(kept, facts_of(tiny))
        kept = facts_of(tiny)
        if code == 0:  # it got to the end in spite of all: once more from the beginning
            assert catalogue_of(tiny) == catalogue_of(studied[0])
            shutil.rmtree(tiny / ".consilience")
            kept = {}
            continue
        assert code == -signal.SIGKILL
        kills += 1
        if kills == 16:
            break
    assert kills == 16
    done = warm("run", folder=tiny)
    assert (done.code, done.out) == (0, studied[1].out), done.err
    assert still_there(kept, facts_of(tiny))
    assert catalogue_of(tiny) == catalogue_of(studied[0])
    assert facts_of(tiny).keys() == facts_of(studied[0]).keys()


def test_killed_while_it_writes(studied, warm, tiny, catalogue_of, facts_of):
    project = tiny / ".consilience"

    def writes_catalogue(pid: int) -> bool:
        with suppress(OSError, ValueError):
            return json.loads((project / "catalogue.holder").read_text())["pid"] == pid
        return False

    def writes_fact(known: set[Path]) -> bool:
        return any(path not in known for path in project.rglob(".tmp-*"))

    codes = []
    for number in range(6):
        running = warm.start("distil", folder=tiny)
        known = set(project.rglob(".tmp-*"))
        moment = (lambda: writes_fact(known)) if number % 2 else (lambda: writes_catalogue(running.pid))  # noqa: B023
        codes.append(kill_once(running, moment))
    assert codes.count(-signal.SIGKILL) >= 4
    assert warm("distil", folder=tiny).code == 0
    assert catalogue_of(tiny) == catalogue_of(studied[0])
    assert facts_of(tiny).keys() == facts_of(studied[0]).keys()


@pytest.mark.slow
def test_the_console_script_killed_twenty_times(studied, program, tiny, catalogue_of, facts_of):
    script = Path(sys.executable).with_name("consilience")
    kept: dict[str, int] = {}
    for seconds in delays(20, 8.0):
        with subprocess.Popen(
            [script, "run"], cwd=tiny, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(seconds)
            process.kill()
        assert still_there(kept, facts_of(tiny))
        kept = facts_of(tiny)
    done = program("run", folder=tiny)
    assert (done.code, done.out) == (0, studied[1].out), done.err
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_the_first_interrupt_saves_and_says_how_to_go_on(studied, warm, tiny, catalogue_of):
    running = warm.start("distil", folder=tiny)
    until((tiny / ".consilience" / "run.holder").exists)
    running.send(signal.SIGINT)
    done = running.wait()
    assert done.code == 130
    assert done.out == ""
    assert done.err.splitlines()[-2:] == [
        "stopping after the current item; press Ctrl-C again to stop at once",
        "stopped; the same command goes on from here",
    ]
    assert warm("distil", folder=tiny).code == 0
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_who_is_told_to_end_says_how_to_go_on(studied, warm, tiny, catalogue_of):
    running = warm.start("distil", folder=tiny)
    until((tiny / ".consilience" / "run.holder").exists)
    running.send(signal.SIGTERM)
    done = running.wait()
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in done.err
    assert warm("distil", folder=tiny).code == 0
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_an_interrupt_stops_a_wait(warm, tiny):
    with locked(tiny / ".consilience" / "run.lock"):
        running = warm.start("ingest", "--wait-for-lock", "600", folder=tiny)
        for told in ("4 networks", "press Ctrl-C again"):
            until(lambda: told in (running.scratch / "err").read_text())  # noqa: B023
            running.send(signal.SIGINT)
        done = running.wait()
    assert done.code == 130
    assert done.err.splitlines()[-1] == "stopped; the same command goes on from here"


def test_a_second_run_is_told_who_is_at_work(warm, tiny):
    with locked(tiny / ".consilience" / "run.lock"):
        done = warm("run", folder=tiny)
        assert done.code == 5
        told = done.err.splitlines()[-2:]
        assert f"process {os.getpid()} on " in told[0]
        assert "is at work on it" in told[0]
        assert "--wait-for-lock" in told[1]
        assert warm("networks", folder=tiny).code == 4  # looking is allowed
    assert warm("ingest", folder=tiny).code == 0


def test_two_runs_at_once(studied, warm, tiny, catalogue_of):
    first = warm.start("distil", folder=tiny)
    until((tiny / ".consilience" / "run.holder").exists)
    first.send(signal.SIGSTOP)
    refused, waiting = warm("distil", folder=tiny), warm.start("distil", "--wait-for-lock", "600", folder=tiny)
    first.send(signal.SIGCONT)
    assert refused.code == 5
    assert f"process {first.pid} on " in refused.err
    one, other = first.wait(), waiting.wait()
    assert (one.code, other.code) == (0, 0), one.err + other.err
    assert one.out == other.out
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_a_reader_does_not_stop_a_run(studied, warm, tiny, catalogue_of):
    running = warm.start("distil", folder=tiny)
    codes = []
    while not running.ended():
        codes.append(warm("query", "SELECT count(*) FROM networks", folder=tiny).code)
    assert running.wait().code == 0
    assert set(codes) <= {0, 4}
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_a_reader_waits_for_a_writer(warm, tiny):
    with writing(tiny / ".consilience" / "catalogue.duckdb"):
        running = warm.start("networks", folder=tiny)
        time.sleep(0.3)
    done = running.wait()
    assert done.code == 4  # it got in, and there is nothing yet
    assert "no networks yet" in done.err


@pytest.mark.parametrize("log", [False, True])
def test_a_catalogue_that_was_deleted_is_rebuilt_from_the_results(studied, warm, tmp_path, catalogue_of, facts_of, log):
    folder = Path(shutil.copytree(studied[0], tmp_path / "tiny"))
    (folder / ".consilience" / "catalogue.duckdb").unlink()
    if log:
        (folder / ".consilience" / "catalogue.duckdb.wal").write_bytes(b"the log of another catalogue")
    before = facts_of(folder)
    assert warm("distil", folder=folder).code == 0
    assert facts_of(folder) == before
    assert catalogue_of(folder) == catalogue_of(studied[0])


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "flipped"])
def test_a_damaged_catalogue_is_told_and_what_to_do_helps(studied, warm, tmp_path, catalogue_of, facts_of, damage):
    folder = Path(shutil.copytree(studied[0], tmp_path / "tiny"))
    file = folder / ".consilience" / "catalogue.duckdb"
    content = bytearray(file.read_bytes())
    match damage:
        case "garbage":
            content[:] = b"garbage" * 5000
        case "cut":
            del content[20_000:]
        case "empty":
            content.clear()
        case "flipped":
            content[5000::997] = bytes(byte ^ 255 for byte in content[5000::997])
    file.write_bytes(content)
    before = facts_of(folder)
    for verb in ("distil", "networks"):
        done = warm(verb, folder=folder)
        assert done.code == 2, done.err
        told = done.err.splitlines()[-2:]
        assert told[0].startswith(f"error: {file}: cannot be read: ")
        assert told[1].startswith("hint: move it away and run")
    file.rename(file.with_suffix(".broken"))
    assert warm("distil", folder=folder).code == 0
    assert facts_of(folder) == before
    assert catalogue_of(folder) == catalogue_of(studied[0])


def size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


@pytest.mark.parametrize("position", [0, 30, 2000])
def test_a_damaged_log_costs_nothing_that_a_run_does_not_bring_back(
    studied, warm, tiny, catalogue_of, facts_of, position
):
    file = tiny / ".consilience" / "catalogue.duckdb.wal"
    for _ in range(3):
        running = warm.start("distil", folder=tiny)
        kill_once(running, lambda: size(file) > 4000)
    if size(file):
        content = bytearray(file.read_bytes())
        content[position : position + 8] = b"\xff" * 8
        file.write_bytes(content)
    done = warm("distil", folder=tiny)
    if done.code == 2:
        assert "cannot be read" in done.err
        file.with_suffix("").rename(file.with_suffix(".broken"))
        done = warm("distil", folder=tiny)
    assert done.code == 0, done.err
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_a_lost_result_is_made_again(studied, warm, tmp_path, catalogue_of, facts_of):
    folder = Path(shutil.copytree(studied[0], tmp_path / "tiny"))
    for stage in ("probe", "cluster"):
        next((folder / ".consilience" / "results" / stage).iterdir()).unlink()
    assert warm("distil", folder=folder).code == 0
    assert facts_of(folder).keys() == facts_of(studied[0]).keys()
    assert catalogue_of(folder) == catalogue_of(studied[0])
