"""Sets of laws behind trained networks, for benchmarks/distil.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from consilience.analysis.distillation.target import Columns, Target
from consilience.analysis.formulas.expression import (
    Expression,
    complexity,
    constants,
    evaluate,
    variables,
    with_constants,
)
from consilience.analysis.formulas.fit import fit

DATA = Path(__file__).resolve().parent.parent / "data"
sys.path.insert(1, str(DATA / "recipes"))

from law_cases import zoo_target  # noqa: E402
from laws import FEYNMAN, SYMTORCH, Law  # noqa: E402
from mixture_units import is_mixture, mixture_target  # noqa: E402
from oracle import LEFT_OVER, MOVED, STEPS, draw, exact  # noqa: E402
from random_laws import random_laws  # noqa: E402

GROUPS = ("B4", "B5", "random")
SEED, COUNT = 0, 10
"""Of the random laws: the first ones, not chosen ones."""
ERROR = 3e-3
"""What networks of 1 - R² = 1e-5 err by, in standard deviations of the law."""


@dataclass(frozen=True)
class Case:
    """A quantity that networks have learned, how to open it with so many rows, and whether a formula is its law."""

    group: str
    key: str
    folder: Path
    open: Callable[[int], Target]
    right: Callable[[Expression, Target], bool]

    @property
    def trained(self) -> bool:
        return (self.folder / "zoo.toml").exists()


def write_values(target: Target, file: Path) -> None:
    """Write what peers get: points, and the mean of the networks there."""
    sample = target.fit
    np.savez(file, inputs=np.column_stack(list(sample.columns.values())), values=sample.values.mean(axis=0))


def cases(groups: Iterable[str]) -> list[Case]:
    """List the cases of some sets; those whose networks are not there yet are listed too."""
    laws = {"B4": SYMTORCH.values(), "B5": FEYNMAN.values(), "random": random_laws(COUNT, seed=SEED)}
    folders = {"B4": DATA / "symtorch", "B5": DATA / "laws", "random": DATA / "random"}
    return [_case(group, law, folders[group] / law.folder) for group in groups for law in laws[group]]


def case(group: str, key: str) -> Case:
    """Find one case."""
    return next(one for one in cases([group]) if one.key == key)


def _case(group: str, law: Law, folder: Path) -> Case:
    if law.key == "mixtures":
        return Case(group, law.key, folder, lambda rows: mixture_target(folder, samples=rows), is_mixture)
    return Case(group, law.key, folder, lambda rows: zoo_target(folder, samples=rows), partial(_is_law, law))


def _is_law(law: Law, found: Expression, target: Target) -> bool:
    """Tell whether a formula is the law, as the oracle of data/recipes has it, or has it with numbers to spare.

    Fitted to the law nothing may be left over, and a number may move by more than the oracle allows only where that
    changes less than networks err: most programs write an offset of 1e-4, or a factor of 1.0001.
    """
    if exact(found, law.expression, law.box):
        return True
    if not set(variables(found)) <= set(law.box) or complexity(found) > 2 * complexity(law.expression) + 6:
        return False
    columns = draw(law.box)
    values = evaluate(law.expression, columns)
    fitted = fit(found, columns, values, steps=STEPS)
    if not fitted.error <= LEFT_OVER * float(values.std()):
        return False
    return all(off <= ERROR * float(values.std()) for off in _moves(found, fitted.expression, columns))


def _moves(before: Expression, after: Expression, columns: Columns) -> list[float]:
    """Say how much the values change by each number that has moved too far, by itself."""
    old, new = np.array(constants(before)), np.array(constants(after))
    far = np.flatnonzero(np.abs(new - old) > MOVED * np.abs(old))
    values = evaluate(before, columns)
    changed = [with_constants(before, np.where(np.arange(len(old)) == place, new, old).tolist()) for place in far]
    return [float(np.sqrt(np.mean((evaluate(one, columns) - values) ** 2))) for one in changed]
