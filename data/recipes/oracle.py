"""Tell whether an equation that was found is the law: the same structure, with its numbers where they should be.

The free numbers of what was found are fitted to the law itself. If it has the law's structure, nothing is left over,
and they have hardly moved; an equation that only looks like the law leaves something over, however it is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from consilience.analysis.formulas.derivative import derivative
from consilience.analysis.formulas.expression import (
    Expression,
    complexity,
    constants,
    evaluate,
    variables,
    with_constants,
)
from consilience.analysis.formulas.fit import fit, free

Box = Mapping[str, tuple[float, float]]

MOVED = 0.03
"""How far a number may be from the law's, as a share of it."""
LEFT_OVER = 1e-7
"""What may be left over after fitting, in standard deviations of the law: rounding."""
HELD = 1e-5
"""How strongly numbers are held, so that those that change no direction stay where they are."""
PARALLEL = 1e-6
"""By how much |cos| of two slopes may miss 1."""
SAMPLES, STEPS, SEED = 400, 400, 2024


def exact(found: Expression, truth: Expression, box: Box) -> bool:
    """Tell whether `found` is `truth`: the same function once its numbers are set right, each by at most MOVED.

    At most twice as long and six nodes more, so that no structure hides in a long formula.
    """
    if not _short(found, truth) or not set(variables(found)) <= set(box):
        return False
    columns = draw(box)
    values = evaluate(truth, columns)
    fitted = fit(found, columns, values, steps=STEPS)
    return fitted.error <= LEFT_OVER * float(values.std()) and _still(found, fitted.expression)


def exact_up_to_link(found: Expression, truth: Expression, box: Box) -> bool:
    """Tell whether `found` is a monotone function of `truth`, as far as slopes tell: everywhere parallel to its own.

    As `exact`, the numbers may move by at most MOVED. Numbers that change no direction stay as they are.
    """
    if not _short(found, truth) or not set(variables(found)) <= set(box):
        return False
    columns = draw(box)
    wanted = directions(truth, columns, tuple(box))
    places = list(free(found))
    start = np.array(constants(found))[places]

    def at(relative: Float[np.ndarray, " free"]) -> Expression:
        numbers = list(constants(found))
        for place, number in zip(places, start * relative, strict=True):
            numbers[place] = float(number)
        return with_constants(found, numbers)

    def residuals(relative: Float[np.ndarray, " free"]) -> Float[np.ndarray, " rest"]:
        slopes = directions(at(relative), columns, tuple(box))
        rest = slopes - (slopes * wanted).sum(axis=1, keepdims=True) * wanted
        return np.append(np.where(np.isfinite(rest), rest, 1.0), HELD * (relative - 1))

    ones = np.ones(len(places))
    fitted = least_squares(residuals, ones, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14).x if places else ones
    slopes = directions(at(fitted), columns, tuple(box))
    cosines = np.abs((slopes * wanted).sum(axis=1))
    return bool((cosines > 1 - PARALLEL).all() and (np.abs(fitted - 1) <= MOVED).all())


def directions(
    expression: Expression, columns: Mapping[str, Float[np.ndarray, " samples"]], names: Sequence[str]
) -> Float[np.ndarray, "samples variables"]:
    """Give the slopes of an expression, each of length 1; NaN where it has none."""
    samples = len(next(iter(columns.values())))
    parts = [np.broadcast_to(evaluate(derivative(expression, name), columns), samples) for name in names]
    slopes = np.stack(parts, axis=1)
    with np.errstate(all="ignore"):
        return np.asarray(slopes / np.linalg.norm(slopes, axis=1, keepdims=True))


def draw(box: Box) -> dict[str, Float[np.ndarray, " samples"]]:
    """Draw points evenly from a box."""
    random = np.random.default_rng(SEED)
    return {name: random.uniform(*bounds, SAMPLES) for name, bounds in box.items()}


def _short(found: Expression, truth: Expression) -> bool:
    return complexity(found) <= 2 * complexity(truth) + 6


def _still(before: Expression, after: Expression) -> bool:
    one, other = np.array(constants(before)), np.array(constants(after))
    return bool((np.abs(one - other) <= MOVED * np.abs(one)).all())
