"""The plane that stimuli lie in: the centres of pixels, turned axes, and how much of a pixel lies in a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Column: TypeAlias = Float[np.ndarray, "samples 1 1"]
"""One number for each image."""
Field: TypeAlias = Float[np.ndarray, "samples side side"]
"""One number for each pixel of each image: pixels from a line, luminance around grey in -1..1, or a share in 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The centres of the pixels of a square, in pixels from its middle or from one place for each image.

    x goes to the right and y down.
    """

    x: Float[np.ndarray, "places 1 side"]
    y: Float[np.ndarray, "places side 1"]

    @classmethod
    def of(cls, side: int) -> Plane:
        """Lay out a square of so many pixels."""
        places = np.arange(side) - (side - 1) / 2
        return cls(places[None, None, :], places[None, :, None])

    def along(self, angle: Column) -> Field:
        """Give u, the distance from the middle along an angle (radians, from x towards y)."""
        return np.asarray(self.x * np.cos(angle) + self.y * np.sin(angle))

    def across(self, angle: Column) -> Field:
        """Give v, the distance from the middle at right angles to u."""
        return np.asarray(self.y * np.cos(angle) - self.x * np.sin(angle))

    def moved(self, x: Column, y: Column) -> Plane:
        """Measure from another place than the middle."""
        return Plane(self.x - x, self.y - y)


def wave(along: Field, frequency: Column, phase: Column) -> Field:
    """Give cos(2 pi f u + phase), in -1..1; frequency in cycles per pixel."""
    return np.asarray(np.cos(2 * np.pi * frequency * along + phase))


def side_of(distance: Field) -> Field:
    """Give the share of a pixel on the positive side of an edge, from the distance of its centre in pixels.

    The edge is as soft as one pixel is wide, whatever its angle: a straight edge convolved with a box.
    """
    return np.asarray(np.clip(distance + 0.5, 0.0, 1.0))


def within(distance: Field, width: Column) -> Field:
    """Give the share of a pixel within half a width of a line: exact also where the line is thinner than a pixel."""
    return np.asarray(side_of(distance + width / 2) - side_of(distance - width / 2))
