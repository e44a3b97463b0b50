"""The curves that laws race on, and how each is cut out of the responses to what was shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .shown import Shown

Curves = Float[np.ndarray, "units values"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Responses over some coordinates of a stimulus: of which kinds LAWS knows them, and among what was shown they are.

    `take` cuts the curves of all units out of that, over all values of the coordinates, the last changing fastest.
    """

    kinds: str
    shown: str
    stimulus: str
    coordinates: tuple[str, ...]
    take: Callable[[Shown], Curves]


def _cut(kinds: str, shown: str, *coordinates: str, stimulus: str = "", phases: bool = False) -> Cut:
    """Cut at the best of all other coordinates; of the strength over phases where there are any."""

    def take(one: Shown) -> Curves:
        return (one.over_phases() if phases else one).at_best(*coordinates)

    return Cut(kinds, shown, stimulus or shown, coordinates, take)


def _hue(one: Shown) -> Curves:
    """Cut at full saturation and middle luminance."""
    middle = int(np.abs(one.axis("luminance") - 0.5).argmin())
    return np.asarray(one.cube[:, :, -1, middle])


CUTS: Mapping[str, Cut] = {
    "orientation": _cut("orientation", "grating", "angle", phases=True),
    "frequency": _cut("frequency", "grating", "frequency", phases=True),
    "hue": Cut("hue", "colour", "colour", ("hue",), _hue),
    "position position": _cut("position position", "spot", "x", "y"),
    "direction": _cut("direction", "arc", "angle"),
    "curvature": _cut("curvature", "arc", "curvature"),
    "contrast": _cut("contrast", "contrast", "contrast", stimulus="grating"),
    "contrast contrast": _cut("contrast contrast", "plaid", "contrast1", "contrast2"),
    "centre surround": _cut(
        "contrast contrast", "centre surround", "centre_contrast", "surround_contrast", stimulus="surround"
    ),
    "size": _cut("size", "size", "radius", stimulus="surround"),
    "length": _cut("length", "length", "length", stimulus="bar"),
    "corner": _cut("direction roundness", "corner", "angle", "roundness"),
    "boundary": _cut("direction frequency frequency", "boundary", "angle", "f1", "f2", phases=True),
}
"""The curves, by what stands in the table of laws under `coordinate`."""
SIZES = ("size", "length")
"""Curves on which a unit may fall again: suppressed by what surrounds, or stopped by an end."""
