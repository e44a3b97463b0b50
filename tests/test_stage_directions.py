"""A direction that networks share is kept, told and asked like a unit; every method matches the units of a zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.alignment.judge_shared import JudgedDirections, judge_shared
from consilience.analysis.alignment.shared import shared_directions
from consilience.analysis.alignment.similarity import Activations
from consilience.analysis.project.study import open_study
from consilience.analysis.reports.records import query
from consilience.analysis.reports.show import describe
from consilience.analysis.stages.ground import ground_of
from consilience.analysis.stages.run import align, cluster, summary
from consilience.analysis.stages.stage_cluster import cluster as clustered
from consilience.analysis.stages.witness import witness


def _all_are_more_than_chance(level: list[Activations], **_: object) -> JudgedDirections:
    shared = shared_directions(level)
    return JudgedDirections(shared, 0.001, 0.001, np.full(len(shared), 1.5), np.ones(len(shared), dtype=bool))


def test_directions_are_features_that_can_be_shown_and_asked(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.analysis.stages.stage_cluster.judge_shared", _all_are_more_than_chance)
    study = open_study(tiny)
    found = clustered(study)
    directions = [feature for feature in found.features if feature.kind == "direction"]
    assert len(directions) == 2  # first layers are linear in two inputs
    networks = {seen.network.name: seen for seen in found.observed}
    for feature in directions:
        said = witness(feature, ground_of(study, networks))(study.probe.inputs)
        assert said.shape[0] == feature.lineages == 4
        np.testing.assert_allclose(said.mean(axis=1), 0.0, atol=1e-5)
        np.testing.assert_allclose(said.std(axis=1), 1.0, rtol=1e-3)
        assert np.corrcoef(said).min() > 0.99  # signs agree as well
        told = describe(study, feature.id)
        assert "a direction; most of it from units" in told
    rows = query(
        study,
        "SELECT members.unit, len(weights) AS weights FROM members JOIN features USING (feature) "
        "WHERE kind = 'direction'",
    )
    assert {row["unit"] for row in rows} == {None}
    assert {row["weights"] for row in rows} == {6, 8}


def test_inputs_that_untrained_twins_share_as_well_are_no_features(tiny: Path) -> None:
    assert judge_shared is not _all_are_more_than_chance
    assert all(feature.kind == "unit" for feature in clustered(open_study(tiny)).features)


@pytest.mark.parametrize("method", ["assignment", "partial", "universe", "weights"])
def test_every_method_of_zoo_toml_matches_units(method: str, tiny: Path) -> None:
    file = tiny / "zoo.toml"
    file.write_text(f'{file.read_text()}\n[align]\nmethod = "{method}"\n')
    study = align(tiny)
    rows = query(study, "SELECT level, count(*) AS matches FROM matches GROUP BY level")
    counted = {row["level"]: row["matches"] for row in rows}
    assert counted["output"] == 6
    assert 0 < counted["hidden 1"] <= (6 + 8 if method == "weights" else 6 * 8)  # weights: two pairs of equal shapes


def test_clustering_again_gives_the_same(tiny: Path, catalogue_of: Callable[[Path], dict[str, list[str]]]) -> None:
    before = catalogue_of(cluster(tiny).path.parent)
    study = replace(open_study(tiny), home=tiny / "again")
    (tiny / "again").mkdir()
    cluster(study)
    assert [f.members for f in clustered(study).features] == [f.members for f in clustered(open_study(tiny)).features]
    assert before == catalogue_of(tiny)


def test_pairs_that_a_method_leaves_out_are_told(tiny: Path) -> None:
    file = tiny / "zoo.toml"
    file.write_text(f'{file.read_text()}\n[align]\nmethod = "weights"\n')
    assert "hidden 1: 4 of 6 pairs of networks have no match" in summary(align(tiny), "align")


def test_one_network_alone_is_told_so(tiny: Path) -> None:
    for extra in sorted((tiny / "networks").iterdir())[1:]:
        extra.unlink()
    said = summary(align(tiny), "align")
    assert "one network alone has no others to be matched with: add networks that were trained apart" in said
    assert any("one lineage alone shares nothing" in line for line in summary(cluster(tiny), "cluster"))
