"""Fit the numbers of an expression: least squares, redundant constants, simple values.

A number that is exactly simple (see `is_simple`) is structure, such as the 2 of x**2; every other number
is free. Fitting never touches structure; snapping turns a free number into structure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from .compiled import compile_expression
from .expression import Apply, Constant, Expression, complexity, constants, evaluate, with_constants
from .least_squares import levenberg_marquardt
from .simplify import simplify

Columns = Mapping[str, Float[np.ndarray, " samples"]]
Loss = Callable[[Expression, float], float]

DIGITS = 9
"""Digits that a fit keeps. The last bits of a sum depend on where in memory its terms lie; rounding them
off keeps the same settings giving the same equations."""

LEAF = Constant(0.0)

START = 1.0001
"""Where a new free factor starts: next to 1, which would be structure."""

SAME = 1e-4
"""Relative change of the error below which two fits are the same."""


def is_simple(value: float) -> bool:
    """Tell whether a number is exactly a small fraction: p/q with q up to 4 and p up to 24."""
    return any(value == p / q for q in (1, 2, 3, 4) for p in (round(value * q),) if abs(p) <= 24)


def free(expression: Expression) -> tuple[int, ...]:
    """Say which of the expression's constants are free, by their index."""
    return tuple(i for i, value in enumerate(constants(expression)) if not is_simple(value))


@dataclass(frozen=True, slots=True)
class Fit:
    """An expression with fitted numbers, and its root mean squared error on what it was fitted to."""

    expression: Expression
    error: float


def fit(expression: Expression, columns: Columns, values: Float[np.ndarray, " samples"], *, steps: int = 30) -> Fit:
    """Fit the free constants by least squares (Levenberg–Marquardt), from where they are.

    The error is infinite where the expression has no finite value at some sample.
    """
    places, start = free(expression), np.array(constants(expression))
    compiled = compile_expression(expression, tuple(columns))
    inputs = np.column_stack(list(columns.values())) if columns else np.zeros((len(values), 0))
    error = _rms(compiled(start, inputs) - values)
    if not places or not np.isfinite(error) or len(places) > len(values):
        return Fit(expression, error)
    chosen = list(places)
    scale = np.maximum(np.abs(start[chosen]), 1e-6)

    def residuals(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, " samples"]:
        full = start.copy()
        full[chosen] = theta * scale
        return np.asarray(compiled(full, inputs) - values)

    def jacobian(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, "samples free"]:
        full = start.copy()
        full[chosen] = theta * scale
        slopes = compiled.values_and_jacobian(full, inputs)[1][:, chosen] * scale
        return np.where(np.isfinite(slopes), slopes, 0.0)

    fitted = start.copy()
    fitted[chosen] = scale * levenberg_marquardt(residuals, jacobian, start[chosen] / scale, steps=steps)
    after = _rms(compiled(fitted, inputs) - values)
    if not after < error or not np.isfinite(fitted).all():
        return Fit(expression, error)
    for place in chosen:
        fitted[place] = settled(float(fitted[place]))
    return Fit(with_constants(expression, fitted.tolist()), after)


def settled(value: float) -> float:
    """Round to DIGITS; an estimate that happens to be simple moves by so little that it stays free."""
    rounded = float(f"{value:.{DIGITS}g}")
    return loose(rounded) if is_simple(rounded) else rounded


def loose(value: float) -> float:
    """Move a simple number by so little that it counts as free."""
    return value * (1 + 1e-9) if value else 1e-300


def _rms(residuals: Float[np.ndarray, " samples"]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(np.sqrt(np.mean(np.square(residuals))))
    return float(f"{error:.{DIGITS}g}") if np.isfinite(error) else float("inf")


@runtime_checkable
class Fitting(Protocol):
    """Fit the free constants of an expression to values: `fit`, or one that knows of a link."""

    def __call__(
        self, expression: Expression, columns: Columns, values: Float[np.ndarray, " samples"], *, steps: int = 30
    ) -> Fit:
        """Fit with at most so many evaluations."""
        ...


def condense(
    expression: Expression, columns: Columns, values: Float[np.ndarray, " samples"], *, fitting: Fitting = fit
) -> Fit:
    """Drop constants that make no difference, such as the a of a·(b·x + c), and refit.

    What an engine writes has more numbers than degrees of freedom; a constant that can be 1 or 0 while
    the others make up for it is dropped, until none can.
    """
    floor = SAME * float(values.std())

    def lossless(shorter: Expression, error: float) -> float:
        return float(np.log(error + floor)) / SAME + complexity(shorter)

    return prune(expression, columns, values, loss=lossless, edits=neutral_constants, fitting=fitting)


def prune(
    expression: Expression,
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    loss: Loss,
    edits: Callable[[Expression], Iterator[Expression]] | None = None,
    fitting: Fitting = fit,
) -> Fit:
    """Shorten an expression, one edit at a time, as long as `loss(expression, error)` falls."""
    current = fitting(simplify(expression), columns, values)
    best = loss(current.expression, current.error)
    improved = True
    while improved:
        improved = False
        for shorter in (edits or _shorter)(current.expression):
            if loss(LEAF, fitting(shorter, columns, values).error) >= best:
                continue  # not even as a single node
            trial = fitting(simplify(shorter), columns, values)
            score = loss(trial.expression, trial.error)
            if score < best and complexity(trial.expression) < complexity(current.expression):
                current, best, improved = trial, score, True
                break
    return current


def neutral_constants(expression: Expression) -> Iterator[Expression]:
    """Set one free constant to 1, 0 or -1; the deepest first, so that an outer scale stays."""
    depths = list(_depths(expression, 0))
    for place in sorted(free(expression), key=lambda place: -depths[place]):
        for neutral in (1.0, 0.0, -1.0):
            yield _with(expression, {place: neutral})


def _shared_scale(expression: Expression) -> Iterator[Expression]:
    """Put one factor before the whole in exchange for two constants inside."""
    for pair in combinations(free(expression), 2):
        yield Constant(START) * _with(expression, dict.fromkeys(pair, 1.0))


def _with(expression: Expression, changes: Mapping[int, float]) -> Expression:
    return with_constants(expression, [changes.get(place, value) for place, value in enumerate(constants(expression))])


def _depths(expression: Expression, depth: int) -> Iterator[int]:
    if isinstance(expression, Constant):
        yield depth
    elif isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from _depths(argument, depth + 1)


def _shorter(expression: Expression) -> Iterator[Expression]:
    yield from neutral_constants(expression)
    yield from _shared_scale(expression)
    yield from _hoisted(expression)


def _hoisted(expression: Expression) -> Iterator[Expression]:
    """Put one argument, or a free number, in the place of the function that it is an argument of."""
    if not isinstance(expression, Apply):
        return
    yield from expression.arguments
    for place, argument in enumerate(expression.arguments):
        before, after = expression.arguments[:place], expression.arguments[place + 1 :]
        for shorter in _hoisted(argument):
            yield Apply(expression.function, (*before, shorter, *after))


def simple_near(value: float, error: float, *, chance: float = 0.05) -> float | None:
    """Name the simple value that a fitted number means, if that is no accident.

    It must lie within three standard errors, and the window of three standard errors must be so narrow
    that it would hold a value as simple with a probability below `chance` if it lay anywhere.
    """
    for denominator, values_per_unit in ((1, 1), (2, 2), (3, 4), (4, 6)):
        nearest = round(value * denominator) / denominator
        if nearest == 0 or not is_simple(nearest):
            continue
        if abs(value - nearest) <= 3 * error and 6 * error * values_per_unit < chance:
            return nearest
    return None


def predict(expression: Expression, columns: Columns, samples: int) -> Float[np.ndarray, " samples"]:
    """Evaluate, also where the expression has no variables at all."""
    if columns:
        return evaluate(expression, columns)
    return np.full(samples, expression.value if isinstance(expression, Constant) else np.nan)
