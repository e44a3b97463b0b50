"""Outer functions that a law may be hidden in: its square may be a sum where itself is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .expression import Apply, Expression
from .problem import Problem
from .target import Rows

Array = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Outer:
    """What is done to values, its slope, how a formula of the result is turned back, and where it may be used."""

    name: str
    apply: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    undo: Callable[[Expression], Expression]
    positive: bool


OUTER = (
    Outer("square", np.square, lambda y: 2 * y, lambda e: Apply("sqrt", (e,)), True),
    Outer("reciprocal", lambda y: 1 / y, lambda y: -(y**-2.0), lambda e: 1.0 / e, False),
    Outer("log", np.log, lambda y: 1 / y, lambda e: Apply("exp", (e,)), True),
    Outer("over square", lambda y: y**-2.0, lambda y: -2 * y**-3.0, lambda e: 1.0 / Apply("sqrt", (e,)), True),
    Outer("exp", np.exp, np.exp, lambda e: Apply("log", (e,)), False),
    Outer("root", np.sqrt, lambda y: 0.5 / np.sqrt(y), lambda e: e**2.0, True),
)

APART = 0.02
"""Values nearer to zero than this, in standard deviations, cannot be inverted."""


def transformed(problem: Problem, outer: Outer) -> Problem | None:
    """Give the problem of a function of the values, None where that is not defined at all rows."""
    values = problem.values(problem.rows)
    scale = values.std()
    apart = np.abs(values).min() > APART * scale and (np.all(values > 0) or np.all(values < 0))
    if not (apart or outer.name == "exp") or (outer.positive and values.min() <= 0):
        return None
    if outer.name == "exp" and np.abs(values).max() > 30:
        return None

    def slopes(rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        return np.asarray(problem.slopes(rows) * outer.slope(problem.values(rows))[:, :, None])

    return replace(problem, values=lambda rows: outer.apply(problem.values(rows)), slopes=slopes)
