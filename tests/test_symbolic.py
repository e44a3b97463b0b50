"""SymPy objects from our trees, and proofs of equality."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from consilience.analysis.formulas.expression import FUNCTIONS, Apply, Variable, evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import compare, equivalent, to_sympy


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sympy_computes_the_same(name: str) -> None:
    expression = Apply(name, (Variable("x"), Variable("y"))[: FUNCTIONS[name].arity])
    value = to_sympy(expression).subs({sympy.Symbol("x"): 0.3, sympy.Symbol("y"): 1.7})
    expected = evaluate(expression, {"x": np.array([0.3]), "y": np.array([1.7])})
    assert float(value) == pytest.approx(expected[0], rel=1e-12)


def test_symbols_bear_the_names_and_whole_numbers_are_integers() -> None:
    m1, r, lam = sympy.symbols("m1 r lambda")
    assert parse("2*m1*lambda/r**2 + pi").sympy() == 2 * m1 * lam / r**2 + sympy.pi


def test_names_that_sympy_knows_stay_names() -> None:
    assert parse("E*I*S*N").sympy().free_symbols == {sympy.Symbol(name) for name in "EISN"}


def test_towers_of_powers_stay_floats() -> None:
    assert parse("9**9**9").sympy() == sympy.oo
    assert parse("2**0.5*x").sympy().atoms(sympy.Float) == {sympy.Float(2**0.5)}


RANGE = "vx*(vy + sqrt(vy**2 + 2*9.81*h))/9.81"


@pytest.mark.parametrize(
    ("left", "right", "answer"),
    [
        (RANGE, "vx*vy/9.81 + vx*sqrt(vy**2/96.2361 + h/4.905)", "proved"),
        ("0.1*x + 0.2*x", "0.3*x", "proved"),
        ("sqrt(x**2)", "x", "proved"),
        ("m1*m2/r**2", "m2*m1/r/r", "proved"),
        ("x", "x + 1e-12", "agrees"),
        ("x", "x + 1e-6", "differs"),
        ("x", "y", "differs"),
        ("2", "2", "proved"),
        ("log(-x)", "log(-x)", "differs"),
    ],
)
def test_compare(left: str, right: str, answer: str) -> None:
    assert compare(parse(left), parse(right)) == answer


def test_ranges_decide_where_to_look() -> None:
    left, right = parse("abs(x)"), parse("x")
    assert equivalent(left, right, ranges={"x": (1.0, 2.0)})
    assert not equivalent(left, right, ranges={"x": (-2.0, -1.0)})


def test_no_proof_in_time_leaves_agreement() -> None:
    assert compare(parse("x + x"), parse("2*x"), timeout=0.001) == "agrees"
