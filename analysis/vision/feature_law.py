"""Race the laws of tuning on what lineages share, and ask how well each lineage is told by the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..distillation.consensus import consensus, peers
from ..distillation.distil import AGREED
from ..formulas.expression import Expression
from .feature_consensus import SharedCurves
from .tuning import REDUCED, hold_out, race, share, winner
from .tuning_fit import bind, fit_law, named
from .tuning_laws import LAWS, ROLES, TuningLaw

Rows = Float[np.ndarray, "stimuli coordinates"]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureLaw:
    """A law of what lineages share along one kind of coordinate, in standard deviations of their curves.

    `r2` is that of the consensus on held-out stimuli. `numbers` holds value and spread over lineages (standard
    deviation) of those that are neither gain nor offset; `by_lineage` R² on each lineage's held-out stimuli, fitted
    without it, and that error over the error of the other lineages' mean there (root mean squares). `peer_r2` is the
    mean R² of the others' mean on each lineage there. `found_by` is empty for a law of the library, `searched` names
    the engine that was asked besides; `skeleton` is the form with names for its numbers, where it is no law of the
    library.
    """

    kind: str
    law: str
    expression: Expression
    r2: float
    numbers: Mapping[str, tuple[float, float]]
    by_lineage: Mapping[str, tuple[float, float]]
    peer_r2: float
    found_by: str = ""
    searched: str = ""
    skeleton: str = ""

    @property
    def reduced(self) -> bool:
        """Tell whether the law says what the feature does: R² of REDUCED or more on held-out stimuli."""
        return self.r2 >= REDUCED

    @property
    def agreed(self) -> bool:
        """Tell whether there is anything to be told: lineages explain AGREED of each other."""
        return self.peer_r2 >= AGREED


def race_shared(curves: SharedCurves, rows: Rows, names: Sequence[str], kind: str) -> FeatureLaw:
    """Let the laws of one kind of coordinate race on the lineages' mean. Raises what `race_units` raises."""
    points, kinds = rows[: curves.values.shape[1]], tuple(kind.split())
    fit = winner(race(consensus(curves.values), points, names, kinds))
    law = next(law for law in LAWS[kind] if law.name == fit.law)
    numbers = {name: (fit.parameters[name], spread) for name, spread in _spreads(law, curves, points, names).items()}
    left_out, peer_r2 = leave_out(law, curves, points, names), predict_each_other(curves, points)
    return FeatureLaw(kind, law.name, fit.expression, fit.r2, numbers, left_out, peer_r2)


def predict_each_other(curves: SharedCurves, rows: Rows) -> float:
    """Measure the mean R² of the other lineages' mean on each lineage, on held-out stimuli."""
    tested = np.any(hold_out(rows), axis=0)
    own, errors = curves.values[:, tested], np.square(peers(curves.values) - curves.values)[:, tested]
    return float(np.mean([share(*pair) for pair in zip(errors, own, strict=True)]))


def leave_out(law: TuningLaw, curves: SharedCurves, rows: Rows, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Fit a law without each lineage in turn: R² on its held-out stimuli, and the peer ratio; see `FeatureLaw`.

    Empty where there are too few stimuli for the law's numbers.
    """
    own, others, turns = curves.values, peers(curves.values), hold_out(rows)
    told, bound = np.full(own.shape, np.nan), bind(law, tuple(names))
    for out in turns:
        thetas = fit_law(law, rows[~out], others[:, ~out], tuple(names))
        if thetas is None:
            return {}
        told[:, out] = np.stack([bound.values(theta, rows[out]) for theta in thetas])
    tested = np.any(turns, axis=0)
    wrong, usual = np.square(told - own)[:, tested], np.square(others - own)[:, tested]
    ratios = np.sqrt(wrong.sum(axis=1) / np.maximum(usual.sum(axis=1), 1e-12))
    each = zip(curves.lineages, wrong, own[:, tested], ratios, strict=True)
    return {lineage: (share(errors, goal), float(ratio)) for lineage, errors, goal, ratio in each}


def _spreads(law: TuningLaw, curves: SharedCurves, rows: Rows, names: Sequence[str]) -> dict[str, float]:
    """Tell how far lineages differ in the numbers of a law, each fitted alone; angles around their circle."""
    thetas = fit_law(law, rows, curves.values, tuple(names))
    if thetas is None:
        return {}
    each = [named(bind(law, tuple(names)), theta) for theta in thetas]
    free = [number for number in law.numbers if number.name not in law.gain]
    return {
        number.name: _spread(np.array([one[number.name] for one in each]), ROLES[number.role].turn) for number in free
    }


def _spread(numbers: Float[np.ndarray, " lineages"], turn: float) -> float:
    if not turn:
        return float(numbers.std(ddof=1))
    middle = np.angle(np.exp(2j * np.pi * numbers / turn).mean()) * turn / (2 * np.pi)
    apart = (numbers - middle + turn / 2) % turn - turn / 2
    return float(np.sqrt(np.square(apart).sum() / (len(apart) - 1)))
