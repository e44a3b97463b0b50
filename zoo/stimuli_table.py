"""The table of stimuli: what each varies in, how far, and how finely a grid samples it unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi

from .stimuli_colour import chromatic_grating, colour
from .stimuli_gratings import boundary, gabor, grating, plaid, surround
from .stimuli_shapes import arc, bar, corner, edge, spot
from .stimulus import Coordinate, Span, Stimulus


def _turning(name: str, count: int, *, period: float = 2 * pi, default: float = 0.0) -> Coordinate:
    return Coordinate(name, 0.0, period, "rad", period, default, Span(0.0, period, count))


def _frequency(name: str, count: int, *, default: float = 0.1) -> Coordinate:
    return Coordinate(name, 0.0, 0.5, "cycles/px", None, default, Span(0.02, 0.35, count, ratio=True))


def _contrast(name: str = "contrast", count: int = 1, *, low: float = 0.0, high: float = 1.0) -> Coordinate:
    return Coordinate(name, low, high, "", None, high, Span(low, high, count))


def _place(name: str, count: int) -> Coordinate:
    return Coordinate(name, -256.0, 256.0, "px", None, 0.0, Span(-8.0, 8.0, count))


def _size(name: str, low: float, high: float, count: int, *, default: float) -> Coordinate:
    return Coordinate(name, 0.5, 512.0, "px", None, default, Span(low, high, count, ratio=True))


_SIGNED = _contrast(count=2, low=-1.0)
_TABLE = (
    Stimulus(
        "grating",
        "a cosine all over",
        (_turning("angle", 36, period=pi), _frequency("frequency", 10), _turning("phase", 8), _contrast()),
        grating,
    ),
    Stimulus(
        "chromatic_grating",
        "a grating between a hue and its opponent, at the luminance of grey",
        (
            _turning("angle", 6, period=pi),
            _frequency("frequency", 5),
            _turning("phase", 4),
            _contrast(),
            _turning("hue", 12),
        ),
        chromatic_grating,
    ),
    Stimulus(
        "gabor",
        "a grating under a round Gaussian; width is its standard deviation",
        (
            _place("x", 3),
            _place("y", 3),
            _turning("angle", 8, period=pi),
            _frequency("frequency", 4),
            _turning("phase", 4),
            _size("width", 4.0, 16.0, 2, default=8.0),
            _contrast(),
        ),
        gabor,
    ),
    Stimulus(
        "bar",
        "a bright or dark bar",
        (
            _place("x", 3),
            _place("y", 3),
            _turning("angle", 12, period=pi),
            _size("width", 2.0, 8.0, 3, default=4.0),
            _size("length", 4.0, 64.0, 5, default=32.0),
            _SIGNED,
        ),
        bar,
    ),
    Stimulus(
        "spot",
        "a bright or dark disc",
        (_place("x", 5), _place("y", 5), _size("radius", 1.0, 24.0, 6, default=8.0), _SIGNED),
        spot,
    ),
    Stimulus(
        "edge",
        "a straight edge, bright where the angle points",
        (
            _place("x", 5),
            _place("y", 5),
            _turning("angle", 24, default=pi / 6),
            _contrast(),
            Coordinate("blur", 0.0, 64.0, "px", None, 0.0, Span(0.0, 4.0, 2)),
        ),
        edge,
    ),
    Stimulus(
        "corner",
        "a bright corner that opens where the angle points; its tip is rounded",
        (
            _turning("angle", 24),
            Coordinate("opening", pi / 36, 71 * pi / 36, "rad", None, pi / 2, Span(pi / 6, 11 * pi / 6, 6)),
            Coordinate("roundness", 0.0, 256.0, "px", None, 0.0, Span(0.0, 16.0, 3)),
            _contrast(),
        ),
        corner,
    ),
    Stimulus(
        "arc",
        "a curved line; the angle points to the centre of its circle",
        (
            _turning("angle", 24),
            Coordinate("curvature", 0.0, 0.5, "1/px", None, 0.05, Span(0.0, 0.125, 6)),
            _size("width", 2.0, 8.0, 3, default=4.0),
            _size("length", 16.0, 64.0, 1, default=48.0),
            _SIGNED,
        ),
        arc,
    ),
    Stimulus(
        "boundary",
        "one frequency behind a line and another before it, where the angle points",
        (
            _turning("angle", 24),
            _frequency("f1", 5, default=0.05),
            _frequency("f2", 5, default=0.2),
            _turning("turn", 1, period=pi),
            _turning("phase", 4),
            _contrast(),
        ),
        boundary,
    ),
    Stimulus(
        "colour",
        "one colour all over",
        (
            _turning("hue", 24),
            Coordinate("saturation", 0.0, 1.0, "", None, 1.0, Span(0.25, 1.0, 4)),
            Coordinate("luminance", 0.0, 1.0, "", None, 0.5, Span(0.125, 0.875, 7)),
        ),
        colour,
    ),
    Stimulus(
        "plaid",
        "two gratings added up",
        (
            _turning("angle1", 6, period=pi),
            _turning("angle2", 6, period=pi, default=pi / 2),
            _contrast("contrast1", 4, high=0.5),
            _contrast("contrast2", 4, high=0.5),
            _frequency("frequency", 1),
            _turning("phase1", 4),
            _turning("phase2", 1),
        ),
        plaid,
    ),
    Stimulus(
        "surround",
        "a disc of one grating in a field of another",
        (
            _turning("centre_angle", 6, period=pi),
            _turning("surround_angle", 6, period=pi, default=pi / 2),
            _contrast("centre_contrast", 3),
            _contrast("surround_contrast", 3),
            _size("radius", 8.0, 32.0, 3, default=16.0),
            _frequency("frequency", 1),
            _turning("phase", 4),
        ),
        surround,
    ),
)
STIMULI: Mapping[str, Stimulus] = {stimulus.name: stimulus for stimulus in _TABLE}
"""All stimuli by name."""
