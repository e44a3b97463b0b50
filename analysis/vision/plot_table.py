"""Draw the features of a zoo as a periodic table: kinds of detectors as groups, one tile a feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure

from ..pictures.plot_style import INK, SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet
from .plot_tint import kernel_colours, kind_colours, photo, reach

COLUMNS = 5
"""Tiles beside one another."""
TILES = 72
"""Tiles that are drawn at the most, those in most lineages first."""
HIGH, SPACE = 1.62, 0.08
"""Height of a tile and the space between tiles, in inches."""
SYMBOL = 0.58
"""Side of the symbol in inches."""
GROUP = 0.26
"""Inches for the name of a group."""
ROW = GROUP + HIGH + 0.14
"""Inches from one row of tiles to the next."""

CAPTION = (
    "A tile a feature: top left, in how many lineages it was found (the bar beneath: their share); the symbol is its "
    "kernel or preferred stimulus."
)
CHANCE = "Top right: percentile of its evidence among the nulls."


@dataclass(frozen=True, slots=True, eq=False)
class TableCell:
    """A feature: what it detects, its symbol (a kernel, or the stimulus that it prefers), and how well it stands.

    `percentile` (0..100) is the place of its evidence among the nulls, NaN where that is not known.
    """

    name: str
    detector: str
    lineages: int
    of: int
    kernel: Float[np.ndarray, "channels rows columns"] | None = None
    stimulus: Num[np.ndarray, "height width 3"] | None = None
    formula: str = ""
    percentile: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Tiles of one kind that stand beside one another: their row and first column, from 0."""

    kind: str
    row: int
    column: int
    cells: Sequence[TableCell]


@style()
def draw_table(cells: Sequence[TableCell], *, finding: str, note: str = "") -> Figure:
    """Draw features as tiles in groups by what they detect, those in most lineages first in their group.

    At most TILES are drawn; the caption counts what is left out, and `note` ends it.
    """
    kept = sorted(cells, key=lambda cell: -cell.lineages / max(cell.of, 1))[:TILES]
    palette = kind_colours(cell.detector for cell in kept)
    runs = arranged(kept, list(palette), across=COLUMNS)
    step = (WIDTH - 2 * MARGIN + SPACE) / COLUMNS
    rows = max((run.row for run in runs), default=-1) + 1
    left_out = lay.left_out(len(cells), len(kept), "features")
    caption = " ".join(filter(None, (*_caption(kept), left_out, note)))
    on = lay.sheet(WIDTH, rows * ROW if rows else 1.0, finding=finding, caption=caption)
    if not rows:
        lay.nothing(on, MARGIN, on.top, wide=WIDTH - 2 * MARGIN, high=0.9, words="no feature")
    for run in runs:
        left, top, span = MARGIN + run.column * step, on.top + run.row * ROW, len(run.cells) * step - SPACE
        lay.write(on, lay.line(run.kind, width=span - 0.05, sizes=(9.5, 8.5, 7.5, 6.5), bold=True), left, top)
        lay.box(on, left, top + GROUP - 0.08, wide=span, high=0.045, face=palette[run.kind], edge=palette[run.kind])
        for place, cell in enumerate(run.cells):
            _tile(on, cell, left + place * step, top + GROUP, wide=step - SPACE, colour=palette[run.kind])
    return on.figure


def arranged(cells: Sequence[TableCell], kinds: Sequence[str], *, across: int) -> list[Run]:
    """Lay tiles out kind after kind in rows of so many; a kind that crosses the end of a row goes on in the next."""
    runs, place = [], 0
    for kind in kinds:
        rest = [cell for cell in cells if cell.detector == kind]
        while rest:
            room = across - place % across
            runs.append(Run(kind, place // across, place % across, rest[:room]))
            place += len(rest[:room])
            rest = rest[room:]
    return runs


def _caption(cells: Sequence[TableCell]) -> list[str]:
    sayings = ((bool(cells), CAPTION), (any(math.isfinite(cell.percentile) for cell in cells), CHANCE))
    return [words for wanted, words in sayings if wanted]


def _tile(on: Sheet, cell: TableCell, left: float, top: float, *, wide: float, colour: str) -> None:
    lay.box(on, left, top, wide=wide, high=HIGH, edge=colour)
    share = min(cell.lineages / cell.of, 1.0) if cell.of else 0.0
    lay.box(on, left, top + HIGH - 0.06, wide=share * wide, high=0.06, face=colour, edge=colour)
    lay.write(on, lay.measured(f"{cell.lineages} of {cell.of}", 7.5, bold=True), left + 0.05, top + 0.05)
    if math.isfinite(cell.percentile):
        lay.write(
            on, lay.measured(_percent(cell.percentile), 6.5), left + wide - 0.05, top + 0.06, at="right", colour=SOFT
        )
    _symbol(on, cell, left + (wide - SYMBOL) / 2, top + 0.22)
    name = lay.stacked(cell.name, width=wide - 0.1, size=7.5, bold=True)
    down = top + 0.22 + SYMBOL + 0.06
    lay.write(on, name, left + wide / 2, down, at="center")
    room = top + HIGH - 0.1 - (down + name.high + 0.04)
    said = lay.measured("no equation", 6.5)
    law = lay.law("", cell.formula, width=wide - 0.1, sizes=(9.0, 8.0, 7.0, 6.0), lines=3) if cell.formula else said
    slack = max(room - law.high, 0.0) / 2
    lay.write(
        on, law, left + wide / 2, down + name.high + 0.04 + slack, at="center", colour=INK if cell.formula else SOFT
    )


def _percent(percentile: float) -> str:
    """Write a percentile to the digits that tell it from 100."""
    if percentile >= 100:
        return "above all"
    digits = next((digits for digits in (0, 1, 2) if round(percentile, digits) < 100), 2)
    return f"{percentile:.{digits}f} %"


def _symbol(on: Sheet, cell: TableCell, left: float, top: float) -> None:
    if cell.kernel is not None:
        shown = cell.kernel if len(cell.kernel) in (1, 3) else cell.kernel.mean(axis=0, keepdims=True)
        lay.picture(on, kernel_colours(shown, reach=reach(shown)), left, top, wide=SYMBOL, high=SYMBOL)
    elif cell.stimulus is not None:
        lay.picture(on, photo(cell.stimulus), left, top, wide=SYMBOL, high=SYMBOL)
    else:
        lay.nothing(on, left, top, wide=SYMBOL, high=SYMBOL)
