"""Draw what the units of each layer detect, as stacked bars: one panel a network, one bar a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..pictures.plot_style import SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet
from .plot_tint import kind_colours

ABREAST = 3
"""Panels beside one another."""
LAYERS = 40
"""Layers of a network at the most, evenly spaced."""
NAMES, COUNTS = 1.1, 0.34
"""Most inches for the names of the layers left of the bars; inches for the numbers of units right of them."""
SPACE = 0.12
"""Inches between panels."""
BAR, PAIRED = 0.14, 0.21
"""Inches from one bar to the next, and where each has another beneath it."""
HEAD, FOOT = 0.36, 0.32
"""Inches above and below the bars of a panel."""

CAPTION = (
    "Share of a layer's units by what they detect, layers from the first down; right of each bar: its number of units. "
    "Not reduced: no law or closed form was good enough."
)
SILENT = "Silent: the unit never varies."
TWINS = "Thin bars beneath: the same of untrained twins, which is what chance gives."


@dataclass(frozen=True, slots=True)
class LayerShare:
    """How many units of one layer are of each kind, and how many of its untrained twins, where these were looked at.

    All kinds together are the layer's units.
    """

    network: str
    layer: str
    counts: Mapping[str, int]
    twins: Mapping[str, int] = field(default_factory=dict)


@style()
def draw_shares(rows: Sequence[LayerShare], *, finding: str, note: str = "") -> Figure:
    """Draw the share of each kind of detector per layer and network as stacked bars, layers in the order given.

    At most LAYERS of a network are drawn; the caption counts what is left out, and `note` ends it.
    """
    networks = list(dict.fromkeys(row.network for row in rows))
    groups = [[row for row in rows if row.network == network] for network in networks]
    shown = [_thinned(group) for group in groups]
    palette = kind_colours(kind for row in rows for kind in (*row.counts, *row.twins))
    twins = any(row.twins for row in rows)
    high = PAIRED if twins else BAR
    abreast = lay.abreast(len(groups), most=ABREAST)
    width = WIDTH if abreast > 1 else 4.6
    step = (width - 2 * MARGIN + SPACE) / abreast
    bands = [shown[first : first + abreast] for first in range(0, len(shown), abreast)]
    heights = [HEAD + FOOT + high * max(map(len, band)) for band in bands]
    legend = _legend_places(list(palette), width)
    tall = 0.19 * (max((down for _, down in legend), default=0) + 1) + 0.08
    body = tall + (sum(heights) if rows else 1.0)
    left_out = lay.left_out(len(rows), sum(map(len, shown)), "layers")
    told = (CAPTION if rows else "", SILENT if "silent" in palette else "", TWINS if twins else "")
    caption = " ".join(filter(None, (*told, left_out, note)))
    on = lay.sheet(width, body, finding=finding, caption=caption)
    if not rows:
        lay.nothing(on, MARGIN, on.top, wide=width - 2 * MARGIN, high=0.9, words="no unit")
    _legend(on, palette, legend)
    top, beside = on.top + tall, max((_beside(group) for group in shown), default=0.0)
    for band, tallest in zip(bands, heights, strict=True):
        for place, group in enumerate(band):
            left = MARGIN + place * step
            _panel(on, group, palette, left, top, wide=step - SPACE, beside=beside, high=high)
        top += tallest
    return on.figure


def _thinned(group: Sequence[LayerShare]) -> list[LayerShare]:
    places = np.linspace(0, len(group) - 1, min(len(group), LAYERS)).round().astype(int)
    return [group[place] for place in places]


def _legend_places(kinds: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Place the kinds in lines: inches from the left, and which line."""
    places, left, down = [], 0.0, 0
    for kind in kinds:
        wide = _entry(kind).wide + 0.4
        if left and left + wide > width - 2 * MARGIN:
            left, down = 0.0, down + 1
        places.append((left, down))
        left += wide
    return places


def _entry(kind: str) -> lay.Words:
    return lay.line(kind, width=2.0, sizes=(8.5, 7.5))


def _legend(on: Sheet, palette: Mapping[str, str], places: Sequence[tuple[float, int]]) -> None:
    for (kind, colour), (left, down) in zip(palette.items(), places, strict=True):
        across, top = MARGIN + left, on.top + 0.19 * down
        lay.box(on, across, top, wide=0.14, high=0.12, face=colour, edge=colour)
        lay.write(on, _entry(kind), across + 0.2, top)


def _names(group: Sequence[LayerShare]) -> tuple[str, list[lay.Words]]:
    """Give the pattern of a network's names of layers, and the rest of each."""
    pattern, layers = shortened([row.layer for row in group])
    return pattern, [lay.line(layer, width=NAMES - 0.08, sizes=(7.0, 6.0)) for layer in layers]


def _beside(group: Sequence[LayerShare]) -> float:
    return max(words.wide for words in _names(group)[1]) + 0.08


def _panel(
    on: Sheet,
    group: Sequence[LayerShare],
    palette: Mapping[str, str],
    left: float,
    top: float,
    *,
    wide: float,
    beside: float,
    high: float,
) -> None:
    name = lay.line(group[0].network, width=wide, sizes=(8.5, 7.5, 6.5), bold=True)
    lay.write(on, name, left, top)
    pattern, names = _names(group)
    said = lay.line(pattern, width=wide, sizes=(7.0, 6.0))
    lay.write(on, said, left, top + 0.16, colour=SOFT)
    axes = lay.axes_at(on, left + beside, top + HEAD, wide=wide - beside - COUNTS, high=high * len(group))
    if high > BAR:
        _bars(axes, [row.counts for row in group], palette, offset=-0.14, thick=0.58)
        _bars(axes, [row.twins for row in group], palette, offset=0.31, thick=0.2)
    else:
        _bars(axes, [row.counts for row in group], palette)
    _counts(axes, group, offset=-0.14 if high > BAR else 0.0)
    axes.set_yticks(range(len(group)), [words.text for words in names])
    for label, words in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontsize(words.size)
    axes.set(xlim=(0, 100), ylim=(len(group) - 0.5, -0.5))
    axes.set_xticks([0, 50, 100], ["0", "50", "100 %"], fontsize=6.5)
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", length=2, pad=1.5)
    axes.spines["left"].set_visible(False)


def shortened(layers: Sequence[str]) -> tuple[str, list[str]]:
    """Take away what all names of layers begin and end with, and give that as a pattern, "" where nothing is.

    >>> shortened(["blocks.0.conv", "blocks.1.conv"])
    ('layers blocks.*.conv', ['0', '1'])
    """
    parts = [layer.split(".") for layer in layers]
    shortest = min(map(len, parts), default=0) - 1
    first = next((at for at in range(shortest) if len({part[at] for part in parts}) > 1), max(shortest, 0))
    rest = shortest - first
    last = next((at for at in range(rest) if len({part[-1 - at] for part in parts}) > 1), max(rest, 0))
    if len(layers) < 2 or not (first or last):
        return "", list(layers)
    shorts = [".".join(part[first : len(part) - last]) for part in parts]
    return "layers " + ".".join([*parts[0][:first], "*", *parts[0][len(parts[0]) - last :]]), shorts


def _bars(
    axes: Axes,
    counted: Sequence[Mapping[str, int]],
    palette: Mapping[str, str],
    *,
    offset: float = 0.0,
    thick: float = 0.8,
) -> None:
    totals = np.array([sum(counts.values()) for counts in counted], dtype=float)
    start, places = np.zeros(len(counted)), np.arange(len(counted)) + offset
    for kind, colour in palette.items():
        counts = np.array([row.get(kind, 0) for row in counted], dtype=float)
        share = 100 * counts / np.maximum(totals, 1)
        axes.barh(places, share, left=start, height=thick, color=colour, edgecolor="white", linewidth=0.4)
        start += share


def _counts(axes: Axes, group: Sequence[LayerShare], *, offset: float) -> None:
    for place, row in enumerate(group):
        total = sum(row.counts.values())
        words = f"{total:,}" if total else "none"
        axes.text(102, place + offset, words, fontsize=6.0, color=SOFT, va="center")
