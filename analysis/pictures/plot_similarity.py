"""Draw how similar networks or layers are to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import plot_text as text
from .plot_style import HEADLINE, PALE, SOFT, blank, headline, ramp, room, style, thinned

LABELS = 100
"""Rows named at the most; beyond that every second one, and so on."""

NUMBERS = 12
"""Up to so many rows the cells also show their numbers."""


@style()
def similarity(
    matrix: Float[np.ndarray, "rows rows"],
    *,
    names: Sequence[str],
    groups: Sequence[str] = (),
    measure: str = "CKA",
    of: str = "layers",
    note: str = "",
) -> Figure:
    """Draw a symmetric matrix of similarities in [0, 1] as a heat map; NaN, not comparable, stays grey.

    Rows of one group (network or level) are put together, groups in order of first appearance, and set
    apart by lines. `of` says what the rows are. `note` ends the caption.
    """
    labels = list(groups) if groups else [""] * len(names)
    order = _grouped(labels)
    matrix, labels = matrix[np.ix_(order, order)], [labels[place] for place in order]
    side = float(np.clip(3.4 + 0.11 * len(order), 4.6, 12.0))
    figure = blank(side + 1.6, side + 0.5)
    axes = figure.add_subplot()
    colour_map = ramp().with_extremes(bad=PALE)
    image = axes.imshow(matrix if order else [[np.nan]], cmap=colour_map, vmin=0.0, vmax=1.0, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.02, aspect=30)
    bar.set_label(text.plain(measure))
    bar.outline.set_visible(False)
    _ticks(axes, [names[place] for place in order])
    _borders(axes, labels)
    if len(order) <= NUMBERS:
        _numbers(axes, matrix)
    grey = "Grey: not comparable." if np.isnan(matrix).any() else ""
    unnamed = "" if len(order) <= LABELS else f"Not every one of {len(order)} rows is named."
    caption = " ".join(filter(None, (grey, unnamed, text.plain(note, longest=300))))
    finding = _finding(matrix, labels, measure=measure, of=of)
    wide = text.measure(finding, size=HEADLINE) > room(figure.get_figwidth())
    headline(figure, finding.replace(", ", ",\n", 1) if wide else finding, caption)
    return figure


def _grouped(labels: Sequence[str]) -> list[int]:
    first = {label: place for place, label in reversed(list(enumerate(labels)))}
    return sorted(range(len(labels)), key=lambda place: first[labels[place]])


def _finding(matrix: Float[np.ndarray, "rows rows"], labels: Sequence[str], *, measure: str, of: str) -> str:
    same = np.array(labels)[:, None] == np.array(labels)[None, :]
    pairs = ~np.eye(len(labels), dtype=bool) & np.isfinite(matrix)
    start = f"{len(labels)} {text.plain(of)}: median {text.plain(measure)}"
    inside, outside = matrix[pairs & same], matrix[pairs & ~same]
    if inside.size and outside.size:
        return f"{start} {np.median(inside):.2f} within blocks, {np.median(outside):.2f} between them"
    both = matrix[pairs]
    return f"{start} {np.median(both):.2f}" if both.size else f"{len(labels)} {text.plain(of)}, no two comparable"


def _ticks(axes: Axes, names: Sequence[str]) -> None:
    shown = thinned(names, most=LABELS)
    size = float(np.interp(len(shown), (12, 40, 100), (9, 7.5, 6.2)))
    places, words = [place for place, _ in shown], [text.plain(name, longest=36) for _, name in shown]
    axes.set_xticks(places, words, rotation=90, fontsize=size)
    axes.set_yticks(places, words, fontsize=size)
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _borders(axes: Axes, labels: Sequence[str]) -> None:
    starts = [0, *(place for place in range(1, len(labels)) if labels[place] != labels[place - 1])]
    if len(starts) == 1 or len(starts) == len(labels):
        return
    for start, end in zip(starts, [*starts[1:], len(labels)], strict=True):
        if start:
            axes.axhline(start - 0.5, color="white", linewidth=1.6)
            axes.axvline(start - 0.5, color="white", linewidth=1.6)
        axes.annotate(
            text.plain(labels[start], longest=24),
            ((start + end - 1) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center" if len(starts) <= 6 else "left",
            rotation=0 if len(starts) <= 6 else 45,
            fontsize=8.5,
            color=SOFT,
            annotation_clip=False,
        )


def _numbers(axes: Axes, matrix: Float[np.ndarray, "rows rows"]) -> None:
    known: Bool[np.ndarray, "rows rows"] = np.isfinite(matrix)
    for row, column in np.argwhere(known):
        value = float(matrix[row, column])
        ink = "white" if value < 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
