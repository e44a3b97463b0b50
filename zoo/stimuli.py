"""Stimuli with named coordinates, each computed from its formula at the centres of the pixels: no file is needed.

Place and size are in pixels of the network's input, x to the right and y down from the middle; frequency is in
cycles per pixel; angles are in radians from x towards y, and say along which way luminance varies.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import prod

import numpy as np
from jaxtyping import Float, Float32

from .errors import BadInput, NotFound
from .stimuli_colour import grey
from .stimuli_plane import Plane
from .stimuli_table import STIMULI
from .stimulus import Coordinate, Span, Stimulus

__all__ = ["STIMULI", "Coordinate", "Span", "Stimulus", "find_stimulus", "grid", "render"]

AT_ONCE = 1 << 20
"""Pixels that are computed at a time, which bounds the memory beside the images themselves."""
MOST_ROWS = 1_000_000
"""The largest grid: beyond this the counts are a mistake."""


def find_stimulus(name: str) -> Stimulus:
    """Give a stimulus by its name. Raises NotFound, with a name that is near."""
    if name not in STIMULI:
        raise NotFound(f"no stimulus {name[:80]!r}", hint=_near(name, tuple(STIMULI), "the stimuli are"))
    return STIMULI[name]


def grid(
    stimulus: Stimulus, counts: Mapping[str, int] | None = None, fixed: Mapping[str, float] | None = None
) -> Float[np.ndarray, "samples coordinates"]:
    """Combine values of all coordinates, each with each, the last one changing fastest.

    `counts` changes how many values a coordinate has, `fixed` gives one a single value; the rest is as the table
    says. Raises BadInput for a name that is no coordinate, a count below one, or a value out of range.
    """
    counts, fixed = counts or {}, fixed or {}
    for name in (*counts, *fixed):
        if name not in stimulus.names:
            what = f"{stimulus.name} has no coordinate {name[:80]!r}"
            raise BadInput(what, hint=_near(name, stimulus.names, "it has"))
    twice = [name for name in stimulus.names if name in counts and name in fixed]
    if twice or any(count < 1 for count in counts.values()):
        raise BadInput(f"{stimulus.name}: a coordinate has one value or a count, from 1 on", hint="correct the grid")
    values = [
        np.array([fixed[coordinate.name]])
        if coordinate.name in fixed
        else coordinate.values(counts.get(coordinate.name))
        for coordinate in stimulus.coordinates
    ]
    if (rows := prod(map(len, values))) > MOST_ROWS:
        raise BadInput(f"{stimulus.name}: a grid of {rows:,} images is too large", hint="lower the counts")
    found = np.stack([column.ravel() for column in np.meshgrid(*values, indexing="ij")], axis=1).astype(float)
    _check(stimulus, found)
    return found


def render(
    stimulus: Stimulus, rows: Float[np.ndarray, "samples coordinates"], *, side: int
) -> Float32[np.ndarray, "samples side side 3"]:
    """Draw one image for each row of coordinates: squares of so many pixels, RGB in 0..1, grey is 0.5.

    Raises BadInput where a row holds something else than the stimulus has coordinates, or a value out of range.
    """
    if side < 1:
        raise BadInput(f"{stimulus.name}: no image has a side of {side} pixels", hint="from 1 pixel on")
    _check(stimulus, rows)
    plane, images = Plane.of(side), np.empty((len(rows), side, side, 3), dtype=np.float32)
    step = max(1, AT_ONCE // side**2)
    for start in range(0, len(rows), step):
        some = rows[start : start + step, :, None, None].astype(float)
        columns = dict(zip(stimulus.names, some.swapaxes(0, 1), strict=True))
        drawn = stimulus.shown(plane, **columns)
        images[start : start + step] = drawn if drawn.ndim == 4 else grey(drawn)
    return images


def _check(stimulus: Stimulus, rows: Float[np.ndarray, "samples coordinates"]) -> None:
    if rows.shape[1] != len(stimulus.coordinates):
        what = f"{stimulus.name} has {len(stimulus.coordinates)} coordinates, not {rows.shape[1]}"
        raise BadInput(what, hint=f"give {', '.join(stimulus.names)}, in this order")
    for coordinate, column in zip(stimulus.coordinates, rows.T, strict=True):
        low, high = coordinate.low, coordinate.high
        wrong = ~np.isfinite(column)
        if coordinate.period is None:
            wrong |= (column < low) | (column > high)
        if wrong.any():
            where = f"{low:g} to {high:g} {coordinate.unit}".strip()
            what = f"{stimulus.name}: {coordinate.name} is {column[wrong][0]:g}, outside {where}"
            raise BadInput(what, hint=f"consilience stimuli {stimulus.name} lists all ranges")


def _near(name: str, known: tuple[str, ...], otherwise: str) -> str:
    near = get_close_matches(name[:80], known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise} {', '.join(known)}"
