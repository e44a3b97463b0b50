"""Anything can be distilled, in terms of anything; what is not there is told with what to type."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.formulas.parsing import parse
from consilience.analysis.project.study import Study, open_study
from consilience.analysis.reports.records import equations, query
from consilience.analysis.reports.show import describe
from consilience.analysis.stages.distil_choice import Asked, budgeted, choose, with_settings
from consilience.analysis.stages.distil_target import functions_of, make_target, terms_of
from consilience.analysis.stages.ground import Ground, ground_of
from consilience.analysis.stages.run import distil, plan
from consilience.analysis.stages.stage_cluster import Clustered, Feature, cluster
from consilience.analysis.stages.witness import Witness, witness
from consilience.zoo.errors import BadInput, ConsilienceError, NotFound


@pytest.fixture(scope="module")
def study(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return open_study(shutil.copytree(pristine, tmp_path_factory.mktemp("choice") / "tiny"))


@pytest.fixture(scope="module")
def found(study: Study) -> Clustered:
    return cluster(study)


@pytest.fixture(scope="module")
def ground(study: Study, found: Clustered) -> Ground:
    return ground_of(study, {seen.network.name: seen for seen in found.observed})


def chosen(study: Study, found: Clustered, asked: Asked) -> tuple[Feature, ...]:
    return choose(study, found.features, {seen.network.name: seen.network for seen in found.observed}, asked)


def test_features_outputs_and_units_are_found_by_name(study, found):
    (output,) = chosen(study, found, Asked(("y",)))
    assert output.id == "F1"
    assert chosen(study, found, Asked(("f1", "F1"), output="y")) == (output,)
    (unit,) = chosen(study, found, Asked(("relu-1/0:3",)))
    assert (unit.name, unit.lineages, unit.role, unit.members[0].layer) == ("relu-1/0:3", 1, "hidden", "0")


@pytest.mark.parametrize(
    ("asked", "what", "hint"),
    [
        (Asked(("yy",)), "no feature 'yy'", "did you mean 'y'?"),
        (Asked(("data/digits",)), "no feature 'data/digits'", "consilience features lists them"),
        (Asked(output="z"), "no output 'z'", "there are y"),
        (Asked(("relu-7/0:3",)), "no network that 'relu-7/0:3' is a unit of", "units are called relu-1/LAYER:UNIT"),
        (Asked(("relu-1/9:3",)), "relu-1 has no layer '9'", "there are 0, 2"),
        (Asked(("relu-1/0:8",)), "layer 0 of relu-1 has no unit '8'", "its units are 0 to 7"),
        (Asked(("relu-1/0:x",)), "layer 0 of relu-1 has no unit 'x'", "its units are 0 to 7"),
        (Asked(inner="hidden"), "no network has a module 'hidden'", "there are "),
    ],
)
def test_what_is_not_there_is_told_with_what_is(study, found, asked, what, hint):
    with pytest.raises(NotFound) as caught:
        chosen(study, found, asked)
    assert caught.value.what.startswith(what)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ({"engine": "opron"}, "engine 'opron' is not one of operon, pysr, auto, none", "did you mean 'operon'?"),
        (
            {"budget": "huge"},
            "budget 'huge' is not one of quick, normal, thorough",
            "there are quick, normal, thorough",
        ),
    ],
)
def test_an_engine_or_budget_that_there_is_not(study, said, what, hint):
    with pytest.raises(BadInput) as caught:
        with_settings(study, **said)
    assert (caught.value.what, caught.value.hint) == (what, hint)


def test_a_budget_is_a_number_of_searches_and_evaluations(study):
    table = study.manifest.distil.model_copy(update={"restarts": 6, "evaluations": 400_000})
    numbers = [(one.restarts, one.evaluations) for one in (budgeted(table, b) for b in ("quick", "normal", "thorough"))]
    assert numbers == [(2, 100_000), (6, 400_000), (18, 1_600_000)]
    longer = replace(study, manifest=study.manifest.model_copy(update={"distil": table}))
    assert "at most 18 searches an equation (operon)" in plan(longer, engine="operon", budget="thorough")


def test_terms_are_variables_and_features(study, found, ground):
    output, hidden = found.features[0], next(f for f in found.features if f.role == "hidden")

    def terms(*names: str):  # type: ignore[no-untyped-def]
        return terms_of(study, output, found.features, ground, Asked(terms=names))

    assert terms().variables == ("a", "b")
    assert terms("b").variables == ("b",)
    mixed = terms("b", hidden.id)
    assert mixed.variables == ("b",)
    assert list(mixed.features) == [hidden.id]
    with pytest.raises(BadInput, match="F1 in terms of itself"):
        terms("F1")
    with pytest.raises(NotFound, match="'bb' is neither a variable of the probe nor a feature") as caught:
        terms("bb")
    assert caught.value.hint == "did you mean 'b'?"


def test_a_target_comes_with_the_functions_of_its_members(study, found, ground):
    output = found.features[0]
    said = witness(output, ground)
    terms = terms_of(study, output, found.features, ground, Asked())
    target, effects = make_target(study, "y", said, ground, terms, study.manifest.distil, linked=True)
    assert target.linked
    assert all(effect.kept for effect in effects.values())
    functions = target.functions
    assert functions is not None
    assert (functions.names, functions.free) == (("a", "b"), True)
    rows = functions.draw(100, 3)
    assert rows.shape == (100, 2)
    np.testing.assert_array_equal(functions.draw(100, 3), rows)
    np.testing.assert_allclose(functions.values(rows), said(rows))
    assert functions.slopes is not None
    slopes = functions.slopes(rows)
    assert slopes.shape == (4, 100, 2)
    np.testing.assert_allclose(slopes.mean(axis=(0, 1)), [3.0, -2.0], atol=0.2)
    np.testing.assert_allclose(target.fit.values, said(target.fit.inputs))


def test_what_depends_on_inputs_that_are_not_wanted_is_not_asked_as_a_function(study, found, ground):
    output, hidden = found.features[0], next(f for f in found.features if f.role == "hidden")
    said = witness(output, ground)

    def asked(where: Ground, *names: str) -> bool:
        terms = terms_of(study, output, found.features, where, Asked(terms=names))
        target, _ = make_target(study, "y", said, where, terms, study.manifest.distil, linked=False)
        assert set(target.fit.columns) <= set(names)
        return target.functions is not None

    assert asked(ground, "a", "b")
    assert not asked(ground, "a")
    assert not asked(ground, "a", "b", hidden.id)
    with_sum = replace(ground, derived={"total": parse("a + b")})
    assert asked(with_sum, "total")


def test_slopes_of_what_is_standardised_are_those_of_its_values(study, found, ground):
    for feature in (f for f in found.features if f.role == "hidden" and f.lineages > 1):
        said = witness(feature, ground)
        rows = ground.draw(64, 1)
        values = said(ground.reference)
        np.testing.assert_allclose(values.mean(axis=1), 0.0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=1), 1.0, rtol=1e-3)
        step = 1e-3 * np.eye(2)
        differences = np.stack([(said(rows + one) - said(rows - one)) / 2e-3 for one in step], axis=-1)
        assert np.isclose(said.slopes(rows), differences, rtol=0.02, atol=0.02).mean() > 0.95  # a ReLU may bend there


def test_without_gradients_there_are_no_slopes(study, found, ground, monkeypatch):
    said = witness(found.features[0], ground)
    monkeypatch.setattr(Witness, "differentiable", lambda self, rows: False)
    assert functions_of(said, ground).slopes is None


@pytest.mark.slow
def test_a_feature_reads_as_a_formula_of_others_beside_the_one_in_inputs(study, found):
    """Of one network, the output is the sum of its hidden units, exactly."""
    hidden = [f for f in found.features if f.role == "hidden" and f.kind == "unit"]
    distil(study, only=["y"])
    before = equations(study)
    assert [law.id for law in before] == ["E1"]
    distil(study, only=["y"], variables=[hidden[0].id, "b"])
    first, second = equations(study)
    assert first == before[0]
    assert (second.feature, second.terms) == ("F1", f"{hidden[0].id}, b")
    assert int(second.id[1:]) == len(found.features) + 1
    assert f"in terms of {hidden[0].id}, b" in describe(study, second.id)
    assert f"features that it may be written in: {hidden[0].id}" in describe(study, second.id)
    distil(study, only=["y"], variables=[hidden[0].id, "b"])  # again: the same number
    assert len(equations(study)) == 2
    distil(study)
    assert {law.id for law in equations(study)} >= {"E1", second.id}


@pytest.mark.slow
def test_a_single_unit_is_distilled_and_says_that_it_has_no_peers(study):
    distil(study, only=["tanh-0/0:2"], budget="quick")
    law = next(law for law in equations(study) if law.feature == "tanh-0/0:2")
    assert law.title == "unit tanh-0/0:2"
    assert law.lineages == 1
    assert "one lineage only: no peers" in law.note
    assert "unit tanh-0/0:2, in 1 network," in describe(study, law.id)


@pytest.mark.slow
def test_an_output_up_to_a_link_is_told_so(study):
    distil(study, only=["y"], linked=True)
    (row,) = query(study, "SELECT linked, status FROM equations WHERE equation = 'E1'")
    assert row["linked"] is True
    distil(study, only=["y"])
    (row,) = query(study, "SELECT linked FROM equations WHERE equation = 'E1'")
    assert row["linked"] is False


def test_evidence_stands_in_the_catalogue(study):
    distil(study, only=["y"])
    (row,) = query(study, "SELECT * FROM equations WHERE equation = 'E1'")
    assert row["status"] in ("equation", "ambiguous")
    assert row["engine"] in ("ladder", "reducer")
    assert row["searched"] is None
    assert 0 <= row["stability"] <= 1
    assert row["gradient_agreement"] > 0.95
    networks = query(study, "SELECT network, loss_before, loss_with, loss_ablated FROM substitutions")
    assert {row["network"] for row in networks} == {"tanh-0", "relu-1", "tanh-2", "silu-3"}
    assert all(row["loss_with"] < 0.1 * row["loss_ablated"] for row in networks)
    shared = query(study, "SELECT shared FROM constants WHERE equation = 'E1'")
    assert all(one["shared"] is not None for one in shared)


def test_every_error_is_one_of_ours(study):
    for asked in ({"only": ["y"], "inner": "0"}, {"only": ["y"], "variables": ["nothing"]}, {"output": "nothing"}):
        with pytest.raises(ConsilienceError) as caught:
            distil(study, **asked)  # type: ignore[call-overload]
        assert caught.value.hint
