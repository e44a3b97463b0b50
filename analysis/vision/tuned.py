"""What each unit of a layer is tuned to: its responses to all stimuli, cut into curves that the laws race on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .shown import Shown
from .tuning import LawFit, race_units, winner
from .tuning_cuts import CUTS, Curves, Cut
from .tuning_indices import GratingIndices, detector, grating_indices


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A unit, what it is called, its indices, and by the names of CUTS the law that won and the curve it is about.

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
    shown = {name: one.unaliased(lattice) for name, one in shown.items()}
    alive = np.ptp(np.concatenate([one.values for one in shown.values()], axis=1), axis=1) > 0
    heard = {name: Shown(one.names, one.rows, one.values[alive]) for name, one in shown.items()}
    indices = [_indices(heard, unit, lattice, centre) for unit in range(int(alive.sum()))]
    curves = {name: cut.take(heard[cut.shown]) for name, cut in CUTS.items() if cut.shown in shown and alive.any()}
    laws = {name: _raced(heard, CUTS[name], curve) for name, curve in curves.items()}
    found = {unit: Tuned(unit, "silent", None, {}, {}) for unit in range(len(alive))}
    for place, unit in enumerate(np.flatnonzero(alive).tolist()):
        won = {name: winner(raced[place]) for name, raced in laws.items()}
        own = {name: curve[place] for name, curve in curves.items()}
        found[unit] = Tuned(unit, detector(indices[place], won), indices[place], won, own)
    return tuple(found.values())


def _raced(shown: Mapping[str, Shown], cut: Cut, curves: Curves) -> tuple[tuple[LawFit, ...], ...]:
    return race_units(curves, shown[cut.shown].rows_of(*cut.coordinates), cut.coordinates, cut.kinds.split())


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
