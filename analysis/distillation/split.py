"""Split a variable off a function: f(rest, x) = A(rest) + B(rest) · g(x), seen in values at crossed settings.

Values at every pair of some settings of the rest and some of x make a matrix; its rank says how f falls
apart, and its singular vectors what g is (a functional form of principal components).
Sums, products, and products with an offset are all of this kind. A and B are weighted sums of f over a few settings
of x: functions again, that may be asked anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from .problem import Problem
from .target import Rows

SETTINGS = 40
"""So many settings of the variable are crossed with so many of the rest."""
FEW = 6
"""So many settings of the variable make a weighted sum."""
LARGEST = 0.1
"""What a split may leave, as a share of what the variable does."""
ALWAYS = 0.004
"""What networks are taken to share of it, however little they disagree."""
NOISES = 1.6
"""What a split may leave, in standard errors of the lineages' mean."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Compound `place` may be split off.

    `curve` is g at `settings`, rows of which only that compound's inputs count; known up to a factor where `pure`
    (A is zero), else up to an offset too. `noise` is what the lineages disagree by: they share mistakes as large.
    """

    place: int
    pure: bool
    settings: Rows
    values: Float[np.ndarray, " settings"]
    curve: Float[np.ndarray, " settings"]
    noise: float
    residual: float


def split(problem: Problem, place: int) -> Split | None:
    """Test whether a compound may be split off, as a factor first."""
    count = min(SETTINGS, len(problem.rows) // 2)
    rest, settings = problem.rows[:count], _spread(problem, place, problem.rows[count:], count)
    values = crossed(problem, place, rest, settings)
    for pure in (True, False):
        table = values if pure else values - values.mean(axis=2, keepdims=True)
        found = _rank_one(table)
        if found is not None:
            curve, noise, residual = found
            x = problem.of(problem.compounds[place], settings)
            return Split(place, pure, settings, x, curve, noise, residual)
    return None


def crossed(problem: Problem, place: int, rest: Rows, settings: Rows) -> Float[np.ndarray, "lineages rest settings"]:
    """Ask for every row of the rest with every setting of one compound."""
    rows = np.repeat(rest, len(settings), axis=0)
    inputs = list(problem.compounds[place].inputs)
    rows[:, inputs] = np.tile(settings[:, inputs], (len(rest), 1))
    values = problem.values(rows)
    return np.asarray(values.reshape(len(values), len(rest), len(settings)))


def _spread(problem: Problem, place: int, rows: Rows, count: int) -> Float[np.ndarray, "settings inputs"]:
    """Take rows whose compound is spread evenly over its quantiles."""
    order = np.argsort(problem.of(problem.compounds[place], rows), kind="stable")
    return np.asarray(rows[order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]])


def _rank_one(
    table: Float[np.ndarray, "lineages rest settings"],
) -> tuple[Float[np.ndarray, " settings"], float, float] | None:
    """Give the curve of a table that is a product, its noise, and what is left, in standard errors."""
    mean = table.mean(axis=0)
    if not np.isfinite(mean).all():
        return None
    left, sizes, right = np.linalg.svd(mean, full_matrices=False)
    rest = float(np.sqrt(np.square(sizes[1:]).sum() / mean.size))
    effect = _rms(mean - mean.mean(axis=1, keepdims=True))
    error = _rms(table.std(axis=0, ddof=1)) / len(table) ** 0.5 if len(table) > 1 else ALWAYS * effect
    noise = float(np.hypot(error, ALWAYS * effect))
    if rest > min(LARGEST * effect, NOISES * noise):
        return None
    each = np.einsum("r,lrs->ls", left[:, 0], table)
    sign = np.sign(right[0].sum()) or 1.0
    scale = sign * len(right[0]) ** 0.5 / sizes[0]
    spread = _rms(each.std(axis=0, ddof=1)) if len(each) > 1 else 0.0
    curve = right[0] * sign * len(right[0]) ** 0.5
    return curve, float(np.hypot(abs(scale) * spread, ALWAYS * curve.std())), rest / noise


def factor_of(problem: Problem, found: Split) -> Problem:
    """Give B of a pure split as a problem of the other compounds; g may be any multiple of the curve."""
    chosen = _few(found.curve)
    weights = np.linalg.pinv(found.curve[chosen][:, None])[0]
    return _weighted(problem, found.place, found.settings[chosen], weights)


def parts(problem: Problem, found: Split, curve: Float[np.ndarray, " settings"]) -> tuple[Problem, Problem]:
    """Give A and B as problems of the other compounds, once g is known: `curve` is g at the settings of the split."""
    chosen = _few(curve)
    offset, slope = np.linalg.pinv(np.column_stack([np.ones(len(chosen)), curve[chosen]]))
    settings = found.settings[chosen]
    return (
        _weighted(problem, found.place, settings, offset),
        _weighted(problem, found.place, settings, slope),
    )


def _few(curve: Float[np.ndarray, " settings"]) -> Int[np.ndarray, " few"]:
    """Choose settings whose values are spread evenly from the least to the greatest."""
    order = np.argsort(curve, kind="stable")
    return np.asarray(order[np.linspace(0, len(order) - 1, FEW).round().astype(int)])


def _weighted(problem: Problem, place: int, settings: Rows, weights: Float[np.ndarray, " settings"]) -> Problem:
    """Sum a function over settings of one compound: a function of the others."""
    inputs = list(problem.compounds[place].inputs)

    def at(rows: Rows, setting: Float[np.ndarray, " inputs"]) -> Rows:
        moved = rows.copy()
        moved[:, inputs] = setting[inputs]
        return moved

    def values(rows: Rows) -> Float[np.ndarray, "lineages samples"]:
        stacked = problem.values(np.concatenate([at(rows, setting) for setting in settings]))
        return np.asarray(np.einsum("lsn,s->ln", stacked.reshape(len(stacked), len(settings), len(rows)), weights))

    def slopes(rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        stacked = problem.slopes(np.concatenate([at(rows, setting) for setting in settings]))
        parts = stacked.reshape(len(stacked), len(settings), len(rows), rows.shape[1])
        return np.asarray(np.einsum("lsni,s->lni", parts, weights))

    kept = tuple(compound for index, compound in enumerate(problem.compounds) if index != place)
    return replace(problem, compounds=kept, values=values, slopes=slopes)


def splits(problem: Problem) -> Sequence[Split]:
    """List the compounds that may be split off, factors first, the surest first."""
    found = [one for place in range(len(problem.compounds)) if (one := split(problem, place))]
    return sorted(found, key=lambda one: (not one.pure, one.residual))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
