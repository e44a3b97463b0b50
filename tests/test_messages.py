"""Graph networks: accelerations are the law's, and the committed messages are as near to the force as they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from consilience import open_study
from consilience.analysis.formulas.parsing import parse

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "data" / "recipes"))

import messages  # noqa: E402
from law_cases import open_networks  # noqa: E402
from message_cases import is_force, mixture  # noqa: E402
from message_targets import directions, message_targets  # noqa: E402
from messages import LAWS, REGULARISERS, ZOOS, GraphNetwork, Law  # noqa: E402

EVERY_LAW = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
BOTTLENECKS = [f"{law}_bottleneck" for law in LAWS]


@EVERY_LAW
def test_accelerations_are_those_of_the_law(law: Law) -> None:
    places, charges = messages.draw_bodies(law.range, 5, seed=1)
    found = law(messages.pair_up(places, charges)).sum(dim=2)
    for graph, (x, q) in enumerate(zip(places.numpy(), charges.numpy(), strict=True)):
        for body in range(messages.BODIES):
            wanted = np.zeros(2)
            for other in set(range(messages.BODIES)) - {body}:
                step = x[other] - x[body]
                r = float(np.hypot(*step))
                factors = {
                    "spring": (r - 1) / r,
                    "r2": q[other] / r**3,
                    "r1": q[other] / r**2,
                    "charge": q[body] * q[other] / r**3,
                }
                wanted += step * factors[law.name]
            np.testing.assert_allclose(found[graph, body].numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_bodies_stay_apart_and_charges_in_their_range() -> None:
    places, charges = messages.draw_bodies((0.5, 2.0), 300, seed=2)
    assert places.shape == (300, 4, 2)
    distances = torch.cdist(places, places)[:, *np.triu_indices(4, 1)]
    assert distances.min() > messages.NEAREST
    assert charges.min() >= 0.5
    assert charges.max() <= 2.0


@pytest.mark.parametrize("regulariser", REGULARISERS.values(), ids=REGULARISERS)
def test_edge_models_give_messages_without_their_noise(regulariser: messages.Regulariser) -> None:
    torch.manual_seed(0)
    network = GraphNetwork(regulariser, "tanh")
    edges = messages.unseen_edges(LAWS["r2"])[:3]
    edge = messages.edge_model(network)
    said = edge(edges)
    assert said.shape == (3, 4, 3, regulariser.messages)
    torch.testing.assert_close(said, network.edge(edges)[..., : regulariser.messages])
    assert float(regulariser.cost(network(edges)[1]).detach()) >= 0.0


def test_messages_that_are_mixtures_of_the_force_are_told_from_others() -> None:
    rng = np.random.default_rng(3)
    force, noise = rng.standard_normal((500, 2)), rng.standard_normal((500, 2))
    mixed = force @ np.array([[1.0, 2.0, 0.1], [3.0, -1.0, 0.0]]) + 5.0
    assert messages.linear_r2(mixed, force) == pytest.approx(1.0)
    assert messages.linear_r2(np.concatenate([mixed, 10 * noise], axis=1), force) < 0.05
    along, unexplained = mixture(force, mixed[:, 0])
    assert along == pytest.approx([1.0, 3.0])
    assert unexplained < 1e-12


@pytest.mark.parametrize(
    ("law", "found", "right"),
    [
        ("r2", "0.9*dx*m2/r**2.98 + 0.03", True),
        ("r2", "m2*(0.5*dx - 0.8*dy)/r**3", True),
        ("r2", "m2*dx/(dx**2 + dy**2)**1.5", True),
        ("r2", "m2*dx/r**2", False),
        ("r2", "m2*(dx/r**3)**3", False),
        ("r2", "m1*dx/r**3", False),
        ("spring", "1.1*dy*(1 - 0.99/r)", True),
        ("spring", "dy*(1 - 0.8/r)", False),
        ("charge", "q1*q2*dx/r**3 + 0.001", True),
        ("charge", "q2*dx/r**3", False),
        ("charge", "0.3", False),
    ],
)
def test_a_mixture_of_the_force_is_the_law(law: str, found: str, right: bool) -> None:
    assert is_force(LAWS[law], parse(found)) is right


@pytest.mark.parametrize("name", [f"{law}_{one}" for law in LAWS for one in REGULARISERS])
def test_committed_messages_are_as_near_to_the_force_as_their_files_say(name: str) -> None:
    law, networks = LAWS[name.rpartition("_")[0]], open_networks(open_study(ZOOS / name))
    assert len(networks) == len(messages.ACTIVATIONS)
    found = [messages.force_r2(law, network.module.float()) for network in networks]
    np.testing.assert_allclose(found, messages.told(ZOOS / name), atol=1e-3)
    if name.endswith("bottleneck"):
        assert min(found) > 0.95


@pytest.mark.parametrize("name", BOTTLENECKS)
def test_directions_of_bottlenecks_are_the_force(name: str) -> None:
    law, targets = LAWS[name.rpartition("_")[0]], message_targets(ZOOS / name, samples=256)
    assert len(targets) == 2
    for target, along in zip(targets, ("dx", "dy"), strict=True):
        assert set(target.fit.columns) == {*law.names, "r"}
        assert np.corrcoef(target.fit.values).min() > 0.95
        force = law(torch.tensor(target.fit.inputs)).numpy()
        shares, unexplained = mixture(force, target.fit.values.mean(axis=0))
        assert unexplained < 0.02
        assert abs(shares[["dx", "dy"].index(along)]) > 10 * min(map(abs, shares))


def test_slopes_of_directions_are_theirs() -> None:
    target = message_targets(ZOOS / "r2_bottleneck", samples=16)[0]
    assert target.functions is not None
    assert target.functions.slopes is not None
    rows = target.functions.draw(10, 3)
    step = 1e-4 * np.eye(rows.shape[1])
    ask = target.functions.values
    found = np.stack([(ask(rows + one) - ask(rows - one)) / 2e-4 for one in step], axis=2)
    np.testing.assert_allclose(found, target.functions.slopes(rows), rtol=1e-3, atol=1e-4)


def test_directions_agree_wherever_networks_met_bodies() -> None:
    first, second = directions(ZOOS / "r2_bottleneck")
    rows = messages.unseen_edges(LAWS["r2"]).flatten(0, 2).double().numpy()
    for direction in (first, second):
        said = direction.values(rows)
        assert said.std(axis=1) == pytest.approx(1.0, abs=0.2)
        assert np.corrcoef(said).min() > 0.98
