"""Stimuli in colour: red, green and blue in 0..1, in the numbers that a network is given.

Hues are the circle about the grey axis of the RGB cube, in the plane where the three sum to nothing: a network
has no cones, and over photos the axes of RGB that vary on their own are about grey and two in this plane. So
luminance is the mean of the three, and every hue lies as far from grey as any other.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from .stimuli_plane import Column, Field, Plane, wave

WEIGHTS = (1 / 3, 1 / 3, 1 / 3)
"""What luminance is made of: shares of red, green and blue."""
Picture: TypeAlias = Float[np.ndarray, "samples height width 3"]


def axis(hue: Column) -> Picture:
    """Give the direction of a hue in RGB: red is 0, green 2 pi/3, blue 4 pi/3; its luminance is 0."""
    return np.asarray(np.cos(hue[..., None] - 2 * np.pi / 3 * np.arange(3)))


def grey(pattern: Field) -> Picture:
    """Show luminance around grey, in -1..1, as equal red, green and blue."""
    return np.asarray(np.repeat(0.5 + 0.5 * pattern[..., None], 3, axis=-1))


def chromatic_grating(
    plane: Plane, *, angle: Column, frequency: Column, phase: Column, contrast: Column, hue: Column
) -> Picture:
    """Draw a grating between a hue and its opponent, about grey and at its luminance."""
    pattern = contrast * wave(plane.along(angle), frequency, phase)
    return np.asarray(0.5 + 0.5 * pattern[..., None] * axis(hue))


def colour(plane: Plane, *, hue: Column, saturation: Column, luminance: Column) -> Picture:
    """Fill the field with one colour; saturation 1 is the farthest from grey that all hues of this luminance reach."""
    reach = np.minimum(luminance, 1 - luminance)
    shade = luminance[..., None] + (saturation * reach)[..., None] * axis(hue)
    return np.asarray(np.broadcast_to(shade, (len(hue), plane.y.shape[1], plane.x.shape[2], 3)))
