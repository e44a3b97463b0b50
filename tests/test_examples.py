"""A real zoo that nobody here trained: plasma surrogates of the package tglfnn-ukaea."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.records import equations, networks
from consilience.analysis.run import run
from consilience.analysis.stage_ingest import ingest
from consilience.analysis.study import Study, open_study
from consilience.zoo.network import predict

DATA = Path(__file__).parents[1] / "data" / "tglfnn"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tglfnn_ukaea") is None, reason="needs the extra: pip install 'consilience[examples]'"
    ),
]


def study_of(machine: str, folder: Path) -> Study:
    shutil.copytree(DATA / machine, folder / machine, ignore=shutil.ignore_patterns(".consilience"))
    return open_study(folder / machine)


@pytest.mark.parametrize("machine", ["multimachine", "step"])
def test_members_reproduce_the_reference_of_their_package(machine: str, tmp_path: Path) -> None:
    import tglfnn_ukaea

    reference = tglfnn_ukaea.load_reference(machine)
    members = [item.network for item in ingest(study_of(machine, tmp_path)) if item.network is not None]
    assert len(members) == 15
    for flux in ("efe_gb", "efi_gb", "pfi_gb"):
        means = [predict(n, reference["inputs"])[:, 0] for n in members if n.outputs[0] == flux]
        assert len(means) == 5
        expected = reference[flux][:, 0]
        assert np.abs(np.mean(means, axis=0) - expected).max() < 1e-6 * np.abs(expected).max()


def test_the_whole_path_reports_honestly_where_no_law_is_known(tmp_path: Path) -> None:
    study = run(study_of("multimachine", tmp_path))
    assert {row["status"] for row in networks(study)} <= {"ok", "warned"}
    fluxes = {record.target_name: record for record in equations(study) if record.title.startswith("output")}
    assert set(fluxes) == {"efe_gb", "efi_gb", "pfi_gb"}
    with study.reading() as catalogue:
        for record in fluxes.values():
            front = catalogue.select("fronts", equation=record.id)
            effects = catalogue.select("relevances", equation=record.id)
            assert len(front) > 3
            assert len(effects) == 13
            assert record.networks == 5
            assert np.isfinite(record.peer_ratio)
            assert record.peer_agreement > 0.9
