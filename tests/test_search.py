from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from consilience.analysis.expression import Variable, evaluate
from consilience.analysis.parsing import parse
from consilience.analysis.search import ALPHABETS, from_pysr, operon, pysr
from consilience.zoo.errors import MissingExtra

RANDOM = np.random.default_rng(3)
COLUMNS = dict(zip("abc", RANDOM.uniform(1.0, 3.0, size=(3, 200)), strict=True))

needs_operon = pytest.mark.skipif(
    importlib.util.find_spec("pyoperon") is None, reason="pyoperon has no wheel for this platform"
)


@needs_operon
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_operon_fronts_are_our_trees_and_the_same_twice(alphabet: tuple[str, ...]) -> None:
    values = evaluate(parse("a*b/c - sin(a)"), COLUMNS)
    first = operon(COLUMNS, values, alphabet=alphabet, evaluations=20_000, seed=5)
    again = operon(COLUMNS, values, alphabet=alphabet, evaluations=20_000, seed=5)
    assert first == again
    errors = [np.sqrt(np.mean(np.square(evaluate(e, COLUMNS) - values))) for e in first]
    assert min(errors) < 0.2 * values.std()
    assert max(errors) < 1.5 * values.std()  # every member is read back with the values that Operon saw


@needs_operon
def test_operon_does_not_mind_units() -> None:
    values = 1e-12 * COLUMNS["a"] * COLUMNS["b"]
    found = operon(COLUMNS, values, alphabet=ALPHABETS[0], evaluations=20_000, seed=1)
    assert any(np.allclose(evaluate(e, COLUMNS), values, rtol=1e-4, atol=0) for e in found)


def test_missing_operon_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pyoperon is not installed") as caught:
        operon(COLUMNS, COLUMNS["a"], alphabet=(), evaluations=1000, seed=0)
    assert "pysr" in caught.value.hint


def test_pysr_text_becomes_our_tree() -> None:
    found = from_pysr("square(v0) * 1.5 + v1 ^ 2.0 / exp(v0)", {"v0": Variable("mass"), "v1": Variable("speed")})
    columns = {"mass": COLUMNS["a"], "speed": COLUMNS["b"]}
    expected = 1.5 * COLUMNS["a"] ** 2 + COLUMNS["b"] ** 2 / np.exp(COLUMNS["a"])
    assert np.allclose(evaluate(found, columns), expected)


def test_no_julia_is_one_clear_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> None:
        raise OSError("no route to the download")

    monkeypatch.setattr("importlib.import_module", unreachable)
    with pytest.raises(MissingExtra, match="cannot start Julia: no route") as caught:
        pysr(COLUMNS, COLUMNS["a"], alphabet=("exp",), evaluations=1000, seed=0)
    assert "operon" in caught.value.hint


def test_pysr_is_not_imported_before_its_engine_is_asked_for() -> None:
    assert "pysr" not in sys.modules
