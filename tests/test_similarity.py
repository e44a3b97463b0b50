"""Correlations of units and CKA of layers: known values and invariances."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.alignment.similarity import (
    activations,
    centred_gram,
    cka,
    correlate,
    resemblance,
    standardise,
)
from consilience.zoo.errors import BadInput


def _noise(seed: int, samples: int, units: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, units))


def _hsic_by_definition(left: np.ndarray, right: np.ndarray) -> float:
    """Song et al. 2012, equation 5, term by term."""
    n = len(left)
    k, m = left @ left.T, right @ right.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(m, 0.0)
    one = np.ones(n)
    return float(
        np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (one @ k @ m @ one)
    )


def test_correlate_is_pearson_in_blocks_of_any_width() -> None:
    left, right = _noise(0, 50, 1100), _noise(1, 50, 3) * 1e-3 + 7.0
    truth = np.corrcoef(left.T, right.T)[:1100, 1100:]
    np.testing.assert_allclose(correlate(left.astype(np.float64), right), truth, atol=1e-9)
    assert correlate(left[:, :0], right).shape == (0, 3)


def test_dead_units_correlate_zero_with_everything() -> None:
    left = _noise(0, 40, 3).astype(np.float32)
    left[:, 1], left[0, 2] = 0.3, np.nan
    r = correlate(left, left)
    assert r[0, 0] == pytest.approx(1.0)
    assert not r[1:].any()
    assert not r[:, 1:].any()
    assert not standardise(left)[:, 1:].any()


def test_resemblance_forgets_the_sign_only_where_a_unit_may_be_flipped() -> None:
    r = np.array([[-0.5, 0.5], [-0.25, 0.75]])
    assert resemblance(r, left_odd=False, right_odd=False).tolist() == r.tolist()
    assert resemblance(r, left_odd=True, right_odd=False).tolist() == np.abs(r).tolist()
    mixed = resemblance(r, left_odd=np.array([False, True]), right_odd=np.array([False, False]))
    assert mixed.tolist() == [[-0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize("widths", [(5, 9), (60, 9), (70, 80)])
def test_cka_follows_the_published_formula_through_either_gram_matrix(widths: tuple[int, int]) -> None:
    left, right = _noise(0, 40, widths[0]) + 2.0, _noise(1, 40, widths[1])
    right[:, :5] += left[:, :5]
    scale = np.sqrt(_hsic_by_definition(left, left) * _hsic_by_definition(right, right))
    assert cka(left, right) == pytest.approx(_hsic_by_definition(left, right) / scale, abs=1e-9)
    assert np.vdot(centred_gram(left), centred_gram(right)) == pytest.approx(_hsic_by_definition(left, right), rel=1e-9)


def test_cka_of_noise_is_about_zero_however_wide_the_layers() -> None:
    values = [cka(_noise(2 * seed, 128, 128), _noise(2 * seed + 1, 128, 128)) for seed in range(20)]
    assert abs(np.mean(values)) < 0.005
    assert np.std(values) < 0.02


def test_cka_does_not_see_rotation_scale_shift_or_order_of_samples() -> None:
    left, right = _noise(0, 100, 6), _noise(1, 100, 8)
    right[:, :3] += left[:, :3]
    value = cka(left, right)
    rotation = np.linalg.qr(_noise(3, 6, 6))[0]
    order = np.random.default_rng(4).permutation(100)
    assert cka(left @ rotation * 3.0 + 5.0, right) == pytest.approx(value, abs=1e-9)
    assert cka(left[order], right[order]) == pytest.approx(value, abs=1e-9)
    assert cka(right, left) == pytest.approx(value, abs=1e-12)
    assert cka(left, left) == pytest.approx(1.0)
    dead = np.hstack([left, np.full((100, 2), 3.0)])
    assert cka(dead, right) == pytest.approx(value, abs=1e-12)


def test_layers_without_a_live_unit_are_like_nothing() -> None:
    assert cka(np.ones((20, 3)), _noise(0, 20, 3)) == 0.0


def test_activations_mark_dead_units_and_those_that_the_caller_knows() -> None:
    values = np.hstack([_noise(0, 30, 3), np.ones((30, 1))])
    assert activations(values, lineage="a").alive.tolist() == [True, True, True, False]
    known = activations(values, lineage="a", alive=np.array([True, False, True, True]))
    assert known.alive.tolist() == [True, False, True, False]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(BadInput, match="30 samples on one side, 31 on the other"):
        correlate(_noise(0, 30, 2), _noise(0, 31, 2))
    with pytest.raises(BadInput, match="3 samples are too few for CKA"):
        cka(_noise(0, 3, 2), _noise(0, 3, 2))
    with pytest.raises(BadInput, match="3 samples are too few to compare"):
        activations(_noise(0, 3, 2), lineage="a")
