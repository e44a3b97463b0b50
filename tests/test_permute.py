"""Units are reordered wherever they stand, in a copy, and orders that are none are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network, predict
from consilience.zoo.permute import permute_state, permuted, reordered, unfolded
from consilience.zoo.record import trace
from consilience.zoo.symmetry import Group, Place, Symmetry, symmetry

TABLE = torch.arange(24.0).reshape(12, 2)
PLACES = [
    (Place("t", 0, 1, 1), 12),
    (Place("t", 0, 3, 1), 4),
    (Place("t", 0, 1, 4), 3),
    (Place("t", 0, 2, 3), 2),
    (Place("t", 1, 1, 1), 2),
    (Place("t", 0, 1, 2, start=5), 3),
    (Place("t", 0, 2, 1, start=2), 4),
]


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    module = module.eval().requires_grad_(False)
    return Network("n", "digest", "n", module, trace(module, torch.zeros(2, 4)).layers, (4,))


def drawn(found: Symmetry, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.permutation(group.size) for group in found.groups]


@pytest.mark.parametrize(("place", "size"), PLACES)
def test_new_is_old_in_that_order_at_every_place(place: Place, size: int) -> None:
    order = np.random.default_rng(1).permutation(size)
    moved, expected = reordered(TABLE, place, order), TABLE.clone()
    for before in range(place.before):
        for unit in range(size):
            for after in range(place.after):
                new, old = (place.start + (before * size + one) * place.after + after for one in (unit, order[unit]))
                expected.select(place.axis, new).copy_(TABLE.select(place.axis, int(old)))
    assert torch.equal(moved, expected)
    assert torch.equal(
        unfolded(moved, place, size), unfolded(TABLE, place, size).index_select(place.axis + 1, torch.from_numpy(order))
    )


@pytest.mark.parametrize(("place", "size"), PLACES)
def test_there_and_back_again(place: Place, size: int) -> None:
    found = Symmetry((Group(size, (place,), ()),))
    order = np.random.default_rng(2).permutation(size)
    there = permute_state({"t": TABLE}, found, [order])
    assert torch.equal(permute_state(there, found, [np.argsort(order)])["t"], TABLE)


def test_places_of_one_group_in_one_tensor_move_together() -> None:
    square = torch.arange(9.0).reshape(3, 3)
    found = Symmetry((Group(3, (Place("t", 0, 1, 1), Place("t", 1, 1, 1)), ()),))
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(
        permute_state({"t": square}, found, [order])["t"], square.numpy()[np.ix_(order, order)]
    )


def test_what_is_in_no_group_stays() -> None:
    whole = network()
    found = symmetry(whole)
    state = permute_state(whole.module.state_dict(), found, drawn(found))
    assert list(state) == list(whole.module.state_dict())
    assert torch.equal(state["5.bias"], whole.module.state_dict()["5.bias"])
    assert int(state["1.num_batches_tracked"]) == 0


def test_the_copy_computes_the_same_and_the_first_is_untouched() -> None:
    whole = network()
    found, rows = symmetry(whole), np.random.default_rng(3).normal(size=(9, 4))
    before = {name: part.clone() for name, part in whole.module.state_dict().items()}
    other = permuted(whole, found, drawn(found))
    np.testing.assert_allclose(predict(other, rows), predict(whole, rows), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(before[name], part) for name, part in whole.module.state_dict().items())
    assert not torch.equal(other.module.state_dict()["0.weight"], before["0.weight"])
    assert not other.module.training
    assert (other.name, other.lineage, other.layers) == (whole.name, whole.lineage, whole.layers)


def test_the_digest_tells_orders_apart() -> None:
    whole = network()
    found = symmetry(whole)
    digests = {permuted(whole, found, drawn(found, seed)).digest for seed in (0, 0, 1)}
    assert len(digests | {whole.digest}) == 3


@pytest.mark.parametrize("orders", [[], [[0, 1, 2, 3, 4, 5]], [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 3]], [[0, 1], [1, 0]]])
def test_orders_that_are_none_are_refused(orders: list[list[int]]) -> None:
    whole = network()
    with pytest.raises(BadInput, match="every unit once") as caught:
        permuted(whole, symmetry(whole), [np.array(order) for order in orders])
    assert caught.value.hint
