"""Compiled expressions: right derivatives, no warnings, equal steps done once."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.formulas.compiled import compile_expression
from consilience.analysis.formulas.expression import FUNCTIONS
from consilience.analysis.formulas.parsing import parse
from consilience.zoo.errors import BadFormula

X = np.random.default_rng(0).uniform(0.5, 2.0, (50, 3))
NAMES = ("x", "y", "z")


@pytest.mark.parametrize(
    "text",
    [
        "2*x*y/z**2.5",
        "3",
        "x",
        "2 + 0.1*x + 0.5*x*y + 1.5*x**2",
        "1.5*sin(0.7*x + 0.1)/(2 + cos(0.3*y))",
        "2**x + x**1.2",
        "exp(-0.5*((x - 1.1)/0.8)**2)",
        "0.3*x + 0.3*x",
        "-0.4 - (0.2 - 0.3)*x",
        *(f"{name}(0.4*x/2.5)" for name, function in FUNCTIONS.items() if not function.infix),
    ],
)
def test_jacobian_matches_differences(text: str) -> None:
    compiled = compile_expression(parse(text), NAMES)
    theta = compiled.start
    values, jacobian = compiled.values_and_jacobian(theta, X)
    np.testing.assert_array_equal(values, compiled(theta, X))
    for k, step in enumerate(1e-6 * np.eye(len(theta))):
        slope = (compiled(theta + step, X) - compiled(theta - step, X)) / 2e-6
        inside = np.isfinite(slope)  # the exponent of a negative base cannot be moved
        np.testing.assert_allclose(jacobian[inside, k], slope[inside], rtol=1e-5, atol=1e-7)


def test_other_constants_give_other_values() -> None:
    compiled = compile_expression(parse("2*x + 1"), NAMES)
    np.testing.assert_allclose(compiled(np.array([3.0, -1.0]), X), 3 * X[:, 0] - 1)


def test_an_expression_without_constants_has_an_empty_jacobian() -> None:
    values, jacobian = compile_expression(parse("x*y"), NAMES).values_and_jacobian(np.array([]), X)
    assert values.shape == (50,)
    assert jacobian.shape == (50, 0)


def test_exponents_of_negative_bases_do_not_poison_the_jacobian() -> None:
    compiled = compile_expression(parse("(x - 1)**2"), NAMES)
    values, jacobian = compiled.values_and_jacobian(compiled.start, X)
    assert np.isfinite(values).all()
    assert np.isfinite(jacobian).all()


def test_outside_the_domain_is_nan_without_a_warning() -> None:
    compiled = compile_expression(parse("log(x - 1)"), NAMES)
    values, jacobian = compiled.values_and_jacobian(compiled.start, X)
    assert np.isnan(values[X[:, 0] < 1]).all()
    assert np.isfinite(jacobian[X[:, 0] > 1]).all()


def test_equal_steps_are_done_once() -> None:
    assert len(compile_expression(parse("x*y + sin(x*y)"), NAMES).forward) == 3


def test_the_result_is_a_new_array() -> None:
    compiled = compile_expression(parse("x"), NAMES)
    compiled(compiled.start, X)[:] = 0.0
    assert (X > 0).all()


def test_unknown_variables_are_named() -> None:
    with pytest.raises(BadFormula, match="no column for w"):
        compile_expression(parse("w*x"), NAMES)


def test_wrong_sizes_are_refused() -> None:
    compiled = compile_expression(parse("2*x"), NAMES)
    with pytest.raises(BadFormula, match="1 constants and 3 variables expected, found 2 and 3"):
        compiled(np.ones(2), X)
    with pytest.raises(BadFormula, match="found 1 and 2"):
        compiled(np.ones(1), X[:, :2])
