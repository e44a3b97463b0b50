"""Refuse names that zoo.toml shows to be none, before any stage has run."""

from __future__ import annotations

from ...zoo.errors import BadInput, NotFound
from ..project.study import Study
from .distil_choice import NUMBERED, UNNAMED, Asked, near, unknown_term


def check_names(study: Study, asked: Asked) -> None:
    """Raise NotFound for an output, or a variable to write equations in, that zoo.toml does not have.

    Features by their numbers, units and modules are known later. Raises BadInput where photos are shown, which no
    variables describe.
    """
    if asked != Asked() and study.probe.image:
        raise BadInput(
            f"{study.path}: photos are no rows of named variables, in which an equation could be written",
            hint="consilience tune finds laws of single units; consilience show NETWORK/LAYER:UNIT tells them",
        )
    if asked.output and not _is_output(study, asked.output):
        outputs = [output.name for output in study.manifest.outputs]
        hint = (
            near(asked.output, outputs) if outputs else "zoo.toml names none; consilience features lists them as F1, F2"
        )
        raise NotFound(f"no output {asked.output[:80]!r}", hint=hint)
    if not asked.terms:
        return
    known = _variables(study, asked.inner)
    for name in asked.terms:
        unnamed = asked.inner and UNNAMED.fullmatch(name)
        if not (name in known or unnamed or _is_output(study, name)):
            raise unknown_term(name, known, asked)


def _is_output(study: Study, name: str) -> bool:
    """Tell whether it is an output by its name, or may be a feature by its number."""
    names = {output.name for output in study.manifest.outputs}
    return bool(NUMBERED.fullmatch(name)) or not names.isdisjoint((name, name.upper()))


def _variables(study: Study, module: str) -> list[str]:
    if not module:
        return [*(variable.name for variable in study.probe.variables), *(d.name for d in study.probe_table.derived)]
    tables = [table for table in study.manifest.distil.inner if table.module == module]
    return [name for table in tables for name in (*table.variables, *(part.name for part in table.derived))]
