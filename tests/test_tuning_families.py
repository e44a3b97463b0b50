"""One equation for units of several networks: planted shared numbers come back, strangers are told from kin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consilience.analysis.formulas.expression import evaluate, variables
from consilience.analysis.vision.tuning_families import FamilyFit, fit_family, leave_lineages_out
from consilience.analysis.vision.tuning_laws import LAWS, TuningLaw
from consilience.zoo.errors import BadInput

ANGLES = np.linspace(0, np.pi, 36, endpoint=False)[:, None]


def law(kinds: str, name: str) -> TuningLaw:
    return next(one for one in LAWS[kinds] if one.name == name)


VON_MISES = law("orientation", "von Mises")


def units(
    count: int = 12, kappa: float = 2.5, noise: float = 0.02, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Von Mises units of one concentration with gain, preferred angle and offset of their own (the columns of own)."""
    random = np.random.default_rng(seed)
    own = np.column_stack(
        [10 ** random.uniform(-2, 2, count), random.uniform(0, np.pi, count), random.normal(size=count)]
    )
    gain, angle, offset = own.T[:, :, None]
    curves = gain * (np.exp(kappa * (np.cos(2 * (ANGLES.T - angle)) - 1)) + offset)
    return curves + noise * gain * random.normal(size=curves.shape), own, gain


def apart(one: np.ndarray, other: np.ndarray, period: float = np.pi) -> np.ndarray:
    return np.abs((one - other + period / 2) % period - period / 2)


def test_one_equation_fits_all_units_with_their_own_angle_gain_and_offset() -> None:
    curves, own, gain = units()
    found = fit_family(VON_MISES, ANGLES, curves)
    assert found.shared == {"kappa": pytest.approx(2.5, rel=0.05)}
    assert found.own_names == ("a", "angle0", "b")
    assert apart(found.own[:, 1], own[:, 1]).max() < math.radians(2)
    assert found.own[:, 0] == pytest.approx(own[:, 0], rel=0.1)
    assert found.own[:, 2] == pytest.approx(own[:, 0] * own[:, 2], abs=0.1 * gain.max())
    assert found.r2 > 0.99
    assert found.unit_r2.min() > 0.98
    assert found.spread["kappa"] < 0.3


def test_the_equation_with_a_units_numbers_gives_that_unit() -> None:
    curves, _, gain = units(noise=0.0)
    found = fit_family(VON_MISES, ANGLES, curves, names=["theta"])
    assert variables(found.expression) == ("a", "theta", "angle0", "b")
    for numbers, curve, size in zip(found.own, curves, gain[:, 0], strict=True):
        columns = {name: np.full(36, value) for name, value in zip(found.own_names, numbers, strict=True)}
        assert evaluate(found.expression, {**columns, "theta": ANGLES[:, 0]}) == pytest.approx(curve, abs=1e-3 * size)


def test_the_order_of_units_and_their_gain_make_no_difference() -> None:
    curves, _, _ = units()
    plain = fit_family(VON_MISES, ANGLES, curves)
    other = fit_family(VON_MISES, ANGLES, 100 * curves[::-1])
    assert other.shared["kappa"] == pytest.approx(plain.shared["kappa"], rel=1e-3)
    assert other.own[::-1] == pytest.approx(plain.own * [100, 1, 100], rel=1e-2, abs=1e-3)
    assert other.r2 == pytest.approx(plain.r2, abs=1e-4)


def test_a_family_that_is_none_shows_in_spread_and_fit() -> None:
    mixed = np.concatenate([units(6, kappa=0.7)[0], units(6, kappa=8.0, seed=1)[0]])
    found, true = fit_family(VON_MISES, ANGLES, mixed), fit_family(VON_MISES, ANGLES, units()[0])
    assert found.spread["kappa"] > 10 * true.spread["kappa"]
    assert found.r2 < 0.95 < true.r2


def test_curve_detectors_share_two_concentrations() -> None:
    turn, bends = np.linspace(0, 2 * np.pi, 24, endpoint=False), np.geomspace(0.02, 0.4, 8)
    rows = np.stack(np.meshgrid(turn, bends, indexing="ij"), axis=-1).reshape(-1, 2)
    curved = TuningLaw(
        "curve",
        "a*exp(kappa*(cos(angle - angle0) - 1))*exp(-log(bend/bend0)**2/(2*sigma**2)) + b",
        ("angle", "bend"),
        ("a", "b"),
        law("direction", "von Mises").numbers + _numbers(),
    )
    preferred = np.linspace(0, 6, 10)[:, None]
    tuned = np.exp(-(np.log(rows[:, 1] / 0.1) ** 2) / (2 * 0.6**2))
    curves = np.exp(1.5 * (np.cos(rows[:, 0] - preferred) - 1)) * tuned
    found = fit_family(curved, rows, curves + 0.03 * np.random.default_rng(0).normal(size=curves.shape))
    assert [found.shared[name] for name in ("kappa", "bend0", "sigma")] == pytest.approx([1.5, 0.1, 0.6], rel=0.05)
    assert apart(found.own[:, 1], preferred[:, 0], 2 * np.pi).max() < math.radians(3)


def _numbers() -> tuple:
    from consilience.analysis.vision.tuning_laws import Number

    return (Number("bend0", "frequency", 1), Number("sigma", "log width", 1))


def test_units_with_a_gain_keep_it() -> None:
    hues = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    own = np.linspace(0.5, 5.5, 6)
    curves = np.maximum(0, 3 * np.cos(hues.T - own[:, None]) - 1)
    with pytest.raises(BadInput, match="no number that units could share"):
        fit_family(law("hue", "rectified cosine"), hues, curves, ("hue0",))


def test_a_lineage_of_the_family_is_predicted_and_a_stranger_is_not() -> None:
    kin = [units(6, seed=seed)[0] for seed in range(4)]
    stranger = units(6, kappa=12.0, seed=9)[0]
    names = [name for name in ("one", "two", "three", "four", "stranger") for _ in range(6)]
    found = {one.lineage: one for one in leave_lineages_out(VON_MISES, ANGLES, np.concatenate([*kin, stranger]), names)}
    assert list(found) == ["one", "two", "three", "four", "stranger"]
    assert all(found[name].r2 > 0.97 for name in ("one", "two", "three", "four"))
    assert all(found[name].units == 6 for name in found)
    assert found["stranger"].r2 < 0.9
    assert found["stranger"].ratio > 3 > max(one.ratio for one in found.values() if one.lineage != "stranger")


def test_kin_alone_have_ratios_of_about_one() -> None:
    curves = np.concatenate([units(6, seed=seed)[0] for seed in range(3)])
    found = leave_lineages_out(VON_MISES, ANGLES, curves, [f"n{i // 6}" for i in range(18)])
    assert all(one.ratio == pytest.approx(1, abs=0.1) for one in found)


def test_silent_units_do_no_harm() -> None:
    curves = np.concatenate([units(4)[0], np.zeros((1, 36)), np.full((1, 36), 2.0)])
    found = fit_family(VON_MISES, ANGLES, curves)
    assert found.unit_r2[4:].tolist() == [0.0, 0.0]
    assert found.shared["kappa"] == pytest.approx(2.5, rel=0.1)


def test_what_cannot_be_a_family_is_said() -> None:
    curves = units(2)[0]
    with pytest.raises(BadInput, match="no number 'tau'"):
        fit_family(VON_MISES, ANGLES, curves, ("tau",))
    with pytest.raises(BadInput, match="cannot be fitted to these 2 stimuli"):
        fit_family(VON_MISES, ANGLES[:4], curves[:, :4])
    with pytest.raises(BadInput, match="one lineage only"):
        leave_lineages_out(VON_MISES, ANGLES, curves, ["one", "one"])
    assert isinstance(fit_family(VON_MISES, ANGLES, curves[:1]), FamilyFit)
