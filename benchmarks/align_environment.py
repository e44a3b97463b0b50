"""An environment for the peers of benchmarks/align.py: what pip can get of them, and why not the rest."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements-align.txt")
BASE = ("torch", "numpy", "scipy")
"""Installed first, together, so that no peer brings others."""
ASIDE = ("sinkhorn-rebasin==0.0.2", "torchviz==0.0.3", "graphviz==0.21")
"""Two peers are imported by the name `rebasin`: this one gets a folder of its own."""


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
        return self.folder / "aside"


def prepare(folder: Path | None) -> Environment:
    """Make the environment, or take the one that an earlier run has made."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    mark = hashlib.sha256("\n".join([sys.version, *lines, *ASIDE]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    made = Environment((folder or cache / "consilience" / "align-peers") / mark, {})
    done = made.folder / "done.json"
    if not done.exists():
        print(f"setting up {made.folder} (once, a minute or more: torch is large)", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", made.folder], check=True)
        done.write_text(json.dumps(_install(made, lines)))
    return Environment(made.folder, json.loads(done.read_text()))


def _install(made: Environment, lines: list[str]) -> dict[str, str]:
    base = [line for line in lines if line.partition("==")[0] in BASE]
    requests = [base, *([line] for line in lines if line not in base)]
    found = {request[0].partition("==")[0]: _pip(made, *request) for request in requests}
    found["sinkhorn-rebasin"] = _pip(made, "--no-deps", "--target", str(made.aside), *ASIDE)
    return {name: reason for name, reason in found.items() if reason}


def _pip(made: Environment, *arguments: str) -> str:
    """Install; give the last thing that pip said if it could not, else nothing."""
    command = [made.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""
