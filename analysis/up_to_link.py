"""Sums of simple functions whose gradient is parallel to a given one: laws up to a link, in closed form.

T has the direction g everywhere if g_j ∂T/∂x_i = g_i ∂T/∂x_j for all i, j. For T = Σ c φ(x) this is linear in c, so
sparse sums come by orthogonal least squares, without knowing the link (Wetzel 2024, arXiv 2401.04978, has the
criterion; the sums are ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from .derivative import derivative
from .expression import Constant, Expression, Variable, evaluate, substitute
from .parsing import parse
from .problem import Field

SHAPES = (
    "x", "x**2", "x**3", "x**4", "1/x", "1/x**2", "sqrt(x)", "log(x)", "exp(x)", "exp(-x)", "exp(2*x)", "exp(-2*x)",
    "sin(x)", "cos(x)", "sin(2*x)", "cos(2*x)", "sin(pi*x)", "cos(pi*x)", "exp(x**2)", "exp(-x**2)", "tanh(x)",
)  # fmt: skip
TERMS = 5
PROPOSED = 6


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A function of one or two compounds, and its slope along each of them."""

    expression: Expression
    slopes: Float[np.ndarray, "samples compounds"]
    places: tuple[int, ...]


def sums_up_to_link(field: Field) -> list[Expression]:
    """Propose sums of up to TERMS simple functions, the best first, in the inputs."""
    direction = field.partials.mean(axis=0)
    spread = field.columns.std(axis=0)
    unit = direction * spread
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    terms = list(_terms(field))
    if not terms:
        return []
    slopes = np.stack([term.slopes * spread for term in terms], axis=-1)
    sizes = np.sqrt(np.square(slopes).sum(axis=1).mean(axis=0))
    twists = _twists(unit, slopes / sizes)
    found = []
    for anchor, term in enumerate(terms):
        if 0 in term.places:
            found += list(_grown(anchor, twists, slopes / sizes))
    found.sort(key=lambda one: one[0])
    names = {f"z{place}": compound.expression for place, compound in enumerate(field.problem.compounds)}
    seen: dict[tuple[int, ...], Expression] = {}
    for _, chosen, weights in found:
        key = tuple(sorted(chosen))
        if key not in seen:
            scaled = weights / sizes[list(chosen)]
            seen[key] = substitute(_sum([terms[k].expression for k in chosen], scaled / scaled[0]), names)
    return list(seen.values())[:PROPOSED]


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


def _grown(
    anchor: int, twists: Float[np.ndarray, "rows terms"], slopes: Float[np.ndarray, "samples compounds terms"]
) -> Iterator[tuple[float, tuple[int, ...], Float[np.ndarray, " chosen"]]]:
    """Add terms to the anchor one at a time, each time the one that turns the sum most towards the direction."""
    chosen, remaining, residual = [anchor], twists.copy(), twists[:, anchor].copy()
    for _ in range(TERMS - 1):
        norms = np.linalg.norm(remaining, axis=0)
        usable = norms > 1e-6 * np.linalg.norm(twists, axis=0)
        usable[chosen] = False
        if not usable.any():
            return
        gains = np.where(usable, np.abs(residual @ remaining) / np.where(usable, norms, 1.0), -1.0)
        best = int(np.argmax(gains))
        chosen.append(best)
        axis = remaining[:, best] / norms[best]
        residual = residual - axis * (axis @ residual)
        remaining = remaining - np.outer(axis, axis @ remaining)
        rest = np.linalg.lstsq(twists[:, chosen[1:]], -twists[:, anchor], rcond=None)[0]
        weights = np.concatenate([[1.0], rest])
        size = np.sqrt(np.square(slopes[:, :, chosen] @ weights).sum(axis=1))
        turned = np.linalg.norm((twists[:, chosen] @ weights).reshape(-1, len(slopes)), axis=0)
        sines = turned / np.maximum(size, 1e-300)
        angle = float(np.sqrt(np.mean(np.square(np.minimum(sines, 1.0)))))
        yield float(np.log(angle + 1e-4)) + 0.3 * len(chosen), tuple(chosen), weights


def _sum(terms: list[Expression], weights: Float[np.ndarray, " chosen"]) -> Expression:
    total = terms[0]
    for term, weight in zip(terms[1:], weights[1:], strict=True):
        total = total + Constant(float(weight)) * term
    return total
