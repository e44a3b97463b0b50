"""Moments gathered in batches equal those of all samples at once."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest

from consilience.analysis.alignment.moments import (
    gather,
    measure,
    measure_pair,
    merge,
    merge_pairs,
    update,
    update_pair,
)
from consilience.zoo.errors import BadInput


def _layers(offset: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    classes = np.repeat(np.arange(10), 60)
    left = rng.standard_normal((600, 7)) + classes[:, None] * rng.standard_normal(7)
    right = left @ rng.standard_normal((7, 5)) + rng.standard_normal((600, 5))
    return left + offset, right - 3 * offset


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("sizes", [(600,), (1, 1, 598), (60,) * 10, (7,) * 86])
def test_streamed_correlation_equals_two_pass_on_class_sorted_batches(offset: float, sizes: tuple[int, ...]) -> None:
    left, right = _layers(offset)
    edges = np.minimum(np.cumsum((0, *sizes)), 600)
    parts = [measure_pair(left[a:b], right[a:b]) for a, b in pairwise(edges) if b > a]
    found = reduce(merge_pairs, parts)
    truth = np.corrcoef(left.T, right.T)[:7, 7:]
    np.testing.assert_allclose(found.correlation, truth, atol=1e-6)
    np.testing.assert_allclose(found.left.variance, left.var(axis=0), rtol=1e-6)


def test_update_and_merge_agree_in_any_order() -> None:
    left, right = _layers(10.0)
    forward = update(update(measure(left[:100]), left[100:250]), left[250:])
    backward = merge(measure(left[250:]), merge(measure(left[100:250]), measure(left[:100])))
    np.testing.assert_allclose(forward.mean, backward.mean)
    np.testing.assert_allclose(forward.squares, backward.squares)
    np.testing.assert_allclose(gather([left[:9], left[9:]]).variance, left.var(axis=0))
    pair = update_pair(measure_pair(left[:50], right[:50]), left[50:], right[50:])
    np.testing.assert_allclose(pair.correlation, measure_pair(left, right).correlation, atol=1e-12)


def test_units_that_never_vary_are_dead_and_scale_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    live = rng.standard_normal((200, 1))
    batch = np.hstack(
        [live, 1e-12 * live, 1e6 + live, np.full_like(live, 0.1), np.zeros_like(live), live, live]
    ).astype(np.float64)
    batch[3, 5], batch[4, 6] = np.nan, np.inf
    assert measure(batch).alive.tolist() == [True, True, True, False, False, False, False]
    streamed = reduce(update, (batch[10:100].astype(np.float32), batch[100:]), measure(batch[:10]))
    assert streamed.alive.tolist() == measure(batch).alive.tolist()
    r = measure_pair(batch, batch).correlation
    assert np.isfinite(r).all()
    assert not r[3:].any()


def test_constant_units_are_dead_even_with_rounding_noise() -> None:
    constant = np.full((500, 1), 1234.567, dtype=np.float32)
    constant[::2] = np.nextafter(constant[::2], np.float32(2000))
    assert not measure(constant).alive.any()


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(BadInput, match="without samples"):
        measure(np.zeros((0, 3)))
    with pytest.raises(BadInput, match="no batches"):
        gather([])
    with pytest.raises(BadInput, match="3 units cannot be merged with those of 2"):
        merge(measure(np.ones((4, 3))), measure(np.ones((4, 2))))


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1e8, -3.3e-9])
@pytest.mark.parametrize("samples", [300, 400, 4099])
def test_a_constant_is_dead_whatever_its_digits(value: float, samples: int) -> None:
    for kind in (np.float64, np.float32):
        moments = measure(np.full((samples, 2), value, dtype=kind))
        assert not moments.alive.any()
        halves = [np.full((samples, 2), value, dtype=kind)] * 3
        assert not gather(halves).alive.any()
