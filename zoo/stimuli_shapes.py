"""Stimuli with outlines: luminance around grey in -1..1, outlines as soft as one pixel is wide."""

from __future__ import annotations

import numpy as np

from .stimuli_plane import Column, Field, Plane, side_of, within

SHARP = 1e-6
"""Pixels: a blur below this is none."""
STRAIGHT = 1e-9
"""Curvature, in 1/pixel, below which no image shows any."""


def bar(plane: Plane, *, x: Column, y: Column, angle: Column, width: Column, length: Column, contrast: Column) -> Field:
    """Draw a bar on grey: its width lies along the angle, its length across."""
    here = plane.moved(x, y)
    return np.asarray(contrast * within(here.along(angle), width) * within(here.across(angle), length))


def spot(plane: Plane, *, x: Column, y: Column, radius: Column, contrast: Column) -> Field:
    """Draw a disc on grey."""
    here = plane.moved(x, y)
    return np.asarray(contrast * side_of(radius - np.hypot(here.x, here.y)))


def edge(plane: Plane, *, x: Column, y: Column, angle: Column, contrast: Column, blur: Column) -> Field:
    """Draw an edge through (x, y) from dark to bright, where the angle points.

    The step is convolved with a box of one pixel and a Gaussian of standard deviation `blur`: the mean of
    the Gaussian's integral over the pixel, in closed form.
    """
    from scipy.special import ndtr

    def integral(distance: Field) -> Field:
        z = distance / spread
        return np.asarray(distance * ndtr(z) + spread * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))

    along, spread = plane.moved(x, y).along(angle), np.maximum(blur, SHARP)
    share = np.clip(integral(along + 0.5) - integral(along - 0.5), 0.0, 1.0)
    return np.asarray(contrast * (2 * share - 1))


def corner(plane: Plane, *, angle: Column, opening: Column, roundness: Column, contrast: Column) -> Field:
    """Draw a bright corner on dark that opens where the angle points, with its tip in the middle.

    `opening` is the angle between its sides, pi is a straight edge, and beyond that the dark is the corner. The
    tip is rounded to a circle of radius `roundness`. The outline is where a distance in closed form is zero.
    """
    hollow = opening > np.pi
    half = np.where(hollow, 2 * np.pi - opening, opening) / 2
    u, v = plane.along(angle) * np.where(hollow, -1.0, 1.0) - roundness, np.abs(plane.across(angle))
    beside = v * np.cos(half) - u * np.sin(half)
    outside = np.where(u * np.cos(half) + v * np.sin(half) >= 0, beside, np.hypot(u, v)) - roundness
    return np.asarray(contrast * np.where(hollow, -1.0, 1.0) * (2 * side_of(-outside) - 1))


def arc(plane: Plane, *, angle: Column, curvature: Column, width: Column, length: Column, contrast: Column) -> Field:
    """Draw a curved line through the middle, on grey; the angle points to the centre of its circle.

    `curvature` is one over the radius; none is a straight line. An arc ends at half a circle, whatever its
    length: beyond that it would point nowhere.
    """
    bend = np.maximum(curvature, STRAIGHT)
    u, v = plane.along(angle), plane.across(angle)
    reach = np.hypot(1 - bend * u, bend * v)  # distance from the centre of the circle, in radii
    inwards = (2 * u - bend * (u**2 + v**2)) / (1 + reach)
    half = np.minimum(length, np.pi / bend) / 2
    beyond = (np.abs(np.arctan2(bend * v, 1 - bend * u)) / bend - half) * reach
    return np.asarray(contrast * within(inwards, width) * side_of(-beyond))
