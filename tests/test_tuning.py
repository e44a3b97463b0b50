"""Planted units get their law, their numbers and their name back; noise and silence are not reduced."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.analysis.distillation.distil import distil
from consilience.analysis.distillation.engine_operon import operon_at_hand
from consilience.analysis.distillation.search import ENGINES
from consilience.analysis.formulas.expression import evaluate, variables
from consilience.analysis.formulas.printing import to_text
from consilience.analysis.vision.tuning import LawFit, alternate, hold_out, race, race_units, winner
from consilience.analysis.vision.tuning_indices import GratingIndices, detector, grating_indices
from consilience.analysis.vision.tuning_laws import LAWS, TuningLaw
from consilience.analysis.vision.tuning_target import as_target
from consilience.zoo.errors import BadInput

ANGLES = np.linspace(0, np.pi, 36, endpoint=False)
FREQUENCIES = np.geomspace(0.02, 0.4, 10)
PHASES = np.linspace(0, 2 * np.pi, 8, endpoint=False)
TURN = np.linspace(0, 2 * np.pi, 48, endpoint=False)
CONTRAST = np.linspace(0, 1, 24)
PLAID = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9), indexing="ij"), axis=-1).reshape(-1, 2)


def noise(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size)


def von_mises(angle: np.ndarray, preferred: float, kappa: float, *, times: float = 2.0) -> np.ndarray:
    return np.exp(kappa * (np.cos(times * (angle - preferred)) - 1))


def rectified(values: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, values)


def won(values: np.ndarray, rows: np.ndarray, *kinds: str) -> LawFit:
    columns = rows.reshape(len(values), -1)
    return winner(race(values, columns, [f"v{i}" for i in range(columns.shape[1])], kinds))


def apart(one: float, other: float, period: float) -> float:
    return abs((one - other + period / 2) % period - period / 2)


# Planted laws


@pytest.mark.parametrize("preferred", [0.0, 0.4, 1.7, 3.1])
@pytest.mark.parametrize("kappa", [0.8, 2.0, 6.0])
def test_a_von_mises_unit_gets_its_angle_and_concentration_back(preferred: float, kappa: float) -> None:
    found = won(5 * von_mises(ANGLES, preferred, kappa) + 2 + 0.05 * noise(36), ANGLES, "orientation")
    assert found.law == "von Mises"
    assert found.reduced
    assert apart(found.parameters["angle0"], preferred, np.pi) < math.radians(2)
    assert found.parameters["kappa"] == pytest.approx(kappa, rel=0.2)
    assert 0 <= found.parameters["angle0"] < np.pi


def test_a_direction_is_not_an_orientation() -> None:
    found = won(von_mises(TURN, 4.0, 3.0, times=1.0) + 0.01 * noise(48), TURN, "direction")
    assert (found.law, found.parameters["angle0"]) == ("von Mises", pytest.approx(4.0, abs=0.03))
    assert not won(von_mises(TURN, 4.0, 3.0, times=1.0), TURN, "orientation").reduced


@pytest.mark.parametrize(
    ("truth", "law"),
    [(1 + 0.4 * np.cos(2 * (ANGLES - 1)), "cosine"), (von_mises(ANGLES, 1.0, 3.0), "von Mises")],
)
def test_laws_of_an_angle_are_told_apart(truth: np.ndarray, law: str) -> None:
    assert won(truth + 0.002 * noise(36), ANGLES, "orientation").law == law


def test_a_gaussian_that_the_shorter_von_mises_law_fits_as_well_is_called_that() -> None:
    curve = np.exp(-(((ANGLES - 1.5) / 0.5) ** 2) / 2) + 0.002 * noise(36)
    fits = {fit.law: fit for fit in race(curve, ANGLES[:, None], ["angle"], ["orientation"])}
    assert fits["von Mises"].wins
    assert 0 < fits["wrapped Gaussian"].r2 - fits["von Mises"].r2 < 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_line_that_is_cut_off_is_no_saturation(seed: int) -> None:
    cut = won(np.clip(9 * CONTRAST - 1, 0, 6) + 0.02 * noise(24, seed), CONTRAST, "contrast")
    assert cut.law == "line with a ceiling"
    ends = sorted((cut.parameters["start"], cut.parameters["end"]))
    assert ends == pytest.approx([1 / 9, 7 / 9], abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_a_rectified_line_and_saturation_are_told_apart(seed: int) -> None:
    line = won(rectified(4 * CONTRAST - 1) + 0.02 * noise(24, seed), CONTRAST, "contrast")
    saturating = won(4 * CONTRAST**2 / (CONTRAST**2 + 0.2**2) + 0.02 * noise(24, seed), CONTRAST, "contrast")
    assert (line.law, saturating.law) == ("rectified line", "hyperbolic ratio")
    assert [line.parameters["a"], line.parameters["b"]] == pytest.approx([4, -1], rel=0.1)
    assert saturating.parameters["half"] == pytest.approx(0.2, rel=0.1)
    assert saturating.parameters["n"] == pytest.approx(2, rel=0.2)


def test_a_line_needs_no_rectifier() -> None:
    assert won(0.3 + 2 * CONTRAST + 0.02 * noise(24), CONTRAST, "contrast").law == "line"
    assert won(3 - 2 * CONTRAST + 0.02 * noise(24), CONTRAST, "contrast").law == "line"


@pytest.mark.parametrize(
    ("truth", "law", "hue", "period"),
    [
        (2 + np.cos(TURN - 5), "cosine", 5.0, 2 * np.pi),
        (2 + np.cos(2 * (TURN - 2)), "double cosine", 2.0, np.pi),
        (rectified(3 * np.cos(TURN - 1) - 0.5), "rectified cosine", 1.0, 2 * np.pi),
    ],
)
def test_hues_have_the_right_period(truth: np.ndarray, law: str, hue: float, period: float) -> None:
    found = won(truth + 0.02 * noise(48), TURN, "hue")
    assert (found.law, found.reduced) == (law, True)
    assert apart(found.parameters["hue0"], hue, period) < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_a_divisive_unit_and_a_sum_are_told_apart(seed: int) -> None:
    one, two = PLAID.T
    divisive = won(
        3 * one**2 / (0.3**2 + one**2 + 0.8 * two**2) + 0.02 * noise(81, seed), PLAID, "contrast", "contrast"
    )
    rectifying = won(rectified(2 * one - 3 * two + 0.4) + 0.02 * noise(81, seed), PLAID, "contrast", "contrast")
    linear = won(2 * one - 3 * two + 0.4 + 0.02 * noise(81, seed), PLAID, "contrast", "contrast")
    assert (divisive.law, rectifying.law, linear.law) == ("divisive", "rectified sum", "linear sum")
    assert divisive.parameters["half"] == pytest.approx(0.3, rel=0.1)
    assert divisive.parameters["w"] == pytest.approx(0.8, rel=0.1)
    assert rectifying.parameters["c"] == pytest.approx(-3, rel=0.1)


def test_frequencies_places_and_curvatures_have_their_laws() -> None:
    many = np.geomspace(0.01, 0.5, 24)
    band = won(np.exp(-(np.log(many / 0.1) ** 2) / (2 * 0.5**2)) + 0.01 * noise(24), many, "frequency")
    assert (band.law, band.parameters["frequency0"]) == ("log-Gaussian", pytest.approx(0.1, rel=0.03))
    assert won(1 / many + 0.3 * noise(24), many, "frequency").law == "power"
    place = np.linspace(-20, 20, 41)
    spot = np.exp(-((place - 3) ** 2) / 18)
    assert won(spot + 0.01 * noise(41), place, "position").parameters["x0"] == pytest.approx(3, abs=0.2)
    ringed = spot - 0.5 * np.exp(-((place - 3) ** 2) / 128)
    assert won(ringed + 0.01 * noise(41), place, "position").law == "difference of Gaussians"
    bend = np.linspace(-0.2, 0.2, 24)
    assert won(np.exp(-(((bend - 0.05) / 0.05) ** 2)) + 0.01 * noise(24), bend, "curvature").law == "Gaussian"


def test_a_unit_of_gratings_is_a_product() -> None:
    rows = np.stack(np.meshgrid(ANGLES, FREQUENCIES, indexing="ij"), axis=-1).reshape(-1, 2)
    tuned = np.exp(-(np.log(rows[:, 1] / 0.12) ** 2) / (2 * 0.6**2))
    found = won(von_mises(rows[:, 0], 1.0, 2.0) * tuned + 0.02 * noise(360), rows, "orientation", "frequency")
    assert found.law == "product"
    assert found.parameters["frequency0"] == pytest.approx(0.12, rel=0.03)
    assert found.parameters["kappa"] == pytest.approx(2, rel=0.1)


# What is no law


@pytest.mark.parametrize("kinds", [kinds for kinds in LAWS if " " not in kinds])
def test_noise_is_not_reduced_and_silence_does_no_harm(kinds: str) -> None:
    rows = np.linspace(0.02, 1, 40)
    silent = np.array([0.0, 3.7])[:, None] * np.ones(40)
    fits = race_units(np.concatenate([noise(200).reshape(5, 40), silent]), rows[:, None], ["v"], [kinds])
    assert not any(winner(fit).reduced for fit in fits)
    assert [(winner(fit).law, winner(fit).r2) for fit in fits[5:]] == [("constant", 0.0)] * 2


def test_too_few_stimuli_leave_laws_with_fewer_numbers() -> None:
    fits = race(np.array([1.0, 2.0, 3.0, 4.0]), np.arange(4.0)[:, None], ["c"], ["contrast"])
    assert [fit.law for fit in fits] == ["constant", "line", "rectified line"]


def test_unknown_kinds_and_broken_responses_are_said() -> None:
    with pytest.raises(BadInput, match="no law of tuning for 'taste'"):
        race(CONTRAST, CONTRAST[:, None], ["c"], ["taste"])
    with pytest.raises(BadInput, match="not finite"):
        race(np.full(24, np.nan), CONTRAST[:, None], ["c"], ["contrast"])


def test_few_stimuli_are_all_used_and_each_is_held_out_once() -> None:
    turns = hold_out(FREQUENCIES[::-1, None])
    assert np.sum(turns, axis=0).tolist() == [1] * 10
    curve = np.exp(-(np.log(FREQUENCIES / 0.1) ** 2) / (2 * 0.6**2))
    found = won(curve + 0.01 * noise(10), FREQUENCIES, "frequency")
    assert (found.law, found.reduced) == ("log-Gaussian", True)
    assert found.parameters["frequency0"] == pytest.approx(0.1, rel=0.05)
    nothing = race_units(noise(100).reshape(10, 10), FREQUENCIES[:, None], ["f"], ["frequency"])
    assert not any(winner(fits).reduced for fits in nothing)


# The library and the race


@pytest.mark.parametrize(("kinds", "law"), [(kinds, law) for kinds, laws in LAWS.items() for law in laws])
def test_every_law_is_whole(kinds: str, law: TuningLaw) -> None:
    assert {*law.linear, *law.nonlinear} == {*law.parameters}
    assert len(law.coordinates) == len(kinds.split())
    assert {*law.gain} <= {*law.nonlinear}


def test_an_equation_is_in_the_names_of_the_coordinates() -> None:
    curve = von_mises(ANGLES, 1.0, 2.0)
    found = winner(race(curve, ANGLES[:, None], ["a"], ["orientation"]))  # also the name of a number
    assert variables(found.expression) == ("a",)
    assert evaluate(found.expression, {"a": ANGLES}) == pytest.approx(curve, abs=1e-6)


def test_held_out_are_other_angles_and_frequencies() -> None:
    assert alternate(np.repeat(ANGLES, 8)[:, None]).reshape(36, 8).all(axis=1).sum() == 18
    rows = np.stack(np.meshgrid(ANGLES, FREQUENCIES, indexing="ij"), axis=-1).reshape(-1, 2)
    board = alternate(rows).reshape(36, 10)
    assert (board[1:] != board[:-1]).all()
    assert (board[:, 1:] != board[:, :-1]).all()


@settings(max_examples=15, deadline=None)
@given(
    steps=st.integers(0, 35),
    gain=st.floats(0.01, 100),
    offset=st.floats(-10, 10),
    kappa=st.floats(0.5, 8),
)
def test_turning_scaling_and_lifting_a_unit_changes_nothing_else(
    steps: int, gain: float, offset: float, kappa: float
) -> None:
    curve = von_mises(ANGLES, 0.7, kappa) + 0.03 * noise(36)
    plain = won(curve, ANGLES, "orientation")
    moved = won(gain * (np.roll(curve, 2 * steps) + offset), ANGLES, "orientation")
    assert moved.law == plain.law
    assert moved.r2 == pytest.approx(plain.r2, abs=1e-4)
    assert apart(moved.parameters["angle0"], plain.parameters["angle0"] + ANGLES[1] * 2 * steps, np.pi) < 1e-3
    if plain.law == "von Mises":
        assert moved.parameters["kappa"] == pytest.approx(plain.parameters["kappa"], rel=1e-2)


def test_most_of_a_hundred_units_are_reduced_by_their_own_law() -> None:
    random = np.random.default_rng(0)
    preferred, kappa = random.uniform(0, np.pi, (100, 1)), random.uniform(0.8, 6, (100, 1))
    curves = np.exp(kappa * (np.cos(2 * (ANGLES - preferred)) - 1)) + 0.03 * random.normal(size=(100, 36))
    fits = [winner(fit) for fit in race_units(curves, ANGLES[:, None], ["angle"], ["orientation"])]
    assert Counter(fit.law for fit in fits)["von Mises"] >= 90
    assert sum(fit.reduced for fit in fits) >= 95


@pytest.mark.slow
@pytest.mark.skipif(not operon_at_hand(), reason="pyoperon is not installed")
def test_the_search_finds_the_exponential_of_the_cosine() -> None:
    made = as_target(3 * np.exp(2.5 * np.cos(TURN - 1.2)), TURN[:, None], ["angle"], ["direction"])
    found = distil(made.target, engine=ENGINES["operon"], restarts=3, evaluations=10_000, seed=0).chosen.expression
    assert to_text(found, digits=6) == "3*exp(2.5*cos_angle)"
    assert evaluate(made.in_coordinates(found), {"angle": TURN}) == pytest.approx(
        3 * np.exp(2.5 * np.cos(TURN - 1.2)), rel=1e-3
    )


# Indices

GRID = np.meshgrid(ANGLES, FREQUENCIES, PHASES, indexing="ij")


def linear(phase: float = 0.0, *, angle: float = 1.0, frequency: float = 0.1, kappa: float = 3.0) -> np.ndarray:
    """A linear unit's response to gratings: what an even or odd Gabor gives, von Mises times log-Gaussian."""
    a, f, p = GRID
    tuned = von_mises(a, angle, kappa) * np.exp(-(np.log(f / frequency) ** 2) / (2 * 0.5**2))
    return tuned * np.cos(p - phase)


def energy() -> np.ndarray:
    return linear() ** 2 + linear(np.pi / 2) ** 2


def indices(cube: np.ndarray, **options: object) -> GratingIndices:
    return grating_indices(cube, ANGLES, FREQUENCIES, PHASES, **options)  # type: ignore[arg-type]


def test_energy_and_rectified_units_have_their_f1_over_f0() -> None:
    fine = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    unit = rectified(np.cos(fine))[None, None] * np.ones((36, 10, 1))
    assert grating_indices(unit, ANGLES, FREQUENCIES, fine).f1_f0 == pytest.approx(np.pi / 2, abs=1e-3)
    assert indices(rectified(linear())).f1_f0 == pytest.approx(1.57, abs=0.1)  # 8 phases
    assert indices(energy()).f1_f0 == pytest.approx(0, abs=1e-9)
    assert indices(energy()).modulation == pytest.approx(0, abs=1e-9)
    assert indices(linear()).f1_f0 > 1e6
    assert indices(rectified(linear())).modulation == pytest.approx(1)


def test_angle_frequency_and_widths_come_back() -> None:
    found = indices(linear(angle=0.03, frequency=0.1, kappa=3.0))
    assert apart(found.angle, 0.03, np.pi) < math.radians(0.5)
    assert found.frequency == pytest.approx(0.1, rel=0.03)
    assert found.half_width == pytest.approx(math.degrees(math.acos(1 + math.log(0.5) / 3) / 2), rel=0.02)
    assert found.bandwidth == pytest.approx(2 * 0.5 * math.sqrt(2 * math.log(2)) / math.log(2), rel=0.05)
    assert found.separability == pytest.approx(1)
    assert found.selectivity == pytest.approx(0.81, abs=0.01)  # I1(3)/I0(3), Bessel functions
    assert found.orthogonal > 0.99


def test_what_has_no_orientation_has_no_selectivity() -> None:
    found = indices(energy().max(axis=0, keepdims=True) * np.ones((36, 1, 1)))
    assert (found.selectivity, found.half_width) == (pytest.approx(0, abs=1e-9), 90.0)
    assert found.orthogonal == pytest.approx(0, abs=1e-9)


def test_two_preferences_at_two_frequencies_are_not_separable() -> None:
    both = linear(angle=0.5, frequency=0.04) + linear(angle=2.0, frequency=0.3)
    assert indices(both).separability < 0.7


def test_beyond_the_lattice_is_flagged() -> None:
    assert indices(linear(frequency=0.3), stride=2).aliased
    assert not indices(linear(frequency=0.2), stride=2).aliased
    assert not indices(linear(frequency=0.3), stride=1).aliased
    assert indices(linear(frequency=0.2), stride=4).aliased


def test_colour_is_held_against_luminance() -> None:
    assert indices(linear(), chromatic=3 * linear()).colour == pytest.approx(0.5)
    assert indices(linear(), chromatic=0 * linear()).colour == -1
    assert math.isnan(indices(linear()).colour)


def test_the_phase_is_that_at_the_units_centre() -> None:
    assert indices(linear(2.0)).phase == pytest.approx(2.0)
    a, f, p = GRID
    x, y = 3.0, -2.0
    there = linear() * 0 + np.cos(2 * np.pi * f * (x * np.cos(a) + y * np.sin(a)) + p - 2.0) * np.abs(linear()).max(
        axis=2, keepdims=True
    )
    assert indices(there, centre=(x, y)).phase == pytest.approx(2.0)


@pytest.mark.parametrize("cube", [rectified(linear(1.0)), energy(), linear(0.3)])
def test_indices_do_not_change_with_gain_offset_or_turn(cube: np.ndarray) -> None:
    plain = indices(cube)
    moved = indices(7 * cube + 3, blank=3.0)
    turned = indices(np.roll(cube, 5, axis=0))
    for name in GratingIndices.__slots__:
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-9, nan_ok=True)
        if name != "angle":
            assert getattr(turned, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-9, nan_ok=True)
    assert apart(turned.angle, plain.angle + ANGLES[5], np.pi) < 1e-9


@pytest.mark.parametrize("level", [0.0, 2.0, -2.0])
def test_a_silent_unit_has_indices(level: float) -> None:
    found = indices(np.full((36, 10, 8), level))
    assert (found.selectivity, found.orthogonal, found.modulation) == (pytest.approx(0, abs=1e-9), 0.0, 0.0)
    assert found.f1_f0 == pytest.approx(0, abs=1e-9)


# Names


def named(cube: np.ndarray, **options: object) -> str:
    found = indices(cube, **options)
    strength = np.abs(np.fft.fft(cube, axis=2)[:, :, :2]).max(axis=2)
    i, j = np.unravel_index(int(strength.argmax()), strength.shape)
    return detector(
        found,
        {
            "orientation": won(strength[:, j], ANGLES, "orientation"),
            "frequency": won(strength[i], FREQUENCIES, "frequency"),
        },
    )


def test_units_are_called_what_they_are() -> None:
    assert named(energy()) == "orientation"
    assert named(rectified(linear(0.2))) == "line"
    assert named(rectified(linear(np.pi))) == "line"
    assert named(rectified(linear(np.pi / 2))) == "edge"
    assert named(linear(-np.pi / 2)) == "edge"
    assert named(np.random.default_rng(0).uniform(size=(36, 10, 8))) == "not reduced"


def law_of(values: np.ndarray, rows: np.ndarray, *kinds: str) -> dict[str, LawFit]:
    return {" ".join(kinds): won(values, rows, *kinds)}


def test_colour_curve_and_spot_have_their_evidence() -> None:
    round_unit = indices(energy().max(axis=0, keepdims=True) * np.ones((36, 1, 1)), chromatic=5 * linear())
    hue = law_of(2 + np.cos(TURN - 1), TURN, "hue")
    assert detector(round_unit, hue) == "colour"
    place = np.linspace(-20, 20, 41)
    assert detector(round_unit, law_of(np.exp(-(place**2) / 18), place, "position")) == "spot"
    bend = np.linspace(-0.2, 0.2, 24)
    curve = law_of(np.exp(-(((bend - 0.05) / 0.05) ** 2)), bend, "curvature")
    assert detector(round_unit, curve) == "not reduced"
    assert detector(round_unit, curve | law_of(von_mises(TURN, 1, 2, times=1), TURN, "direction")) == "curve"
    silent = law_of(np.ones(48), TURN, "hue")
    assert detector(round_unit, silent) == "not reduced"
