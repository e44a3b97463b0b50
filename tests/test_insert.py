"""Networks that join one by one end up where clustering all of them puts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from consilience.analysis.alignment.cluster import cluster, cluster_outputs
from consilience.analysis.alignment.feature import Features, measure_features, pool
from consilience.analysis.alignment.insert import Standing, insert, standing
from consilience.analysis.alignment.similarity import Activations, activations
from consilience.zoo.errors import BadInput

SAMPLES = 800
KINDS = ("noise", "sums of waves", "products")


def _functions(kind: str, inputs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "noise":
        return rng.standard_normal((len(inputs), count))
    waves = np.sin(inputs @ rng.normal(0, 2.5, (4, 6 * count)) + rng.uniform(0, 6.3, 6 * count))
    parts = waves.reshape(len(inputs), count, 6)
    if kind == "products":
        return parts[..., :2].prod(axis=-1) + parts[..., 2:4].prod(axis=-1)
    return np.einsum("scp,cp->sc", parts, rng.standard_normal((count, 6)))


def _zoo(
    kind: str, networks: int, noise: float, seed: int = 0, *, odd: bool = True
) -> tuple[list[Activations], list[np.ndarray]]:
    """Plant 30 functions in half of the networks each, among 20 private ones, some of all twice."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (SAMPLES, 4))
    shared = _functions(kind, inputs, 30, rng)
    level, truth = [], []
    for number in range(networks):
        own = rng.permutation(30)[: int(rng.integers(10, 21))]
        columns = np.hstack([shared[:, own], _functions(kind, inputs, 20, rng)])
        label = np.concatenate([own, 30 + 20 * number + np.arange(20)])
        pick = rng.permutation(np.concatenate([np.arange(len(label)), rng.integers(0, len(label), 3)]))
        values = columns[:, pick] / columns[:, pick].std(axis=0)
        values = values + noise * rng.standard_normal(values.shape)
        turn = rng.choice([-1.0, 1.0], len(pick)) if odd else 1.0
        values = values * turn * rng.lognormal(size=len(pick))
        level.append(activations(values.astype(np.float32), odd=odd, lineage=str(number)))
        truth.append(label[pick])
    return level, truth


def _insert_all(before: Standing, newcomers: Sequence[Activations]) -> Standing:
    for newcomer in newcomers:
        before = insert(before, newcomer)
    return before


def _groups(level: Sequence[Activations], found: Features | Standing) -> list[np.ndarray]:
    groups = [np.full(one.alive.size, -1) for one in level]
    for feature, network, unit in zip(found.feature, found.network, found.unit, strict=True):
        assert groups[network][unit] == -1
        groups[network][unit] = feature
    return groups


def _named(level: Sequence[Activations], found: Features | Standing) -> np.ndarray:
    flat = np.concatenate(_groups(level, found))
    return np.where(flat < 0, len(found) + np.arange(len(flat)), flat)


@pytest.mark.parametrize("noise", [0.3, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_joining_one_by_one_groups_as_clustering_all_does(kind: str, noise: float) -> None:
    level, truth = _zoo(kind, 16, noise)
    found = _insert_all(standing(level[:8], cluster(level[:8])), level[8:])
    assert adjusted_rand_score(np.concatenate(truth), _named(level, found)) >= 0.97
    assert adjusted_rand_score(_named(level, cluster(level)), _named(level, found)) >= 0.97


@pytest.mark.parametrize("odd", [True, False])
def test_prototypes_signs_and_r_are_those_of_the_grouping(odd: bool) -> None:
    level, _ = _zoo("noise", 12, 0.4, odd=odd)
    found = _insert_all(standing(level[:6], cluster(level[:6])), level[6:])
    units = pool(level)
    place = {key: row for row, key in enumerate(zip(units.network.tolist(), units.unit.tolist(), strict=True))}
    rows = [place[key] for key in zip(found.network.tolist(), found.unit.tolist(), strict=True)]
    label, sign = np.full(len(place), -1), np.ones(len(place), dtype=np.int64)
    label[rows], sign[rows] = found.feature, found.sign
    whole = measure_features(units, label, sign)
    np.testing.assert_allclose(found.universality, whole.universality)
    likeness = np.einsum("fs,sf->f", found.sums, whole.prototypes) / np.linalg.norm(found.sums, axis=1)
    np.testing.assert_allclose(np.abs(likeness), np.sqrt(SAMPLES), rtol=1e-4)
    if not odd:
        assert (likeness > 0).all()
        assert (found.sign == 1).all()
    heard = np.isfinite(found.r)
    assert heard.mean() > 0.7  # the others are duplicates inside the lineage that came first
    assert np.all(np.sign(found.r[heard]) == found.sign[heard])
    assert np.all(np.abs(found.r[heard]) > 0.7)


@pytest.mark.parametrize("odd", [True, False])
def test_names_order_and_scale_of_a_newcomers_units_do_not_matter(odd: bool) -> None:
    level, _ = _zoo("sums of waves", 7, 0.3, odd=odd)
    before = standing(level[:6], cluster(level[:6]))
    newcomer, rng = level[6], np.random.default_rng(0)
    order = rng.permutation(newcomer.alive.size)
    turn = rng.choice([-1.0, 1.0], order.size) if odd else np.ones(order.size)
    values = newcomer.values[:, order] * (turn * rng.lognormal(size=order.size)) + 5.0
    one, other = insert(before, newcomer), insert(before, activations(values, odd=odd, lineage="6"))
    joined, moved = one.network == 6, other.network == 6
    places = dict(zip(one.unit[joined].tolist(), zip(one.feature[joined], one.sign[joined], strict=True), strict=True))
    existing = {unit: place for unit, place in places.items() if place[0] < len(before)}
    assert len(existing) > 10
    for unit, feature, sign in zip(other.unit[moved], other.feature[moved], other.sign[moved], strict=True):
        if int(order[unit]) in existing:
            assert (feature, sign * turn[unit]) == existing[int(order[unit])]
    assert len(one) == len(other)


def test_a_noisier_network_is_levelled_out_and_mere_noise_joins_nobody() -> None:
    level, truth = _zoo("noise", 12, 0.2)
    before = standing(level[:10], cluster(level[:10]))
    rng = np.random.default_rng(1)
    spread = level[10].values.std(axis=0)
    blurred = level[10].values + 0.6 * spread * rng.standard_normal(level[10].values.shape)
    after = insert(before, activations(blurred.astype(np.float32), odd=True, lineage="10"))
    assert adjusted_rand_score(np.concatenate(truth[:11]), _named(level[:11], after)) >= 0.97
    assert np.sum((truth[10] < 30) & (_groups(level[:11], after)[10] < 0)) == 0
    noise = insert(after, activations(rng.standard_normal((SAMPLES, 50)), odd=True, lineage="noise"))
    assert not (noise.network == 11).any()
    assert len(noise.waiting) == len(after.waiting) + 50


def test_units_that_waited_found_a_feature_with_the_first_that_is_alike() -> None:
    level, truth = _zoo("noise", 5, 0.3)
    rng = np.random.default_rng(1)
    late = rng.standard_normal((SAMPLES, 1)).astype(np.float32)
    more = [activations(np.hstack([one.values, late]), odd=True, lineage=one.lineage) for one in level]
    before = insert(standing(level[:3], cluster(level[:3])), more[3])
    assert 3 in before.waiting_network[before.waiting_unit == len(truth[3])]
    after = insert(before, more[4])
    groups = _groups(more, after)
    assert groups[3][-1] == groups[4][-1] >= len(before)
    assert after.universality[groups[4][-1]] == pytest.approx(2 / 5)
    np.testing.assert_allclose(np.abs(after.r[after.feature == groups[4][-1]]), 1.0, rtol=1e-5)


def test_a_copy_joins_wherever_the_original_is_with_its_duplicates() -> None:
    level, truth = _zoo("noise", 6, 0.3)
    found = insert(standing(level, cluster(level)), activations(-level[2].values, odd=True, lineage="copy"))
    groups = _groups([*level, level[2]], found)
    assert (groups[6] >= 0).all()
    assert (groups[6] == groups[2]).all()
    assert adjusted_rand_score(truth[2], groups[6]) == 1.0


def test_units_of_fixed_sign_never_meet_their_negative() -> None:
    rng = np.random.default_rng(8)
    truth = rng.standard_normal((600, 150))

    def network(turn: float, name: str, *, odd: bool = False) -> Activations:
        return activations(turn * truth + 0.3 * rng.standard_normal(truth.shape), odd=odd, lineage=name)

    level = [network(1, "a"), network(1, "b")]
    before = standing(level, cluster(level))
    negative = insert(before, network(-1, "negative"))
    assert not (negative.network == 2).any()
    turned = insert(before, network(-1, "turned", odd=True))
    assert (turned.sign[turned.network == 2] == -1).all()
    assert (turned.network == 2).sum() == 150
    level = [network(1, "a", odd=True), network(1, "b", odd=True)]
    found = insert(insert(standing(level, cluster(level)), network(-1, "c")), network(1, "d"))
    assert (found.sign[found.network == 2] == 1).all()
    assert (found.sign[found.network < 2] == -1).all()
    assert not (found.network == 3).any()


def test_outputs_join_one_to_one_however_weak() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((300, 10))
    level = [activations(truth + rng.standard_normal(truth.shape), lineage=str(n)) for n in range(6)]
    before = standing(level, cluster_outputs(level))
    order = rng.permutation(10)
    after = insert(before, activations((truth + 2 * rng.standard_normal(truth.shape))[:, order], lineage="6"))
    groups = _groups([*level, level[0]], after)
    assert sorted(groups[6]) == list(range(10))
    assert (groups[6] == groups[0][order]).all()
    assert not len(after.waiting)


def test_degenerate_newcomers_have_sane_results() -> None:
    level, _ = _zoo("noise", 4, 0.3)
    before = standing(level, cluster(level))
    dead = insert(before, activations(np.full((SAMPLES, 3), np.nan), lineage="dead"))
    assert dead.networks == 5
    assert len(dead.feature) == len(before.feature)
    np.testing.assert_allclose(dead.universality * 5, before.universality * 4)
    first = int(np.flatnonzero(before.network == 0)[0])
    unit = int(before.unit[first])
    values = np.hstack([level[0].values[:, [unit]], np.full((SAMPLES, 1), np.inf, dtype=np.float32)])
    single = insert(dead, activations(values, odd=True, lineage="single"))
    assert single.feature[single.network == 5].tolist() == [before.feature[first]]
    assert single.unit[single.network == 5].tolist() == [0]
    copies = [activations(one.values, odd=True, lineage=f"copy {n}") for n, one in enumerate((level[0], level[0]))]
    both = insert(standing(copies, cluster(copies)), level[1])
    assert np.isfinite(both.sums).all()
    lone = [activations(level[0].values[:, [unit]], odd=True, lineage=name) for name in "abc"]
    joined = insert(standing(lone[:2], cluster(lone[:2])), lone[2])
    assert joined.feature.tolist() == [0, 0, 0]


def test_what_cannot_join_is_refused() -> None:
    level, _ = _zoo("noise", 3, 0.3)
    before = standing(level, cluster(level))
    with pytest.raises(BadInput, match="lineage '1' has voted already"):
        insert(before, level[1])
    with pytest.raises(BadInput, match="300 samples cannot join a level with 800"):
        insert(before, activations(level[0].values[:300], lineage="new"))
    with pytest.raises(BadInput, match="without a cut"):
        standing(level[:1], cluster(level[:1]))
