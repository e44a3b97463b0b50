"""A look at files that keeps nothing: what they are, what would run them, whether the probe fits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from consilience.analysis.check import check
from consilience.analysis.study import open_study
from consilience.zoo.errors import NotFound


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
