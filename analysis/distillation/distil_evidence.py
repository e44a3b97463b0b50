"""Gather what speaks for and against an equation that was chosen: rivals, other samples, single lineages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..formulas.expression import Expression
from ..formulas.fit import predict
from ..formulas.printing import to_text
from .dissent import Dissent, dissenters, without
from .distil import Distillation, before_all, pareto, simplest
from .gradient_agreement import gradient_agreement
from .judge import Candidate, Judge
from .link import fit_link
from .pooled import Number, Pooled, pool
from .rivals import Settled, rivals, settle
from .stability import stability
from .target import Target

LIKELY = 6
"""So many of the front, the best scored, are what a resample may choose from."""
RESAMPLES = 20
TOLD = 9
"""So many points of a monotone link are kept."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another formula of the front: `kept` fits as well as the chosen one, `dropped` lost to it where they differ.

    `inputs` are points, by name, that tell the two apart best.
    """

    expression: str
    complexity: int | None
    ratio: float
    status: str
    inputs: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """What makes of the equation what a lineage says: affine (factor, offset), or rising or falling through points."""

    lineage: int
    kind: str
    parameters: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Support:
    """What speaks for and against an equation; NaN and empty where there is none, or nothing to ask.

    `stability` is the share of resamples that choose the same form, `gradient_agreement` the mean cosine between
    gradients. `numbers` are those of the equation set free, each shared by all lineages or with a value for each.
    """

    stability: float = math.nan
    gradient_agreement: float = math.nan
    numbers: tuple[Number, ...] = ()
    links: tuple[Link, ...] = ()
    dissenters: tuple[Dissent, ...] = ()
    rivals: tuple[Rival, ...] = ()


def weigh(
    found: Distillation, target: Target, *, seed: int, progress: Callable[[str], None] = lambda step: None
) -> tuple[Distillation, Support]:
    """Hold an equation against its rivals, which may take its place, and ask what else speaks for it.

    Where rivals remain that fit as well, it is ambiguous. Without an equation there is nothing to weigh.
    """
    if found.status != "equation":
        return found, Support()
    progress("rivals")
    against = () if target.linked else dissenters(target, found.chosen.expression)
    majority = without(target, [one.lineage for one in against]) if against else target
    found, others = _settle(found, majority, seed)
    found = before_all(found, target) if against else found
    progress("resamples and gradients")
    law = found.chosen.expression
    gradients = gradient_agreement(target, law)
    pooled = None if target.linked else pool(target, law)
    return found, Support(
        stability=_stability(found, majority, seed),
        gradient_agreement=gradients.value if gradients else math.nan,
        numbers=_numbers(pooled, len(found.estimates)) if pooled else (),
        links=_affine(pooled, len(target.fit.values)) if pooled else _monotone(target, law),
        dissenters=against,
        rivals=others,
    )


def _settle(found: Distillation, target: Target, seed: int) -> tuple[Distillation, tuple[Rival, ...]]:
    waiting = () if target.linked else rivals(found.chosen, found.front)
    if not waiting:
        return found, ()
    settled = settle(target, found.chosen.expression, waiting, seed=seed)
    known = {to_text(candidate.expression): candidate for candidate in (found.chosen, *found.front)}
    if settled.best in known and settled.best != to_text(found.chosen.expression):
        found = _put(found, known[settled.best], target)
    if settled.kept:
        found = replace(found, status="ambiguous", reason=_fits_as_well(settled, found.reason))
    return found, _rivals(settled, known)


def _fits_as_well(settled: Settled, reason: str) -> str:
    many = len(settled.kept)
    said = f"{many} other formula{'s' if many > 1 else ''} of the front fit{'' if many > 1 else 's'} as well"
    return f"{said}; {reason}" if reason else said


def _put(found: Distillation, better: Candidate, target: Target) -> Distillation:
    """Put a rival in the place of the chosen equation, which it beat where the two differ most."""
    judge, before = Judge(target), to_text(found.chosen.expression, digits=5)
    chosen = judge.snap(better)
    form, estimates = judge.estimates(chosen.expression)
    said = f"errs less than {before} where the two differ most"
    return replace(
        found,
        reason=f"{said}; {found.reason}" if found.reason else said,
        chosen=chosen,
        skeleton=form,
        estimates=estimates,
        front=pareto([*found.front, chosen]),
        evidence=judge.evidence(chosen.expression),
    )


def _rivals(settled: Settled, known: dict[str, Candidate]) -> tuple[Rival, ...]:
    told = tuple(dict(zip(settled.names, row, strict=True)) for row in settled.inputs)

    def rival(text: str, status: str) -> Rival:
        candidate = known.get(text)
        ratio = candidate.ratio.value if candidate and candidate.ratio else math.nan
        return Rival(text, candidate.complexity if candidate else None, ratio, status, told)

    return tuple(rival(text, "ambiguous") for text in settled.kept) + tuple(
        rival(text, "dropped") for text in settled.dropped
    )


def _stability(found: Distillation, target: Target, seed: int) -> float:
    likely = sorted(found.front, key=lambda candidate: candidate.score)[:LIKELY]
    expressions = list(dict.fromkeys([found.chosen.expression, *(candidate.expression for candidate in likely)]))
    return stability(target, expressions, found.chosen.expression, _choose, resamples=RESAMPLES, seed=seed)


def _choose(target: Target, expressions: Sequence[Expression]) -> Expression:
    """Choose as `distil` does."""
    judge = Judge(target)
    front = pareto(judge.assess(expression) for expression in expressions)
    return simplest(front).expression if front else expressions[0]


def _numbers(pooled: Pooled, many: int) -> tuple[Number, ...]:
    """Give the numbers of the equation set free, of which the first may be a factor before the whole."""
    if len(pooled.numbers) + 1 == many:
        return (pooled.scale, *pooled.numbers)
    return pooled.numbers if len(pooled.numbers) == many else ()


def _affine(pooled: Pooled, lineages: int) -> tuple[Link, ...]:
    if not pooled.linked:
        return ()
    scales, offsets = (number.each or (number.value,) * lineages for number in (pooled.scale, pooled.offset))
    return tuple(Link(row, "affine", pair) for row, pair in enumerate(zip(scales, offsets, strict=True)))


def _monotone(target: Target, law: Expression) -> tuple[Link, ...]:
    """Fit the monotone function of each lineage; its points in a row: x1, y1, x2, y2, …"""
    sample = target.fit
    told = predict(law, sample.columns, sample.values.shape[1])
    if not np.isfinite(told).all():
        return ()
    links = []
    for row, values in enumerate(sample.values):
        link = fit_link(told, values)
        places = np.linspace(0, len(link.knots) - 1, min(TOLD, len(link.knots))).round().astype(int)
        points = np.column_stack([link.knots[places], link.values[places]]).ravel()
        kind = "rising" if link.values[-1] >= link.values[0] else "falling"
        links.append(Link(row, kind, tuple(map(float, points))))
    return tuple(links)
