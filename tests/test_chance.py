"""Bounds on chance: never too bold, whatever the units are like, and small where units do agree."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, factorial, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.zoo.chance import agreement, combined, order_chance, pooled

RNG = np.random.default_rng(0)


def few_inputs(count: int) -> np.ndarray:
    return RNG.normal(size=(count, 2))


def one_giant(count: int) -> np.ndarray:
    return RNG.normal(size=(count, 6)) * np.where(np.arange(count) == 0, 100, 1)[:, None]


def clusters(count: int) -> np.ndarray:
    return np.repeat(RNG.normal(size=(2, 5)), count // 2, axis=0) + 0.01 * RNG.normal(size=(count, 5))


def wide(count: int) -> np.ndarray:
    return RNG.normal(size=(count, 200))


def one_number(count: int) -> np.ndarray:
    return RNG.exponential(size=(count, 1)) ** 3


LAYERS: list[Callable[[int], np.ndarray]] = [few_inputs, one_giant, clusters, wide, one_number]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("count", [4, 12, 40])
def test_the_same_units_in_another_order_agree_no_more_than_the_bound_says(
    layer: Callable[[int], np.ndarray], count: int
) -> None:
    found = []
    for _ in range(500):
        units = layer(count).astype(np.float32)
        near = units + np.float32(0.01) * RNG.normal(size=units.shape).astype(np.float32)
        found.append(agreement(units, RNG.permutation(near)).chance)
    for likely in (0.3, 0.1, 0.03, 0.01):
        assert np.mean(np.array(found) <= log(likely)) <= likely + 3 * (likely / 500) ** 0.5


@pytest.mark.parametrize("layer", [few_inputs, clusters, wide])
def test_the_same_units_in_the_same_order_agree_beyond_chance(layer: Callable[[int], np.ndarray]) -> None:
    units = layer(24).astype(np.float32)
    found = agreement(units, units + np.float32(1e-4) * RNG.normal(size=units.shape).astype(np.float32))
    assert found.hits == found.units == 24
    assert found.chance < log(1e-20)


def test_weak_agreement_of_many_units_is_seen_in_the_sum_of_products() -> None:
    left = RNG.normal(size=(256, 256)).astype(np.float32)
    right = (0.15 * left + RNG.normal(size=left.shape)).astype(np.float32)
    found = agreement(left, right)
    assert found.hits < 128
    assert found.chance < log(1e-12)


@pytest.mark.parametrize("units", [np.zeros((20, 3)), np.ones((20, 3)), np.zeros((1, 1)), np.zeros((20, 0))])
def test_units_that_are_all_alike_show_nothing(units: np.ndarray) -> None:
    assert agreement(units.astype(np.float32), units.astype(np.float32)).chance == 0


def test_a_long_order_is_unlikely_and_its_bound_holds() -> None:
    assert order_chance(np.arange(20)) == (20, pytest.approx(-log(factorial(20))))
    assert order_chance(np.arange(20)[::-1])[0] == 1
    assert order_chance(np.zeros(20, np.int64)) == (1, 0.0)
    found = np.array([order_chance(RNG.permutation(12)[:8])[1] for _ in range(2000)])
    for likely in (0.3, 0.1, 0.01):
        assert np.mean(found <= log(likely)) <= likely


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=6))
def test_bounds_together_are_no_bolder_than_their_product(chances: list[float]) -> None:
    assert sum(chances) - 1e-9 <= combined(chances) <= 0
    assert combined([chances[0]]) == pytest.approx(chances[0])


def test_bounds_that_hold_apart_hold_together() -> None:
    found = np.array([combined(np.log(RNG.uniform(size=3)).tolist()) for _ in range(2000)])
    for likely in (0.3, 0.1, 0.01):
        assert np.mean(found <= log(likely)) == pytest.approx(likely, abs=3 * (likely / 2000) ** 0.5)


def test_hits_of_several_layers_together() -> None:
    assert combined([]) == pooled([]) == pooled([0, 0]) == 0
    assert exp(pooled([5])) == pytest.approx(1 / factorial(5))
    hits = RNG.poisson(1, size=(20000, 2))  # what random numberings give
    for total in (5, 7):
        assert (hits.sum(axis=1) >= total).mean() <= exp(pooled([total, 0]))
