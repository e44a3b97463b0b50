"""The nearest units are those that the whole table of correlations gives, whatever the blocks and batches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.alignment.matching import pair_by_mutual_choice
from consilience.analysis.alignment.nearest import Nearest, Neighbours, mutual, nearest, nearest_in_batches
from consilience.analysis.alignment.similarity import resemblance
from consilience.zoo.errors import BadInput


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.analysis.alignment.batches.BLOCK", 16)
    monkeypatch.setattr("consilience.analysis.alignment.batches.ROWS", 60)
    monkeypatch.setattr("consilience.analysis.alignment.moments.BLOCK", 8)


def _layers(seed: int = 0, samples: int = 250) -> tuple[np.ndarray, np.ndarray]:
    """Draw two layers that share functions, far from zero, with dead, duplicated and broken units."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((samples, 30))
    left = shared @ rng.standard_normal((30, 53)) + 0.5 * rng.standard_normal((samples, 53))
    right = shared @ rng.standard_normal((30, 41)) + 0.5 * rng.standard_normal((samples, 41))
    left[:, 20:40] *= rng.lognormal(size=20)
    left, right = (left + 30.0).astype(np.float32), (right - 50.0).astype(np.float32)
    left[:, 7], right[:, 9], right[:, 30] = 3.0, left[:, 12], left[:, 12]
    left[5, 8] = np.nan
    return left, right


def _dense(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        r = np.corrcoef(left.T.astype(np.float64), right.T.astype(np.float64))[: left.shape[1], left.shape[1] :]
    return np.nan_to_num(r)


def _check(side: Neighbours, r: np.ndarray, alike: np.ndarray, k: int) -> None:
    best = np.zeros((len(alike), k))
    best[:, : alike.shape[1]] = -np.sort(-np.maximum(alike, 0.0), axis=1)[:, :k]
    np.testing.assert_allclose(np.abs(side.r), best, atol=1e-6)
    held = side.partner >= 0
    assert np.array_equal(held, best > 0.0)
    rows = np.arange(len(r))[:, None]
    np.testing.assert_allclose(side.r[held], r[rows, side.partner][held], atol=1e-6)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in side.partner)


def _check_both(found: Nearest, left: np.ndarray, right: np.ndarray, k: int, **odd: object) -> None:
    r = _dense(left, right)
    alike = resemblance(r, **odd)
    _check(found.left, r, alike, k)
    _check(found.right, r.T, alike.T, k)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("odd", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("k", [1, 3, 60])
def test_blocks_give_what_the_whole_table_gives(k: int, odd: tuple[bool, bool]) -> None:
    left, right = _layers()
    odds = {"left_odd": odd[0], "right_odd": odd[1]}
    _check_both(nearest(left, right, k=k, **odds), left, right, k, **odds)


@pytest.mark.usefixtures("small_blocks")
def test_signs_may_differ_from_unit_to_unit() -> None:
    left, right = _layers(1)
    odds = {"left_odd": np.arange(53) % 2 == 0, "right_odd": np.arange(41) % 3 == 0}
    _check_both(nearest(left, right, k=2, **odds), left, right, 2, **odds)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sizes", [(250,), (1, 1, 248), (50,) * 5, (7,) * 36])
def test_batches_of_any_size_give_the_two_pass_correlation(sizes: tuple[int, ...]) -> None:
    left, right = _layers(2)
    order = np.argsort(left[:, 0])
    left, right = left[order] + np.float32(1e4), right[order]
    edges = np.minimum(np.cumsum((0, *sizes)), 250)
    found = nearest_in_batches(lambda: ((left[a:b], right[a:b]) for a, b in pairwise(edges)), k=2)
    _check_both(found, left, right, 2, left_odd=False, right_odd=False)


@pytest.mark.usefixtures("small_blocks")
def test_mapped_files_and_other_memory_give_the_same(tmp_path: Path) -> None:
    left, right = _layers()
    np.save(tmp_path / "left.npy", left)
    expected = nearest(left, right, k=2)
    for mode in ("r", "c"):
        mapped = np.load(tmp_path / "left.npy", mmap_mode=mode)
        if mode == "c":
            mapped[:, 3] = mapped[::-1, 3]
            expected = nearest(np.array(mapped), right, k=2)
        for other in (mapped, np.asfortranarray(mapped)):
            found = nearest(other, right, k=2)
            np.testing.assert_array_equal(found.left.partner, expected.left.partner)
            np.testing.assert_array_equal(found.left.r, expected.left.r)


@pytest.mark.usefixtures("small_blocks")
def test_products_of_torch_are_those_of_numpy() -> None:
    left, right = _layers()
    here, there = nearest(left, right, k=2), nearest(left, right, k=2, device="cpu:0")
    np.testing.assert_array_equal(here.left.partner, there.left.partner)
    np.testing.assert_allclose(here.right.r, there.right.r, atol=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("odd", [False, True])
def test_mutual_pairs_are_those_of_the_whole_table(odd: bool) -> None:
    left, right = _layers(3)
    alike = resemblance(_dense(left, right), left_odd=odd, right_odd=odd)
    found = mutual(nearest(left, right, left_odd=odd, right_odd=odd))
    assert [units.tolist() for units in found] == [units.tolist() for units in pair_by_mutual_choice(alike)]


def test_units_left_out_by_the_caller_have_no_partner() -> None:
    left, right = _layers()
    found = nearest(left, right, left_alive=np.arange(53) > 20)
    assert (found.left.partner[:21] == -1).all()
    assert not found.left.r[:21].any()
    assert (found.right.partner[:, 0] > 20).sum() > 30


def _wide(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plant pairs of r from .1 to .9 among units without partner, half of them of opposite sign."""
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, 3000, 2000), dtype=np.float32)
    r = np.repeat(np.linspace(0.1, 0.9, 9), 100).astype(np.float32)
    right[:, :900] = r * left[:, :900] + np.sqrt(1 - r * r) * right[:, :900]
    right[:, :900:2] *= -1
    return left, right, r


@pytest.mark.parametrize("seed", range(2))
def test_a_sketch_loses_no_strong_partner_and_its_r_is_exact(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, r = _wide(seed)
    exact = nearest(left, right, left_odd=True)
    monkeypatch.setattr("consilience.analysis.alignment.nearest.SKETCH_UNITS", 1000)
    found = nearest(left, right, left_odd=True, seed=seed)
    for one, other in ((exact.left, found.left), (exact.right, found.right)):
        same = one.partner[:, 0] == other.partner[:, 0]
        np.testing.assert_allclose(one.r[same], other.r[same], atol=1e-6)
        recall = [same[:900][np.isclose(r, level)].mean() for level in np.unique(r)]
        assert min(recall[1:]) == 1.0  # r from .2
    again = nearest(left, right, left_odd=True, seed=seed)
    np.testing.assert_array_equal(found.left.partner, again.left.partner)


@pytest.mark.parametrize("sketch", [False, True])
def test_degenerate_layers_have_sane_results(sketch: bool) -> None:
    rng = np.random.default_rng(0)
    unit, dead = rng.standard_normal((50, 1)), np.ones((50, 3))
    broken = np.full((50, 2), np.nan)
    for other in (dead, broken, np.full((50, 2), np.inf), np.zeros((50, 0))):
        found = nearest(unit, other, left_odd=True, k=2, sketch=sketch)
        assert found.left.partner.tolist() == [[-1, -1]]
        assert (found.right.partner == -1).all()
        assert not found.left.r.any()
        assert not found.right.r.any()
        assert mutual(found)[0].size == 0
    copies = nearest(unit, -unit, left_odd=True, sketch=sketch)
    assert copies.left.partner.tolist() == [[0]]
    assert copies.left.r[0, 0] == pytest.approx(-1.0, abs=1e-6)
    assert nearest(unit, -unit, sketch=sketch).left.partner.tolist() == [[-1]]
    twins = rng.standard_normal((50, 6)).astype(np.float32)
    assert nearest(twins, twins, sketch=sketch).left.partner[:, 0].tolist() == list(range(6))


def test_what_cannot_be_compared_is_refused() -> None:
    values = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(BadInput, match="3 samples are too few"):
        nearest(values[:3], values[:3])
    with pytest.raises(BadInput, match="20 samples on one side, 10 on the other"):
        nearest(values, values[:10])
    with pytest.raises(BadInput, match="0 samples are too few"):
        nearest_in_batches(list)
    with pytest.raises(BadInput, match="0 nearest units"):
        nearest(values, values, k=0)
    once = iter([(values, values)])
    with pytest.raises(BadInput, match="gave 20 samples at first and 0"):
        nearest_in_batches(lambda: once)
    with pytest.raises(BadInput, match="3 units cannot be merged with those of 2"):
        nearest_in_batches(lambda: [(values, values), (values[:, :2], values)])


def test_every_pair_of_blocks_goes_through_the_batches_once(small_blocks: None) -> None:
    left, right = _layers()
    calls: list[Callable[[], object]] = []

    def batches() -> list[tuple[np.ndarray, np.ndarray]]:
        calls.append(batches)
        return [(left, right)]

    nearest_in_batches(batches)
    assert len(calls) == 1 + 4 * 3
