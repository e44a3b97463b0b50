"""Compare where an equation points with where the networks point: the cosine between their gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..formulas.derivative import derivative
from ..formulas.expression import Expression, evaluate, variables
from .target import Functions, Rows, Target

POINTS = 512
STEP = 1e-3
"""Half a central difference, in standard deviations of an input."""

Slopes = Float[np.ndarray, "lineages samples inputs"]


@dataclass(frozen=True, slots=True)
class GradientAgreement:
    """Mean cosine between gradients at held-out points, in [-1, 1]: lineage by lineage, and the mean of these.

    `peers` and `each_peers` are those of the other lineages' mean gradient, beside it.
    """

    value: float
    peers: float
    each: tuple[float, ...]
    each_peers: tuple[float, ...]


def gradient_agreement(target: Target, expression: Expression) -> GradientAgreement | None:
    """Measure how far the equation's gradient and those of the networks point the same way.

    Gradients are taken for inputs in standard deviations, so that units do not matter. Of a linked target
    the cosines are sign-free, since a link may fall. Points where a gradient is zero do not count. None where the
    networks cannot be asked, or where the equation is written in what are not their inputs.
    """
    functions = target.functions
    if functions is None or not set(variables(expression)) <= set(functions.names):
        return None
    rows = target.held_out.inputs[:POINTS]
    spread = rows.std(axis=0)
    slopes = (functions.slopes(rows) if functions.slopes else _differences(functions, rows)) * spread
    ours = _gradient(expression, functions.names, rows) * spread
    directions = _directions(slopes)
    each = [_cosine(one, _directions(ours[None])[0], linked=target.linked) for one in directions]
    others = _others(_turned(directions) if target.linked else slopes)
    each_peers = [_cosine(*pair, linked=target.linked) for pair in zip(directions, others, strict=True)]
    return GradientAgreement(_mean(each), _mean(each_peers), tuple(each), tuple(each_peers))


def _differences(functions: Functions, rows: Rows) -> Slopes:
    """Take central differences of networks that give no gradients."""
    steps = np.diag(STEP * np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0))
    changes = [functions.values(rows + step) - functions.values(rows - step) for step in steps]
    return np.stack(changes, axis=-1) / (2 * np.diag(steps))


def _gradient(law: Expression, names: tuple[str, ...], rows: Rows) -> Float[np.ndarray, "samples inputs"]:
    columns = dict(zip(names, rows.T, strict=True))
    return np.stack([evaluate(derivative(law, name), columns) for name in names], axis=-1)


def _directions(slopes: Slopes) -> Slopes:
    """Scale gradients to length one; NaN where there is none."""
    with np.errstate(all="ignore"):
        directions: Slopes = slopes / np.linalg.norm(slopes, axis=-1, keepdims=True)
    return directions


def _turned(directions: Slopes) -> Slopes:
    """Turn the lineages' gradients the same way, as far as there is one (the leading eigenvector's signs)."""
    known = np.nan_to_num(directions)
    leading = np.linalg.eigh(np.einsum("lsi,msi->lm", known, known))[1][:, -1]
    return np.asarray(known * np.where(leading < 0, -1.0, 1.0)[:, None, None])


def _others(slopes: Slopes) -> Slopes:
    """Give each lineage the direction of the others' mean gradient; NaN where there are none."""
    if len(slopes) < 2:
        return np.full_like(slopes, np.nan)
    known = np.nan_to_num(slopes)
    return _directions(known.sum(axis=0) - known)


def _cosine(
    left: Float[np.ndarray, "samples inputs"], right: Float[np.ndarray, "samples inputs"], *, linked: bool
) -> float:
    cosines = (left * right).sum(axis=-1)
    mean = _mean(cosines[np.isfinite(cosines)].tolist())
    return abs(mean) if linked else mean


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
