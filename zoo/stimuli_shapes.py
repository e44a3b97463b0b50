"""Stimuli with outlines: luminance around grey in -1..1, each pixel by the share of its area in the shape."""

from __future__ import annotations

import numpy as np

from .stimuli_plane import Column, Field, Plane, side_of, within

SHARP, SLANT = 1e-6, 1e-4
"""A blur in pixels, and a slope, that are as good as none."""
STRAIGHT = 1e-9
"""Curvature, in 1/pixel, below which no image shows any."""


def bar(plane: Plane, *, x: Column, y: Column, angle: Column, width: Column, length: Column, contrast: Column) -> Field:
    """Draw a bar on grey: its width lies along the angle, its length across."""
    here = plane.moved(x, y)
    wide, long = within(here.along(angle), width, angle), within(here.across(angle), length, angle + np.pi / 2)
    return np.asarray(contrast * wide * long)


def spot(plane: Plane, *, x: Column, y: Column, radius: Column, contrast: Column) -> Field:
    """Draw a disc on grey."""
    return np.asarray(contrast * plane.moved(x, y).disc(radius))


def edge(plane: Plane, *, x: Column, y: Column, angle: Column, contrast: Column, blur: Column) -> Field:
    """Draw an edge through (x, y) from dark to bright, where the angle points.

    Each pixel is the mean over its area of a step that a Gaussian of standard deviation `blur` has softened: the
    second integral of the Gaussian, differenced over both sides of the pixel.
    """
    from scipy.special import ndtr

    spread = np.maximum(blur, SHARP)

    def integral(distance: Field) -> Field:
        z = distance / spread
        gauss = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        return np.asarray(((distance**2 + spread**2) * ndtr(z) + spread * distance * gauss) / 2)

    flat, steep = (np.maximum(np.abs(part), SLANT) for part in (np.cos(angle), np.sin(angle)))
    far, near, reach = (flat + steep) / 2, (flat - steep) / 2, 1 + 8 * spread
    along = np.clip(plane.moved(x, y).along(angle), -reach, reach)
    parts = integral(along + far) - integral(along + near) - integral(along - near) + integral(along - far)
    return np.asarray(contrast * (2 * np.clip(parts / (flat * steep), 0.0, 1.0) - 1))


def corner(plane: Plane, *, angle: Column, opening: Column, roundness: Column, contrast: Column) -> Field:
    """Draw a bright corner on dark that opens where the angle points, with its tip in the middle.

    `opening` is the angle between its sides, pi is a straight edge, and beyond that the dark is the corner. The
    tip is rounded to a circle of radius `roundness`. The outline is where a distance in closed form is zero.
    """
    hollow = opening > np.pi
    sign = np.where(hollow, -1.0, 1.0)
    half = np.where(hollow, 2 * np.pi - opening, opening) / 2
    u, across = plane.along(angle) * sign - roundness, plane.across(angle) * sign
    v = np.abs(across)
    at_side = u * np.cos(half) + v * np.sin(half) >= 0
    outside = np.where(at_side, v * np.cos(half) - u * np.sin(half), np.hypot(u, v)) - roundness
    turn = np.where(at_side, half + np.pi / 2, np.arctan2(v, u))
    bright = side_of(-outside, angle + np.copysign(turn, across))
    return np.asarray(contrast * sign * (2 * bright - 1))


def arc(plane: Plane, *, angle: Column, curvature: Column, width: Column, length: Column, contrast: Column) -> Field:
    """Draw a curved line through the middle, on grey; the angle points to the centre of its circle.

    `curvature` is one over the radius; none is a straight line. An arc ends at half a circle, whatever its
    length: beyond that it would point nowhere.
    """
    bend = np.maximum(curvature, STRAIGHT)
    u, v = plane.along(angle), plane.across(angle)
    reach = np.hypot(1 - bend * u, bend * v)  # distance from the centre of the circle, in radii
    inwards = (2 * u - bend * (u**2 + v**2)) / (1 + reach)
    turn = np.arctan2(bend * v, 1 - bend * u)
    half = np.minimum(length, np.pi / bend) / 2
    beyond = (np.abs(turn) / bend - half) * reach
    line = within(inwards, width, angle - turn)
    return np.asarray(contrast * line * side_of(-beyond, angle - turn + np.pi / 2))
