"""Curves of one variable are told apart by their shape, with noise on them, whatever their factor and offset."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.distillation.curves import curves
from consilience.analysis.formulas.expression import constants, evaluate, variables
from consilience.analysis.formulas.fit import fit
from consilience.analysis.formulas.parsing import parse

CURVES = {
    "2*log(x) - 1": (0.2, 5.0),
    "sin(3*x)": (1.0, 5.0),
    "1/sqrt(1 - x**2)": (0.1, 0.7),
    "exp(-x)": (0.1, 6.0),
    "1/(x + 1)": (0.2, 5.0),
    "x/(exp(0.3*x) - 1)": (0.2, 5.0),
    "3*x**2.5": (1.0, 4.0),
    "sin(2*x + 0.7)": (0.0, 3.0),
    "x - x**3": (-1.0, 1.0),
    "x": (-3.0, 1.0),
}


@pytest.mark.parametrize("law", CURVES)
def test_shapes_are_found(law: str) -> None:
    random = np.random.default_rng(0)
    x = random.uniform(*CURVES[law], 300)
    y = evaluate(parse(law), {"x": x})
    noise = 0.002 * y.std()
    found = curves(x, y + noise * random.normal(size=len(x)), noise=noise)
    assert any(fit(one.expression, {"x": x}, y, steps=60).error < 1e-6 * y.std() for one in found[:2])


def test_the_simplest_of_equals_comes_first() -> None:
    x = np.linspace(1.0, 2.0, 100)
    best = curves(x, 3.0 * x, noise=0.01)[0].expression
    assert variables(best) == ("x",)
    assert constants(best) == pytest.approx((3.0,))


def test_a_constant_variable_gives_nothing_but_its_value() -> None:
    assert all(np.isfinite(one.error) for one in curves(np.full(50, 2.0), np.ones(50), noise=0.1))
