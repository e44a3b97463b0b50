"""Reduce a function that may be asked: drop, merge and split variables until each part is a curve of one.

What only networks give is used: values and slopes at any point. Every step is a test against what the lineages
disagree by; where several hold, each is followed, and the values of the whole decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from jaxtyping import Float

from ..formulas.derivative import derivative
from ..formulas.expression import Apply, Constant, Expression, constants, evaluate, substitute, with_constants
from ..formulas.fit import fit, loose, prune, settled
from ..formulas.printing import to_text
from ..formulas.simplify import simplify
from .combine import Merge, merges, near_simple
from .curves import curves
from .judge import PARSIMONY, length
from .ladder import ladder, laurent
from .outer import OUTER, Outer, transformed
from .problem import Field, Problem, merged, survey, whole, without
from .split import Split, factor_of, parts, splits
from .target import Target
from .up_to_link import sums_up_to_link

SAMPLES = 400
GOOD = 2.0
"""Error, in units of what the lineages disagree by, up to which nothing else is tried: they share mistakes."""
ROUNDING = 1e-4
"""What a consensus is never known better than, in standard deviations of its own."""
KEPT = 10
"""So many formulas of one problem are handed on."""
ENOUGH = 24
"""So many good formulas of one problem are enough."""
CHEAP = 0.45
"""Merges up to this cost are common enough in laws to be taken before others are tried."""
DEPTH = 6
"""So many variables may be split off, or outer functions undone, one within another."""
PROBLEMS = 40
"""So many problems are looked at for one target."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A formula of a problem, its error in units of what the consensus is known with, and both as a score."""

    expression: Expression
    error: float
    score: float

    @property
    def good(self) -> bool:
        """Whether nothing but the networks' own mistakes is left."""
        return self.error <= GOOD


def reduce(target: Target, *, seed: int) -> list[Expression]:
    """Propose formulas of a target whose functions may be asked, the best first; none where they may not."""
    if target.functions is None:
        return []
    problem = whole(target.functions, samples=SAMPLES, seed=seed + 11, linked=target.linked)
    reducer = Reducer(free=target.functions.free, linked=target.linked)
    found = [solution.expression for solution in reducer.solve(problem, depth=DEPTH)]
    return [*found, *(rounded(expression) for expression in found)]


def rounded(expression: Expression) -> Expression:
    """Take fitted numbers for the simple ones next to them: on the edge of a domain no other will do."""
    numbers = [near_simple(value) if value else value for value in constants(expression)]
    return simplify(with_constants(expression, numbers))


class Reducer:
    """Solve problems by solving smaller ones, PROBLEMS of them at most.

    Where inputs are not free, and where values are known up to a link only, nothing is split.
    """

    def __init__(self, *, free: bool = True, linked: bool = False) -> None:
        self.free = free and not linked
        self.linked = linked
        self.left = PROBLEMS

    def solve(self, problem: Problem, *, depth: int, outer: bool = True) -> list[Solution]:
        """Try what is simple first, and stop at the first formulas that leave nothing but noise."""
        if self.left <= 0:
            return []
        self.left -= 1
        field = survey(problem)
        if not np.isfinite(field.values).all():
            return []
        needless = _irrelevant(field)
        if needless:
            field = survey(without(problem, needless))
        found: list[Solution] = []
        for proposals in self._strategies(field, depth, outer):
            judged = judged_by_direction if self.linked else judged_by_value
            found = _best([*found, *judged(field, proposals)])
            if found and found[0].good:
                break
        return found

    def _strategies(self, field: Field, depth: int, outer: bool) -> Iterator[Iterator[Expression]]:
        compounds = field.problem.compounds
        if not compounds:
            yield iter([Constant(loose(float(field.values.mean())))])
        elif len(compounds) == 1:
            yield iter([compounds[0].expression]) if self.linked else _of_one(field)
        elif depth > 0:
            likely = merges(field)
            cheap = [merge for merge in likely if merge.certain and merge.cost <= CHEAP][:1]
            if cheap:
                yield self._merged(field, cheap[0], depth, outer)
            if self.linked:
                yield iter(sums_up_to_link(field))
            for found in splits(field.problem)[:2] if self.free else ():
                yield self._put_together(field, found, depth, outer)
            others = [merge for merge in likely if merge not in cheap][:3]
            rare = (self._merged(field, merge, depth, outer) for merge in others)
            yield chain(() if self.linked else _by_ladder(field), *rare)
            for function in OUTER if outer and self.free else ():
                yield self._through(function, field, depth)

    def _merged(self, field: Field, merge: Merge, depth: int, outer: bool) -> Iterator[Expression]:
        smaller = merged(field.problem, merge.left, merge.right, merge.expression)
        yield from (solution.expression for solution in self.solve(smaller, depth=depth, outer=outer))

    def _put_together(self, field: Field, found: Split, depth: int, outer: bool) -> Iterator[Expression]:
        """Solve what a split leaves, for each of the likely curves of the variable split off."""
        compound = field.problem.compounds[found.place].expression
        shapes = [curve.expression for curve in curves(found.values, found.curve, noise=found.noise, most=12)]
        if found.pure:
            factors = self.solve(factor_of(field.problem, found), depth=depth - 1, outer=outer)[:1]
            for shape, factor in product(shapes, factors):
                yield simplify(factor.expression * substitute(shape, {"x": compound}))
            return
        shapes = [bare(shape) for shape in shapes]
        curve = evaluate(shapes[0], {"x": found.values})
        offset, slope = parts(field.problem, found, curve)
        factors = self.solve(slope, depth=depth - 1, outer=outer)[:2]
        offsets = self.solve(offset, depth=depth - 1, outer=outer)[:2] if factors else []
        for shape, a, b in product(shapes, offsets, factors):
            alike = _as(curve, shape, found.values)
            yield simplify(a.expression + b.expression * substitute(alike, {"x": compound}))

    def _through(self, outer: Outer, field: Field, depth: int) -> Iterator[Expression]:
        """Undo an outer function where what is left then splits."""
        inner = transformed(field.problem, outer)
        if inner is not None and splits(inner):
            yield from (outer.undo(one.expression) for one in self.solve(inner, depth=depth - 1, outer=False))


def _irrelevant(field: Field) -> set[int]:
    """Find compounds whose slopes are no more than what the lineages disagree by."""
    spread = field.columns.std(axis=0)
    mean = field.partials.mean(axis=0) * spread
    effect = np.sqrt(np.square(mean).mean(axis=0))
    many = len(field.partials)
    error = field.partials.std(axis=0, ddof=1) * spread / many**0.5 if many > 1 else np.zeros_like(mean)
    noise = np.sqrt(np.square(error).mean(axis=0))
    floor = 2e-3 * np.sqrt(np.square(effect).sum())
    return {int(place) for place in np.flatnonzero(effect <= 1.5 * noise + floor)}


def _of_one(field: Field) -> Iterator[Expression]:
    (compound,) = field.problem.compounds
    x, y = field.columns[:, 0], field.values.mean(axis=0)
    for curve in curves(x, y, noise=_noise(field)):
        yield substitute(curve.expression, {"x": compound.expression})


def _by_ladder(field: Field) -> Iterator[Expression]:
    """Write sums of products of compounds, and of powers of them and of derived variables."""
    problem, values = field.problem, field.values.mean(axis=0)
    names = {f"z{place}": compound.expression for place, compound in enumerate(problem.compounds)}
    columns = dict(zip(names, field.columns.T, strict=True))
    known = problem.columns(problem.rows)
    derived = {name: known[name] for name in problem.at_hand()}
    for expression in (*ladder(columns, values), *laurent(columns | derived, values)):
        yield substitute(expression, names)


def _as(curve: Float[np.ndarray, " settings"], shape: Expression, x: Float[np.ndarray, " settings"]) -> Expression:
    """Write a curve as a multiple of another shape with an offset."""
    values = evaluate(shape, {"x": x})
    if not np.isfinite(values).all() or np.array_equal(values, curve) or np.ptp(values) == 0:
        return shape
    factor, offset = np.polyfit(values, curve, 1)
    return Constant(settled(float(factor))) * shape + Constant(settled(float(offset)))


def bare(expression: Expression) -> Expression:
    """Strip an outer offset and factor."""
    while isinstance(expression, Apply) and expression.function in ("add", "sub", "mul", "div"):
        left, right = expression.arguments
        if isinstance(right, Constant):
            expression = left
        elif isinstance(left, Constant) and expression.function != "div":
            expression = right
        else:
            break
    return expression


def _noise(field: Field) -> float:
    """Say how exactly the consensus is known: it shares mistakes about as large as the lineages' disagreement."""
    values = field.values
    scale = float(values.mean(axis=0).std())
    if len(values) < 2:
        return 10 * ROUNDING * scale
    disagreement = float(np.sqrt(values.var(axis=0, ddof=1).mean()))
    return float(np.hypot(disagreement, ROUNDING * scale)) or 1e-300


def judged_by_value(field: Field, proposals: Iterator[Expression]) -> list[Solution]:
    """Fit proposals to the consensus at the rows, until the first few good ones; shorten the best."""
    columns, goal, noise = field.problem.columns(field.problem.rows), field.values.mean(axis=0), _noise(field)

    def loss(expression: Expression, error: float) -> float:
        return float(np.log(np.hypot(error / noise, 1.0))) + PARSIMONY * length(expression)

    found: dict[str, Solution] = {}
    for expression in proposals:
        fitted = fit(simplify(expression), columns, goal)
        if np.isfinite(fitted.error):
            one = Solution(fitted.expression, fitted.error / noise, loss(fitted.expression, fitted.error))
            found[to_text(fitted.expression, digits=5)] = one
        if sum(one.good for one in found.values()) >= ENOUGH:
            break
    shorter = [prune(one.expression, columns, goal, loss=loss) for one in _best(list(found.values()))]
    return [Solution(one.expression, one.error / noise, loss(one.expression, one.error)) for one in shorter]


def judged_by_direction(field: Field, proposals: Iterator[Expression]) -> list[Solution]:
    """Hold the gradients of proposals against the direction of the lineages' slopes: links do not matter there."""
    slopes = field.problem.slopes(field.problem.rows) * field.problem.rows.std(axis=0)
    mean = slopes.mean(axis=0)
    size = np.maximum(np.linalg.norm(mean, axis=1), 1e-300)
    apart = np.square(slopes - mean).sum(axis=(0, 2)) / max(len(slopes) - 1, 1) / len(slopes)
    noise = float(np.hypot(np.sqrt(np.median(apart / size**2)), 1e-3))
    found = []
    for expression in proposals:
        error = _angle(field.problem, substitute(expression, field.problem.derived), mean / size[:, None]) / noise
        if np.isfinite(error):
            score = float(np.log(np.hypot(error, 1.0))) + PARSIMONY * length(expression)
            found.append(Solution(expression, error, score))
    return found


def _angle(problem: Problem, expression: Expression, direction: Float[np.ndarray, "samples inputs"]) -> float:
    """Give the typical sine between an expression's gradient and a direction, at the rows."""
    columns = problem.columns(problem.rows)
    partials = [evaluate(derivative(expression, name), columns) for name in problem.names]
    gradient = np.stack(partials, axis=-1) * problem.rows.std(axis=0)
    with np.errstate(all="ignore"):
        cosine = (gradient * direction).sum(axis=1) / np.linalg.norm(gradient, axis=1)
    return float(np.sqrt(np.median(1 - np.square(cosine)))) if np.isfinite(cosine).all() else np.inf


def _best(solutions: Sequence[Solution]) -> list[Solution]:
    return sorted(solutions, key=lambda one: (one.score, to_text(one.expression)))[:KEPT]
