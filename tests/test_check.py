"""A look at files that keeps nothing: what they are, what would run them, whether the probe fits."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from consilience.analysis.project.study import open_study
from consilience.analysis.stages import stage_ingest
from consilience.analysis.stages.check import check, nearest_study
from consilience.zoo.errors import ConsilienceError, NotFound
from consilience.zoo.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An MLP that says its activation, one that does not, a stranger's pickle and something else."""
    torch.manual_seed(0)
    mlp = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    save_file(mlp.state_dict(), tmp_path / "told.safetensors", metadata={"activation": "tanh"})
    torch.save(mlp.state_dict(), tmp_path / "untold.pt")
    torch.save(mlp, tmp_path / "whole.pt")
    (tmp_path / "leftover").write_text("nothing")
    return tmp_path


def by_name(found) -> dict:
    return {Path(checkup.file).name: checkup for checkup in found}


def test_every_file_is_described_and_nothing_is_kept(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    found = by_name(check([str(folder)]))
    assert sorted(found) == ["told.safetensors", "untold.pt", "whole.pt"]
    told = found["told.safetensors"]
    assert (told.status, told.format, told.architecture) == ("ok", "safetensors", "mlp")
    assert (told.inputs, told.outputs, told.layers, told.parameters) == ("3", 2, 2, 50)
    assert told.fits_probe is None
    assert found["untold.pt"].code == "no-activation"
    assert 'activation = "relu"' in found["untold.pt"].hint
    assert found["whole.pt"].code == "pickle-code"
    assert "torch.load" in found["whole.pt"].hint
    assert sorted(folder.rglob("*")) == before


def test_what_is_said_of_all_counts(folder: Path) -> None:
    (found,) = check([str(folder / "untold.pt")], said={"activation": "tanh"})
    assert found.status == "ok"


def test_copies_are_seen(folder: Path) -> None:
    found = by_name(check([str(folder / "told.safetensors"), str(folder / "untold.pt")], said={"activation": "tanh"}))
    assert found["untold.pt"].lineage == found["told.safetensors"].lineage
    assert any("told.safetensors" in warning for warning in found["untold.pt"].warnings)


def test_the_probe_of_a_zoo_is_tried(folder: Path, tiny: Path) -> None:
    study = open_study(tiny)
    shutil.copy(folder / "told.safetensors", tiny / "other.safetensors")
    found = by_name(check([str(tiny)], study=study))
    assert found["tanh-0.safetensors"].fits_probe is True
    other = found["other.safetensors"]
    assert (other.fits_probe, other.inputs, other.code) == (False, "3", "input-shape")
    assert "the probe has 2" in str(other.message)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(NotFound, match="no checkpoint in"):
        check([str(tmp_path)])


def test_a_file_that_is_not_there_is_one_refusal(folder: Path) -> None:
    found = by_name(check([str(folder / "nowhere.pt"), str(folder / "told.safetensors")]))
    assert found["nowhere.pt"].code == "missing"
    assert found["told.safetensors"].status == "ok"


@pytest.mark.parametrize(
    "content", ['{"weight_map": {"a": ', "[]", "{", "", "no JSON", '{"weight_map": {"a": "../b"}}']
)
def test_an_index_that_is_broken_is_told(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)
    (folder / "settings.json").write_text(content)
    found = by_name(check([str(folder)]))
    assert "settings.json" not in found
    index = found["model.safetensors.index.json"]
    assert index.status == "refused"
    assert index.message
    assert index.hint


def test_an_exception_comes_through_and_leaves_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where files are still being copied when the first one breaks."""
    for number in range(12):
        save_file({"0.weight": torch.full((8, 4), float(number))}, folder / f"{number:02}.safetensors")
    scratch, add_object = tmp_path_factory.mktemp("scratch"), Store.add_object

    def slow(*arguments: Any, **named: Any) -> str:
        time.sleep(0.1)
        return add_object(*arguments, **named)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(Store, "add_object", slow)
    monkeypatch.setattr(stage_ingest, "build", broken)
    with pytest.raises(ZeroDivisionError):
        check([str(folder)], said={"activation": "tanh"})
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('name = "tiny"', "name", "not TOML"),
        ("samples = 64", "samples = -1", "samples"),
        ("networks/*.safetensors", "nowhere/*.safetensors", "nothing matches"),
        ("samples = 64", 'samples = 64\nrows = "nowhere.csv"', "nowhere.csv"),
    ],
)
def test_a_wrong_zoo_that_nobody_named_is_told_and_left(tiny: Path, old: str, new: str, match: str) -> None:
    said: list[str] = []
    assert nearest_study(tiny / "networks", tell=said.append) is not None
    assert nearest_study(Path("/"), tell=said.append) is None
    assert said == []
    zoo = tiny / "zoo.toml"
    zoo.write_text(zoo.read_text().replace(old, new, 1))
    assert nearest_study(tiny / "networks", tell=said.append) is None
    (line,) = said
    assert match in line
    assert line.isprintable()
    with pytest.raises(ConsilienceError, match=match):
        check([str(tiny)], study=open_study(tiny))
