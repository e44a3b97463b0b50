"""Lay a picture out in inches: words that are measured before they are placed, small pictures, frames."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...zoo.errors import BadFormula
from ..formulas.parsing import parse
from ..pictures import plot_text as text
from ..pictures.plot_style import CAPTION, HEADLINE, INK, PALE, SOFT
from .written_law import DIGITS, on_the_line, written_law

WIDTH, WIDEST = 7.2, 10.4
"""Width of a picture over two columns of a paper, and the widest there is, in inches."""
MARGIN = 0.1
"""Inches of white around everything."""
GAP = 0.08
"""Inches between words that stand one above the other."""
LAW = 11.0
"""Size in points of the law in the header."""
DPI = 160
"""Dots an inch at which words are measured, as they are saved."""
EMPTY = "#f4f4f4"
GREEK = re.compile(r"\b(alpha|beta|gamma|delta|theta|kappa|lambda|mu|pi|sigma|tau|phi|psi|omega)(?=\d*\b)")
TIGHT = 0.3
"""Least width that a character of a formula takes once it is set, in units of the font's size."""
SMALL = 8.0
"""Size in points below which exponents are hard to read."""
LETTER = 0.56
"""Width of a letter in units of the font's size, on the safe side for running text."""


@dataclass(frozen=True, slots=True)
class Words:
    """Text of a size in points, ready to be drawn, and the inches that it takes."""

    text: str
    size: float
    wide: float
    high: float
    bold: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A figure with a `canvas` on which one unit is an inch, y down; the body lies between `top` and `bottom`."""

    figure: Figure
    canvas: Axes
    width: float
    top: float
    bottom: float


@lru_cache(maxsize=4096)
def measured(words: str, size: float, *, bold: bool = False) -> Words:
    """Measure text that is safe to draw (several lines, mathematics) as it will be set."""
    if not words:
        return Words("", size, 0.0, 0.0, bold)
    scratch = Figure(figsize=(0.1, 0.1), dpi=DPI)
    box = scratch.text(0, 0, words, fontsize=size, fontweight="bold" if bold else "normal").get_window_extent()
    return Words(words, size, float(box.width) / DPI, float(box.height) / DPI, bold)


def line(name: str, *, width: float, sizes: Sequence[float] = (8.0, 7.0, 6.0), bold: bool = False) -> Words:
    """Write a name on one line of so many inches: in smaller letters, then without its middle, where it is too long.

    The middle is left out because names in a zoo mostly differ at their ends.
    """
    name = _clean(name)
    for size in sizes:
        words = measured(text.plain(name, longest=len(name) + 1), size, bold=bold)
        if words.wide <= width:
            return words
    keep = len(name)
    while words.wide > width and keep > 1:
        keep = min(keep - 1, int(keep * width / words.wide) + 1)
        words = measured(text.plain(_without_middle(name, keep), longest=keep + 2), sizes[-1], bold=bold)
    return words


def _clean(name: str, *, longest: int = 300) -> str:
    return text.plain(name, longest=longest).replace(r"\$", "$")


def _without_middle(name: str, keep: int) -> str:
    tail = keep // 2
    return f"{name[: keep - tail]}…{name[len(name) - tail :]}"


def stacked(name: str, *, width: float, size: float = 7.5, bold: bool = False) -> Words:
    """Write a name on one line of so many inches, or on two, broken after a separator where it has one."""
    name = _clean(name)
    one = line(name, width=width, sizes=(size, size - 0.75), bold=bold)
    if "…" not in one.text or "…" in name:
        return one
    breaks = [found.end() for found in re.finditer(r"[-_./: ,]", name) if found.end() < len(name)]
    middle = min(breaks or [len(name) // 2], key=lambda place: abs(place - len(name) / 2))
    halves = [line(half, width=width, sizes=(size - 0.75,), bold=bold).text for half in (name[:middle], name[middle:])]
    return measured("\n".join(halves), size - 0.75, bold=bold)


def paragraph(words: str, *, width: float, size: float = CAPTION, lines: int = 12) -> Words:
    """Write running text in lines of so many inches; what is longer than so many lines ends in dots."""
    words = _clean(words, longest=2000)
    letters = max(int(72 * width / (LETTER * size)), 8)
    while True:
        wrapped = textwrap.wrap(words, letters, max_lines=lines, placeholder=" …", break_on_hyphens=False)
        found = measured("\n".join(wrapped).replace("$", r"\$"), size)
        if found.wide <= width or letters <= 8:
            return found
        letters = max(int(letters * width / found.wide), 8)


@lru_cache(maxsize=1024)
def law(target: str, formula: str, *, width: float, sizes: tuple[float, ...] = (LAW,), lines: int = 4) -> Words:
    """Write an equation in so many inches and lines: mathematics in the largest size that has room, else as text.

    Coordinates get their symbols, and long parts names, which are told after it.
    """
    if not formula:
        return measured("", sizes[0])
    whole, *parts = _taken_apart(formula)
    for size in sizes:
        if len(whole) * TIGHT * size / 72 > lines * width:  # setting mathematics takes a quarter of a second
            continue
        words = measured(_set(target, whole, parts, width=width, size=size), size)
        if is_math_text(words.text) and words.wide <= width and words.text.count("\n") < lines:
            return words
    said = "; ".join([f"{target} = {whole}" if target else whole, *parts])
    said = re.sub(r"\s*\*\s*", " · ", GREEK.sub(_greek, said).replace("**", "^")).replace("-", "\N{MINUS SIGN}")
    tries = [paragraph(said, width=width, size=size, lines=lines) for size in sizes]
    return next((words for words in tries if not words.text.endswith("…")), tries[-1])


def _taken_apart(formula: str) -> tuple[str, ...]:
    """Give a law and its parts as text; what cannot be read is one part."""
    try:
        return written_law(parse(formula), digits=DIGITS).texts
    except (BadFormula, ValueError, RecursionError):
        return (formula,)


def _set(target: str, whole: str, parts: Sequence[str], *, width: float, size: float) -> str:
    """Set a law and after it its parts, on as few lines as they need; text where one of them cannot be set."""
    pieces = [(target, whole), *((name, rest) for name, _, rest in (part.partition(" = ") for part in parts))]
    told = [_readable(text.equation(name, one, width=72 * width, size=size), size=size) for name, one in pieces]
    if not all(map(is_math_text, told)):
        return ""
    lines = told[:1]
    for piece in told[1:]:
        longer = f"{lines[-1]} ,   {piece}"
        lines = [*lines[:-1], longer] if measured(longer, size).wide <= width else [*lines, piece]
    return "\n".join(lines)


def _greek(found: re.Match[str]) -> str:
    return unicodedata.lookup(f"GREEK SMALL LETTER {'LAMDA' if found[0] == 'lambda' else found[0].upper()}")


def _readable(equation: str, *, size: float) -> str:
    """Set a thin space before functions, and exponents of e on the line where they would be too small on paper."""
    longest = 12 if size < SMALL else len(equation)
    return re.sub(r"(?<=[\w}])\s*(?=\\(?:exp|sin|cos|tan|log)\b)", r" \\, ", on_the_line(equation, longest=longest))


def sheet(width: float, body: float, *, finding: str, formula: Words | None = None, caption: str = "") -> Sheet:
    """Open a figure for a body of so many inches, the finding and its formula above it, the caption below in grey."""
    room = width - 2 * MARGIN
    head = [paragraph(finding, width=room, size=HEADLINE, lines=3)] + ([formula] if formula else [])
    foot = paragraph(caption, width=room)
    top = MARGIN + sum(words.high + GAP for words in head if words.text) + GAP
    bottom = top + body
    height = bottom + GAP + foot.high + MARGIN
    figure = Figure(figsize=(width, height), dpi=DPI)
    canvas = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0.0, width), ylim=(height, 0.0))
    canvas.axis("off")
    opened = Sheet(figure, canvas, width, top, bottom)
    down = MARGIN
    for words in head:
        write(opened, words, MARGIN, down)
        down += words.high + GAP
    write(opened, foot, MARGIN, height - MARGIN - foot.high, colour=SOFT)
    return opened


def write(on: Sheet, words: Words, left: float, top: float, *, at: str = "left", colour: str = INK) -> None:
    """Write words with their left side, centre or right side at so many inches, and their top."""
    if words.text:
        weight = "bold" if words.bold else "normal"
        on.canvas.text(
            left,
            top,
            words.text,
            fontsize=words.size,
            fontweight=weight,
            color=colour,
            ha=at,
            va="top",
            multialignment=at,
        )


def picture(
    on: Sheet, colours: Float[np.ndarray, "rows columns 3"], left: float, top: float, *, wide: float, high: float
) -> None:
    """Draw an array of colours, its cells as they are, with a fine frame around it."""
    on.canvas.imshow(
        np.clip(colours, 0.0, 1.0),
        extent=(left, left + wide, top + high, top),
        aspect="auto",
        interpolation="nearest",
    )
    box(on, left, top, wide=wide, high=high)


def box(on: Sheet, left: float, top: float, *, wide: float, high: float, face: str = "none", edge: str = PALE) -> None:
    """Draw a frame, filled or not."""
    on.canvas.add_patch(Rectangle((left, top), wide, high, facecolor=face, edgecolor=edge, linewidth=0.6, zorder=2))


def nothing(on: Sheet, left: float, top: float, *, wide: float, high: float, words: str = "none") -> None:
    """Draw an empty place that says so."""
    box(on, left, top, wide=wide, high=high, face=EMPTY)
    said = line(words, width=wide - 0.06, sizes=(7.5, 6.5, 5.5))
    write(on, said, left + wide / 2, top + (high - said.high) / 2, at="center", colour=SOFT)


def axes_at(on: Sheet, left: float, top: float, *, wide: float, high: float, polar: bool = False) -> Axes:
    """Give axes whose frame lies so many inches from the left and the top."""
    width, height = on.figure.get_size_inches()
    place = (left / width, 1 - (top + high) / height, wide / width, high / height)
    return on.figure.add_axes(place, projection="polar" if polar else None)


def bar(
    on: Sheet, colours: Float[np.ndarray, "steps 3"], left: float, top: float, *, wide: float, words: Sequence[str]
) -> None:
    """Draw a scale of colours with its words spread evenly beneath it, the outer ones at its ends."""
    picture(on, colours[None], left, top, wide=wide, high=0.07)
    for place, said in enumerate(words):
        share = place / max(len(words) - 1, 1)
        at = "left" if place == 0 else "right" if place == len(words) - 1 else "center"
        write(on, measured(said, 6.0), left + share * wide, top + 0.1, at=at, colour=SOFT)


def evenly(networks: Sequence[str], *, most: int) -> list[str]:
    """Choose at most so many networks, evenly, the first and the last among them."""
    places = np.linspace(0, len(networks) - 1, min(len(networks), most)).round().astype(int)
    return [networks[place] for place in places]


def abreast(count: int, *, most: int) -> int:
    """Tell how many of something stand in a row, at most so many, for rows about equally long."""
    return max(-(-count // max(-(-count // most), 1)), 1)


def left_out(total: int, shown: int, noun: str) -> str:
    """Say how many of something are drawn, where that is not all."""
    return f"{shown} of {total} {noun} are drawn." if shown < total else ""


def score(value: float) -> str:
    """Write an R² or r to two digits with a true minus; a dash where it is not known."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "\N{EN DASH}"
