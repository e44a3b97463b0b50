"""A full grid of one stimulus and what units gave there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .tuning_indices import response_strength

Rows = Float[np.ndarray, "samples coordinates"]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A full grid of one stimulus and what the units gave there, after their nonlinearity and less that to grey.

    `rows` are as `zoo.stimuli.grid` combines them: each value of a coordinate with each, the last changing fastest.
    Coordinates that every unit had its own value of are not among them.
    """

    names: tuple[str, ...]
    rows: Rows
    values: Float[np.ndarray, "units samples"]

    def axis(self, name: str) -> Float[np.ndarray, " values"]:
        """Give the values that a coordinate was shown at."""
        return np.unique(self.rows[:, self.names.index(name)])

    def rows_of(self, *names: str) -> Rows:
        """Combine the values of some of the coordinates as `rows` combines all."""
        axes = np.meshgrid(*(self.axis(name) for name in names), indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)

    @property
    def cube(self) -> Float[np.ndarray, "units ..."]:
        """Give the responses with an axis for every coordinate."""
        return self.values.reshape(len(self.values), *(len(self.axis(name)) for name in self.names))

    def where(self, held: Bool[np.ndarray, " samples"]) -> Shown:
        """Keep some of the rows, which must be a full grid again."""
        return Shown(self.names, self.rows[held], self.values[:, held])

    def unaliased(self, lattice: float) -> Shown:
        """Leave out frequencies beyond 1/(2·lattice), which a unit that reads every so many pixels takes for others."""
        if "frequency" not in self.names:
            return self
        return self.where(self.rows[:, self.names.index("frequency")] <= 0.5 / lattice)

    def over_phases(self) -> Shown:
        """Give in the place of phases the mean over them or the first harmonic, whichever is larger at its best."""
        others = tuple(name for name in self.names if name != "phase")
        cube, phases = np.moveaxis(self.cube, 1 + self.names.index("phase"), -1), self.axis("phase")
        strength = [response_strength(one.reshape(-1, 1, len(phases)), phases).ravel() for one in cube]
        rows = self.rows_of(*others)
        return Shown(others, rows, np.array(strength).reshape(len(cube), len(rows)))

    def at_best(self, *names: str) -> Float[np.ndarray, "units values"]:
        """Give what units gave over some coordinates, each with those others at which it responds most, either way."""
        kept = [1 + self.names.index(name) for name in names]
        moved = np.moveaxis(self.cube, kept, range(-len(kept), 0))
        curves = moved.reshape(len(moved), -1, len(self.rows_of(*names)))
        return np.asarray(curves[np.arange(len(curves)), np.abs(curves).max(axis=2).argmax(axis=1)])
