"""What a number of points is worth follows from how smooth the mistakes at them are."""

from __future__ import annotations

import numpy as np
import pytest
from planted import smooth

from consilience.analysis.distillation.mistakes import complement, learn_mistakes

INPUTS = np.random.default_rng(0).uniform(-1.7, 1.7, (150, 3))
NOTHING = np.zeros((150, 0))


def test_mistakes_that_every_point_makes_alone_are_worth_every_point() -> None:
    alone = np.random.default_rng(1).normal(size=(12, 150))
    assert learn_mistakes(alone, INPUTS, NOTHING).effective > 100


def test_smooth_mistakes_are_worth_few_points() -> None:
    random = np.random.default_rng(2)
    mistakes = np.stack([smooth(random, 3, 1.0)(INPUTS) for _ in range(12)])
    assert 3 < learn_mistakes(mistakes, INPUTS, NOTHING).effective < 30


def test_the_variance_along_a_direction_that_a_fit_took_away_is_not_missed() -> None:
    random, axis = np.random.default_rng(3), INPUTS[:, :1]
    found, true = [], []
    for _ in range(10):
        mistakes = np.stack([smooth(random, 3, 1.0)(INPUTS) for _ in range(10)])
        along = mistakes @ axis / np.linalg.norm(axis)
        left = mistakes - (along / np.linalg.norm(axis)) @ axis.T
        found.append(learn_mistakes(left, INPUTS, axis).along(axis.T).value)
        true.append(np.square(along).mean())
    assert 0.5 < np.mean(found) / np.mean(true) < 3.0
    assert np.mean(true) > 10  # along one of independent points it would be 1


@pytest.mark.parametrize("lineages", [2, 3])
def test_few_lineages_and_no_mistakes_at_all_are_no_trouble(lineages: int) -> None:
    found = learn_mistakes(np.zeros((lineages, 150)), INPUTS, np.ones((150, 1)))
    assert found.along(np.ones((lineages, 150))).value == 0.0


def test_axes_of_all_else_are_at_right_angles() -> None:
    tangent = np.column_stack([INPUTS, INPUTS[:, 0] * 2.0, np.zeros(150)])
    rest = complement(tangent)
    assert rest.shape == (150, 147)
    assert np.abs(tangent.T @ rest).max() < 1e-9
