"""An environment for the peers of benchmarks/align.py."""

from __future__ import annotations

from pathlib import Path

import peers_environment as peers
from peers_environment import Environment

BASE = ("torch", "numpy", "scipy")
"""Installed first, together, so that no peer brings others."""
ASIDE = ("sinkhorn-rebasin==0.0.2", "torchviz==0.0.3", "graphviz==0.21")
"""Two peers are imported by the name `rebasin`: this one gets a folder of its own."""


def prepare(folder: Path | None) -> Environment:
    """Make the environment, or take the one that an earlier run has made."""
    lines = peers.requirements("align")
    return peers.prepare("align", folder, [*lines, *ASIDE], lambda made: _install(made, lines))


def _install(made: Environment, lines: list[str]) -> dict[str, str]:
    base = [line for line in lines if line.partition("==")[0] in BASE]
    requests = [base, *([line] for line in lines if line not in base)]
    found = {request[0].partition("==")[0]: peers.pip(made, *request) for request in requests}
    return found | {"sinkhorn-rebasin": peers.pip(made, "--no-deps", "--target", str(made.aside), *ASIDE)}
