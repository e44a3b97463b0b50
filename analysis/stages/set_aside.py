"""Set aside: a network that fails in what is asked of it is noted with the reason, and the others go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ...zoo.errors import BadInput, Refused
from ..project.catalogue import Catalogue
from ..project.study import Study

STAGE = "set aside"
"""The stage under which such networks are noted, until checkpoints are read again."""


@contextmanager
def setting_aside(study: Study, network: str) -> Iterator[None]:
    """Note that a network failed, if it does, and why."""
    try:
        yield
    except (BadInput, Refused) as failure:
        with study.writing() as catalogue:
            catalogue.mark(STAGE, network, "", {"what": failure.what, "hint": failure.hint})


def forget_failures(catalogue: Catalogue) -> None:
    """Drop what was noted: every network has another chance."""
    catalogue.forget(STAGE, [*catalogue.all_indexed(STAGE)])


def set_aside(study: Study) -> tuple[str, ...]:
    """Say for every network that failed in what was last asked of it what is wrong and what to do."""
    return tuple(f"set aside: {name} {what}; hint: {hint}" for name, what, hint in _noted(study))


def none_left(study: Study, asked: str) -> BadInput:
    """Give the error to raise where all networks failed in what was asked."""
    noted = _noted(study)
    why = ", ".join(f"{name} {what}" for name, what, _ in noted[:3])
    return BadInput(f"{study.path}: no network can be {asked}: {why}", hint=noted[0][2] if noted else "")


def _noted(study: Study) -> list[tuple[str, str, str]]:
    with study.reading() as catalogue:
        rows = {str(row["subject"]): json.loads(row["settings"]) for row in catalogue.select("stages", stage=STAGE)}
    return [(name, why["what"], why["hint"]) for name, why in sorted(rows.items())]
