"""Give a feature its equation: the law of the kind of coordinate that its units are about, or what a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..distillation.search import Engine
from .feature_consensus import SharedCurves
from .feature_law import FeatureLaw, race_shared
from .feature_search import search_shared
from .tuning_cuts import CUTS
from .tuning_indices import ABOUT

DISAGREE = "lineages do not agree"
"""How the reason begins where there is nothing to be told."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureEquation:
    """The best law that was found of a feature, and why it is no equation: empty where it is one."""

    law: FeatureLaw
    reason: str = ""


def feature_equation(
    detector: str,
    curves: Mapping[str, SharedCurves],
    rows: Mapping[str, Float[np.ndarray, "_stimuli _coordinates"]],
    *,
    engine: Engine | None = None,
    seed: int = 0,
) -> FeatureEquation | None:
    """Race the laws on the curves of the kind that a detector is about, and search where none of them is reduced.

    A detector without a kind takes that whose law does best. None where there are no curves.
    """
    kinds = [ABOUT[detector]] if ABOUT.get(detector) in curves else [*curves]
    raced = [race_shared(curves[kind], rows[kind], CUTS[kind].coordinates, kind) for kind in kinds]
    if not raced:
        return None
    best = max(raced, key=lambda law: (law.agreed, law.r2))
    if not best.agreed:
        return FeatureEquation(best, f"{DISAGREE} on {told(best.kind)}: R² on each other {best.peer_r2:.2f}")
    if best.reduced:
        return FeatureEquation(best)
    names = CUTS[best.kind].coordinates
    searched = search_shared(curves[best.kind], rows[best.kind], names, best.kind, engine=engine, seed=seed)
    return _searched(best, searched)


def _searched(best: FeatureLaw, found: tuple[FeatureLaw, str] | None) -> FeatureEquation:
    """Take what was searched where it is reduced, better than the library's best law, and as good as the peers."""
    said = f"{best.law} explains {max(best.r2, 0.0):.1%} of what lineages share of {told(best.kind)}"
    if found is None:
        return FeatureEquation(best, f"{said}, on stimuli too few for a search")
    law, failed = found
    if law.reduced and law.r2 > best.r2 and not failed:
        return FeatureEquation(law)
    return FeatureEquation(best, f"{said}; of a search {failed or f'the best {max(law.r2, 0.0):.1%}'}")


def told(kind: str) -> str:
    """Name a kind of coordinate for people."""
    return "place" if kind == "position position" else kind
