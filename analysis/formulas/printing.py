"""Write an expression as text that `parse` reads back, as LaTeX, or as Python.

Text and Python are exact without `digits`: reading them back gives the same values to the last bit.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from .expression import FUNCTIONS, Apply, Constant, Expression, Variable, evaluate, is_call
from .expression import variables as variables_of

SUM, SIGN, PRODUCT, POWER, ATOM = range(1, 6)
"""How tightly each kind of expression binds."""

LEVELS = {"add": SUM, "sub": SUM, "mul": PRODUCT, "div": PRODUCT, "neg": SIGN, "pow": POWER}

GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|upsilon|phi|chi|"
    "psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega"
)


def to_text(expression: Expression, *, digits: int | None = None) -> str:
    """Write text that `parse` reads back, with as few parentheses as that allows.

    With `digits`, numbers are rounded to so many significant digits.

    >>> from .parsing import parse
    >>> to_text(parse("(m1*m2)/(r**2.0)"))
    'm1*m2/r**2'
    """
    return infix(expression, lambda name: name, lambda name: name, _number_writer(digits, "pi"))


def to_python(expression: Expression, *, name: str, arguments: Sequence[str] | None = None) -> str:
    """Write the source of a Python function of NumPy arrays; it needs `import numpy as np`.

    `arguments` are the parameters in order, by default the variables as they first appear. Names
    that Python reserves get an underscore.
    """
    parameters = python_names(variables_of(expression) if arguments is None else arguments)
    body = python_body(expression, parameters)
    return f"def {python_name(name)}({', '.join(parameters.values())}):\n    return {body}\n"


def python_body(expression: Expression, parameters: dict[str, str]) -> str:
    """Write the right-hand side alone; `parameters` say what each variable is called there."""
    return infix(
        _without_towers(expression),
        parameters.__getitem__,
        lambda function: FUNCTIONS[function].python,
        _number_writer(None, "np.pi", zero="0.0"),  # -0 would be a whole number without its sign
    )


def python_name(text: str) -> str:
    """Make an identifier that is neither reserved in Python nor `np`, as like the text as it can be."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)[:64].strip("_") or "_"
    name = f"_{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) or name in {"np", "CATALOGUE"} else name


def python_names(names: Sequence[str]) -> dict[str, str]:
    """Make identifiers for several names, all different."""
    chosen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        candidate = python_name(name)
        while candidate in chosen.values():
            candidate += "_"
        chosen[name] = candidate
    return chosen


def _without_towers(expression: Expression) -> Expression:
    """Compute powers of plain numbers, which Python would compute in integers without end (9**9**9)."""
    if not isinstance(expression, Apply):
        return expression
    if expression.function == "pow" and not variables_of(expression):
        value = float(evaluate(expression, {"": np.zeros(1)})[0])
        beyond = Apply("log", (Constant(-1.0),)) if math.isnan(value) else Apply("exp", (Constant(1e4),))
        return Constant(value) if math.isfinite(value) else -beyond if value < 0 else beyond
    return Apply(expression.function, tuple(_without_towers(argument) for argument in expression.arguments))


def _number_writer(digits: int | None, pi: str, zero: str = "0") -> Callable[[float], str]:
    def write(value: float) -> str:
        if value in (math.pi, 0.0):
            return pi if value else zero
        text = repr(value) if digits is None else f"{value:.{digits}g}"
        return text.removesuffix(".0")

    return write


# Signs: x + -2 reads x - 2, which is the same to the last bit


def negated(expression: Expression) -> Expression | None:
    """Take the leading minus off, or say None where there is none."""
    match expression:
        case Constant(value) if math.copysign(1.0, value) < 0:
            return Constant(-value)
        case Apply("neg", (inner,)):
            return inner
        case Apply("mul" | "div" as function, (left, right)) if (positive := negated(left)) is not None:
            return Apply(function, (positive, right))
    return None


def _level(expression: Expression) -> int:
    if negated(expression) is not None:
        return SIGN
    return LEVELS.get(expression.function, ATOM) if isinstance(expression, Apply) else ATOM


def signed(expression: Apply) -> tuple[Expression, str, Expression]:
    """Read a sum or difference as left, sign, and a right side without a leading minus if possible."""
    left, right = expression.arguments
    plus = expression.function == "add"
    positive = negated(right)
    if positive is None:
        return left, "+" if plus else "-", right
    return left, "-" if plus else "+", positive


def infix(
    expression: Expression,
    name: Callable[[str], str],
    function: Callable[[str], str],
    number: Callable[[float], str],
    *,
    power: Callable[[str, str], str] | None = None,
) -> str:
    """Write with the signs of Python and few parentheses; `power` says how powers are written in its place."""

    def write(node: Expression, least: int) -> str:
        text = bare(node)
        return f"({text})" if _level(node) < least else text

    def bare(node: Expression) -> str:
        positive = negated(node)
        if positive is not None:
            return f"-{write(positive, PRODUCT)}"
        match node:
            case Constant(value):
                return number(value)
            case Variable(label):
                return name(label)
            case Apply("add" | "sub"):
                left, sign, right = signed(node)
                return f"{write(left, SUM)} {sign} {write(right, PRODUCT)}"
            case Apply("mul" | "div" as call, (left, right)):
                return f"{write(left, PRODUCT)}{FUNCTIONS[call].infix}{write(right, POWER)}"
            case Apply("pow", (base, exponent)) if power:
                return power(bare(base), bare(exponent))
            case Apply("pow", (base, exponent)):
                return f"{write(base, ATOM)}**{write(exponent, POWER)}"
            case Apply(call, arguments):
                return f"{function(call)}({', '.join(bare(argument) for argument in arguments)})"

    return bare(expression)


# LaTeX


def to_latex(expression: Expression, *, digits: int | None = None) -> str:
    r"""Write LaTeX mathematics, without dollar signs; needs no package.

    m1 becomes m_{1}, theta \theta, names of several letters upright; quotients are fractions.

    >>> from .parsing import parse
    >>> to_latex(parse("m1*m2/r**2"))
    '\\frac{m_{1} m_{2}}{r^{2}}'
    """
    number = _number_writer(digits, r"\pi")

    def write(node: Expression, least: int) -> str:
        text = bare(node)
        return rf"\left({text}\right)" if _latex_level(node, text) < least else text

    def bare(node: Expression) -> str:
        positive = negated(node)
        if positive is not None:
            return f"-{write(positive, PRODUCT)}"
        match node:
            case Constant(value):
                return _latex_number(number(value))
            case Variable(label):
                return latex_name(label)
            case Apply("add" | "sub"):
                left, sign, right = signed(node)
                return f"{write(left, SUM)} {sign} {write(right, PRODUCT)}"
            case Apply("mul", (Constant(0.5), Apply("add", (part, Apply("abs", (same,)))))) if part == same:
                return rf"\max\left(0, {bare(part)}\right)"
            case Apply("mul", (left, right)):
                return _juxtapose(write(left, PRODUCT), write(right, PRODUCT))
            case Apply("div", (left, right)):
                return rf"\frac{{{bare(left)}}}{{{bare(right)}}}"
            case Apply("pow", (base, exponent)):
                return _latex_power(base, write(base, ATOM), bare(exponent))
            case Apply(function, (argument,)):
                return _latex_call(function, bare(argument))
        raise AssertionError(node)

    return bare(expression)


def latex_name(name: str) -> str:
    """Write a variable's name in mathematics: first part, the rest as its index."""
    match = re.fullmatch(r"([A-Za-z]+)_?(\w*)", name)
    if match is None:
        escaped = name.replace("_", r"\_")
        return rf"\mathrm{{{escaped}}}"
    head, index = match.groups()
    letters = _latex_word(head)
    parts = [_latex_word(part) for part in index.split("_") if part]
    return f"{letters}_{{{','.join(parts)}}}" if parts else letters


def _latex_word(word: str) -> str:
    if GREEK.fullmatch(word):
        return f"\\{word}"
    return word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


def _latex_number(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \times {power}"


def _latex_level(node: Expression, text: str) -> int:
    if isinstance(node, Constant) and "10^" in text:
        return PRODUCT
    if is_call(node, "sqrt") or is_call(node, "exp"):
        return POWER
    return _level(node)


def _juxtapose(left: str, right: str) -> str:
    """Put two factors side by side, with a dot only where they would run together."""
    if right[0].isdigit() or (left[-1].isdigit() and right.startswith(r"\frac")):
        return rf"{left} \cdot {right}"
    words = right.startswith(r"\mathrm") or re.search(r"\\mathrm\{\w+\}\S*$", left)
    return rf"{left} \, {right}" if words else f"{left} {right}"


def _latex_power(base: Expression, text: str, exponent: str) -> str:
    name = FUNCTIONS[base.function].latex if isinstance(base, Apply) else ""
    if name and exponent.isdigit() and text.startswith(rf"{name}\left("):
        return f"{name}^{{{exponent}}}{text.removeprefix(name)}"
    return f"{text}^{{{exponent}}}"


def _latex_call(function: str, argument: str) -> str:
    if function == "abs":
        return rf"\left|{argument}\right|"
    if function == "exp":
        return f"e^{{{argument}}}"
    if function == "sqrt":
        return rf"\sqrt{{{argument}}}"
    return rf"{FUNCTIONS[function].latex}\left({argument}\right)"
