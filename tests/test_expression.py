"""Laws that hold for every expression and every function of the table."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from random_expressions import calm, expressions_of

from consilience.analysis.formulas.compiled import compile_expression
from consilience.analysis.formulas.derivative import derivative
from consilience.analysis.formulas.expression import (
    FUNCTIONS,
    Apply,
    Constant,
    Expression,
    Variable,
    complexity,
    constants,
    evaluate,
    exponents,
    substitute,
    variables,
    walk,
    with_constants,
)
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.printing import to_python, to_text
from consilience.analysis.formulas.simplify import simplify
from consilience.zoo.errors import BadFormula

NAMES = ("x", "m1", "lambda")
SAMPLES = np.random.default_rng(1).uniform(-3, 3, (64, len(NAMES)))
COLUMNS = dict(zip(NAMES, SAMPLES.T, strict=True))
GRAVITY = parse("m1*m2/r**2")

expressions = expressions_of(NAMES)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return np.array_equal(left, right, equal_nan=True)


@given(expressions)
@calm
def test_text_read_back_gives_the_same_values_to_the_last_bit(expression: Expression) -> None:
    again = parse(to_text(expression))
    assert same(evaluate(again, COLUMNS), evaluate(expression, COLUMNS))
    assert to_text(parse(to_text(again))) == to_text(again)


@given(expressions)
@calm
def test_python_source_gives_the_same_values(expression: Expression) -> None:
    namespace: dict[str, Any] = {"np": np}
    exec(to_python(expression, name="f", arguments=NAMES), namespace)
    with np.errstate(all="ignore"):
        try:
            values = namespace["f"](*SAMPLES.T)
        except ZeroDivisionError:  # plain numbers alone: 1/0
            return
    expected = evaluate(expression, COLUMNS)
    np.testing.assert_allclose(np.broadcast_to(values, expected.shape), expected, rtol=1e-12)


@given(expressions)
@calm
def test_simplify_keeps_values_and_never_grows(expression: Expression) -> None:
    simple = simplify(expression)
    assert complexity(simple) <= complexity(expression)
    assert simplify(simple) == simple
    before, after = evaluate(expression, COLUMNS), evaluate(simple, COLUMNS)
    # Where rounding alone moves the original, equality cannot be asked for.
    steady = np.isfinite(before) & (wobble(expression) < 1e-9 * (1 + np.abs(before)))
    np.testing.assert_allclose(after[steady], before[steady], rtol=1e-6, atol=1e-6)


def wobble(expression: Expression) -> np.ndarray:
    """How much the values move when every leaf moves by a few rounding errors."""
    moved = with_constants(expression, [value * (1 + 3e-15) for value in constants(expression)])
    columns = {name: column * (1 - 2e-15) for name, column in COLUMNS.items()}
    with np.errstate(all="ignore"):
        change = np.abs(evaluate(moved, columns) - evaluate(expression, COLUMNS))
    return np.where(np.isnan(change), np.inf, change)


@given(expressions)
@calm
def test_compiled_gives_the_same_values(expression: Expression) -> None:
    compiled = compile_expression(expression, NAMES)
    assert same(compiled(compiled.start, SAMPLES), evaluate(expression, COLUMNS))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivative_rules_match_differences(name: str) -> None:
    inner = (Variable("x"), Variable("y"))[: FUNCTIONS[name].arity]
    columns = {"x": np.linspace(0.1, 0.9, 7), "y": np.linspace(1.5, 2.5, 7)}
    for variable in variables(Apply(name, inner)):
        step = {**columns, variable: columns[variable] + 1e-7}
        back = {**columns, variable: columns[variable] - 1e-7}
        expression = Apply(name, inner)
        slope = (evaluate(expression, step) - evaluate(expression, back)) / 2e-7
        np.testing.assert_allclose(evaluate(derivative(expression, variable), columns), slope, rtol=1e-6)


def test_gravity_has_seven_nodes() -> None:
    assert complexity(GRAVITY) == 7
    assert variables(GRAVITY) == ("m1", "m2", "r")
    assert [type(node).__name__ for node in walk(GRAVITY)].count("Variable") == 3


def test_constants_are_listed_and_replaced_in_one_order() -> None:
    expression = parse("2*x**3 + 4*(x - 5)**y")
    assert constants(expression) == (2, 3, 4, 5)
    assert exponents(expression) == (1,)
    assert str(with_constants(expression, (6, 7, 8, 9))) == "6*x**7 + 8*(x - 9)**y"


def test_with_constants_wants_as_many() -> None:
    with pytest.raises(BadFormula, match="1 constants expected, found 2"):
        with_constants(GRAVITY, (1.0, 2.0))


def test_substitute_replaces_all_at_once() -> None:
    swapped = substitute(parse("x - y"), {"x": Variable("y"), "y": parse("2*x")})
    assert str(swapped) == "y - 2*x"


def test_operators_build_trees() -> None:
    x = Variable("x")
    built = (2 + x) * (x - 1) / (3 - x) ** 2 - (-x) * 2.0 + 1 / x + 2**x + x * 2 + 3 * x
    assert str(built) == "(2 + x)*(x - 1)/(3 - x)**2 + x*2 + 1/x + 2**x + x*2 + 3*x"


def test_outside_the_domain_is_nan_without_a_warning() -> None:
    values = evaluate(parse("log(x) + 1/(x + 1)"), {"x": np.array([-1.0, 0.0, 1.0])})
    assert np.isnan(values[0])
    assert values[1] == -np.inf
    assert values[2] == 0.5


def test_a_constant_fills_every_sample() -> None:
    assert evaluate(parse("2.5"), {"x": np.zeros(3)}).tolist() == [2.5, 2.5, 2.5]


def test_missing_columns_are_named() -> None:
    with pytest.raises(BadFormula, match="no column for m2, r"):
        evaluate(GRAVITY, {"m1": np.ones(2)})
    with pytest.raises(BadFormula, match="no column for any variable"):
        evaluate(parse("1"), {})


def test_expressions_hash_compare_and_travel() -> None:
    assert hash(GRAVITY) == hash(parse("m1*m2/r**2"))
    assert pickle.loads(pickle.dumps(GRAVITY)) == GRAVITY
    assert Constant(2) == Constant(2.0)


@pytest.mark.parametrize("name", ["", "1x", "a b", "x;import os", "é", "x" * 65, "pi", "x\n", "__import__('os')"])
def test_names_that_are_no_identifiers_are_refused(name: str) -> None:
    with pytest.raises(BadFormula, match="cannot name a variable") as error:
        Variable(name)
    assert error.value.hint


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(BadFormula, match="not a finite number"):
        Constant(value)


def test_functions_come_from_the_table_with_their_arity() -> None:
    with pytest.raises(BadFormula, match="unknown function 'eval'"):
        Apply("eval", (Constant(1),))
    with pytest.raises(BadFormula, match="sin takes 1 arguments, found 2"):
        Apply("sin", (Constant(1), Constant(2)))


def test_notebooks_show_mathematics() -> None:
    assert GRAVITY._repr_latex_() == r"$\frac{m_{1} m_{2}}{r^{2}}$"
