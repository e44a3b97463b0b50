"""Compute an expression with the arrays of another library: NumPy, JAX, or PyTorch (see `torch_formula`).

A library is its module: every function of the table bears the same name in all three.
"""

from __future__ import annotations

import importlib.util
import inspect
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ...zoo.errors import BadFormula, MissingExtra
from .expression import FUNCTIONS, Constant, Expression, Variable, evaluate, is_call
from .expression import variables as variables_of
from .printing import python_names


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression as a function of arrays, given in the order of `arguments` or by name; arrays broadcast.

    `library` names the module that computes: `numpy` or `jax.numpy`. Floats keep their precision, whole numbers
    become floats. Outside a function's domain the result is NaN or infinite, without a warning.
    """

    expression: Expression
    arguments: tuple[str, ...]
    library: str

    @property
    def __signature__(self) -> inspect.Signature:
        return signature(self.arguments)

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Compute the values; raises TypeError for arguments that do not fit, as every function does."""
        library = import_module(self.library)
        columns = _as_floats(bind(self.arguments, values, named), library)
        with np.errstate(all="ignore"):
            result = as_array(apply(self.expression, library, columns), library, columns)
        shape = library.broadcast_shapes(*(column.shape for column in columns.values()))
        return (result if result.shape == shape else library.array(library.broadcast_to(result, shape)))[()]


def _as_floats(values: Mapping[str, Any], library: ModuleType) -> dict[str, Any]:
    """Bring all to one precision; plain numbers take that of the arrays."""
    arrays = {
        name: value if isinstance(value, int | float) else library.asarray(value) for name, value in values.items()
    }
    kind = library.result_type(1.0, *arrays.values())
    return {name: library.asarray(value, dtype=kind) for name, value in arrays.items()}


def to_numpy(expression: Expression, arguments: Sequence[str] | None = None) -> Formula:
    """Make a function of NumPy arrays. Raises BadFormula where a variable is no argument."""
    return Formula(expression, order(expression, arguments), "numpy")


def to_jax(expression: Expression, arguments: Sequence[str] | None = None) -> Formula:
    """Make a function of JAX arrays, fit for grad, jit and vmap. Raises MissingExtra without JAX."""
    if importlib.util.find_spec("jax") is None:
        raise MissingExtra("jax is not installed", hint="pip install 'consilience[jax]'")
    return Formula(expression, order(expression, arguments), "jax.numpy")


def order(expression: Expression, arguments: Sequence[str] | None) -> tuple[str, ...]:
    """Give the arguments in order, by default the variables as they first appear.

    Raises BadFormula where a variable is not among them, or one is there twice.
    """
    used = variables_of(expression)
    given = used if arguments is None else tuple(arguments)
    missing = [name for name in used if name not in given]
    if missing:
        raise BadFormula(f"no argument for {', '.join(missing)}", hint=f"the formula needs {', '.join(used)}")
    if len(set(given)) < len(given):
        raise BadFormula(f"an argument stands twice in {', '.join(given)}", hint="name each once")
    return given


def signature(arguments: Sequence[str]) -> inspect.Signature:
    """Describe the function of these arguments; names that Python reserves get an underscore."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in python_names(arguments).values()])


def bind(arguments: Sequence[str], values: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Say which value belongs to which argument; a reserved name may be given with its underscore or without."""
    called = python_names(arguments)
    bound = signature(arguments).bind(*values, **{called.get(name, name): value for name, value in named.items()})
    return {name: bound.arguments[called[name]] for name in arguments}


def apply(expression: Expression, library: ModuleType, columns: Mapping[str, Any]) -> Any:
    """Compute an expression with a library's functions; where there is no variable, it is a plain float."""
    if isinstance(expression, Variable):
        return columns[expression.name]
    if isinstance(expression, Constant):
        return float(expression.value)
    if not variables_of(expression):  # libraries differ in what they make of plain numbers, such as 1/0
        return float(evaluate(expression, {"": np.zeros(1)})[0])
    arguments = (apply(argument, library, columns) for argument in expression.arguments)
    if is_call(expression, "pow"):
        return operator.pow(*arguments)
    function = FUNCTIONS[expression.function]
    compute = getattr(library, function.python.removeprefix("np.")) if function.python else function.compute
    return compute(*arguments)


def as_array(result: Any, library: ModuleType, columns: Mapping[str, Any]) -> Any:
    """Make an array of a plain number, with the precision and on the device of those that it stands beside."""
    if not isinstance(result, float):
        return result
    return library.full_like(next(iter(columns.values())), result) if columns else library.full((), result)
