"""Draw features against the nulls: how strongly networks agree on them, and how strongly chance agrees."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import plot_text as text
from .plot_style import BASE, PALE, SOFT, blank, headline, style

BINS = 20
WIDTH = 7.2

CAPTION = (
    "Blue: the features of the zoo. Grey, beside them: what the same search finds where there is nothing to find "
    "(networks with turned axes, untrained twins, shuffled samples), scaled to as many features. Each feature was "
    "held against the nulls of its own level, so of two that are equally strong here one may pass and one not."
)
BARE = "Nothing was drawn from the nulls."
NEGATIVE = "What lies below 0 is counted at 0."


@style()
def universality(
    values: Float[np.ndarray, " features"],
    null: Float[np.ndarray, " draws"],
    *,
    above: Bool[np.ndarray, " features"],
    measure: str = "universality [share of lineages]",
    note: str = "",
) -> Figure:
    """Draw a histogram of the features, those above the nulls apart, beside what the nulls give.

    `values` are shares, in [0, 1]. `null` holds the same measure where there is nothing to find (untrained,
    rotated, shuffled), scaled to as many features as there are; it may be empty. `note` ends the caption.
    """
    figure = blank(WIDTH, 4.6)
    axes = figure.add_subplot()
    finite, null = np.isfinite(values), null[np.isfinite(null)]
    sides = [values[finite & above], values[finite & ~above]]
    strong, weak = (_counts(side) for side in sides)
    chance = _counts(null) * (finite.sum() / max(null.size, 1))
    left, width = np.arange(BINS) / BINS, 0.42 / BINS
    blue, grey = left + 0.28 / BINS, left + 0.72 / BINS
    axes.bar(blue, strong, width, color=BASE, label=f"above the nulls ({sides[0].size})", zorder=2)
    axes.bar(blue, weak, width, bottom=strong, color="#9ecae1", label=f"not above them ({sides[1].size})", zorder=2)
    if null.size:
        label = f"nulls, scaled to as many (drawn: {null.size:,})"
        axes.bar(grey, chance, width, color=PALE, edgecolor=SOFT, linewidth=0.6, label=label, zorder=2)
    axes.set(xlabel=text.plain(measure, longest=80), ylabel="features", xlim=(-0.01, 1.01))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.legend(loc="best", fontsize=9)
    negative = bool((null < 0).any() or (values[finite] < 0).any())
    caption = (CAPTION if null.size else BARE, NEGATIVE if negative else "", text.plain(note, longest=300))
    passed = int(above.sum())
    finding = f"{passed} of {values.size} features {'is' if passed == 1 else 'are'} above the nulls"
    headline(figure, finding, " ".join(filter(None, caption)))
    return figure


def _counts(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " bins"]:
    return np.histogram(np.clip(values, 0.0, 1.0), BINS, (0.0, 1.0))[0].astype(np.float64)
