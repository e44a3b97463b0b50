"""Draw the Pareto front of a search for an equation: how good, how complex, and which one was chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from . import plot_text as text
from .plot_style import ACCENT, BASE, GOOD, HEADLINE, LINE, SOFT, blank, headline, room, style

CAPTION = (
    "Each point: the best formula of its size. Peer ratio: error of the formula, fitted without one lineage, "
    "on that lineage's network, over the error of the other networks there. At 1 it is as good a witness as "
    "they are."
)
WIDTH = 7.2

LABEL = 170.0
"""Points of width up to which the chosen formula also stands beside its point."""

ALONE = "Each point: the best formula of its size. One lineage only: there are no peers to compare it with."


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One formula of a front; `ratio` and its standard error are NaN where there are no peers."""

    complexity: int
    ratio: float
    ratio_error: float
    error: float
    formula: str
    chosen: bool = False


@style()
def front(points: Sequence[FrontPoint], *, target: str, unit: str = "", note: str = "") -> Figure:
    """Draw peer ratio (or error, where no point has a ratio) against complexity, the chosen formula marked.

    At most one point is `chosen`; with none the headline says that there is no equation. `note` ends
    the caption. Points without a positive finite value are counted there and not drawn.
    """
    members = sorted(points, key=lambda point: point.complexity)
    chosen = next((point for point in members if point.chosen), None)
    finding = _finding(chosen, target=target)
    figure = blank(WIDTH, 4.9 + LINE * finding.count("\n"))
    axes = figure.add_subplot(title=_verdict(chosen) if chosen else "")
    alone = not any(_drawable(point.ratio) for point in members)
    values = np.array([point.error if alone else point.ratio for point in members], dtype=float)
    errors = np.array([0.0 if alone else point.ratio_error for point in members], dtype=float)
    shown = np.array([_drawable(value) for value in values], dtype=bool)
    _scales(axes, values[shown], errors[shown], alone=alone)
    _points(axes, members, values, errors, shown)
    axes.set_xlabel("complexity [nodes of the formula]")
    axes.set_ylabel(text.quantity("error", unit) if alone else "peer ratio [error / error of the peers]")
    hidden = int((~shown).sum())
    left_out = f"{hidden} of {len(members)} could not be scored and are not drawn." if hidden else ""
    caption = " ".join(filter(None, (ALONE if alone else CAPTION, left_out, text.plain(note, longest=300))))
    headline(figure, finding, caption)
    return figure


def _drawable(value: float) -> bool:
    return math.isfinite(value) and bool(value > 0)


def _finding(chosen: FrontPoint | None, *, target: str) -> str:
    if chosen is None:
        return f"{text.plain(target)}: no equation"
    return text.equation(target, chosen.formula, width=room(WIDTH), size=HEADLINE)


def _verdict(chosen: FrontPoint) -> str:
    if not _drawable(chosen.ratio):
        return f"{chosen.complexity} nodes, without peers to compare with"
    return f"peer ratio {spread(chosen.ratio, chosen.ratio_error)} at {chosen.complexity} nodes"


def spread(value: float, error: float) -> str:
    """Write a value with its standard error, to the digits that the error leaves."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.3g}"
    decimals = 1 if error >= 1 else max(-math.floor(math.log10(error)), 2)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _scales(
    axes: Axes, values: Float[np.ndarray, " points"], errors: Float[np.ndarray, " points"], *, alone: bool
) -> None:
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    if not values.size:
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=SOFT)
        return
    reach = values + np.nan_to_num(errors, posinf=0.0)
    low, high = float(values.min()), float(reach.max())
    if not alone:
        low, high = min(low, 0.8), max(high, 1.6)
    pad = max((high / low) ** 0.07, 1.1)
    axes.set_ylim(low / pad, high * pad**1.5)
    narrow = high / low < 300
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if not alone:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.axhspan(low / pad, 1.0, color=GOOD, alpha=0.11, linewidth=0)
        axes.axhline(1.0, color=GOOD, linewidth=1.2)
        axes.annotate(
            "as good as the peers",
            (0.0, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(5, -4),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=GOOD,
        )


def _points(
    axes: Axes,
    members: Sequence[FrontPoint],
    values: Float[np.ndarray, " points"],
    errors: Float[np.ndarray, " points"],
    shown: Bool[np.ndarray, " points"],
) -> None:
    sizes = np.array([point.complexity for point in members], dtype=float)
    whiskers = np.clip(np.nan_to_num(errors, posinf=0.0), 0.0, None)
    # A log axis has no room below zero: the whisker then ends a little under its point
    below = np.minimum(whiskers, 0.9 * np.abs(values))
    axes.plot(sizes[shown], values[shown], color=BASE, linewidth=1.1, alpha=0.5, zorder=2)
    for place in np.flatnonzero(shown).tolist():
        chosen = members[place].chosen
        axes.errorbar(
            sizes[place],
            values[place],
            yerr=[[below[place]], [whiskers[place]]],
            fmt="D" if chosen else "o",
            markersize=9 if chosen else 5.5,
            color=ACCENT if chosen else BASE,
            markeredgecolor="white",
            markeredgewidth=0.8,
            elinewidth=1.1,
            capsize=2.5,
            zorder=4 if chosen else 3,
        )
        if chosen:
            _label(axes, members[place].formula, (sizes[place], values[place]), span=sizes[shown])


def _label(axes: Axes, formula: str, at: tuple[float, float], *, span: Float[np.ndarray, " points"]) -> None:
    """Name the chosen formula in the upper right, where a front never goes; the headline has long ones."""
    words = text.equation("", formula, width=400.0, size=11.0)
    if "\n" in words or not words.startswith("$") or text.measure(words, size=11.0) > LABEL:
        words = "chosen"
    across = (at[0] - span.min()) / max(float(np.ptp(span)), 1.0)
    axes.annotate(
        words,
        at,
        xytext=(float(np.clip(across + 0.12, 0.42, 0.8)), 0.68),
        textcoords="axes fraction",
        ha="center",
        va="bottom",
        fontsize=11,
        color=ACCENT,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 3},
        arrowprops={"arrowstyle": "-", "color": ACCENT, "linewidth": 0.9, "shrinkB": 6},
        zorder=5,
    )
