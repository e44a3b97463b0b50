"""Distil the consensus of many networks into the simplest equation that is as good a witness as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from ..formulas.expression import Expression, variables
from ..formulas.fit import condense
from ..formulas.printing import to_text
from .dissent import dissenters, without
from .doubt import DOUBT, in_doubt
from .judge import AS_GOOD, PARSIMONY, Candidate, Estimate, Evidence, Judge
from .ladder import ladder
from .reduce import reduce
from .search import ALPHABETS, Engine, restart
from .target import Target

PATIENCE = len(ALPHABETS)
"""So many searches in a row, one for each alphabet, must find nothing better before the search ends early."""

AGREED = 0.5
"""R² of the peers on each other below which there is no consensus to distil."""

FAITHFUL = 0.8
"""R² on the consensus below which nothing is called a law, however little more the networks say of each other: what
they learned from the same noise is as smooth, and half as well fitted by short formulas."""

LADDER, REDUCER = "ladder", "reducer"
"""What finds equations before any engine is asked: see `ladder` and `reduce`."""

LONGEST = 45
"""No equation with more nodes is offered."""

MAJORITY = 3
"""So many lineages at least must be left for others to be called dissenters."""

TOLD = 3
"""So many lineages that dissent are named."""


class Tools(TypedDict):
    """What a search is made with."""

    engine: Engine | None
    restarts: int
    evaluations: int
    seed: int


@dataclass(frozen=True, slots=True)
class Distillation:
    """What came out: `equation`, or `no_equation` with the reason; the front either way.

    `searched` names the engine that searched, empty where none did; the chosen one's `source` says what found it.
    """

    status: str
    reason: str
    chosen: Candidate
    skeleton: Expression
    estimates: tuple[Estimate, ...]
    front: tuple[Candidate, ...]
    evidence: Evidence
    searched: str = ""


def distil(
    target: Target,
    *,
    engine: Engine | None,
    restarts: int,
    evaluations: int,
    seed: int,
    progress: Callable[[str], None] = lambda step: None,
) -> Distillation:
    """Find the simplest equation that predicts a left-out network as well as the other networks do.

    The ladder comes first, then `restarts` short searches with different seeds and alphabets; every
    expression is refitted without each lineage in turn and judged on that lineage at points that it was not
    fitted to. With a single lineage there are no peers: the knee of the front is offered, and says so. Lineages
    that dissent are left out and it is looked for again. Up to a link, as of a classifier's logit, what falls short is
    looked for again where the lineages are in doubt.
    """
    tools: Tools = {"engine": engine, "restarts": restarts, "evaluations": evaluations, "seed": seed}
    if target.linked:
        return _up_to_link(target, tools, progress)
    found = _distil(target, progress=progress, **tools)
    named = [one.lineage for one in dissenters(target, found.chosen.expression)]
    if not named or len(target.fit.values) - len(named) < MAJORITY:
        return found
    progress("without those who dissent")
    again = before_all(_distil(without(target, named), progress=progress, **tools), target)
    return replace(again, reason="; ".join(filter(None, (_left_out(target, named), again.reason))))


def _left_out(target: Target, rows: Sequence[int]) -> str:
    who = ", ".join(target.lineages[row] for row in rows[:TOLD]) if target.lineages else ""
    more = f" and {len(rows) - TOLD} more" if len(rows) > TOLD else ""
    said = "dissents and is left out" if len(rows) == 1 else "dissent and are left out"
    return f"{len(rows)} of {len(target.fit.values)} lineages {said}{f': {who}{more}' if who else ''}"


def before_all(found: Distillation, target: Target) -> Distillation:
    """Hold an equation that some lineages had no part in against each of them."""
    judge = Judge(target)
    ratio, whole = found.chosen.ratio, judge.assess(found.chosen.expression).ratio
    chosen = replace(found.chosen, ratio=replace(ratio, each=whole.each) if ratio and whole else ratio)
    evidence = replace(found.evidence, agreement=judge.evidence(chosen.expression).agreement)
    return replace(found, chosen=chosen, evidence=evidence)


def _up_to_link(target: Target, tools: Tools, progress: Callable[[str], None]) -> Distillation:
    """Take the ladder and the reducer alone where functions may be asked: engines search for values, not for slopes."""
    tools = {**tools, "engine": None} if target.functions else tools
    near = in_doubt(target, seed=tools["seed"])
    found = _distil(target, progress=progress, **tools)
    if near is None or not found.reason:
        return found
    progress("where the networks are in doubt")
    again = _distil(near, progress=progress, **tools)
    if again.status == "no_equation" or (found.status == "equation" and again.chosen.score >= found.chosen.score):
        return found
    where = f"holds where the networks are in doubt (|{target.name}| < {DOUBT:g}): beyond, they share mistakes"
    return replace(again, reason="; ".join(filter(None, (where, again.reason))))


def _distil(
    target: Target,
    *,
    engine: Engine | None,
    restarts: int,
    evaluations: int,
    seed: int,
    progress: Callable[[str], None],
) -> Distillation:
    judge = Judge(target)
    progress("ladder")
    front = pareto(judge.assess(expression, LADDER) for expression in ladder(target.fit.columns, judge.goal))
    if target.functions is not None and target.fit.columns:
        progress("asking the networks")
        told = [one for one in reduce(target, seed=seed) if {*variables(one)} <= {*target.fit.columns}]
        front = pareto([*front, *judge.assess_all(told, REDUCER)])
        front = pareto([*front, *(judge.snap(judge.shorten(candidate)) for candidate in _likely(front))])
    searched = engine.name if engine and target.fit.columns and not _settled(front) else ""
    if engine and searched:
        found = restart(engine, target.fit.columns, judge.goal, restarts=restarts, evaluations=evaluations, seed=seed)
        front = _search(judge, front, found, searched, progress=lambda n: progress(f"search {n} of at most {restarts}"))
    progress("choosing")
    front = pareto([*front, *(judge.snap(judge.shorten(candidate)) for candidate in _likely(front))])
    chosen = judge.snap(simplest(front))
    front = pareto([*front, chosen])
    if not chosen.passes:
        chosen = min(front, key=_merit)  # nothing is offered; the most accurate shows how far the search came
    form, estimates = judge.estimates(chosen.expression)
    evidence = judge.evidence(chosen.expression)
    status, reason = _verdict(chosen, front, judge, evidence)
    return Distillation(status, reason, chosen, form, estimates, front, evidence, searched)


def _likely(front: Sequence[Candidate]) -> list[Candidate]:
    return sorted(front, key=lambda candidate: candidate.score)[:4]


def _settled(front: Sequence[Candidate]) -> bool:
    """Tell whether an equation is found already that is as good a witness as the peers: no search is needed."""
    chosen = simplest(front)
    return chosen.ratio is not None and chosen.ratio.value <= AS_GOOD and not _outdone(chosen, front)


def _search(
    judge: Judge,
    front: tuple[Candidate, ...],
    found: Iterator[list[Expression]],
    source: str,
    *,
    progress: Callable[[int], None],
) -> tuple[Candidate, ...]:
    """Take in what searches find, until it passes and nothing better comes for a while."""
    columns, idle = judge.target.fit.columns, 0
    with closing(found):  # type: ignore[type-var]
        for number, expressions in enumerate(found, 1):
            progress(number)
            before = simplest(front).score
            condensed = (condense(one, columns, judge.goal, fitting=judge.fit).expression for one in expressions)
            front = pareto([*front, *judge.assess_all(condensed, source)])
            front = pareto([*front, judge.shorten(simplest(front))])
            chosen = simplest(front)
            idle = idle + 1 if chosen.score > before - PARSIMONY / 2 else 0
            if idle >= PATIENCE and chosen.passes and not _outdone(chosen, front):
                break
    return front


def pareto(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Keep what no simpler candidate beats."""
    best: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.complexity, c.score, to_text(c.expression))):
        if not np.isfinite(candidate.score) or (best and best[-1].complexity == candidate.complexity):
            continue
        if not best or _merit(candidate) < _merit(best[-1]):
            best.append(candidate)
    return tuple(best)


def _merit(candidate: Candidate) -> float:
    return candidate.ratio.value if candidate.ratio else candidate.error


def simplest(front: Sequence[Candidate]) -> Candidate:
    """Choose the simplest within one standard error of the best held-out error, parsimony counted in.

    What passes goes before what does not, however short that is.
    """
    running = [candidate for candidate in front if candidate.passes] or front
    best = min(running, key=lambda candidate: candidate.score)
    slack = best.ratio.error / best.ratio.value if best.ratio else 0.0
    return next(candidate for candidate in running if candidate.score <= best.score + slack)


def _verdict(chosen: Candidate, front: Sequence[Candidate], judge: Judge, evidence: Evidence) -> tuple[str, str]:
    if not np.isfinite(judge.scale) or judge.scale == 0:
        return "no_equation", "the consensus does not vary"
    if judge.alone:
        return "equation", "one lineage only: no peers to compare with, the knee of the front is shown"
    if judge.peer_r2 <= AGREED:
        return (
            "no_equation",
            f"the networks agree on nothing that varies (R² on each other {judge.peer_r2:.2f})",
        )
    if chosen.complexity > LONGEST:
        return "no_equation", f"nothing within {LONGEST} nodes is as good as the peers"
    if not chosen.passes:
        return "no_equation", (
            f"the best found, of {chosen.complexity} nodes, errs {_merit(chosen):.2f} times as much as the peers do"
        )
    if evidence.fidelity < FAITHFUL:
        return "no_equation", (
            f"the best found, of {chosen.complexity} nodes, explains {max(evidence.fidelity, 0.0):.0%} of the consensus"
        )
    if not variables(chosen.expression):
        return "no_equation", "no formula is better than a constant"
    return "equation", _caution(chosen, front)


def _caution(chosen: Candidate, front: Sequence[Candidate]) -> str:
    """Say what a reader must know of an equation that is not quite as good a witness as the peers."""
    doubt = "the networks share mistakes, or this approximates a law that was not found"
    better = _outdone(chosen, front)
    if better:
        return f"{better.complexity} nodes reach a peer ratio of {_merit(better):.2f}: {doubt}"
    if _merit(chosen) > AS_GOOD:
        return f"errs {_merit(chosen):.2f} times as much as the peers do: {doubt}"
    return ""


def _outdone(chosen: Candidate, front: Sequence[Candidate]) -> Candidate | None:
    """Find the most accurate candidate, if it is better than the chosen one by more than a standard error."""
    best = min(front, key=_merit)
    return best if best.ratio and chosen.ratio and chosen.ratio.value > best.ratio.value + best.ratio.error else None
