"""How expressions are written."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.formulas.expression import Apply, Constant, Expression, Variable
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.printing import latex_name, python_name, python_names, to_latex, to_python, to_text

X, Y = Variable("x"), Variable("y")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (parse("(m1*m2)/(r**2.0)"), "m1*m2/r**2"),
        (X + Constant(-2.0), "x - 2"),
        (X - Constant(-2.0), "x + 2"),
        (X + -Y, "x - y"),
        (X - (Y - X), "x - (y - x)"),
        (X * (Y * X), "x*(y*x)"),
        (X / (Y / X), "x/(y/x)"),
        ((X**Y) ** X, "(x**y)**x"),
        (X ** (Y**X), "x**y**x"),
        (Constant(-2.0) ** X, "(-2)**x"),
        (-(X**2.0), "-x**2"),
        (X**-Y, "x**(-y)"),
        (-(X * Y) / 2.0, "-x*y/2"),
        (Apply("neg", (-X,)), "-(-x)"),
        (-(X + Y), "-(x + y)"),
        (X * -Y, "x*(-y)"),
        (Constant(np.pi) * 1e-12, "pi*1e-12"),
        (Constant(0.1) + 0.2, "0.1 + 0.2"),
        (Constant(1e22) * X, "1e+22*x"),
    ],
)
def test_text_has_few_parentheses(expression: Expression, text: str) -> None:
    assert to_text(expression) == text
    assert to_text(parse(text)) == text


def test_digits_round_numbers_only_on_request() -> None:
    expression = parse("9.80665123*t**2 + 123456789*pi")
    assert to_text(expression) == "9.80665123*t**2 + 123456789*pi"
    assert to_text(expression, digits=3) == "9.81*t**2 + 1.23e+08*pi"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("m1*m2/r**2", r"\frac{m_{1} m_{2}}{r^{2}}"),
        ("2*3*x", r"2 \cdot 3 x"),
        ("sqrt(vy**2 + 2*g*h)", r"\sqrt{\mathrm{vy}^{2} + 2 g h}"),
        ("sin(theta)**2", r"\sin^{2}\left(\theta\right)"),
        ("exp(-x)**2", r"\left(e^{-x}\right)^{2}"),
        ("abs(x)", r"\left|x\right|"),
        ("asin(x)", r"\arcsin\left(x\right)"),
        ("(x + 1)*y", r"\left(x + 1\right) y"),
        ("1.5e-7*x", r"1.5 \times 10^{-7} x"),
        ("1e22*x", r"10^{22} x"),
        ("speed*angle", r"\mathrm{speed} \, \mathrm{angle}"),
        ("2*(1/3)", r"2 \cdot \frac{1}{3}"),
        ("-(x/2)", r"-\frac{x}{2}"),
        ("sqrt(x)**3", r"\left(\sqrt{x}\right)^{3}"),
        ("pi*x", r"\pi x"),
    ],
)
def test_latex(text: str, latex: str) -> None:
    assert to_latex(parse(text)) == latex


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("m1", "m_{1}"),
        ("theta", r"\theta"),
        ("theta_max", r"\theta_{\mathrm{max}}"),
        ("v_x_0", "v_{x,0}"),
        ("vx", r"\mathrm{vx}"),
        ("x", "x"),
        ("_x", r"\mathrm{\_x}"),
        ("x_", "x"),
        ("a1b", r"a_{\mathrm{1b}}"),
    ],
)
def test_names_in_latex(name: str, latex: str) -> None:
    assert latex_name(name) == latex


def test_python_is_a_function() -> None:
    assert to_python(parse("m1*m2/r**2"), name="F") == "def F(m1, m2, r):\n    return m1*m2/r**2\n"
    source = to_python(parse("exp(lambda)*pi"), name="np", arguments=("x", "lambda"))
    assert source == "def np_(x, lambda_):\n    return np.exp(lambda_)*np.pi\n"


def test_python_towers_of_powers_are_computed_at_once() -> None:
    source = to_python(parse("9**9**9*x + 2**3 + (-8)**0.5"), name="f")
    assert source == "def f(x):\n    return np.exp(10000)*x + 8 + np.log(-1)\n"


@pytest.mark.parametrize(
    ("text", "name"), [("", "_"), ("9 lives", "_9_lives"), ("a; b", "a_b"), ("def", "def_"), ("F'", "F")]
)
def test_python_names_are_identifiers(text: str, name: str) -> None:
    assert python_name(text) == name


def test_python_names_are_unique() -> None:
    assert list(python_names(["_x", "x", "x_", "class"]).values()) == ["x", "x_", "x__", "class_"]
