"""Layers of networks of different depth find their counterparts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from consilience.analysis.alignment.correspond import Level, RecordedLayer, correspond
from consilience.zoo.errors import BadInput

SAMPLES = 300


def _stages(count: int) -> list[np.ndarray]:
    """Give what successive layers have to say: each forgets a part of the one before, and adds to it."""
    rng = np.random.default_rng(0)
    stages = [rng.standard_normal((SAMPLES, 6))]
    for _ in range(count - 1):
        stages.append(np.tanh(stages[-1] @ rng.standard_normal((6, 6)) * 0.8))
    return stages


def _layer(
    content: np.ndarray, seed: int, *, kind: str = "dense", role: str = "hidden", positions: int = 1
) -> RecordedLayer:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((content.shape[1], 20))
    axes = ("row", "place") if kind == "convolution" else ("row",)
    return RecordedLayer(role, kind, axes, positions, content @ mix + 0.2 * rng.standard_normal((len(content), 20)))


def _output(seed: int) -> RecordedLayer:
    return _layer(_stages(1)[0], seed, role="output")


def _where(levels: tuple[Level, ...]) -> dict[tuple[int, int], str]:
    return {place: level.name for level in levels for place in level.layers}


@pytest.mark.parametrize("seed", range(3))
def test_shallow_networks_are_laid_along_the_deepest(seed: int) -> None:
    stages = _stages(4)
    kept = [(0, 1, 2, 3), (0, 2, 3), (1, 3), (2,), (0, 1, 2, 3), (0, 1)]
    networks = [
        [*(_layer(stages[at], 100 * seed + 10 * n + at) for at in ats), _output(n)] for n, ats in enumerate(kept)
    ]
    names = _where(correspond(networks))
    for network, ats in enumerate(kept):
        assert [names[network, position] for position in range(len(ats))] == [f"hidden {at + 1}" for at in ats]
        assert names[network, len(ats)] == "output"


def test_depth_keeps_its_order_and_a_level_takes_one_layer_a_network() -> None:
    noise = np.random.default_rng(5)
    networks = [
        [RecordedLayer("hidden", "dense", ("row",), 1, noise.standard_normal((60, 8))) for _ in range(depth)]
        for depth in (1, 5, 3, 2, 4)
    ]
    levels = correspond(networks)
    assert [level.name for level in levels] == [f"hidden {n}" for n in range(1, 6)]
    names = _where(levels)
    assert len(names) == 15
    for network, layers in enumerate(networks):
        placed = [names[network, position] for position in range(len(layers))]
        assert all(before < after for before, after in pairwise(placed))


def test_only_layers_of_one_sort_meet() -> None:
    stages = _stages(2)
    maps = np.repeat(stages[0], 4, axis=0)
    networks = [
        [_layer(maps, 1, kind="convolution", positions=4), _layer(stages[1], 2), _output(3)],
        [_layer(stages[0], 4), _layer(stages[1], 5), _output(6)],
    ]
    levels = correspond(networks)
    assert [(level.name, level.kind, level.positions) for level in levels] == [
        ("convolution 1", "convolution", 4),
        ("dense 1", "dense", 1),
        ("dense 2", "dense", 1),
        ("output", "dense", 1),
    ]
    assert _where(levels)[0, 0] == "convolution 1"
    assert _where(levels)[0, 1] == "dense 2"


def test_levels_say_what_tells_them_apart() -> None:
    def layer(kind: str, axes: tuple[str, ...], positions: int) -> RecordedLayer:
        return RecordedLayer("hidden", kind, axes, positions, np.random.default_rng(0).random((30 * positions, 4)))

    token, row = ("row", "token"), ("row",)
    near = ("row", "node", "neighbour")
    network = [
        *(layer("dense", token, 16), layer("dense", token, 16), layer("dense", token, 9), layer("dense", row, 1)),
        *(layer("message", near, 16), layer("residual", token, 16), layer("residual", token, 4)),
    ]
    assert [level.name for level in correspond([network])] == [
        *("dense per token 1 at 16 positions", "dense per token 2 at 16 positions"),
        *("dense per token 1 at 9 positions", "dense per row 1"),
        *("message 1", "residual 1 at 16 positions", "residual 1 at 4 positions"),
    ]
    assert [level.axes for level in correspond([network])][-3] == near


def test_odd_zoos_have_sane_levels() -> None:
    assert correspond([]) == ()
    alone = correspond([[_output(0)]])
    assert [(level.name, level.layers) for level in alone] == [("output", ((0, 0),))]
    dead = RecordedLayer("hidden", "dense", ("row",), 1, np.zeros((50, 3)))
    assert [level.layers for level in correspond([[dead], [dead]])] == [((0, 0), (1, 0))]


def test_other_samples_are_refused() -> None:
    short = RecordedLayer("hidden", "dense", ("row",), 1, np.ones((50, 3)))
    long = RecordedLayer("hidden", "dense", ("row",), 1, np.ones((60, 3)))
    with pytest.raises(BadInput, match=r"layers of one kind have \[50, 60\] samples"):
        correspond([[short], [long]])
