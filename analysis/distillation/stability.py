"""Ask how often the same equation would have been chosen from other networks and other points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Int

from ..formulas.expression import Apply, Constant, Expression
from ..formulas.fit import is_simple
from ..formulas.simplify import simplify
from .target import Sample, Target

Part = TypeVar("Part")
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
    """Tell whether two expressions are the same up to the values of free numbers, factors before terms among them.

    >>> from .parsing import parse
    >>> same_form(parse("1.37*x**2 - y"), parse("x**2 + 0.9*y"))
    True
    >>> same_form(parse("1.37*x**2 - y"), parse("1.37*x**3 - y"))
    False
    """
    return _same(simplify(left), simplify(right))


@dataclass(frozen=True, slots=True)
class _Term:
    """A number times factors, each above or below the line."""

    number: float
    factors: tuple[tuple[Expression, bool], ...]


def _same(left: Expression, right: Expression) -> bool:
    return _match(list(_terms(left, 1.0)), list(_terms(right, 1.0)), _same_term)


def _same_term(left: _Term, right: _Term) -> bool:
    numbers = left.number, right.number
    if numbers[0] != numbers[1] and all(map(is_simple, numbers)):
        return False
    return _match(list(left.factors), list(right.factors), _same_factor)


def _same_factor(left: tuple[Expression, bool], right: tuple[Expression, bool]) -> bool:
    (one, above), (other, also) = left, right
    if above != also or not (isinstance(one, Apply) and isinstance(other, Apply)):
        return left == right
    return one.function == other.function and all(map(_same, one.arguments, other.arguments))


def _match(left: list[Part], right: list[Part], same: Callable[[Part, Part], bool]) -> bool:
    """Tell whether each has its like among the others, whatever their order."""
    for one in left:
        place = next((place for place, other in enumerate(right) if same(one, other)), None)
        if place is None:
            return False
        right.pop(place)
    return not right


def _terms(expression: Expression, sign: float) -> Iterator[_Term]:
    match expression:
        case Apply("add" | "sub" as function, (left, right)):
            yield from _terms(left, sign)
            yield from _terms(right, sign if function == "add" else -sign)
        case _:
            factors = list(_factors(expression, above=True))
            number = sign
            for factor, above in factors:
                if isinstance(factor, Constant):
                    number = number * factor.value if above else number / (factor.value or 1.0)
            yield _Term(number, tuple(pair for pair in factors if not isinstance(pair[0], Constant)))


def _factors(expression: Expression, *, above: bool) -> Iterator[tuple[Expression, bool]]:
    match expression:
        case Apply("mul" | "div" as function, (left, right)):
            yield from _factors(left, above=above)
            yield from _factors(right, above=above == (function == "mul"))
        case Apply("neg", (inner,)):
            yield Constant(-1.0), True
            yield from _factors(inner, above=above)
        case _:
            yield expression, above
