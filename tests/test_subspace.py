"""Directions are found under any map of units, noise has none, and r holds on fresh samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment

from consilience.analysis.alignment.similarity import Activations, activations, correlate, standardise
from consilience.analysis.alignment.subspace import Directions, basis, cca, procrustes, soft, svcca
from consilience.zoo.errors import BadInput

FITTED = {"cca": cca, "svcca": svcca, "procrustes": procrustes}
ALL = {**FITTED, "soft": soft}


def _layer(values: np.ndarray, *, odd: bool = False) -> Activations:
    return activations(values, odd=odd, lineage="any")


def _pair(samples: int, widths: tuple[int, int], *, shared: int = 5, seed: int = 0) -> list[np.ndarray]:
    """Give the latents that two layers share, and the layers: those, as many of their own, and noise."""
    maps, rng = np.random.default_rng(99), np.random.default_rng(seed)
    latents = rng.standard_normal((samples, shared))
    layers = [
        np.concatenate([latents, rng.standard_normal((samples, shared))], axis=1)
        @ np.linalg.qr(maps.standard_normal((width, width)))[0][: 2 * shared]
        + 0.1 * rng.standard_normal((samples, width))
        for width in widths
    ]
    return [latents, *layers]


def _spoken(found: Directions, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Correlate each direction with its partner."""
    one, two = standardise(left) @ found.left, standardise(right) @ found.right
    return np.diag(correlate(one, two))


@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize("widths", [(30, 40), (12, 60)])
def test_planted_directions_are_found_and_no_others(method: str, widths: tuple[int, int]) -> None:
    latents, left, right = _pair(1000, widths)
    found = FITTED[method](_layer(left), _layer(right))
    assert (np.diff(found.r) <= 0.0).all()
    assert found.r[4] > 0.8
    assert found.r[5:].max() < 0.3
    angles = subspace_angles(latents, standardise(left) @ found.left[:, :5])
    assert np.degrees(angles.max()) < 15.0
    for layer, weights in ((left, found.left), (right, found.right)):
        np.testing.assert_allclose(np.linalg.norm(standardise(layer) @ weights, axis=0), 1.0, atol=1e-6)


@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize("shape", [(128, 128), (200, 40), (60, 100)])
def test_noise_has_no_directions_however_few_the_samples(method: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    found = FITTED[method](_layer(rng.standard_normal(shape)), _layer(rng.standard_normal(shape)))
    assert found.r.max() < 0.45
    assert found.r.mean() < 0.1


@pytest.mark.parametrize("method", FITTED)
def test_r_is_what_fresh_samples_give_or_less(method: str) -> None:
    _, left, right = _pair(200, (60, 80))
    found = FITTED[method](_layer(left), _layer(right))
    _, fresh_left, fresh_right = _pair(4000, (60, 80), seed=1)
    fresh = _spoken(found, fresh_left, fresh_right)
    assert (fresh[:5] > found.r[:5] - 0.1).all()
    assert abs(fresh[5:].mean() - found.r[5:].mean()) < 0.1


@pytest.mark.parametrize("method", FITTED)
def test_the_same_space_on_other_axes_is_the_same(method: str) -> None:
    rng = np.random.default_rng(2)
    base = standardise(rng.standard_normal((500, 12)))
    turned = base @ np.linalg.qr(rng.standard_normal((12, 12)))[0]
    found = FITTED[method](_layer(base), _layer(turned))
    assert found.r.min() > 0.97
    assert _spoken(found, base, turned).min() > 0.97


def test_cca_sees_through_any_invertible_map() -> None:
    rng = np.random.default_rng(3)
    base = rng.standard_normal((1000, 10))
    mixed = base @ (rng.standard_normal((10, 10)) * np.logspace(-2, 2, 10))
    assert cca(_layer(base), _layer(mixed)).r.min() > 0.99


@pytest.mark.parametrize("method", ALL)
def test_dead_units_weigh_nothing_and_empty_layers_share_nothing(method: str) -> None:
    _, left, right = _pair(300, (12, 11))
    left[:, 3], left[:, 5] = 0.5, np.nan
    found = ALL[method](_layer(left), _layer(right))
    assert not found.left[[3, 5]].any()
    assert np.isfinite(found.left).all()
    assert np.abs(found.r).max() <= 1.0
    for pair in ((left, np.zeros((300, 4))), (np.zeros((300, 4)), right)):
        nothing = ALL[method](*map(_layer, pair))
        assert nothing.r.size == 0
        assert nothing.left.shape == (pair[0].shape[1], 0)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 1, 5), (5, 30, 2), (100, 1, 1)])
def test_few_units_and_samples_are_borne(method: str, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(4)
    samples, left, right = shape
    found = ALL[method](_layer(rng.standard_normal((samples, left))), _layer(rng.standard_normal((samples, right))))
    assert np.isfinite(found.r).all()
    assert np.isfinite(found.left).all()
    assert np.isfinite(found.right).all()


@pytest.mark.parametrize("method", ALL)
def test_layers_of_different_samples_are_refused(method: str) -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(BadInput, match=r"networks with \[40, 50\] samples"):
        ALL[method](_layer(rng.standard_normal((40, 3))), _layer(rng.standard_normal((50, 3))))


@pytest.mark.parametrize("method", ALL)
def test_the_device_changes_nothing(method: str) -> None:
    _, left, right = _pair(300, (40, 50))
    # Not plainly "cpu": as any device but that, it goes through torch.
    ours, theirs = (ALL[method](_layer(left), _layer(right), device=device) for device in ("cpu", "cpu:0"))
    np.testing.assert_allclose(ours.r, theirs.r, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 30), (60, 30)])
@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_whitened_units_are_uncorrelated_and_of_length_one(shape: tuple[int, int], device: str) -> None:
    units = standardise(np.random.default_rng(8).standard_normal(shape))
    whitened = units @ basis(units, device=device)
    np.testing.assert_allclose(whitened.T @ whitened, np.eye(min(shape[0] - 1, 30)), atol=1e-9)


@pytest.mark.parametrize("odd", [True, False])
def test_soft_matching_finds_a_permutation_and_keeps_the_rule_of_signs(odd: bool) -> None:
    rng = np.random.default_rng(6)
    base = rng.standard_normal((400, 15))
    order, signs = rng.permutation(15), rng.choice([-1.0, 1.0], 15)
    found = soft(_layer(base, odd=odd), _layer(base[:, order] * (signs if odd else 1.0)))
    np.testing.assert_allclose(found.r, 1.0, atol=1e-6)
    assert (found.left != 0.0).sum() == 15
    assert (np.abs(found.right) > 1e-9).sum() == 15
    assert (order[np.abs(found.right).argmax(axis=0)] == found.left.argmax(axis=0)).all()


def test_soft_matching_of_equal_widths_is_an_assignment_and_splits_duplicates() -> None:
    rng = np.random.default_rng(7)
    _, left, right = _pair(200, (20, 20))
    r = correlate(left, right)
    rows, columns = linear_sum_assignment(r, maximize=True)
    assert np.sort(soft(_layer(left), _layer(right)).r) == pytest.approx(np.sort(r[rows, columns]), abs=1e-6)
    twice = np.repeat(left, 2, axis=1) + 0.01 * rng.standard_normal((200, 40))
    found = soft(_layer(left), _layer(twice))
    assert found.r.min() > 0.999
    assert ((np.abs(found.right) > 1e-9).sum(axis=0) == 2).all()
