"""A function that may be asked anywhere: its variables, its values and its slopes, lineage by lineage.

The reducer turns one problem into smaller ones: variables are merged into compounds, or a variable is
split off and what is left is a function of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from ..formulas.derivative import derivative
from ..formulas.expression import Expression, Variable, evaluate, variables
from .target import Functions, Rows

Slopes = Callable[[Rows], Float[np.ndarray, "lineages samples inputs"]]

STEP = 1e-3
"""Half a central difference, in standard deviations of an input."""


@dataclass(frozen=True, slots=True)
class Compound:
    """A variable of a problem: an expression in the inputs, and which columns of the rows it is made of."""

    expression: Expression
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A function of compounds; no input belongs to two of them.

    `values` gives lineages × samples of rows, `slopes` their derivatives with respect to the inputs; `rows` are
    points where the networks were trained.
    """

    names: tuple[str, ...]
    compounds: tuple[Compound, ...]
    values: Callable[[Rows], Float[np.ndarray, "lineages samples"]]
    slopes: Slopes
    rows: Rows
    derived: Mapping[str, Expression] = field(default_factory=dict)

    def columns(self, rows: Rows) -> dict[str, Float[np.ndarray, " samples"]]:
        """Name the columns of rows, those of derived variables too."""
        inputs = dict(zip(self.names, rows.T, strict=True))
        return inputs | {name: evaluate(formula, inputs) for name, formula in self.derived.items()}

    def at_hand(self) -> list[str]:
        """Name the derived variables that are made of this problem's inputs only."""
        inputs = {self.names[place] for compound in self.compounds for place in compound.inputs}
        return [name for name, formula in self.derived.items() if inputs.issuperset(variables(formula))]

    def of(self, compound: Compound, rows: Rows) -> Float[np.ndarray, " samples"]:
        """Compute one compound at every row."""
        return evaluate(compound.expression, self.columns(rows))


def whole(functions: Functions, *, samples: int, seed: int, linked: bool = False) -> Problem:
    """Start from the functions of all inputs; those known up to a link give the directions of their slopes only."""
    rows = functions.draw(samples, seed)
    compounds = tuple(Compound(Variable(name), (place,)) for place, name in enumerate(functions.names))
    slopes = functions.slopes or differences(functions.values, rows.std(axis=0))
    if linked:
        slopes = directions(slopes, rows)
    return Problem(functions.names, compounds, functions.values, slopes, rows, functions.derived)


def directions(slopes: Slopes, rows: Rows) -> Slopes:
    """Make slopes of length 1 in standard deviations of the inputs, turned so that the lineages agree.

    What is left does not know which monotone function of the quantity a lineage has (Wetzel 2024,
    arXiv 2401.04978, equation 7).
    """
    spread = np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0)

    def unit(rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        found = slopes(rows) * spread
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-300))

    signs = orientation(unit(rows).reshape(-1, rows.size))[:, None, None]
    return lambda rows: signs * unit(rows) / spread


def orientation(vectors: Float[np.ndarray, "lineages numbers"]) -> Float[np.ndarray, " lineages"]:
    """Choose a sign for each of several vectors so that they point the same way; the first keeps its own."""
    leading = np.linalg.eigh(vectors @ vectors.T)[1][:, -1]
    return np.asarray(np.where(leading * (leading[0] or 1.0) < 0, -1.0, 1.0))


def differences(
    values: Callable[[Rows], Float[np.ndarray, "lineages samples"]], spread: Float[np.ndarray, " inputs"]
) -> Slopes:
    """Take central differences where a function has no gradient."""

    def slopes(rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        found = []
        for place, step in enumerate(STEP * np.where(spread > 0, spread, 1.0)):
            move = np.zeros(rows.shape[1])
            move[place] = step
            found.append((values(rows + move) - values(rows - move)) / (2 * step))
        return np.stack(found, axis=-1)

    return slopes


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A problem at its rows: compounds as columns, and how fast each lineage changes with each of them."""

    problem: Problem
    columns: Float[np.ndarray, "samples compounds"]
    values: Float[np.ndarray, "lineages samples"]
    partials: Float[np.ndarray, "lineages samples compounds"]


def survey(problem: Problem) -> Field:
    """Ask a problem for values and slopes at its rows.

    The slope along a compound is the least-squares one over its inputs: of a function of z(x, y),
    (f_x z_x + f_y z_y) / (z_x² + z_y²).
    """
    slopes = problem.slopes(problem.rows)
    columns = np.zeros((len(problem.rows), len(problem.compounds)))
    partials = np.zeros((*slopes.shape[:2], len(problem.compounds)))
    for place, compound in enumerate(problem.compounds):
        columns[:, place] = problem.of(compound, problem.rows)
        partials[:, :, place] = _along(problem, compound, slopes)
    return Field(problem, columns, problem.values(problem.rows), partials)


def _along(
    problem: Problem, compound: Compound, slopes: Float[np.ndarray, "lineages samples inputs"]
) -> Float[np.ndarray, "lineages samples"]:
    named = problem.columns(problem.rows)
    inner = np.stack(
        [evaluate(derivative(compound.expression, problem.names[place]), named) for place in compound.inputs], axis=-1
    )
    with np.errstate(all="ignore"):
        along = (slopes[:, :, list(compound.inputs)] * inner).sum(axis=-1) / np.square(inner).sum(axis=-1)
    return np.where(np.isfinite(along), along, 0.0)


def merged(problem: Problem, left: int, right: int, expression: Expression) -> Problem:
    """Put one compound in the place of two."""
    one, other = problem.compounds[left], problem.compounds[right]
    kept = [compound for place, compound in enumerate(problem.compounds) if place not in (left, right)]
    return replace(problem, compounds=(*kept, Compound(expression, (*one.inputs, *other.inputs))))


def without(problem: Problem, places: set[int]) -> Problem:
    """Leave out compounds on which the function does not depend."""
    return replace(problem, compounds=tuple(c for place, c in enumerate(problem.compounds) if place not in places))
