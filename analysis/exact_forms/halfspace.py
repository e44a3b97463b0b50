"""Half-spaces, and which of those that bound a region it would not be without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linprog

from ..formulas.plane import Plane
from ..formulas.printing import to_text

RAYS = 256
"""So many random rays are shot from a point inside: what each meets first is a bound."""
ROUNDING = 1e-7
"""Distances below this share of the box are none: linear programming is no more exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Between which numbers each input lies."""

    low: Float[np.ndarray, " inputs"]
    high: Float[np.ndarray, " inputs"]

    def holds(self, rows: Float[np.ndarray, "rows inputs"]) -> Bool[np.ndarray, " rows"]:
        """Tell which rows lie in it."""
        return np.asarray(((rows >= self.low) & (rows <= self.high)).all(axis=1))


def condition(plane: Plane, names: Sequence[str], *, digits: int | None = None) -> str:
    """Write that a plane is not below 0, as text."""
    return f"{to_text(plane.expression(names), digits=digits)} >= 0"


def bounds(planes: Sequence[Plane], inside: Float[np.ndarray, " inputs"], box: Box) -> tuple[Plane, ...]:
    """Choose the planes that bound the region of a box in which none is negative, given a point inside.

    Left out are those that no point of the box passes before it passes another: first by their signs in the
    corners, then by rays from the point, and where both leave it open by linear programming.
    """
    scaled = _in_cube(planes, box)
    some = _not_everywhere(scaled)
    scaled = scaled[some]
    chosen = _met(scaled, (inside - box.low) / _width(box))
    for row in range(len(scaled)):
        if not chosen[row] and _is_bound(scaled, row, chosen | (np.arange(len(scaled)) > row)):
            chosen[row] = True
    return tuple(planes[some[row]] for row in np.flatnonzero(chosen))


def _width(box: Box) -> Float[np.ndarray, " inputs"]:
    return np.asarray(np.where(box.high > box.low, box.high - box.low, 1.0))


def _in_cube(planes: Sequence[Plane], box: Box) -> Float[np.ndarray, "planes numbers"]:
    """Write planes in coordinates that go from 0 to 1, constants last, each of length one."""
    weights = np.array([plane.weights for plane in planes]).reshape(len(planes), len(box.low))
    constants = np.array([plane.constant for plane in planes])
    found = np.column_stack([weights * (box.high - box.low), constants + weights @ box.low])
    length = np.linalg.norm(found[:, :-1], axis=1, keepdims=True)
    return np.asarray(found / np.where(length > 0, length, 1.0))


def _not_everywhere(scaled: Float[np.ndarray, "planes numbers"]) -> Int[np.ndarray, " some"]:
    """Leave out planes that are positive in the whole cube, and all but one of equal ones."""
    least = scaled[:, -1] + np.minimum(scaled[:, :-1], 0.0).sum(axis=1)
    _, first = np.unique(np.round(scaled / ROUNDING), axis=0, return_index=True)
    return np.intersect1d(np.flatnonzero(least < -ROUNDING), first)


def _met(
    scaled: Float[np.ndarray, "planes numbers"], inside: Float[np.ndarray, " inputs"]
) -> Bool[np.ndarray, " planes"]:
    """Mark planes that a ray from a point inside passes before any other, within the cube."""
    met = np.zeros(len(scaled), dtype=bool)
    rays = np.random.default_rng(0).standard_normal((RAYS, len(inside)))
    values = np.maximum(scaled[:, :-1] @ inside + scaled[:, -1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        falling = scaled[:, :-1] @ rays.T
        far = np.where(falling < 0, values[:, None] / -falling, np.inf)
        edge = np.where(rays > 0, (1.0 - inside) / rays, -inside / rays).min(axis=1)
    if len(scaled):
        order = np.sort(far, axis=0)
        clear = order[0] * (1 + ROUNDING) < (order[1] if len(order) > 1 else np.inf)
        met[far.argmin(axis=0)[clear & (order[0] < edge)]] = True
    return met


def _is_bound(scaled: Float[np.ndarray, "planes numbers"], row: int, others: Bool[np.ndarray, " planes"]) -> bool:
    """Tell whether a plane is negative anywhere in the cube where the others are not."""
    rest = others.copy()
    rest[row] = False
    limits = (-scaled[rest, :-1], scaled[rest, -1]) if rest.any() else (None, None)
    found = linprog(scaled[row, :-1], *limits, bounds=(0, 1))
    return bool(found.status != 0 or found.fun + scaled[row, -1] < -ROUNDING)
