"""Units are brought into one order by what they do, without a change of what the network does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.alignment.activation_matching import agree, match_activations, match_many
from consilience.zoo.network import Network, predict
from consilience.zoo.permute import permuted
from consilience.zoo.record import trace
from consilience.zoo.symmetry import Symmetry, symmetry


def drawn(make: Callable[[], nn.Module], *shape: int, seed: int = 0) -> Network:
    """Make a network of random weights, with statistics as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make()
        for name, part in module.state_dict().items():
            if part.is_floating_point():
                noise = 0.2 * torch.randn(part.shape)
                part.copy_(part + (noise.abs() if "var" in name else noise))
    module = module.eval().requires_grad_(False)
    found = trace(module, torch.zeros(2, *shape))
    return Network(f"n{seed}", f"d{seed}", f"l{seed}", module, found.layers, shape)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 3),
    )


class Attention(nn.Module):
    """One block on a residual stream, with keys and queries that are no layer's units."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.enter, self.widen, self.narrow, self.leave = (
            nn.Linear(2, 8), nn.Linear(8, 20), nn.Linear(20, 8), nn.Linear(8, 3)
        )  # fmt: skip

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        stream = self.enter(rows)
        weights = (self.query(stream) @ self.key(stream).transpose(1, 2) / 8**0.5).softmax(-1)
        stream = stream + weights @ self.value(stream)
        stream = stream + self.narrow(torch.relu(self.widen(stream)))
        return self.leave(stream.mean(1))


KINDS = {"mlp": (mlp, (5,)), "cnn": (cnn, (1, 6, 6)), "attention": (Attention, (4, 2))}


def shuffled(network: Network, found: Symmetry, seed: int) -> Network:
    draw = np.random.default_rng(seed)
    return permuted(network, found, [draw.permutation(group.size) for group in found.groups])


def rows(network: Network, count: int = 300) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, int(np.prod(network.input_shape))))


def alike(one: Network, other: Network) -> bool:
    states = one.module.state_dict(), other.module.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_order_is_found_and_nothing_changes(kind):
    make, shape = KINDS[kind]
    network = drawn(make, *shape)
    found = symmetry(network)
    assert found.groups
    inputs = rows(network)
    for seed in range(3):
        other = shuffled(network, found, seed)
        assert not alike(network, other)
        assert np.abs(predict(other, inputs) - predict(network, inputs)).max() <= 1e-4 * predict(network, inputs).std()
        back = permuted(other, found, match_activations(network, other, inputs, symmetry=found))
        assert alike(network, back)


def test_the_symmetry_is_found_where_none_is_given():
    network = drawn(mlp, 5)
    orders = match_activations(network, network, rows(network))
    assert all((order == np.arange(len(order))).all() for order in orders)


def test_dead_units_take_what_is_left():
    network = drawn(mlp, 5)
    state = network.module.state_dict()
    state["0.weight"][3:6] = 0.0  # the values of these units do not vary
    other = shuffled(network, symmetry(network), 4)
    orders = match_activations(network, other, rows(network))
    assert [sorted(order.tolist()) for order in orders] == [list(range(len(order))) for order in orders]
    back = permuted(other, symmetry(network), orders)
    live = [unit for unit in range(16) if unit not in (3, 4, 5)]
    assert torch.equal(back.module.state_dict()["0.weight"][live], state["0.weight"][live])


def test_many_networks_agree_on_the_first_ones_order():
    network = drawn(cnn, 1, 6, 6)
    found = symmetry(network)
    zoo = [network, *(shuffled(network, found, seed) for seed in range(3))]
    orders = match_many(zoo, rows(network), symmetry=found)
    assert all((order == np.arange(len(order))).all() for order in orders[0])
    assert all(alike(network, permuted(one, found, mine)) for one, mine in zip(zoo, orders, strict=True))


def test_two_networks_get_the_best_of_all_orders():
    products = np.random.default_rng(2).normal(size=(6, 6))
    first, second = agree({(0, 1): products}, 2)
    best = max(sum(products[place, order[place]] for place in range(6)) for order in permutations(range(6)))
    assert first.tolist() == list(range(6))
    assert products[np.arange(6), second].sum() == pytest.approx(best)


def test_many_networks_get_no_less_than_one_after_the_other():
    draw = np.random.default_rng(3)
    pairs = [(one, other) for other in range(5) for one in range(other)]
    products = {pair: draw.normal(size=(8, 8)) for pair in pairs}
    found = agree(products, 5)

    def total(orders: list[np.ndarray]) -> float:
        return sum(float(products[one, other][orders[one], orders[other]].sum()) for one, other in pairs)

    assert total(found) > total([np.arange(8)] * 5)
    for network in range(5):  # no single exchange of two units gains anything
        for one in range(8):
            for other in range(one):
                changed = [order.copy() for order in found]
                changed[network][[one, other]] = changed[network][[other, one]]
                assert total(changed) <= total(found) + 1e-6
