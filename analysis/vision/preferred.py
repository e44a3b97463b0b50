"""Stimuli made for single units, as physiologists make them: at the grating that a unit prefers, about its own middle.

All are drawn about the middle of the receptive field, and sizes are shares of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from jaxtyping import Float, Int

from ...zoo.stimuli import Stimulus, find_stimulus
from .shown import Shown

Rows = Float[np.ndarray, "samples coordinates"]
Values = Float[np.ndarray, " values"]

SMALLEST = 0.5
"""The least radius or length, in pixels, that a stimulus can have."""
LOWEST, HIGHEST = 0.02, 0.35
"""Frequencies of boundaries, in cycles per pixel, unless the field or its lattice ask for fewer."""
MOST = 128
"""So many gratings at the most the units of a layer are shown things at."""
CENTRE = 0.25
"""Radius of the centre in a centre with a surround, as a share of the size of the receptive field."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a unit sees: a square of `size` pixels, through a lattice of so many."""

    size: float
    lattice: float


@dataclass(frozen=True, slots=True)
class Grating:
    """A grating: radians, cycles per pixel, and radians at the middle of the receptive field."""

    angle: float
    frequency: float
    phase: float


@dataclass(frozen=True, slots=True)
class Series:
    """One stimulus, at values of some coordinates that are the same for all units of a layer.

    `values` gives these for what the units see, `rest` the other coordinates for a unit's grating.
    """

    stimulus: str
    names: tuple[str, ...]
    values: Callable[[Seen], tuple[Values, ...]]
    rest: Callable[[Grating, Seen], Mapping[str, float]] = lambda grating, seen: {}

    def rows(self, seen: Seen) -> Rows:
        """Combine the values of the coordinates, the last changing fastest."""
        axes = np.meshgrid(*self.values(seen), indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)

    def whole(self, grating: Grating, seen: Seen) -> Rows:
        """Give the rows of all of the stimulus's coordinates, those that nobody sets as its table says."""
        stimulus, rows = find_stimulus(self.stimulus), self.rows(seen)
        columns = {name: np.full(len(rows), value) for name, value in _defaults(stimulus).items()}
        columns |= {name: np.full(len(rows), value) for name, value in self.rest(grating, seen).items()}
        columns |= dict(zip(self.names, rows.T, strict=True))
        return np.stack(list(columns.values()), axis=1)


def preferred_gratings(gratings: Shown, *, lattice: float, middle: float, most: int = MOST) -> tuple[Grating, ...]:
    """Find the grating of those shown that drives each unit most, with its phase at (middle, middle) in pixels.

    Angle and frequency are where the mean over phases or the first harmonic is largest (`response_strength`). Where
    units prefer more than `most` gratings, some share one that drives them nearly as much.
    """
    known = gratings.unaliased(lattice)
    phases = known.axis("phase")
    best = known.over_phases().values.argmax(axis=1)
    responses = known.cube[..., 0].reshape(len(best), -1, len(phases))[np.arange(len(best)), best]
    places = _shared(known.values, best * len(phases) + responses.argmax(axis=1), most)
    return tuple(_moved(angle, frequency, phase, middle) for angle, frequency, phase, _ in known.rows[places].tolist())


def _shared(
    values: Float[np.ndarray, "units samples"], places: Int[np.ndarray, " units"], most: int
) -> Int[np.ndarray, " units"]:
    """Choose few of the gratings that units prefer, one after another that which brings all nearest to their best.

    The greedy way to place facilities (Nemhauser, Wolsey & Fisher 1978).
    """
    known = np.unique(places)
    if len(known) <= most:
        return places
    own = values[np.arange(len(values)), places][:, None]
    share = np.divide(values[:, known], own, out=np.zeros((len(values), len(known))), where=own > 0)
    chosen, reached = np.zeros(most, dtype=int), np.zeros((len(values), 1))
    for turn in range(most):
        chosen[turn] = np.maximum(share - reached, 0.0).sum(axis=0).argmax()
        reached = np.maximum(reached, share[:, chosen[turn], None])
    return np.asarray(known[chosen][share[:, chosen].argmax(axis=1)])


def _moved(angle: float, frequency: float, phase: float, middle: float) -> Grating:
    there = phase + 2 * pi * frequency * middle * (cos(angle) + sin(angle))
    return Grating(angle, frequency, round(there % (2 * pi), 12))


def _defaults(stimulus: Stimulus) -> dict[str, float]:
    return {coordinate.name: coordinate.default for coordinate in stimulus.coordinates}


def _evenly(low: float, high: float, count: int) -> Callable[[Seen], Values]:
    return lambda seen: np.linspace(low, high, count)


def _sizes(low: float, high: float, count: int) -> Callable[[Seen], Values]:
    """Spread shares of the receptive field's size in equal ratios."""
    return lambda seen: np.geomspace(max(low * seen.size, SMALLEST), max(high * seen.size, 2 * SMALLEST), count)


def _turns(count: int) -> Callable[[Seen], Values]:
    return lambda seen: 2 * pi * np.arange(count) / count


def _frequencies(count: int) -> Callable[[Seen], Values]:
    """Spread frequencies from half a period in the receptive field to what its lattice holds."""

    def values(seen: Seen) -> Values:
        highest = min(HIGHEST, 0.5 / seen.lattice)
        return np.geomspace(min(max(LOWEST, 0.5 / seen.size), highest / 2), highest, count)

    return values


def _all(*each: Callable[[Seen], Values]) -> Callable[[Seen], tuple[Values, ...]]:
    return lambda seen: tuple(values(seen) for values in each)


def _plain(grating: Grating, seen: Seen) -> Mapping[str, float]:
    return {"angle": grating.angle, "frequency": grating.frequency, "phase": grating.phase}


def _crossed(grating: Grating, seen: Seen) -> Mapping[str, float]:
    """Cross the grating with one at right angles; both have the same phase in the middle."""
    return {
        "angle1": grating.angle,
        "angle2": grating.angle + pi / 2,
        "frequency": grating.frequency,
        "phase1": grating.phase,
        "phase2": grating.phase,
    }


def _disc(grating: Grating, seen: Seen) -> Mapping[str, float]:
    return {
        "centre_angle": grating.angle,
        "surround_angle": grating.angle,
        "centre_contrast": 1.0,
        "surround_contrast": 0.0,
        "radius": max(CENTRE * seen.size, SMALLEST),
        "frequency": grating.frequency,
        "phase": grating.phase,
    }


def _stripe(grating: Grating, seen: Seen) -> Mapping[str, float]:
    """Cut the grating's stripe that is nearest to the middle, bright or dark, out as a bar."""
    turns = round(grating.phase / pi)
    apart = (turns * pi - grating.phase) / (2 * pi * grating.frequency)
    return {
        "x": apart * cos(grating.angle),
        "y": apart * sin(grating.angle),
        "angle": grating.angle,
        "width": max(0.5 / grating.frequency, SMALLEST),
        "contrast": -1.0 if turns % 2 else 1.0,
    }


AT_PREFERRED: Mapping[str, Series] = {
    "contrast": Series("grating", ("contrast",), _all(_evenly(0.05, 1.0, 20)), _plain),
    "plaid": Series("plaid", ("contrast1", "contrast2"), _all(_evenly(0.0, 0.5, 6), _evenly(0.0, 0.5, 6)), _crossed),
    "size": Series("surround", ("radius",), _all(_sizes(1 / 16, 0.75, 20)), _disc),
    "centre surround": Series(
        "surround", ("centre_contrast", "surround_contrast"), _all(_evenly(0.0, 1.0, 5), _evenly(0.0, 1.0, 5)), _disc
    ),
    "length": Series("bar", ("length",), _all(_sizes(1 / 8, 1.5, 20)), _stripe),
}
"""What is shown at each unit's own grating. The largest disc and the longest bar cover all that a unit sees."""
AT_ALL: Mapping[str, Series] = {
    "corner": Series(
        "corner",
        ("angle", "opening", "roundness"),
        _all(_turns(12), lambda seen: np.array([pi / 2, 3 * pi / 2]), _sizes(1 / 8, 1.0, 4)),
    ),
    "boundary": Series(
        "boundary", ("angle", "f1", "f2", "phase"), _all(_turns(8), _frequencies(4), _frequencies(4), _turns(4))
    ),
}
"""What all units of a layer are shown alike: bright and dark corners, and boundaries between two frequencies."""
