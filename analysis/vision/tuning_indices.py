"""What physiologists say of a unit's responses to gratings, in numbers, and what such a unit is called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from .tuning import LawFit

Cube = Float[np.ndarray, "angles frequencies phases"]
Curve = Float[np.ndarray, " stimuli"]
Detector = Literal["orientation", "line", "edge", "colour", "spot", "curve", "frequency", "not reduced"]
ABOUT: Mapping[str, str] = {
    "edge": "orientation",
    "line": "orientation",
    "orientation": "orientation",
    "colour": "hue",
    "curve": "direction",
    "spot": "position position",
    "frequency": "frequency",
}
"""The kind of coordinate that the law of a detector is about."""

ORIENTED = 0.2
"""Orientation selectivity from which a unit counts as oriented: a cosine whose best angle gives 2.3 times its worst."""

LINEAR = 1.0
"""F1/F0 above which a unit counts as simple (Skottun et al. 1991)."""

CHROMATIC = 1 / 3
"""Colour index above which a unit prefers colour: twice the response to luminance (Johnson et al. 2001)."""

ROUNDING = 1e-6
"""Harmonics that are a smaller share of the largest response are rounding error."""

SUPPRESSED = 0.1
"""Suppression index from which a unit counts as suppressed by what is large, or stopped by what is long."""

PLACES = ("position", "position position")


@dataclass(frozen=True, slots=True)
class GratingIndices:
    """A unit's tuning to gratings.

    `angle` (radians, [0, pi)) and `frequency` (cycles per pixel) are those preferred, between the steps shown; `phase`
    is that of the stripes at the unit's centre that it likes best there: 0 for a bright line, pi for a dark one, half
    way for edges, NaN without a first harmonic. `selectivity` is 1 - circular variance (Ringach et al. 2002),
    `orthogonal` (preferred - orthogonal)/(preferred + orthogonal) (De Valois et al. 1982). `f1_f0` is the first
    harmonic over the mean, at the preferred grating: 1.57 for a rectified linear unit, 0 for an energy unit (Skottun et
    al. 1991), infinite where the mean is not above the response to grey. `modulation` is (max - min)/(|max| + |min|)
    over the phases there. `half_width` is half the width at half height in degrees (90: never below half), `bandwidth`
    the full one in octaves (NaN where the curve falls to half on one side only: De Valois et al. 1982). `separability`
    is the share of the squares that the best product of an angle curve and a frequency curve has (Mazer et al. 2002).
    `colour` is (chromatic - luminance)/(chromatic + luminance), NaN where no chromatic gratings were shown. `aliased`
    tells that the preferred frequency is beyond what that lattice holds, 1/(2 stride).
    """

    angle: float
    frequency: float
    phase: float
    selectivity: float
    orthogonal: float
    f1_f0: float
    modulation: float
    half_width: float
    bandwidth: float
    separability: float
    colour: float
    aliased: bool


def grating_indices(
    cube: Cube,
    angles: Float[np.ndarray, " angles"],
    frequencies: Float[np.ndarray, " frequencies"],
    phases: Float[np.ndarray, " phases"],
    *,
    blank: float = 0.0,
    stride: int = 1,
    centre: tuple[float, float] = (0.0, 0.0),
    chromatic: Cube | None = None,
) -> GratingIndices:
    """Compute a unit's indices from its responses to gratings of all angles, frequencies and phases.

    Angles are evenly spaced over half a turn, phases over a full one, frequencies rise. `blank` is the response to
    plain grey, which is taken off; `stride` that of the lattice that the unit reads, in pixels; `centre` the place of
    its receptive field from the image's centre. `chromatic` are responses to isoluminant gratings of the same kind. The
    curves are of the mean over phases or of the first harmonic, whichever is larger (Ringach et al. 2002); below grey
    counts as 0. Frequencies beyond that lattice are best left out: there a unit answers to the stripes' alias.
    """
    responses = np.asarray(cube, dtype=np.float64) - blank
    strength = response_strength(responses, phases)
    i, j = np.unravel_index(int(np.argmax(strength)), strength.shape)
    angle = float(angles[i] + (np.pi / len(angles)) * _peak(np.roll(strength[:, j], 1 - i)[:3])) % math.pi
    frequency, (f0, f1) = _preferred_frequency(strength[i], frequencies, int(j)), harmonics(responses[i, j], phases)
    shift = 2 * math.pi * float(frequencies[j]) * (centre[0] * math.cos(angles[i]) + centre[1] * math.sin(angles[i]))
    orthogonal = float(np.interp(angles[i] + np.pi / 2, angles, strength[:, j], period=np.pi))
    return GratingIndices(
        angle=angle,
        frequency=frequency,
        phase=float((np.angle(f1) + shift) % (2 * math.pi)) if f1 else math.nan,
        selectivity=selectivity(strength[:, j], angles),
        orthogonal=_contrast(float(strength[i, j]), orthogonal),
        f1_f0=_ratio(float(abs(f1)), float(f0)),
        modulation=_modulation(responses[i, j]),
        half_width=half_width(strength[:, j], angles),
        bandwidth=bandwidth(strength[i], frequencies),
        separability=separability(strength),
        colour=_colour(strength, chromatic, blank, phases),
        aliased=frequency > 1 / (2 * stride),
    )


def harmonics(
    responses: Float[np.ndarray, "*stimuli phases"], phases: Float[np.ndarray, " phases"]
) -> tuple[Float[np.ndarray, "*stimuli"], np.ndarray]:
    """Give the mean over phases and the complex first harmonic: amplitude, and the phase that is liked best."""
    first = 2 * (responses * np.exp(1j * phases)).mean(axis=-1)
    return np.asarray(responses.mean(axis=-1)), np.where(np.abs(first) > ROUNDING * np.abs(responses).max(), first, 0.0)


def response_strength(responses: Cube, phases: Float[np.ndarray, " phases"]) -> Float[np.ndarray, "angles frequencies"]:
    """Give the mean or the first harmonic of each grating, whichever is larger at its best."""
    mean, first = harmonics(responses, phases)
    amplitude, above = np.abs(first), np.maximum(mean, 0.0)
    return np.asarray(amplitude if amplitude.max() > above.max() else above)


def suppression(curve: Curve) -> float:
    """Compute (largest response - response to the largest stimulus) / largest response; 0 without any response.

    `curve` is over sizes or lengths that rise; above 1 the largest stimulus gives less than grey (Cavanaugh, Bair &
    Movshon 2002).
    """
    top = float(curve.max())
    return (top - float(curve[-1])) / top if top > 0 else 0.0


def selectivity(curve: Curve, angles: Curve) -> float:
    """Compute 1 - circular variance: |sum R exp(2i angle)| / sum R, 0 for a unit without response."""
    total = float(curve.sum())
    return float(np.abs((curve * np.exp(2j * angles)).sum())) / total if total > 0 else 0.0


def half_width(curve: Curve, angles: Curve) -> float:
    """Measure half the width at half height in degrees, mean of both sides; 90 where it never falls to half."""
    top, quarter = int(np.argmax(curve)), len(curve) // 2 + 1
    step = 180.0 / len(angles)
    sides = [_fall(np.roll(curve[::way], (-top if way == 1 else top + 1))[:quarter]) for way in (1, -1)]
    reach = [min(step * side, 90.0) for side in sides if math.isfinite(side)]
    return float(np.mean(reach)) if len(reach) == 2 else 90.0


def bandwidth(curve: Curve, frequencies: Curve) -> float:
    """Measure the full width at half height in octaves; NaN where the curve falls to half on one side only."""
    top, octaves = int(np.argmax(curve)), np.log2(frequencies)
    up, down = _fall(curve[top:]), _fall(curve[: top + 1][::-1])
    if not (math.isfinite(up) and math.isfinite(down)):
        return math.nan
    places = np.arange(len(curve))
    high, low = np.interp([top + up, top - down], places, octaves)
    return float(high - low)


def _fall(curve: Curve) -> float:
    """Say after how many steps from its first value a curve is down to half of that; infinite if never."""
    half = curve[0] / 2
    below = np.flatnonzero(curve <= half)
    if curve[0] <= 0 or not len(below):
        return math.inf
    after = int(below[0])
    return after - 1 + float((curve[after - 1] - half) / (curve[after - 1] - curve[after]))


def separability(strength: Float[np.ndarray, "angles frequencies"]) -> float:
    """Give the first singular value's share of all squares, 1 for a product; 0 for a unit without response."""
    squares = np.square(np.linalg.svd(strength, compute_uv=False))
    return float(squares[0] / squares.sum()) if squares.sum() > 0 else 0.0


def _preferred_frequency(curve: Curve, frequencies: Curve, top: int) -> float:
    """Interpolate the peak by a parabola in log frequency, where it is not at an end."""
    if not 0 < top < len(curve) - 1:
        return float(frequencies[top])
    shift = _peak(curve[top - 1 : top + 2])
    return float(np.exp(np.interp(top + shift, np.arange(len(curve)), np.log(frequencies))))


def _peak(three: Float[np.ndarray, " three"]) -> float:
    """Find the top of the parabola through three neighbours, in steps from the middle one."""
    left, middle, right = map(float, three)
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _contrast(one: float, other: float) -> float:
    return (one - other) / (one + other) if one + other > 0 else 0.0


def _ratio(first: float, mean: float) -> float:
    """Divide; a mean that is rounding error of the harmonic is none."""
    if first <= 0:
        return 0.0
    return first / mean if mean > ROUNDING * first else math.inf


def _modulation(curve: Curve) -> float:
    top, bottom = float(curve.max()), float(curve.min())
    return (top - bottom) / (abs(top) + abs(bottom)) if top != bottom else 0.0


def _colour(
    strength: Float[np.ndarray, "angles frequencies"],
    chromatic: Cube | None,
    blank: float,
    phases: Float[np.ndarray, " phases"],
) -> float:
    if chromatic is None:
        return math.nan
    coloured = response_strength(np.asarray(chromatic, dtype=np.float64) - blank, phases)
    return _contrast(float(coloured.max()), float(strength.max()))


def detector(indices: GratingIndices, laws: Mapping[str, LawFit]) -> Detector:
    """Name a unit by its indices and by the laws that won, keyed by the kinds that raced; the first that holds.

    - colour: a law of hue, and a colour index above CHROMATIC (or, without chromatic gratings, no orientation).
    - curve: laws of direction and of curvature.
    - oriented (a law of orientation, selectivity of ORIENTED or more): `orientation` where F1/F0 says complex; else
      `line` or `edge`, as the phase liked best is nearer to even or to odd.
    - spot: not oriented, and a law of place.
    - frequency: a law of frequency alone.
    - not reduced: anything else. A law counts if it is reduced and no constant.
    """
    known = {kinds for kinds, fit in laws.items() if fit.reduced and fit.law != "constant"}
    oriented = "orientation" in known and indices.selectivity >= ORIENTED
    if "hue" in known and (not oriented if math.isnan(indices.colour) else indices.colour > CHROMATIC):
        return "colour"
    if {"direction", "curvature"} <= known:
        return "curve"
    if oriented:
        return _striped(indices)
    if known.intersection(PLACES):
        return "spot"
    return "frequency" if "frequency" in known else "not reduced"


def _striped(indices: GratingIndices) -> Detector:
    if indices.f1_f0 < LINEAR:
        return "orientation"
    return "line" if abs(math.cos(indices.phase)) >= abs(math.sin(indices.phase)) else "edge"
