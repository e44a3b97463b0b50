"""A network that fails while it is shown stimuli or its kernels are read is named, and the others go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_vision import plant
from safetensors.numpy import load_file, save_file

from consilience.analysis.project.study import open_study


def spoil(file: Path, tensor: str, value: float) -> None:
    tensors = load_file(file)
    tensors[tensor] = np.full_like(tensors[tensor], value)
    save_file(tensors, file)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = plant(tmp_path_factory.mktemp("spoilt") / "zoo", networks=3)
    spoil(folder / "1.safetensors", "first.weight", np.nan)
    return folder


@pytest.mark.parametrize(
    ("verb", "what"), [("kernels", "kernels of first are not finite"), ("tune", "gives NaN or infinity in first")]
)
def test_what_fails_is_set_aside_by_name_and_the_others_go_on(spoilt: Path, warm, verb: str, what: str) -> None:
    done = warm(verb, spoilt, folder=spoilt)
    assert done.code == 3
    assert f"set aside: net1 {what}" in done.err
    assert done.err.count("set aside:") == 1
    assert "Traceback" not in done.err
    assert "net0 first" in done.out
    assert "net2 first" in done.out
    with open_study(spoilt).reading() as catalogue:
        table = "kernels" if verb == "kernels" else "tunings"
        assert {row["network"] for row in catalogue.select(table)} == {"net0", "net2"}


def test_where_all_fail_the_reason_is_told(tmp_path: Path, warm) -> None:
    folder = plant(tmp_path / "zoo")
    for file in folder.glob("*.safetensors"):
        spoil(file, "first.weight", np.nan)
    done = warm("tune", folder, folder=folder)
    assert done.code == 2
    assert "no network can be shown stimuli: net0 gives NaN or infinity in first" in done.err
