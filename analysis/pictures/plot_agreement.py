"""Draw an equation against every network that it was distilled from, beside what the networks disagree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import plot_text as text
from .plot_style import HEADLINE, INK, LINE, PALE, SOFT, blank, colours, headline, room, style, thinned

MINUS = "\N{MINUS SIGN}"

WIDTH = 10.4

DOTS = 24_000
"""More points than this would only cover each other."""

ROWS = 60
"""Lineages named at the most; beyond that only every second one, and so on."""

FAR = 5.0
"""How many times the median whisker the axis of differences may reach; what lies beyond gets an arrow."""

LEVELS = (5.0, 25.0, 50.0, 75.0, 95.0)
"""Percentiles of whiskers, boxes and median."""

CAPTION = (
    "Right: what is left of each network when the equation is taken away (box: middle half, whiskers: middle "
    "90 %), the closest at the top."
)
PEERS = (
    " Grey, on the same terms: the median network minus the mean of its peers. Boxes that fill the dark band and "
    "whiskers that fill the light one mean that the equation is as good a witness as the peers."
)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One lineage as it is drawn: `quantiles` of network minus equation at LEVELS."""

    name: str
    r2: float
    colour: tuple[float, float, float, float]
    quantiles: Float[np.ndarray, " levels"]


@style()
def agreement(
    predicted: Float[np.ndarray, " samples"],
    values: Float[np.ndarray, "lineages samples"],
    *,
    lineages: Sequence[str],
    r2: Sequence[float],
    formula: str,
    target: str,
    unit: str = "",
    note: str = "",
) -> Figure:
    """Draw the networks' values against the equation's, and their differences lineage by lineage.

    `r2` is the equation's R² on each lineage. Samples where anything is not finite are left out. With
    one lineage there are no peers and no grey band. `note` ends the caption.
    """
    finite = np.isfinite(predicted) & np.isfinite(values).all(axis=0)
    predicted, values = predicted[finite], values[:, finite]
    rows = _rows(values - predicted, lineages, r2)
    law = text.equation(target, formula, width=room(WIDTH), size=HEADLINE)
    figure = blank(WIDTH, 5.0 + LINE * law.count("\n") + 0.06 * max(min(len(rows), ROWS) - 16, 0))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.05))
    caption = CAPTION + (PEERS if len(rows) > 1 else "")
    headline(figure, law, " ".join(filter(None, (caption, text.plain(note, longest=300)))))
    if predicted.size == 0:
        left.text(0.5, 0.5, "no finite values", transform=left.transAxes, ha="center", color=SOFT)
        return figure
    left.set_title(_verdict(r2))
    order = {row.name: row for row in rows}
    _scatter(left, predicted, values, [order[_key(place, name)].colour for place, name in enumerate(lineages)])
    left.set(xlabel=f"equation: {text.quantity(target, unit)}", ylabel=f"network: {text.quantity(target, unit)}")
    _residuals(right, rows, _peers(values))
    right.set_xlabel(f"network {MINUS} equation{f' [{text.plain(unit)}]' if unit else ''}")
    return figure


def _key(place: int, name: str) -> str:
    return f"{place}\0{name}"  # two lineages may bear one name


def _verdict(r2: Sequence[float]) -> str:
    known = np.array(r2, dtype=float)
    known = known[np.isfinite(known)]
    if not known.size:
        return "equation against every network"
    if len(r2) == 1:
        return f"R² = {_rounded(known[0])} on the one lineage"
    return f"R² between {_rounded(known.min())} and {_rounded(known.max())} on {len(r2)} lineages"


def _rounded(r2: float) -> str:
    """Write R² to the digits that tell it from 1."""
    gap = max(1.0 - r2, 1e-8)
    return f"{r2:.{int(min(max(1 - np.floor(np.log10(gap)), 2), 8)) if gap < 1 else 2}f}"


def _rows(
    differences: Float[np.ndarray, "lineages samples"], lineages: Sequence[str], r2: Sequence[float]
) -> list[Row]:
    size = np.sqrt(np.mean(differences**2, axis=1)) if differences.size else np.zeros(len(lineages))
    order = np.argsort(size, kind="stable")
    palette = colours(len(order))
    return [
        Row(
            _key(int(place), lineages[place]),
            float(r2[place]),
            palette[rank],
            np.percentile(differences[place], LEVELS) if differences.size else np.zeros(len(LEVELS)),
        )
        for rank, place in enumerate(order)
    ]


def _peers(values: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, " levels"]:
    """Take the same percentiles of each network minus the mean of the others; of these the median network."""
    count = len(values)
    if count < 2:
        return np.zeros(len(LEVELS))
    others = (values.sum(axis=0) - values) / (count - 1)
    return np.asarray(np.median(np.percentile(values - others, LEVELS, axis=1), axis=1))


def _scatter(
    axes: Axes,
    predicted: Float[np.ndarray, " samples"],
    values: Float[np.ndarray, "lineages samples"],
    palette: Sequence[tuple[float, float, float, float]],
) -> None:
    count = len(values)
    places = np.linspace(0, predicted.size - 1, min(predicted.size, max(DOTS // count, 1))).astype(int)
    across = np.tile(predicted[places], count)
    # Drawn in mixed order, or the last network would hide the others
    mixed = np.random.default_rng(0).permutation(across.size)
    axes.scatter(
        across[mixed],
        values[:, places].ravel()[mixed],
        c=np.repeat(np.array(palette), len(places), axis=0)[mixed],
        s=float(np.clip(30_000 / across.size, 3, 16)),
        alpha=0.55,
        linewidths=0,
        rasterized=True,
    )
    low, high = min(across.min(), values.min()), max(across.max(), values.max())
    if low > 0 and high > 200 * low:
        axes.set(xscale="log", yscale="log")
    else:
        low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.9, dashes=(5, 3), zorder=3)
    axes.set(xlim=_wide(low, high), ylim=_wide(low, high), aspect="equal")
    axes.set_anchor("N")
    axes.grid()


def _wide(low: float, high: float) -> tuple[float, float]:
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _residuals(axes: Axes, rows: Sequence[Row], peers: Float[np.ndarray, " levels"]) -> None:
    whiskers = np.array([np.abs(row.quantiles).max() for row in rows])
    most = min(float(whiskers.max()), FAR * float(np.median(whiskers)) or np.inf)
    reach = 1.08 * max(most, float(np.abs(peers).max())) or 1.0
    if len(rows) > 1:
        axes.axvspan(peers[0], peers[-1], color=PALE, alpha=0.55, linewidth=0, zorder=0)
        axes.axvspan(peers[1], peers[-2], color="#bdbdbd", alpha=0.75, linewidth=0, zorder=0)
    axes.axvline(0.0, color=INK, linewidth=0.9, dashes=(5, 3), zorder=1)
    height = float(np.interp(len(rows), (3, 12, 50, 200), (0.5, 0.5, 0.5, 0.3)))
    for place, row in enumerate(rows):
        _box(axes, place, row, height=height)
    for place in np.flatnonzero(whiskers > reach).tolist():
        sides = [">"] * int(rows[place].quantiles[-1] > reach) + ["<"] * int(rows[place].quantiles[0] < -reach)
        for side in sides:
            edge = reach if side == ">" else -reach
            axes.plot(edge, place, marker=side, color=INK, markersize=6, clip_on=False, zorder=5)
    axes.set(xlim=(-reach, reach), ylim=(max(len(rows), 3) - 0.4, -0.6), title="difference, lineage by lineage")
    named = thinned([row.name.split("\0", 1)[1] for row in rows], most=ROWS)
    size = float(np.interp(len(named), (12, 60), (9, 5.5)))
    axes.set_yticks([place for place, _ in named], [text.plain(name, longest=22) for _, name in named], fontsize=size)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("R²", loc="right", fontsize=9, color=SOFT)
    remarks = [(place, _rounded(rows[place].r2)) for place, _ in named if np.isfinite(rows[place].r2)]
    for place, remark in remarks:
        axes.annotate(
            remark,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=size,
            color=SOFT,
            annotation_clip=False,
        )


def _box(axes: Axes, place: int, row: Row, *, height: float) -> None:
    low, first, middle, third, high = row.quantiles
    axes.plot([low, high], [place, place], color=row.colour, linewidth=1.1, solid_capstyle="butt", zorder=2)
    axes.barh(place, third - first, left=first, height=height, color=row.colour, linewidth=0, zorder=3)
    axes.plot(
        [middle], [place], marker="o", markersize=height * 6, color="white", markeredgecolor=INK, mew=0.5, zorder=4
    )
