"""Planted latents are found in networks that share no axis, counted by lineage, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from consilience.analysis.alignment.align import align
from consilience.analysis.alignment.matching import Alignment
from consilience.analysis.alignment.shared import shared_directions
from consilience.analysis.alignment.similarity import Activations, activations, correlate, standardise
from consilience.zoo.errors import BadInput


def _network(latents: np.ndarray, rng: np.random.Generator, *, noise: float, private: int = 10) -> np.ndarray:
    """Mix latents and directions of the network's own, by a random rotation into units of some width."""
    width = rng.integers(25, 60)
    whole = np.concatenate([latents, rng.standard_normal((len(latents), private))], axis=1)
    axes = np.linalg.qr(rng.standard_normal((width, width)))[0][: whole.shape[1]]
    return whole @ axes * np.sqrt(width / whole.shape[1]) + noise * rng.standard_normal((len(latents), width))


def _zoo(networks: Sequence[np.ndarray], lineages: Sequence[str] | None = None) -> list[Activations]:
    names = lineages or [str(number) for number in range(len(networks))]
    return [activations(values, lineage=name) for values, name in zip(networks, names, strict=True)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("networks", "samples", "noise"), [(6, 600, 0.3), (2, 400, 0.3), (8, 400, 1.0), (6, 100, 0.3)])
def test_shared_latents_are_counted_and_spanned(seed: int, networks: int, samples: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((samples, 5))
    layers = [_network(latents, rng, noise=noise) for _ in range(networks)]
    found = shared_directions(_zoo(layers))
    assert len(found) == 5
    assert (found.lineages == networks).all()
    assert found.agreement.min() > (0.8 if noise < 1.0 else 0.5)
    limit = 15.0 if noise < 1.0 else 25.0
    assert np.degrees(subspace_angles(latents - latents.mean(axis=0), found.prototypes).max()) < limit
    np.testing.assert_allclose(found.prototypes.std(axis=0), 1.0, atol=1e-6)
    for layer, weights in zip(layers, found.weights, strict=True):
        np.testing.assert_allclose(np.linalg.norm(standardise(layer) @ weights, axis=0), 1.0, atol=1e-6)


def test_units_themselves_have_nothing_in_common_there() -> None:
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((600, 5))
    units = align(_network(latents, rng, noise=0.3), _network(latents, rng, noise=0.3))
    assert isinstance(units, Alignment)
    assert units.q is not None
    assert np.nanmin(units.q) > 0.05


@pytest.mark.parametrize(("networks", "samples"), [(2, 100), (6, 150)])
def test_nothing_planted_nothing_found(networks: int, samples: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        empty = np.zeros((samples, 0))
        assert len(shared_directions(_zoo([_network(empty, rng, noise=0.3) for _ in range(networks)]))) == 0


def test_independent_latents_come_out_as_themselves() -> None:
    rng = np.random.default_rng(0)
    x, y, z = rng.uniform(-2.0, 2.0, (3, 1000))
    latents = np.stack([x, y**2, np.sin(2.0 * z)], axis=1)
    latents = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    found = shared_directions(_zoo([_network(latents, rng, noise=0.3) for _ in range(6)]))
    r = np.abs(correlate(latents, found.prototypes))
    assert r.shape == (3, 3)
    assert r.max(axis=1).min() > 0.97
    assert sorted(r.argmax(axis=1)) == [0, 1, 2]


def test_what_one_lineage_alone_has_does_not_count() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((2, 500, 3))
    family = [_network(np.concatenate([common, own], axis=1), rng, noise=0.3) for _ in range(3)]
    others = [_network(common, rng, noise=0.3) for _ in range(2)]
    found = shared_directions(_zoo([*family, *others], ["family"] * 3 + ["second", "third"]))
    assert len(found) == 3
    assert (found.lineages == 3).all()
    assert np.degrees(subspace_angles(common - common.mean(axis=0), found.prototypes).max()) < 15.0
    assert len(shared_directions(_zoo(family, ["family"] * 3))) == 0


def test_a_direction_of_some_networks_is_told_from_one_of_all() -> None:
    rng = np.random.default_rng(0)
    latents = rng.uniform(-2.0, 2.0, (1000, 3)) ** [1, 2, 3]
    latents = (latents - latents.mean(axis=0)) / latents.std(axis=0)
    layers = [_network(latents[:, : 3 if number < 4 else 2], rng, noise=0.3) for number in range(10)]
    found = shared_directions(_zoo(layers))
    assert found.lineages.tolist() == [10, 10, 4]
    assert found.held[:, 2].tolist() == [number < 4 for number in range(10)]
    assert not found.weights[9][:, 2].any()
    assert found.agreement.min() > 0.9
    assert len(found.between(0, 1).r) == 3
    assert len(found.between(0, 9).r) == 2


def test_maps_between_networks_correlate_as_said_and_close_cycles() -> None:
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((600, 4))
    layers = [_network(latents, rng, noise=0.5) for _ in range(3)]
    found = shared_directions(_zoo(layers))
    for left, right in ((0, 1), (1, 2), (2, 0)):
        between = found.between(left, right)
        assert (np.diff(between.r) <= 0.0).all()
        spoken = np.diag(
            correlate(standardise(layers[left]) @ between.left, standardise(layers[right]) @ between.right)
        )
        np.testing.assert_allclose(spoken, between.r, atol=0.1)
        assert {tuple(column) for column in between.left.T} == {tuple(column) for column in found.weights[left].T}


def test_dead_units_and_dead_networks_take_no_part() -> None:
    rng = np.random.default_rng(2)
    latents = rng.standard_normal((400, 2))
    layers = [_network(latents, rng, noise=0.3) for _ in range(3)]
    layers[1][:, 4] = np.nan
    found = shared_directions(_zoo([*layers, np.zeros((400, 3))]))
    assert found.lineages.tolist() == [3, 3]
    assert not found.weights[1][4].any()
    assert not found.held[3].any()
    assert not found.weights[3].any()
    assert len(shared_directions(_zoo([np.zeros((50, 3))] * 2))) == 0


@pytest.mark.parametrize("shape", [(4, 1), (5, 2), (10, 30)])
def test_few_units_and_samples_are_borne(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    assert len(shared_directions(_zoo([rng.standard_normal(shape) for _ in range(3)]))) == 0


def test_networks_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(BadInput, match="no networks to find shared directions in"):
        shared_directions([])
    rng = np.random.default_rng(4)
    with pytest.raises(BadInput, match=r"networks with \[40, 50\] samples"):
        shared_directions(_zoo([rng.standard_normal((40, 3)), rng.standard_normal((50, 3))]))
