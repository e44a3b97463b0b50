"""Whatever a job does, it costs one refusal: it neither hangs nor stays nor says anything to the user."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consilience.zoo import sandbox as sandbox_module
from consilience.zoo import warden_process
from consilience.zoo.errors import BadInput, Refused
from consilience.zoo.sandbox import Limits, Outcome, Sandbox, in_order

IMPORT = "warden:import_module"  # a job that runs what a test wrote
MODULES = {
    "sleeps": "import os, sys, time; open(os.environ['NOTE'], 'w').write(str(os.getpid())); time.sleep(60)",
    "spins": "while True: pass",
    "aborts": "import os; os.abort()",
    "leaves": "import os; os._exit(0)",
    "fails": "import os; os._exit(3)",
    "eats": "bytearray(1 << 40)",
    "eats_slowly": "l = []\nwhile True: l.append(bytearray(1 << 24))",
    "talks": "import os, sys; print('SAID'); print('SAID', file=sys.stderr); os.write(1, b'A'); os.write(2, b'B')",
    "forks": "import os, time\nif os.fork(): open(os.environ['NOTE'], 'w').write('x')\nelse: time.sleep(60)",
    "raises": "raise ZeroDivisionError",
    "needs": "import there_is_no_such_module",
    "recurses": "def f(): f()\nf()",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "writes": "open(__import__('os').environ['NOTE'], 'wb').write(bytes(1 << 22))",
    "opens": "files = [open('/dev/null') for _ in range(10000)]",
    "reads": "import sys; open(__import__('os').environ['NOTE'], 'w').write(repr(open(0).read()))",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def sandbox(folder: Path) -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("NOTE", str(folder / "note"))
        patch.delenv("CONSILIENCE_DEBUG", raising=False)
        with Sandbox(limits=Limits(seconds=20.0)) as sandbox:
            yield sandbox


def refused(sandbox: Sandbox, name: str, limits: Limits | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        sandbox.call(IMPORT, limits=limits, name=name)
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


def test_a_job_gives_its_value_or_its_refusal(sandbox: Sandbox) -> None:
    assert sandbox.call("store:_safe", name="ab") == "ab"
    with pytest.raises(Refused, match="does not exist") as caught:
        sandbox.call("store:open_regular", path="/none/there")
    assert caught.value.code == "missing"
    assert caught.value.hint == "correct path in zoo.toml"


@pytest.mark.parametrize(
    ("name", "code", "match"),
    [
        ("aborts", "crashed", "crash (signal 6)"),
        ("leaves", "crashed", "answered nothing"),
        ("fails", "crashed", "ended early"),
        ("raises", "crashed", "breaks its reader (ZeroDivisionError)"),
        ("recurses", "crashed", "breaks its reader (RecursionError)"),
        ("eats", "memory", "needs more than 2,048 MB of memory"),
        ("eats_slowly", "memory", "needs more than 2,048 MB of memory"),
        ("killed", "memory", "needs more than"),
        ("needs", "missing-package", "needs the package there_is_no_such_module"),
        ("opens", "crashed", "OSError"),
    ],
)
def test_what_goes_wrong_is_one_refusal(sandbox: Sandbox, name: str, code: str, match: str) -> None:
    error = refused(sandbox, name)
    assert error.code == code
    assert match in str(error)


@pytest.mark.parametrize("name", ["sleeps", "spins"])
def test_time_is_limited(sandbox: Sandbox, name: str) -> None:
    sandbox.call("store:_safe", name="ab")
    begun = time.monotonic()
    error = refused(sandbox, name, Limits(seconds=0.5))
    assert error.code == "timed-out"
    assert time.monotonic() - begun < 10


def test_a_refusal_says_what_was_done(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match="is not run after 0 seconds"):
        sandbox.call(IMPORT, limits=Limits(seconds=0.4), done="run", name="spins")
    with pytest.raises(Refused, match="needs more than 2,048 MB of memory to be built"):
        sandbox.call(IMPORT, done="built", name="eats")


def test_processor_time_is_limited_too(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sandbox_module, "asdict", lambda limits: {"seconds": 0.1, "memory": 1 << 30, "file": 1, "files": 64}
    )
    assert refused(sandbox, "spins").code == "timed-out"


def test_files_are_limited(sandbox: Sandbox, folder: Path) -> None:
    assert refused(sandbox, "writes", Limits(file=1 << 20)).code == "crashed"
    assert (folder / "note").stat().st_size <= 1 << 20


def test_nothing_reaches_the_user_or_comes_from_him(
    sandbox: Sandbox, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused(sandbox, "talks")  # a module is no JSON
    refused(sandbox, "reads")
    assert (folder / "note").read_text() == "''"
    assert capfd.readouterr() == ("", "")


def test_a_child_leaves_nothing_behind(sandbox: Sandbox, folder: Path) -> None:
    (folder / "note").write_text("")
    refused(sandbox, "forks")
    (warden,) = sandbox._wardens.values()
    group = {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == warden._process.pid}
    assert group == set()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_an_answer_that_is_too_long(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden_process, "LARGEST_ANSWER", 1 << 20)
    monkeypatch.setattr(sandbox_module, "LARGEST_ANSWER", 1 << 20)
    with pytest.raises(Refused, match="far too many words") as caught:
        sandbox.call("description:_text", value="x" * (4 << 20))
    assert caught.value.code == "bomb"


@pytest.mark.parametrize("job", ["os:abort", "warden:os.abort", "../x:y", "warden", "none:none"])
def test_only_functions_of_this_package_are_jobs(sandbox: Sandbox, job: str) -> None:
    with pytest.raises(Refused, match=r"breaks its reader|needs the package"):
        sandbox.call(job)


def test_outcomes_come_in_order_and_several_at_once(sandbox: Sandbox) -> None:
    names = [f"n{n}" if n % 5 else "not a name!" for n in range(40)]
    found = list(sandbox.map("store:_safe", ({"name": name} for name in names)))
    assert [outcome.value for outcome in found] == [name if " " not in name else None for name in names]
    assert [outcome.refusal is None for outcome in found] == [" " not in name for name in names]
    assert isinstance(found[0], Outcome)


def test_threads_share_a_sandbox(sandbox: Sandbox) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(sandbox.call("store:_safe", name=f"t{n}"))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"t{n}" for n in range(8)]


def test_items_are_begun_only_a_little_ahead() -> None:
    begun: list[int] = []
    made = in_order(lambda n: begun.append(n) or n, iter(range(1000)), workers=2)
    assert next(made) == 0
    assert len(begun) < 20
    made.close()


def test_a_warden_that_was_killed_is_replaced(sandbox: Sandbox) -> None:
    sandbox.call("store:_safe", name="ab")
    (warden,) = sandbox._wardens.values()
    os.kill(warden._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert sandbox.call("store:_safe", name="ab") == "ab"


def test_a_warden_that_dies_with_its_job_is_replaced(sandbox: Sandbox) -> None:
    (warden,) = sandbox._wardens.values()
    threading.Timer(1.0, os.kill, (warden._process.pid, signal.SIGKILL)).start()
    assert refused(sandbox, "sleeps").code == "crashed"
    assert sandbox.call("store:_safe", name="ab") == "ab"


def test_what_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Sandbox() as sandbox, pytest.raises(BadInput, match="does not start with numpy") as caught:
        sandbox.call("store:_safe", preload=("numpy",), name="ab")
    assert "import consilience.zoo.warden, numpy" in caught.value.hint


def test_preloaded_modules_get_a_warden_of_their_own(sandbox: Sandbox) -> None:
    assert sandbox.call("store:_safe", preload=("there_is_no_such_module", "zlib"), name="ab") == "ab"
    assert len(sandbox._wardens) == 2
    sandbox.close()
    assert sandbox._wardens == {}
    assert sandbox.call("store:_safe", name="ab") == "ab"


def test_the_way_of_a_fault_is_told_for_debugging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("CONSILIENCE_DEBUG", "1")
    with Sandbox() as sandbox:
        assert any("ZeroDivisionError" in note for note in refused(sandbox, "raises").__notes__)


FORKED = """
import os, sys
from consilience.zoo.sandbox import Sandbox
with Sandbox() as sandbox:
    if sys.argv[2] == "before":
        sandbox.call("store:_safe", name="ab")
    if os.fork() == 0:
        value = sandbox.call("store:_safe", name="child")
        sandbox.close()
        open(sys.argv[1], "w").write(value)
        os._exit(0)
    os.wait()
    assert sandbox.call("store:_safe", name="ab") == "ab"
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_process_has_wardens_of_its_own(tmp_path: Path, when: str) -> None:
    subprocess.run([sys.executable, "-c", FORKED, tmp_path / "note", when], check=True, timeout=120)
    assert (tmp_path / "note").read_text() == "child"


CLOSED = """
import sys
from consilience.zoo.sandbox import Sandbox
with Sandbox() as sandbox:
    open(sys.argv[1], "w").write(sandbox.call("store:_safe", name="ab"))
"""


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_standard_streams_may_be_closed(tmp_path: Path, closed: str) -> None:
    command = f'"{sys.executable}" -c "$0" "$1" {closed}'
    subprocess.run(["sh", "-c", command, CLOSED, tmp_path / "note"], check=True, timeout=120)
    assert (tmp_path / "note").read_text() == "ab"


ORPHANED = """
import os, sys
from consilience.zoo.sandbox import Sandbox
sandbox = Sandbox()
sandbox.call("store:_safe", name="ab")
if os.fork() == 0:  # it holds the socket open, and lives on
    import time
    time.sleep(60)
    os._exit(0)
sandbox.call("warden:import_module", name="sleeps")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="watches by the means of Linux")
def test_all_ends_with_the_program(folder: Path) -> None:
    note = folder / "pid"
    environment = os.environ | {"PYTHONPATH": str(folder), "NOTE": str(note)}
    with subprocess.Popen([sys.executable, "-c", ORPHANED], env=environment, start_new_session=True) as program:
        try:
            until = time.monotonic() + 60
            while not (note.exists() and note.read_text()) and time.monotonic() < until:
                time.sleep(0.05)
            child = int(note.read_text())
            warden = _parent(child)
            program.kill()
            while (_alive(child) or _alive(warden)) and time.monotonic() < until:
                time.sleep(0.05)
            assert not _alive(child)
            assert not _alive(warden)
        finally:
            os.killpg(program.pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_sandbox_that_nobody_closed_ends_with_its_last_use() -> None:
    sandbox = Sandbox()
    sandbox.call("store:_safe", name="ab")
    (warden,) = sandbox._wardens.values()
    pid = warden._process.pid
    del sandbox, warden
    gc.collect()
    assert not _alive(pid)


def test_the_folder_that_one_stands_in_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with Sandbox() as sandbox:
        assert sandbox.call("store:_safe", name="ab") == "ab"
    assert not (tmp_path / "ran").exists()
