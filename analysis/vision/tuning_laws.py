"""Textbook laws of tuning: how a unit's response may depend on the coordinates of a stimulus.

Each is an expression in coordinates and named numbers. Which of a unit's numbers are linear, and where the others may
lie, stands beside it: `tuning_fit` looks through a grid of those for a start and solves the linear ones. max(0, z) is
written 0.5*(z + abs(z)). A law is one entry of LAWS, under the kinds of its coordinates.
"""

from __future__ import annotations

from .laws_circular import HUE, circular
from .laws_contrast import CONTRAST, CONTRASTS
from .laws_frequency import BOUNDARIES, FREQUENCY, GRATINGS
from .laws_places import CORNERS, CURVATURE, spots
from .laws_size import LENGTH, SIZE
from .tuning_law import ROLES, Number, Role, TuningLaw

__all__ = ["LAWS", "ROLES", "Number", "Role", "TuningLaw", "laws_of"]

LAWS: dict[str, tuple[TuningLaw, ...]] = {
    "orientation": circular("angle", "half turn", "2*", "atan(tan(angle - angle0))"),
    "direction": circular("angle", "full turn", "", "2*atan(tan((angle - angle0)/2))"),
    "frequency": FREQUENCY,
    "hue": HUE,
    "contrast": CONTRAST,
    "curvature": CURVATURE,
    "contrast contrast": CONTRASTS,
    "position": spots(("x",)),
    "position position": spots(("x", "y")),
    "orientation frequency": GRATINGS,
    "direction roundness": CORNERS,
    "direction frequency frequency": BOUNDARIES,
    "size": SIZE,
    "length": LENGTH,
}
"""The laws that race, under the kinds of their coordinates in order: radians for angles and hues (an orientation
repeats after pi, a direction and a hue after 2 pi), cycles per pixel, contrast 0 to 1, pixels (a size is a radius)."""


def laws_of(*kinds: str) -> tuple[TuningLaw, ...]:
    """Give the laws of these kinds of coordinates in order; none where the library has none."""
    return LAWS.get(" ".join(kinds), ())
