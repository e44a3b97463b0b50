from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.gradient_agreement import gradient_agreement
from consilience.analysis.distillation.target import Target
from consilience.analysis.formulas.parsing import parse

LAW = "a*b/c**2"


def asked(**settings: float) -> Target:
    return planted([LAW] * 5, seed=0, asked=True, **settings)  # type: ignore[arg-type]


def test_a_law_points_where_networks_point_as_far_as_they_agree() -> None:
    found = gradient_agreement(asked(), parse(LAW))
    assert found is not None
    assert len(found.each) == len(found.each_peers) == 5
    assert 0.99 < found.peers <= found.value <= 1.0
    assert found.value == pytest.approx(np.mean(found.each))
    assert json.loads(json.dumps(asdict(found)))["peers"] == found.peers


def test_another_function_points_elsewhere() -> None:
    wrong = gradient_agreement(asked(), parse("a + b**2 + c"))
    assert wrong is not None
    assert wrong.value < 0.9 * wrong.peers


def test_units_of_inputs_do_not_matter() -> None:
    box = {"a": (1.0, 4.0), "b": (1000.0, 4000.0), "c": (1.0, 3.0)}
    target = planted(["a*b/c**2"] * 2, seed=0, box=box, asked=True, mistake=0.0)
    found = gradient_agreement(target, parse("a*b/c**2"))
    wrong = gradient_agreement(target, parse("b/c**2"))
    assert found is not None
    assert wrong is not None
    assert found.value == pytest.approx(1.0, abs=1e-4)
    assert wrong.value < 0.99


def test_slopes_are_used_where_there_are_any() -> None:
    target = asked()
    assert target.functions is not None
    flat = replace(target.functions, slopes=lambda rows: np.tile([0.0, 0.0, 2.0], (5, len(rows), 1)))
    found = gradient_agreement(replace(target, functions=flat), parse("3*c"))
    assert found is not None
    assert found.each == pytest.approx([1.0] * 5)


def test_links_may_fall() -> None:
    target = asked()
    assert target.functions is not None
    ask, signs = target.functions.values, np.array([1.0, -1.0, 1.0, -1.0, 1.0])[:, None]
    turned = replace(target.functions, values=lambda rows: signs * np.exp(ask(rows) / 5.0))
    linked = gradient_agreement(replace(target, functions=turned, linked=True), parse(LAW))
    assert linked is not None
    assert min(linked.each) > 0.99
    assert linked.peers > 0.99


def test_a_single_network_has_no_peers() -> None:
    found = gradient_agreement(planted([LAW], seed=0, asked=True), parse(LAW))
    assert found is not None
    assert found.value > 0.99
    assert np.isnan(found.peers)


def test_nothing_is_said_where_nothing_can_be_asked() -> None:
    assert gradient_agreement(planted([LAW] * 3, seed=0), parse(LAW)) is None
    assert gradient_agreement(asked(), parse("a*r")) is None
