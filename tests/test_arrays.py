"""Alignment and clustering of plain arrays, as a user without a zoo meets them; poor input gets a clear word."""

from __future__ import annotations

import numpy as np
import pytest

import consilience
from consilience.analysis.alignment.matching import Alignment
from consilience.zoo.errors import BadInput


def _networks(count: int, *, units: int = 20, samples: int = 300, noise: float = 0.4) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    common = rng.standard_normal((samples, units))
    return [common[:, rng.permutation(units)] + noise * rng.standard_normal((samples, units)) for _ in range(count)]


def test_features_of_arrays_are_what_they_share() -> None:
    found = consilience.cluster(_networks(4))
    shared = found.q <= 0.05
    assert shared.sum() == 20
    assert found.features.universality[shared].tolist() == [1.0] * 20


def test_noise_has_features_that_count_in_one_zoo_of_twenty_at_most() -> None:
    rng = np.random.default_rng(0)
    found = [consilience.cluster([rng.standard_normal((300, 20)) for _ in range(4)]) for _ in range(20)]
    assert sum(bool(np.any(one.q <= 0.05)) for one in found) <= 1


def test_dead_units_and_nan_are_left_alone() -> None:
    left, right = _networks(2)
    left[:, 3], right[7, 5] = 0.7, np.nan
    found = consilience.align(left, right)
    assert isinstance(found, Alignment)
    assert found.partner[3] == -1
    assert 5 not in found.partner
    assert found.q is not None
    assert np.isnan(found.q[3])
    features = consilience.cluster([left, right]).features
    assert (0, 3) not in set(zip(features.network.tolist(), features.unit.tolist(), strict=True))
    assert np.isfinite(features.prototypes).all()


def test_a_network_and_its_copy_match_whole() -> None:
    (left,) = _networks(1)
    found = consilience.align(left, left)
    assert isinstance(found, Alignment)
    assert found.partner.tolist() == list(range(20))
    np.testing.assert_allclose(found.r, 1.0, atol=1e-5)


def test_single_units_match_or_not() -> None:
    left, right = (one[:, :1] for one in _networks(2, units=1))
    found = consilience.align(left, right)
    assert isinstance(found, Alignment)
    assert found.partner.tolist() == [0]
    assert found.q is not None
    assert found.q[0] <= 0.05
    nothing = consilience.align(left, -right)
    assert isinstance(nothing, Alignment)
    assert nothing.partner.tolist() == [-1]
    assert consilience.cluster([left, right]).features.universality.tolist() == [1.0]


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([np.ones((50, 4))], "1 network has nothing in common|no live unit"),
        (_networks(1), "1 network has nothing in common"),
        ([], "0 networks have nothing in common"),
        ([*_networks(1), np.ones((300, 4))], "network 2 has no live unit: none of its 4"),
        ([*_networks(1), np.full((300, 4), np.nan)], "network 2 has no live unit"),
        ([one[:3] for one in _networks(2)], "3 samples are too few"),
        ([*_networks(1), _networks(1)[0][:200]], r"networks of one level have \[200, 300\] samples"),
        ([one[:, 0] for one in _networks(2)], "no table of samples x units"),
    ],
)
def test_what_cannot_be_clustered_gets_a_clear_word(networks: list[np.ndarray], message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        consilience.cluster(networks)
    assert error.value.hint


def test_one_array_alone_cannot_be_aligned() -> None:
    with pytest.raises(BadInput, match="one layer alone"):
        consilience.align(np.ones((5, 5)))  # type: ignore[call-overload]
