"""The loss between two networks rises where their units do not stand in one order, and not where they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.merging.averaging import average, has_statistics, reset_statistics
from consilience.analysis.merging.barrier import Barrier, barrier
from consilience.analysis.merging.loss import loss_against, loss_beside
from consilience.analysis.merging.merge import MATCHINGS, in_one_order
from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network, Scaling, predict
from consilience.zoo.permute import permuted
from consilience.zoo.record import trace
from consilience.zoo.symmetry import symmetry

INPUTS = np.random.default_rng(0).normal(size=(400, 6))
CLASSES = (INPUTS[:, :3] @ np.array([[1.0, -1.0, 0.5]]).T > 0).astype(np.int64)[:, 0] + (INPUTS[:, 4] > 0.5)


def around(module: nn.Module, name: str, *shape: int) -> Network:
    module = module.eval().requires_grad_(False)
    return Network(name, name, name, module, trace(module, torch.zeros(2, *shape)).layers, shape)


def trained(seed: int, *, norm: bool = False, steps: int = 300) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        norms = [nn.BatchNorm1d(24)] if norm else []
        module = nn.Sequential(nn.Linear(6, 24), *norms, nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3))
        rows, wanted = torch.tensor(INPUTS, dtype=torch.float32), torch.tensor(CLASSES)
        optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(steps):
            loss = nn.functional.cross_entropy(module(rows), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return around(module, f"seed-{seed}", 6)


@pytest.fixture(scope="module")
def pair() -> tuple[Network, Network]:
    return trained(0), trained(1)


def copied(network: Network, seed: int = 5) -> Network:
    draw, found = np.random.default_rng(seed), symmetry(network)
    return permuted(network, found, [draw.permutation(group.size) for group in found.groups])


@pytest.mark.parametrize("targets", [None, CLASSES], ids=["without", "classes"])
@pytest.mark.parametrize("method", ["activations", "weights"])
def test_a_permuted_copy_has_a_barrier_until_it_is_matched(pair, method, targets):
    network, copy = pair[0], copied(pair[0])
    assert barrier(network, copy, INPUTS, targets).height > 0.05
    ends = in_one_order([network, copy], INPUTS, method=method)
    assert barrier(*ends, INPUTS, targets).height == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("method", ["activations", "weights"])
def test_matching_lowers_the_barrier_of_networks_trained_apart(pair, method):
    naive = barrier(*pair, INPUTS, CLASSES).height
    matched = in_one_order(pair, INPUTS, method=method)
    assert np.allclose(predict(matched[1], INPUTS), predict(pair[1], INPUTS), atol=1e-4)
    assert barrier(*matched, INPUTS, CLASSES).height < 0.6 * naive


def test_the_line_runs_from_one_network_to_the_other(pair):
    found = barrier(*pair, INPUTS, CLASSES, points=5)
    loss = loss_against(CLASSES, outputs=3)
    assert found.t.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found.losses[0] == loss.of(predict(pair[0], INPUTS))
    assert found.losses[-1] == loss.of(predict(pair[1], INPUTS))
    assert found.losses[2] == pytest.approx(loss.of(predict(average(pair), INPUTS)))


def test_the_height_is_above_the_line_between_unequal_ends():
    found = Barrier("loss", np.array([0.0, 0.5, 1.0]), np.array([1.0, 2.5, 3.0]))
    assert found.height == pytest.approx(0.5)
    assert Barrier("loss", found.t, np.array([1.0, 0.5, 1.0])).height == 0.0


def test_batch_norms_gather_their_statistics_anew(pair):
    networks = [trained(seed, norm=True, steps=40) for seed in (0, 1)]
    plain, reset = (barrier(*networks, INPUTS, CLASSES, reset=reset) for reset in (False, True))
    assert has_statistics(networks[0])
    assert plain.losses[0] == reset.losses[0]
    assert plain.losses[5] != reset.losses[5]
    assert reset_statistics(pair[0], INPUTS) is pair[0]
    again = reset_statistics(average(networks), INPUTS)
    hidden = again.module[0](torch.tensor(INPUTS, dtype=torch.float32))
    assert torch.allclose(again.module[1].running_mean, hidden.mean(0), atol=1e-5)
    assert torch.allclose(again.module[1].running_var, hidden.var(0), rtol=1e-4)


def test_losses_are_what_they_are_called():
    logits = np.random.default_rng(1).normal(size=(50, 3))
    classes = np.arange(50) % 3
    crossed = nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(classes)).item()
    assert loss_against(classes, outputs=3).name == "cross-entropy"
    assert loss_against(classes, outputs=3).of(logits) == pytest.approx(crossed)
    wanted = logits + 0.5
    assert (loss_against(wanted, outputs=3).name, loss_against(wanted, outputs=3).of(logits)) == (
        "mean squared error",
        pytest.approx(0.25),
    )
    one = loss_against(np.arange(50), outputs=1)  # whole numbers, and yet no classes
    assert one.name == "mean squared error"
    beside = loss_beside(np.stack([logits - 1.0, logits + 1.0]))
    assert beside.of(logits) == pytest.approx(0.0)
    assert beside.of(np.tile(logits.mean(axis=0), (50, 1))) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (np.arange(50), "classes from 0 to 49, the networks have 3 outputs"),
        (np.zeros((50, 2)), "2 columns, the networks 3 outputs"),
        (np.full((50, 3), np.nan), "NaN or infinite"),
    ],
)
def test_targets_that_do_not_fit(targets, said):
    with pytest.raises(BadInput, match=said):
        loss_against(targets, outputs=3)


def test_different_architectures_are_named_with_the_first_difference(pair):
    wide = around(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)), "wide", 6)
    with pytest.raises(BadInput, match=r"seed-0 and wide .*tensor 0.weight is 24 x 6 in one and 9 x 6 in the other"):
        barrier(pair[0], wide, INPUTS)
    other = around(
        nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 16), nn.Identity(), nn.Linear(16, 3)), "tanh", 6
    )
    state = {name: pair[1].module.state_dict()[name] for name in other.module.state_dict()}
    other.module.load_state_dict(state)
    with pytest.raises(BadInput, match=r"seed-0 and tanh .*layer 0 \(relu\) in one, 0 \(tanh\) in the other"):
        average([pair[0], other])
    with pytest.raises(BadInput, match="another scaling"):
        average([pair[0], replace(pair[1], scaling=Scaling((1.0,)))])
    bare = around(nn.Flatten(), "bare", 6)
    with pytest.raises(BadInput, match="bare: torch holds no weights of it"):
        average([bare, bare])


def test_an_unknown_matching(pair):
    with pytest.raises(BadInput, match="no way of matching 'magic'"):
        in_one_order(pair, INPUTS, method="magic")


@pytest.mark.slow
def test_digits_are_linearly_connected_after_matching(capsys):
    """Case A2: digits 64-128-128-10, naive .509, matched .034 (activations) and .024 (weights)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    inputs, classes = images[order] / 16.0, labels[order].astype(np.int64)
    seen, held = slice(0, 1437), slice(1437, None)
    heights: dict[str, list[float]] = {method: [] for method in MATCHINGS}
    for seed in range(5):
        networks = [_reader(2 * seed + one, inputs[seen], classes[seen]) for one in range(2)]
        for method in MATCHINGS:
            ends = in_one_order(networks, inputs[seen], method=method)
            heights[method].append(barrier(*ends, inputs[held], classes[held]).height)
    with capsys.disabled():
        for method, found in heights.items():
            print(f"\nA2 digits 64-128-128-10, {method}: {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}", end="")
    assert np.mean(heights["none"]) > 0.3
    assert np.mean(heights["activations"]) < 0.034
    assert np.mean(heights["weights"]) < 0.034


def _reader(seed: int, inputs: np.ndarray, classes: np.ndarray) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )  # fmt: skip
        rows, wanted = torch.tensor(inputs, dtype=torch.float32), torch.tensor(classes)
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
        for _ in range(60):
            for batch in torch.randperm(len(rows)).split(64):
                loss = nn.functional.cross_entropy(module(rows[batch]), wanted[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return around(module, f"{Path(__file__).stem}-{seed}", 64)
