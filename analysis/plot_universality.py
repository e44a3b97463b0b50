"""Draw features against the nulls: how strongly networks agree on them, and how strongly chance agrees."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import plot_text as text
from .plot_style import BASE, PALE, SOFT, blank, headline, style

BINS = 30


@style()
def universality(
    values: Float[np.ndarray, " features"],
    null: Float[np.ndarray, " draws"],
    *,
    above: Bool[np.ndarray, " features"],
    measure: str = "universality [share of lineages]",
    note: str = "",
) -> Figure:
    """Draw a histogram of the features, those above the nulls apart, before what the nulls give.

    `null` holds the same measure where there is nothing to find (untrained, rotated, shuffled), scaled
    to as many features as there are; it may be empty. `note` ends the caption.
    """
    figure = blank(7.2, 4.2)
    axes = figure.add_subplot()
    finite, null = np.isfinite(values), null[np.isfinite(null)]
    everything = np.concatenate([values[finite], null, [0.0, 1.0]])
    edges = np.linspace(float(everything.min()), float(everything.max()), BINS + 1).tolist()
    if null.size:
        share = np.full(null.size, finite.sum() / null.size)
        axes.hist(null, edges, weights=share, color=PALE, label="nulls, scaled to as many")
        axes.hist(null, edges, weights=share, histtype="step", color=SOFT, linewidth=1.0)
    sides = [values[finite & above], values[finite & ~above]]
    names = [f"above the nulls ({sides[0].size})", f"not above them ({sides[1].size})"]
    axes.hist(sides, edges, stacked=True, color=[BASE, "#9ecae1"], label=names, rwidth=0.7, zorder=2)
    axes.set(xlabel=text.plain(measure, longest=80), ylabel="features")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(loc="best", fontsize=9)
    headline(
        figure,
        f"{int(above.sum())} of {values.size} features are above the nulls",
        text.plain(note, longest=300),
    )
    return figure
