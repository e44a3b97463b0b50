from __future__ import annotations

import itertools

import numpy as np
import pytest

from consilience.analysis.distillation.ladder import ladder, sparse_polynomials
from consilience.analysis.formulas.expression import complexity, evaluate
from consilience.analysis.formulas.parsing import parse

RANDOM = np.random.default_rng(1)
COLUMNS = dict(zip("abc", RANDOM.uniform(0.5, 3.0, size=(3, 400)), strict=True))


@pytest.mark.parametrize(
    ("law", "nodes"),
    [
        ("4.25", 1),
        ("2*a - 3*b + 1", 13),
        ("0.5*a**2*b - 3*c", 14),
        ("7*a**1.5/b**2", 13),
        ("-7*a*c/b**0.5", 13),
        ("a*b - 2*c**3", 16),
    ],
)
def test_simple_laws_stand_on_the_ladder(law: str, nodes: int) -> None:
    values = evaluate(parse(law), COLUMNS)
    exact = [e for e in ladder(COLUMNS, values) if np.allclose(evaluate(e, COLUMNS), values, atol=1e-8)]
    assert exact
    assert min(map(complexity, exact)) <= nodes


def test_ladder_starts_with_the_mean() -> None:
    values = evaluate(parse("a + sin(b)"), COLUMNS)
    first = next(iter(ladder(COLUMNS, values)))
    assert evaluate(first, COLUMNS)[0] == pytest.approx(values.mean())


def test_without_variables_there_is_only_a_constant() -> None:
    assert [complexity(e) for e in ladder({}, np.ones(50))] == [1]


def test_no_power_law_where_signs_change() -> None:
    values = evaluate(parse("a - b"), COLUMNS)
    assert not any("**0." in str(e) for e in ladder(COLUMNS, values))


def test_sparse_polynomials_grow_by_one_term_and_never_fit_worse() -> None:
    values = evaluate(parse("exp(a)*b"), COLUMNS)
    errors = [np.square(evaluate(e, COLUMNS) - values).mean() for e in sparse_polynomials(COLUMNS, values, degree=3)]
    assert len(errors) == 10
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(errors))


def test_units_of_very_different_size_do_not_matter() -> None:
    columns = {"tiny": 1e-9 * COLUMNS["a"], "huge": 1e9 * COLUMNS["b"]}
    values = 3 * COLUMNS["a"] - 2 * COLUMNS["b"]
    assert any(np.allclose(evaluate(e, columns), values, atol=1e-6) for e in ladder(columns, values))
