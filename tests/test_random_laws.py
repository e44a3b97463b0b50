"""Laws that are drawn by a seed are the same ones again, and worth learning."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "data" / "recipes"))

from laws import Law  # noqa: E402
from random_laws import LEAST, random_laws  # noqa: E402

from consilience.analysis.formulas.expression import complexity, variables  # noqa: E402

LAWS = random_laws(12, seed=3)


def test_a_seed_draws_the_same_laws_and_goes_on_from_them() -> None:
    assert random_laws(5, seed=3) == LAWS[:5]
    assert random_laws(5, seed=4) != LAWS[:5]
    assert len({law.formula for law in LAWS}) == len(LAWS)


@pytest.mark.parametrize("law", LAWS, ids=[law.formula for law in LAWS])
def test_every_quantity_matters_and_nothing_explodes(law: Law) -> None:
    rows = law.draw(2000, seed=9)
    values = law(rows)
    assert np.isfinite(values).all()
    assert set(variables(law.expression)) == set(law.box)
    assert complexity(law.expression) <= 21
    for place in range(rows.shape[1]):
        other = rows.copy()
        other[:, place] = np.roll(other[:, place], 1)
        assert np.mean((law(other) - values) ** 2) / 2 > 0.5 * LEAST * values.var()


def test_networks_of_the_first_laws_are_there() -> None:
    folders = {law.folder for law in random_laws(10, seed=0)}
    assert folders <= {path.parent.name for path in (ROOT / "data" / "random").glob("*/zoo.toml")}
