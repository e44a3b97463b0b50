"""Draw a sheet of stimuli: what networks are presented with, one row for each stimulus."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction
from math import pi

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...zoo.stimuli import Coordinate, Stimulus, grid, render
from ..pictures.plot_style import CAPTION, HEADLINE, INK, PALE, SOFT, style

VALUES = 3
"""Values of each coordinate that are shown."""
DOTS = 160
"""Dots an inch as pictures are saved: lengths below are in dots, so each pixel of a stimulus is one of the sheet."""
SMALLEST = 63
"""An image's side at the least, or its labels would find no room."""
WIDEST = 1760
"""Width of the sheet, beyond which further coordinates go to another line."""
LABEL, BETWEEN, GAP, MARGIN = 262, 3, 15, 16
"""Names on the left; between the images of a group, between groups, about the sheet."""
HEAD, FOOT, TITLE, LINE = 24, 40, 52, 23
"""What the name of a coordinate takes above its images, their values below, the title, and a line under it."""
CAPTIONED = (
    f"Each group shows {VALUES} values of one coordinate, the others at their default. Pixel for pixel: a larger image "
    "has the same middle. Place and size are in pixels (px) of the network's input, angles run from x (right) to y "
    "(down) and tell which way luminance varies, grey is 0.5, hues are of equal luminance."
)


@style()
def sheet(stimuli: Sequence[Stimulus], *, side: int = 63) -> Figure:
    """Draw stimuli of so many pixels: each group varies one coordinate, the others are at their default."""
    edge = max(side, SMALLEST)
    group = VALUES * (edge + BETWEEN) - BETWEEN + GAP
    in_line = max(1, min((WIDEST - LABEL) // group, max(len(stimulus.coordinates) for stimulus in stimuli)))
    lines = [-(-len(stimulus.coordinates) // in_line) for stimulus in stimuli]
    wide = 2 * MARGIN + LABEL + in_line * group - GAP
    caption = textwrap.wrap(CAPTIONED, int(72 * (wide - 2 * MARGIN) / DOTS / (0.56 * CAPTION)))
    top = TITLE + LINE * (len(caption) + 1)
    figure, canvas = _canvas(wide, top + sum(lines) * (HEAD + edge + FOOT))
    _title(canvas, len(stimuli), caption)
    for stimulus, count in zip(stimuli, lines, strict=True):
        _name(canvas, stimulus, top=top + HEAD)
        for number, coordinate in enumerate(stimulus.coordinates):
            line, place = divmod(number, in_line)
            corner = MARGIN + LABEL + place * group, top + line * (HEAD + edge + FOOT)
            _group(canvas, stimulus, coordinate, corner, side=side, edge=edge)
        top += count * (HEAD + edge + FOOT)
    return figure


def worded(value: float, unit: str) -> str:
    """Write a value short, in parts of pi where it is an angle."""
    if unit != "rad":
        return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")
    part = Fraction(value / pi).limit_denominator(36)
    above = {0: "0", 1: "π"}.get(part.numerator, f"{part.numerator}π")
    return above if part.denominator == 1 or part == 0 else f"{above}/{part.denominator}"


def _canvas(wide: int, high: int) -> tuple[Figure, Axes]:
    """Make a figure with one field over all of it, measured in dots from the upper left."""
    figure = Figure(figsize=(wide / DOTS, high / DOTS))
    canvas = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    canvas.set(xlim=(0, wide), ylim=(high, 0), autoscale_on=False)
    canvas.set_axis_off()
    return figure, canvas


def _title(canvas: Axes, count: int, caption: Sequence[str]) -> None:
    what = f"{count} stimuli" if count > 1 else "A stimulus"
    canvas.text(MARGIN, MARGIN, f"{what} with named coordinates", size=HEADLINE, color=INK, va="top")
    for line, words in enumerate(caption):
        canvas.text(MARGIN, TITLE + line * LINE, words, size=CAPTION, color=SOFT, va="top")


def _name(canvas: Axes, stimulus: Stimulus, *, top: int) -> None:
    canvas.text(MARGIN, top, stimulus.name, size=9.5, weight="bold", color=INK, va="top")
    about = "\n".join(textwrap.wrap(stimulus.about, 27))
    canvas.text(MARGIN, top + 25, about, size=7.5, color=SOFT, va="top", linespacing=1.2)


def _group(
    canvas: Axes, stimulus: Stimulus, coordinate: Coordinate, corner: tuple[int, int], *, side: int, edge: int
) -> None:
    """Draw the images that vary one coordinate, its name above them and its values below."""
    left, top = corner
    values = coordinate.values(VALUES)
    rows = grid(stimulus, dict.fromkeys(stimulus.names, 1) | {coordinate.name: VALUES})
    unit = f" [{coordinate.unit}]" if coordinate.unit else ""
    canvas.text(left, top + HEAD - 4, f"{coordinate.name}{unit}", size=7.5, color=INK, va="bottom")
    for place, (value, image) in enumerate(zip(values, render(stimulus, rows, side=side), strict=True)):
        x, y = left + place * (edge + BETWEEN), top + HEAD
        canvas.imshow(image, extent=(x, x + edge, y + edge, y), interpolation="none", aspect="auto", zorder=1)
        canvas.add_patch(Rectangle((x, y), edge, edge, fill=False, edgecolor=PALE, linewidth=0.4, zorder=2))
        words = worded(float(value), coordinate.unit)
        canvas.text(x + edge / 2, y + edge + 4, words, size=7, color=SOFT, va="top", ha="center")
