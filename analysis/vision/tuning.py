"""Race the laws of tuning on each unit: fitted on some stimuli, scored on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from ...zoo.errors import BadInput
from ..formulas.expression import Expression, complexity
from .tuning_fit import Bound, bind, fit_law, named
from .tuning_laws import LAWS, TuningLaw, laws_of

REDUCED = 0.9
"""R² on held-out stimuli from which a law says what the unit does; below, the unit is not reduced."""

AS_GOOD = 0.01
"""So much of a unit's variance counts for nothing: a law that is this close to the best is as good."""


FEW = 20
"""With fewer stimuli than this none is spared: each is predicted by a law fitted to the others, in FOLDS turns."""

FOLDS = 5

Held = Bool[np.ndarray, " samples"]


@dataclass(frozen=True, slots=True, eq=False)
class LawFit:
    """A law fitted to a unit.

    `expression` is in the names of the coordinates. `r2` is on the held-out stimuli, 1 - SSE over the squares about
    their mean (0 for a unit that does not vary); `r2_fit` and `bic` are on those that the numbers were fitted to.
    `wins` marks the one law that the race chose.
    """

    law: str
    expression: Expression
    parameters: Mapping[str, float]
    r2: float
    r2_fit: float
    bic: float
    wins: bool = False

    @property
    def reduced(self) -> bool:
        """Tell whether the law says what the unit does: R² of REDUCED or more on held-out stimuli."""
        return self.r2 >= REDUCED


def race(
    values: Float[np.ndarray, " samples"],
    rows: Float[np.ndarray, "samples coordinates"],
    names: Sequence[str],
    kinds: Sequence[str],
    *,
    held_out: Bool[np.ndarray, " samples"] | None = None,
) -> tuple[LawFit, ...]:
    """Fit every law of these kinds of coordinates to one unit and choose one; see `race_units`."""
    return race_units(np.asarray(values)[None], rows, names, kinds, held_out=held_out)[0]


def race_units(
    values: Float[np.ndarray, "units samples"],
    rows: Float[np.ndarray, "samples coordinates"],
    names: Sequence[str],
    kinds: Sequence[str],
    *,
    held_out: Bool[np.ndarray, " samples"] | None = None,
) -> tuple[tuple[LawFit, ...], ...]:
    """Fit every law of these kinds of coordinates to each unit, in the library's order, and choose one for each.

    A law with the fewest numbers wins among those whose squared error on the held-out stimuli (see `hold_out`) is
    within one standard error of the best's (of paired differences; Breiman et al. 1984), or within AS_GOOD of the
    variance; of several with as many numbers the shortest that is as close to the best of them. Nothing is forced:
    whether the winner is `reduced` says its R². Laws that have no value at some stimulus, or as many numbers as there
    are stimuli to fit, do not race. Raises BadInput where LAWS has no such kinds, or a response is not finite.
    """
    laws = laws_of(*kinds)
    if not laws:
        raise BadInput(f"no law of tuning for {' '.join(kinds)!r}", hint=f"known are {', '.join(LAWS)}")
    curves, points = np.asarray(values, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    if not np.isfinite(curves).all():
        raise BadInput("a response is not finite", hint="leave such units out")
    turns = hold_out(points) if held_out is None else (held_out,)
    fits = [_fits(law, points, curves, tuple(names), turns) for law in laws]
    return tuple(_chosen([fit[unit] for fit in fits if fit]) for unit in range(len(curves)))


def winner(fits: Sequence[LawFit]) -> LawFit:
    """Give the law that won."""
    return next(fit for fit in fits if fit.wins)


def hold_out(rows: Float[np.ndarray, "samples coordinates"]) -> tuple[Held, ...]:
    """Say which stimuli are held out: half of them once, or where they are few each once, in several turns."""
    if len(rows) >= FEW:
        return (alternate(rows),)
    order = np.lexsort(rows.T[::-1]).argsort()
    return tuple(order % FOLDS == turn for turn in range(min(FOLDS, len(rows))))


def alternate(rows: Float[np.ndarray, "samples coordinates"]) -> Bool[np.ndarray, " samples"]:
    """Hold out every second value of a coordinate, and on a grid of several the black fields of the chess board."""
    ranks = [np.unique(np.round(column, 9), return_inverse=True)[1] for column in rows.T]
    return np.asarray(np.sum(ranks, axis=0) % 2 == 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    fit: LawFit
    numbers: int
    errors: Float[np.ndarray, " held_out"]
    variance: float


def _fits(
    law: TuningLaw,
    rows: Float[np.ndarray, "samples coordinates"],
    values: Float[np.ndarray, "units samples"],
    names: tuple[str, ...],
    turns: Sequence[Held],
) -> list[_Scored]:
    """Fit a law to what is not held out and score it on what is; with several turns, refit it without each."""
    bound, errors = bind(law, names), np.full(values.shape, np.nan)
    known = ~turns[0] if len(turns) == 1 else np.full(len(rows), True)
    thetas = again = fit_law(law, rows[known], values[:, known], names)
    for out in turns:
        if len(turns) > 1:  # from the start again: what was fitted to all would tell of what is held out
            again = fit_law(law, rows[~out], values[:, ~out], names)
        if again is None:
            return []
        errors[:, out] = _squares(bound, again, rows[out], values[:, out])
    assert thetas is not None
    own, tested = _squares(bound, thetas, rows[known], values[:, known]), np.any(turns, axis=0)
    each = zip(thetas, errors[:, tested], own, values, strict=True)
    return [_scored(bound, theta, wrong, mine, curve[tested], curve[known]) for theta, wrong, mine, curve in each]


def _squares(
    bound: Bound,
    thetas: Float[np.ndarray, "units parameters"],
    rows: Float[np.ndarray, "some coordinates"],
    values: Float[np.ndarray, "units some"],
) -> Float[np.ndarray, "units some"]:
    predicted = np.stack([bound.values(theta, rows) for theta in thetas])
    return np.asarray(np.nan_to_num(np.square(predicted - values), nan=np.inf))


def _scored(
    bound: Bound,
    theta: Float[np.ndarray, " parameters"],
    errors: Float[np.ndarray, " held_out"],
    own_errors: Float[np.ndarray, " fitted"],
    goal: Float[np.ndarray, " held_out"],
    own_goal: Float[np.ndarray, " fitted"],
) -> _Scored:
    fit = LawFit(
        bound.law.name,
        bound.expression(theta),
        named(bound, theta),
        share(errors, goal),
        share(own_errors, own_goal),
        _bic(own_errors, own_goal, len(theta)),
    )
    return _Scored(fit, len(theta), errors, float(goal.var()))


def share(errors: Float[np.ndarray, " some"], values: Float[np.ndarray, " some"]) -> float:
    """Compute R² from squared errors: 1 - SSE over the squares about the mean; 0 where nothing varies."""
    squares = float(np.square(values - values.mean()).sum()) if len(values) else 0.0
    if squares <= 1e-20 * float(np.square(values).sum()):
        return 0.0
    return 1.0 - float(errors.sum()) / squares


def _bic(errors: Float[np.ndarray, " some"], values: Float[np.ndarray, " some"], numbers: int) -> float:
    floor = 1e-12 * float(np.square(values).mean()) + 1e-300
    return len(errors) * float(np.log(errors.mean() + floor)) + numbers * float(np.log(len(errors)))


def _chosen(scored: Sequence[_Scored]) -> tuple[LawFit, ...]:
    running = _as_good(scored)
    fewest = min(one.numbers for one in running)
    equals = _as_good([one for one in running if one.numbers == fewest])
    wins = min(equals, key=lambda one: complexity(one.fit.expression))
    return tuple(replace(one.fit, wins=one is wins) for one in scored)


def _as_good(scored: Sequence[_Scored]) -> list[_Scored]:
    """Keep those that err no more than the best by a standard error, or by AS_GOOD of the variance."""
    best = min(scored, key=lambda one: float(one.errors.mean()))
    return [one for one in scored if one is best or _no_worse(one, best)]


def _no_worse(one: _Scored, best: _Scored) -> bool:
    worse = one.errors - best.errors
    if not np.isfinite(worse).all():
        return False
    noise = float(worse.std(ddof=1) / np.sqrt(len(worse))) if len(worse) > 1 else 0.0
    return float(worse.mean()) <= max(noise, AS_GOOD * best.variance)
