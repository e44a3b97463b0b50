"""What a stimulus is: a kind of image with named coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .stimuli_colour import Picture
from .stimuli_plane import Field


@dataclass(frozen=True, slots=True)
class Span:
    """Where a grid samples a coordinate unless told otherwise: so many values from low to high, evenly or in ratio."""

    low: float
    high: float
    count: int
    ratio: bool = False

    def values(self, count: int) -> Float[np.ndarray, " values"]:
        """Spread so many values over it, with both ends."""
        spread = np.geomspace if self.ratio else np.linspace
        return np.asarray(spread(self.low, self.high, count))


@dataclass(frozen=True, slots=True)
class Coordinate:
    """What a stimulus varies in: its name, its range and unit, and the value that it has unless told otherwise.

    With a period any value may be asked for: after one period the stimulus is the same, after one of pi the
    same but for its phase. A grid takes the values of `span`, or `span.count` values of one period.
    """

    name: str
    low: float
    high: float
    unit: str
    period: float | None = None
    default: float = 0.0
    span: Span = Span(0.0, 0.0, 1)

    def values(self, count: int | None = None) -> Float[np.ndarray, " values"]:
        """Give so many values for a grid, a periodic one without its end point; one value is the default."""
        count = self.span.count if count is None else count
        if count == 1:
            return np.array([self.default])
        if self.period is not None:
            return self.low + self.period * np.arange(count) / count
        return self.span.values(count)


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A kind of image: its coordinates, and its formula of the plane and of one column for each coordinate.

    The formula gives luminance around grey, in -1..1, or a picture in colour.
    """

    name: str
    about: str
    coordinates: tuple[Coordinate, ...]
    shown: Callable[..., Field | Picture]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates, in the order of the columns of rows."""
        return tuple(coordinate.name for coordinate in self.coordinates)
