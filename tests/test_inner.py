"""A module inside networks is distilled as a function of what it is given there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.project.study import Study, open_study
from consilience.analysis.reports.records import equations, query
from consilience.analysis.reports.show import describe
from consilience.analysis.stages.distil_choice import Asked, choose
from consilience.analysis.stages.inner import ground_within
from consilience.analysis.stages.run import distil
from consilience.analysis.stages.stage_cluster import Member, cluster
from consilience.analysis.stages.stage_probe import probe
from consilience.analysis.stages.witness import witness
from consilience.zoo.errors import BadInput, NotFound
from consilience.zoo.inner import are_free, given, inner, modules
from consilience.zoo.network import Network
from consilience.zoo.record import trace

CODE = """
import torch
from torch import nn

class Pairs(nn.Module):
    '''Three bodies on a line: a message for every pair, their sum for every body, and a number for all.'''

    def __init__(self):
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2, 1))
        self.node = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, rows):
        nodes = rows.view(-1, 3, 1)
        target, source = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 0, 2, 0, 1])
        said = self.message(torch.cat([nodes[:, target], nodes[:, source]], -1))
        heard = torch.zeros_like(nodes).index_add(1, target, said)
        return self.node(heard).sum(dim=1)

def build(tensors):
    network = Pairs()
    network.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return network
"""
TOML = """
name = "pairs"
[[networks]]
path = "networks/*.safetensors"
architecture = "python:pairs:build"
[probe]
samples = 256
variables = [{name = "x1", low = 0, high = 1}, {name = "x2", low = 1, high = 2}, {name = "x3", low = 2, high = 4}]
[distil]
engine = "none"
samples = 128
[[distil.inner]]
module = "message"
variables = ["own"]
derived = [{name = "apart", formula = "i1 - own"}]
"""


def pairs(folder: Path, *, networks: int) -> Study:
    """Networks whose messages are 2 own - 3 other, each with a small mistake of its own."""
    (folder / "networks").mkdir(parents=True)
    (folder / "pairs.py").write_text(CODE)
    (folder / "zoo.toml").write_text(TOML)
    for seed in range(networks):
        torch.manual_seed(seed)
        node = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
        message = {"message.0.weight": torch.tensor([[2.0, -3.0]]) + 0.01 * torch.randn(1, 2)}
        message |= {"message.0.bias": 0.01 * torch.randn(1)}
        weights = message | {f"node.{name}": value for name, value in node.state_dict().items()}
        save_file(weights, folder / "networks" / f"n{seed}.safetensors")
    return open_study(folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return pairs(tmp_path_factory.mktemp("alone"), networks=1)


def test_a_module_is_given_what_it_sees_in_the_run(alone: Study) -> None:
    network = probe(alone)[0].network
    rows = alone.probe.inputs
    lines = given(network, "message", rows)
    assert lines.shape == (6 * len(rows), 2)
    np.testing.assert_allclose(lines[:2], [[rows[0, 0], rows[0, 1]], [rows[0, 0], rows[0, 2]]], rtol=1e-6)
    part = inner(network, "message", rows)
    assert part.input_shape == (2,)
    assert part.layers[-1].units == 1
    assert are_free(network, "message", rows)
    assert given(network, "node", rows).shape == (3 * len(rows), 1)
    assert not are_free(network, "node", rows)
    assert modules(network) == ("message", "message.0", "node", "node.0", "node.1", "node.2")


def test_modules_that_cannot_be_taken_out_are_told(alone: Study) -> None:
    network, rows = probe(alone)[0].network, alone.probe.inputs
    with pytest.raises(NotFound, match="n0 has no module 'mesage'") as caught:
        given(network, "mesage", rows)
    assert caught.value.hint == "did you mean 'message'?"

    class Mixes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.shape, self.idle = Mean(), nn.Flatten(0), nn.Linear(1, 1)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            self.shape(rows)
            return self.mean(rows[:, :, None]).sum(dim=1)

    class Mean(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values - values.mean(dim=1, keepdim=True)

    module = Mixes().eval()
    mixes = Network("m", "d", "m", module, trace(module, torch.rand(2, 3)).layers, (3,))
    with pytest.raises(BadInput, match="m: what mean gives at one place depends on others"):
        inner(mixes, "mean", rows)
    with pytest.raises(BadInput, match="m: shape does not take vectors and give one for each"):
        given(mixes, "shape", rows)
    with pytest.raises(BadInput, match="m does not use idle"):
        given(mixes, "idle", rows)


def test_the_inputs_of_a_module_are_called_as_zoo_toml_says(alone: Study) -> None:
    networks = {seen.network.name: seen for seen in probe(alone)}
    ground = ground_within(alone, networks, "message", first="n0")
    assert ground.names == ("own", "i1")
    assert ground.free
    rows = ground.draw(50, 3)
    assert rows.shape == (50, 2)
    np.testing.assert_array_equal(ground.draw(50, 3), rows)
    np.testing.assert_allclose(ground.columns(rows)["apart"], rows[:, 1] - rows[:, 0])
    fitting, held_out = ground.halves(128, 0)
    assert fitting.shape == held_out.shape == (128, 2)
    assert not {tuple(row) for row in fitting} & {tuple(row) for row in held_out}
    outside = ground.outside(64, 0)
    assert outside is not None
    assert ((outside < ground.reference.min(axis=0)) | (outside > ground.reference.max(axis=0))).any(axis=1).all()
    (unit,) = choose(
        alone, cluster(alone).features, {"n0": networks["n0"].network}, Asked(("n0/message:0",), inner="message")
    )
    said = witness(unit, ground)
    np.testing.assert_allclose(said(rows)[0], rows @ [2, -3], atol=0.15)
    np.testing.assert_allclose(said.slopes(rows)[0], np.tile([2, -3], (50, 1)), atol=0.05)


@pytest.mark.slow
def test_a_message_is_distilled_in_terms_of_what_it_is_made_of(alone: Study) -> None:
    distil(alone, inner="message")
    (law,) = equations(alone)
    assert law.feature == law.target_name == "n0/message:0"
    assert law.title == "unit n0/message:0"
    assert law.terms == "inputs of message"
    points = {"own": np.array([0.5, 1.5]), "i1": np.array([2.0, 0.5])}
    points["apart"] = points["i1"] - points["own"]
    assert law.expression is not None
    np.testing.assert_allclose(evaluate(law.expression, points), [-5.0, 1.5], atol=0.2)
    assert "one lineage only" in describe(alone, law.id)
    assert "in terms of inputs of message" in describe(alone, law.id)
    assert query(alone, "SELECT * FROM substitutions") == []


@pytest.mark.slow
def test_lineages_that_share_the_inputs_of_a_module_are_peers(tmp_path: Path) -> None:
    study = pairs(tmp_path, networks=3)
    found = cluster(study)
    message = next(f for f in found.features if f.members[0].layer == "message.0" and f.kind == "unit")
    assert message.lineages == 3
    with pytest.raises(BadInput, match=f"{message.id} is a map over the positions of a row") as caught:
        distil(study, only=[message.id])
    assert "--inner MODULE" in caught.value.hint
    distil(study, only=[message.id], inner="message", variables=["own", "i1"])
    (law,) = equations(study)
    assert (law.feature, law.lineages, law.status) == (message.id, 3, "equation")
    assert law.terms == "inputs of message: own, i1"
    assert int(law.id[1:]) > len(found.features)
    ground = ground_within(study, {seen.network.name: seen for seen in found.observed}, "node", first="n0")
    assert ground.place(Member("n0", "node.0", 0, 1, 1.0))[1] == "inner.0"
    with pytest.raises(BadInput, match="what node is given differs between networks"):
        ground.place(Member("n1", "node.0", 0, 1, 1.0))


def test_what_does_not_lie_in_a_module_is_told(alone: Study) -> None:
    with pytest.raises(BadInput, match=r"layer node\.0 of n0 does not lie in message") as caught:
        distil(alone, only=["n0/node.0:1"], inner="message")
    assert caught.value.hint == "take features and units of layer message.0"
    with pytest.raises(NotFound, match="no network has a module 'mesage'") as missing:
        distil(alone, inner="mesage")
    assert missing.value.hint == "did you mean 'message'?"
    with pytest.raises(NotFound, match="'ovn' is neither a variable of message nor a feature") as unknown:
        distil(alone, inner="message", variables=["ovn"])
    assert unknown.value.hint == "did you mean 'own'?"
