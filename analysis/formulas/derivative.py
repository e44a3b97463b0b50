"""Differentiate an expression by the rules that stand in FUNCTIONS."""

from __future__ import annotations

from functools import cache

from .expression import FUNCTIONS, Apply, Constant, Expression, Variable, substitute
from .parsing import parse
from .simplify import simplify

ARGUMENTS = ("a", "b")


@cache
def partials(function: str) -> tuple[Expression, ...]:
    """Give the derivatives of a function with respect to its arguments, here the variables a and b."""
    return tuple(parse(text) for text in FUNCTIONS[function].partials)


def derivative(expression: Expression, variable: str) -> Expression:
    """Differentiate with respect to one variable, lightly simplified."""
    return simplify(_derivative(expression, variable))


def _derivative(expression: Expression, variable: str) -> Expression:
    if not isinstance(expression, Apply):
        return Constant(float(expression == Variable(variable)))
    inner = dict(zip(ARGUMENTS, expression.arguments, strict=False))
    total: Expression = Constant(0.0)
    for argument, outer in zip(expression.arguments, partials(expression.function), strict=True):
        change = _derivative(argument, variable)
        if change != Constant(0.0):
            total = total + substitute(outer, inner) * change
    return simplify(total)
