"""Draw matched units side by side: features as rows, networks as columns, a unit against what it matches in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ...zoo.errors import BadInput
from . import plot_text as text
from .plot_style import BASE, HEADLINE, PALE, SOFT, bare, blank, headline, room, style

ROWS = 12
"""Strips that are drawn at the most, the first ones."""
COLUMNS = 12
"""Networks that are drawn at the most, evenly spaced."""
DOTS = 150
"""Samples in a panel at the most, evenly spaced."""

WIDTH, WORDS = 7.2, 1.9
"""Least width of the picture, and what the words beside a strip take of it, in inches."""
SIDES, TALL = (0.56, 1.1), 9.0
"""Least and largest side of a panel, and how tall all rows may be where their panels can shrink, in inches."""
FILLED = 0.92
"""Share of its cell that a panel fills."""
EDGES = (0.5, 99.5)
"""Percentiles of a strip's values between which its panels reach; what lies beyond is drawn on the edge."""

CHARACTER = 0.0095
"""Square inches that a character of the caption takes, with its share of the space around."""
FLAT = 0.25
"""Inches for names that are not turned."""
EMPTY = "#f4f4f4"

Pair = Float[np.ndarray, "two _shown"]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A unit of one network and what it is held against, on the same samples; `r` and `sign` as in the catalogue.

    `unit` names it; `above` says whether the match is above chance. The unit that all others of its strip are
    held against has neither samples nor r.
    """

    unit: str
    values: Float[np.ndarray, " samples"]
    against: Float[np.ndarray, " _samples"]
    r: float = math.nan
    sign: int = 1
    above: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """One row of the picture: panels by network, and the r that chance reaches, NaN where that is not known."""

    name: str
    detail: str
    panels: Mapping[str, Panel]
    chance: float = math.nan


@style()
def matches(
    strips: Sequence[Strip],
    *,
    networks: Sequence[str],
    finding: str,
    partner: str = "mean of the other lineages",
    note: str = "",
) -> Figure:
    """Draw matched units side by side: strips as rows, networks as columns, each unit against its `partner`.

    Units are turned to the sign of what they match, so that equal ones lie on the line. At most ROWS strips
    and COLUMNS networks are drawn; what is left out is counted in the caption, which `note` ends. Raises
    BadInput for a panel of no such network, and for a unit and a partner on different samples.
    """
    _check(strips, networks)
    rows, columns = strips[:ROWS], _spread(networks)
    tall = max(len(rows), 1)
    side = min(float(np.clip((10.4 - WORDS) / max(len(columns), 1), *SIDES)), max(TALL / tall, SIDES[0]))
    width = max(WORDS + side * len(columns), WIDTH)
    left_out = _left_out(len(strips), len(rows), "rows"), _left_out(len(networks), len(columns), "networks")
    caption = " ".join(filter(None, (*_caption(rows, columns), *left_out, text.plain(note, longest=300))))
    words = _wrapped(finding, width)
    around = 0.9 + 0.25 * words.count("\n") + CHARACTER * len(caption) / width
    figure = blank(width, around + _heads(columns) + side * tall)
    axes = figure.add_subplot()
    if rows:
        axes.set(xlabel=f"{text.plain(partner, longest=60)} [standard deviations]", ylabel="unit")
    _grid(axes, rows, columns)
    _panels(axes, rows, columns)
    headline(figure, words, caption)
    return figure


def _spread(networks: Sequence[str]) -> list[str]:
    """Choose networks evenly, the first and the last among them."""
    places = np.linspace(0, len(networks) - 1, min(len(networks), COLUMNS)).round().astype(int)
    return [networks[place] for place in places]


def _check(strips: Sequence[Strip], networks: Sequence[str]) -> None:
    for strip in strips:
        strangers = sorted(strip.panels.keys() - set(networks))
        if strangers:
            raise BadInput(f"{strip.name}: no network {strangers[0]!r} is drawn", hint="name it among the networks")
        for network, panel in strip.panels.items():
            if len(panel.values) != len(panel.against):
                raise BadInput(
                    f"{strip.name}: {network} has {len(panel.values)} samples, its partner {len(panel.against)}",
                    hint="give both on the same samples",
                )


def _wrapped(finding: str, width: float) -> str:
    """Break a finding at its first colon, or else comma, where it is wider than the picture."""
    finding = text.plain(finding, longest=200)
    if text.measure(finding, size=HEADLINE) <= room(width):
        return finding
    mark = ": " if ": " in finding else ", "
    return finding.replace(mark, f"{mark.rstrip()}\n", 1)


def _left_out(total: int, shown: int, noun: str) -> str:
    return f"{shown} of {total} {noun} are drawn." if shown < total else ""


def _caption(rows: Sequence[Strip], columns: Sequence[str]) -> list[str]:
    """Say how to read what is drawn, and nothing of what is not."""
    drawn = [strip.panels[name] for strip in rows for name in columns if name in strip.panels]
    sayings = (
        (
            bool(drawn),
            "One panel a network, all on the same samples, each row on one scale; on the line both are equal. "
            "Top left: their correlation r; bottom right: which unit of its layer it is.",
        ),
        (
            any(math.isfinite(strip.chance) for strip in rows),
            "Chance: one in twenty of the best matches between two networks exceeds this r where there is nothing to "
            "match (the highest of the nulls).",
        ),
        (any(not panel.above for panel in drawn), "Grey dots: no closer than chance."),
        (any(panel.sign < 0 for panel in drawn), "Units with a minus are drawn with their sign turned."),
        (bool(drawn) and len(drawn) < len(rows) * len(columns), "Empty: no such unit in that network."),
    )
    return [words for wanted, words in sayings if wanted]


def _grid(axes: Axes, rows: Sequence[Strip], columns: Sequence[str]) -> None:
    """Lay out cells of size one, networks named above and strips beside them."""
    bare(axes)
    across, down = max(len(columns), 1), max(len(rows), 1)
    axes.set(xlim=(-0.02, across), ylim=(down, -0.02), aspect="equal", anchor="NW")
    axes.xaxis.tick_top()
    names = [text.plain(name, longest=26) for name in columns]
    axes.set_xticks([place + FILLED / 2 for place in range(len(names))], names, fontsize=8.5)
    if _heads(columns) > FLAT:
        for name in axes.get_xticklabels():
            name.set(rotation=40, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0, pad=1)
    labels = [_beside(strip) for strip in rows]
    axes.set_yticks([place + FILLED / 2 for place in range(len(rows))], labels, fontsize=7.5, linespacing=1.25)
    if not any(strip.panels for strip in rows):
        axes.text(0.5, 0.5, "nothing matched", transform=axes.transAxes, ha="center", va="center", color=SOFT)


def _heads(columns: Sequence[str]) -> float:
    """Tell how many inches the names of the networks take above the panels; long ones are turned."""
    longest = max(map(len, columns), default=0)
    return FLAT if longest <= 8 else FLAT + 0.045 * min(longest, 26)


def _beside(strip: Strip) -> str:
    chance = f"chance r {_shown(strip.chance)}" if math.isfinite(strip.chance) else ""
    lines = (text.plain(strip.name, longest=26), text.plain(strip.detail, longest=34), chance)
    return "\n".join(filter(None, lines))


def _shown(r: float) -> str:
    """Write r to two digits, or to as many as tell it from 1, at most four."""
    digits = next((digits for digits in (2, 3, 4) if round(abs(r), digits) < 1.0), 2)
    return f"{r:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _panels(axes: Axes, rows: Sequence[Strip], columns: Sequence[str]) -> None:
    """Draw all panels, each kind of mark in one go."""
    squares, faces, diagonals = [], [], []
    dots: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for place, strip in enumerate(rows):
        panels = {column: strip.panels[name] for column, name in enumerate(columns) if name in strip.panels}
        shares = _shares({column: _pair(panel) for column, panel in panels.items()})
        for column in range(len(columns)):
            right, bottom = column + FILLED, place + FILLED
            squares.append([(column, place), (right, place), (right, bottom), (column, bottom)])
            faces.append("white" if column in panels else EMPTY)
        for column, panel in panels.items():
            _label(axes, column, place, panel)
        for column, (across, up) in shares.items():
            diagonals.append([(column, place + FILLED), (column + FILLED, place)])
            dots[panels[column].above].append(np.stack([column + across, place + FILLED - up]))
    axes.add_collection(PolyCollection(squares, facecolors=faces, edgecolors=PALE, linewidths=0.7, zorder=1))
    axes.add_collection(LineCollection(diagonals, colors=PALE, linewidths=0.9, zorder=2))
    for above, colour in ((True, BASE), (False, SOFT)):
        if dots[above]:
            across, down = np.concatenate(dots[above], axis=1)
            axes.scatter(across, down, c=colour, s=3.5, alpha=0.5, linewidths=0, zorder=3, rasterized=True)


def _shares(pairs: Mapping[int, Pair]) -> dict[int, Pair]:
    """Put the pairs of a strip on one scale: places within a panel, from its lower left corner."""
    full = {column: pair for column, pair in pairs.items() if pair.size}
    if not full:
        return {}
    low, high = np.percentile(np.concatenate(list(full.values()), axis=1), EDGES)
    span, margin = max(high - low, 1e-12), 0.04
    return {
        c: FILLED * np.clip((pair - low) / span, 0.0, 1.0) * (1 - 2 * margin) + FILLED * margin
        for c, pair in full.items()
    }


def _pair(panel: Panel) -> Pair:
    """Give partner and unit in standard deviations around their means, the unit in its feature's sign, thinned."""
    pair = np.stack([panel.against, panel.sign * panel.values]).astype(np.float64)
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    if not pair.size:
        return pair
    spread = pair.std(axis=1, keepdims=True)
    standard = (pair - pair.mean(axis=1, keepdims=True)) / np.where(spread > 0.0, spread, 1.0)
    return np.asarray(standard[:, np.linspace(0, pair.shape[1] - 1, min(pair.shape[1], DOTS)).astype(int)])


def _label(axes: Axes, column: int, place: int, panel: Panel) -> None:
    name = text.plain(f"\N{MINUS SIGN}{panel.unit}" if panel.sign < 0 else panel.unit, longest=11)
    halo = [withStroke(linewidth=1.6, foreground="white")]
    if math.isfinite(panel.r):
        at = (column + 0.05, place + 0.05)
        axes.text(*at, _shown(panel.sign * panel.r), va="top", fontsize=7.5, zorder=4, path_effects=halo)
        at = (column + FILLED - 0.05, place + FILLED - 0.04)
        axes.text(*at, name, ha="right", va="bottom", fontsize=6, color=SOFT, zorder=4)
    else:
        at = (column + FILLED / 2, place + FILLED / 2)
        axes.text(*at, name, ha="center", va="center", fontsize=8, zorder=4)
