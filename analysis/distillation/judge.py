"""Judge an expression as a witness of networks that it was not fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from ..formulas.expression import (
    Apply,
    Constant,
    Expression,
    Variable,
    complexity,
    constants,
    exponents,
    is_call,
    with_constants,
)
from ..formulas.fit import Fitting, fit, free, is_simple, loose, predict, prune, simple_near
from ..formulas.printing import to_text
from ..formulas.simplify import simplify
from .consensus import PeerRatio, consensus, divide, peer_ratio, peers
from .link import fit_link, fit_up_to_link, scored
from .target import Sample, Target

PARSIMONY = 0.05
"""What a node must earn: 5 % of the error on held-out networks.

Networks of one kind share mistakes, and a long formula learns those: its error on held-out networks goes
on falling a little for ever. A step towards the law lowers it by a third or more for every node.
"""

NUMBER = 2
"""What a fitted number counts beside its node: each may make up for a wrong shape, a simple one cannot."""

PASSES = 2.0
"""The peer ratio up to which an equation is offered as one: within twice what the networks disagree by.

Networks of one kind and one data set share mistakes as large as their own, so the true law may err up to that
much more than they do, while formulas far longer than the law learn what they share.
"""

AS_GOOD = 1.25
"""The peer ratio up to which an equation counts as good a witness as the peers, without a word of caution."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An equation, fitted to the consensus of all lineages, and how it does on each left out.

    `source` is what proposed it: ladder, reducer, or the name of an engine.
    """

    expression: Expression
    complexity: int
    error: float
    ratio: PeerRatio | None
    score: float
    source: str = field(default="", compare=False)

    @property
    def passes(self) -> bool:
        """Whether the equation errs at most PASSES times as much as the peers."""
        return self.ratio is None or self.ratio.value <= PASSES


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


class Judge:
    """Assess expressions on one target; holds what all assessments share."""

    def __init__(self, target: Target) -> None:
        self.target = target = scored(target) if target.linked else target
        self.fit: Fitting = fit_up_to_link if target.linked else fit
        self.goal = consensus(target.fit.values)
        self.scale = float(consensus(target.held_out.values).std())
        self.alone = len(target.fit.values) < 2
        self.regions = divide(target.held_out.inputs)
        self.noise = 1e-3 * self.scale if self.alone else _noise(target.fit.values)
        self.peer_r2 = float("nan") if self.alone else _mean_r2(peers(target.held_out.values), target.held_out.values)

    def assess(self, expression: Expression, source: str = "") -> Candidate:
        """Fit to the consensus, and without each lineage in turn; compare with the peers."""
        fitted = self.fit(expression, self.target.fit.columns, self.goal)
        held_out = self.target.held_out
        predicted = self._predict(fitted.expression, self.goal, held_out)
        error = float(np.sqrt(np.mean(np.square(predicted - consensus(held_out.values)))))
        ratio = None if self.alone or not np.isfinite(error) else self._ratio(fitted.expression)
        loss = ratio.value if ratio else error / (self.scale or 1.0) + 1e-3
        score = (
            round(float(np.log(max(loss, 1e-300)) + PARSIMONY * length(fitted.expression)), 9)
            if np.isfinite(loss) and np.isfinite(error)
            else np.inf
        )
        return Candidate(fitted.expression, complexity(fitted.expression), error, ratio, score, source)

    def assess_all(self, expressions: Iterable[Expression], source: str = "") -> list[Candidate]:
        """Assess those that a quick look at the consensus leaves in the running."""
        quick = [
            (complexity(f.expression), f.error, to_text(f.expression), f.expression)
            for f in (self.fit(e, self.target.fit.columns, self.goal) for e in expressions)
        ]
        kept, best = [], np.inf
        for _, error, _, expression in sorted(quick, key=lambda row: row[:3]):
            if error < best:
                kept.append(self.assess(expression, source))
                best = error
        return kept

    def _ratio(self, expression: Expression) -> PeerRatio:
        fitting, held_out = self.target.fit, self.target.held_out
        predictions = [
            self._predict(self.fit(expression, fitting.columns, without, steps=8).expression, without, held_out)
            for without in peers(fitting.values)
        ]
        return peer_ratio(np.stack(predictions), held_out.values, self.regions)

    def _predict(
        self, expression: Expression, fitted_to: Float[np.ndarray, " known"], sample: Sample
    ) -> Float[np.ndarray, " samples"]:
        """Evaluate a fitted expression, through the link if there is one."""
        inner = predict(expression, sample.columns, sample.values.shape[1])
        if not self.target.linked:
            return inner
        known = predict(expression, self.target.fit.columns, len(fitted_to))
        if not np.isfinite(known).all():
            return np.full_like(inner, np.nan)
        return fit_link(known, fitted_to)(inner)

    def shorten(self, candidate: Candidate) -> Candidate:
        """Drop parts of a candidate that do not earn their length above the networks' own noise."""

        def loss(expression: Expression, error: float) -> float:
            return float(np.log(np.hypot(error, self.noise)) + PARSIMONY * length(expression))

        shorter = prune(candidate.expression, self.target.fit.columns, self.goal, loss=loss, fitting=self.fit)
        return self.assess(shorter.expression, candidate.source)

    def snap(self, chosen: Candidate) -> Candidate:
        """Replace constants by the simple numbers they mean, while the peer ratio allows."""
        current, refused = chosen, set[float]()
        while True:
            near = self._near(current.expression, refused)
            if not near:
                return current
            _, place, simple = min(near)
            value = constants(current.expression)[place]
            trial = self.assess(simplify(_set(current.expression, place, simple)), chosen.source)
            if self._no_worse(trial, chosen):
                current = trial
            else:
                refused.add(value)

    def _near(self, expression: Expression, refused: set[float]) -> list[tuple[float, int, float]]:
        """List the free constants that mean a simple number: how sure that is, which one, the number.

        A constant is as uncertain as its spread over lineages, however many there are: mistakes that
        networks share do not average out. Two such spreads are the window that `simple_near` looks through.
        Exponents are more often simple than other numbers.
        """
        powers = exponents(expression)
        found = []
        for place in free(expression):
            estimate = self._estimate(expression, place)
            chance = 0.15 if place in powers else 0.05
            simple = simple_near(estimate.value, 2 / 3 * estimate.spread, chance=chance)
            if simple is not None and constants(expression)[place] not in refused:
                found.append((estimate.spread / abs(simple), place, simple))
        return found

    def _no_worse(self, trial: Candidate, chosen: Candidate) -> bool:
        if chosen.ratio is None or trial.ratio is None:
            return trial.error <= 1.05 * chosen.error
        return trial.score <= chosen.score or trial.ratio.value <= chosen.ratio.value + chosen.ratio.error

    def estimates(self, law: Expression) -> tuple[Expression, tuple[Estimate, ...]]:
        """Set every number of a law free, those that are exact one at a time, and ask each lineage.

        Returns the skeleton, whose variables c1, c2 … stand for the numbers.
        """
        whole = law if _has_scale(law) or self.target.linked else Constant(1.0) * law
        numbers = [
            replace(
                self._estimate(_set(whole, place, loose(value) if is_simple(value) else value), place),
                exact=value if is_simple(value) else None,
            )
            for place, value in enumerate(constants(whole))
        ]
        taken = set(self.target.fit.columns)
        names = [name for k in range(1, 10_000) if (name := f"c{k}") not in taken][: len(numbers)]
        named = tuple(replace(number, name=name) for number, name in zip(numbers, names, strict=True))
        return skeleton(whole, names), named

    def _estimate(self, expression: Expression, place: int) -> Estimate:
        """Fit all lineages together and each by itself: the spread is what single networks say."""
        whole = self._number(expression, place, self.goal, steps=30)
        each = [self._number(expression, place, values, steps=15) for values in self.target.fit.values]
        spread = float(np.std(each, ddof=1)) if len(each) > 1 else float("nan")
        reach = _student(len(each)) * spread * float(np.sqrt(1 + 1 / len(each)))
        return Estimate("", whole, spread, whole - reach, whole + reach, None)

    def _number(
        self, expression: Expression, place: int, values: Float[np.ndarray, " samples"], *, steps: int
    ) -> float:
        """Fit one number together with all others; NaN where it dropped out."""
        fitted = constants(self.fit(expression, self.target.fit.columns, values, steps=steps).expression)
        return fitted[place] if len(fitted) == len(constants(expression)) else float("nan")

    def evidence(self, expression: Expression) -> Evidence:
        """Gather fidelity, agreement and extrapolation of an equation."""
        held_out, outside = self.target.held_out, self.target.outside
        predicted = self._predict(expression, self.goal, held_out)
        extrapolation = peer_extrapolation = float("nan")
        if outside is not None:
            there = self._predict(expression, self.goal, outside)
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


def length(expression: Expression) -> int:
    """Measure how long an equation is to tell: its nodes, and NUMBER more for each fitted number."""
    return complexity(expression) + NUMBER * len(free(expression))


def _set(expression: Expression, place: int, value: float) -> Expression:
    values = list(constants(expression))
    values[place] = value
    return with_constants(expression, values)


def _has_scale(expression: Expression) -> bool:
    """Tell whether the whole is multiplied by a number already, is one, or is a sum whose terms have their own."""
    if is_call(expression, "add") or is_call(expression, "sub"):
        return True
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
    return float(student.ppf(0.975, many - 1)) if many > 1 else float("nan")


def _r2(predicted: Float[np.ndarray, " samples"], values: Float[np.ndarray, " samples"]) -> float:
    variance = float(values.var())
    if variance == 0:
        return float("nan")
    return float(1 - np.mean(np.square(predicted - values)) / variance)


def _mean_r2(predicted: Float[np.ndarray, "lineages samples"], values: Float[np.ndarray, "lineages samples"]) -> float:
    return float(np.mean([_r2(p, v) for p, v in zip(predicted, values, strict=True)]))
