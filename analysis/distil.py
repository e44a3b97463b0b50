"""Distil the consensus of many networks into the simplest equation that is as good a witness as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .consensus import PeerRatio, consensus, divide, peer_ratio, peers
from .expression import Apply, Constant, Expression, Variable, complexity, constants, is_call, with_constants
from .fit import condense, fit, free, is_simple, predict, prune, simple_near
from .ladder import ladder
from .printing import to_text
from .search import ALPHABETS, Search
from .simplify import simplify

Columns = Mapping[str, Float[np.ndarray, " samples"]]

PARSIMONY = 0.05
"""What a node must earn: 5 % of the error on held-out networks.

Networks of one kind share mistakes, and a long formula learns those: its error on held-out networks goes
on falling a little for ever. A step towards the law lowers it by a third or more for every node.
"""

PASSES = 1.5
"""The largest peer ratio at which an equation is offered as one."""

LONGEST = 45
"""No equation with more nodes is offered."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One quantity of every lineage at the same points.

    `inputs` are the points in the networks' own coordinates; `columns` what equations may be written in.
    """

    inputs: Float[np.ndarray, "samples inputs"]
    columns: Columns
    values: Float[np.ndarray, "lineages samples"]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is distilled: one sample to fit on, one held out, and one outside the probe's range, if it has any."""

    name: str
    fit: Sample
    held_out: Sample
    outside: Sample | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An equation, fitted to the consensus of all lineages, and how it does on each left out."""

    expression: Expression
    complexity: int
    error: float
    ratio: PeerRatio | None
    score: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number of the law, set free: its value over all lineages, and what another lineage would say (95 %).

    `exact` is the simple number that stands in the law in its place, if one does; `spread` is the standard
    deviation over lineages. Exponents count as numbers, and so does the factor 1 before the whole.
    """

    name: str
    value: float
    spread: float
    low: float
    high: float
    exact: float | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well the chosen equation holds.

    `fidelity` is R² on the consensus at held-out points, `agreement` R² on each lineage there, `peer_agreement`
    R² of the peers' consensus on each lineage (mean). Outside the probe's range `extrapolation` is R² on
    the consensus, `peer_extrapolation` R² of the peers on each other there. NaN where undefined.
    """

    fidelity: float
    agreement: tuple[float, ...]
    peer_agreement: float
    extrapolation: float
    peer_extrapolation: float


@dataclass(frozen=True, slots=True)
class Distillation:
    """What came out: `equation`, or `no_equation` with the reason; the front either way."""

    status: str
    reason: str
    chosen: Candidate
    skeleton: Expression
    estimates: tuple[Estimate, ...]
    front: tuple[Candidate, ...]
    evidence: Evidence


def distil(
    target: Target,
    *,
    engine: Search | None,
    restarts: int,
    evaluations: int,
    seed: int,
    progress: Callable[[str], None] = lambda step: None,
) -> Distillation:
    """Find the simplest equation that predicts a left-out network as well as the other networks do.

    The ladder comes first, then `restarts` short searches with different seeds and alphabets; every
    expression is refitted without each lineage in turn and judged on that lineage at points that it was not
    fitted to. With a single lineage there are no peers: the knee of the front is offered, and says so.
    """
    judge = _Judge(target)
    progress("ladder")
    found = [judge.assess(expression) for expression in ladder(target.fit.columns, judge.goal)]
    for restart in range(restarts if engine and target.fit.columns else 0):
        progress(f"search {restart + 1} of {restarts}")
        fresh = engine(  # type: ignore[misc]
            target.fit.columns,
            judge.goal,
            alphabet=ALPHABETS[(0, 0, 1, 0, 2, 1)[restart % 6]],
            evaluations=evaluations,
            seed=seed * 1000 + restart,
        )
        found += judge.assess_all(condense(e, target.fit.columns, judge.goal).expression for e in fresh)
    progress("choosing")
    front = _front(found)
    for candidate in sorted(front, key=lambda candidate: candidate.score)[:3]:
        front = _front([*front, judge.shorten(candidate)])
    chosen = _simplest(front)
    chosen = judge.snap(chosen)
    front = _front([*front, chosen])
    form, estimates = judge.estimates(chosen.expression)
    status, reason = _verdict(chosen, judge)
    return Distillation(status, reason, chosen, form, estimates, front, judge.evidence(chosen.expression))


def _front(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Keep what no simpler candidate beats."""
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.complexity, c.score, to_text(c.expression))):
        if np.isfinite(candidate.score) and (not best or _merit(candidate) < _merit(best[-1])):
            if best and best[-1].complexity == candidate.complexity:
                best.pop()
            best.append(candidate)
    return tuple(best)


def _merit(candidate: Candidate) -> float:
    return candidate.ratio.value if candidate.ratio else candidate.error


def _simplest(front: Sequence[Candidate]) -> Candidate:
    """Choose the simplest within one standard error of the best held-out error, parsimony counted in."""
    best = min(front, key=lambda candidate: candidate.score)
    slack = best.ratio.error / best.ratio.value if best.ratio else 0.0
    return next(candidate for candidate in front if candidate.score <= best.score + slack)


def _verdict(chosen: Candidate, judge: _Judge) -> tuple[str, str]:
    if not np.isfinite(judge.scale) or judge.scale == 0:
        return "no_equation", "the consensus does not vary"
    if chosen.complexity > LONGEST:
        return "no_equation", f"nothing within {LONGEST} nodes does"
    if chosen.ratio is None:
        return "equation", "one lineage only: no peers to compare with, the knee of the front is shown"
    if judge.peer_r2 <= 0.5:
        return "no_equation", f"the networks do not agree (R² of peers on each other {judge.peer_r2:.2f})"
    if chosen.ratio.value > PASSES:
        return "no_equation", f"the best found errs {chosen.ratio.value:.2f} times as much as the peers do"
    return "equation", ""


class _Judge:
    """Assess expressions on one target; holds what all assessments share."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.goal = consensus(target.fit.values)
        self.scale = float(consensus(target.held_out.values).std())
        self.alone = len(target.fit.values) < 2
        self.regions = divide(target.held_out.inputs)
        self.noise = 1e-3 * self.scale if self.alone else _noise(target.fit.values)
        self.peer_r2 = float("nan") if self.alone else _mean_r2(peers(target.held_out.values), target.held_out.values)

    def assess(self, expression: Expression) -> Candidate:
        """Fit to the consensus, and without each lineage in turn; compare with the peers."""
        fitted = fit(expression, self.target.fit.columns, self.goal)
        length, held_out = complexity(fitted.expression), self.target.held_out
        predicted = predict(fitted.expression, held_out.columns, held_out.values.shape[1])
        error = float(np.sqrt(np.mean(np.square(predicted - consensus(held_out.values)))))
        ratio = None if self.alone or not np.isfinite(error) else self._ratio(fitted.expression)
        loss = ratio.value if ratio else error / (self.scale or 1.0) + 1e-3
        score = float(np.log(loss) + PARSIMONY * length) if np.isfinite(loss) and np.isfinite(error) else np.inf
        return Candidate(fitted.expression, length, error, ratio, score)

    def assess_all(self, expressions: Iterable[Expression]) -> list[Candidate]:
        """Assess those that a quick look at the consensus leaves in the running."""
        quick = [
            (complexity(f.expression), f.error, to_text(f.expression), f.expression)
            for f in (fit(e, self.target.fit.columns, self.goal) for e in expressions)
        ]
        kept, best = [], np.inf
        for _, error, _, expression in sorted(quick, key=lambda row: row[:3]):
            if error < best:
                kept.append(self.assess(expression))
                best = error
        return kept

    def _ratio(self, expression: Expression) -> PeerRatio:
        fitting, held_out = self.target.fit, self.target.held_out
        predictions = [
            predict(
                fit(expression, fitting.columns, without, steps=8).expression,
                held_out.columns,
                held_out.values.shape[1],
            )
            for without in peers(fitting.values)
        ]
        return peer_ratio(np.stack(predictions), held_out.values, self.regions)

    def shorten(self, candidate: Candidate) -> Candidate:
        """Drop parts of a candidate that do not earn their length above the networks' own noise."""

        def loss(expression: Expression, error: float) -> float:
            return float(np.log(np.hypot(error, self.noise)) + PARSIMONY * complexity(expression))

        shorter = prune(candidate.expression, self.target.fit.columns, self.goal, loss=loss)
        return self.assess(shorter.expression)

    def snap(self, chosen: Candidate) -> Candidate:
        """Replace constants by the simple numbers they mean, while the peer ratio allows."""
        current, refused = chosen, set[float]()
        while True:
            near = [
                (estimate.spread / abs(simple), place, simple)
                for place in free(current.expression)
                for estimate in [self._estimate(current.expression, place)]
                if (simple := simple_near(estimate.value, estimate.spread)) is not None
                and estimate.value not in refused
            ]
            if not near:
                return current
            _, place, simple = min(near)
            value = constants(current.expression)[place]
            trial = self.assess(simplify(_set(current.expression, place, simple)))
            if self._no_worse(trial, chosen):
                current = trial
            else:
                refused.add(value)

    def _no_worse(self, trial: Candidate, chosen: Candidate) -> bool:
        if chosen.ratio is None or trial.ratio is None:
            return trial.error <= 1.05 * chosen.error
        return trial.ratio.value <= chosen.ratio.value + chosen.ratio.error

    def estimates(self, law: Expression) -> tuple[Expression, tuple[Estimate, ...]]:
        """Set every number of a law free, those that are exact one at a time, and ask each lineage.

        Returns the skeleton, whose variables c1, c2 … stand for the numbers.
        """
        whole = law if _has_factor(law) else Constant(1.0) * law
        numbers = [
            replace(self._estimate(_set(whole, place, _loose(value)), place), exact=value if is_simple(value) else None)
            for place, value in enumerate(constants(whole))
        ]
        taken = set(self.target.fit.columns)
        names = [name for k in range(1, 10_000) if (name := f"c{k}") not in taken][: len(numbers)]
        named = tuple(replace(number, name=name) for number, name in zip(numbers, names, strict=True))
        return skeleton(whole, names), named

    def _estimate(self, expression: Expression, place: int) -> Estimate:
        """Fit all lineages together and each by itself: the spread is what single networks say."""
        whole = constants(fit(expression, self.target.fit.columns, self.goal).expression)[place]
        each = [
            constants(fit(expression, self.target.fit.columns, values, steps=15).expression)[place]
            for values in self.target.fit.values
        ]
        spread = float(np.std(each, ddof=1)) if len(each) > 1 else float("nan")
        reach = _student(len(each)) * spread * float(np.sqrt(1 + 1 / len(each)))
        return Estimate("", whole, spread, whole - reach, whole + reach, None)

    def evidence(self, expression: Expression) -> Evidence:
        """Gather fidelity, agreement and extrapolation of an equation."""
        held_out, outside = self.target.held_out, self.target.outside
        predicted = predict(expression, held_out.columns, held_out.values.shape[1])
        extrapolation = peer_extrapolation = float("nan")
        if outside is not None:
            there = predict(expression, outside.columns, outside.values.shape[1])
            extrapolation = _r2(there, consensus(outside.values))
            if not self.alone:
                peer_extrapolation = _mean_r2(peers(outside.values), outside.values)
        return Evidence(
            fidelity=_r2(predicted, consensus(held_out.values)),
            agreement=tuple(_r2(predicted, values) for values in held_out.values),
            peer_agreement=self.peer_r2,
            extrapolation=extrapolation,
            peer_extrapolation=peer_extrapolation,
        )


def _set(expression: Expression, place: int, value: float) -> Expression:
    values = list(constants(expression))
    values[place] = value
    return with_constants(expression, values)


def _loose(value: float) -> float:
    """Move a simple number by so little that it counts as free."""
    return value * (1 + 1e-9) if is_simple(value) and value else value or 1e-9


def _has_factor(expression: Expression) -> bool:
    """Tell whether the whole is multiplied by a number already, or is one."""
    while is_call(expression, "mul") or is_call(expression, "div"):
        expression = expression.arguments[0]
    return isinstance(expression, Constant)


def skeleton(expression: Expression, names: Sequence[str]) -> Expression:
    """Put names in the places of the numbers, from left to right."""
    supply = iter(names)

    def named(node: Expression) -> Expression:
        if isinstance(node, Constant):
            return Variable(next(supply))
        if isinstance(node, Apply):
            return Apply(node.function, tuple(named(argument) for argument in node.arguments))
        return node

    return named(expression)


def _noise(values: Float[np.ndarray, "lineages samples"]) -> float:
    return float(np.sqrt(np.mean(np.square(peers(values) - values))))


def _student(many: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, many - 1)) if many > 1 else float("nan")


def _r2(predicted: Float[np.ndarray, " samples"], values: Float[np.ndarray, " samples"]) -> float:
    variance = float(values.var())
    if variance == 0:
        return float("nan")
    return float(1 - np.mean(np.square(predicted - values)) / variance)


def _mean_r2(predicted: Float[np.ndarray, "lineages samples"], values: Float[np.ndarray, "lineages samples"]) -> float:
    return float(np.mean([_r2(p, v) for p, v in zip(predicted, values, strict=True)]))
