"""Sums of simple functions whose gradient is parallel to a given one: laws up to a link, in closed form.

T has the direction g everywhere if g_j ∂T/∂x_i = g_i ∂T/∂x_j for all i, j. For T = Σ c φ(x) this is linear in c, so
sums of a few terms come from small eigenvalue problems, without knowing the link (Wetzel 2024, arXiv 2401.04978, has
the criterion; the sums are ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from ..formulas.derivative import derivative
from ..formulas.expression import Constant, Expression, Variable, evaluate, substitute
from ..formulas.fit import settled
from ..formulas.parsing import parse
from .link import canonical
from .problem import Field

SHAPES = (
    "x", "x**2", "x**3", "x**4", "1/x", "1/x**2", "sqrt(x)", "log(x)", "exp(x)", "exp(-x)", "exp(2*x)", "exp(-2*x)",
    "sin(x)", "cos(x)", "sin(2*x)", "cos(2*x)", "sin(pi*x)", "cos(pi*x)", "exp(x**2)", "exp(-x**2)", "tanh(x)",
)  # fmt: skip
TERMS = 4
BEAM = 12
"""So many sums of each number of terms are gone on with."""
PROPOSED = 5
"""So many sums of each number of terms are proposed."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A function of one or two compounds, and its slope along each of them."""

    expression: Expression
    slopes: Float[np.ndarray, "samples compounds"]
    places: tuple[int, ...]


def sums_up_to_link(field: Field) -> list[Expression]:
    """Propose sums of up to TERMS simple functions in the inputs, the best few of each length."""
    spread = field.columns.std(axis=0)
    unit = field.partials.mean(axis=0) * spread
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    terms = list(_terms(field))
    if len(terms) < 2:
        return []
    slopes = np.stack([term.slopes * spread for term in terms], axis=-1)
    slopes = slopes / (sizes := np.sqrt(np.square(slopes).sum(axis=1).mean(axis=0)))
    names = {f"z{place}": compound.expression for place, compound in enumerate(field.problem.compounds)}
    return [
        substitute(_sum([terms[k].expression for k in chosen], weights / sizes[list(chosen)]), names)
        for chosen, weights in _sums(_twists(unit, slopes), slopes)
    ]


def _terms(field: Field) -> Iterator[Term]:
    count = field.columns.shape[1]
    for place, column in enumerate(field.columns.T):
        for text in SHAPES:
            shape = parse(text)
            slope, value = evaluate(derivative(shape, "x"), {"x": column}), evaluate(shape, {"x": column})
            if np.isfinite(slope).all() and np.isfinite(value).all() and np.abs(slope).max() < 1e6:
                slopes = np.zeros((len(column), count))
                slopes[:, place] = slope
                yield Term(substitute(shape, {"x": Variable(f"z{place}")}), slopes, (place,))
    for left, right in combinations(range(count), 2):
        slopes = np.zeros((len(field.columns), count))
        slopes[:, left], slopes[:, right] = field.columns[:, right], field.columns[:, left]
        yield Term(Variable(f"z{left}") * Variable(f"z{right}"), slopes, (left, right))


def _twists(
    unit: Float[np.ndarray, "samples compounds"], slopes: Float[np.ndarray, "samples compounds terms"]
) -> Float[np.ndarray, "rows terms"]:
    """Measure how each term turns away from the direction, in every plane of two compounds."""
    planes = [
        unit[:, [j]] * slopes[:, i, :] - unit[:, [i]] * slopes[:, j, :]
        for i, j in combinations(range(unit.shape[1]), 2)
    ]
    return np.concatenate(planes)


def _sums(
    twists: Float[np.ndarray, "rows terms"], slopes: Float[np.ndarray, "samples compounds terms"]
) -> Iterator[tuple[tuple[int, ...], Float[np.ndarray, " chosen"]]]:
    """Search for the sums that turn away least for their size: all of two terms, then the best with one more each.

    For given terms the weights that do so are the first generalised eigenvector of two small matrices.
    """
    turned = twists.T @ twists
    flat = slopes.reshape(-1, slopes.shape[2])
    size = flat.T @ flat + 1e-9 * np.eye(flat.shape[1]) * len(flat)
    subsets: list[tuple[int, ...]] = list(combinations(range(flat.shape[1]), 2))
    for _ in range(2, TERMS + 1):
        best = [subset for _, subset in sorted((_least(turned, size, subset), subset) for subset in subsets)[:BEAM]]
        yield from ((subset, _weights(turned, size, subset)) for subset in best[:PROPOSED])
        subsets = sorted({tuple(sorted({*subset, k})) for subset in best for k in range(len(size)) if k not in subset})


def _least(
    turned: Float[np.ndarray, "terms terms"], size: Float[np.ndarray, "terms terms"], subset: tuple[int, ...]
) -> float:
    picked = np.ix_(subset, subset)
    return float(eigh(turned[picked], size[picked], eigvals_only=True, subset_by_index=[0, 0])[0])


def _weights(
    turned: Float[np.ndarray, "terms terms"], size: Float[np.ndarray, "terms terms"], subset: tuple[int, ...]
) -> Float[np.ndarray, " chosen"]:
    picked = np.ix_(subset, subset)
    return np.asarray(eigh(turned[picked], size[picked], subset_by_index=[0, 0])[1][:, 0])


def _sum(terms: list[Expression], weights: Float[np.ndarray, " chosen"]) -> Expression:
    parts = [Constant(settled(float(weight))) * term for term, weight in zip(terms, weights, strict=True)]
    return canonical(reduce(lambda left, right: left + right, parts))
