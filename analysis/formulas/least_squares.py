"""Least squares that give the same answer to the last bit every time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Function = Callable[[Float[np.ndarray, " parameters"]], Float[np.ndarray, " samples"]]
Jacobian = Callable[[Float[np.ndarray, " parameters"]], Float[np.ndarray, "samples parameters"]]

ENOUGH = 1e-10
"""Relative gain below which a fit has converged."""


def levenberg_marquardt(
    residuals: Function,
    jacobian: Jacobian,
    start: Float[np.ndarray, " parameters"],
    *,
    steps: int,
) -> Float[np.ndarray, " parameters"]:
    """Minimise the sum of squared residuals from a start, with at most so many evaluations.

    Marquardt 1963, damping scaled by the diagonal. Why not SciPy's: expressions that an engine wrote have
    redundant constants, and on such rank-deficient problems its MINPACK (1.17) steps differently from
    call to call, so that the same settings would not give the same catalogue.
    """
    with np.errstate(all="ignore"):  # a step too far is turned back, however large its numbers
        return _minimise(residuals, jacobian, start, steps)


def _minimise(
    residuals: Function, jacobian: Jacobian, start: Float[np.ndarray, " parameters"], steps: int
) -> Float[np.ndarray, " parameters"]:
    point, current = start, residuals(start)
    cost, damping, evaluations = _cost(current), 1e-3, 1
    while evaluations < steps:
        slopes = jacobian(point)
        curvature, descent = slopes.T @ slopes, -(slopes.T @ current)
        scale = np.maximum(np.diag(curvature), 1e-14 * np.diag(curvature).max(initial=0.0) + 1e-300)
        before, improved = cost, False
        while evaluations < steps and damping < 1e12 and not improved:
            trial = point + _solve(curvature + np.diag(damping * scale), descent)
            trial_residuals = residuals(trial)
            trial_cost = _cost(trial_residuals)
            evaluations += 1
            improved = trial_cost < cost
            damping = max(damping / 5, 1e-12) if improved else damping * 4
            if improved:
                point, current, cost = trial, trial_residuals, trial_cost
        if not improved or before - cost <= ENOUGH * before:
            break
    return point


def _cost(residuals: Float[np.ndarray, " samples"]) -> float:
    cost = float(residuals @ residuals)
    return cost if np.isfinite(cost) else float("inf")


def _solve(
    matrix: Float[np.ndarray, "parameters parameters"], vector: Float[np.ndarray, " parameters"]
) -> Float[np.ndarray, " parameters"]:
    try:
        return np.asarray(np.linalg.solve(matrix, vector))
    except np.linalg.LinAlgError:
        return np.zeros_like(vector)
