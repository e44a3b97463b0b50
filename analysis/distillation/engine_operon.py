"""Operon as an engine: genetic programming on trees, seeded by guesses, its front read as our own trees."""

from __future__ import annotations

import importlib.util
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadFormula, MissingExtra
from ..formulas.expression import FUNCTIONS, Apply, Constant, Expression, Variable
from ..formulas.simplify import simplify

Columns = Mapping[str, Float[np.ndarray, " samples"]]

LENGTH = 25
"""Longest equation searched for, in nodes of Operon's own trees."""

POPULATION = 1000

FUNCTION_OF = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sqrt": "sqrt", "Exp": "exp", "Log": "log",
    "Sin": "sin", "Cos": "cos", "Tan": "tan", "Tanh": "tanh", "Pow": "pow", "Abs": "abs",
}  # fmt: skip
NODE_OF = {function: node for node, function in FUNCTION_OF.items()}


def operon_at_hand() -> bool:
    """Tell whether pyoperon is installed: it has wheels for some platforms only."""
    return importlib.util.find_spec("pyoperon") is not None


def operon(
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    alphabet: Sequence[str],
    evaluations: int,
    seed: int,
    guesses: Sequence[Expression] = (),
) -> list[Expression]:
    """Search with Operon: tree-based genetic programming, constants by Levenberg–Marquardt.

    Guesses join the first population, and the front that comes back. Burlacu, Kronberger & Kommenda 2020,
    "Operon C++". Raises MissingExtra where pyoperon has no wheel.
    """
    if not operon_at_hand():
        raise MissingExtra(
            f"pyoperon is not installed (it has no wheel for {platform.system()} {platform.machine()})",
            hint='use engine = "pysr" (it fetches Julia), or engine = "none" for the ladder alone',
        )
    scale = float(np.abs(values).max()) or 1.0
    regressor = _regressor(alphabet, evaluations, seed)
    inputs, goal = np.column_stack(list(columns.values())), values / scale
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if guesses:
            _seed(regressor, inputs, goal, [guess / scale for guess in guesses], tuple(columns))
        regressor.fit(inputs, goal)
    names = dict(zip(regressor.variables_, columns, strict=True))
    found = [from_operon(member["tree"].Nodes, names) for member in regressor.pareto_front_]
    return [simplify(Constant(scale) * expression) for expression in found if expression is not None] + list(guesses)


def _regressor(alphabet: Sequence[str], evaluations: int, seed: int) -> Any:
    from pyoperon.sklearn import SymbolicRegressor

    return SymbolicRegressor(
        allowed_symbols=",".join(("add", "sub", "mul", "div", *alphabet, "constant", "variable")),
        objectives=["r2", "length"],
        optimizer_iterations=5,
        max_evaluations=evaluations,
        population_size=POPULATION,
        generations=1_000_000,
        max_length=LENGTH,
        epsilon=1e-12,
        n_threads=1,
        random_state=seed,
    )


def _seed(
    regressor: Any,
    inputs: Float[np.ndarray, "samples variables"],
    goal: Float[np.ndarray, " samples"],
    guesses: Sequence[Expression],
    names: Sequence[str],
) -> None:
    """Put guesses in the place of the first random trees; those that Operon cannot hold are left out."""
    from pyoperon import Tree

    whole = regressor.get_params()
    regressor.set_params(generations=0, max_evaluations=POPULATION).fit(inputs, goal)
    hashes = dict(zip(names, regressor.variables_, strict=True))
    written = [nodes for guess in guesses if (nodes := to_operon(simplify(guess), hashes)) is not None]
    for individual, nodes in zip(regressor.individuals_[:POPULATION], written, strict=False):
        individual.Genotype = Tree(nodes).UpdateNodes()
    regressor.set_params(**whole | {"warm_start": True})


def from_operon(nodes: Sequence[Any], names: Mapping[int, str]) -> Expression | None:
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
                stack.append(_apply(FUNCTION_OF[kind], [stack.pop() for _ in range(node.Arity)]))
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


def to_operon(expression: Expression, hashes: Mapping[str, int]) -> list[Any] | None:
    """Write Operon's postfix; None where the tree is too long, or holds what Operon does not know."""
    try:
        nodes = list(_postfix(expression, hashes))
    except KeyError:
        return None
    return nodes if len(nodes) <= LENGTH else None


def _postfix(expression: Expression, hashes: Mapping[str, int]) -> Iterator[Any]:
    from pyoperon import Node, NodeType

    match expression:
        case Constant(value):
            yield Node.Constant(value)
        case Variable(name):
            yield _variable(hashes[name])
        case Apply("neg", (inner,)):
            yield from _postfix(Constant(-1.0) * inner, hashes)
        case Apply("pow", (base, Constant(2.0))):
            yield from _postfix(base, hashes)
            yield Node.Square()
        case Apply(function, arguments):
            for argument in reversed(arguments):
                yield from _postfix(argument, hashes)
            yield Node(getattr(NodeType, NODE_OF[function]))


def _variable(identity: int) -> Any:
    from pyoperon import Node

    node = Node.Variable(1.0)
    node.HashValue = identity
    return node
