from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.formulas.expression import complexity, constants, evaluate
from consilience.analysis.formulas.fit import condense, fit, free, is_simple, prune, simple_near
from consilience.analysis.formulas.parsing import parse

RANDOM = np.random.default_rng(2)
COLUMNS = dict(zip("xyz", RANDOM.uniform(0.5, 3.0, size=(3, 300)), strict=True))


@pytest.mark.parametrize(
    ("value", "simple"),
    [(2.0, True), (-0.5, True), (1 / 3, True), (0.75, True), (0.2, False), (1.0001, False), (25.0, False)],
)
def test_simple_numbers(value: float, simple: bool) -> None:
    assert is_simple(value) is simple


def test_structure_is_not_free() -> None:
    assert free(parse("1.7*x**2 + 3*y")) == (0,)


def test_fit_recovers_constants_and_leaves_structure() -> None:
    values = evaluate(parse("2.37*x**2/(y + 0.61)"), COLUMNS)
    found = fit(parse("1.1*x**2/(y + 0.9)"), COLUMNS, values)
    assert constants(found.expression) == pytest.approx((2.37, 2, 0.61))
    assert found.error < 1e-7


def test_fitted_numbers_stay_free() -> None:
    values = evaluate(parse("2*x"), COLUMNS)
    found = fit(parse("1.1*x"), COLUMNS, values).expression
    assert constants(found) == pytest.approx((2.0,))
    assert free(found) == (0,)


def test_fit_of_what_has_no_value_is_infinitely_wrong() -> None:
    assert fit(parse("log(x - 1.1)"), COLUMNS, COLUMNS["y"]).error == float("inf")


@pytest.mark.parametrize(
    ("redundant", "nodes"),
    [
        ("1.3*(0.7*x + 0.23*y + 0.11)", 9),
        ("(1.2*x)*(0.9*y)/(1.1*z)**2", 9),
        ("0.9*(1.1*y + sqrt((1.3*y)**2 + 1.7*z))*(0.8*x)", 16),
        ("1.5*x + 0.7*x", 3),
    ],
)
def test_condense_drops_what_makes_no_difference(redundant: str, nodes: int) -> None:
    values = evaluate(parse(redundant), COLUMNS)
    short = condense(parse(redundant), COLUMNS, values)
    assert complexity(short.expression) <= nodes
    assert short.error < 1e-4 * values.std()


def test_prune_takes_away_what_does_not_earn_its_length() -> None:
    values = evaluate(parse("1.9*x*y"), COLUMNS) + 0.05 * RANDOM.normal(size=300)
    long = fit(parse("1.8*x*y + 0.01*sin(3.3*z) - 0.002*x"), COLUMNS, values).expression
    short = prune(long, COLUMNS, values, loss=lambda e, error: np.log(error) + 0.05 * complexity(e))
    assert complexity(short.expression) == 5


@pytest.mark.parametrize(
    ("value", "error", "simple"),
    [
        (1.0004, 0.0003, 1.0),
        (-1.9996, 0.0004, -2.0),
        (0.4999, 0.0002, 0.5),
        (0.3334, 0.0002, 1 / 3),
        (19.62, 0.15, None),  # 19.5 lies within, but so would something for any number
        (1.01, 0.001, None),  # ten standard errors away
        (0.0001, 0.001, None),  # nothing is no number to snap to
        (9.81, 0.004, None),
    ],
)
def test_snapping_needs_to_be_no_accident(value: float, error: float, simple: float | None) -> None:
    assert simple_near(value, error) == simple


def test_snapping_by_chance_is_rare() -> None:
    values, errors = RANDOM.uniform(0.1, 20, 5000), 10 ** RANDOM.uniform(-4, -1, 5000)
    snapped = [simple_near(float(v), float(e)) for v, e in zip(values, errors, strict=True)]
    assert np.mean([s is not None for s in snapped]) < 0.1
