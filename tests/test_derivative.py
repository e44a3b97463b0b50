"""Derivatives as people write them; the rules are checked against differences in test_expression."""

from __future__ import annotations

import pytest

from consilience.analysis.formulas.derivative import derivative
from consilience.analysis.formulas.parsing import parse


@pytest.mark.parametrize(
    ("text", "slope"),
    [
        ("2*x**3", "6*x**2"),
        ("m1*x", "m1"),
        ("y", "0"),
        ("exp(2*x)", "2*exp(2*x)"),
        ("y/x", "-y/x**2"),
        ("x**y", "y*x**(y - 1)"),
        ("log(x)", "1/x"),
        ("sin(x)*cos(y)", "cos(x)*cos(y)"),
    ],
)
def test_derivative_by_x(text: str, slope: str) -> None:
    assert str(derivative(parse(text), "x")) == slope
