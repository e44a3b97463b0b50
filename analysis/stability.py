"""Ask how often the same equation would have been chosen from other networks and other points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from .expression import Apply, Constant, Expression
from .fit import is_simple
from .simplify import simplify
from .target import Sample, Target

Choose = Callable[[Target, Sequence[Expression]], Expression]

POINTS = 300
"""Points of a resample; more of them make its answer hardly surer."""


def stability(
    target: Target,
    front_expressions: Sequence[Expression],
    chosen: Expression,
    choose: Choose,
    *,
    resamples: int = 20,
    seed: int,
) -> float:
    """Give the share of resamples, over lineages and points, from which `choose` takes the chosen skeleton.

    Lineages are drawn with replacement, as many as there are, but each counts once, for a copy would be its own peer;
    points to fit on and points held out likewise. A single lineage is kept, and only points are drawn. The search is
    not run again: `choose` takes one of the stored expressions, by the rule by which the equation was chosen.
    """
    random = np.random.default_rng(seed)
    drawn = (choose(_redraw(target, random), front_expressions) for _ in range(resamples))
    return sum(same_form(expression, chosen) for expression in drawn) / resamples


def _redraw(target: Target, random: np.random.Generator) -> Target:
    lineages = _draw(len(target.fit.values), random, fewest=min(3, len(target.fit.values)))
    return replace(
        target,
        fit=_resample(target.fit, lineages, random),
        held_out=_resample(target.held_out, lineages, random),
        outside=target.outside and _resample(target.outside, lineages, random),
        functions=None,
    )


def _draw(many: int, random: np.random.Generator, *, fewest: int) -> Int[np.ndarray, " drawn"]:
    while len(drawn := np.unique(random.integers(many, size=many))) < fewest:
        pass
    return drawn


def _resample(sample: Sample, lineages: Int[np.ndarray, " drawn"], random: np.random.Generator) -> Sample:
    many = len(sample.inputs)
    rows = random.integers(many, size=min(many, POINTS))
    columns = {name: column[rows] for name, column in sample.columns.items()}
    return Sample(sample.inputs[rows], columns, sample.values[np.ix_(lineages, rows)])


def same_form(left: Expression, right: Expression) -> bool:
    """Tell whether two expressions are the same up to the values of free numbers.

    >>> from .parsing import parse
    >>> same_form(parse("1.37*x**2 - y"), parse("x**2*0.9 - y"))
    True
    >>> same_form(parse("1.37*x**2 - y"), parse("1.37*x**3 - y"))
    False
    """
    return _same(_signless(simplify(left)), _signless(simplify(right)))


def _same(left: Expression, right: Expression) -> bool:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return left == right or not (is_simple(left.value) and is_simple(right.value))
    if isinstance(left, Apply) and isinstance(right, Apply) and left.function == right.function:
        return all(map(_same, left.arguments, right.arguments))
    return left == right


def _signless(expression: Expression) -> Expression:
    """Let free numbers bear their sums' signs: a - 1.3*b and a + 1.3*b differ in the value of a number only."""
    match expression:
        case Apply("sub", (left, right)) if _has_factor(right):
            return Apply("add", (_signless(left), _signless(right)))
        case Apply("neg", (inner,)) if _has_factor(inner):
            return _signless(inner)
        case Apply(function, arguments):
            return Apply(function, tuple(map(_signless, arguments)))
    return expression


def _has_factor(term: Expression) -> bool:
    while isinstance(term, Apply) and term.function in ("mul", "div"):
        term = term.arguments[0]
    return isinstance(term, Constant) and not is_simple(term.value)
