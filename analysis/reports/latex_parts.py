"""Parts of LaTeX documents: tables, pictures, names that may break, numbers with what they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..formulas.equation import plain
from ..formulas.expression import variables
from ..formulas.parsing import parse
from ..formulas.printing import latex_name
from ..vision.written_law import with_symbols
from .document import latex_text

DIGITS = 3
"""Digits of a number whose spread is not known."""
SMALLEST = 1e-4
"""What p is said to be below, where it is."""
NO_SPREAD, PLACES = 1e-9, 5
"""The share of a number below which its spread is rounding; places after the point that a number has at the most."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture beside the document: its path from there, with slashes, and what it shows."""

    path: str
    caption: str


def table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table that goes on over pages, with its head on each."""
    if not rows:
        return []
    return [
        rf"\begin{{longtable}}{{{columns}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\end{longtable}",
    ]


def pictures(figures: Sequence[Figure]) -> list[str]:
    """Write pictures with their captions, as large as a page has room for."""
    return [
        "\n".join(
            [
                r"\begin{figure}[htbp]",
                r"\centering",
                rf"\includegraphics[width=\linewidth,height=0.82\textheight,keepaspectratio]{{{one.path}}}",
                rf"\caption{{{latex_text(one.caption)}}}",
                r"\end{figure}",
            ]
        )
        for one in figures
    ]


def breakable(name: str) -> str:
    """Escape a name of a network or layer; long ones may break after a dot."""
    return latex_text(plain(name)).replace(".", r".\allowbreak{}")


def score(value: float) -> str:
    """Write a number with two places, a dash where it is not known."""
    return f"{value:.2f}" if math.isfinite(value) else "--"


def share(value: float) -> str:
    """Write a share in per cent, a dash where it is not known."""
    return rf"{value:.0%}".replace("%", r"\%") if math.isfinite(value) else "--"


def chance(value: float) -> str:
    """Write a p, a dash where it is not known."""
    if math.isnan(value):
        return "--"
    return f"{value:.2g}" if value >= SMALLEST else f"$<$ {SMALLEST:.4f}"


def with_spread(value: float, spread: float) -> str:
    """Write a number with two digits of its spread, or with DIGITS where it has none."""
    if not abs(spread) > NO_SPREAD * abs(value):
        return _tex(f"{value:.{DIGITS}g}")
    places = 1 - math.floor(math.log10(abs(spread)))
    if not 0 <= places <= PLACES:
        return rf"{_tex(f'{value:.{DIGITS}g}')} \pm {_tex(f'{spread:.2g}')}"
    return rf"{value:.{places}f} \pm {spread:.{places}f}"


def _tex(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def symbol(name: str) -> str:
    """Write the name of a number or coordinate as its symbol in mathematics."""
    (short,) = variables(with_symbols(parse(name)))
    return latex_name(short)
