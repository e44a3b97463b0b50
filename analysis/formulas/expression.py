"""The expression tree: what an equation is before it is printed, fitted or compared.

Numbers, variables and functions of them, immutable and hashable. Every node that exists is
safe: names match IDENTIFIER, numbers are finite, functions stand in FUNCTIONS. Reading text is
`parsing`, writing it `printing`, fitting `compiled`, SymPy `symbolic`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadFormula

if TYPE_CHECKING:
    import sympy

    from .formula import Formula
    from .torch_formula import TorchFormula

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Function:
    """How one function is computed, differentiated and written.

    `partials` are the derivatives with respect to each argument, in our own notation, where the
    arguments are called a and b; their number is the arity.
    """

    compute: Callable[..., Any]
    partials: tuple[str, ...]
    infix: str = ""
    python: str = ""
    latex: str = ""
    sympy: str = ""

    @property
    def arity(self) -> int:
        """Count the arguments."""
        return len(self.partials)


def power(base: Any, exponent: Any) -> Any:
    """Raise to a power; scalar exponents take NumPy's short cuts (square, square root, reciprocal)."""
    return base ** (exponent if isinstance(exponent, np.ndarray) else float(exponent))


FUNCTIONS: dict[str, Function] = {
    "add": Function(operator.add, ("1", "1"), infix="+"),
    "sub": Function(operator.sub, ("1", "-1"), infix="-"),
    "mul": Function(operator.mul, ("b", "a"), infix="*"),
    "div": Function(operator.truediv, ("1/b", "-a/b/b"), infix="/"),
    "pow": Function(power, ("b*a**(b - 1)", "a**b*log(a)"), infix="**"),
    "neg": Function(operator.neg, ("-1",), infix="-"),
    "abs": Function(np.abs, ("a/abs(a)",), python="np.abs", sympy="Abs"),
    "sqrt": Function(np.sqrt, ("0.5/sqrt(a)",), python="np.sqrt", latex=r"\sqrt", sympy="sqrt"),
    "exp": Function(np.exp, ("exp(a)",), python="np.exp", latex=r"\exp", sympy="exp"),
    "log": Function(np.log, ("1/a",), python="np.log", latex=r"\log", sympy="log"),
    "sin": Function(np.sin, ("cos(a)",), python="np.sin", latex=r"\sin", sympy="sin"),
    "cos": Function(np.cos, ("-sin(a)",), python="np.cos", latex=r"\cos", sympy="cos"),
    "tan": Function(np.tan, ("1 + tan(a)**2",), python="np.tan", latex=r"\tan", sympy="tan"),
    "asin": Function(np.arcsin, ("1/sqrt(1 - a**2)",), python="np.arcsin", latex=r"\arcsin", sympy="asin"),
    "acos": Function(np.arccos, ("-1/sqrt(1 - a**2)",), python="np.arccos", latex=r"\arccos", sympy="acos"),
    "atan": Function(np.arctan, ("1/(1 + a**2)",), python="np.arctan", latex=r"\arctan", sympy="atan"),
    "sinh": Function(np.sinh, ("cosh(a)",), python="np.sinh", latex=r"\sinh", sympy="sinh"),
    "cosh": Function(np.cosh, ("sinh(a)",), python="np.cosh", latex=r"\cosh", sympy="cosh"),
    "tanh": Function(np.tanh, ("1 - tanh(a)**2",), python="np.tanh", latex=r"\tanh", sympy="tanh"),
}


class Node:
    """What every expression offers: arithmetic, and the ways to write it."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Apply:
        return Apply("add", (_node(self), _node(other)))

    def __radd__(self, other: Operand) -> Apply:
        return Apply("add", (_node(other), _node(self)))

    def __sub__(self, other: Operand) -> Apply:
        return Apply("sub", (_node(self), _node(other)))

    def __rsub__(self, other: Operand) -> Apply:
        return Apply("sub", (_node(other), _node(self)))

    def __mul__(self, other: Operand) -> Apply:
        return Apply("mul", (_node(self), _node(other)))

    def __rmul__(self, other: Operand) -> Apply:
        return Apply("mul", (_node(other), _node(self)))

    def __truediv__(self, other: Operand) -> Apply:
        return Apply("div", (_node(self), _node(other)))

    def __rtruediv__(self, other: Operand) -> Apply:
        return Apply("div", (_node(other), _node(self)))

    def __pow__(self, other: Operand) -> Apply:
        return Apply("pow", (_node(self), _node(other)))

    def __rpow__(self, other: Operand) -> Apply:
        return Apply("pow", (_node(other), _node(self)))

    def __neg__(self) -> Apply:
        return Apply("neg", (_node(self),))

    def __str__(self) -> str:
        from .printing import to_text

        return to_text(_node(self))

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def latex(self, *, digits: int | None = None) -> str:
        """Write the expression as LaTeX mathematics."""
        from .printing import to_latex

        return to_latex(_node(self), digits=digits)

    def sympy(self) -> sympy.Expr:
        """Give the expression as a SymPy object whose symbols bear the variables' names."""
        from .symbolic import to_sympy

        return to_sympy(_node(self))

    def numpy(self, arguments: Sequence[str] | None = None) -> Formula:
        """Make a function of NumPy arrays; `arguments` are its parameters in order, by default the variables."""
        from .formula import to_numpy

        return to_numpy(_node(self), arguments)

    def jax(self, arguments: Sequence[str] | None = None) -> Formula:
        """Make a function of JAX arrays. Raises MissingExtra where JAX is not installed."""
        from .formula import to_jax

        return to_jax(_node(self), arguments)

    def torch(self, arguments: Sequence[str] | None = None) -> TorchFormula:
        """Make a PyTorch module whose parameters are the free numbers."""
        from .torch_formula import TorchFormula

        return TorchFormula(_node(self), arguments)

    def python(self, name: str = "law", arguments: Sequence[str] | None = None) -> str:
        """Write the source of a Python function of NumPy arrays."""
        from .printing_code import to_python_source

        return to_python_source(_node(self), name=name, arguments=arguments)

    def c(self, name: str = "law", arguments: Sequence[str] | None = None) -> str:
        """Write the source of a C99 function of doubles."""
        from .printing_code import to_c_source

        return to_c_source(_node(self), name=name, arguments=arguments)


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A finite number."""

    value: float | int

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        if not math.isfinite(self.value):
            raise BadFormula(f"{self.value} is not a finite number", hint="rescale the quantities")


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """A named quantity; the name is an identifier of at most 64 letters, digits and underscores."""

    name: str

    def __post_init__(self) -> None:
        if not IDENTIFIER.fullmatch(self.name) or self.name == "pi":
            raise BadFormula(
                f"{self.name[:80]!r} cannot name a variable",
                hint="use at most 64 letters, digits and underscores, no digit first; pi is a number",
            )


@dataclass(frozen=True, slots=True)
class Apply(Node):
    """A function of FUNCTIONS with as many arguments as it takes."""

    function: str
    arguments: tuple[Expression, ...]

    def __post_init__(self) -> None:
        known = FUNCTIONS.get(self.function)
        if known is None:
            raise BadFormula(f"unknown function {self.function[:80]!r}", hint=f"known are {', '.join(FUNCTIONS)}")
        if len(self.arguments) != known.arity:
            raise BadFormula(
                f"{self.function} takes {known.arity} arguments, found {len(self.arguments)}",
                hint=f"give {self.function} exactly {known.arity}",
            )


Expression: TypeAlias = Constant | Variable | Apply
Operand: TypeAlias = Node | float | int


def _node(value: Operand) -> Expression:
    if isinstance(value, Constant | Variable | Apply):
        return value
    return Constant(value)  # type: ignore[arg-type]


def walk(expression: Expression) -> Iterator[Expression]:
    """Visit every node from left to right, parents before their arguments."""
    yield expression
    if isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from walk(argument)


def complexity(expression: Expression) -> int:
    """Count the nodes of the tree: m1*m2/r**2 has 7."""
    return sum(1 for _ in walk(expression))


def variables(expression: Expression) -> tuple[str, ...]:
    """Name the variables in order of first appearance."""
    return tuple(dict.fromkeys(node.name for node in walk(expression) if isinstance(node, Variable)))


def constants(expression: Expression) -> tuple[float, ...]:
    """List every number from left to right, exponents among them."""
    return tuple(float(node.value) for node in walk(expression) if isinstance(node, Constant))


def exponents(expression: Expression) -> tuple[int, ...]:
    """Say which of `constants` stand as exponents, by their index."""
    return tuple(i for i, exponent in enumerate(_roles(expression, exponent=False)) if exponent)


def _roles(expression: Expression, *, exponent: bool) -> Iterator[bool]:
    if isinstance(expression, Constant):
        yield exponent
    elif isinstance(expression, Apply):
        for place, argument in enumerate(expression.arguments):
            yield from _roles(argument, exponent=expression.function == "pow" and place == 1)


def is_call(expression: Expression, function: str) -> TypeGuard[Apply]:
    """Tell whether the topmost node applies this function."""
    return isinstance(expression, Apply) and expression.function == function


def with_constants(expression: Expression, values: Sequence[float | int]) -> Expression:
    """Put other numbers in the places that `constants` lists, in the same order."""
    if len(values) != len(constants(expression)):
        raise BadFormula(
            f"{len(constants(expression))} constants expected, found {len(values)}",
            hint="give one value for each entry of constants(expression)",
        )
    supply = iter(values)
    return _rebuild(expression, lambda leaf: Constant(next(supply)) if isinstance(leaf, Constant) else leaf)


def substitute(expression: Expression, replacements: Mapping[str, Expression]) -> Expression:
    """Replace variables by expressions, all at once."""
    return _rebuild(
        expression,
        lambda leaf: replacements.get(leaf.name, leaf) if isinstance(leaf, Variable) else leaf,
    )


def _rebuild(expression: Expression, leaf: Callable[[Constant | Variable], Expression]) -> Expression:
    if isinstance(expression, Apply):
        return Apply(expression.function, tuple(_rebuild(argument, leaf) for argument in expression.arguments))
    return leaf(expression)


def evaluate(
    expression: Expression, columns: Mapping[str, Float[np.ndarray, " samples"]]
) -> Float[np.ndarray, " samples"]:
    """Compute the expression for every sample in float64.

    Outside a function's domain the result is NaN or infinite, without a warning. Raises BadFormula
    where a variable has no column.
    """
    missing = [name for name in variables(expression) if name not in columns]
    if missing or not columns:
        raise BadFormula(
            f"no column for {', '.join(missing) or 'any variable'}",
            hint=f"the columns are: {', '.join(columns) or 'none'}",
        )
    samples = len(next(iter(columns.values())))
    with np.errstate(all="ignore"):
        values = _compute(expression, columns)
    return np.array(np.broadcast_to(values, (samples,)))


def _compute(expression: Expression, columns: Mapping[str, Float[np.ndarray, " samples"]]) -> Any:
    if isinstance(expression, Constant):
        return np.float64(expression.value)
    if isinstance(expression, Variable):
        return np.asarray(columns[expression.name], dtype=np.float64)
    arguments = [_compute(argument, columns) for argument in expression.arguments]
    return FUNCTIONS[expression.function].compute(*arguments)
