"""Hold shared directions against untrained twins: those share directions too, since all see the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .null import Twins, exceedance, q_values, untrain
from .shared import SharedDirections, profile, shared_directions
from .similarity import Activations

DRAWS = 10
FEWEST_DRAWS = 5
HOPELESS = 0.5
CERTAIN = 1.0 - 1e-9
EXPLAINED = 0.5
"""Of a direction that is new, units' features explain less than this share of variance."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedDirections:
    """The directions that networks share more than their untrained twins do, and by how much.

    Within the space that they span, axes are free, so all have one p and one q, those of its least certain
    rank. `lift` is the agreement on each over what the twins reach on as many directions, rank by rank. `new` marks
    those that no features of units explain.
    """

    shared: SharedDirections
    p: float
    q: float
    lift: Float[np.ndarray, " directions"]
    new: Bool[np.ndarray, " directions"]


def judge_shared(
    level: Sequence[Activations],
    *,
    known: Float[np.ndarray, "samples features"],
    twins: Twins,
    q: float = 0.05,
    seed: int = 0,
    draws: int = DRAWS,
) -> JudgedDirections:
    """Find the directions that networks share, as far as they agree more on them than untrained twins do.

    Twins go through the same procedure, and the first direction is held against their first, the second
    against their second. known: prototypes of what is shared by units already.
    """
    ours = profile(level)
    theirs, p = np.zeros((0, len(ours))), np.ones(len(ours))
    for draw in range(draws):
        twin = profile(untrain(level, twins(draw)))[: len(ours)]
        theirs = np.vstack([theirs, np.pad(twin, (0, len(ours) - len(twin)))])
        p = _chances(ours, theirs)
        if draw + 1 >= FEWEST_DRAWS and np.all(q_values(p) >= HOPELESS):
            break
    found = q_values(p)
    ranks = found <= q
    shared = shared_directions(level, ranks=ranks, seed=seed)
    return JudgedDirections(
        shared,
        float(p[ranks].max(initial=0.0)),
        float(found[ranks].max(initial=0.0)),
        _lift(shared, np.median(theirs, axis=0)[ranks]),
        _explained(shared.prototypes, known) < EXPLAINED,
    )


def _lift(shared: SharedDirections, usual: Float[np.ndarray, " ranks"]) -> Float[np.ndarray, " directions"]:
    lift, order = np.full(len(shared), np.nan), np.argsort(-shared.agreement, kind="stable")
    known = np.sort(usual)[::-1][: len(shared)]
    lift[order[: len(known)]] = np.where(known > 0.0, shared.agreement[order[: len(known)]] / known.clip(1e-12), np.nan)
    return lift


def _chances(
    ours: Float[np.ndarray, " ranks"], theirs: Float[np.ndarray, "draws ranks"]
) -> Float[np.ndarray, " ranks"]:
    """Compare how far we stand above the usual twin with how far single twins do, over all ranks.

    In Fisher's z, where a correlation's spread does not depend on its size.
    """
    z, null = (np.arctanh(np.clip(r, -CERTAIN, CERTAIN)) for r in (ours, theirs))
    usual = np.median(null, axis=0)
    return exceedance(z - usual, (null - usual).ravel())


def _explained(
    prototypes: Float[np.ndarray, "samples directions"], known: Float[np.ndarray, "samples features"]
) -> Float[np.ndarray, " directions"]:
    """Give the share of each direction's variance that lies in the span of what is known."""
    if not known.shape[1] or not prototypes.shape[1]:
        return np.zeros(prototypes.shape[1])
    centred = known - known.mean(axis=0)
    inside = centred @ np.linalg.lstsq(centred, prototypes, rcond=None)[0]
    explained: Float[np.ndarray, " directions"] = inside.var(axis=0) / prototypes.var(axis=0)
    return explained
