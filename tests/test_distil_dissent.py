"""A lineage that learned something else neither spoils an equation nor is lost from its evidence."""

from __future__ import annotations

from dataclasses import replace

from planted import planted

from consilience.analysis.distillation.distil import distil
from consilience.analysis.distillation.distil_evidence import weigh
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import compare


def test_a_dissenter_is_left_out_and_named() -> None:
    target = planted(["a*b/c"] * 5 + ["a*b/c + 0.8*cos(2*b)"], seed=3, mistake=0.003)
    target = replace(target, lineages=tuple("abcdef"))
    found = distil(target, engine=None, restarts=0, evaluations=0, seed=0)
    assert compare(found.chosen.expression, parse("a*b/c")) == "proved"
    assert "1 of 6 lineages dissents and is left out: f" in found.reason
    assert len(found.evidence.agreement) == 6
    assert found.chosen.ratio is not None
    assert found.chosen.ratio.value < 1.5
    assert max(found.chosen.ratio.each) == found.chosen.ratio.each[5]
    weighed, support = weigh(found, target, seed=0)
    assert [one.lineage for one in support.dissenters] == [5]
    assert len(weighed.evidence.agreement) == 6
    assert weighed.chosen.expression == found.chosen.expression


def test_those_who_agree_are_all_kept() -> None:
    found = distil(planted(["a*b/c"] * 5, seed=4), engine=None, restarts=0, evaluations=0, seed=0)
    assert found.chosen.ratio is not None
    assert len(found.chosen.ratio.each) == 5
