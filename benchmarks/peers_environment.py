"""An environment of their own for the peers of a benchmark: what pip can get of them, and why not the rest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """How to run peers, and what pip said of those that it could not install."""

    folder: Path
    failed: dict[str, str]

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"

    @property
    def aside(self) -> Path:
        """A folder for a peer that is imported by the name of another."""
        return self.folder / "aside"


def requirements(name: str) -> list[str]:
    """Read the lines of a benchmark's requirements."""
    text = Path(__file__).with_name(f"requirements-{name}.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def prepare(
    name: str,
    folder: Path | None,
    lines: Sequence[str],
    install: Callable[[Environment], dict[str, str]],
) -> Environment:
    """Make the environment that these lines ask for, or take the one that an earlier run has made."""
    mark = hashlib.sha256("\n".join([sys.version, *lines]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    made = Environment((folder or cache / "consilience" / f"{name}-peers") / mark, {})
    done = made.folder / "done.json"
    if not done.exists():
        print(f"setting up {made.folder} (once, some minutes: torch is large)", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", made.folder], check=True)
        done.write_text(json.dumps(install(made)))
    failed = {peer: reason for peer, reason in json.loads(done.read_text()).items() if reason}
    return Environment(made.folder, failed)


def pip(made: Environment, *arguments: str) -> str:
    """Install; give pip's last error if it could not, else nothing."""
    command = [made.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return ""
    said = done.stderr.strip().splitlines() or ["pip failed"]
    return [said[-1], *(line.strip() for line in said if "error:" in line.lower())][-1]
