"""Outer functions that a law may be hidden in: its square may be a sum where itself is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Apply, Expression
from .problem import Problem
from .target import Rows

Array = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Outer:
    """What is done to values, its slope, how a formula of the result is turned back, and the least value it takes.

    Values are in standard deviations there. Functions of both signs are squared by nobody.
    """

    apply: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    undo: Callable[[Expression], Expression]
    least: float


APART = 0.02
"""Values nearer to zero than this, in standard deviations, cannot be inverted."""
NEARLY = -0.1
"""Lineages may stray so far below zero where the quantity is not negative."""

OUTER = (
    Outer(np.square, lambda y: 2 * y, lambda e: Apply("sqrt", (e,)), NEARLY),
    Outer(lambda y: 1 / y, lambda y: -(y**-2.0), lambda e: 1.0 / e, APART),
    Outer(np.log, lambda y: 1 / y, lambda e: Apply("exp", (e,)), APART),
    Outer(lambda y: y**-2.0, lambda y: -2 * y**-3.0, lambda e: 1.0 / Apply("sqrt", (e,)), APART),
    Outer(np.exp, np.exp, lambda e: Apply("log", (e,)), -np.inf),
    Outer(np.sqrt, lambda y: 0.5 / np.sqrt(y), lambda e: e**2.0, APART),
)

STEEPEST = 30.0
"""No exponential is taken of larger values."""


def transformed(problem: Problem, outer: Outer) -> Problem | None:
    """Give the problem of a function of the values, None where that is not defined at all rows."""
    values = problem.values(problem.rows)
    if values.min() < outer.least * values.std() or (outer.least == -np.inf and np.abs(values).max() > STEEPEST):
        return None

    def slopes(rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        return np.asarray(problem.slopes(rows) * outer.slope(problem.values(rows))[:, :, None])

    return replace(problem, values=lambda rows: outer.apply(problem.values(rows)), slopes=slopes)
