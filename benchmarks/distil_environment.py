"""An environment for the peers of benchmarks/distil.py."""

from __future__ import annotations

from pathlib import Path

import peers_environment as peers
from peers_environment import Environment

PEERS = ("pyoperon", "gplearn", "rils-rols", "pykan", "psrn")


def prepare(folder: Path | None) -> Environment:
    """Make the environment, or take the one that an earlier run has made; of what fails only peers are told."""
    lines = peers.requirements("distil")
    made = peers.prepare(
        "distil",
        folder,
        lines,
        lambda made: {line.partition("==")[0]: peers.pip(made, *line.split()) for line in lines},
    )
    return Environment(made.folder, {name: reason for name, reason in made.failed.items() if name in PEERS})
