"""Write laws of vision as a paper would: short symbols, few digits, and long parts under names of their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...zoo.stimuli import STIMULI
from ..formulas.expression import (
    Apply,
    Constant,
    Expression,
    Variable,
    complexity,
    constants,
    is_call,
    substitute,
    variables,
    walk,
    with_constants,
)
from ..formulas.printing import to_latex, to_text

DIGITS = 3
"""Digits of a number: about as many as units of one family share."""
SYMBOLS: Mapping[str, str] = {"angle": "theta", "hue": "h", "frequency": "f"}
"""Symbols of coordinates whose names are words; an index stays (angle0 is theta0)."""
KERNEL = ("x", "y", "u", "v")
"""Coordinates of the forms of kernels."""
PARTS = ("u", "v", "w")
"""Names of parts."""
REPEATED, SQUARED = 4, 7
"""Nodes of the least part that gets a name: where it stands more than once, and where it is squared."""


@dataclass(frozen=True, slots=True)
class WrittenLaw:
    """A law with some of its parts under names, and what these stand for; a part may name those before it."""

    whole: Expression
    parts: tuple[tuple[str, Expression], ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Give the law and its parts as text, the parts as `u = ...`."""
        return (to_text(self.whole), *(f"{name} = {to_text(part)}" for name, part in self.parts))

    @property
    def latex(self) -> tuple[str, ...]:
        """Give the law and its parts as LaTeX, the parts as `u = ...`."""
        lines = (to_latex(self.whole), *(f"{name} = {to_latex(part)}" for name, part in self.parts))
        return tuple(on_the_line(line, longest=24) for line in lines)


def written_law(expression: Expression, *, digits: int = DIGITS) -> WrittenLaw:
    """Round the numbers of a law, give its coordinates symbols and its long parts names."""
    short = with_symbols(rounded(expression, digits=digits))
    taken, parts = {*variables(short)}, []
    for name in PARTS:
        part = _part(short)
        if part is None or name in taken:
            break
        parts.append((name, part))
        short = _replaced(short, part, Variable(name))
    return WrittenLaw(short, tuple(parts))


def rounded(expression: Expression, *, digits: int = DIGITS) -> Expression:
    """Round all numbers but pi to so many digits and leave out factors of one."""
    short = [value if value == math.pi else float(f"{value:.{digits}g}") for value in constants(expression)]
    return _without_ones(with_constants(expression, short))


def with_symbols(expression: Expression) -> Expression:
    """Give coordinates with long names their symbols, unless the law has something else of that name."""
    names = variables(expression)
    given = {name: symbol for name in names if (symbol := _symbol(name)) not in names}
    return substitute(expression, {name: Variable(symbol) for name, symbol in given.items()})


def own_numbers(expression: Expression, *, of_kernels: bool = False) -> tuple[str, ...]:
    """Name what a family's equation leaves to each member: all that is neither a number nor a coordinate.

    Coordinates are those of stimuli, or of kernels, whose forms are in x and y or along and across their own angle.
    """
    coordinates = {*KERNEL} if of_kernels else {name for stimulus in STIMULI.values() for name in stimulus.names}
    return tuple(name for name in variables(expression) if name not in coordinates)


def form_words(form: str) -> str:
    """Write the name of a form as people do.

    >>> form_words("difference_of_gaussians")
    'difference of Gaussians'
    """
    return form.replace("_", " ").replace("gaussian", "Gaussian").replace("gabor", "Gabor")


def _symbol(name: str) -> str:
    stem = name.rstrip("0123456789")
    return SYMBOLS.get(stem, stem) + name[len(stem) :]


def _without_ones(expression: Expression) -> Expression:
    if not isinstance(expression, Apply):
        return expression
    arguments = tuple(_without_ones(argument) for argument in expression.arguments)
    if expression.function in ("mul", "div") and _is_one(arguments[-1]):
        return arguments[0]
    if expression.function == "mul" and _is_one(arguments[0]):
        return arguments[1]
    if expression.function == "mul" and _is_one(arguments[0], sign=-1):
        return Apply("neg", arguments[1:])
    return Apply(expression.function, arguments)


def _is_one(expression: Expression, *, sign: int = 1) -> bool:
    return isinstance(expression, Constant) and expression.value == sign


def _part(expression: Expression) -> Expression | None:
    """Choose the part whose name saves most: one that stands more than once, else the longest that is squared."""
    found = Counter(node for node in walk(_printed(expression)) if isinstance(node, Apply) and variables(node))
    saved = {
        node: (count - 1) * complexity(node)
        for node, count in found.items()
        if count > 1 and complexity(node) >= REPEATED
    }
    if saved:
        best = max(saved, key=lambda node: saved[node])
        base = best.arguments[0]
        return base if best.function == "pow" and isinstance(base, Apply) else best
    squared = [node for node in _squared(expression) if complexity(node) >= SQUARED]
    return max(squared, key=complexity, default=None)


def _printed(expression: Expression) -> Expression:
    """Take z + abs(z), which is printed as max(0, z), for z: it stands once on paper."""
    if not isinstance(expression, Apply):
        return expression
    left, right = expression.arguments[0], expression.arguments[-1]
    if expression.function == "add" and right == Apply("abs", (left,)):
        return _printed(left)
    return Apply(expression.function, tuple(_printed(argument) for argument in expression.arguments))


def _squared(expression: Expression) -> Iterator[Expression]:
    for node in walk(expression):
        if is_call(node, "pow") and node.arguments[1] == Constant(2):
            yield node.arguments[0]


def _replaced(expression: Expression, part: Expression, name: Variable) -> Expression:
    if expression == part:
        return name
    if not isinstance(expression, Apply):
        return expression
    return Apply(expression.function, tuple(_replaced(argument, part, name) for argument in expression.arguments))


def on_the_line(latex: str, *, longest: int) -> str:
    """Write exp(…) for a power of e whose exponent has a fraction in it or is longer than so many characters."""
    start = latex.find("e^{")
    if start < 0:
        return latex
    depth, end = 1, start + 3
    while depth and end < len(latex):
        depth += {"{": 1, "}": -1}.get(latex[end], 0)
        end += 1
    inner, rest = latex[start + 3 : end - 1], on_the_line(latex[end:], longest=longest)
    in_a_word = start > 0 and latex[start - 1].isalpha()
    if in_a_word or ("frac" not in inner and len(inner) <= longest):
        return f"{latex[:end]}{rest}"
    return rf"{latex[:start]}\exp\left({inner}\right){rest}"
