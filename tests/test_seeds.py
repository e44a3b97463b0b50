"""Merging nearest groups gives the groups of average linkage."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.alignment.seeds import Seeds, link, merge_nearest
from consilience.analysis.alignment.similarity import standardise


def _units(seed: int, *, flipped: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 40, 150)
    values = rng.standard_normal((500, 40))[:, group] + rng.uniform(0.2, 0.9, 150) * rng.standard_normal((500, 150))
    return standardise(values * rng.choice([-1.0, 1.0], 150) if flipped else values).astype(np.float32)


def _pairs(seeds: Seeds) -> tuple[np.ndarray, np.ndarray]:
    """Tell for every two units whether they share a group, and with the same sign."""
    group, sign = seeds
    together = group[:, None] == group
    return together, together * np.outer(sign, sign)


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_groups_and_signs_are_those_of_linkage(seed: int, cut: float) -> None:
    units, odd = _units(seed, flipped=True), np.ones(150, dtype=bool)
    for found, expected in zip(_pairs(merge_nearest(units, odd, cut)), _pairs(link(units, odd, cut)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_units_of_fixed_sign_are_not_flipped() -> None:
    units, odd = _units(0, flipped=False), np.arange(150) % 3 == 0
    units[:, odd] *= np.where(np.arange(odd.sum()) % 2, 1.0, -1.0).astype(np.float32)
    group, sign = merge_nearest(units, odd, 0.5)
    for found, expected in zip(_pairs((group, sign)), _pairs(link(units, odd, 0.5)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(len(np.unique(sign[(group == name) & ~odd])) <= 1 for name in np.unique(group))


@pytest.mark.parametrize("join", [link, merge_nearest])
def test_few_units_are_few_groups(join: type) -> None:
    for units in range(3):
        values = np.eye(4, units, dtype=np.float32)
        group, sign = join(values, np.ones(units, dtype=bool), 0.5)
        assert group.tolist() == list(range(units))
        assert sign.tolist() == [1] * units
