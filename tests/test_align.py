"""Every method finds planted permutations, keeps the rule of signs, and closes its cycles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from consilience.analysis.alignment.align import align, match
from consilience.analysis.alignment.matching import Alignment
from consilience.analysis.alignment.methods import METHODS, align_networks
from consilience.analysis.alignment.similarity import Activations, activations, correlate
from consilience.analysis.alignment.subspace import Directions
from consilience.analysis.alignment.universe import universe
from consilience.zoo.errors import BadInput

MATCHING = ("assignment", "mutual", "partial", "universe")
"""The methods that give every unit one partner or none."""


def _base(units: int = 40, *, seed: int = 0, samples: int = 500) -> np.ndarray:
    rng = np.random.default_rng(seed)
    latent = np.tanh(rng.standard_normal((samples, 12)) @ rng.standard_normal((12, units)))
    return latent + 0.1 * rng.standard_normal((samples, units))


def _copies(count: int, *, odd: bool, dead: int = 0) -> tuple[list[Activations], list[np.ndarray]]:
    rng = np.random.default_rng(3)
    base = _base()
    base[:, :dead] = 0.7
    networks, orders = [], []
    for number in range(count):
        order = rng.permutation(base.shape[1])
        signs = rng.choice([-1.0, 1.0], order.size) if odd else np.ones(order.size)
        values = base[:, order] * signs * rng.lognormal(size=order.size) + rng.standard_normal(order.size)
        networks.append(activations(values.astype(np.float32), odd=odd, lineage=str(number)))
        orders.append(order)
    return networks, orders


@pytest.mark.parametrize("method", MATCHING)
@pytest.mark.parametrize("odd", [True, False])
def test_planted_copies_match_whole_and_dead_units_stay_alone(method: str, odd: bool) -> None:
    networks, orders = _copies(4, odd=odd, dead=3)
    for (left, right), found in align_networks(networks, method=method).items():
        alive = networks[left].alive
        assert alive.tolist() == (orders[left] >= 3).tolist()
        assert (found.partner[~alive] == -1).all()
        assert (orders[right][found.partner[alive]] == orders[left][alive]).all()
        r = correlate(networks[left].values, networks[right].values)
        rows = np.flatnonzero(alive)
        np.testing.assert_allclose(found.r[alive], r[rows, found.partner[alive]], atol=1e-5)
        np.testing.assert_allclose(np.abs(found.r[alive]), 1.0, atol=1e-5)
        assert (np.sign(found.r[alive]) == found.sign[alive]).all()


@pytest.mark.parametrize("method", MATCHING)
@pytest.mark.parametrize(("left_odd", "right_odd"), [(False, False), (True, False), (True, True)])
def test_r_is_negative_only_where_a_layer_is_odd(method: str, left_odd: bool, right_odd: bool) -> None:
    base = _base()
    mirrored = -base[:, ::-1]
    networks = [
        activations(base, odd=left_odd, lineage="a"),
        activations(mirrored, odd=right_odd, lineage="b"),
    ]
    found = align_networks(networks, method=method)[0, 1]
    if left_odd or right_odd:
        assert (found.partner == np.arange(40)[::-1]).all()
        assert (found.sign == -1).all()
    else:
        assert (found.r[found.partner >= 0] > 0).all()
        assert not (found.partner == np.arange(40)[::-1]).any()


@pytest.mark.parametrize("method", MATCHING)
def test_invariances(method: str) -> None:
    rng = np.random.default_rng(5)
    first, second = _base(30, seed=1), _base(30, seed=1) + 0.5 * rng.standard_normal((500, 30))
    plain = align_networks(_pair(first, second), method=method)[0, 1]
    samples, order = rng.permutation(500), rng.permutation(30)
    turned = align_networks(_pair(first[samples] * 3.0 + 1.0, -2.0 * second[samples][:, order]), method=method)[0, 1]
    moved = np.where(turned.partner >= 0, order[turned.partner], -1)
    assert (moved == plain.partner).all()
    np.testing.assert_allclose(turned.r, -plain.r, atol=1e-5)
    more = np.hstack([first, np.full((500, 1), 2.0)])
    assert align_networks(_pair(more, second), method=method)[0, 1].partner[:-1].tolist() == plain.partner.tolist()


def _pair(first: np.ndarray, second: np.ndarray) -> list[Activations]:
    return [activations(first, odd=True, lineage="a"), activations(second, odd=True, lineage="b")]


def _noise_zoo(count: int = 5, units: int = 60) -> list[Activations]:
    rng = np.random.default_rng(11)
    return [activations(rng.standard_normal((400, units)), odd=True, lineage=str(number)) for number in range(count)]


def _lost(first: Alignment, second: Alignment, third: Alignment) -> int:
    """Count the units that a walk over three networks and back does not bring home."""
    back = np.full(len(first.partner), -1)
    back[third.partner[third.partner >= 0]] = np.flatnonzero(third.partner >= 0)
    there = second.partner[first.partner]
    walked = np.where((first.partner >= 0) & (there >= 0), there, -1)
    return int(np.sum((walked >= 0) & (third.partner >= 0) & (walked != third.partner)))


def test_a_universe_closes_every_cycle_and_assignment_does_not() -> None:
    networks = _noise_zoo()
    through, direct = align_networks(networks, method="universe"), align_networks(networks, method="assignment")
    assert _lost(through[0, 1], through[1, 2], through[0, 2]) == 0
    assert _lost(direct[0, 1], direct[1, 2], direct[0, 2]) > 40
    placed = universe(networks)
    for slots in placed.slots:
        assert sorted(slots.tolist()) == list(range(60))


def test_a_universe_gives_up_little_correlation() -> None:
    rng = np.random.default_rng(2)
    truth = _base(50, seed=4)
    networks = [
        activations((truth + 0.8 * rng.standard_normal(truth.shape))[:, rng.permutation(50)], odd=True, lineage=str(n))
        for n in range(6)
    ]
    through, direct = align_networks(networks, method="universe"), align_networks(networks, method="assignment")
    loss = [np.abs(direct[key].r).mean() - np.abs(through[key].r).mean() for key in direct]
    assert np.mean(loss) < 0.08


def test_networks_of_any_width_share_a_universe() -> None:
    rng = np.random.default_rng(6)
    truth = _base(40, seed=7)
    kept = [rng.permutation(40)[:width] for width in (40, 25, 31)]
    networks = [activations(truth[:, units], odd=False, lineage=str(n)) for n, units in enumerate(kept)]
    placed = universe(networks)
    home = dict(zip(placed.slots[0].tolist(), kept[0].tolist(), strict=True))
    for slots, units in zip(placed.slots, kept, strict=True):
        assert [home[slot] for slot in slots.tolist()] == units.tolist()


@pytest.mark.parametrize("method", MATCHING)
def test_odd_sizes_are_no_trouble(method: str) -> None:
    one, dead = np.arange(10.0)[:, None], np.ones((10, 3))

    def partners(first: np.ndarray, second: np.ndarray) -> list[int]:
        pair = [activations(first, lineage="a"), activations(second, lineage="b")]
        found: list[int] = align_networks(pair, method=method)[0, 1].partner.tolist()
        return found

    assert partners(one, 2.0 * one) == [0]
    assert partners(one, dead) == [-1]
    assert partners(dead, dead) == [-1, -1, -1]
    assert not align_networks([activations(one, lineage="a")], method=method)
    assert not align_networks([], method=method)


def test_what_cannot_be_aligned_is_refused() -> None:
    networks: Sequence[Activations] = _pair(_base(3), _base(3, samples=400))
    with pytest.raises(BadInput, match="no alignment method 'magic'"):
        align_networks(networks, method="magic")
    with pytest.raises(BadInput, match=r"networks with \[400, 500\] samples"):
        align_networks(networks)


def _planted_pair(noise: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of the units have a counterpart, half have none."""
    rng = np.random.default_rng(9)
    common, order = rng.standard_normal((600, 30)), rng.permutation(60)
    left, right = (
        np.hstack([common, rng.standard_normal((600, 30))]) + noise * rng.standard_normal((600, 60)) for _ in "ab"
    )
    return left, right[:, order], order


@pytest.mark.parametrize("method", MATCHING)
def test_two_arrays_are_aligned_and_only_true_matches_count(method: str) -> None:
    left, right, order = _planted_pair()
    found = align(left, right, method=method)
    assert isinstance(found, Alignment)
    assert found.q is not None
    counted = np.flatnonzero(found.q <= 0.05)
    true = (found.partner >= 0) & (order[found.partner] == np.arange(60))
    assert true[:30].all()
    assert set(range(30)) <= set(counted.tolist())
    assert np.sum(counted >= 30) <= 2
    assert np.isnan(found.q[found.partner < 0]).all()


@pytest.mark.parametrize("method", [name for name in METHODS if name not in MATCHING and name != "weights"])
def test_directions_of_two_arrays_say_whether_they_count(method: str) -> None:
    rng = np.random.default_rng(4)
    left, right, _ = _planted_pair()
    turned = right @ np.linalg.qr(rng.standard_normal((60, 60)))[0]
    found = align(left, turned if method != "soft" else right, method=method)
    assert isinstance(found, Directions)
    assert found.q is not None
    assert np.sum(found.q <= 0.05) >= 20
    nothing = align(left, rng.standard_normal((600, 60)), method=method)
    assert isinstance(nothing, Directions)
    assert nothing.q is not None
    assert np.sum(nothing.q <= 0.05) <= 0.05 * len(nothing.q)


def test_pure_noise_has_next_to_no_matches_that_count() -> None:
    rng = np.random.default_rng(5)
    for method in MATCHING:
        found = align(rng.standard_normal((500, 200)), rng.standard_normal((500, 200)), method=method)
        assert isinstance(found, Alignment)
        assert found.q is not None
        assert np.mean(found.q <= 0.05) <= 0.05


def test_arrays_that_cannot_be_aligned_are_refused() -> None:
    base = _base(3)
    for bad, message in (
        (base[:, 0], "no table of samples x units"),
        (base.astype(str), "no table of samples x units"),
        (base[:3], "3 samples are too few"),
        (np.ones((500, 3)), "the right layer has no live unit"),
        (np.full((500, 3), np.nan), "the right layer has no live unit"),
        (base[:400], r"networks with \[400, 500\] samples"),
    ):
        with pytest.raises(BadInput, match=message):
            align(base, bad)
    with pytest.raises(BadInput, match="arrays have no weights"):
        align(base, base, method="weights")
    with pytest.raises(BadInput, match="directions, not units"):
        match(_pair(base, base), method="cca")
