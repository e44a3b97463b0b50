"""Read an expression from text: tokens, then Python's `ast` through a white-list, then our tree."""

from __future__ import annotations

import ast
import math
import re

from ...zoo.errors import BadFormula
from .expression import FUNCTIONS, Apply, Constant, Expression, Variable

LENGTH = 20_000
DEPTH = 200
EXPONENT = 1000.0

TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/(),]))", re.ASCII
)
BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
}
POWERS = {"square": 2.0, "cube": 3.0}
HINT = f"use numbers, names, + - * / **, pi and {', '.join(n for n, f in FUNCTIONS.items() if not f.infix)}"


def parse(text: str) -> Expression:
    """Read text such as `m1*m2/r**2` into an expression.

    Nothing in the text is run. Raises BadFormula for anything but finite numbers, names, the
    operators + - * / **, pi and the functions of FUNCTIONS, and where it is longer than LENGTH
    characters, deeper than DEPTH or holds an exponent beyond EXPONENT.

    >>> str(parse("speed*cos(angle)"))
    'speed*cos(angle)'
    """
    if len(text) > LENGTH:
        raise BadFormula(f"the formula has {len(text)} characters", hint=f"keep it under {LENGTH}")
    source = " ".join(_tokens(text))
    try:
        body = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadFormula(f"cannot read the formula {text[:200]!r}", hint=HINT) from None
    return _convert(body, DEPTH)


def _tokens(text: str) -> list[str]:
    """Split into tokens; names get a prefix, so that none is a word of Python's (lambda, in, if)."""
    tokens, place, stripped = [], 0, text.strip()
    while place < len(stripped):
        match = TOKEN.match(stripped, place)
        if match is None:
            hint = "write powers as x**2" if "^" in stripped[place : place + 2] else HINT
            raise BadFormula(f"unexpected {stripped[place:].strip()[:20]!r} in the formula", hint=hint)
        number, name, symbol = match.groups()
        tokens.append(_number(number) if number else f"n_{name}" if name else symbol)
        place = match.end()
    return tokens


def _number(digits: str) -> str:
    value = float(digits)
    if not math.isfinite(value):
        raise BadFormula(f"the number {digits[:40]} is too large", hint="rescale the quantities")
    return repr(value)


def _convert(tree: ast.AST, depth: int) -> Expression:
    if depth == 0:
        raise BadFormula(f"the formula is nested deeper than {DEPTH}", hint="split it into derived variables")
    match tree:
        case ast.Constant(value=float(value)):
            return Constant(value)
        case ast.Name(id=name):
            return Constant(math.pi) if name == "n_pi" else Variable(name[2:])
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _convert(operand, depth - 1)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _negative(_convert(operand, depth - 1))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(BINARY[type(op)], _convert(left, depth - 1), _convert(right, depth - 1))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name[2:], tuple(_convert(argument, depth - 1) for argument in arguments))
    raise BadFormula("cannot read the formula", hint=HINT)


def _negative(expression: Expression) -> Expression:
    return Constant(-expression.value) if isinstance(expression, Constant) else -expression


def _binary(function: str, left: Expression, right: Expression) -> Expression:
    if function == "pow" and isinstance(right, Constant) and abs(right.value) > EXPONENT:
        raise BadFormula(f"the exponent {right.value:g} is too large", hint=f"keep it within {EXPONENT:g}")
    match function, left:
        case "mul" | "div", Apply("neg", (inner,)):
            return -Apply(function, (inner, right))  # -x*y is -(x*y), to the last bit
    return Apply(function, (left, right))


def _call(name: str, arguments: tuple[Expression, ...]) -> Expression:
    if name in POWERS and len(arguments) == 1:
        return arguments[0] ** POWERS[name]
    if name not in FUNCTIONS or FUNCTIONS[name].infix:
        raise BadFormula(f"unknown function {name[:80]!r}", hint=HINT)
    return Apply(name, arguments)
