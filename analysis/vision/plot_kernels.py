"""Draw kernels beside their closed forms: families as rows, networks as columns, what the form leaves beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure

from ...zoo.errors import BadInput
from ..pictures.plot_style import SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDEST, WIDTH, Sheet
from .plot_tint import diverging, kernel_colours, reach, steps

ROWS, COLUMNS = 12, 12
"""Families and networks that are drawn at the most."""
LABEL = 1.3
"""Inches for the words beside a family."""
SIDES = (0.42, 0.8)
"""Least and largest side of a kernel in inches."""
DOWN = (0.54, 0.64)
"""The same where the three parts stand one above the other, since there are many networks."""
INNER, OUTER = 0.04, 0.2
"""Inches between the parts of a kernel, and between networks."""
SCORE, DETAIL = 0.19, 0.13
"""Inches for R² under a kernel, and for its parameters where they are told."""
PARTS = ("kernel", "form", "residual")

CAPTION = (
    "Kernel, its closed form and what the form leaves, all three on one scale (the largest weight of that kernel). "
    "R²: share of the kernel's sum of squares that the form gives."
)
SIGNED = "Red: positive weights, blue: negative, light grey: 0."
COLOURED = "Weights on red, green and blue as colours, middle grey: 0."

Kernel = Float[np.ndarray, "channels rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class KernelCell:
    """A kernel of one channel, or of red, green and blue, and its closed form; None where it was not reduced.

    `detail` says in a few letters what is its own: its parameters, or which unit it is.
    """

    kernel: Kernel
    form: Float[np.ndarray, "_channels _rows _columns"] | None
    r2: float = math.nan
    detail: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class KernelRow:
    """A family: cells by network, and the form that they share as a formula in x and y."""

    name: str
    cells: Mapping[str, KernelCell]
    formula: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where things go, in inches: the side of a kernel, whether its parts stand side by side, the whole width."""

    side: float
    across: bool
    width: float
    scores: float = SCORE

    @property
    def part(self) -> float:
        """Inches from one part of a kernel to the next."""
        return self.side + INNER

    @property
    def step(self) -> float:
        """Inches from one network to the next."""
        return (3 * self.part - INNER if self.across else self.side) + (OUTER if self.across else OUTER / 2)

    @property
    def tall(self) -> float:
        """Inches that the parts of one kernel take from top to bottom."""
        return self.side if self.across else 3 * self.part - INNER


@style()
def draw_kernels(rows: Sequence[KernelRow], *, networks: Sequence[str], finding: str, note: str = "") -> Figure:
    """Draw families of kernels: a family a row, networks as columns, each kernel with its form and the residual.

    Up to six networks have the parts of a kernel side by side, more have them one above the other. At most
    ROWS families and COLUMNS networks are drawn; what is left out is counted in the caption, which `note` ends.
    Raises BadInput for a cell of no such network, a form of another shape, and channels other than 1 or 3.
    """
    _check(rows, networks)
    shown, columns = rows[:ROWS], lay.evenly(networks, most=COLUMNS)
    grid = _grid(len(columns), detailed=any(cell.detail for row in shown for cell in row.cells.values()))
    laws = [_law(row, grid) for row in shown]
    heads = [lay.stacked(name, width=grid.step - 0.06) for name in columns]
    top = max((head.high for head in heads), default=0.0) + (0.2 if grid.across else 0.08)
    top = max(top, 0.3)
    body = top + sum(_height(law, grid) for law in laws) if shown else 1.0
    left_out = (
        lay.left_out(len(rows), len(shown), "families"),
        lay.left_out(len(networks), len(columns), "networks"),
    )
    caption = " ".join(filter(None, (*_caption(shown, columns), *left_out, note)))
    on = lay.sheet(grid.width, body, finding=finding, caption=caption)
    if not shown:
        lay.nothing(on, MARGIN, on.top, wide=grid.width - 2 * MARGIN, high=0.9, words="no family")
        return on.figure
    _heads(on, heads, grid, top)
    if any(len(cell.kernel) == 1 for row in shown for cell in row.cells.values()):
        words = ("\N{MINUS SIGN}max", "0", "+max")
        lay.bar(on, steps(diverging()), MARGIN, on.top + top - 0.26, wide=LABEL - 0.3, words=words)
    down = on.top + top
    for row, law in zip(shown, laws, strict=True):
        _row(on, row, columns, grid, down)
        left = MARGIN if law.wide > grid.width - LABEL - 2 * MARGIN else MARGIN + LABEL
        lay.write(on, law, left, down + grid.tall + grid.scores, colour=SOFT)
        down += _height(law, grid)
    return on.figure


def _grid(count: int, *, detailed: bool) -> Grid:
    """Choose the largest kernels that fit: side by side in their parts while they do."""
    count = max(count, 1)
    gaps = 2 * INNER + OUTER
    fit = ((WIDTH - LABEL - 2 * MARGIN) / count - gaps) / 3
    widest = ((WIDEST - LABEL - 2 * MARGIN) / count - gaps) / 3
    across = widest >= SIDES[0]
    beneath = (WIDTH - LABEL - 2 * MARGIN) / count - OUTER / 2
    side = float(np.clip(fit, *SIDES) if across else np.clip(beneath, *DOWN))
    grid = Grid(side, across, WIDTH, SCORE + DETAIL * detailed)
    return replace(grid, width=max(WIDTH, 2 * MARGIN + LABEL + count * grid.step))


def _law(row: KernelRow, grid: Grid) -> lay.Words:
    """Set the formula of a family, beside its name or, where it is too long for that, over the whole width."""
    beside = grid.width - LABEL - 2 * MARGIN
    law = lay.law("", row.formula, width=beside, sizes=(8.5, 7.0), lines=1)
    if is_math_text(law.text) and law.wide <= beside:
        return law
    return lay.law("", row.formula, width=grid.width - 2 * MARGIN, sizes=(7.5, 6.5), lines=3)


def _height(law: lay.Words, grid: Grid) -> float:
    return grid.tall + grid.scores + law.high + (0.16 if law.text else 0.06)


def _check(rows: Sequence[KernelRow], networks: Sequence[str]) -> None:
    for row in rows:
        strangers = sorted(row.cells.keys() - set(networks))
        if strangers:
            raise BadInput(f"{row.name}: no network {strangers[0]!r} is drawn", hint="name it among the networks")
        for network, cell in row.cells.items():
            if len(cell.kernel) not in (1, 3):
                raise BadInput(
                    f"{row.name}: {network} has a kernel of {len(cell.kernel)} channels",
                    hint="give one channel, or red, green and blue",
                )
            if cell.form is not None and cell.form.shape != cell.kernel.shape:
                raise BadInput(
                    f"{row.name}: {network} has a kernel {cell.kernel.shape} and a form {cell.form.shape}",
                    hint="give both on the same grid",
                )


def _caption(rows: Sequence[KernelRow], columns: Sequence[str]) -> list[str]:
    """Say how to read what is drawn, and nothing of what is not."""
    drawn = [row.cells[name] for row in rows for name in columns if name in row.cells]
    sayings = (
        (bool(drawn), CAPTION),
        (any(len(cell.kernel) == 1 for cell in drawn), SIGNED),
        (any(len(cell.kernel) == 3 for cell in drawn), COLOURED),
        (any(cell.form is None for cell in drawn), "Not reduced: no closed form was good enough."),
        (len(drawn) < len(rows) * len(columns), "None: the family has no kernel in that network."),
    )
    return [words for wanted, words in sayings if wanted]


def _heads(on: Sheet, heads: Sequence[lay.Words], grid: Grid, top: float) -> None:
    """Name the networks above their columns and, where they stand side by side, the parts of a kernel."""
    for place, head in enumerate(heads):
        left = MARGIN + LABEL + place * grid.step
        span = 3 * grid.part - INNER if grid.across else grid.side
        over = 0.17 if grid.across else 0.06
        lay.write(on, head, left + span / 2, on.top + top - over - head.high, at="center")
        for part, name in enumerate(PARTS if grid.across else ()):
            words = lay.measured(name, 6.5)
            at = left + part * grid.part + grid.side / 2
            lay.write(on, words, at, on.top + top - 0.03 - words.high, at="center", colour=SOFT)


def _row(on: Sheet, row: KernelRow, columns: Sequence[str], grid: Grid, top: float) -> None:
    room = LABEL - (0.1 if grid.across else 0.55)
    name = lay.stacked(row.name, width=room, size=8.5, bold=True)
    lay.write(on, name, MARGIN, top)
    lay.write(on, lay.paragraph(row.detail, width=room, size=6.5, lines=3), MARGIN, top + name.high + 0.06, colour=SOFT)
    for part, said in enumerate(() if grid.across else PARTS):
        words = lay.measured(said, 6.5)
        down = top + part * grid.part + (grid.side - words.high) / 2
        lay.write(on, words, MARGIN + LABEL - 0.06, down, at="right", colour=SOFT)
    for place, network in enumerate(columns):
        left = MARGIN + LABEL + place * grid.step
        if network in row.cells:
            _cell(on, row.cells[network], grid, left, top)
        else:
            lay.nothing(on, left, top, wide=3 * grid.part - INNER if grid.across else grid.side, high=grid.tall)


def _cell(on: Sheet, cell: KernelCell, grid: Grid, left: float, top: float) -> None:
    full = reach(cell.kernel)
    parts = [cell.kernel] if cell.form is None else [cell.kernel, cell.form, cell.kernel - cell.form]
    for place, part in enumerate(parts):
        across, down = (left + place * grid.part, top) if grid.across else (left, top + place * grid.part)
        lay.picture(on, kernel_colours(part, reach=full), across, down, wide=grid.side, high=grid.side)
    if cell.form is None:
        across, down = (left + grid.part, top) if grid.across else (left, top + grid.part)
        rest = 2 * grid.part - INNER
        wide, high = (rest, grid.side) if grid.across else (grid.side, rest)
        lay.nothing(on, across, down, wide=wide, high=high, words="not reduced")
    span = 3 * grid.part - INNER if grid.across else grid.side
    if math.isfinite(cell.r2):
        words = lay.measured(f"R² = {lay.score(cell.r2)}", 7.0)
        lay.write(on, words, left + span / 2, top + grid.tall + 0.035, at="center")
    detail = lay.line(cell.detail, width=grid.step - 0.06, sizes=(6.5, 5.5))
    lay.write(on, detail, left + span / 2, top + grid.tall + 0.165, at="center", colour=SOFT)
