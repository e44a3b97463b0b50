from __future__ import annotations

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.nested import Nested
from consilience.analysis.formulas.parsing import parse

LAWS = ["2.31*a + 0.72*b*c", "2.31*a + 1.43*b*c", "2.31*a + 2.17*b*c"]


def test_numbers_that_are_shared_and_numbers_that_are_not_are_fitted_together() -> None:
    model = Nested(parse("1.5*a + 1.51*b*c"), planted(LAWS, seed=0, mistake=1e-6).fit)
    fitted = model.fit([1], model.start)
    assert fitted[:, 0] == pytest.approx([2.31] * 3, rel=1e-4)
    assert fitted[:, 1] == pytest.approx([0.72, 1.43, 2.17], rel=1e-4)


def test_exponents_of_what_is_not_positive_stay() -> None:
    box = {"x": (-1.0, 1.0), "y": (1.0, 2.0)}
    model = Nested(parse("1.3*x**2.0*y**3.0"), planted(["x", "y"], seed=0, box=box).fit)
    assert model.places == [0, 2]


def test_a_split_explains_what_lineages_differ_by() -> None:
    target = planted(LAWS, seed=0)
    model = Nested(parse("2.31*a + 1.44*b*c"), target.fit)
    mistakes = model.mistakes()
    right, wrong = (model.split(place, [], model.start, mistakes) for place in (1, 0))
    assert right.explained > wrong.explained
    assert right.p < 0.01
    after = model.fit([1], model.start)
    assert model.split(0, [1], after, mistakes).p > 0.05
    assert np.square(model.goal - model.values(after)).sum() < 0.01 * right.explained
