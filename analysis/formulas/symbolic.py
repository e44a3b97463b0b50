"""Hand expressions to SymPy, safely: objects are built from our tree, never from text."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import sympy

from .expression import FUNCTIONS, Apply, Constant, Expression, Variable, evaluate
from .expression import variables as variables_of
from .parsing import parse
from .printing import to_text

LARGEST_INTEGER = 1e6
LARGEST_POWER = 64.0
SAMPLES = 256
TOLERANCE = 1e-9
DEFAULT_RANGE = (0.5, 2.0)
MEMORY = 4 << 30

OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "neg": operator.neg,
}

Comparison = Literal["proved", "agrees", "differs"]


def to_sympy(
    expression: Expression, *, symbol: Callable[[str], sympy.Symbol] = sympy.Symbol, exact: bool = False
) -> sympy.Expr:
    """Build the SymPy expression; its symbols bear the variables' names, whole numbers are Integers.

    Using the names is safe although `lambdify` puts them into source: a Variable's name is an
    identifier by construction and cannot carry code, and nothing is parsed. With `exact`, decimal
    numbers become Rationals, as their shortest writing reads.
    """
    match expression:
        case Constant(value):
            return _number(value, exact)
        case Variable(name):
            return symbol(name)
        case Apply("pow") if not variables_of(expression) and not _small_power(expression):
            # Exact towers of powers can need more memory than there is.
            return _number(float(evaluate(expression, {"": np.zeros(1)})[0]), exact)
        case Apply(function, arguments):
            inner = [to_sympy(argument, symbol=symbol, exact=exact) for argument in arguments]
            return OPERATORS.get(function, getattr(sympy, FUNCTIONS[function].sympy or "S"))(*inner)


def _number(value: float, exact: bool) -> sympy.Expr:
    if value == np.pi:
        return sympy.pi
    if value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return sympy.Integer(int(value))
    return sympy.Rational(Fraction(repr(value))) if exact and np.isfinite(value) else sympy.Float(value)


def _small_power(expression: Apply) -> bool:
    base, exponent = expression.arguments
    return isinstance(base, Constant) and isinstance(exponent, Constant) and abs(exponent.value) <= LARGEST_POWER


def equivalent(
    left: Expression,
    right: Expression,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    timeout: float = 20.0,
) -> bool:
    """Tell whether two expressions are the same function on `ranges`, as `compare` finds."""
    return compare(left, right, ranges=ranges, timeout=timeout) != "differs"


def compare(
    left: Expression,
    right: Expression,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    timeout: float = 20.0,
) -> Comparison:
    """Compare two expressions as functions: first in numbers, then by SymPy.

    "differs" where values at random points of `ranges` (for a variable not named there, 0.5 to 2)
    are apart by more than TOLERANCE of the largest; "proved" where SymPy also simplifies the
    difference to 0 within `timeout` seconds, in a process of its own that is killed afterwards;
    "agrees" where it does not: equal at all the points, without a proof.
    """
    ranges = {
        name: (ranges or {}).get(name, DEFAULT_RANGE)
        for name in dict.fromkeys(variables_of(left) + variables_of(right))
    }
    if not _agree(left, right, ranges):
        return "differs"
    if left == right:
        return "proved"
    return "proved" if _prove(left, right, ranges, timeout) else "agrees"


def _agree(left: Expression, right: Expression, ranges: Mapping[str, tuple[float, float]]) -> bool:
    random = np.random.default_rng(0)
    columns = {name: random.uniform(*bounds, SAMPLES) for name, bounds in ranges.items()}
    columns = columns or {"": np.zeros(SAMPLES)}
    one, other = evaluate(left, columns), evaluate(right, columns)
    finite = np.isfinite(one) & np.isfinite(other)
    if not finite.any():
        return False
    scale = np.abs(one[finite]).max()
    return bool((np.abs(one - other)[finite] <= TOLERANCE * scale).all())


def _prove(left: Expression, right: Expression, ranges: Mapping[str, tuple[float, float]], timeout: float) -> bool:
    question = json.dumps(
        {
            "difference": [to_text(left), to_text(right)],
            "positive": [name for name, (low, _) in ranges.items() if low > 0],
        }
    )
    # -P: a file sympy.py in the working directory must not stand in for SymPy.
    command = [sys.executable, "-P", "-c", f"from {__name__} import answer; answer()"]
    try:
        run = subprocess.run(command, input=question, capture_output=True, text=True, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return run.stdout.strip() == "zero"


def answer() -> None:
    """Answer one question of `compare` from standard input, under a memory limit: zero or unknown."""
    _limit_memory()
    question = json.load(sys.stdin)
    left, right = (
        to_sympy(
            parse(text),
            symbol=lambda name: sympy.Symbol(name, real=True, positive=name in question["positive"] or None),
            exact=True,
        )
        for text in question["difference"]
    )
    print("zero" if sympy.simplify(left - right) == 0 else "unknown")


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):
        return  # not on this platform: the time limit holds alone
