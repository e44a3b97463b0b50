"""What chance gives is called chance, and what is shared is not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from consilience.analysis.alignment.align import match
from consilience.analysis.alignment.feature import features_from
from consilience.analysis.alignment.null import (
    NULLS,
    above,
    exceedance,
    null_zoos,
    q_values,
    rotate,
    shuffle,
    untrain,
    worst,
)
from consilience.analysis.alignment.significance import discover, judge
from consilience.analysis.alignment.similarity import Activations, activations, correlate
from consilience.zoo.errors import BadInput

SQUASH: dict[str, tuple[Callable[[np.ndarray], np.ndarray], bool]] = {
    "relu": (lambda z: np.maximum(z, 0.0), False),
    "tanh": (np.tanh, True),
    "silu": (lambda z: z / (1.0 + np.exp(-z)), False),
    "gelu": (lambda z: 0.5 * z * (1.0 + np.tanh(0.79788 * (z + 0.044715 * z**3))), False),
}
Shape = tuple[tuple[int, ...], str]


def _level(seed: int, *, networks: int = 5, units: int = 30, shared: int = 0) -> list[Activations]:
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((500, shared))
    level = []
    for number in range(networks):
        values = rng.standard_normal((500, units))
        values[:, :shared] = common + 0.4 * values[:, :shared]
        level.append(activations(values[:, rng.permutation(units)], odd=True, lineage=str(number)))
    return level


def _untrained(inputs: np.ndarray, shape: Shape, rng: np.random.Generator) -> list[np.ndarray]:
    """Give the pre-activations of an MLP as torch initialises it."""
    values, layers = inputs, []
    for width in shape[0]:
        bound = 1.0 / np.sqrt(values.shape[1])
        before = values @ rng.uniform(-bound, bound, (values.shape[1], width))
        before += rng.uniform(-bound, bound, width)
        layers.append(before.astype(np.float32))
        values = SQUASH[shape[1]][0](before)
    return layers


def test_rotation_keeps_the_space_and_loses_the_axes() -> None:
    level = _level(0, networks=2, shared=10)
    rotated = rotate(level, np.random.default_rng(0))
    assert rotated is not None
    before, after = level[0].values, rotated[0].values
    span = np.linalg.lstsq(before - before.mean(axis=0), after, rcond=None)[1]
    assert np.max(span, initial=0.0) < 1e-6
    assert np.abs(correlate(before, after)).max() < 0.9
    assert rotate([activations(before[:, :1], lineage="a")], np.random.default_rng(0)) is None


def test_shuffling_keeps_the_units_and_loses_what_they_have_in_common() -> None:
    level = _level(0, networks=2, shared=10)
    shuffled = shuffle(level, np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(shuffled[0].values, axis=0), np.sort(level[0].values, axis=0))
    np.testing.assert_allclose(
        correlate(shuffled[0].values, shuffled[0].values),
        correlate(level[0].values, level[0].values),
        atol=1e-6,
    )
    assert np.abs(correlate(shuffled[0].values, shuffled[1].values)).max() < 0.3


def test_draws_are_reproducible_and_differ() -> None:
    level = _level(0, networks=2)
    first, again, other = (null_zoos(level, draw=draw, seed=1) for draw in (0, 0, 1))
    assert set(first) == set(NULLS)
    for name in NULLS:
        assert (first[name][0].values == again[name][0].values).all()
        assert not (first[name][0].values == other[name][0].values).all()


def test_dead_units_stay_dead_in_every_null() -> None:
    values = np.random.default_rng(0).standard_normal((50, 4))
    values[:, 2] = 1.0
    level = [activations(values, lineage="a"), activations(np.ones((50, 2)), lineage="b")]
    zoos = null_zoos(level, draw=0, seed=0, twins=lambda draw: [values, np.ones((50, 2))])
    assert set(zoos) == {*NULLS, "untrained"}
    for zoo in zoos.values():
        assert zoo[0].alive.tolist() == [True, True, False, True]
        assert np.isfinite(zoo[0].values).all()


def test_twins_must_fit() -> None:
    with pytest.raises(BadInput, match="untrained twins of shapes"):
        untrain(_level(0, networks=2), [np.ones((500, 30))])


def test_p_counts_what_chance_exceeded_and_q_is_benjamini_hochberg() -> None:
    null = np.array([0.1, 0.2, 0.3, 0.4])
    assert above(np.array([0.3, 0.9]), null).tolist() == [2, 0]
    assert exceedance(np.array([0.05, 0.25, 0.9]), null).tolist() == [1.0, 0.6, 0.2]
    assert exceedance(np.array([0.25]), null, trials=1).tolist() == [1.0]
    assert exceedance(np.array([0.25]), np.zeros(0)).tolist() == [1.0]
    assert worst({"a": np.array([0.1, 0.9]), "b": np.array([0.2, 0.3])}, 2).tolist() == [0.2, 0.9]
    assert worst({}, 2).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(q_values(np.array([0.01, 0.02, 0.9])), [0.03, 0.03, 0.9])
    assert q_values(np.zeros(0)).size == 0


@pytest.mark.parametrize("method", ["mutual", "assignment", "universe"])
def test_matches_of_noise_are_chance(method: str) -> None:
    found = match(_level(1, networks=3, units=128), method=method)
    assert len(found.r) > 50
    assert np.mean(found.q <= 0.05) <= 0.05


@pytest.mark.slow
def test_matches_of_512_units_of_noise_are_chance() -> None:
    for seed in range(5):
        found = match(_level(seed, networks=4, units=512))
        assert np.mean(found.q <= 0.05) <= 0.05


def test_matches_of_shared_units_are_not_chance() -> None:
    found = match(_level(2, networks=4, shared=15))
    strong = np.abs(found.r) > 0.7
    assert strong.sum() == 6 * 15
    assert np.all(found.q[strong] <= 0.05)
    assert np.mean(found.q[~strong] <= 0.05) <= 0.05
    assert {name: len(null) > 0 for name, null in found.null_r.items()} == dict.fromkeys(NULLS, True)


def test_features_of_noise_are_chance_and_shared_ones_are_not() -> None:
    noise = discover(_level(3))
    assert np.mean(np.append(noise.q <= 0.05, False)) <= 0.05
    shared = discover(_level(3, shared=12))
    assert np.sum(shared.q <= 0.05) == 12
    assert np.all(shared.features.universality[shared.q <= 0.05] == 1.0)
    assert np.isnan(shared.lift).all()


def test_rotated_axes_carry_less_than_real_ones() -> None:
    level = _level(4, units=20, shared=20)
    rotated = rotate(level, np.random.default_rng(9))
    assert rotated is not None
    assert np.sum(discover(level).q <= 0.05) == 20
    assert np.sum(discover(rotated).q <= 0.05) <= 1


def test_lift_compares_with_untrained_features() -> None:
    level, twin = _level(5, shared=12), _level(6, shared=12)
    rng = np.random.default_rng(0)
    blurred = [one.values + 0.5 * rng.standard_normal(one.values.shape) for one in twin]
    found = discover(level, twins=lambda draw: blurred, draws=3)
    lift = found.lift[found.features.universality == 1.0]
    assert np.all((lift > 1.02) & (lift < 2.0))
    assert found.nulls["untrained"].draws == 3
    assert np.all(found.nulls["untrained"].support <= 1.0)


def test_named_outputs_are_judged_as_they_are_grouped() -> None:
    rng = np.random.default_rng(7)
    truth = rng.standard_normal((300, 2))
    level = [activations(truth + 0.1 * rng.standard_normal(truth.shape), lineage=str(n)) for n in range(6)]
    groups = [np.arange(2) for _ in level]
    found = judge(
        level,
        find=partial(features_from, groups=groups),
        twins=lambda draw: [np.random.default_rng([draw, n]).standard_normal(truth.shape) for n in range(6)],
    )
    assert len(found.features) == 2
    assert np.all(found.q <= 0.05)
    assert found.features.cut_from == "grouping"
    with pytest.raises(BadInput, match="does not name a feature for every unit"):
        features_from(level, groups[:-1])


def test_hopeless_levels_are_left_early() -> None:
    level = _level(8)
    same = [one.values for one in level]
    found = judge(level, find=partial(features_from, groups=[np.arange(30)] * 5), twins=lambda draw: same)
    assert found.nulls["untrained"].draws < 20
    assert np.all(found.q > 0.05)


def _twins(inputs: np.ndarray, shapes: list[Shape], seed: int, depth: int, draw: int) -> list[np.ndarray]:
    fresh = np.random.default_rng([1000 + seed, draw])
    return [_untrained(inputs, shape, fresh)[depth] for shape in shapes]


def _check_untrained(seeds: range) -> None:
    """Hold untrained zoos of twelve MLPs against twins of theirs."""
    tested, passed = 0, 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        inputs = rng.uniform(-1.0, 1.0, (1024, 3))
        shapes: list[Shape] = [
            ((*rng.integers(24, 65, 2).tolist(), 1), list(SQUASH)[number % 4]) for number in range(12)
        ]
        zoo = [_untrained(inputs, shape, rng) for shape in shapes]
        for depth in range(3):
            level = [
                activations(layers[depth], odd=SQUASH[shape[1]][1] and depth < 2, lineage=str(number))
                for number, (layers, shape) in enumerate(zip(zoo, shapes, strict=True))
            ]

            twins = partial(_twins, inputs, shapes, seed, depth)
            found = discover(level, outputs=depth == 2, twins=twins, seed=seed)
            tested += len(found.q)
            passed += int(np.sum(found.q <= 0.05))
    assert tested > 20 * len(seeds)
    assert passed <= 0.05 * tested


def test_an_untrained_zoo_has_no_features_above_chance() -> None:
    _check_untrained(range(1))


@pytest.mark.slow
def test_untrained_zoos_have_no_features_above_chance() -> None:
    _check_untrained(range(20, 25))
