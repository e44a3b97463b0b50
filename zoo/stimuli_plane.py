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
Direction: TypeAlias = Column | Field | Float[np.ndarray, "1 side side"]
"""An angle for each image, each pixel of each, or each pixel of all."""
TINY = 1e-12
"""Keeps from dividing by nothing where the result is not used."""


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

    def disc(self, radius: Column) -> Field:
        """Give the share of each pixel's area in a disc about the middle, its rim taken for straight in each.

        That alone would add pi/12 to the area, whatever the radius.
        """
        rim = np.sqrt(np.maximum(radius**2 - 1 / 12, 0.0))
        return side_of(rim - np.hypot(self.x, self.y), np.arctan2(self.y, self.x))


def wave(along: Field, frequency: Column, phase: Column) -> Field:
    """Give cos(2 pi f u + phase), in -1..1; frequency in cycles per pixel."""
    return np.asarray(np.cos(2 * np.pi * frequency * along + phase))


def side_of(distance: Field, angle: Direction) -> Field:
    """Give the share of each pixel's area on the positive side of an edge, exact where the edge is straight.

    `distance` is that of the pixel's centre, in pixels, and grows along `angle`. So outlines are soft over one
    pixel, and thin or slanted shapes keep their area.
    """
    flat, steep = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    far, near = (flat + steep) / 2, np.abs(flat - steep) / 2  # where the edge meets the pixel's corners
    depth = np.minimum(np.abs(distance), far)
    cut = (far - depth) ** 2 / (2 * np.maximum(flat * steep, TINY))  # the triangle beyond the edge
    share = np.where(depth <= near, depth / np.maximum(flat, steep), 0.5 - cut)
    return np.asarray(0.5 + np.copysign(share, distance))


def within(distance: Field, width: Column, angle: Direction) -> Field:
    """Give the share of each pixel's area within half a width of a line, also of one thinner than a pixel."""
    return np.asarray(side_of(distance + width / 2, angle) - side_of(distance - width / 2, angle))
