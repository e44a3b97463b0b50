"""What each unit of a layer is tuned to: its responses to all stimuli, cut into curves that the laws race on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from .tuning import LawFit, race_units, winner
from .tuning_indices import GratingIndices, detector, grating_indices, response_strength

Responses = Float[np.ndarray, "units samples"]
Curves = Float[np.ndarray, "units values"]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A full grid of one stimulus and what the units gave there, after their nonlinearity and less that to grey.

    `rows` are as `zoo.stimuli.grid` combines them: each value of a coordinate with each, the last changing fastest.
    """

    names: tuple[str, ...]
    rows: Float[np.ndarray, "samples coordinates"]
    values: Responses

    def axis(self, name: str) -> Float[np.ndarray, " values"]:
        """Give the values that a coordinate was shown at."""
        return np.unique(self.rows[:, self.names.index(name)])

    @property
    def cube(self) -> Float[np.ndarray, "units ..."]:
        """Give the responses with an axis for every coordinate."""
        return self.values.reshape(len(self.values), *(len(self.axis(name)) for name in self.names))


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A unit, what it is called, its indices, and by kind of coordinate the law that won and the curve it is about.

    `silent` units gave the same to all stimuli: they have no indices and no laws.
    """

    unit: int
    detector: str
    indices: GratingIndices | None
    laws: Mapping[str, LawFit]
    curves: Mapping[str, Float[np.ndarray, " values"]]

    @property
    def silent(self) -> bool:
        """Tell a unit that never varied."""
        return self.indices is None


def tune_units(
    shown: Mapping[str, Shown], *, lattice: float, centre: tuple[float, float] = (0.0, 0.0)
) -> tuple[Tuned, ...]:
    """Race the laws on every unit of a layer that was shown gratings and, where they are there, other stimuli.

    Curves of an angle are taken at the frequency that the unit likes best, and so on: of hue at full saturation, of
    place at the size and sign, of the direction and curvature of arcs at the sign that drive it most. Frequencies
    beyond 1/(2·lattice) are left out: a unit that reads a map with a stride of `lattice` pixels takes them for lower
    ones.
    `centre` is the middle of its receptive field, in pixels from that of the image. Raises what `race_units` raises.
    """
    shown = {name: _unaliased(one, lattice) for name, one in shown.items()}
    gratings = shown["grating"]
    alive = np.flatnonzero(np.ptp(np.concatenate([one.values for one in shown.values()], axis=1), axis=1) > 0)
    indices = [_indices(shown, int(unit), lattice, centre) for unit in alive]
    curves = {kind: cut(shown, alive) for kind, cut in CUTS.items() if STIMULUS[kind] in shown}
    laws = {kind: _raced(shown, kind, found) for kind, found in curves.items() if len(alive)}
    found = {unit: Tuned(unit, "silent", None, {}, {}) for unit in range(len(gratings.values))}
    for place, unit in enumerate(alive.tolist()):
        won = {kind: winner(raced[place]) for kind, raced in laws.items()}
        own = {kind: curve[place] for kind, curve in curves.items()}
        found[unit] = Tuned(unit, detector(indices[place], won), indices[place], won, own)
    return tuple(found.values())


def _unaliased(one: Shown, lattice: float) -> Shown:
    if "frequency" not in one.names:
        return one
    held = one.rows[:, one.names.index("frequency")] <= 0.5 / lattice
    return Shown(one.names, one.rows[held], one.values[:, held])


def _indices(shown: Mapping[str, Shown], unit: int, lattice: float, centre: tuple[float, float]) -> GratingIndices:
    gratings = shown["grating"]
    angles, frequencies, phases = (gratings.axis(name) for name in ("angle", "frequency", "phase"))
    chromatic = None
    if "chromatic_grating" in shown:
        coloured = shown["chromatic_grating"].cube[unit][:, :, :, 0]
        best = int(np.unravel_index(np.argmax(np.abs(coloured)), coloured.shape)[-1])
        chromatic = coloured[..., best]
    return grating_indices(
        gratings.cube[unit][..., 0],
        angles,
        frequencies,
        phases,
        stride=max(1, round(lattice)),
        centre=centre,
        chromatic=chromatic,
    )


def _raced(shown: Mapping[str, Shown], kind: str, curves: Curves) -> tuple[tuple[LawFit, ...], ...]:
    stimulus, names = shown[STIMULUS[kind]], COORDINATES[kind]
    axes = np.meshgrid(*(stimulus.axis(name) for name in names), indexing="ij")
    rows = np.stack([axis.ravel() for axis in axes], axis=1)
    return race_units(curves, rows, names, kind.split())


def _strength(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Float[np.ndarray, "alive angles steps"]:
    gratings = shown["grating"]
    return np.stack([response_strength(gratings.cube[unit][..., 0], gratings.axis("phase")) for unit in alive])


def _best(strength: Shaped[np.ndarray, "units ..."]) -> tuple[Int[np.ndarray, " units"], ...]:
    """Find where each unit responds most strongly, either way."""
    flat = np.abs(strength).reshape(len(strength), -1).argmax(axis=1)
    return tuple(np.asarray(place) for place in np.unravel_index(flat, strength.shape[1:]))


def _orientation(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    strength = _strength(shown, alive)
    return np.asarray(strength[np.arange(len(alive)), :, _best(strength)[1]])


def _frequency(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    strength = _strength(shown, alive)
    return np.asarray(strength[np.arange(len(alive)), _best(strength)[0]])


def _hue(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    luminance = shown["colour"].axis("luminance")
    middle = int(np.abs(luminance - 0.5).argmin())
    return np.asarray(shown["colour"].cube[alive][:, :, -1, middle])


def _place(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    spots = shown["spot"].cube[alive]
    _, _, radius, sign = _best(spots)
    found = spots[np.arange(len(alive)), :, :, radius, sign]
    return np.asarray(found.reshape(len(alive), -1))


def _arcs(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Float[np.ndarray, "alive angles steps"]:
    arcs = shown["arc"].cube[alive][:, :, :, 0, 0]
    return np.asarray(arcs[np.arange(len(alive)), :, :, _best(arcs)[2]])


def _direction(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    arcs = _arcs(shown, alive)
    return np.asarray(arcs[np.arange(len(alive)), :, _best(arcs)[1]])


def _curvature(shown: Mapping[str, Shown], alive: Int[np.ndarray, " alive"]) -> Curves:
    arcs = _arcs(shown, alive)
    return np.asarray(arcs[np.arange(len(alive)), _best(arcs)[0]])


CUTS = {
    "orientation": _orientation,
    "frequency": _frequency,
    "hue": _hue,
    "position position": _place,
    "direction": _direction,
    "curvature": _curvature,
}
"""How a curve is cut out of the responses, by the kind of its coordinate."""
STIMULUS = {
    "orientation": "grating",
    "frequency": "grating",
    "hue": "colour",
    "position position": "spot",
    "direction": "arc",
    "curvature": "arc",
}
COORDINATES = {
    "orientation": ("angle",),
    "frequency": ("frequency",),
    "hue": ("hue",),
    "position position": ("x", "y"),
    "direction": ("angle",),
    "curvature": ("curvature",),
}
