"""Where in an image stimuli are drawn, when they are about single units that see a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float, Float32

from ...zoo.stimuli import Stimulus, render

GREY = 0.5
"""Luminance around and between what is drawn."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an image that is drawn on, grey all around: squares about what places of a map see, `size` pixels.

    `starts` are the pixels where the squares begin, along both axes, and `beside` how many places these lie from the
    middle of the map; `middle` is that of the middle one, in pixels from the image's.
    """

    side: int
    size: int
    middle: float
    starts: tuple[int, ...]
    beside: tuple[int, ...]

    @classmethod
    def of(cls, side: int, *, size: float, stride: float, middle: float) -> Window:
        """Lay squares out beside one another, if the image holds more than one; one is all of it if a unit sees that.

        Of a network that takes images of one size much of the work for an image would be wasted on grey.
        """
        pixels = round(size)
        first = middle + (side - pixels) / 2
        if not 0 <= first <= side - pixels or first != round(first) or pixels >= side:
            return cls(side, side, 0.0, (0,), (0,))
        apart = ceil(pixels / stride) if stride == round(stride) else side
        step = round(apart * stride)
        turns = range(-(int(first) // step), (side - pixels - int(first)) // step + 1)
        return cls(
            side,
            pixels,
            middle,
            tuple(int(first) + step * turn for turn in turns),
            tuple(apart * turn for turn in turns),
        )

    def images(
        self, stimulus: Stimulus, rows: Float[np.ndarray, "samples coordinates"], *, at_once: int
    ) -> Iterator[Float32[np.ndarray, "_images side side 3"]]:
        """Draw as many squares into each image as it holds; the last ones stay grey where there are no more."""
        held = len(self.starts) ** 2
        for first in range(0, len(rows), at_once * held):
            yield self._laid(render(stimulus, rows[first : first + at_once * held], side=self.size))

    def _laid(self, drawn: Float32[np.ndarray, "samples size size 3"]) -> Float32[np.ndarray, "_images side side 3"]:
        abreast = len(self.starts)
        images = np.full((ceil(len(drawn) / abreast**2), self.side, self.side, 3), GREY, dtype=np.float32)
        for number, square in enumerate(drawn):
            image, place = divmod(number, abreast**2)
            down, across = self.starts[place // abreast], self.starts[place % abreast]
            images[image, down : down + self.size, across : across + self.size] = square
        return images
