"""What units of several networks share of a curve of tuning: one vote a lineage, at a common gain and offset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Curve = Float[np.ndarray, " stimuli"]

STRENGTHS = ("orientation", "frequency")
"""Kinds of curves that say how strongly a unit answers, whichever way: none of them is turned over."""
STILL = 1e-6
"""A curve that varies by no more than this share of its largest value says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberCurve:
    """A unit's responses along one kind of coordinate; `sign` is that of its map against the feature's."""

    network: str
    lineage: str
    sign: int
    values: Curve


@dataclass(frozen=True, slots=True, eq=False)
class SharedCurves:
    """The curve of each lineage at the stimuli that all were shown, with standard deviation 1 and one mean for all.

    That mean is the lineages' own on average: some laws are 0 where nothing drives a unit, and have no offset.
    """

    lineages: tuple[str, ...]
    values: Float[np.ndarray, "lineages stimuli"]


def share_curves(members: Sequence[MemberCurve], kind: str) -> SharedCurves | None:
    """Bring members' curves over one kind of coordinate to one a lineage: units vote in networks, those in lineages.

    Some networks were shown fewer stimuli than others (frequencies that their lattice holds): the first ones are
    common to all. None where fewer than two lineages have units that vary.
    """
    common = min((len(one.values) for one in members), default=0)
    networks: dict[tuple[str, str], list[Curve]] = {}
    for one in members:
        curve = _signed(one, kind)[:common]
        if _varies(curve):
            networks.setdefault((one.lineage, one.network), []).append(curve / curve.std())
    lineages: dict[str, list[Curve]] = {}
    for (lineage, _), curves in networks.items():
        lineages.setdefault(lineage, []).extend(_averaged(curves))
    voted = {lineage: curve for lineage, curves in lineages.items() for curve in _averaged(curves)}
    if len(voted) < 2:
        return None
    values = np.stack([*voted.values()])
    return SharedCurves(tuple(voted), values - values.mean(axis=1, keepdims=True) + values.mean())


def _signed(one: MemberCurve, kind: str) -> Curve:
    """Turn a curve over where the unit stands for its feature's negative.

    Of spots and arcs each unit was asked at the contrast that drives it most: there the strongest answer has sign 1.
    """
    values = np.asarray(one.values, dtype=np.float64)
    if kind in STRENGTHS:
        return values
    if kind == "hue":
        return one.sign * values
    return values if values[np.abs(values).argmax()] >= 0 else -values


def _averaged(curves: Iterable[Curve]) -> list[Curve]:
    """Average curves of standard deviation 1 to one; none where they cancel."""
    mean = np.mean([*curves], axis=0)
    return [mean / mean.std()] if mean.std() > STILL else []


def _varies(curve: Curve) -> bool:
    return bool(np.isfinite(curve).all() and curve.std() > STILL * float(np.abs(curve).max(initial=0.0)))
