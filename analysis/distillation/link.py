"""Equations up to a link: what lineages know up to a monotone function of their own, and formulas fitted so.

A classifier's logit or a latent is L(T(x)) with a monotone L that nobody asked for. Ranks do not know L: every
lineage's values become normal scores, on which all agree that agree on T; and a formula of T is fitted through a
smooth function of one variable, which is fitted anew for each choice of its constants (variable projection).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_lsq_spline
from scipy.stats import norm

from ..formulas.compiled import compile_expression
from ..formulas.expression import Apply, Constant, Expression, constants, is_call, with_constants
from ..formulas.fit import Fit, free, settled
from ..formulas.least_squares import levenberg_marquardt
from ..formulas.simplify import simplify
from .problem import orientation
from .target import Sample, Target

Columns = Mapping[str, Float[np.ndarray, " samples"]]
Column = Float[np.ndarray, " samples"]

KNOTS = 8
STEP = 1e-5
"""Relative step of a difference in a constant."""


def scored(target: Target) -> Target:
    """Give a linked target whose lineages are turned the same way and on one scale.

    The scale is that of their mean normal scores on the sample to fit on; each lineage comes there by a smooth
    monotone function of its own, so that only what it knows beyond a link is left.
    """
    values = target.fit.values
    ranked = _normal_scores(values)
    signs = orientation(_standardised(ranked))[:, None]
    common = (signs * ranked).mean(axis=0)
    links = [fit_link(own, common) for own in signs * values]

    def on_scale(sample: Sample) -> Sample:
        return replace(sample, values=np.stack([f(own) for f, own in zip(links, signs * sample.values, strict=True)]))

    outside = None if target.outside is None else on_scale(target.outside)
    return replace(target, fit=on_scale(target.fit), held_out=on_scale(target.held_out), outside=outside)


def _normal_scores(values: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, "lineages samples"]:
    count = values.shape[1]
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(norm.ppf((ranks + 0.5) / count))


def _standardised(values: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, "lineages samples"]:
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-300))


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A monotone function, by its values at knots; level outside them."""

    knots: Float[np.ndarray, " knots"]
    values: Float[np.ndarray, " knots"]

    def __call__(self, inner: Column) -> Column:
        """Apply the link."""
        return np.asarray(np.interp(inner, self.knots, self.values))


def fit_link(inner: Column, values: Column) -> Link:
    """Fit a monotone function, rising or falling, to values over what a formula gives.

    A least-squares spline, made monotone where it is not (isotonic regression); straight beyond the ends.
    """
    from sklearn.isotonic import IsotonicRegression

    low, high = float(inner.min()), float(inner.max())
    if not high > low:
        return Link(np.array([low]), np.array([values.mean()]))
    order = np.argsort(inner, kind="stable")
    smooth = _smooth(inner, values)[order]
    if not np.isfinite(smooth).all():
        smooth = values[order]
    x = inner[order] + (high - low) * 1e-12 * np.arange(len(inner))
    rising = bool(np.argsort(np.argsort(smooth)) @ (np.arange(len(x)) - (len(x) - 1) / 2) >= 0)  # "auto" warns
    y = IsotonicRegression(increasing=rising).fit_transform(x, smooth)
    tenth = max(len(x) // 50, 1)
    reach = (high - low) / 10
    before = y[0] - reach * (y[tenth] - y[0]) / (x[tenth] - x[0])
    after = y[-1] + reach * (y[-1] - y[-1 - tenth]) / (x[-1] - x[-1 - tenth])
    return Link(np.concatenate([[x[0] - reach], x, [x[-1] + reach]]), np.concatenate([[before], y, [after]]))


def fit_up_to_link(expression: Expression, columns: Columns, values: Column, *, steps: int = 30) -> Fit:
    """Fit the free constants of a formula T so that a smooth function of T gives the values.

    Returns T in its canonical form (see `canonical`) and the error through a monotone link; infinite where T has no
    finite value somewhere.
    """
    expression = canonical(expression)
    places, start = list(free(expression)), np.array(constants(expression))
    compiled = compile_expression(expression, tuple(columns))
    inputs = np.column_stack(list(columns.values())) if columns else np.zeros((len(values), 0))
    before = _error(compiled(start, inputs), values)
    if not places or not np.isfinite(before):
        return Fit(expression, before)
    scale = np.maximum(np.abs(start[places]), 1e-3)

    def inner(theta: Float[np.ndarray, " free"]) -> Column:
        full = start.copy()
        full[places] = theta * scale
        return compiled(full, inputs)

    def residuals(theta: Float[np.ndarray, " free"]) -> Column:
        return np.asarray(_smooth(inner(theta), values) - values)

    def jacobian(theta: Float[np.ndarray, " free"]) -> Float[np.ndarray, "samples free"]:
        here = residuals(theta)
        moved = [residuals(theta + STEP * axis) for axis in np.eye(len(theta))]
        slopes = (np.stack(moved, axis=-1) - here[:, None]) / STEP
        return np.where(np.isfinite(slopes), slopes, 0.0)

    fitted = start.copy()
    fitted[places] = scale * levenberg_marquardt(residuals, jacobian, start[places] / scale, steps=steps)
    after = _error(compiled(fitted, inputs), values)
    if not after < before or not np.isfinite(fitted).all():
        return Fit(expression, before)
    for place in places:
        fitted[place] = settled(float(fitted[place]))
    return Fit(canonical(with_constants(expression, fitted.tolist())), after)


def _smooth(inner: Column, values: Column) -> Column:
    """Predict the values by a cubic spline in the formula's own ranks and size."""
    if not np.isfinite(inner).all() or np.ptp(inner) == 0:
        return np.full_like(values, np.inf)
    order = np.argsort(inner, kind="stable")
    x = (inner[order] - inner[order[0]]) / np.ptp(inner)
    x = np.maximum.accumulate(x + 1e-12 * np.arange(len(x)))
    inside = np.quantile(x, np.linspace(0, 1, KNOTS + 2)[1:-1])
    knots = np.concatenate([[x[0]] * 4, np.unique(inside), [x[-1]] * 4])
    try:
        spline = make_lsq_spline(x, values[order], knots, k=3)
    except (ValueError, np.linalg.LinAlgError):  # ties leave a knot without points
        return np.full_like(values, np.inf)
    smooth = np.empty_like(values)
    smooth[order] = spline(x)
    return smooth


def _error(inner: Column, values: Column) -> float:
    if not np.isfinite(inner).all():
        return float("inf")
    return float(f"{np.sqrt(np.mean(np.square(fit_link(inner, values)(inner) - values))):.9g}")


MONOTONE = ("exp", "log", "sqrt", "tanh", "atan", "sinh", "asin", "neg")


def canonical(expression: Expression) -> Expression:
    """Write a formula without what a link makes up for: outer monotone functions, offset, factor and sign.

    The first term of a sum has the factor 1.
    """
    while True:
        shorter = simplify(_inside(expression))
        if shorter == expression:
            return expression
        expression = shorter


def _inside(expression: Expression) -> Expression:
    if not isinstance(expression, Apply):
        return expression
    left, right = expression.arguments[0], expression.arguments[-1]
    if expression.function in MONOTONE:
        return left
    if expression.function in ("add", "sub", "mul", "div") and isinstance(right, Constant):
        return left
    if expression.function in ("add", "sub", "mul") and isinstance(left, Constant):
        return right
    if is_call(expression, "div") and isinstance(left, Constant):
        return right
    if is_call(expression, "pow") and isinstance(right, Constant) and right.value % 2:
        return left
    if expression.function in ("add", "sub"):
        factor = _factor(expression)
        return expression if factor in (0.0, 1.0) else _scaled(expression, 1.0 / factor)
    return expression


def _factor(expression: Expression) -> float:
    """Give the number before the first term of a sum."""
    while is_call(expression, "add") or is_call(expression, "sub"):
        expression = expression.arguments[0]
    if is_call(expression, "neg"):
        return -_factor(expression.arguments[0])
    if is_call(expression, "div"):
        below = expression.arguments[1]
        return _factor(expression.arguments[0]) / (below.value if isinstance(below, Constant) and below.value else 1.0)
    while is_call(expression, "mul"):
        expression = expression.arguments[0]
    return float(expression.value) if isinstance(expression, Constant) else 1.0


def _scaled(expression: Expression, factor: float) -> Expression:
    if is_call(expression, "add") or is_call(expression, "sub"):
        return Apply(expression.function, tuple(_scaled(part, factor) for part in expression.arguments))
    return Constant(factor) * expression
