"""Units are counted beside untrained twins: sums add up, and networks that are twins themselves hardly ever pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consilience.analysis.vision.detector_counts import (
    Count,
    chance,
    count_detectors,
    dispersion,
    shared_by_two,
    twins_apart,
)

KINDS = {"oriented": "orientation", "edge": "orientation", "line": "orientation", "colour": "hue"}


def unit(detector: str, law: str = "von Mises") -> dict[str, Any]:
    return {"detector": detector, "laws": {"orientation": {"law": law}, "hue": {"law": "cosine"}}}


def layer(units: list[dict[str, Any]], *twins: list[str]) -> dict[str, Any]:
    return {"units": units, "twins": list(twins)}


def count(network: str, p: float, q: float = 0.0) -> Count:
    return Count(network, "layer", "edge", 1, 10, 1, 20, p, q, "", "", 0)


@pytest.fixture
def counts() -> dict[str, Count]:
    units = [unit("edge")] * 5 + [unit("line")] * 3 + [unit("line", "cosine")] + [unit("colour"), unit("silent")]
    twin = ["edge"] + ["not reduced"] * 10
    return {one.detector: one for one in count_detectors({"net": {"layer": layer(units, twin, twin)}}, KINDS)}


def test_oriented_are_edges_and_lines_together(counts: dict[str, Count]) -> None:
    oriented = counts["oriented"]
    assert (oriented.units, oriented.of_units, oriented.null_units, oriented.of_null) == (9, 11, 2, 22)
    assert oriented.parts == "edge, line, orientation"
    assert (oriented.law, oriented.following) == ("von Mises", 8)
    assert oriented.above_null


def test_shares_without_sums_add_up(counts: dict[str, Count]) -> None:
    apart = [one for one in counts.values() if not one.parts]
    assert sum(one.units for one in apart) == 11
    assert sum(one.null_units for one in apart) == 22


def test_what_detects_nothing_is_above_nothing(counts: dict[str, Count]) -> None:
    assert counts["silent"].q is None
    assert not counts["silent"].above_null


@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 1.0, 1.3), (0.02, 2.0, 4.0)])
def test_twins_tell_by_how_much_they_differ(spread: float, low: float, high: float) -> None:
    random = np.random.default_rng(0)
    shares = random.beta(0.3 / spread, 0.7 / spread, size=(60, 2)) if spread else np.full((60, 2), 0.3)
    layers = [(tuple(counts), (96, 96)) for counts in random.binomial(96, shares).tolist()]
    assert low <= dispersion(layers) < high


def test_without_twins_that_differ_nothing_is_known_of_their_spread() -> None:
    assert dispersion([]) == dispersion([((0, 0), (9, 9))]) == dispersion([((3,), (9,))]) == 1.0


@pytest.mark.parametrize("spread", [1e-6, 0.009])
def test_networks_that_are_twins_pass_no_more_often_than_they_may(spread: float) -> None:
    """As in the real zoo, where twins' counts of oriented units vary 1.8 times as much as binomial ones."""
    random, passed, of = np.random.default_rng(1), 0, 0
    for _ in range(150):
        shares = random.beta(0.35 / spread, 0.65 / spread, size=(8, 3))
        zoo = [(own[0], own[1:]) for own in random.binomial(96, shares).tolist()]
        apart = dispersion([(twins, (96, 96)) for _, twins in zoo])
        passed += sum(chance(own, 96, sum(twins), 192, apart) <= 0.05 for own, twins in zoo)
        of += len(zoo)
    assert passed / of < 0.075


def test_every_twin_is_held_against_the_others() -> None:
    alike, other = ["edge"] * 20 + ["silent"] * 20, ["silent"] * 40
    same = {"net": {"layer": layer([unit("edge")], alike, alike, alike)}}
    odd = {"net": {"layer": layer([unit("edge")], alike, other, other, other, other)}}
    assert twins_apart(same) == (0, 6)  # as edges and as oriented units
    assert twins_apart(odd)[1] == 10


def test_one_lineage_alone_shares_nothing() -> None:
    lineage = {"a": "a", "b": "b", "c": "c"}
    assert shared_by_two([count("a", 1e-9)], lineage) == 1.0
    assert shared_by_two([count("a", 1e-9), count("b", 0.4)], lineage) == pytest.approx(0.8)
    assert shared_by_two([count("a", 1e-9), count("b", 1e-4)], lineage) == pytest.approx(2e-4)


def test_a_lineage_asked_often_must_answer_more_clearly() -> None:
    lineage = {"a": "one", "b": "two", "c": "two"}
    few = [count("a", 1e-9), count("b", 0.01)]
    assert shared_by_two(few, lineage) == pytest.approx(0.01)
    assert shared_by_two([*few, count("c", 0.9), count("c", 0.9)], lineage) == pytest.approx(0.03)
    assert shared_by_two(few, {"a": "one", "b": "one"}) == 1.0
