"""What is written never takes the place of what a zoo is made of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from consilience.analysis.project.study import open_study
from consilience.analysis.stages.sources import sources, spare
from consilience.analysis.stages.stage_merge import merge
from consilience.analysis.stages.stage_write import write_aligned
from consilience.zoo.errors import BadInput


def _digests(folder: Path) -> dict[Path, str]:
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.safetensors")}


def test_files_of_the_zoo_are_spared(tiny: Path) -> None:
    study = open_study(tiny)
    for file in (tiny / "zoo.toml", sources(study)[0].place.file):
        with pytest.raises(BadInput, match="belongs to the zoo"):
            spare(study, [file])
    spare(study, [tiny / "elsewhere.safetensors", tiny.parent / "zoo.toml"])


def test_an_export_does_not_replace_its_own_originals_even_by_force(tiny: Path) -> None:
    inner = tiny / "networks"
    text = (tiny / "zoo.toml").read_text().replace("networks/*.safetensors", "*.safetensors")
    (inner / "zoo.toml").write_text(text)
    before = _digests(tiny)
    with pytest.raises(BadInput, match="belongs to the zoo"):
        write_aligned(open_study(inner), tiny, force=True)
    assert _digests(tiny) == before


def test_an_average_does_not_replace_another_network(tiny: Path) -> None:
    study = open_study(tiny)
    names = [source.name for source in sources(study)]
    before = _digests(tiny)
    with pytest.raises(BadInput, match="belongs to the zoo"):
        merge(study, names[1:3], sources(study)[0].place.file, force=True)
    assert _digests(tiny) == before
