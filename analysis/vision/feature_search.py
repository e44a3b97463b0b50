"""Search for a law of what lineages share where no law of the library is good enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..distillation.distil import Distillation, distil
from ..distillation.search import Engine
from ..formulas.printing import to_text
from .feature_consensus import SharedCurves
from .feature_law import FeatureLaw
from .tuning import FEW
from .tuning_target import TuningTarget, as_target

SEARCHES, EVALUATIONS = 3, 10_000
"""One short search for each alphabet: a feature's curve is one of many, and has few stimuli."""
DIGITS = 5


def search_shared(
    curves: SharedCurves,
    rows: Float[np.ndarray, "stimuli coordinates"],
    names: Sequence[str],
    kind: str,
    *,
    engine: Engine | None,
    seed: int = 0,
) -> tuple[FeatureLaw, str] | None:
    """Distil the lineages' curves in the coordinates in which laws are short; why it is no law, if it is none.

    None with fewer than FEW stimuli: half of them are held out, and the rest would fit anything.
    """
    points = rows[: curves.values.shape[1]]
    if len(points) < FEW:
        return None
    made = as_target(curves.values, points, names, kind.split(), lineages=curves.lineages)
    found = distil(made.target, engine=engine, restarts=SEARCHES, evaluations=EVALUATIONS, seed=seed)
    return _law(found, made, kind), found.reason if found.status == "no_equation" else ""


def _law(found: Distillation, made: TuningTarget, kind: str) -> FeatureLaw:
    """Write what came out in the coordinates of the stimulus."""
    ratio, agreement = found.chosen.ratio, found.evidence.agreement
    each = zip(agreement, ratio.each if ratio else [float("nan")] * len(agreement), strict=True)
    return FeatureLaw(
        kind=kind,
        law="no law of the library",
        expression=made.in_coordinates(found.chosen.expression),
        r2=found.evidence.fidelity,
        numbers={one.name: (one.value, one.spread) for one in found.estimates},
        by_lineage=dict(zip(made.target.lineages, each, strict=True)),
        peer_r2=found.evidence.peer_agreement,
        found_by=found.chosen.source,
        searched=found.searched,
        skeleton=to_text(made.in_coordinates(found.skeleton), digits=DIGITS),
    )
