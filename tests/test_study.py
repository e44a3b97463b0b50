"""A study in one's own Python: the verbs, what is kept, what is told, and how it is stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import consilience
from consilience.analysis.project.study import Progress, Stopped, find_study, open_study, versions
from consilience.zoo.errors import BadInput, BadManifest, CatalogueLocked, NotFound


def rows(study, table: str, **subject: str) -> list[dict]:
    with study.reading() as catalogue:
        return catalogue.select(table, **subject)


def names(study, table: str = "networks") -> list[str]:
    return sorted({row["network"] for row in rows(study, table)})


def test_the_verbs_string_together(tiny):
    study = consilience.ingest(tiny)
    assert names(study) == ["relu-1", "silu-3", "tanh-0", "tanh-2"]
    assert consilience.probe(study) is study
    assert {row["dead"] for row in rows(study, "layers")} <= set(range(9))
    consilience.align(study)
    assert rows(study, "matches")
    consilience.cluster(study)
    assert consilience.features(study, where="role = 'output'")[0]["members"] == 4
    consilience.distil(study)
    (law,) = (equation for equation in consilience.equations(study) if equation.target_name == "y")
    assert law.status == "equation"
    assert law.target_unit == "m"
    assert law.lineages == 4
    assert {variable.name for variable in law.variables} == {"a", "b"}
    assert float(law.expression.sympy().subs({"a": 1, "b": 1})) == pytest.approx(1, abs=0.05)
    assert consilience.describe(study, "F1").startswith("feature F1 y: output units")
    assert consilience.query(study, "SELECT count(*) AS n FROM networks") == [{"n": 4}]
    assert consilience.export_equations(study, tiny / "laws.md") >= 1


def test_a_zoo_of_another_name_has_a_folder_of_its_own(tiny):
    (tiny / "zoo.toml").rename(tiny / "other.toml")
    study = consilience.ingest(tiny / "other.toml")
    assert study.project == tiny / ".consilience" / "other"
    assert study.catalogue_path.exists()


def test_the_nearest_zoo_upward(tiny, tmp_path):
    assert find_study(tiny / "networks").path == tiny / "zoo.toml"
    with pytest.raises(NotFound, match=r"no zoo\.toml in"):
        find_study(tmp_path)


def test_a_device_that_is_not_there(tiny):
    with pytest.raises(BadInput, match="device 'quantum' cannot be used"):
        open_study(tiny, device="quantum")


@pytest.mark.parametrize(
    ("formula", "said"), [("a + ghost", "'ghost' is not an input"), ("a +", r"derived\[1\]\.formula")]
)
def test_a_derived_variable_that_cannot_be_computed(tiny, formula, said):
    with (tiny / "zoo.toml").open("a") as file:
        file.write(f'\n[[probe.derived]]\nname = "c"\nformula = "{formula}"\n')
    with pytest.raises(BadManifest, match=said):
        open_study(tiny)


def test_progress_is_told_and_ends(tiny):
    told: list[Progress] = []
    consilience.probe(open_study(tiny, report=told.append))
    ingest = [step for step in told if step.stage == "ingest"]
    assert [step.done for step in ingest] == [0, 1, 2, 3, 4]
    assert {step.total for step in ingest} == {4}
    assert [step.subject for step in ingest[:2]] == ["relu-1", "silu-3"]


@pytest.mark.parametrize("after", [0, 5, 9])
def test_stopped_between_two_items_it_goes_on_from_there(studied, tiny, warm, catalogue_of, facts_of, after):
    told: list[Progress] = []
    study = open_study(tiny, report=told.append, stop=lambda: len(told) > after)
    with pytest.raises(Stopped):
        consilience.distil(study)
    kept = facts_of(tiny)
    assert warm("distil", folder=tiny).code == 0
    assert kept.items() <= facts_of(tiny).items()
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_one_run_at_a_time(tiny):
    study = open_study(tiny)
    with study.alone(), pytest.raises(CatalogueLocked, match="is at work on it"):
        consilience.ingest(tiny)


def test_a_network_that_leaves_and_comes_back(studied, tiny, warm, catalogue_of):
    file, study = tiny / "networks" / "tanh-2.safetensors", open_study(tiny)
    assert warm("distil", folder=tiny).code == 0
    file.rename(tiny / "aside")
    assert warm("distil", folder=tiny).code == 0
    for table in ("networks", "layers", "units", "levels", "members"):
        assert "tanh-2" not in names(study, table)
    assert rows(study, "equations", equation="E1")[0]["networks"] == 3
    (tiny / "aside").rename(file)
    assert warm("distil", folder=tiny).code == 0
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_a_network_that_breaks_and_is_mended(studied, tiny, warm, catalogue_of):
    file, study = tiny / "networks" / "tanh-2.safetensors", open_study(tiny)
    whole = file.read_bytes()
    assert warm("distil", folder=tiny).code == 0
    file.write_bytes(whole[:100])
    assert warm("distil", folder=tiny).code == 3
    assert rows(study, "networks", network="tanh-2")[0]["status"] == "refused"
    for table in ("layers", "units", "levels", "members"):
        assert "tanh-2" not in names(study, table)
    file.write_bytes(whole)
    assert warm("distil", folder=tiny).code == 0
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_an_equation_that_is_left_out_comes_back_when_asked_for(studied, tiny, warm, catalogue_of):
    path, study = tiny / "zoo.toml", open_study(tiny)
    whole = path.read_text()
    for text, count in [(whole, 1), (whole.replace("[distil]", "[distil]\noutputs = []"), 0), (whole, 1)]:
        path.write_text(text)
        assert warm("distil", folder=tiny).code == 0
        assert len(rows(study, "equations", equation="E1")) == count
    assert catalogue_of(tiny) == catalogue_of(studied[0])


def test_copies_are_one_lineage(tiny):
    shutil.copy(tiny / "networks" / "tanh-2.safetensors", tiny / "networks" / "tanh-9.safetensors")
    study = consilience.ingest(tiny)
    (copy,) = rows(study, "networks", network="tanh-9")
    assert (copy["status"], copy["lineage"], copy["warnings"]) == ("warned", "tanh-2", ["copy: of tanh-2"])
    assert len({row["digest"] for row in rows(study, "networks")}) == 4


def test_metadata_of_file_and_manifest_are_kept(tiny):
    path = tiny / "zoo.toml"
    path.write_text(path.read_text().replace('safetensors"', "safetensors\"\nmetadata = {author = 'me'}"))
    study = consilience.ingest(tiny)
    (row,) = rows(study, "networks", network="tanh-2")
    assert json.loads(row["metadata"]) == {"activation": "tanh", "author": "me", "format": "pt"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'path = "networks/tanh-0.safetensors"\nname = "x"\n[[networks]]\npath = "zoo.toml"\nname = "x"',
            "'x' stands twice",
        ),
        ('path = "networks/*.safetensors"\nname = "one"', r"networks\[2\]\.name: one name for 4 files"),
        ('path = "../**x/*"', r"networks\[2\]\.path: \.\./\*\*x/\*: Invalid pattern"),
    ],
)
def test_networks_that_cannot_be_told_apart(tiny, table, said):
    path = tiny / "zoo.toml"
    path.write_text(path.read_text().replace("[[outputs]]", f"[[networks]]\n{table}\n\n[[outputs]]"))
    with pytest.raises(BadManifest, match=said):
        consilience.ingest(tiny)


def test_files_of_one_name_in_two_folders_are_told_apart(tiny):
    shutil.copytree(tiny / "networks", tiny / "more")
    path = tiny / "zoo.toml"
    path.write_text(path.read_text().replace("networks/*", "*/*"))
    assert names(consilience.ingest(tiny))[:2] == ["more/relu-1", "more/silu-3"]


def test_what_a_result_depends_on_is_known():
    assert {"python", "consilience", "torch", "numpy", "duckdb"} <= versions().keys()


def test_the_zoo_in_the_current_folder(tiny: Path, monkeypatch):
    monkeypatch.chdir(tiny)
    assert open_study().path == tiny / "zoo.toml"
    with pytest.raises(BadManifest, match="no such file"):
        open_study("nowhere")


def test_a_variable_that_bears_the_name_of_a_function_is_refused(tiny: Path) -> None:
    text = (tiny / "zoo.toml").read_text().replace('name = "b"', 'name = "exp"')
    (tiny / "zoo.toml").write_text(text)
    with pytest.raises(BadManifest, match="'exp' is a function"):
        open_study(tiny)


def test_new_features_do_not_keep_old_equations(tiny: Path) -> None:
    consilience.run(tiny)
    text = (tiny / "zoo.toml").read_text().replace("samples = 64\n\n[[probe", "samples = 128\n\n[[probe")
    (tiny / "zoo.toml").write_text(text)
    study = consilience.cluster(tiny)
    assert consilience.equations(study) == ()
    again = consilience.run(tiny)
    assert next(record.id for record in consilience.equations(again)) == "E1"


def test_layers_of_too_many_units_are_left_out_of_matching(tiny, monkeypatch):
    from consilience.analysis.stages import stage_align

    monkeypatch.setattr(stage_align, "MOST_UNITS", 5)
    aligned = stage_align.align(open_study(tiny))
    assert [level.role for level in aligned.levels] == ["output"]
    assert len(aligned.levels[0].layers) == 4
