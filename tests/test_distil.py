"""Planted laws behind imperfect witnesses: smooth mistakes that each makes alone, and some that all share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from consilience.analysis.distillation.distil import Distillation, distil
from consilience.analysis.distillation.search import ENGINES
from consilience.analysis.distillation.target import Sample, Target
from consilience.analysis.formulas.expression import constants, evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import compare

BOX = {"a": (1.0, 4.0), "b": (1.0, 4.0), "c": (1.0, 3.0)}
Function = Callable[[np.ndarray], np.ndarray]


def smooth(random: np.random.Generator, size: float) -> Function:
    """A random smooth function of the inputs with the given standard deviation, as mistakes of networks are."""
    directions, phases = random.normal(size=(40, 3)), random.uniform(0, 2 * np.pi, 40)
    return lambda rows: size * np.sqrt(2 / 40) * np.cos(rows @ directions.T + phases).sum(axis=1)


def target(law: str, *, lineages: int = 10, mistake: float = 0.01, shared: float = 0.0, seed: int = 0) -> Target:
    random = np.random.default_rng(seed)
    low, high = np.array([*BOX.values()]).T
    rows = [random.uniform(low, high, size=(400, 3)) for _ in range(2)]
    outside = random.uniform(low - 0.3, high + 0.3, size=(1500, 3))
    outside = outside[((outside < low) | (outside > high)).any(axis=1)][:300]
    columns = [dict(zip(BOX, r.T, strict=True)) for r in (*rows, outside)]
    scale = max(evaluate(parse(law), columns[0]).std(), 1e-6)
    own = [smooth(random, mistake * scale) for _ in range(lineages)]
    common = smooth(random, shared * scale)
    samples = [
        Sample(r, c, np.stack([evaluate(parse(law), c) + f(r) + common(r) for f in own]))
        for r, c in zip((*rows, outside), columns, strict=True)
    ]
    return Target("y", *samples)


def distilled(law: str, *, restarts: int = 3, **planted: float) -> Distillation:
    return distil(
        target(law, **planted),  # type: ignore[arg-type]
        engine=ENGINES["operon"],
        restarts=restarts,
        evaluations=40_000,
        seed=0,
    )


@pytest.mark.parametrize("law", ["a*b/c**2", "3*a - 2*b", "a**2*b"])
def test_laws_of_the_ladder_come_out_exactly(law: str) -> None:
    exact = 0
    for seed in range(4):
        found = distil(target(law, mistake=0.003, seed=seed), engine=None, restarts=0, evaluations=0, seed=0)
        assert found.status == "equation"
        exact += compare(found.chosen.expression, parse(law)) == "proved"
    assert exact >= 3  # one number in twenty lies outside the window that snapping looks through


def test_what_does_not_vary_is_no_law() -> None:
    found = distil(target("7.3 + 0*a", mistake=1e-3), engine=None, restarts=0, evaluations=0, seed=0)
    assert found.status == "no_equation"
    assert "nothing that varies" in found.reason


def test_search_finds_what_the_ladder_cannot() -> None:
    found = distilled("a/(b + c)", mistake=0.003, shared=0.001)
    assert found.status == "equation"
    assert compare(found.chosen.expression, parse("a/(b + c)")) == "proved"
    assert (found.chosen.source, found.searched) == ("operon", "operon")
    assert 0.8 < found.chosen.ratio.value < 1.25  # type: ignore[union-attr]


def test_what_the_ladder_finds_bears_its_name_whatever_engine_was_asked_for() -> None:
    found = distilled("a*b/c**2", mistake=0.003)
    assert compare(found.chosen.expression, parse("a*b/c**2")) == "proved"
    assert (found.chosen.source, found.searched) == ("ladder", "")
    assert all(candidate.source == "ladder" for candidate in found.front)


def test_constants_come_with_an_interval_that_holds_the_truth() -> None:
    found = distil(target("2.34*a*b/c**2"), engine=None, restarts=0, evaluations=0, seed=0)
    factor, exponent = found.estimates
    assert factor.low < 2.34 < factor.high
    assert factor.exact is None
    assert exponent.exact == 2
    assert exponent.low < 2 < exponent.high
    assert constants(found.chosen.expression)[0] == pytest.approx(2.34, rel=0.01)


def test_shared_mistakes_are_not_learned() -> None:
    found = distilled("a*b/c**2", shared=0.003, seed=3)
    assert compare(found.chosen.expression, parse("a*b/c**2")) == "proved"


def test_networks_that_do_not_agree_yield_no_equation() -> None:
    found = distilled("0*a", mistake=1.0, restarts=1)
    assert found.status == "no_equation"
    assert "agree on nothing" in found.reason


def test_one_network_has_no_peers_and_says_so() -> None:
    found = distil(target("3*a - 2*b", lineages=1), engine=None, restarts=0, evaluations=0, seed=0)
    assert found.chosen.ratio is None
    assert "no peers" in found.reason


def test_evidence_is_complete() -> None:
    found = distil(target("a*b/c**2"), engine=None, restarts=0, evaluations=0, seed=0)
    assert found.evidence.fidelity > 0.999
    assert len(found.evidence.agreement) == 10
    assert found.evidence.peer_agreement > 0.999
    assert found.evidence.extrapolation > 0.99
    assert [c.complexity for c in found.front] == sorted(c.complexity for c in found.front)


def test_same_seed_same_answer() -> None:
    first, again = distilled("a/(b + c)", restarts=1), distilled("a/(b + c)", restarts=1)
    assert first == again
