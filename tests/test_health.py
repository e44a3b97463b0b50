"""What is odd about a network when it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.architecture import build_network
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.health import health
from consilience.zoo.network import Network

ROWS = np.random.default_rng(0).uniform(-1, 1, (64, 3))


def network(module: nn.Module) -> Network:
    tensors = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    return build_network(
        Checkpoint("npz", tensors, {"activation": "relu"}),
        name="a",
        digest="",
        lineage="a",
        example=ROWS[:1],
        search_path=Path(),
    )


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(1)
    made = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        for linear in (made[0], made[2]):
            linear.bias += 3  # alive everywhere
    return made


def test_a_sound_network_has_no_flags(module: nn.Module) -> None:
    assert health(network(module), ROWS) == ()


def test_dead_units_are_counted(module: nn.Module) -> None:
    with torch.no_grad():
        module[0].bias[:3] = -100
    assert health(network(module), ROWS) == ("dead: 3 of 16 units of 0, on 64 rows",)
    with torch.no_grad():
        module[2].bias[5] = -1000
    assert health(network(module), ROWS) == ("dead: 4 of 32 units in 2 layers, on 64 rows",)


def test_an_output_that_never_varies(module: nn.Module) -> None:
    with torch.no_grad():
        module[4].weight[1] = 0
    assert health(network(module), ROWS) == ("constant-output: 1 of 2 units of 4, on 64 rows",)


def test_what_is_not_finite(module: nn.Module) -> None:
    with torch.no_grad():
        module[4].weight[0, 0] = float("nan")
    assert health(network(module), ROWS) == ("not-finite: 1 of 2 units of 4, on 64 rows",)
