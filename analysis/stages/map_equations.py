"""Equations of features of maps: what their units share of their curves of tuning, as a law with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..distillation.search import Engine
from ..formulas.printing import to_text
from ..vision.feature_consensus import MemberCurve, SharedCurves, share_curves
from ..vision.feature_equation import FeatureEquation, feature_equation
from ..vision.feature_law import FeatureLaw
from ..vision.map_features import MapMember
from .stage_tuning import family_rows

Unit = tuple[str, str, int]
Told = Mapping[Unit, Mapping[str, Any]]
"""What was found of every unit by stimuli, by network, layer and number."""
KINDS = ("orientation", "frequency", "hue", "position position", "direction", "curvature")
"""Kinds of curves that are had from all units at the same stimuli."""
CALLED: Mapping[str, str] = {
    "orientation": "oriented",
    "frequency": "frequency",
    "hue": "colour",
    "position position": "spot",
    "direction": "curve",
    "curvature": "curve",
}
"""What a feature is called by the kind of its law, where its units alone are not reduced."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a feature is called, and its equation as families have it; `unreduced` says why there is none."""

    detector: str
    form: str
    expression: str
    fidelity: float
    shared: Mapping[str, tuple[float, float]]
    by_lineage: Mapping[str, tuple[float, float]]
    peer_agreement: float | None = None
    unreduced: str = ""
    found_by: str = ""
    searched: str = ""
    skeleton: str = ""


UNREDUCED = "not reduced"
NOTHING = Written(UNREDUCED, "", "0", float("nan"), {}, {}, unreduced="no two lineages have units that stimuli drive")


def write_equation(
    detector: str, members: Sequence[MapMember], told: Told, *, engine: Engine | None, seed: int
) -> Written:
    """Find the equation of a feature from the curves of its members, or say why there is none.

    `detector` is what most members are; where they are not reduced, what they share may be, and names the feature.
    """
    curves = {kind: shared for kind in KINDS if (shared := _shared(members, told, kind)) is not None}
    rows = {kind: family_rows(kind) for kind in curves}
    found = feature_equation(detector, curves, rows, engine=engine, seed=seed)
    if found is None:
        return replace(NOTHING, detector=detector)
    unnamed = detector == UNREDUCED and not found.reason
    return _written(found, CALLED[found.law.kind] if unnamed else detector, rows[found.law.kind])


def _shared(members: Sequence[MapMember], told: Told, kind: str) -> SharedCurves | None:
    units = [(one, told.get((one.network, one.layer, one.unit), {}).get("curves", {})) for one in members]
    own = [
        MemberCurve(one.network, one.lineage, one.sign, np.array(curves[kind], dtype=np.float64))
        for one, curves in units
        if kind in curves
    ]
    return share_curves(own, kind)


def _written(found: FeatureEquation, detector: str, rows: Float[np.ndarray, "stimuli coordinates"]) -> Written:
    law = found.law
    return Written(
        detector=detector,
        form="" if found.reason else _form(law, rows),
        expression=to_text(law.expression),
        fidelity=law.r2,
        shared=dict(law.numbers),
        by_lineage=dict(law.by_lineage),
        peer_agreement=law.peer_r2,
        unreduced=found.reason,
        found_by=law.found_by,
        searched=law.searched,
        skeleton=law.skeleton,
    )


def _form(law: FeatureLaw, rows: Float[np.ndarray, "stimuli coordinates"]) -> str:
    """Name a law; one whose peak lies beyond the frequencies that were shown is known by its flank alone."""
    peak, _ = law.numbers.get("frequency0", (rows[0, 0], 0.0))
    within = rows[:, 0].min() <= peak <= rows[:, 0].max()
    return law.law if within or law.kind != "frequency" else f"flank of a {law.law}"
