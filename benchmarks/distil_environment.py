"""An environment for the peers of benchmarks/distil.py: what pip can get of them, and why not the rest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements-distil.txt")
PEERS = ("pyoperon", "gplearn", "rils-rols", "pykan", "psrn")


@dataclass(frozen=True)
class Environment:
    """How to run peers, and what pip said of those that it could not install."""

    folder: Path
    failed: dict[str, str]

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def prepare(folder: Path | None) -> Environment:
    """Make the environment, or take the one that an earlier run has made."""
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    mark = hashlib.sha256("\n".join([sys.version, *lines]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    made = Environment((folder or cache / "consilience" / "distil-peers") / mark, {})
    done = made.folder / "done.json"
    if not done.exists():
        print(f"setting up {made.folder} (once, some minutes: torch is large)", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", made.folder], check=True)
        done.write_text(json.dumps({line.partition("==")[0]: _pip(made, *line.split()) for line in lines}))
    found = json.loads(done.read_text())
    return Environment(made.folder, {name: reason for name, reason in found.items() if reason and name in PEERS})


def _pip(made: Environment, *arguments: str) -> str:
    """Install; give the first error of pip's if it could not, else nothing."""
    command = [made.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    errors = [line.strip() for line in done.stderr.splitlines() if "error:" in line.lower()]
    return (errors or ["pip failed"])[-1] if done.returncode else ""
