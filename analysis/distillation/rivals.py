"""Tell an equation from those that fit as well: ask the networks where they differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..formulas.expression import Expression, variables
from ..formulas.fit import fit, predict
from ..formulas.printing import to_text
from .consensus import consensus, divide, peers
from .judge import PARSIMONY, Candidate, length
from .stability import same_form
from .target import Rows, Target

CANDIDATES = 20_000
TELLING = 2_000
"""So many of the candidates, those where the two differ most, are divided into regions, the best of each asked."""
EACH = 16
WIDER = 0.05
"""How far beyond the range of an input networks are asked, as a share of it."""
LONGER = 6
"""So many nodes more than the chosen equation a rival may have."""
SURE = 2.0
"""Standard errors by which a rival must lose to be dropped."""
TOLD = 8
"""So many inputs that tell equations apart are listed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the rivals of an equation, asked where they differ most.

    `status` is `equation` where every rival lost, `ambiguous` where some are `kept`. `best` is the equation itself,
    or the rival that beat it. `inputs` are the points, with coordinates `names`, that tell best between
    the equation and the rivals that are kept or, where none is, those that were dropped.
    """

    status: str
    best: str
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    names: tuple[str, ...]
    inputs: tuple[tuple[float, ...], ...]


def rivals(chosen: Candidate, front: Sequence[Candidate]) -> tuple[Expression, ...]:
    """List what is within noise of the chosen equation: a peer ratio within one standard error, not much longer."""
    if chosen.ratio is None:
        return ()
    most, longest = chosen.ratio.value + chosen.ratio.error, chosen.complexity + LONGER
    return tuple(
        other.expression
        for other in front
        if other.ratio is not None and other.ratio.value <= most and other.complexity <= longest
        if not same_form(other.expression, chosen.expression)
    )


def settle(target: Target, chosen: Expression, rivals: Sequence[Expression], *, seed: int) -> Settled:
    """Ask the networks where a rival and the chosen equation differ most, and judge again there.

    Candidates are points drawn as the probe's are, of free functions also from a little beyond; where the networks
    cannot be asked, the held-out points serve. Those are asked where the two differ most for how far the
    networks disagree. Whichever errs more there by SURE standard errors, over lineages and regions, is
    dropped, be it the chosen one; but a longer one must earn its nodes, since networks share mistakes, and is no
    rival where it hardly differs by more than they disagree. Nor is the same skeleton with other numbers.
    """
    others = [rival for rival in rivals if not same_form(rival, chosen)]
    grounds = _grounds(target, [chosen, *others], seed)
    best, waiting, dropped, last = chosen, others, list[Expression](), list[_Duel]()
    while True:
        duels = [_duel(target, grounds, best, rival) for rival in waiting]
        dropped += [duel.rival for duel in duels if duel.lost]
        stronger = min((duel for duel in duels if duel.won), key=lambda duel: duel.margin, default=None)
        if stronger is None:
            kept = [duel for duel in duels if duel.open]
            return _report(best, kept, dropped, duels or last, grounds.names)
        dropped.append(best)
        best, last = stronger.rival, duels
        waiting = [duel.rival for duel in duels if not duel.lost and duel is not stronger]


@dataclass(frozen=True, slots=True, eq=False)
class _Grounds:
    """Points where the networks were asked, and what each said; `columns` are what equations are written in."""

    names: tuple[str, ...]
    rows: Rows
    columns: dict[str, Float[np.ndarray, " samples"]]
    values: Float[np.ndarray, "lineages samples"]

    def at(self, places: Int[np.ndarray, " telling"]) -> _Grounds:
        """Take some of the points."""
        columns = {name: column[places] for name, column in self.columns.items()}
        return _Grounds(self.names, self.rows[places], columns, self.values[:, places])


def _grounds(target: Target, expressions: Sequence[Expression], seed: int) -> _Grounds:
    needed = {name for expression in expressions for name in variables(expression)}
    functions = target.functions
    if functions is None or not needed <= set(functions.names):
        sample = target.held_out
        stacked = np.column_stack([*sample.columns.values()])
        return _Grounds(tuple(sample.columns), stacked, dict(sample.columns), sample.values)
    rows = functions.draw(CANDIDATES, seed)
    if functions.free:
        low, high = rows.min(axis=0), rows.max(axis=0)
        edge = WIDER * (high - low)
        beyond = np.random.default_rng(seed).uniform(low - edge, high + edge, (len(rows) // 4, rows.shape[1]))
        rows = np.concatenate([rows, beyond])
    return _Grounds(functions.names, rows, dict(zip(functions.names, rows.T, strict=True)), functions.values(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Duel:
    """How a rival did against an equation where the two differ most.

    `margin` is by how many standard errors it lost, `score` the logarithm of its error over the equation's, its
    greater length counted in, and `difference` how far the two lie apart, in what networks disagree by.
    """

    rival: Expression
    margin: float
    score: float
    difference: float
    longer: int
    inputs: Rows

    @property
    def lost(self) -> bool:
        """Whether it surely errs more."""
        return self.margin > SURE

    @property
    def won(self) -> bool:
        """Whether it is better by more than what a longer formula learns of mistakes that networks share."""
        return self.margin < -SURE and self.score < 0

    @property
    def open(self) -> bool:
        """Whether nothing surely speaks for either; a longer one must say something else, and earn its nodes."""
        return not self.lost and (self.longer <= 0 or (self.difference >= 1 and self.score < 0))


def _duel(target: Target, grounds: _Grounds, best: Expression, rival: Expression) -> _Duel:
    longer = length(rival) - length(best)
    if len(grounds.values) < 2:
        return _Duel(rival, 0.0, 0.0, 0.0, 0, grounds.rows[:0])
    spread = grounds.values.var(axis=0, ddof=1)
    noise = np.sqrt(spread + np.median(spread) + np.finfo(float).tiny)
    goal = consensus(target.fit.values)
    one, other = (_say(target, grounds, expression, goal) for expression in (best, rival))
    apart = np.abs(one - other) / noise
    telling = _telling(grounds, apart)
    if not len(telling):
        return _Duel(rival, np.inf, np.inf, np.inf, longer, grounds.rows[:0])
    asked = grounds.at(telling)
    ours, theirs = (_errors(target, asked, expression) / noise[telling] for expression in (best, rival))
    margin = _margin(theirs - ours, divide(asked.rows))
    score = float(np.log(theirs.mean() / max(ours.mean(), np.finfo(float).tiny))) + PARSIMONY * longer
    return _Duel(rival, margin, score, float(apart[telling].mean()), longer, asked.rows)


def _say(
    target: Target, grounds: _Grounds, expression: Expression, goal: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " asked"]:
    fitted = fit(expression, target.fit.columns, goal).expression
    return predict(fitted, grounds.columns, len(grounds.rows))


def _telling(grounds: _Grounds, difference: Float[np.ndarray, " samples"]) -> Int[np.ndarray, " telling"]:
    """Take the points where two equations differ most, from as many regions as such points lie in; best first."""
    order = np.argsort(-np.nan_to_num(difference, nan=-1.0, posinf=-1.0), kind="stable")[:TELLING]
    order = order[np.isfinite(difference[order])]
    regions = divide(grounds.rows[order])
    ranks = np.where(regions > 0, regions.cumsum(axis=0), np.inf).min(axis=1)
    return np.asarray(order[ranks <= EACH])


def _errors(target: Target, asked: _Grounds, expression: Expression) -> Float[np.ndarray, "lineages samples"]:
    said = [_say(target, asked, expression, without) for without in peers(target.fit.values)]
    return np.asarray(np.abs(np.stack(said) - asked.values))


def _margin(losses: Float[np.ndarray, "lineages samples"], regions: Float[np.ndarray, "samples regions"]) -> float:
    """Measure a mean in standard errors, over lineages and by a jackknife over regions, as `peer_ratio` does."""
    kept = 1.0 - regions
    without, count = (losses @ kept).mean(axis=0) / kept.sum(axis=0), regions.shape[1]
    over_regions = (count - 1) / count * np.square(without - without.mean()).sum()
    over_lineages = losses.mean(axis=1).var(ddof=1) / len(losses)
    error = float(np.sqrt(over_regions + over_lineages))
    return float(losses.mean()) / error if error > 0 else 0.0


def _report(
    best: Expression,
    kept: Sequence[_Duel],
    dropped: Sequence[Expression],
    duels: Sequence[_Duel],
    names: tuple[str, ...],
) -> Settled:
    inputs = [
        tuple(map(float, row)) for duel in (kept or duels) for row in duel.inputs[: -(-TOLD // len(kept or duels))]
    ]
    return Settled(
        "ambiguous" if kept else "equation",
        to_text(best),
        tuple(to_text(duel.rival) for duel in kept),
        tuple(map(to_text, dropped)),
        names,
        tuple(inputs),
    )
