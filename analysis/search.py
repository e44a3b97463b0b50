"""Symbolic regression engines: columns and values in, a front of our own expressions out.

An engine is one function and one line in ENGINES; nothing else in the program knows which one ran.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..zoo.errors import BadFormula, MissingExtra
from .expression import FUNCTIONS, Apply, Constant, Expression, Variable, substitute
from .parsing import parse
from .simplify import simplify

Columns = Mapping[str, Float[np.ndarray, " samples"]]

LENGTH = 25
"""Longest equation searched for, in nodes of the engine's own trees."""

ALPHABETS = (("sqrt", "square"), ("sqrt", "square", "exp", "log"), ("square", "sin", "cos", "exp"))
"""Functions beside + - * / that restarts use in turn: small alphabets search deeper."""


@runtime_checkable
class Search(Protocol):
    """Find expressions that fit the values, of many complexities, with the same seed the same ones."""

    def __call__(
        self,
        columns: Columns,
        values: Float[np.ndarray, " samples"],
        *,
        alphabet: Sequence[str],
        evaluations: int,
        seed: int,
    ) -> list[Expression]:
        """Search once, with so many evaluations of candidates at most."""
        ...


def operon(
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    alphabet: Sequence[str],
    evaluations: int,
    seed: int,
) -> list[Expression]:
    """Search with Operon: tree-based genetic programming, constants by Levenberg–Marquardt.

    Burlacu, Kronberger & Kommenda 2020, "Operon C++". Raises MissingExtra where pyoperon has no wheel.
    """
    if importlib.util.find_spec("pyoperon") is None:
        raise MissingExtra(
            f"pyoperon is not installed (it has no wheel for {platform.system()} {platform.machine()})",
            hint='use engine = "pysr" (it fetches Julia), or engine = "none" for the ladder alone',
        )
    from pyoperon.sklearn import SymbolicRegressor

    regressor = SymbolicRegressor(
        allowed_symbols=",".join(("add", "sub", "mul", "div", *alphabet, "constant", "variable")),
        objectives=["r2", "length"],
        optimizer_iterations=5,
        max_evaluations=evaluations,
        population_size=1000,
        generations=1_000_000,
        max_length=LENGTH,
        epsilon=1e-12,
        n_threads=1,
        random_state=seed,
    )
    scale = float(np.abs(values).max()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        regressor.fit(np.column_stack(list(columns.values())), values / scale)
    names = dict(zip(regressor.variables_, columns, strict=True))
    found = [_from_operon(member["tree"].Nodes, names) for member in regressor.pareto_front_]
    return [simplify(Constant(scale) * expression) for expression in found if expression is not None]


OPERON_FUNCTIONS = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sqrt": "sqrt", "Exp": "exp", "Log": "log",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Tanh": "tanh", "Pow": "pow", "Abs": "abs",
}  # fmt: skip


def _from_operon(nodes: Sequence[Any], names: Mapping[int, str]) -> Expression | None:
    """Read Operon's postfix; the arguments of a node stand before it, the first one nearest."""
    stack: list[Expression] = []
    try:
        for node in nodes:
            kind = node.Type.name
            if kind == "Constant":
                stack.append(Constant(node.Value))
            elif kind == "Variable":
                stack.append(Constant(node.Value) * Variable(names[node.HashValue]))
            elif kind == "Square":
                stack.append(stack.pop() ** 2.0)
            else:
                stack.append(_apply(OPERON_FUNCTIONS[kind], [stack.pop() for _ in range(node.Arity)]))
    except BadFormula:  # a constant that overflowed: not an equation
        return None
    return stack.pop()


def _apply(function: str, arguments: list[Expression]) -> Expression:
    if len(arguments) == 1 and FUNCTIONS[function].arity == 2:
        unary = {"sub": -arguments[0], "div": 1.0 / arguments[0]}
        return unary.get(function, arguments[0])
    total = arguments[0]
    if len(arguments) == 1:
        return Apply(function, (total,))
    for argument in arguments[1:]:
        total = Apply(function, (total, argument))
    return total


def pysr(
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    alphabet: Sequence[str],
    evaluations: int,
    seed: int,
) -> list[Expression]:
    """Search with PySR (Cranmer 2023, arXiv 2305.01582), deterministic and serial.

    The import starts Julia, and fetches it the first time. Raises MissingExtra where that fails.
    """
    regressor = _pysr_class()(
        model_selection="accuracy",
        binary_operators=["+", "-", "*", "/"],
        unary_operators=list(alphabet),
        max_evals=evaluations,
        niterations=1_000_000,
        maxsize=LENGTH + 5,
        deterministic=True,
        parallelism="serial",
        random_state=seed,
        batching=False,
        temp_equation_file=True,
        progress=False,
        verbosity=0,
    )
    generated = {f"v{index}": Variable(name) for index, name in enumerate(columns)}
    regressor.fit(np.column_stack(list(columns.values())), values, variable_names=list(generated))
    return [from_pysr(equation, generated) for equation in regressor.equations_["equation"]]


def from_pysr(equation: str, names: Mapping[str, Expression]) -> Expression:
    """Read an equation as PySR writes it (`^` for powers) in our own tree and the caller's variables."""
    return simplify(substitute(parse(equation.replace("^", "**")), names))


def _pysr_class() -> Callable[..., Any]:
    hint = 'use engine = "operon", or install Julia (https://julialang.org) and run again'
    try:
        module = importlib.import_module("pysr")
    except Exception as error:  # juliapkg raises whatever its download raised
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise MissingExtra(f"PySR cannot start Julia: {reason[:200]}", hint=hint) from None
    return module.PySRRegressor  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Engine:
    """A search, and whether several of them may run in threads beside each other."""

    search: Search
    parallel: bool


ENGINES: dict[str, Engine] = {"operon": Engine(operon, True), "pysr": Engine(pysr, False)}


def restart(
    engine: Engine,
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    restarts: int,
    evaluations: int,
    seed: int,
) -> Iterator[list[Expression]]:
    """Search again and again, each time with the next alphabet and seed; results come in their order.

    While one result is looked at the next searches run already, as many as there are processors. What
    comes out does not depend on how many that is; to stop early, close the iterator.
    """
    ahead = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor = ThreadPoolExecutor(ahead if engine.parallel else 1)

    def submit(number: int) -> Future[list[Expression]]:
        return executor.submit(
            engine.search,
            columns,
            values,
            alphabet=ALPHABETS[number % len(ALPHABETS)],
            evaluations=evaluations,
            seed=seed * 1000 + number,
        )

    try:
        waiting = [submit(number) for number in range(min(ahead, restarts))] if engine.parallel else []
        for number in range(restarts):
            if engine.parallel:
                result = waiting.pop(0).result()
                if number + ahead < restarts:
                    waiting.append(submit(number + ahead))
            else:
                result = submit(number).result()
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
