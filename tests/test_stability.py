"""The same form comes out of other draws of networks and points, or it does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.consensus import consensus, divide, peer_ratio, peers
from consilience.analysis.distillation.stability import same_form, stability
from consilience.analysis.distillation.target import Target
from consilience.analysis.formulas.expression import Expression, complexity
from consilience.analysis.formulas.fit import fit, predict
from consilience.analysis.formulas.parsing import parse


def simplest(target: Target, expressions: Sequence[Expression]) -> Expression:
    """Take the simplest within a standard error of the best."""
    ratios = []
    for expression in expressions:
        fits = [fit(expression, target.fit.columns, goal).expression for goal in peers(target.fit.values)]
        said = [predict(one, target.held_out.columns, target.held_out.values.shape[1]) for one in fits]
        ratios.append(peer_ratio(np.stack(said), target.held_out.values, divide(target.held_out.inputs)))
    best = min(ratios, key=lambda ratio: ratio.value)
    near = [e for e, r in zip(expressions, ratios, strict=True) if r.value <= best.value + best.error]
    return min(near, key=complexity)


FRONT = [
    parse(text) for text in ("1.3*a", "1.01*a*b/c**2", "0.99*a*b/c**2 + 0.021*a", "1.02*a*b/c**2.01 + 0.02*sin(a)")
]


def test_a_law_is_chosen_again_and_again() -> None:
    target = planted(["a*b/c**2"] * 6, seed=0, rows=150)
    assert stability(target, FRONT, FRONT[1], simplest, resamples=8, seed=0) == 1.0
    assert stability(target, FRONT, FRONT[0], simplest, resamples=8, seed=0) == 0.0


def test_what_lineages_do_not_agree_on_is_not_stable() -> None:
    target = planted(["a*b/c**2"] * 3 + ["a*b/c**2 + 0.25*a"] * 3, seed=0, rows=150)
    found = simplest(target, FRONT)
    assert stability(target, FRONT, found, simplest, resamples=12, seed=0) < 1.0


def test_the_same_seed_gives_the_same_share() -> None:
    target = planted(["a*b/c**2"] * 3 + ["a*b/c**2 + 0.25*a"] * 3, seed=0, rows=100)
    first, again = (stability(target, FRONT, FRONT[2], simplest, resamples=6, seed=4) for _ in range(2))
    assert first == again


def test_resamples_hold_no_lineage_twice_and_at_least_three() -> None:
    seen: list[np.ndarray] = []

    def look(target: Target, expressions: Sequence[Expression]) -> Expression:
        seen.append(target.fit.values)
        return expressions[0]

    target = planted(["a*b/c**2"] * 5, seed=0)
    stability(target, FRONT, FRONT[0], look, seed=0)
    assert len(seen) == 20
    for values in seen:
        assert 3 <= len(values) <= 5
        assert len(np.unique(values, axis=0)) == len(values)
    assert not np.array_equal(consensus(seen[0])[:9], consensus(seen[1])[:9])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.37*x**2 - y", "x**2*0.9 + 1.2*y"),
        ("x - 1.3*y", "x + 0.2*y"),
        ("2*x + y", "2.003*x + y"),
        ("1.2*(x + y)", "-0.7*(y + x)"),
        ("x**2.001", "x**2"),
        ("exp(-1.3*x)", "exp(0.4*x)"),
        ("1.3*x", "x"),
        ("sin(x)/y", "1.01*sin(x)/(2*y)"),
        ("x**2 + 1.3*x**3", "1.3*x**3 + x**2"),
    ],
)
def test_forms_are_the_same_up_to_the_values_of_free_numbers(left: str, right: str) -> None:
    assert same_form(parse(left), parse(right))
    assert same_form(parse(right), parse(left))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1.37*x**2", "1.37*x**3"),
        ("x - y", "x + y"),
        ("sin(1.3*x)", "cos(1.3*x)"),
        ("1.3*x", "1.3*y"),
        ("2*x", "x"),
        ("x*y", "x/y"),
    ],
)
def test_other_forms_are_others(left: str, right: str) -> None:
    assert not same_form(parse(left), parse(right))
