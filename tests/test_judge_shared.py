"""What networks share more than their untrained twins is found, in any axes; what twins share as well is not."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.alignment.judge_shared import judge_shared
from consilience.analysis.alignment.similarity import Activations, activations

SAMPLES, NETWORKS, UNITS = 500, 5, 12
INPUTS = np.random.default_rng(0).uniform(-1, 1, (SAMPLES, 3))
LEARNED = np.column_stack([INPUTS[:, 0] * INPUTS[:, 1], np.sin(4.0 * INPUTS[:, 2])])
NOTHING = np.zeros((SAMPLES, 0))


def _layer(functions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix inputs and functions at random into units, with a little that is the network's own."""
    sources = np.column_stack([INPUTS, functions])
    mixed = sources / sources.std(axis=0) @ rng.standard_normal((sources.shape[1], UNITS))
    return mixed + 0.1 * rng.standard_normal((SAMPLES, UNITS))


def _bump(rng: np.random.Generator) -> np.ndarray:
    return np.sin(5.0 * INPUTS @ rng.standard_normal((3, 2)) + rng.uniform(0, 6, 2))


def _twins(draw: int) -> list[np.ndarray]:
    rng = np.random.default_rng([1, draw])
    return [_layer(_bump(rng), rng) for _ in range(NETWORKS)]


def _zoo(values: list[np.ndarray]) -> list[Activations]:
    return [activations(one, odd=True, lineage=str(number)) for number, one in enumerate(values)]


def test_what_all_learned_is_found_in_any_axes_and_inputs_are_no_finding() -> None:
    rng = np.random.default_rng(2)
    found = judge_shared(_zoo([_layer(LEARNED, rng) for _ in range(NETWORKS)]), known=NOTHING, twins=_twins)
    assert 0 < len(found.shared) <= 5
    assert found.q <= 0.05
    assert np.all(found.lift > 1.0)
    assert found.new.all()
    span = np.column_stack([found.shared.prototypes, INPUTS])
    for function in LEARNED.T:
        centred = function - function.mean()
        left = centred - span @ np.linalg.lstsq(span, centred, rcond=None)[0]
        assert left.var() < 0.05 * centred.var()


def test_a_direction_that_units_explain_is_not_new() -> None:
    rng = np.random.default_rng(3)
    level = _zoo([_layer(LEARNED, rng) for _ in range(NETWORKS)])
    found = judge_shared(level, known=np.column_stack([LEARNED, INPUTS]), twins=_twins)
    assert len(found.shared)
    assert not found.new.any()


@pytest.mark.parametrize("seed", range(4))
def test_untrained_networks_share_no_more_than_their_twins(seed: int) -> None:
    found = judge_shared(_zoo(_twins(100 + seed)), known=NOTHING, twins=_twins)
    assert not len(found.shared)
    assert not found.lift.size
