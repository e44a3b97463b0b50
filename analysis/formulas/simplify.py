"""Simplify an expression lightly: same values wherever the original is finite, never more nodes.

Products become a coefficient times powers of distinct bases, sums a constant plus multiples of
distinct terms; both are written back in one canonical order. Nothing is expanded or factored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...zoo.errors import BadFormula
from .expression import FUNCTIONS, Apply, Constant, Expression, Variable, complexity, is_call

Powers = dict[Expression, float]
Terms = dict[Expression, float]

ZERO, ONE = Constant(0.0), Constant(1.0)
TINY = 1e-250
LARGEST_EXPONENT = 100.0
ROUNDS = 8


class _Unsafe(Exception):
    """A merged number left the range in which merging is exact enough."""


def simplify(expression: Expression) -> Expression:
    """Rewrite with fewer nodes, in canonical order; values stay where the original is finite."""
    for _ in range(ROUNDS):
        simpler = _simplify(expression)
        if simpler == expression or complexity(simpler) > complexity(expression):
            break
        expression = simpler
    return expression


def _simplify(expression: Expression) -> Expression:
    if not isinstance(expression, Apply):
        return expression
    inner = Apply(expression.function, tuple(_simplify(argument) for argument in expression.arguments))
    try:
        folded = _fold(inner)
        if folded is not None:
            return folded
        return RULES.get(inner.function, _keep)(inner)
    except (_Unsafe, BadFormula, OverflowError, ZeroDivisionError):
        return inner


def _is_number(expression: Expression) -> bool:
    """Tell numbers that may be merged from pi, which stays itself."""
    return isinstance(expression, Constant) and expression.value != math.pi


def _fold(expression: Apply) -> Expression | None:
    if not all(_is_number(argument) for argument in expression.arguments):
        return None
    values = [np.float64(argument.value) for argument in expression.arguments if isinstance(argument, Constant)]
    with np.errstate(all="ignore"):
        value = float(FUNCTIONS[expression.function].compute(*values))
    return Constant(_checked(value, exact_zero=True)) if math.isfinite(value) else expression


def _checked(value: float, *, exact_zero: bool) -> float:
    if not math.isfinite(value) or (abs(value) < TINY and not (exact_zero and value == 0.0)):
        raise _Unsafe
    return value


def _keep(expression: Apply) -> Expression:
    return expression


# Sums


def _sum(expression: Apply) -> Expression:
    terms: Terms = {}
    constant = _gather(expression, 1.0, terms)
    ordered = sorted(
        ((factor, term) for term, factor in terms.items() if factor != 0.0),
        key=lambda item: (-complexity(item[1]), _order(item[1])),
    )
    if constant != 0.0 or not ordered:
        ordered.append((constant, ONE))
    # Something positive comes first, so that no minus has to stand alone.
    first = next((i for i, (factor, _) in enumerate(ordered) if factor > 0), 0)
    (factor, term), rest = ordered[first], ordered[:first] + ordered[first + 1 :]
    total = _times(factor, term)
    for factor, term in rest:
        total = total + _times(factor, term) if factor > 0 else total - _times(-factor, term)
    return total


def _gather(expression: Expression, sign: float, terms: Terms) -> float:
    """Collect multiples of distinct terms; return the constant."""
    if is_call(expression, "add") or is_call(expression, "sub"):
        left, right = expression.arguments
        constant = _gather(left, sign, terms)
        return constant + _gather(right, sign if is_call(expression, "add") else -sign, terms)
    if isinstance(expression, Constant) and _is_number(expression):
        return sign * expression.value
    coefficient, term = _split(expression)
    terms[term] = terms.get(term, 0.0) + sign * coefficient
    return 0.0


def _split(expression: Expression) -> tuple[float, Expression]:
    """Take the numeric factor out of a product."""
    powers: Powers = {}
    coefficient = _factor(expression, 1.0, powers)
    return coefficient, _product_of(1.0, powers)


def _times(factor: float, term: Expression) -> Expression:
    powers: Powers = {}
    return _product_of(factor * _factor(term, 1.0, powers), powers)


# Products


def _product(expression: Apply) -> Expression:
    powers: Powers = {}
    coefficient = _factor(expression, 1.0, powers)
    return _product_of(coefficient, powers)


def _factor(expression: Expression, exponent: float, powers: Powers) -> float:
    """Collect powers of distinct bases; return the numeric coefficient."""
    whole = float(exponent).is_integer()
    match expression:
        case Constant(value) if _is_number(expression) and (whole or value > 0):
            return _checked(float(value**exponent), exact_zero=value == 0.0)
        case Apply("neg", (inner,)) if whole:
            return float((-1.0) ** exponent) * _factor(inner, exponent, powers)
        case Apply("mul", (left, right)) if abs(exponent) == 1.0:
            return _merged(_factor(left, exponent, powers), _factor(right, exponent, powers))
        case Apply("div", (left, right)) if abs(exponent) == 1.0:
            return _merged(_factor(left, exponent, powers), _factor(right, -exponent, powers))
        case Apply("mul" | "div") if whole and (lone := _lone(expression)) is not None:
            coefficient, base, inner_exponent = lone
            powers[base] = powers.get(base, 0.0) + inner_exponent * exponent
            return _checked(float(coefficient**exponent), exact_zero=False)
        case Apply("pow", (base, Constant(inner_exponent))) if whole:
            return _factor(base, inner_exponent * exponent, powers)
        case Apply("sqrt", (base,)) if whole:
            return _factor(base, 0.5 * exponent, powers)
    powers[expression] = powers.get(expression, 0.0) + exponent
    return 1.0


def _merged(left: float, right: float) -> float:
    return _checked(left * right, exact_zero=left == 0.0 or right == 0.0)


def _lone(expression: Expression) -> tuple[float, Expression, float] | None:
    """Read a product of one number and one power, such as 2*x or 1/x."""
    powers: Powers = {}
    coefficient = _factor(expression, 1.0, powers)
    if len(powers) != 1 or coefficient == 0.0:
        return None
    ((base, exponent),) = powers.items()
    return coefficient, base, exponent


def _product_of(coefficient: float, powers: Powers) -> Expression:
    """Write coefficient * numerator / denominator, whichever way is shorter."""
    if coefficient == 0.0:
        return ZERO
    if any(abs(exponent) > LARGEST_EXPONENT for exponent in powers.values()):
        raise _Unsafe
    ordered = sorted((base for base in powers if powers[base] != 0.0), key=_order)
    above = [_power(base, powers[base]) for base in ordered if powers[base] > 0]
    below = [_power(base, -powers[base]) for base in ordered if powers[base] < 0]
    if not above and len(below) == 1 and coefficient == 1.0:
        return ONE / below[0] if powers[ordered[0]] == -1.0 else _power(ordered[0], powers[ordered[0]])
    coefficient, divisor = _as_divisor(coefficient) if above else (coefficient, 1.0)
    negative = bool(above) and coefficient == -1.0
    if not above or abs(coefficient) != 1.0:
        above.insert(0, Constant(coefficient))
    if divisor != 1.0:
        below.insert(0, Constant(divisor))
    top = _chain("mul", above)
    product = top / _chain("mul", below) if below else top
    return -product if negative else product


def _as_divisor(coefficient: float) -> tuple[float, float]:
    """Read 0.5 as over 2, a third as over 3; decimals such as 0.1 stay as they are."""
    divisor = round(1.0 / coefficient) if coefficient > 1e-3 else 1
    if divisor > 1 and divisor % 10 and 1.0 / divisor == coefficient:
        return 1.0, float(divisor)
    return coefficient, 1.0


def _chain(function: str, parts: Sequence[Expression]) -> Expression:
    total = parts[0]
    for part in parts[1:]:
        total = Apply(function, (total, part))
    return total


def _power(base: Expression, exponent: float) -> Expression:
    if exponent == 1.0:
        return base
    if exponent == 0.5:
        return Apply("sqrt", (base,))
    return Apply("pow", (base, Constant(exponent)))


def _pow(expression: Apply) -> Expression:
    base, exponent = expression.arguments
    if exponent == ZERO or base == ONE:
        return ONE
    if isinstance(exponent, Constant):
        return _raised(base, exponent.value)
    return expression


def _raised(base: Expression, exponent: float) -> Expression:
    powers: Powers = {}
    coefficient = _factor(base, exponent, powers)
    return _product_of(coefficient, powers)


# Functions of one argument


def _sqrt(expression: Apply) -> Expression:
    (inner,) = expression.arguments
    if is_call(inner, "pow") and inner.arguments[1] == Constant(2.0):
        return Apply("abs", (inner.arguments[0],))
    return _raised(inner, 0.5)


def _even(expression: Apply) -> Expression:
    (inner,) = expression.arguments
    if expression.function == "abs" and (is_call(inner, "abs") or is_call(inner, "sqrt") or is_call(inner, "exp")):
        return inner
    return Apply(expression.function, (_positive(inner) or inner,))


def _odd(expression: Apply) -> Expression:
    (inner,) = expression.arguments
    positive = _positive(inner)
    return expression if positive is None else -Apply(expression.function, (positive,))


def _positive(expression: Expression) -> Expression | None:
    """Strip a leading minus, if there is one and it costs nothing to strip."""
    if is_call(expression, "neg"):
        return expression.arguments[0]
    coefficient, term = _split(expression)
    return _times(-coefficient, term) if coefficient < 0 else None


def _inverse(inner_function: str) -> Callable[[Apply], Expression]:
    def rule(expression: Apply) -> Expression:
        (inner,) = expression.arguments
        return inner.arguments[0] if is_call(inner, inner_function) else expression

    return rule


def _order(expression: Expression) -> tuple[object, ...]:
    """Key of the canonical order: numbers, names, then calls by size and content."""
    match expression:
        case Constant(value):
            return (0, value)
        case Variable(name):
            return (1, name)
        case Apply(function, arguments):
            return (2, complexity(expression), function, *(_order(argument) for argument in arguments))


RULES: dict[str, Callable[[Apply], Expression]] = {
    "add": _sum,
    "sub": _sum,
    "mul": _product,
    "div": _product,
    "neg": _product,
    "pow": _pow,
    "sqrt": _sqrt,
    "exp": _inverse("log"),
    "log": _inverse("exp"),
    **dict.fromkeys(("abs", "cos", "cosh"), _even),
    **dict.fromkeys(("sin", "tan", "asin", "atan", "sinh", "tanh"), _odd),
}
