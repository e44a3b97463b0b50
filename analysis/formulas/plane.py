"""Sums of weighted terms: planes over named variables, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .expression import Constant, Expression, Variable


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A linear function and a constant."""

    weights: Float[np.ndarray, " inputs"]
    constant: float

    def __call__(self, rows: Float[np.ndarray, "rows inputs"]) -> Float[np.ndarray, " rows"]:
        """Compute it for every row."""
        return np.asarray(rows @ self.weights + self.constant)

    def expression(self, names: Sequence[str]) -> Expression:
        """Write it in variables of these names; those without weight are left out."""
        return weighted_sum(zip(self.weights.tolist(), map(Variable, names), strict=True), self.constant)


def weighted_sum(terms: Iterable[tuple[float, Expression]], constant: float) -> Expression:
    """Add terms times their weights, and a constant; what counts nothing is left out."""
    total: Expression | None = None
    for weight, term in terms:
        if weight:
            part = term if weight == 1.0 else -term if weight == -1.0 else Constant(weight) * term
            total = part if total is None else total + part
    if total is None:
        return Constant(constant)
    return total + constant if constant else total
