from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.distillation.consensus import consensus, disagreement, divide, peer_ratio, peers, relevance
from consilience.zoo.errors import BadInput

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.uniform(size=(600, 3))
TRUTH = INPUTS[:, 0] * 3 - INPUTS[:, 1] ** 2


def witnesses(lineages: int, noise: float) -> np.ndarray:
    return TRUTH + noise * RANDOM.normal(size=(lineages, len(TRUTH)))


def test_consensus_is_one_vote_each() -> None:
    values = np.array([[1.0, 2.0], [3.0, 6.0]])
    assert consensus(values).tolist() == [2.0, 4.0]
    assert peers(values).tolist() == [[3.0, 6.0], [1.0, 2.0]]
    assert disagreement(values) == 3.0


def test_one_lineage_has_no_peers() -> None:
    with pytest.raises(BadInput, match="no peers"):
        peers(np.ones((1, 5)))


@pytest.mark.parametrize("lineages", [3, 12, 40])
def test_truth_is_as_good_a_witness_as_the_peers(lineages: int) -> None:
    values = witnesses(lineages, 0.1)
    ratio = peer_ratio(np.broadcast_to(TRUTH, values.shape), values, divide(INPUTS))
    expected = np.sqrt((lineages - 1) / lineages)  # the peers' mean has a little noise of its own
    assert ratio.value == pytest.approx(expected, abs=0.05)
    assert 0 < ratio.error < 0.1
    assert len(ratio.each) == lineages


def test_wrong_equation_has_a_large_ratio_and_says_how_sure_it_is() -> None:
    values = witnesses(8, 0.05)
    ratio = peer_ratio(np.broadcast_to(3 * INPUTS[:, 0] - 0.4, values.shape), values, divide(INPUTS))
    assert ratio.value > 4
    assert ratio.error < ratio.value / 3


def test_ratio_does_not_depend_on_units_or_order() -> None:
    values, regions = witnesses(6, 0.1), divide(INPUTS)
    predicted = np.broadcast_to(TRUTH + 0.05, values.shape)
    plain = peer_ratio(predicted, values, regions)
    scaled = peer_ratio(1e6 * predicted, 1e6 * values, regions)
    turned = peer_ratio(predicted, values[::-1], regions)
    assert scaled.value == pytest.approx(plain.value)
    assert turned.value == pytest.approx(plain.value)
    assert turned.each == pytest.approx(plain.each[::-1])


def test_regions_cover_every_sample_once_also_with_constant_inputs() -> None:
    regions = divide(np.column_stack([INPUTS, np.ones(len(INPUTS))]))
    assert regions.shape == (600, 16)
    assert regions.sum(axis=1).tolist() == [1.0] * 600
    assert divide(np.ones((20, 2))).shape == (20, 1)


def test_relevance_tells_what_a_function_depends_on() -> None:
    moved = []
    for column in range(3):
        changed = INPUTS.copy()
        changed[:, column] = RANDOM.permutation(INPUTS[:, column])
        moved.append(changed[:, 0] * 3 - changed[:, 1] ** 2)
    effects = relevance(TRUTH, np.stack(moved))
    assert effects[0] > effects[1] > 0.1
    assert effects[2] == 0
