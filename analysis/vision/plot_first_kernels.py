"""Draw kernels of first layers over their closed forms: a network a band, some that have one and some that have not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ..pictures.plot_style import SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet
from .plot_tint import kernel_colours, reach
from .written_law import form_words

BEST, REST = 7, 4
"""Kernels of a network that are drawn at the most, of those with a closed form and of those without."""
NETWORKS = 12
"""Networks that are drawn at the most, evenly chosen."""
LABEL, BETWEEN = 1.42, 0.2
"""Inches for the words beside a band, and between the kernels with a closed form and those without."""
SIDE, INNER = 0.42, 0.04
"""Side of a kernel in inches, and the space between it and its form."""
HEAD, SCORES = 0.24, 0.34
"""Inches for what the two groups are called, and for the words beneath each kernel."""
SHORT = {
    "first_derivative": "1st deriv.",
    "second_derivative": "2nd deriv.",
    "difference_of_gaussians": "DoG",
    "sum_of_gaussians": "two Gauss.",
    "elongated_gaussian": "long Gauss.",
    "axis_gabor": "axis Gabor",
}
"""Short names of forms, where the full one has no room."""

CAPTION = (
    "Above, the kernel; beneath it the closed form that does best for it, on one scale, and R². Weights on red, green "
    "and blue as colours (of one channel: red above 0, blue below), middle grey: 0. Not reduced: no form does better "
    "than on kernels without shape; they are taken evenly, by R²."
)
SAID = "DoG: difference of Gaussians; deriv.: derivatives of a Gaussian; axis Gabor: along one axis of colours."


@dataclass(frozen=True, slots=True, eq=False)
class FirstKernel:
    """A kernel, the closed form that does best for it, by name and drawn, and its R²."""

    unit: int
    kernel: Float[np.ndarray, "channels rows columns"]
    modelled: Float[np.ndarray, "channels rows columns"]
    form: str
    r2: float


@dataclass(frozen=True, slots=True, eq=False)
class FirstBand:
    """A network's first layer: how many of its kernels have a closed form above chance, and those that are drawn."""

    network: str
    layer: str
    explained: int
    of: int
    best: Sequence[FirstKernel]
    rest: Sequence[FirstKernel]


@style()
def draw_first_kernels(bands: Sequence[FirstBand], *, finding: str, note: str = "") -> Figure:
    """Draw first layers, a network a band: at most BEST kernels with a closed form and REST without, over their forms.

    At most NETWORKS are drawn; the caption counts what is left out, and `note` ends it.
    """
    places = np.linspace(0, len(bands) - 1, min(len(bands), NETWORKS)).round().astype(int)
    shown = [bands[place] for place in places]
    step, high = (WIDTH - 2 * MARGIN - LABEL - BETWEEN) / (BEST + REST), 2 * SIDE + INNER + SCORES
    short = any(kernel.form in SHORT for band in shown for kernel in (*band.best[:BEST], *band.rest[:REST]))
    left_out = lay.left_out(len(bands), len(shown), "networks")
    caption = " ".join(filter(None, (CAPTION if bands else "", SAID if short else "", left_out, note)))
    on = lay.sheet(WIDTH, HEAD + high * len(shown) if shown else 1.0, finding=finding, caption=caption)
    if not shown:
        lay.nothing(on, MARGIN, on.top, wide=WIDTH - 2 * MARGIN, high=0.9, words="no kernel")
        return on.figure
    starts = (MARGIN + LABEL, MARGIN + LABEL + BEST * step + BETWEEN)
    for left, words in zip(starts, ("with a closed form above chance", "not reduced"), strict=True):
        lay.write(on, lay.measured(words, 8.0), left, on.top)
    for row, band in enumerate(shown):
        top = on.top + HEAD + row * high
        _beside(on, band, top)
        for left, kernels, most in zip(starts, (band.best, band.rest), (BEST, REST), strict=True):
            for place, kernel in enumerate(kernels[:most]):
                _kernel(on, kernel, left + place * step, top, room=step - 0.03)
            if not kernels:
                lay.nothing(on, left, top, wide=most * step - (step - SIDE), high=2 * SIDE + INNER)
    return on.figure


def _beside(on: Sheet, band: FirstBand, top: float) -> None:
    room = LABEL - 0.42
    name = lay.stacked(band.network, width=room, size=8.5, bold=True)
    layer = lay.stacked(band.layer, width=room, size=7.0)
    lay.write(on, name, MARGIN, top)
    lay.write(on, layer, MARGIN, top + name.high + 0.05, colour=SOFT)
    counted = lay.paragraph(f"{band.explained} of {band.of} have a closed form", width=room, size=7.0, lines=2)
    lay.write(on, counted, MARGIN, top + name.high + layer.high + 0.11, colour=SOFT)
    for part, said in enumerate(("kernel", "form")):
        words = lay.measured(said, 6.5)
        down = top + part * (SIDE + INNER) + (SIDE - words.high) / 2
        lay.write(on, words, MARGIN + LABEL - 0.06, down, at="right", colour=SOFT)


def _kernel(on: Sheet, one: FirstKernel, left: float, top: float, *, room: float) -> None:
    full = reach(one.kernel)
    for part, values in enumerate((one.kernel, one.modelled)):
        shown = values if len(values) in (1, 3) else values.mean(axis=0, keepdims=True)
        down = top + part * (SIDE + INNER)
        lay.picture(on, kernel_colours(shown, reach=full), left, down, wide=SIDE, high=SIDE)
    middle, down = left + SIDE / 2, top + 2 * SIDE + INNER + 0.03
    if math.isfinite(one.r2):
        lay.write(on, lay.measured(lay.score(one.r2), 6.5), middle, down, at="center")
    form = lay.line(SHORT.get(one.form, form_words(one.form)), width=room, sizes=(6.0, 5.5))
    lay.write(on, form, middle, down + 0.12, at="center", colour=SOFT)
