"""Networks brought into one order and averaged: the same function where they are copies, repaired where not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.merging.averaging import average
from consilience.analysis.merging.merge import in_one_order, merge
from consilience.analysis.merging.repair import repair
from consilience.zoo.network import Network, predict, record
from consilience.zoo.permute import permuted
from consilience.zoo.record import trace
from consilience.zoo.symmetry import symmetry

ROWS = np.random.default_rng(0).normal(size=(500, 16))


class Mixed(nn.Module):
    """Convolutions and dense layers, one of them without a bias, one below a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3)
        self.wide, self.bare = nn.Linear(32, 20), nn.Linear(20, 14, bias=False)
        self.below, self.norm, self.last = nn.Linear(14, 10), nn.LayerNorm(10), nn.Linear(10, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.second(torch.relu(self.first(rows))))
        units = torch.tanh(self.bare(torch.relu(self.wide(maps.flatten(1)))))
        return self.last(torch.relu(self.norm(self.below(units))))


def drawn(seed: int, make: type[nn.Module] | None = None) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = (make or Mixed)()
        for part in module.parameters():
            part.data.mul_(1.5)
    module = module.eval().requires_grad_(False)
    layers = trace(module, torch.zeros(2, 1, 4, 4)).layers
    return Network(f"n{seed}", f"d{seed}", f"l{seed}", module, layers, (1, 4, 4))


def shuffled(network: Network, seed: int) -> Network:
    draw, found = np.random.default_rng(seed), symmetry(network)
    return permuted(network, found, [draw.permutation(group.size) for group in found.groups])


def moments(network: Network, layer: str) -> np.ndarray:
    (batch,) = record(network, ROWS, batch=len(ROWS))
    return np.stack([batch[layer].pre.mean(axis=0), batch[layer].pre.std(axis=0)])


@pytest.mark.parametrize("fix", [True, False])
@pytest.mark.parametrize("method", ["activations", "weights"])
def test_permuted_copies_merge_into_what_they_are(method, fix):
    network = drawn(0)
    copies = [network, *(shuffled(network, seed) for seed in range(3))]
    merged = merge(copies, ROWS, method=method, repair=fix)
    wanted = predict(network, ROWS)
    assert np.abs(predict(merged, ROWS) - wanted).max() <= 1e-4 * wanted.std()
    for name, tensor in network.module.state_dict().items():
        assert torch.allclose(merged.module.state_dict()[name], tensor, atol=1e-4)


def test_repair_restores_means_and_deviations():
    parents = in_one_order([drawn(seed) for seed in range(3)], ROWS, method="activations")
    merged = average(parents)
    repaired = repair(merged, parents, ROWS)
    for layer in ("first", "second", "wide"):
        wanted = np.mean([moments(parent, layer) for parent in parents], axis=0)
        assert not np.allclose(moments(merged, layer), wanted, rtol=0.05)
        assert np.allclose(moments(repaired, layer), wanted, rtol=1e-3, atol=1e-4)
    wanted = np.mean([moments(parent, "bare") for parent in parents], axis=0)
    assert np.allclose(moments(repaired, "bare")[1], wanted[1], rtol=1e-3)  # its mean has no bias to stand in
    state, before = repaired.module.state_dict(), merged.module.state_dict()
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    names = ("first", "second", "wide")
    assert changed == {"bare.weight", *(f"{name}.{part}" for name in names for part in ("weight", "bias"))}


def test_units_that_never_vary_are_moved_and_not_stretched():
    parents = [drawn(seed) for seed in range(2)]
    for parent in parents:
        parent.module.state_dict()["wide.weight"][2] = 0.0
    repaired = repair(average(parents), parents, ROWS)
    assert np.isfinite(predict(repaired, ROWS)).all()
    wanted = np.mean([moments(parent, "wide")[0] for parent in parents], axis=0)
    assert np.allclose(moments(repaired, "wide")[0], wanted, atol=1e-4)


class Normed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 10), nn.ReLU(),
            nn.Linear(10, 3),
        )  # fmt: skip


def test_batch_norms_are_reset_and_dense_layers_beside_them_repaired():
    parents = [drawn(seed, Normed) for seed in range(2)]
    repaired = repair(average(parents), parents, ROWS)
    values = repaired.module[0](torch.tensor(ROWS, dtype=torch.float32).reshape(-1, 1, 4, 4))
    assert torch.allclose(repaired.module[1].running_mean, values.mean((0, 2, 3)), atol=1e-5)
    wanted = np.mean([moments(parent, "4") for parent in parents], axis=0)
    assert np.allclose(moments(repaired, "4"), wanted, rtol=1e-3, atol=1e-4)
    assert torch.equal(repaired.module[0].weight, average(parents).module[0].weight)


@pytest.mark.parametrize("method", ["activations", "weights"])
def test_no_network_changes_what_it_computes_and_the_first_stays(method):
    networks: Sequence[Network] = [drawn(seed) for seed in range(3)]
    ordered = in_one_order(networks, ROWS, method=method)
    for before, after in zip(networks, ordered, strict=True):
        assert np.abs(predict(after, ROWS) - predict(before, ROWS)).max() <= 1e-4 * predict(before, ROWS).std()
    states = networks[0].module.state_dict(), ordered[0].module.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_shares_need_not_be_equal():
    one, other = drawn(0), drawn(1)
    mixed = average([one, other], [0.75, 0.25]).module.state_dict()
    for name, tensor in mixed.items():
        wanted = 0.75 * one.module.state_dict()[name] + 0.25 * other.module.state_dict()[name]
        assert torch.allclose(tensor, wanted, atol=1e-6)
