"""Draw a map of units: those that do alike lie together, whatever network they come from."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from . import plot_text as text
from .plot_style import COLOURS, PALE, SOFT, bare, blank, colours, headline, ramp, shades, style, thinned

FEWEST = 5
"""Fewer units than this have no neighbourhoods to learn a map from."""

NAMED = 14
"""Features that are named on the map at the most, the largest first."""

LISTED = len(COLOURS)
"""Networks or layers in a legend at the most."""

Positions = Float[np.ndarray, "units 2"]
Colour = tuple[float, float, float, float]


@style()
def units(
    activations: Float[np.ndarray, "units samples"],
    *,
    networks: Sequence[str],
    levels: Sequence[str],
    features: Sequence[str],
    universality: Float[np.ndarray, " units"],
    signs: Float[np.ndarray, " units"] | None = None,
    seed: int = 0,
    note: str = "",
) -> Figure:
    """Draw units in two dimensions (UMAP on 1 - r), coloured by universality, network and layer.

    `levels` are the layers that correspond, in their order. `features` names the feature of each unit, "" where
    none is above the nulls; `universality` is that feature's. `signs` (±1) turn units to the sign of their
    feature, so that a unit and its negative lie together. Units that never vary, or hold values that are not
    finite, are left out and counted.
    """
    live = _live(activations)
    oriented = activations if signs is None else activations * signs[:, None]
    positions = layout(oriented[live], seed=seed)
    keep = np.flatnonzero(live).tolist()
    chosen = [[labels[place] for place in keep] for labels in (networks, levels, features)]
    figure = blank(11.6, 6.4)
    panels = figure.subplot_mosaic([["features", "networks"], ["features", "levels"]], width_ratios=(2.1, 1.0))
    size = float(np.clip(6000 / max(len(keep), 1), 5, 50))
    _features(figure, panels["features"], positions, chosen[2], universality[live], size=size)
    networks, levels = sorted(set(chosen[0])), list(dict.fromkeys(chosen[1]))
    by_network = dict(zip(networks, colours(len(networks)), strict=True))
    by_level = dict(zip(levels, shades(len(levels)), strict=True))
    _groups(panels["networks"], positions, chosen[0], by_network, title="by network", size=size / 2)
    _groups(panels["levels"], positions, chosen[1], by_level, title="by layer, first to last", size=size / 2)
    headline(figure, _finding(chosen[2], chosen[0]), _caption(len(keep), int((~live).sum()), note))
    return figure


def layout(activations: Float[np.ndarray, "units samples"], *, seed: int) -> Positions:
    """Place units in two dimensions by their correlations: UMAP from five units on, else classical scaling.

    The same seed gives the same map. Units must vary. (McInnes, Healy and Melville, 2018.)
    """
    rows = activations - activations.mean(axis=1, keepdims=True)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
    start = _principal(rows)
    return start if len(rows) < FEWEST else _umap(rows, start, seed=seed)


def _principal(rows: Float[np.ndarray, "units samples"]) -> Positions:
    """Scale distances classically: the two main axes of the standardised units, signs fixed."""
    if not len(rows):
        return np.zeros((0, 2))
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = (left * singular)[:, :2]
    found = np.pad(found, ((0, 0), (0, 2 - found.shape[1]))).astype(float)
    peaks = found[np.argmax(np.abs(found), axis=0), np.arange(2)]
    return np.asarray(found * np.where(peaks < 0, -1.0, 1.0))


def _umap(rows: Float[np.ndarray, "units samples"], start: Positions, *, seed: int) -> Positions:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns of its own defaults, and numba of its own code
        from umap import UMAP  # compiles for seconds: only the picture that needs it waits

        mapper = UMAP(
            n_neighbors=min(15, len(rows) - 1),
            min_dist=0.6,
            spread=1.2,
            metric="correlation",
            init=np.asarray(start / max(float(np.abs(start).max()), 1e-12), dtype=np.float32),
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(mapper.fit_transform(rows.astype(np.float32)), dtype=float)


def _live(activations: Float[np.ndarray, "units samples"]) -> Bool[np.ndarray, " units"]:
    finite = np.isfinite(activations).all(axis=1)
    spread = (
        np.ptp(np.where(finite[:, None], activations, 0.0), axis=1) if activations.shape[1] else np.zeros(len(finite))
    )
    return np.asarray(finite & (spread > 0))


def _finding(features: Sequence[str], networks: Sequence[str]) -> str:
    named = [feature for feature in features if feature]
    start = f"{_counted(len(features), 'unit')} of {_counted(len(set(networks)), 'network')}"
    if not named:
        return f"{start}: no feature is above the nulls"
    return f"{start}: {len(named):,} in {_counted(len(set(named)), 'feature')} above the nulls"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _caption(count: int, dead: int, note: str) -> str:
    how = "UMAP of 1 \N{MINUS SIGN} correlation" if count >= FEWEST else "Classical scaling of correlations"
    left_out = f"{_counted(dead, 'unit')} without usable variation left out." if dead else ""
    words = f"{how}: near means doing alike; axes have no unit. Grey: not above the nulls."
    return " ".join(filter(None, (words, left_out, text.plain(note, longest=300))))


def _dots(axes: Axes, positions: Positions, colour: Any, *, size: float, order: int = 2) -> None:
    edge = 0.4 if size > 12 else 0.0
    axes.scatter(
        positions[:, 0],
        positions[:, 1],
        c=colour,
        s=size,
        linewidths=edge,
        edgecolors="white",
        zorder=order,
        rasterized=len(positions) > 2000,
    )


def _features(
    figure: Figure,
    axes: Axes,
    positions: Positions,
    features: Sequence[str],
    universality: Float[np.ndarray, " units"],
    *,
    size: float,
) -> None:
    named = np.array([bool(feature) for feature in features], dtype=bool)
    bare(axes)
    axes.set_title("by universality of the feature")
    _dots(axes, positions[~named], PALE, size=0.8 * size, order=1)
    if not named.any():
        return
    points = axes.scatter(
        positions[named, 0],
        positions[named, 1],
        c=universality[named],
        cmap=ramp(),
        vmin=0.0,
        vmax=1.0,
        s=size,
        linewidths=0.4 if size > 12 else 0.0,
        edgecolors="white",
        rasterized=bool(named.sum() > 2000),
        zorder=2,
    )
    bar = figure.colorbar(points, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label("universality [share of lineages]", fontsize=9)
    bar.outline.set_visible(False)
    _names(axes, positions, features)


def _names(axes: Axes, positions: Positions, features: Sequence[str]) -> None:
    """Name the largest features where their middle lies, leaving out names that would lie on another."""
    sizes = Counter(filter(None, features))
    spread = np.maximum(np.ptp(positions, axis=0), 1e-12)
    taken: list[np.ndarray] = []
    for feature in sorted(sizes, key=lambda name: -sizes[name]):
        members = positions[[place for place, name in enumerate(features) if name == feature]]
        above = np.array([np.median(members[:, 0]), np.percentile(members[:, 1], 90)])
        if len(taken) >= NAMED or any(_collide((above - other) / spread) for other in taken):
            continue
        taken.append(above)
        label = axes.annotate(
            text.plain(feature, longest=18),
            (float(above[0]), float(above[1])),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            zorder=4,
        )
        label.set(fontsize=9, fontweight="bold", path_effects=[withStroke(linewidth=2.5, foreground="white")])


def _collide(offset: Float[np.ndarray, " 2"]) -> bool:
    return bool(abs(offset[0]) < 0.09 and abs(offset[1]) < 0.05)


def _groups(
    axes: Axes, positions: Positions, labels: Sequence[str], palette: Mapping[str, Colour], *, title: str, size: float
) -> None:
    """Colour units by a palette, and name its colours: all, or some of them evenly."""
    bare(axes)
    axes.set_title(title)
    mixed = np.random.default_rng(0).permutation(len(labels))  # or the last group would hide the others
    _dots(axes, positions[mixed], [palette[labels[place]] for place in mixed], size=size)
    named = [name for _, name in thinned(list(palette), most=LISTED)]
    if not named:
        return
    marks = [Line2D([], [], marker="o", linestyle="", markersize=4.5, color=palette[name]) for name in named]
    axes.legend(
        marks,
        [text.plain(name, longest=18) for name in named],
        title=f"{len(named)} of {len(palette)}:" if len(named) < len(palette) else None,
        title_fontsize=7.5,
        alignment="left",
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=7.5,
        handletextpad=0.2,
        borderaxespad=0.0,
        labelcolor=SOFT,
    )
