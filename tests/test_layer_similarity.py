"""Measures of whole layers: what each promises not to see, and which finds the same layer of another network."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from consilience.analysis.alignment.layer_similarity import MEASURES, identified, layer_table, likeness
from consilience.zoo.errors import BadInput

FIT_ON_WHAT_THEY_JUDGE = ("procrustes", "cca", "pwcca", "svcca", "regression")
BLIND_TO_ROTATION = ("cka", "procrustes", "cca", "svcca", "regression")
BLIND_TO_ANY_MAP = ("cca", "regression")


def _noise(seed: int, samples: int, units: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, units))


def _related(samples: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Give two layers that have part of what they do in common."""
    left, right = _noise(0, samples, 8) * np.arange(1, 9), _noise(1, samples, 11)
    right[:, :4] += left[:, :4]
    return left, right


@pytest.mark.parametrize("measure", MEASURES)
def test_a_layer_is_like_itself_and_less_like_others(measure: str) -> None:
    left, right = _related()
    compare = MEASURES[measure]
    assert compare(left, left) == pytest.approx(1.0)
    assert compare(left, right) == pytest.approx(likeness(left, right, measure=measure))
    assert 0.02 < compare(left, right) < 0.95
    assert compare(left, _noise(2, 300, 8)) < 0.5 * compare(left, right) + 0.2


@pytest.mark.parametrize("measure", MEASURES)
def test_order_and_scale_of_a_layer_do_not_matter(measure: str) -> None:
    left, right = _related()
    rng = np.random.default_rng(3)
    moved = 7.0 * left[:, rng.permutation(8)] + rng.standard_normal(8)
    rows = rng.permutation(300)
    expected = likeness(left, right, measure=measure)
    assert likeness(moved, right, measure=measure) == pytest.approx(expected)
    assert likeness(right, moved, measure=measure) == pytest.approx(likeness(right, left, measure=measure))
    assert likeness(left[rows], right[rows], measure=measure) == pytest.approx(expected)


@pytest.mark.parametrize("measure", BLIND_TO_ROTATION)
def test_rotation_is_not_seen_by_measures_of_spaces(measure: str) -> None:
    left, right = _related()
    turned = left @ np.linalg.qr(_noise(4, 8, 8))[0]
    assert likeness(turned, right, measure=measure) == pytest.approx(likeness(left, right, measure=measure))
    assert likeness(left, turned, measure=measure) == pytest.approx(1.0)


@pytest.mark.parametrize("measure", ["soft", "one_to_one"])
def test_rotation_is_seen_by_measures_of_units(measure: str) -> None:
    left, _ = _related()
    assert likeness(left, left @ np.linalg.qr(_noise(4, 8, 8))[0], measure=measure) < 0.8


@pytest.mark.parametrize("measure", BLIND_TO_ANY_MAP)
def test_invertible_maps_are_not_seen_by_regressions(measure: str) -> None:
    left, right = _related()
    assert likeness(left @ _noise(5, 8, 8), right, measure=measure) == pytest.approx(
        likeness(left, right, measure=measure)
    )


def test_units_of_equal_number_are_matched_one_to_one_by_either_way() -> None:
    left, right = _related()
    right = right[:, :8]
    assert likeness(left, right, measure="soft") == pytest.approx(likeness(left, right, measure="one_to_one"))
    doubled = np.repeat(left, 2, axis=1)
    assert likeness(left, doubled, measure="soft") == pytest.approx(1.0)


def test_procrustes_is_the_published_distance() -> None:
    left, right = (side - side.mean(axis=0) for side in _related())
    left, right = left / np.linalg.norm(left), right[:, :8] / np.linalg.norm(right[:, :8])
    distance = np.linalg.norm(left @ orthogonal_procrustes(left, right)[0] - right) ** 2
    assert likeness(left, right, measure="procrustes") == pytest.approx(1.0 - distance / 2.0)


def test_regression_is_the_share_of_variance_explained() -> None:
    left, right = (side - side.mean(axis=0) for side in _related())
    rest = right - left @ np.linalg.lstsq(left, right, rcond=None)[0]
    expected = 1.0 - np.sum(rest**2) / np.sum(right**2)
    assert likeness(left, right, measure="regression") == pytest.approx(expected)


def test_unbiased_cka_of_noise_is_about_zero_where_fitted_measures_are_not() -> None:
    pairs = [(_noise(2 * seed, 128, 128), _noise(2 * seed + 1, 128, 128)) for seed in range(10)]
    assert np.abs([likeness(*pair) for pair in pairs]).max() < 0.02
    assert likeness(*pairs[0], measure="cca") > 0.9


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("samples", "left", "right"), [(4, 1, 1), (4, 1, 6), (5, 30, 2), (50, 1, 1)])
def test_few_units_and_samples_are_borne(measure: str, samples: int, left: int, right: int) -> None:
    assert abs(likeness(_noise(6, samples, left), _noise(7, samples, right), measure=measure)) <= 1.0 + 1e-9


@pytest.mark.parametrize("measure", MEASURES)
def test_dead_units_are_as_if_absent(measure: str) -> None:
    left, right = _related()
    with_dead = np.insert(np.insert(left, 2, np.nan, axis=1), 5, 0.5, axis=1)
    assert likeness(with_dead, right, measure=measure) == pytest.approx(likeness(left, right, measure=measure))
    assert likeness(np.ones((300, 3)), right, measure=measure) == 0.0
    assert likeness(right, np.full((300, 3), np.nan), measure=measure) == 0.0


def test_what_cannot_be_compared_is_refused() -> None:
    left, right = _related()
    with pytest.raises(BadInput, match="no measure of layers 'likeness'"):
        likeness(left, right, measure="likeness")
    with pytest.raises(BadInput, match=r"layers with \[200, 300\] samples"):
        likeness(left, right[:200])
    with pytest.raises(BadInput, match="3 samples are too few"):
        likeness(left[:3], right[:3])


def test_the_same_layer_is_identified_both_ways() -> None:
    layers = [_noise(seed, 200, 5) for seed in range(4)]
    others = [layer + 0.1 * _noise(9, 200, 5) for layer in layers]
    assert identified(layer_table(layers, others)) == 1.0
    assert identified(layer_table(layers, [others[0], others[2], others[1], others[3]])) == 0.5


@pytest.mark.slow
def test_cka_finds_the_same_layer_of_networks_trained_apart_and_cca_does_not() -> None:
    recipe = runpy.run_path(str(Path(__file__).parents[1] / "data" / "recipes" / "digits_cnns.py"))
    networks, right = recipe["recorded_set"](1000)
    assert min(right) > 0.95
    found = {measure: recipe["accuracy"](networks, measure) for measure in MEASURES}
    print(found)
    # Five sets of networks gave CKA 70 to 78 %; chance is 14.3 %.
    assert found["cka"] > 0.6
    for measure in ("cca", "pwcca", "svcca", "regression"):
        assert found["cka"] > found[measure] + 0.1
        assert found["soft"] > found[measure]
    assert max(found["cca"], found["svcca"]) < 0.4
    assert found["cka"] > found["soft"] > found["one_to_one"]
    assert found["procrustes"] > 0.6
