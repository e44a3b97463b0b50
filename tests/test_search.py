from __future__ import annotations

import sys

import numpy as np
import pytest

from consilience.analysis.distillation import search
from consilience.analysis.distillation.engine_operon import operon, operon_at_hand
from consilience.analysis.distillation.search import ALPHABETS, ENGINES, resolve, restart
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.fit import fit
from consilience.analysis.formulas.parsing import parse
from consilience.zoo.errors import BadInput, MissingExtra

RANDOM = np.random.default_rng(3)
COLUMNS = dict(zip("abc", RANDOM.uniform(1.0, 3.0, size=(3, 200)), strict=True))

needs_operon = pytest.mark.skipif(not operon_at_hand(), reason="pyoperon has no wheel for this platform")


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


@needs_operon
def test_one_worker_and_two_find_the_same() -> None:
    values = evaluate(parse("a*b/c - sin(a)"), COLUMNS)
    told = {"restarts": 4, "evaluations": 20_000, "seed": 7}
    one, two = (list(restart(ENGINES["operon"], COLUMNS, values, workers=n, **told)) for n in (1, 2))
    assert one == two
    assert one[0] != one[3]  # the same alphabet with another seed


@needs_operon
def test_operon_goes_on_from_guesses() -> None:
    """A structure that so short a search does not find is kept, and its numbers fitted, when it is guessed."""
    truth = parse("7e9*(exp(-a/b)*sqrt(a*a + 2*c*c) + 0.3)")
    values = evaluate(truth, COLUMNS)
    guess = parse("1e9*exp(-1.2*a/b)*sqrt(a*a + 1.5*c*c)")

    def best(guesses: list) -> float:  # type: ignore[type-arg]
        told = {"alphabet": ALPHABETS[1], "evaluations": 20_000, "seed": 2, "guesses": guesses}
        return min(fit(one, COLUMNS, values).error for one in operon(COLUMNS, values, **told))

    assert best([]) > 1e-3 * values.std()
    assert best([guess]) < 1e-5 * values.std()
    assert operon(COLUMNS, values, alphabet=(), evaluations=5_000, seed=0, guesses=[parse("asin(a/4)")])[-1] == parse(
        "asin(a/4)"
    )


def test_auto_takes_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "operon_at_hand", lambda: True)
    assert resolve("auto") is ENGINES["operon"]
    monkeypatch.setattr(search, "operon_at_hand", lambda: False)
    monkeypatch.setattr(search, "julia_at_hand", lambda: True)
    assert resolve("auto") is ENGINES["pysr"]
    monkeypatch.setattr(search, "julia_at_hand", lambda: False)
    with pytest.warns(UserWarning, match="neither pyoperon nor Julia: the ladder stands alone"):
        assert resolve("auto") is None


def test_engines_go_by_their_names() -> None:
    assert resolve("none") is None
    assert all(resolve(name) is engine for name, engine in ENGINES.items())
    with pytest.raises(BadInput, match="no engine 'eureqa'") as caught:
        resolve("eureqa")
    assert "operon" in caught.value.hint


def test_pysr_is_not_imported_before_its_engine_is_asked_for() -> None:
    assert "pysr" not in sys.modules
