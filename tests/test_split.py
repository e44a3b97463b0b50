"""Which variables can be split off or merged is read off values and slopes, and not where it is not so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.combine import merges, near_simple
from consilience.analysis.distillation.outer import OUTER, transformed
from consilience.analysis.distillation.problem import Problem, differences, merged, survey, whole
from consilience.analysis.distillation.split import factor_of, parts, split
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

BOX = dict.fromkeys("xyz", (1.0, 4.0))


def problem(law: str, *, mistake: float = 0.002, names: Sequence[str] = "xyz") -> Problem:
    box = {name: BOX[name] for name in names}
    functions = planted([law] * 5, seed=0, mistake=mistake, box=box, asked=True).functions
    assert functions is not None
    return whole(functions, samples=300, seed=1)


@pytest.mark.parametrize(
    ("law", "merge"),
    [
        ("sin(x - y)*z", "x - y"),
        ("z + sqrt(x*y)", "x*y"),
        ("z*exp(-x/y)", "x/y"),
        ("(x**2 + 3*y**2)*z", "x**2 + 3*y**2"),
    ],
)
def test_variables_that_enter_together_are_merged(law: str, merge: str) -> None:
    assert merges(survey(problem(law)))[0].expression == parse(merge)


def test_variables_that_enter_apart_are_not_merged() -> None:
    assert not [one for one in merges(survey(problem("x*sin(3*y) + z*cos(2*x)"))) if one.certain]


def test_a_slope_along_a_compound_is_that_of_the_outer_function() -> None:
    field = survey(merged(problem("sin(x - y)*z", mistake=0.0), 0, 1, parse("x - y")))
    columns = dict(zip("xyz", field.problem.rows.T, strict=True))
    assert field.partials[0][:, 1] == pytest.approx(evaluate(parse("z*cos(x - y)"), columns), abs=1e-5)


def test_a_factor_is_split_off() -> None:
    given = problem("sin(x)*(y + z)")
    found = split(given, 0)
    assert found is not None
    assert found.pure
    assert abs(np.corrcoef(found.curve, np.sin(found.values))[0, 1]) > 0.9999
    rest = factor_of(given, found)
    truth = rest.rows[:, 1] + rest.rows[:, 2]
    assert np.corrcoef(rest.values(rest.rows).mean(axis=0), truth)[0, 1] > 0.999


def test_a_product_with_an_offset_is_split_in_two() -> None:
    given = problem("y + z*x**2")
    found = split(given, 0)
    assert found is not None
    assert not found.pure
    offset, slope = parts(given, found, np.square(found.values))
    assert offset.values(given.rows).mean(axis=0) == pytest.approx(given.rows[:, 1], abs=0.3)
    assert slope.values(given.rows).mean(axis=0) == pytest.approx(given.rows[:, 2], abs=0.1)


def test_what_does_not_fall_apart_is_not_split() -> None:
    assert split(problem("sin(x*y) + z*x*y**x"), 0) is None


def test_an_outer_function_is_undone_where_it_is_defined() -> None:
    given = problem("sqrt(x**2 + y**2 + z)")
    inner = transformed(given, OUTER[0])
    assert inner is not None
    assert split(inner, 2) is not None
    assert transformed(problem("x - y"), OUTER[2]) is None


def test_differences_are_slopes() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, (20, 2))
    slopes = differences(lambda rows: (rows[:, 0] ** 2 * rows[:, 1])[None], np.ones(2))(rows)
    assert slopes[0] == pytest.approx(np.column_stack([2 * rows[:, 0] * rows[:, 1], rows[:, 0] ** 2]), rel=1e-5)


def test_ratios_near_simple_ones_are_taken_for_them() -> None:
    assert [near_simple(value) for value in (1.98, -0.505, 0.66, 2.3)] == [2.0, -0.5, 2 / 3, 2.3]
