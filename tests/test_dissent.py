"""A lineage that knows another law is named; where all know one, nobody is."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.consensus import consensus
from consilience.analysis.distillation.dissent import dissenters, without
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

LAW, OTHER = "2.3*a*b/c**2", "2.6*a*b/c**2"


def named(laws: list[str], seed: int, **planted_with: float) -> list[int]:
    found = dissenters(planted(laws, seed=seed, **planted_with), parse(LAW))  # type: ignore[arg-type]
    return [one.lineage for one in found]


@pytest.mark.parametrize("other", [OTHER, "2.3*a*b/c**2 + 0.3*a", "2.3*a*b/c**1.8"])
def test_two_of_ten_that_know_another_law_are_named(other: str) -> None:
    for seed in range(5):
        assert named([LAW] * 8 + [other] * 2, seed) == [8, 9]


def test_one_of_five_is_named() -> None:
    assert named([LAW, OTHER, LAW, LAW, LAW], 0) == [1]


@pytest.mark.parametrize("lineages", [4, 5, 10])
def test_nobody_is_named_where_all_know_one_law(lineages: int) -> None:
    assert sum(bool(named([LAW] * lineages, seed)) for seed in range(20)) <= 1


def test_a_law_that_is_not_quite_right_makes_nobody_dissent() -> None:
    target = planted([LAW] * 6, seed=0)
    assert dissenters(target, parse("2.3*a*b/c**1.5")) == ()


def test_three_lineages_cannot_say_who_dissents() -> None:
    assert named([LAW, LAW, OTHER], 0) == []


def test_the_consensus_without_them_is_the_others() -> None:
    target = planted([LAW] * 8 + [OTHER] * 2, seed=0, asked=True)
    assert target.functions is not None
    found = dissenters(target, parse(LAW))
    assert json.loads(json.dumps([asdict(one) for one in found]))[0]["ratio"] > 5
    left = without(target, [one.lineage for one in found])
    assert left.fit.values.shape[0] == 8
    assert left.functions is not None
    rows = left.functions.draw(50, 0)
    assert np.array_equal(left.functions.values(rows), target.functions.values(rows)[:8])
    truth = evaluate(parse(LAW), left.held_out.columns)
    mean = consensus(left.held_out.values)
    assert np.abs(mean - truth).mean() < 0.5 * np.abs(consensus(target.held_out.values) - truth).mean()
