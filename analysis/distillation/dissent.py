"""Name the lineages that do not say what the others say, so that they are not averaged away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import polygamma
from scipy.stats import f as fisher

from ..formulas.expression import Expression
from ..formulas.fit import fit, predict
from .mistakes import learn_mistakes
from .nested import MARGIN
from .pooled import thin
from .target import Rows, Sample, Target

LEVEL = 0.05
LEAST, MOST = 1.0, 20.0
"""Degrees of freedom of a mean squared error: networks' mistakes are smooth, so never as many as points."""
FEWEST = 4
"""With fewer lineages nobody can say who is the one that dissents."""


@dataclass(frozen=True, slots=True)
class Dissent:
    """A lineage that lies further from the law than the others do: how many times as far, and how sure that is.

    `lineage` is its row in the target's values; `p` is corrected for the number of lineages (Holm 1979).
    """

    lineage: int
    ratio: float
    p: float


def dissenters(target: Target, expression: Expression, *, level: float = LEVEL) -> tuple[Dissent, ...]:
    """Find the lineages whose errors are larger than those of the others explain.

    Errors are those to the law, less what the typical lineage adds to it: where all err alike, nobody dissents. Each
    lineage's mean squared error is held against MARGIN times the middle of the others' by an F-test; it has as many
    degrees of freedom as smooth mistakes and the others' own spread leave it. Empty with fewer than FEWEST lineages.
    """
    sample, lineages = thin(target.fit), len(target.fit.values)
    if lineages < FEWEST:
        return ()
    law = fit(expression, sample.columns, np.median(sample.values, axis=0)).expression
    residuals = sample.values - predict(law, sample.columns, sample.values.shape[1])
    errors = np.square(residuals - np.median(residuals, axis=0)).mean(axis=1)
    if not np.isfinite(errors).all() or np.median(errors) == 0:
        return ()
    worth = learn_mistakes(residuals, sample.inputs, np.zeros((sample.values.shape[1], 0))).effective
    tests = [_test(errors[row], np.delete(errors, row), worth) for row in range(lineages)]
    found = zip(range(lineages), tests, _holm(np.array([p for _, p in tests])), strict=True)
    return tuple(Dissent(row, float(np.sqrt(F)), float(p)) for row, (F, _), p in found if p <= level)


def _test(error: float, others: Float[np.ndarray, " others"], worth: float) -> tuple[float, float]:
    """Hold one mean squared error against the middle of the others; give their ratio F and its p.

    If mean squares spread as a χ² of n degrees of freedom over n does, the variance of their logarithms is
    the trigamma function of n/2: that is how many degrees they are given, from their own spread.
    """
    middle = float(np.median(others))
    scatter = float(1.4826 * np.median(np.abs(np.log(others / middle))))
    freedom = _freedom(scatter**2 * (1 + 2 / len(others)))
    freedom = min(freedom, worth)
    F = float(error) / middle
    return F, float(fisher.sf(F / MARGIN, freedom, freedom * len(others) * 2 / np.pi))


def _freedom(variance: float) -> float:
    """Solve trigamma(n/2) = variance."""
    if variance >= polygamma(1, LEAST / 2):
        return LEAST
    if variance <= polygamma(1, MOST / 2):
        return MOST
    return float(brentq(lambda n: polygamma(1, n / 2) - variance, LEAST, MOST))


def _holm(p: Float[np.ndarray, " lineages"]) -> Float[np.ndarray, " lineages"]:
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def without(target: Target, lineages: Iterable[int]) -> Target:
    """Leave lineages out of a target, as its dissenters, so that the consensus is the others'."""
    gone = set(lineages)
    kept = np.array([row for row in range(len(target.fit.values)) if row not in gone], dtype=int)
    functions = target.functions and replace(
        target.functions,
        values=_some(target.functions.values, kept),
        slopes=target.functions.slopes and _some(target.functions.slopes, kept),
    )
    return replace(
        target,
        lineages=tuple(target.lineages[row] for row in kept) if target.lineages else (),
        fit=_of(target.fit, kept),
        held_out=_of(target.held_out, kept),
        outside=target.outside and _of(target.outside, kept),
        functions=functions,
    )


def _of(sample: Sample, kept: np.ndarray) -> Sample:
    return replace(sample, values=sample.values[kept])


def _some(ask: Callable[[Rows], np.ndarray], kept: np.ndarray) -> Callable[[Rows], np.ndarray]:
    return lambda rows: ask(rows)[kept]
