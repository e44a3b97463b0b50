"""Features of maps get the equation of what their units share: planted curves come back, noise and quarrels do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_vision import ANGLES as ANGLES_OF
from planted_vision import GABORS, plant
from torch import nn

from consilience.analysis.distillation.engine_operon import operon_at_hand
from consilience.analysis.distillation.search import ENGINES
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.project.study import open_study
from consilience.analysis.reports.show import show
from consilience.analysis.stages.families import Family, FamilyMember, _equation
from consilience.analysis.stages.map_equations import write_equation
from consilience.analysis.stages.map_votes import FEWEST, second_votes
from consilience.analysis.stages.seen import saw_maps
from consilience.analysis.stages.stage_maps import _read, match_photos
from consilience.analysis.stages.stage_tuning import family_rows
from consilience.analysis.vision.feature_consensus import MemberCurve, SharedCurves, share_curves
from consilience.analysis.vision.feature_equation import feature_equation
from consilience.analysis.vision.feature_law import race_shared
from consilience.analysis.vision.feature_search import search_shared
from consilience.analysis.vision.map_features import MapFeature, MapMember
from consilience.analysis.vision.match_maps import common_places
from consilience.zoo.network import Network

ANGLES, HUES, FREQUENCIES = (family_rows(kind)[:, 0] for kind in ("orientation", "hue", "frequency"))
FROM = 2 * (ANGLES - 0.7)
ORIENTATION = {"orientation": family_rows("orientation")}


def shared(curve: np.ndarray, kind: str, *, lineages: int = 3, noise: float = 0.02) -> SharedCurves:
    """What lineages share that have a curve at gains of their own, with noise of their own."""
    random = np.random.default_rng(0)
    members = [
        MemberCurve(f"net{i}", f"line{i}", 1, (1 + i) * (curve + noise * random.normal(size=len(curve))))
        for i in range(lineages)
    ]
    found = share_curves(members, kind)
    assert found is not None
    return found


def apart(left: float, right: float, period: float) -> float:
    return abs((left - right + period / 2) % period - period / 2)


# What lineages share


def test_each_lineage_has_one_vote_however_many_units_it_has() -> None:
    one, other = np.cos(FROM), np.sin(FROM)
    many = [MemberCurve(f"net{i}", "first", 1, 5 * one + 3) for i in range(9)]
    found = share_curves([*many, MemberCurve("alone", "second", 1, 0.1 * other)], "orientation")
    assert found is not None
    assert found.lineages == ("first", "second")
    assert found.values - found.values.mean() == pytest.approx(np.stack([one, other]) * 2**0.5, abs=1e-9)


def test_lineages_differ_in_gain_and_offset_and_the_law_keeps_its_zero() -> None:
    curve = np.maximum(np.cos(HUES - 1.0), 0.0)
    found = share_curves([MemberCurve(str(i), str(i), 1, (1 + i) * curve + i / 9) for i in range(2)], "hue")
    assert found is not None
    assert found.values[0] == pytest.approx(found.values[1])
    again = share_curves([MemberCurve(str(i), str(i), 1, (1 + i) * curve) for i in range(2)], "hue")
    assert again is not None
    assert again.values.min() == pytest.approx(0.0, abs=1e-12)


def test_units_that_stand_for_the_negative_are_turned_over_only_where_a_curve_has_a_sign() -> None:
    for kind, turned in (("hue", -1.0), ("orientation", 1.0)):
        curve = np.exp(np.cos(HUES - 1.0))
        found = share_curves([MemberCurve("a", "a", 1, curve), MemberCurve("b", "b", -1, turned * curve)], kind)
        assert found is not None
        assert found.values[0] == pytest.approx(found.values[1])


def test_places_are_signed_by_their_strongest_answer() -> None:
    blob = np.exp(-np.square(family_rows("position position")).sum(axis=1) / 32)
    members = [MemberCurve("a", "a", 1, blob), MemberCurve("b", "b", 1, -3 * blob)]
    found = share_curves(members, "position position")
    assert found is not None
    assert found.values[0] == pytest.approx(found.values[1])


def test_frequencies_that_some_lattices_do_not_hold_are_left_out_for_all() -> None:
    band = np.exp(-np.square(np.log(FREQUENCIES / 0.08)))
    found = share_curves([MemberCurve("a", "a", 1, band), MemberCurve("b", "b", 1, 2 * band[:8])], "frequency")
    assert found is not None
    assert found.values.shape == (2, 8)


def test_silent_units_have_no_vote_and_one_lineage_alone_shares_nothing() -> None:
    silent = MemberCurve("b", "b", 1, np.zeros(36))
    assert share_curves([MemberCurve("a", "a", 1, np.cos(FROM)), silent], "orientation") is None
    assert share_curves([], "orientation") is None


def test_units_that_nothing_gets_past_their_rectifier_match_nothing() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 2)).eval()
    with torch.no_grad():
        module[0].bias.fill_(1.0)
        module[0].bias[1] = -100.0
    network = Network("net", "digest", "line", module, (), (3, 16, 16))
    shown = np.random.default_rng(0).random((5, 16, 16, 3), dtype=np.float32)
    read = _read(network, shown, ["0"], common_places(5), 1 / 16, device="cpu")["0"]
    assert (np.ptp(read, axis=(0, 1)) > 0).tolist() == [True, False, True, True]


# The laws


def test_a_planted_law_comes_back_with_what_each_lineage_says_of_it() -> None:
    law = race_shared(shared(np.exp(2 * np.cos(FROM)), "orientation"), *_about("orientation"))
    assert (law.law, law.reduced, law.agreed) == ("von Mises", True, True)
    assert law.numbers["kappa"][0] == pytest.approx(2.0, rel=0.03)
    assert apart(law.numbers["angle0"][0], 0.7, np.pi) < 0.01
    assert all(spread < 0.1 for _, spread in law.numbers.values())
    assert set(law.by_lineage) == {"line0", "line1", "line2"}
    assert all(r2 > 0.99 and ratio < 1.25 for r2, ratio in law.by_lineage.values())


def test_a_wrong_form_errs_more_than_the_peers() -> None:
    skewed = np.exp(1.5 * np.cos(FROM)) * (1 + 0.8 * np.sin(FROM))
    law = race_shared(shared(skewed, "orientation", noise=0.005), *_about("orientation"))
    assert all(ratio > 2 for _, ratio in law.by_lineage.values())


def test_angles_of_lineages_on_both_sides_of_zero_are_close() -> None:
    curves = [np.exp(2 * np.cos(2 * (ANGLES - at))) for at in (-0.02, 0.02)]
    both = share_curves([MemberCurve(str(i), str(i), 1, curve) for i, curve in enumerate(curves)], "orientation")
    assert both is not None
    assert race_shared(both, *_about("orientation")).numbers["angle0"][1] == pytest.approx(0.028, abs=0.002)


@pytest.mark.parametrize(
    ("detector", "kind", "curve", "law"),
    [
        ("edge", "orientation", np.exp(2 * np.cos(FROM)), "von Mises"),
        ("colour", "hue", np.cos(HUES - 1.0), "cosine"),
        ("colour", "hue", np.maximum(np.cos(HUES - 1.0) - 0.2, 0.0), "rectified cosine"),
        ("frequency", "frequency", np.exp(-np.square(np.log(FREQUENCIES / 0.08))), "log-Gaussian"),
    ],
)
def test_the_equation_is_about_what_the_detector_is_about(
    detector: str, kind: str, curve: np.ndarray, law: str
) -> None:
    other = "hue" if kind == "orientation" else "orientation"
    curves = {other: shared(np.cos(FROM if other == "orientation" else HUES), other), kind: shared(curve, kind)}
    for asked in (detector, "not reduced"):
        found = feature_equation(asked, curves, {name: family_rows(name) for name in curves})
        assert found is not None
        assert found.reason == ""
        if asked == detector:
            assert (found.law.kind, found.law.law) == (kind, law)


# The search


def test_a_law_that_no_textbook_has_is_found_in_the_coordinates_of_angles() -> None:
    four = np.cos(FROM) ** 2 + 0.25 * np.cos(FROM) * np.sin(FROM)
    found = feature_equation("edge", {"orientation": shared(four, "orientation", noise=0.01)}, ORIENTATION)
    assert found is not None
    assert (found.reason, found.law.found_by) == ("", "ladder")
    fine = np.linspace(0, np.pi, 200)
    truth = np.cos(2 * (fine - 0.7)) ** 2 + 0.25 * np.cos(2 * (fine - 0.7)) * np.sin(2 * (fine - 0.7))
    told = evaluate(found.law.expression, {"angle": fine})
    assert np.corrcoef(truth, told)[0, 1] > 0.999
    assert all(r2 > 0.98 and ratio < 1.25 for r2, ratio in found.law.by_lineage.values())


@pytest.mark.slow
@pytest.mark.skipif(not operon_at_hand(), reason="pyoperon is not installed")
def test_a_search_finds_the_exponential_of_the_cosine_for_what_lineages_share() -> None:
    curves = shared(np.exp(2.5 * np.cos(FROM)), "orientation", noise=0.002)
    found = search_shared(curves, *_about("orientation"), engine=ENGINES["operon"])
    assert found is not None
    law, failed = found
    assert (failed, law.found_by, law.searched) == ("", "operon", "operon")
    assert "exp(" in str(law.expression)
    assert law.r2 > 0.999


@pytest.mark.parametrize("engine", ["none", pytest.param("operon", marks=pytest.mark.slow)])
def test_a_curve_of_noise_stays_not_reduced(engine: str) -> None:
    if engine == "operon" and not operon_at_hand():
        pytest.skip("pyoperon is not installed")
    curves = {"orientation": shared(np.random.default_rng(1).normal(size=36), "orientation")}
    found = feature_equation("edge", curves, ORIENTATION, engine=ENGINES.get(engine))
    assert found is not None
    assert "of what lineages share of orientation; of a search" in found.reason


def test_what_lineages_do_not_agree_on_is_no_equation_however_smooth_their_mean() -> None:
    angles = (0.2, 1.1, 2.0)
    members = [MemberCurve(str(at), str(at), 1, np.exp(2 * np.cos(2 * (ANGLES - at)))) for at in angles]
    curves = share_curves(members, "orientation")
    assert curves is not None
    found = feature_equation("edge", {"orientation": curves}, ORIENTATION)
    assert found is not None
    assert found.reason.startswith("lineages do not agree on orientation")


def test_few_stimuli_are_not_searched() -> None:
    jagged = np.where(np.arange(10) % 3 == 0, 1.0, -1.0)
    found = feature_equation(
        "frequency", {"frequency": shared(jagged, "frequency")}, {"frequency": family_rows("frequency")}
    )
    assert found is not None
    assert "too few for a search" in found.reason


# In the catalogue


def member(network: str, unit: int, *, sign: int = 1) -> MapMember:
    return MapMember(network, network, "layer", unit, sign, 0.9, (0.0, 0.0), 0.01)


def told(networks: Sequence[str], unit: int, at: float, **curves: np.ndarray) -> dict[tuple[str, str, int], dict]:
    laws = {"frequency": {"law": "log-Gaussian", "reduced": True}}
    indices = {"angle": at, "frequency": 0.05 * 2**at}
    known = {kind: curve.tolist() for kind, curve in curves.items()}
    one = {"detector": "edge", "indices": indices, "laws": laws, "curves": known}
    return {(network, "layer", unit): one for network in networks}


def as_family(detector: str, members: Sequence[MapMember], known: dict) -> Family:
    written = write_equation(detector, members, known, engine=None, seed=0)
    own = tuple(FamilyMember(one.network, one.layer, one.unit, one.sign, one.r) for one in members)
    family = Family(
        number=1,
        kind="map",
        level="maps of photos",
        members=own,
        lineages=len(own),
        universality=1.0,
        p=0.01,
        agreement=0.9,
        above_null=True,
        **{name: getattr(written, name) for name in written.__dataclass_fields__},
    )
    from dataclasses import asdict

    return Family.read(json.loads(json.dumps(asdict(family))))


def test_a_feature_has_its_equation_in_the_catalogue() -> None:
    members = [member("a", 0), member("b", 0), member("c", 0)]
    known = told("abc", 0, 0.7, orientation=np.exp(2 * np.cos(FROM)) + 1)
    (row,) = _equation("M1", as_family("edge", members, known))["equations"]
    assert (row["equation"], row["status"], row["reason"], row["skeleton"]) == ("EM1", "equation", "", "von Mises")
    assert row["peer_agreement"] == pytest.approx(1.0)
    assert evaluate(parse(row["expression"]), {"angle": np.array([0.7, 0.7 + np.pi / 2])})[0] > 2


def test_a_feature_that_no_stimulus_drives_says_so() -> None:
    family = as_family("silent", [member("a", 0), member("b", 0)], {})
    (row,) = _equation("M1", family)["equations"]
    assert (row["status"], row["fidelity"]) == ("no_equation", pytest.approx(float("nan"), nan_ok=True))
    assert "no two lineages" in row["reason"]


def test_matched_units_vote_by_their_numbers_and_few_pairs_have_no_vote() -> None:
    random = np.random.default_rng(0)
    features, known = [], {}
    for unit in range(12):
        at = random.uniform(0, np.pi)
        for network, shift in (("a", 0.0), ("b", 0.02)):
            known |= told([network], unit, at + shift)
        members = (member("a", unit), member("b", unit))
        features.append(MapFeature(members, 2, 2, 1.0, 0.9, 0.5, 0.01, 0.01))
    votes = second_votes(features, known)
    assert set(votes) == {"angle", "frequency"}
    for vote in votes.values():
        assert vote["distance"] == pytest.approx(0.02, abs=1e-6)
        assert vote["chance"] > 0.3
        assert vote["p"] < 0.001
    assert second_votes(features[: FEWEST - 1], known) == {}


def test_hues_are_compared_after_the_sign() -> None:
    features, known = [], {}
    for unit, at in enumerate(np.linspace(0.3, 6.0, 10)):
        for network, sign in (("a", 1), ("b", -1)):
            curve = sign * np.cos(HUES - at)
            known |= {(network, "layer", unit): {"detector": "colour", "curves": {"hue": curve.tolist()}, "laws": {}}}
        members = (member("a", unit), member("b", unit, sign=-1))
        features.append(MapFeature(members, 2, 2, 1.0, 0.9, 0.5, 0.01, 0.01))
    vote = second_votes(features, known)["hue"]
    assert vote["distance"] < 1e-3
    assert vote["chance"] > 1


@pytest.mark.slow
def test_planted_gabors_are_features_of_maps_with_the_angle_that_they_have(tmp_path: Path) -> None:
    folder = plant(tmp_path / "zoo")
    study = open_study(folder)
    found = match_photos(study)
    orders = {f"net{i}": np.load(folder / f"order-{i}.npy") for i in range(2)}
    planted = set()
    for family in found.families:
        units = {int(orders[one.network][one.unit]) for one in family.members}
        if family.detector not in ("edge", "line"):
            continue
        assert len(units) == 1
        assert (family.unreduced, family.form, family.lineages) == ("", "von Mises", 2)
        assert apart(family.shared["angle0"][0], ANGLES_OF[units.pop()], np.pi) < np.deg2rad(2)
        planted |= {int(orders[one.network][one.unit]) for one in family.members}
    assert planted == set(range(GABORS))
    assert found.votes["angle"]["distance"] < np.deg2rad(2)
    with study.reading() as catalogue:
        told = "\n".join([*saw_maps(study, catalogue), *show(catalogue, "M1"), *show(catalogue, "EM1")])
    assert f"{sum(not one.unreduced for one in found.families)} have an equation" in told
    assert "M1 = " in told
    assert "fitted without a lineage" in told


def _about(kind: str) -> tuple[np.ndarray, tuple[str, ...], str]:
    from consilience.analysis.vision.tuning_cuts import CUTS

    return family_rows(kind), CUTS[kind].coordinates, kind
