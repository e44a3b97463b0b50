"""Functions of one variable: many shapes, each with its own factors and offset, the simplest that will do first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from ..formulas.expression import Apply, Constant, Expression, Variable, evaluate, substitute
from ..formulas.fit import neutral_constants, prune, settled
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from .judge import PARSIMONY, length

Column = Float[np.ndarray, " samples"]

FREE = (
    "x", "x**2", "1/x", "sqrt(x)", "log(x)", "x**3", "1/x**2", "x**4", "1/x**3", "exp(x)", "exp(-x)", "abs(x)",
    "sin(x)", "cos(x)", "tan(x)", "asin(x)", "acos(x)", "atan(x)", "tanh(x)", "sin(x)**2", "cos(x)**2", "exp(-x**2)",
    "x*log(x)", "x*exp(-x)", "x*exp(x)", "x*sin(x)", "x*cos(x)", "sin(x)/x", "sin(x)**2/x**2", "1/sin(x)", "1/cos(x)",
    "1/sin(x)**2", "1/(exp(x) - 1)", "1/(exp(x) + 1)", "x/(exp(x) - 1)", "1/cosh(x)", "cosh(x)", "sinh(x)",
    "1/(1 + x)", "1/(1 - x)", "1/(1 + x**2)", "1/(1 - x**2)", "sqrt(1 + x**2)", "sqrt(1 - x**2)", "1/sqrt(1 + x**2)",
    "1/sqrt(1 - x**2)", "sqrt(1 + x)", "sqrt(1 - x)", "log(1 + x)", "log(1 + x**2)", "x/(1 + x)", "x/(1 - x)",
    "x, x**2", "x, x**3", "x**2, x**4", "x, 1/x", "x**2, 1/x", "1/x, 1/x**2", "1/x**6, 1/x**12", "x, log(x)",
    "x, exp(x)", "x, exp(-x)", "x, sin(x)", "x, cos(x)", "x**2, sin(x)", "x**2, cos(x)", "sin(x), cos(x)",
    "cos(x), cos(x)**2", "sin(x), sin(x)**2", "x, sqrt(x)", "x**3, x**4", "x**2, x**3", "x, x**5",
    "x, x**2, x**3", "x, x**2, x**3, x**4",
)  # fmt: skip
"""Shapes without a number of their own; commas stand between terms that have a factor each."""

SCALED = (
    "exp(t*x)", "exp(t*x**2)", "exp(t/x)", "x*exp(t*x)", "tanh(t*x)", "sin(t*x)", "cos(t*x)", "sin(t*x), cos(t*x)",
    "sin(t*x)**2", "sinh(t*x)", "cosh(t*x)", "atan(t*x)", "1/(exp(t*x) - 1)", "1/(exp(t*x) + 1)", "x/(exp(t*x) - 1)",
    "1/cosh(t*x)", "sin(t*x)**2/x**2", "sin(t*x)/x", "x*sin(t*x)", "x*cos(t*x)", "tan(t*x)",
)  # fmt: skip
"""Shapes whose t is over the unit of x."""

SHIFTED = (
    "1/(x + t)", "sqrt(x + t)", "log(x + t)", "1/(x + t)**2", "1/sqrt(x + t)", "(x + t)**2", "x/(x + t)", "1/(t - x)",
    "sqrt(t - x)", "1/sqrt(t - x)", "log(t - x)", "1/(t - x)**2", "x/(t - x)",
)  # fmt: skip
"""Shapes whose t has the unit of x."""

POWERS = "x**t"

TURNS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0)
"""What t of SCALED is tried as, over the standard deviation of x."""
WIDTHS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""How far outside the range of x its pole or root is tried, in widths of that range."""
EXPONENTS = (-6.0, -4.0, -2.5, -1.5, -0.7, -0.3, 0.3, 0.7, 1.5, 2.5, 4.0, 6.0)
WITHIN = 1.5
"""Shapes are kept whose error is at most so many times the smallest, or the noise."""
FITTED = 12
"""So many of them are fitted in full."""
LARGEST = 1e12


@dataclass(frozen=True, slots=True)
class Curve:
    """A shape with its numbers, its root mean squared error, and both weighed into a score."""

    expression: Expression
    error: float
    score: float


def curves(x: Column, y: Column, *, noise: float, most: int = 4) -> list[Curve]:
    """Fit shapes of a variable called x, each up to factors and an offset, and rank the best few.

    `noise` is how exactly y is known, as a root mean square: shapes that are as near differ in length only. What is
    not finite everywhere on x is left out.
    """
    noise = noise or 1e-300
    tried = sorted(_tried(x, y), key=lambda found: (found[0], to_text(found[1])))
    bar = WITHIN * max(tried[0][0], noise)
    near = sorted((found for found in tried if found[0] <= bar), key=lambda found: length(found[1]))

    def loss(expression: Expression, error: float) -> float:
        return float(np.log(np.hypot(error / noise, 1.0))) + PARSIMONY * length(expression)

    scored = {}
    for _, expression in near[:FITTED]:
        one = prune(expression, {"x": x}, y, loss=loss, edits=neutral_constants)
        scored[to_text(one.expression, digits=5)] = Curve(one.expression, one.error, loss(one.expression, one.error))
    return sorted(scored.values(), key=lambda curve: (curve.score, to_text(curve.expression)))[:most]


def _tried(x: Column, y: Column) -> Iterator[tuple[float, Expression]]:
    low, high, spread = float(x.min()), float(x.max()), float(x.std()) or 1.0
    for texts in FREE:
        if texts != "abs(x)" or low < 0 < high:
            yield from _best(texts, (1.0,), x, y)
    for texts in SCALED:
        signs = (1.0, -1.0) if "exp" in texts else (1.0,)
        for sign in signs:
            yield from _best(texts, [sign * turn / spread for turn in TURNS], x, y)
    for texts in SHIFTED:
        yield from _best(texts, _ends(texts, low, high), x, y)
    ends = np.square([low, high])
    for texts in SHIFTED:
        of_square = texts.replace("x + t", "x**2 + t").replace("t - x", "t - x**2")
        yield from _best(of_square, _ends(texts, 0.0 if low < 0 < high else min(ends), max(ends)), x, y)
    yield from _best(POWERS, EXPONENTS, x, y)


def _ends(texts: str, low: float, high: float) -> list[float]:
    end = high if "t - x" in texts else -low
    return [end + width * (high - low) for width in WIDTHS]


def _best(texts: str, starts: Sequence[float], x: Column, y: Column) -> list[tuple[float, Expression]]:
    """Try a shape from several starts, and between the neighbours of the best."""
    shapes = _shapes(texts)
    errors = [_linear(shapes, start, x, y)[0] for start in starts]
    best = int(np.argmin(errors))
    if not np.isfinite(errors[best]):
        return []
    at = starts[best]
    if len(starts) > 1:
        between = starts[max(best - 1, 0)], starts[min(best + 1, len(starts) - 1)]
        with np.errstate(all="ignore"):  # where a shape has no finite values, its error is infinite
            found = minimize_scalar(
                lambda t: _linear(shapes, float(t), x, y)[0],
                bounds=sorted(between),
                method="bounded",
                options={"maxiter": 20},
            )
        at = float(found.x) if found.fun < errors[best] else at
    both = (_linear(shapes, at, x, y, offset=offset) for offset in (True, False))
    return [(error, _written(shapes, at, weights)) for error, weights in both if np.isfinite(error)]


@cache
def _shapes(texts: str) -> tuple[Expression, ...]:
    return tuple(parse(text) for text in texts.split(", "))


def _linear(
    shapes: Sequence[Expression], t: float, x: Column, y: Column, *, offset: bool = True
) -> tuple[float, Float[np.ndarray, " terms"]]:
    """Fit factors and an offset in closed form; the error is infinite where a shape is not finite."""
    columns = {"x": x, "t": np.full_like(x, t)}
    parts = [evaluate(shape, columns) for shape in shapes]
    design = np.column_stack([*parts, np.ones_like(x)] if offset else parts)
    with np.errstate(all="ignore"):
        scale = np.abs(design).max(axis=0)
    if not np.isfinite(scale).all() or scale.min() <= 0 or scale.max() > LARGEST:
        return np.inf, np.zeros(design.shape[1])
    weights = np.linalg.lstsq(design / scale, y, rcond=None)[0] / scale
    return float(np.sqrt(np.mean(np.square(design @ weights - y)))), weights


def _written(shapes: Sequence[Expression], t: float, weights: Float[np.ndarray, " terms"]) -> Expression:
    """Write the sum; waves of one period as one wave with a phase."""
    at, factors = Constant(settled(t)), [settled(float(weight)) for weight in weights]
    if len(shapes) == 2 and shapes == _shapes("sin(t*x), cos(t*x)"):
        size, phase = np.hypot(factors[0], factors[1]), np.arctan2(factors[1], factors[0])
        wave = Apply("sin", (at * Variable("x") + Constant(settled(float(phase))),))
        terms: list[Expression] = [Constant(settled(float(size))) * wave]
    else:
        terms = [Constant(f) * substitute(s, {"t": at}) for f, s in zip(factors, shapes, strict=False)]
    return reduce(lambda left, right: left + right, [*terms, *map(Constant, factors[len(shapes) :])])
