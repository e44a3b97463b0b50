"""Stimuli made of gratings: luminance around grey in -1..1, each at the centres of the pixels."""

from __future__ import annotations

import numpy as np

from .stimuli_plane import Column, Field, Plane, side_of, wave


def grating(plane: Plane, *, angle: Column, frequency: Column, phase: Column, contrast: Column) -> Field:
    """Draw a cosine over the whole field."""
    return np.asarray(contrast * wave(plane.along(angle), frequency, phase))


def gabor(
    plane: Plane,
    *,
    x: Column,
    y: Column,
    angle: Column,
    frequency: Column,
    phase: Column,
    width: Column,
    contrast: Column,
) -> Field:
    """Draw a grating under a round Gaussian of standard deviation `width`; the phase is that at (x, y)."""
    here = plane.moved(x, y)
    window = np.exp(-(here.x**2) / (2 * width**2)) * np.exp(-(here.y**2) / (2 * width**2))
    return np.asarray(grating(here, angle=angle, frequency=frequency, phase=phase, contrast=contrast) * window)


def plaid(
    plane: Plane,
    *,
    angle1: Column,
    angle2: Column,
    contrast1: Column,
    contrast2: Column,
    frequency: Column,
    phase1: Column,
    phase2: Column,
) -> Field:
    """Add two gratings of one frequency."""
    first = grating(plane, angle=angle1, frequency=frequency, phase=phase1, contrast=contrast1)
    return np.asarray(first + grating(plane, angle=angle2, frequency=frequency, phase=phase2, contrast=contrast2))


def surround(
    plane: Plane,
    *,
    centre_angle: Column,
    surround_angle: Column,
    centre_contrast: Column,
    surround_contrast: Column,
    radius: Column,
    frequency: Column,
    phase: Column,
) -> Field:
    """Draw a disc of one grating in a field of another."""
    inner = grating(plane, angle=centre_angle, frequency=frequency, phase=phase, contrast=centre_contrast)
    outer = grating(plane, angle=surround_angle, frequency=frequency, phase=phase, contrast=surround_contrast)
    return np.asarray(outer + (inner - outer) * plane.disc(radius))


def boundary(
    plane: Plane, *, angle: Column, f1: Column, f2: Column, turn: Column, phase: Column, contrast: Column
) -> Field:
    """Draw frequency f1 behind a line through the middle and f2 before it, where `angle` points.

    The stripes of both vary along `angle` + `turn`: with no turn they run along the line, and no seam shows.
    """
    across = plane.along(angle + turn)
    behind, before = wave(across, f1, phase), wave(across, f2, phase)
    return np.asarray(contrast * (behind + (before - behind) * side_of(plane.along(angle), angle)))
