"""Planted zoos come out as they were planted, and names given to units do not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.neural_network import MLPClassifier

from consilience.analysis.alignment.cluster import chance_cut, cluster, cluster_outputs, natural_cut
from consilience.analysis.alignment.feature import Features, pool, reliability
from consilience.analysis.alignment.similarity import Activations, activations
from consilience.zoo.errors import BadInput

SAMPLES = 1024
SMOOTH = ("waves", "mixtures", "bumps", "networks", "latents")


UNEVEN = np.sqrt(0.8**2 - 0.3**2)


@dataclass(frozen=True)
class Planted:
    level: list[Activations]
    truth: list[np.ndarray]


def _functions(kind: str, inputs: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw functions of three inputs: sines, sums of sines, sums of bumps, small networks; or pure noise."""
    if kind == "latents":
        return rng.standard_normal((len(inputs), count))
    if kind == "waves":
        return np.sin(inputs @ rng.normal(0, 4, (3, count)) + rng.uniform(0, 6.3, count))
    columns = np.empty((len(inputs), count))
    for column in columns.T:
        if kind == "mixtures":
            waves = np.sin(inputs @ rng.normal(0, 2, (3, 8)) + rng.uniform(0, 6.3, 8))
            column[:] = waves @ rng.standard_normal(8)
        elif kind == "bumps":
            gaps = ((inputs[:, None] - rng.uniform(-1, 1, (6, 3))) ** 2).sum(axis=-1)
            column[:] = np.exp(-gaps / 0.32) @ rng.standard_normal(6)
        else:
            hidden = np.tanh(2.0 * inputs @ rng.standard_normal((3, 24)) + rng.standard_normal(24))
            column[:] = np.tanh(hidden @ rng.normal(0, 0.7, (24, 16))) @ rng.standard_normal(16)
    return columns


def plant(kind: str, *, networks: int, noise: float, seed: int, present: float = 0.5, shared: int = 40) -> Planted:
    """Plant shared functions in random subsets of networks among private ones, some of them twice."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (SAMPLES, 3))
    common = _functions(kind, inputs, shared, rng)
    level, truth, fresh = [], [], shared
    for number in range(networks):
        width = int(rng.integers(34, 95))
        twice = int(rng.integers(1, 5))
        ids = rng.permutation(np.flatnonzero(rng.random(shared) < present))[: width - twice - 1]
        private = width - twice - len(ids)
        label = np.concatenate([ids, np.arange(fresh, fresh + private)])
        fresh += private
        columns = np.hstack([common[:, ids], _functions(kind, inputs, private, rng)])
        again = rng.integers(0, len(label), twice)
        order = rng.permutation(width)
        label = np.concatenate([label, label[again]])[order]
        columns = np.hstack([columns, columns[:, again]])[:, order]
        columns = columns / columns.std(axis=0)
        columns += noise * rng.standard_normal(columns.shape)
        columns *= rng.choice([-1.0, 1.0], width) * rng.lognormal(size=width)
        level.append(activations(columns.astype(np.float32), odd=True, lineage=str(number)))
        truth.append(label)
    return Planted(level, truth)


def grouping(level: list[Activations], features: Features) -> list[np.ndarray]:
    found = [np.full(one.alive.size, -1) for one in level]
    for feature, network, unit in zip(features.feature, features.network, features.unit, strict=True):
        found[network][unit] = feature
    return found


def rand_index(planted: Planted, features: Features) -> float:
    found = np.concatenate(grouping(planted.level, features))
    single = found < 0
    found[single] = len(features) + np.arange(single.sum())
    return float(adjusted_rand_score(np.concatenate(planted.truth), found))


@pytest.mark.parametrize("noise", [0.3, 0.8])
@pytest.mark.parametrize("kind", SMOOTH)
def test_planted_zoos_are_recovered(kind: str, noise: float) -> None:
    planted = plant(kind, networks=20, noise=noise, seed=1)
    features = cluster(planted.level)
    assert rand_index(planted, features) >= 0.95
    assert features.cut_from == "two modes"


@pytest.mark.slow
@pytest.mark.parametrize("networks", [6, 20])
@pytest.mark.parametrize("noise", [0.3, 0.8])
@pytest.mark.parametrize("kind", SMOOTH)
def test_planted_zoos_are_recovered_for_every_seed(kind: str, noise: float, networks: int) -> None:
    for seed in range(10, 15):
        for present in (0.6, 0.8):
            planted = plant(kind, networks=networks, noise=noise, seed=seed, present=present)
            # Single sines are alike by chance: at this noise the best cut of the tree itself falls short.
            least = 0.9 if (kind, noise) == ("waves", 0.8) else 0.95
            assert rand_index(planted, cluster(planted.level)) >= least


# What five fresh seeds reach on average. Single sines are alike by chance: at noise 0.8 two of them may be
# more alike than true pairs, and no cut of so few networks tells them apart.
@pytest.mark.slow
@pytest.mark.parametrize("networks", [6, 20, 60])
@pytest.mark.parametrize("noise", [0.3, 0.8])
@pytest.mark.parametrize("kind", SMOOTH)
def test_planted_zoos_of_any_size_are_recovered(kind: str, noise: float, networks: int) -> None:
    found = [plant(kind, networks=networks, noise=noise, seed=seed) for seed in range(300, 305)]
    least = 0.96 if (kind, noise) == ("waves", 0.8) else 0.97
    assert np.mean([rand_index(planted, cluster(planted.level)) for planted in found]) >= least


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 0.8])
@pytest.mark.parametrize("kind", SMOOTH)
def test_two_hundred_networks_are_recovered(kind: str, noise: float) -> None:
    for seed in range(200, 205):
        planted = plant(kind, networks=200, noise=noise, seed=seed)
        assert rand_index(planted, cluster(planted.level)) >= 0.97


@pytest.mark.parametrize("networks", [6, 20])
@pytest.mark.parametrize("kind", SMOOTH)
def test_networks_of_uneven_noise_are_levelled_out(kind: str, networks: int) -> None:
    planted = plant(kind, networks=networks, noise=0.3, seed=7)
    rng = np.random.default_rng(7)
    level = list(planted.level)
    for number in range(1, networks, 2):
        values = level[number].values
        signal = values.std(axis=0) / np.sqrt(1.0 + 0.3**2)
        blurred = values + UNEVEN * signal * rng.standard_normal(values.shape)
        level[number] = activations(blurred.astype(np.float32), odd=True, lineage=str(number))
    assert rand_index(Planted(level, planted.truth), cluster(level)) >= 0.95


def test_a_network_of_mere_noise_joins_nobody() -> None:
    planted = plant("latents", networks=6, noise=0.3, seed=8)
    noise = np.random.default_rng(0).standard_normal((SAMPLES, 50))
    features = cluster([*planted.level, activations(noise, odd=True, lineage="noise")])
    assert not (features.network == 6).any()
    assert np.sum(features.universality > 0.2) > 30


def test_features_say_how_universal_and_how_alike_their_members_are() -> None:
    planted = plant("latents", networks=8, noise=0.5, seed=3)
    features = cluster(planted.level)
    found, labels = grouping(planted.level, features), np.concatenate(planted.truth)
    shared = features.universality > 1.5 / 8
    for feature in np.flatnonzero(shared):
        owners = [n for n, groups in enumerate(found) if (groups == feature).any()]
        assert features.universality[feature] == pytest.approx(len(owners) / 8)
        assert len(np.unique(labels[np.concatenate(found) == feature])) == 1
    r = 1.0 / (1.0 + 0.5**2)
    wide = features.universality > 0.5
    assert np.all(features.agreement[wide] > r - 0.05)
    np.testing.assert_allclose(
        features.support[shared], (features.agreement * features.universality)[shared], rtol=1e-6
    )
    assert np.isnan(features.agreement[~shared]).all()
    assert not features.support[~shared].any()
    assert np.all(reliability(planted.level, features)[shared] == 1.0)
    np.testing.assert_allclose(features.prototypes.std(axis=0), 1.0, rtol=1e-4)
    assert np.all(np.abs(features.r[np.isfinite(features.r)]) > 0.5)
    assert np.all(np.sign(features.r[np.isfinite(features.r)]) == features.sign[np.isfinite(features.r)])


def test_copies_of_one_lineage_are_one_witness() -> None:
    planted = plant("latents", networks=4, noise=0.3, seed=5)
    copies = [activations(planted.level[0].values, odd=True, lineage="0") for _ in range(3)]
    features = cluster([*planted.level, *copies])
    once = cluster(planted.level)
    wide, wide_once = features.universality > 0.4, once.universality > 0.4
    assert wide.sum() == wide_once.sum()
    np.testing.assert_allclose(np.sort(features.support[wide]), np.sort(once.support[wide_once]), atol=1e-5)


def _same_groups(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    one, two = np.concatenate(first), np.concatenate(second)
    return bool(((one < 0) == (two < 0)).all()) and adjusted_rand_score(one, two) == pytest.approx(1.0)


@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_names_signs_scales_and_sample_order_do_not_matter(noise: float) -> None:
    planted = plant("mixtures", networks=6, noise=noise, seed=2)
    before = grouping(planted.level, cluster(planted.level))
    rng = np.random.default_rng(0)
    samples = rng.permutation(SAMPLES)
    turned, orders = [], []
    for one in planted.level:
        order = rng.permutation(one.alive.size)
        scale = rng.choice([-1.0, 1.0], order.size) * rng.lognormal(size=order.size)
        values = (one.values[samples][:, order] * scale).astype(np.float32)
        turned.append(activations(values, odd=True, lineage=one.lineage))
        orders.append(order)
    after = [groups[np.argsort(order)] for groups, order in zip(grouping(turned, cluster(turned)), orders, strict=True)]
    assert _same_groups(before, after)


def test_duplicated_and_constant_units_change_nothing_else() -> None:
    planted = plant("mixtures", networks=6, noise=0.3, seed=4)
    features = cluster(planted.level)
    before = grouping(planted.level, features)
    first, twin = planted.level[0], int(features.unit[features.network == 0][0])
    values = np.hstack([first.values, 2.0 * first.values[:, [twin]], np.full((SAMPLES, 1), 0.1, dtype=np.float32)])
    more = [activations(values, odd=True, lineage="0"), *planted.level[1:]]
    found = cluster(more)
    after = grouping(more, found)
    assert after[0][-2] == after[0][twin] >= 0
    assert after[0][-1] == -1
    assert _same_groups(before, [after[0][:-2], *after[1:]])
    assert np.isfinite(found.prototypes).all()


def test_units_of_fixed_sign_never_meet_their_negative() -> None:
    rng = np.random.default_rng(8)
    truth = rng.standard_normal((600, 20))
    relu = [activations(truth + 0.3 * rng.standard_normal(truth.shape), lineage=str(n)) for n in range(3)]
    negative = activations(-truth + 0.3 * rng.standard_normal(truth.shape), lineage="negative")
    flipped = -truth + 0.3 * rng.standard_normal(truth.shape)
    tanh = activations(flipped, odd=True, lineage="tanh")
    features = cluster([*relu, tanh])
    groups = grouping([*relu, tanh], features)
    assert (groups[0] == groups[1]).all()
    assert (groups[0] == groups[3]).all()
    assert (features.sign[features.network == 3] == -1).all()
    assert (features.sign[features.network < 3] == 1).all()
    apart = grouping([*relu, negative, tanh], cluster([*relu, negative, tanh]))
    assert (apart[0] == apart[1]).all()
    assert not np.intersect1d(apart[0], apart[3]).size


def test_the_cut_lies_between_two_modes_and_one_mode_has_none() -> None:
    rng = np.random.default_rng(0)
    chance, true = rng.normal(0.5, 0.1, 3000), rng.normal(1.4, 0.05, 500)
    cut = natural_cut(np.tanh(np.concatenate([chance, true])))
    assert cut is not None
    assert 0.75 < cut < 0.86
    assert natural_cut(np.tanh(chance)) is None
    assert natural_cut(np.full(500, 0.9)) is None
    assert natural_cut(np.zeros(0)) is None


def test_the_cut_comes_from_chance_where_nothing_stands_out() -> None:
    rng = np.random.default_rng(1)
    level = [activations(rng.standard_normal((500, 50)), odd=True, lineage=str(n)) for n in range(5)]
    features = cluster(level)
    assert features.cut_from == "nulls"
    assert features.cut == pytest.approx(chance_cut([level], seed=0))
    assert cluster(level, fallback=0.9).cut == 0.9
    assert len(cluster(level, fallback=0.9)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_ten_digits_are_ten_features(seed: int) -> None:
    _check_digits(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 9))
def test_ten_digits_are_ten_features_for_every_seed(seed: int) -> None:
    _check_digits(seed)


def _check_digits(seed: int) -> None:
    """Train eight classifiers, forget which logit is which digit, and find it out again."""
    images, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    train = rng.permutation(len(images))
    probe, train = train[:600], train[600:]
    level, orders = [], []
    for number in range(8):
        width, activation = (32, 64, 48, 24)[number % 4], ("relu", "tanh")[number // 4]
        model = MLPClassifier(
            (width, 24) if number % 3 else (width,),
            activation=activation,
            max_iter=12,
            early_stopping=False,
            random_state=100 * seed + number,
            batch_size=64,
            learning_rate_init=3e-3,
        )
        for _ in range(12):
            model.partial_fit(images[train] / 16.0, digits[train], classes=np.arange(10))
        order = rng.permutation(10)
        logits = np.log(model.predict_proba(images[probe] / 16.0) + 1e-12)
        level.append(activations((logits - logits.mean(1, keepdims=True))[:, order], lineage=str(number)))
        orders.append(order)
    features = cluster_outputs(level)
    assert len(features) == 10
    assert features.universality.tolist() == [1.0] * 10
    found = grouping(level, features)
    named = {
        (int(groups[unit]), int(order[unit])) for groups, order in zip(found, orders, strict=True) for unit in range(10)
    }
    assert len(named) == 10


def test_outputs_are_all_kept_however_unlike_they_are() -> None:
    rng = np.random.default_rng(2)
    level = [activations(rng.standard_normal((200, 4)), lineage=str(n)) for n in range(5)]
    features = cluster_outputs(level)
    assert len(features) == 4
    assert np.bincount(features.feature).tolist() == [5] * 4
    assert (features.sign == 1).all()


def test_single_outputs_make_one_feature() -> None:
    rng = np.random.default_rng(2)
    truth = rng.standard_normal((200, 1))
    level = [activations(truth + 0.1 * rng.standard_normal((200, 1)), lineage=str(n)) for n in range(5)]
    features = cluster_outputs(level)
    assert len(features) == 1
    assert features.universality.tolist() == [1.0]
    assert reliability(level, features).tolist() == [1.0]
    alone = cluster_outputs(level[:1])
    assert len(alone) == 1
    assert np.isnan(alone.agreement).all()
    assert np.isnan(alone.r).all()
    np.testing.assert_allclose(np.abs(np.corrcoef(alone.prototypes[:, 0], level[0].values[:, 0])[0, 1]), 1.0)


def test_outputs_of_different_numbers_are_clustered_like_hidden_units() -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((400, 12))
    level = [
        activations(truth[:, : 12 - n] + 0.2 * rng.standard_normal((400, 12 - n)), lineage=str(n)) for n in range(4)
    ]
    groups = grouping(level, cluster_outputs(level))
    assert groups[0][-1] == -1  # no other network has the twelfth
    assert np.all(np.concatenate([groups[0][:-1], *groups[1:]]) >= 0)


@pytest.mark.parametrize("find", [cluster, cluster_outputs])
def test_degenerate_levels_have_sane_results(find: object) -> None:
    assert callable(find)
    rng = np.random.default_rng(4)
    values = rng.standard_normal((100, 6))
    dead = activations(np.ones((100, 6)), lineage="dead")
    one = activations(values, odd=True, lineage="a")
    with pytest.raises(BadInput, match="without networks"):
        find([])
    assert len(find([dead, dead])) == 0
    for level in ([one, dead], [one], [one, activations(values[:, ::-1].copy(), odd=True, lineage="b")]):
        features = find(level)
        assert np.isfinite(features.prototypes).all()
        assert len(np.unique(features.feature)) == len(features)
    copies = find([one, activations(-values[:, ::-1], odd=True, lineage="b")])
    assert len(copies) == 6
    np.testing.assert_allclose(copies.agreement, 1.0, rtol=1e-4)
    few = [activations(values[:5], lineage=name) for name in "abc"]
    assert np.isfinite(find(few).prototypes).all()


def test_more_units_than_linkage_takes_find_their_prototypes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted = plant("latents", networks=20, noise=0.3, seed=6, present=0.7)
    monkeypatch.setattr("consilience.analysis.alignment.cluster.SEED_UNITS", 600)
    features = cluster(planted.level)
    found, truth = np.concatenate(grouping(planted.level, features)), np.concatenate(planted.truth)
    assert (found[truth < 40] >= 0).all()
    assert len({(a, b) for a, b in zip(found[truth < 40], truth[truth < 40], strict=True)}) == 40


@pytest.mark.parametrize("kind", SMOOTH)
def test_units_beyond_linkage_are_grouped_alike(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(kind, networks=6, noise=0.3, seed=9)
    linked = cluster(planted.level)
    monkeypatch.setattr("consilience.analysis.alignment.cluster.SEED_UNITS", 0)
    assert _same_groups(grouping(planted.level, linked), grouping(planted.level, cluster(planted.level)))


def test_unlike_single_units_share_nothing() -> None:
    rng = np.random.default_rng(0)
    together = 0
    for _ in range(20):
        level = [activations(rng.standard_normal((200, 1)), odd=True, lineage=name) for name in "ab"]
        together += len(cluster(level))
    assert together <= 4  # one in twenty by chance
    twins = [activations(turn * level[0].values, odd=True, lineage=str(turn)) for turn in (1, -2)]
    assert len(cluster(twins)) == 1


@pytest.mark.parametrize("find", [cluster, cluster_outputs])
def test_units_that_are_not_finite_join_nobody(find: Callable[[list[Activations]], Features]) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((100, 5))
    broken = np.where(np.arange(5) == 2, np.nan, values)
    level = [Activations(broken, True, "a", np.ones(5, dtype=bool)), activations(values, odd=True, lineage="b")]
    features = find(level)
    assert (0, 2) not in set(zip(features.network.tolist(), features.unit.tolist(), strict=True))
    assert np.isfinite(features.prototypes).all()
    nothing = [activations(np.full((100, 2), np.nan), lineage=name) for name in "ab"]
    assert len(find(nothing)) == 0
    assert len(find([activations(np.zeros((100, 0)), lineage="a"), level[1]])) <= 5


def test_networks_on_different_samples_are_refused() -> None:
    rng = np.random.default_rng(0)
    level = [activations(rng.standard_normal((n, 3)), lineage=str(n)) for n in (20, 30)]
    with pytest.raises(BadInput, match=r"networks of one level have \[20, 30\] samples"):
        pool(level)
