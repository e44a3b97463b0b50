"""What is an expression, and what is refused."""

from __future__ import annotations

import math

import pytest

from consilience.analysis.formulas.expression import Constant, Variable, complexity
from consilience.analysis.formulas.parsing import DEPTH, LENGTH, parse
from consilience.zoo.errors import BadFormula


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("m1*m2/r**2", 7),
        ("speed*cos(angle)", 4),
        ("-2*x", 3),
        ("-x**2", 4),
        ("+x", 1),
        ("square(x) + cube(y)", 7),
        ("2**-x", 4),
        (" x ", 1),
        ("1.5e-3*x", 3),
        (".5*x", 3),
        ("lambda*in/class", 5),
        ("exp + exp(exp)", 4),
    ],
)
def test_formulas_are_read(text: str, nodes: int) -> None:
    assert complexity(parse(text)) == nodes


def test_pi_is_a_number() -> None:
    assert parse("pi") == Constant(math.pi)


def test_python_words_are_names_like_others() -> None:
    assert parse("lambda") == Variable("lambda")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x +",
        "x y",
        "x ^ 2",
        "x // 2",
        "x % 2",
        "x if y else z",
        "not x",
        "lambda x: x",
        "x.real",
        "x[0]",
        "[x]",
        "(x, y)",
        "()",
        "'x'",
        "f'{x}'",
        "x = 2",
        "x; y",
        "x # y",
        "x\\",
        "2j",
        "1_000",
        "0x10",
        "é",
        "x²",
        "x\0",
        "x" * 65,
        "1x",
        "1if",
        "open(x)",
        "eval(x)",
        "add(x, y)",
        "neg(x)",
        "sin()",
        "sin(x, y)",
        "sin(*x)",
        "sin(**x)",
        "sin(x=1)",
        "sin(x)(y)",
        "(1)(x)",
        "pi(x)",
        "__import__('os').system('true')",
        "nan(x)",
        "x**1001",
        "x**-1e9",
        "1e999",
        "9" * 400,
        "(" * 150 + "x" + ")" * 150 + "+" * 9999,
        "-" * (DEPTH + 1) + "x",
        "-" * (LENGTH - 1) + "x",
        "(" * (LENGTH // 2 - 1) + "x" + ")" * (LENGTH // 2 - 1),
        "x" * (LENGTH + 1),
    ],
)
def test_all_else_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(BadFormula, match=r"formula|function|number|exponent|variable|arguments") as error:
        parse(text)
    assert error.value.hint


def test_the_caret_is_named() -> None:
    with pytest.raises(BadFormula, match="unexpected") as error:
        parse("x ^2")
    assert "x**2" in error.value.hint


def test_depth_is_bounded() -> None:
    with pytest.raises(BadFormula, match=f"deeper than {DEPTH}"):
        parse("+".join(["x"] * (DEPTH + 2)))
    assert complexity(parse("+".join(["x"] * (DEPTH - 1)))) == 2 * DEPTH - 3
