"""Negative controls of vision: untrained networks share nothing, noise is no form; stopped runs and devices."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import torch
from planted_vision import ANGLES, FACTORY, GABORS, photo, plant
from safetensors.torch import save_file

from consilience.analysis.project.study import open_study

NETWORK = """\
[[networks]]
path = "{0}.safetensors"
name = "net{0}"
architecture = "python:seeing:build"
layers = ["first"]
preprocessing = {{ size = [48, 48], mean = [0.5], std = [0.25] }}
"""
TAIL = """\
[probe]
images = ["photos/*.png"]
side = 48
crops = 2
[align]
null_draws = 1
[distil]
engine = "none"
"""


def untrained(folder: Path, *, networks: int = 3, seed: int = 0) -> Path:
    """Write networks as their initialisation left them, photos and a zoo.toml."""
    folder.mkdir(parents=True)
    (folder / "seeing.py").write_text(FACTORY)
    names: dict[str, type[torch.nn.Module]] = {}
    exec(FACTORY, names)
    with torch.random.fork_rng(devices=[]):
        for number in range(networks):
            torch.manual_seed(1000 * seed + number)
            save_file(names["Seeing"]().state_dict(), folder / f"{number}.safetensors")
    (folder / "photos").mkdir()
    for number in range(12):
        photo(100 * seed + number).save(folder / "photos" / f"{number:02}.png")
    tables = [NETWORK.format(number) for number in range(networks)]
    (folder / "zoo.toml").write_text("\n".join(['name = "untrained"', *tables, TAIL]))
    return folder


def rows(folder: Path, table: str, **subject: str) -> list[dict[str, object]]:
    with open_study(folder).reading() as catalogue:
        return catalogue.select(table, **subject)


def seen(folder: Path, table: str) -> list[dict[str, object]]:
    """Rows about families of kernels and of tuning, and about features of maps."""
    return [row for row in rows(folder, table) if str(row["feature"]).startswith(("K", "T", "M"))]


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory, warm, catalogue_of) -> tuple[Path, dict[str, list[str]]]:
    """Untrained networks after all stages that look for what is shared, and the catalogue as it was after `tune`."""
    folder = untrained(tmp_path_factory.mktemp("controls") / "zoo")
    tuned: dict[str, list[str]] = {}
    for verb in ("tune", "kernels", "cluster"):
        done = warm(verb, folder, "--device", "cpu", folder=folder)
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
        tuned = tuned or catalogue_of(folder)
        (folder / f"{verb}.txt").write_text(done.out)
    return folder, tuned


@pytest.mark.slow
def test_untrained_networks_share_nothing(blank: tuple[Path, dict[str, list[str]]]) -> None:
    features = [row for row in rows(blank[0], "features") if row["feature"][0] in "KTM" and row["above_null"]]
    assert not features
    assert not [
        row for row in rows(blank[0], "equations") if row["feature"][0] in "KTM" and row["status"] == "equation"
    ]


@pytest.mark.slow
def test_kernels_of_noise_are_not_reduced(blank: tuple[Path, dict[str, list[str]]]) -> None:
    kernels = rows(blank[0], "kernels")
    assert len(kernels) == 3 * 24
    assert {row["detector"] for row in kernels} == {"not reduced"}


@pytest.mark.slow
def test_oriented_untrained_units_are_not_beyond_those_of_twins(blank: tuple[Path, dict[str, list[str]]]) -> None:
    counted = rows(blank[0], "detectors", detector="oriented")
    assert counted
    assert not [row for row in counted if row["above_null"]]
    assert "untrained twins, each against the others" in (blank[0] / "tune.txt").read_text()


@pytest.mark.slow
def test_tune_killed_again_and_again_gives_the_same(
    blank: tuple[Path, dict[str, list[str]]], tmp_path: Path, warm, catalogue_of
) -> None:
    folder = Path(
        shutil.copytree(blank[0], tmp_path / "zoo", ignore=shutil.ignore_patterns(".consilience", "__pycache__"))
    )
    project, codes = folder / ".consilience", []
    for _ in range(6):
        running, known = warm.start("tune", folder=folder), set(project.rglob(".tmp-*"))
        while not running.ended():
            if any(path not in known for path in project.rglob(".tmp-*")):
                running.send(signal.SIGKILL)
                break
        codes.append(running.wait().code)
    assert codes.count(-signal.SIGKILL) >= 4
    done = warm("tune", folder=folder)
    assert (done.code, done.out) == (0, (blank[0] / "tune.txt").read_text()), done.err
    assert catalogue_of(folder) == blank[1]


@pytest.mark.slow
def test_a_whitened_probe_goes_from_end_to_end(tmp_path: Path, warm) -> None:
    folder = plant(tmp_path / "zoo")
    toml = folder / "zoo.toml"
    toml.write_text(toml.read_text().replace("crops = 2", "crops = 2\nwhiten = 0.75"))
    done = warm("run", folder=folder)
    assert done.code == 0, done.err
    assert "features of maps over photos" in done.out
    found = [row for row in rows(folder, "kernels") if row["explained"] and row["detector"] in ("edge", "line")]
    angles = {round(float(str(row["angle"])) % torch.pi, 1) for row in found}
    assert len(found) == 2 * GABORS
    assert len(angles) == len(set(ANGLES.round(1)))


@pytest.mark.parametrize("verb", ["kernels", "tune"])
@pytest.mark.parametrize("device", ["quantum", "cuda:77"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, warm, verb: str, device: str) -> None:
    folder = untrained(tmp_path / "zoo", networks=1)
    done = warm(verb, folder, "--device", device, folder=folder)
    assert (done.code, done.out) == (2, "")
    error, hint = done.err.splitlines()[-2:]
    assert error.startswith(f"error: device '{device}' cannot be used")
    assert hint.startswith("hint: --device takes cpu")


@pytest.mark.parametrize("verb", ["kernels", "tune"])
def test_the_processor_is_a_device(tmp_path: Path, warm, verb: str) -> None:
    folder = untrained(tmp_path / "zoo", networks=1)
    done = warm(verb, folder, "--device", "cpu", "--dry-run", folder=folder)
    assert done.code == 0, done.err
    assert not (folder / ".consilience").exists()
