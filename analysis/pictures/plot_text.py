"""Write names and formulas into pictures: names stay plain text, formulas become mathematics."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from ...zoo.errors import BadFormula
from ..formulas.expression import IDENTIFIER, Apply, Expression
from ..formulas.parsing import parse
from ..formulas.printing import latex_name, negated, signed, to_latex, to_text

DIGITS = 4
LINES = 4
LONGEST = 1500
"""Letters of LaTeX beyond which setting it takes longer than reading it is worth."""

WORDY = 0.6
"""Width of a letter in units of the font's size, on the safe side."""


def plain(name: str, *, longest: int = 40) -> str:
    """Make a stranger's text safe to draw: one line, printable, not too long, dollar signs only dollars."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return text.replace("$", r"\$")


def quantity(name: str, unit: str = "") -> str:
    """Write a quantity with its unit, as on an axis."""
    return f"{plain(name)} [{plain(unit)}]" if unit else plain(name)


def equation(target: str, formula: str, *, width: float, size: float) -> str:
    """Write `target = formula`, or the formula alone without a target, in mathematics.

    It takes several lines where it is wider than so many points. Sums are broken between their terms;
    what cannot be read, drawn or broken is written as plain text.
    """
    start = _start(target)
    try:
        expression = parse(formula)
        lines = _lines(start, _terms(expression), width=width, size=size)
    except (BadFormula, ValueError, RecursionError):
        return _as_text(f"{plain(target)} = " if target else "", formula, width=width, size=size)
    return "\n".join(lines)


def _start(target: str) -> str:
    if IDENTIFIER.fullmatch(target) and target != "pi" and len(target) <= 24:
        return rf"${latex_name(target)} = $"
    return f"{plain(target)} = " if target else ""


def measure(text: str, *, size: float) -> float:
    """Measure the width of a line in points. Raises ValueError for mathematics that cannot be drawn."""
    if len(text) > LONGEST:
        raise ValueError("too long to set as mathematics")
    return float(MathTextParser("path").parse(text, 72, FontProperties(size=size)).width)


def _terms(expression: Expression) -> list[tuple[str, str]]:
    """Take a sum apart into signs and terms, from the left."""
    if isinstance(expression, Apply) and expression.function in ("add", "sub"):
        left, sign, right = signed(expression)
        if not (isinstance(right, Apply) and right.function in ("add", "sub")):
            return [*_terms(left), (sign, _latex(right))]
    positive = negated(expression)
    if positive is None or (isinstance(positive, Apply) and positive.function in ("add", "sub")):
        return [("", _latex(expression))]
    return [("-", _latex(positive))]


def _latex(expression: Expression) -> str:
    text = to_latex(expression, digits=DIGITS)
    # mathtext sets no space between a number and a function
    text = re.sub(r"(?<=[\d}]) (?=\\(?:sin|cos|tan|log|arc))", r" \\, ", text)
    # A fraction that stands in no other has room for its full size
    return text.replace(r"\frac", r"\dfrac") if text.count(r"\frac") == 1 else text


def _lines(start: str, terms: Sequence[tuple[str, str]], *, width: float, size: float) -> list[str]:
    lines, line = [], start
    for sign, term in terms:
        piece = f"${sign} {term}$" if sign else f"${term}$"
        longer = _joined(line, piece if line == start else f"${{}} {piece[1:]}")
        if measure(longer, size=size) <= width:
            line = longer
            continue
        if line == start or measure(piece, size=size) > 0.95 * width:
            raise ValueError("one term alone is wider than the picture")
        lines.append(line)
        if len(lines) == LINES:
            return [*lines[:-1], r"$\quad {} + \cdots$"]
        line = rf"$\quad {{}} {sign} {term}$"
    return [*lines, line]


def _joined(line: str, piece: str) -> str:
    return f"{line[:-1].rstrip()} {piece[1:]}" if line.endswith("$") else f"{line}{piece}"


def _as_text(start: str, formula: str, *, width: float, size: float) -> str:
    try:
        formula = to_text(parse(formula), digits=DIGITS)
    except BadFormula:
        formula = plain(formula, longest=400).replace(r"\$", "$")
    pretty = re.sub(r"\*", "·", formula.replace("**", "^"))
    letters = max(int(width / (WORDY * size)), 20)
    wrapped = textwrap.wrap(f"{start}{pretty}".replace(r"\$", "$"), letters, max_lines=LINES, placeholder=" …")
    return "\n".join(line.replace("$", r"\$") for line in wrapped)
