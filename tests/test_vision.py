"""What a planted zoo of vision networks knows comes out of `kernels` and `tune`, and the catalogue answers about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from planted_vision import ANGLES, BLOBS, FREQUENCIES, GABORS, UNITS, plant

from consilience.analysis.project.study import open_study


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, warm) -> Path:
    folder = plant(tmp_path_factory.mktemp("vision") / "zoo")
    for verb in ("kernels", "tune"):
        done = warm(verb, folder, folder=folder)
        assert done.code == 0, done.err
        assert "Traceback" not in done.err
        (folder / f"{verb}.txt").write_text(done.out)
    return folder


def rows(folder: Path, table: str, **subject: str) -> list[dict[str, object]]:
    with open_study(folder).reading() as catalogue:
        return catalogue.select(table, **subject)


def by_unit(folder: Path, table: str, network: int) -> dict[int, dict[str, object]]:
    """Rows of the first layer by what was planted there, whatever the order of the network's units."""
    order = np.load(folder / f"order-{network}.npy")
    found = rows(folder, table, network=f"net{network}", layer="first")
    return {int(order[int(str(row["unit"]))]): row for row in found}


@pytest.mark.parametrize("network", [0, 1])
def test_planted_gabors_get_their_numbers_back(seen: Path, network: int) -> None:
    found = by_unit(seen, "kernels", network)
    for unit in range(GABORS):
        row = found[unit]
        assert row["explained"], row
        turn = (float(str(row["angle"])) - ANGLES[unit] + np.pi / 2) % np.pi - np.pi / 2
        assert abs(np.rad2deg(turn)) < 2
        assert float(str(row["frequency"])) == pytest.approx(FREQUENCIES[unit], rel=0.03)
        assert row["colour"] == "luminance"


@pytest.mark.parametrize("network", [0, 1])
def test_opponent_blobs_are_colour_and_noise_is_not_reduced(seen: Path, network: int) -> None:
    found = by_unit(seen, "kernels", network)
    for unit in range(GABORS, BLOBS):
        assert (found[unit]["detector"], found[unit]["colour"]) == ("colour", "red-green")
    assert all(found[unit]["detector"] == "not reduced" for unit in range(BLOBS, UNITS))


def test_equations_in_the_place_of_kernels_keep_more_than_baselines(seen: Path) -> None:
    for network in ("net0", "net1"):
        for layer in ("first", "depthwise 5×5"):
            found = rows(seen, "kernel_substitutions", network=network, layer=layer)
            told = {row["kind"]: float(str(row["response"])) for row in found}
            assert told["equations"] > max(told["shuffled"], told["mean"])


def test_depthwise_forms_are_families_of_both_networks(seen: Path) -> None:
    families = [row for row in rows(seen, "features") if str(row["feature"]).startswith("K")]
    assert {"spot", "edge"} <= {row["detector"] for row in families if row["above_null"]}
    assert all(row["lineages"] == 2 for row in families)


def test_gabors_of_first_layers_are_families_whatever_their_angle(seen: Path) -> None:
    families = [row for row in rows(seen, "features") if row["level"] == "first layers"]
    assert {row["detector"] for row in families} == {"edge", "line"}
    for row in families:
        assert (row["members"], row["lineages"], row["above_null"]) == (GABORS, 2, True)
        shared = {
            one["name"]: float(str(one["value"])) for one in rows(seen, "constants", equation=f"E{row['feature']}")
        }
        # Gabors of two frequencies and one width: between .4 and .6 of a wavelength.
        assert shared == pytest.approx({"cycles_u": 0.5, "cycles_v": 0.5}, rel=0.03)


@pytest.mark.parametrize("network", [0, 1])
def test_gabors_are_tuned_to_the_angle_that_they_have(seen: Path, network: int) -> None:
    found = by_unit(seen, "tunings", network)
    for unit in range(GABORS):
        row = found[unit]
        assert row["detector"] in ("line", "edge")
        turn = (float(str(row["angle"])) - ANGLES[unit] + np.pi / 2) % np.pi - np.pi / 2
        assert abs(np.rad2deg(turn)) < 3
        assert float(str(row["f1_f0"])) > 1


def test_a_family_has_one_equation_with_evidence(seen: Path, warm) -> None:
    families = [row for row in rows(seen, "features") if str(row["feature"]).startswith("T")]
    assert families
    done = warm("show", str(families[0]["feature"]), folder=seen)
    assert done.code == 0
    assert "in 2 of 2 lineages" in done.out
    assert "one number for all: kappa" in done.out
    assert "peer ratio" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("T1", "each unit's own: a, angle0, b"),
        ("ET1", "fitted without a lineage: R² on it"),
        ("K1", "of all, by chance"),
        ("EK1", "±: spread over networks"),
    ],
)
def test_families_are_told_in_their_own_words(seen: Path, warm, name: str, words: str) -> None:
    done = warm("show", name, folder=seen)
    assert done.code == 0, done.err
    assert words in done.out
    assert "another network would say" not in done.out
    assert "redrawn" not in done.out


def test_the_catalogue_answers_in_the_words_of_the_question(seen: Path, warm) -> None:
    done = warm("features", "--kind", "spot", "--in", "2 of 2", "--format", "jsonl", folder=seen)
    assert done.code == 0
    assert {json.loads(line)["detector"] for line in done.out.splitlines()} == {"spot"}
    done = warm("compare", "net0", "net1", "--format", "jsonl", folder=seen)
    assert done.code == 0
    assert all(json.loads(line)["net0"] and json.loads(line)["net1"] for line in done.out.splitlines())


def test_a_unit_is_told_with_its_laws(seen: Path, warm) -> None:
    known = rows(seen, "tunings", network="net0", layer="first")
    unit = next(row["unit"] for row in known if row["detector"] == "edge")
    done = warm("show", f"net0/first:{unit}", folder=seen)
    assert done.code == 0, done.err
    assert f"unit net0/first:{unit}: edge" in done.out
    assert "orientation (grating)" in done.out
    assert "  kernel: " in done.out
    assert "  in " in done.out


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (("features", "--kind", "ear"), 4, "there are"),
        (("features", "--in", "many"), 2, '"3 of 7"'),
        (("features", "--in", "2 of 9"), 2, "the zoo has 2 lineages"),
        (("compare", "net0", "net7"), 4, "consilience networks"),
        (("features", "--in", "999999"), 2, "the zoo has 2 lineages, fewer than"),
        (("show", "net0/first:999"), 4, "the catalogue has no"),
        (("distil", "net0/first:3"), 2, "consilience show NETWORK/LAYER:UNIT"),
    ],
)
def test_what_cannot_be_answered_is_told(seen: Path, warm, asked: tuple[str, ...], code: int, words: str) -> None:
    done = warm(*asked, folder=seen)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_second_run_computes_nothing_and_says_the_same(seen: Path, warm) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (seen / ".consilience").rglob("*.npz")}
    done = warm("tune", seen, folder=seen)
    assert done.out == (seen / "tune.txt").read_text()
    assert {path: path.stat().st_mtime_ns for path in (seen / ".consilience").rglob("*.npz")} == kept


def test_what_was_seen_can_be_drawn(seen: Path, warm) -> None:
    done = warm("plot", "kernels", "tuning", "shares", "table", "detectors", "--out", "figures", folder=seen)
    assert done.code == 0, done.err
    drawn = {Path(line).name for line in done.out.splitlines()}
    assert {"kernels.png", "kernels-first.svg", "tuning.png", "shares.png", "table.png", "detector-T1.png"} <= drawn
    assert all((seen / "figures" / name).stat().st_size > 1000 for name in drawn)


def test_an_appendix_holds_every_family_and_its_pictures(seen: Path, warm) -> None:
    done = warm("export", "laws.tex", folder=seen)
    assert done.code == 0, done.err
    assert "figures to laws-figures" in done.err
    page = (seen / "laws.tex").read_text()
    families = [str(row["feature"]) for row in rows(seen, "features")]
    assert families
    assert all(f"subsection*{{{name}:" in page for name in families)
    included = re.findall(r"includegraphics\[.*?\]\{(.*?)\}", page)
    assert {"laws-figures/table.pdf", "laws-figures/shares.pdf", "laws-figures/tuning-T1.pdf"} <= {*included}
    assert all((seen / name).read_bytes().startswith(b"%PDF") for name in included)
    assert "What is not reduced" in page
    kept = {path: path.stat().st_mtime_ns for path in (seen / "laws-figures").iterdir()}
    assert warm("export", "laws.tex", folder=seen).code == 0
    assert {path: path.stat().st_mtime_ns for path in (seen / "laws-figures").iterdir()} == kept


def test_other_formats_and_a_name_that_latex_does_not_take(seen: Path, warm) -> None:
    for name in ("laws.md", "laws.json", "50% done.tex"):
        done = warm("export", name, "--no-figures", folder=seen)
        assert done.code == 0, done.err
        assert "T1" in (seen / name).read_text()
    assert "includegraphics" not in (seen / "50% done.tex").read_text()


@pytest.mark.parametrize(
    ("verb", "words"), [("tune", "stimuli are for vision"), ("kernels", "no network has convolutions")]
)
def test_numbers_are_not_images(tiny: Path, warm, verb: str, words: str) -> None:
    done = warm(verb, tiny, folder=tiny)
    assert done.code == 2
    assert words in done.err


def test_photos_alone_lead_from_checkpoints_to_pictures(seen: Path, warm) -> None:
    done = warm("run", seen, folder=seen)
    assert done.code == 0, done.err
    assert "features of maps over photos" in done.out
    assert "K1" in done.out
    assert "next: consilience show T1" in done.out
    done = warm("features", "-q", folder=seen)
    assert (done.code, done.err) == (0, "")  # nothing is unfinished
