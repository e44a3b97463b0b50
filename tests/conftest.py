"""What all tests share: shapes are checked, and a tiny zoo of real checkpoints with a program to run on it."""

from __future__ import annotations

import atexit
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from jaxtyping import install_import_hook

# Shapes and types in signatures are checked in every test, not believed. Left out are the innermost loops of
# fitting and of symmetries, which the checks would slow down fivefold; their callers are checked.
HOT = {
    "compiled",
    "expression",
    "kernel_projection",
    "kernel_shapes",
    "least_squares",
    "simplify",
    "symmetry_axes",
    "tuning_fit",
}
ROOT = Path(__file__).parents[1]
CHECKED = [
    ".".join(("consilience", *path.relative_to(ROOT).with_suffix("").parts))
    for folder in ("zoo", "analysis", "cli")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.stem not in HOT | {"__init__"}
]
install_import_hook(CHECKED, "beartype.beartype")


HERE = Path(__file__).parent
START = HERE / "start"
"""Python starts with what lies there, here and in every process that a test begins."""
os.environ["PYTHONPATH"] = os.pathsep.join([str(START), *filter(None, [os.environ.get("PYTHONPATH")])])
STARTED = runpy.run_path(str(START / "sitecustomize.py"))
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # the warm program can fork
    "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # also on macOS
    "NUMBA_DISABLE_JIT": "1",  # which takes longer than umap on few units
    "COLUMNS": "80",
}

TINY = """\
name = "tiny"
about = "4 MLPs trained apart on y = 3*a - 2*b"

[[networks]]
path = "networks/*.safetensors"

[[outputs]]
name = "y"
unit = "m"

[probe]
samples = 64

[[probe.variables]]
name = "a"
low = -1.0
high = 1.0
unit = "m"

[[probe.variables]]
name = "b"
low = -1.0
high = 1.0
unit = "m"

[distil]
engine = "none"
restarts = 1
evaluations = 2000
samples = 64
"""


@dataclass(frozen=True)
class Done:
    """What a program left: exit code (negative for a signal), stdout and stderr."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Running:
    """A process of the warm program."""

    pid: int
    scratch: Path
    program: WarmProgram

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self) -> bool:
        return json.loads(self.program.ask({"wait": self.pid, "patient": False})) is not None

    def wait(self) -> Done:
        code = int(self.program.ask({"wait": self.pid, "patient": True}))
        out, err = ((self.scratch / name).read_text("utf-8") for name in ("out", "err"))
        shutil.rmtree(self.scratch)
        return Done(code, out, err)


class WarmProgram:
    """The program with its imports behind it: every command is a process of its own, forked from a warm one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, HERE / "warm_program.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT,
        )

    def ask(self, request: Mapping[str, object]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return self._server.stdout.readline()

    def start(self, *arguments: str | Path, folder: Path) -> Running:
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        for name in ("out", "err"):
            (scratch / name).touch()
        request = {"arguments": [*map(str, arguments)], "folder": str(folder), "scratch": str(scratch)}
        return Running(int(self.ask(request)), scratch, self)

    def __call__(self, *arguments: str | Path, folder: Path) -> Done:
        return self.start(*arguments, folder=folder).wait()

    def close(self) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.kill()
        self._server.wait()
        self._server.stdin.close()
        self._server.stdout.close()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProgram]:
    """Run `consilience ARGUMENTS` without waiting for imports."""
    program = WarmProgram(tmp_path_factory.mktemp("warm"))
    yield program
    program.close()


@pytest.fixture(scope="session")
def program() -> Callable[..., Done]:
    """Run the console script, as a user does."""
    script = Path(sys.executable).with_name("consilience")

    def run(*arguments: str | Path, folder: Path, **environment: str) -> Done:
        done = subprocess.run(
            [script, *arguments],
            cwd=folder,
            env=os.environ | ENVIRONMENT | environment,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four MLPs trained apart, each for a blink, on y = 3a - 2b, with a zoo.toml; for copying only."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("pristine") / "tiny"
    (folder / "networks").mkdir(parents=True)
    activations = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}
    with torch.random.fork_rng(devices=[]):
        for seed, (name, width) in enumerate([("tanh", 6), ("relu", 8), ("tanh", 8), ("silu", 6)]):
            torch.manual_seed(seed)
            module = torch.nn.Sequential(torch.nn.Linear(2, width), activations[name](), torch.nn.Linear(width, 1))
            _train(module)
            file = folder / "networks" / f"{name}-{seed}.safetensors"
            save_file(module.state_dict(), file, metadata={"activation": name, "format": "pt"})
    (folder / "zoo.toml").write_text(TINY)
    return folder


def _train(module) -> None:  # torch is not imported here
    import torch

    inputs = torch.rand(512, 2) * 2 - 1
    wanted = 3 * inputs[:, :1] - 2 * inputs[:, 1:]
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        error = (module(inputs) - wanted).square().mean()
        error.backward()
        return error

    optimiser.step(loss)


@pytest.fixture
def tiny(pristine: Path, tmp_path: Path) -> Path:
    """A tiny zoo of one's own on which nothing was run."""
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def studied(pristine: Path, tmp_path_factory: pytest.TempPathFactory, warm: WarmProgram) -> tuple[Path, Done]:
    """A tiny zoo after `consilience run`, and what that said; to look at, not to change."""
    folder = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("studied") / "tiny"))
    return folder, warm("run", folder=folder)


def tables(folder: Path) -> dict[str, list[str]]:
    """Read all tables of a project's catalogue, rows in one order and as text, since NaN equals nothing."""
    with duckdb.connect(str(folder / ".consilience" / "catalogue.duckdb"), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
        return {name: sorted(map(repr, connection.execute(f'FROM "{name}"').fetchall())) for name in names}


def facts(folder: Path) -> dict[str, int]:
    """List the files that hold facts (checkpoints, results) with the time of their last change."""
    project = folder / ".consilience"
    return {
        str(path.relative_to(project)): path.stat().st_mtime_ns
        for stage in ("objects", "results")
        for path in sorted((project / stage).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="session")
def catalogue_of() -> Callable[[Path], dict[str, list[str]]]:
    """Read all tables of a project."""
    return tables


@pytest.fixture(scope="session")
def facts_of() -> Callable[[Path], dict[str, int]]:
    """List the files of facts of a project with their times."""
    return facts


@atexit.register
def silence() -> None:
    """Keep the binding of duckdb from listing, after pytest's last line, what is still alive as Python ends."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
