"""Other values stand in the place of units inside networks; what that costs is measured."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from consilience.analysis.formulas.expression import Expression
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.project.study import Study, open_study
from consilience.analysis.stages.stage_cluster import Feature, Member
from consilience.analysis.stages.stage_probe import Observed, probe
from consilience.analysis.stages.substitute import Substitution, substitute, through_link
from consilience.zoo.errors import BadInput, Refused
from consilience.zoo.network import Network, Scaling, predict, record, to_module
from consilience.zoo.record import trace
from consilience.zoo.substitute import predict_with

DRAW = np.random.default_rng(0)
ROWS = DRAW.uniform(-1.0, 1.0, size=(5000, 3))
IMAGES = DRAW.uniform(-1.0, 1.0, size=(50, 64))
DIRECTION = (0.5, -1.0, 0.0, 2.0, 0.3)


def around(module: nn.Module, rows: np.ndarray = ROWS, scaling: Scaling | None = None) -> Network:
    module, shape = module.eval().requires_grad_(False), rows.shape[1:]
    first = to_module(rows[:2], module=module, input_shape=shape, scaling=scaling)
    return Network("m", "d", "m", module, trace(module, first).layers, shape, (), scaling)


class Plain(nn.Module):
    """Activations as functions, some of which work in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu_(self.two(torch.tanh(self.one(rows)))))


class Maps(nn.Module):
    """Eight by eight maps, of which four by four patches are watched, and three by three ones, watched as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.norm, self.coarse = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 4, 2)
        self.head = nn.Linear(36, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.norm(self.fine(rows.reshape(-1, 1, 8, 8))))
        return self.head(torch.relu(self.coarse(maps)).flatten(1))


class Tokens(nn.Module):
    """A class token and sixteen others, four by four, with a residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first = nn.Linear(4, 6), nn.Parameter(torch.randn(1, 1, 6))
        self.attend, self.norm = nn.MultiheadAttention(6, 2, batch_first=True), nn.LayerNorm(6)
        self.up, self.down, self.head = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        stream = self.embed(rows.reshape(-1, 16, 4))
        stream = torch.cat([self.first.expand(len(rows), -1, -1), stream], 1)
        normed = self.norm(stream)
        stream = stream + self.attend(normed, normed, normed)[0]
        stream = stream + self.down(torch.nn.functional.gelu(self.up(stream)))
        return self.head(stream[:, 0])


class States(nn.Module):
    """A cell that is called step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, 4), nn.Linear(4, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        state = rows.new_zeros(len(rows), 4)
        for step in range(rows.shape[1]):
            state = self.cell(rows[:, step : step + 1], state)
        return self.head(state)


MADE: dict[str, tuple[type[nn.Module], np.ndarray]] = {
    "plain": (Plain, ROWS),
    "maps": (Maps, IMAGES),
    "tokens": (Tokens, IMAGES),
    "lstm": (lambda: nn.Sequential(nn.Unflatten(1, (8, 8)), Last(nn.LSTM(8, 5, batch_first=True))), IMAGES),
}


class Last(nn.Module):
    def __init__(self, inner: nn.LSTM) -> None:
        super().__init__()
        self.inner, self.head = inner, nn.Linear(5, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(rows)[0].mean(1))


def made(kind: str) -> tuple[Network, np.ndarray]:
    make, rows = MADE[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
    return around(module, rows), rows


def recorded(network: Network, rows: np.ndarray, layer: str, *, before: bool = False) -> np.ndarray:
    parts = [batch[layer].pre if before else batch[layer].post for batch in record(network, rows)]
    values = np.concatenate(parts)
    return values.reshape(len(rows), -1, values.shape[1])


# --- inside one network ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MADE)
def test_a_units_own_values_change_nothing_and_others_do(kind):
    network, rows = made(kind)
    expected = predict(network, rows)
    assert len(network.layers) > 1
    for layer in network.layers:
        values = recorded(network, rows, layer.name)
        own = {0: values[..., 0], layer.units - 1: values[..., -1]}
        np.testing.assert_allclose(predict_with(network, rows, {layer.name: own}), expected, atol=1e-6)
        zero = np.zeros((len(rows), layer.positions))
        moved = predict_with(network, rows, {layer.name: dict.fromkeys(range(layer.units), zero)})
        assert np.abs(moved - expected).max() > 1e-3, layer.name
    np.testing.assert_array_equal(predict(network, rows), expected)


@pytest.mark.parametrize("kind", MADE)
def test_the_component_along_a_direction_is_replaced_before_the_nonlinearity(kind):
    network, rows = made(kind)
    expected = predict(network, rows)
    layer = next(layer for layer in network.layers if layer.units == 5 or kind == "tokens")
    weights = (DIRECTION * 2)[: layer.units]
    along = recorded(network, rows, layer.name, before=True) @ np.array(weights)
    same = predict_with(network, rows, {layer.name: {weights: along}})
    np.testing.assert_allclose(same, expected, atol=1e-6)
    assert np.abs(predict_with(network, rows, {layer.name: {weights: along + 1.0}}) - expected).max() > 1e-3


def test_values_stand_where_the_units_stood():
    network, rows = made("plain")
    module = network.module
    given, other = DRAW.normal(size=(2, len(rows)))
    with torch.no_grad():
        first = torch.tanh(module.one(torch.tensor(rows, dtype=torch.float32)))
        first[:, 2], first[:, 4] = torch.tensor(given), torch.tensor(other)
        by_hand = module.last(torch.relu(module.two(first))).numpy()
    found = predict_with(network, rows, {"one": {2: given, 4: other}})
    np.testing.assert_allclose(found, by_hand, atol=1e-6)
    wanted = np.array(DIRECTION)
    with torch.no_grad():
        before = module.one(torch.tensor(rows, dtype=torch.float32)).numpy()
        before = before + np.outer(given - before @ wanted, wanted) / (wanted @ wanted)
        by_hand = module.last(torch.relu(module.two(torch.tanh(torch.tensor(before, dtype=torch.float32))))).numpy()
    np.testing.assert_allclose(predict_with(network, rows, {"one": {DIRECTION: given}}), by_hand, atol=1e-5)


def test_channels_are_replaced_position_by_position():
    network, rows = made("maps")
    module, given = network.module, DRAW.normal(size=(len(rows), 9))
    with torch.no_grad():
        images = torch.tensor(rows, dtype=torch.float32).reshape(-1, 1, 8, 8)
        maps = torch.relu(module.norm(module.fine(images)))
        small = torch.relu(module.coarse(maps))
        small[:, 1] = torch.tensor(given).reshape(-1, 3, 3)
        by_hand = module.head(small.flatten(1)).numpy()
        patches = DRAW.normal(size=(len(rows), 16))
        means = nn.functional.adaptive_avg_pool2d(maps[:, 3], 4)
        shift = torch.tensor(patches).reshape(-1, 4, 4) - means
        maps[:, 3] += shift.repeat_interleave(2, 1).repeat_interleave(2, 2)
        shifted = module.head(torch.relu(module.coarse(maps)).flatten(1)).numpy()
    np.testing.assert_allclose(predict_with(network, rows, {"coarse": {1: given}}), by_hand, atol=1e-5)
    np.testing.assert_allclose(predict_with(network, rows, {"fine": {3: patches}}), shifted, atol=1e-5)
    with pytest.raises(BadInput, match=r"m: values of shape \(50,\) for 50 rows of layer coarse"):
        predict_with(network, rows, {"coarse": {1: given[:, 0]}})


def test_units_of_the_output_get_theirs_in_physical_units():
    scaling = Scaling((0.5,), (2.0,), (10.0,), (100.0,))
    network, given = around(copy.deepcopy(made("plain")[0].module), ROWS, scaling), DRAW.normal(size=len(ROWS))
    found = predict_with(network, ROWS, {"last": {1: given}})
    np.testing.assert_allclose(found[:, 1], given, atol=1e-9)
    np.testing.assert_array_equal(found[:, 0], predict(network, ROWS)[:, 0])
    values = recorded(network, ROWS, "one")[:, 0, 0]
    np.testing.assert_allclose(predict_with(network, ROWS, {"one": {0: values}}), predict(network, ROWS), atol=1e-4)


@pytest.mark.parametrize(
    ("replacements", "said"),
    [
        ({"three": {0: ROWS[:, 0]}}, "there is no layer 'three'"),
        ({"one": {5: ROWS[:, 0]}}, "layer one has no unit 5"),
        ({"one": {(1.0, 2.0): ROWS[:, 0]}}, "a direction of 2 weights"),
        ({"one": {0: ROWS[:7, 0]}}, r"values of shape \(7,\) for 5000 rows"),
    ],
)
def test_what_does_not_fit_is_told(replacements, said):
    with pytest.raises(BadInput, match=said):
        predict_with(made("plain")[0], ROWS, replacements)


def test_cells_called_step_by_step_are_refused():
    network = around(States())
    with pytest.raises(Refused, match="computes cell step by step"):
        predict_with(network, ROWS, {"cell": {0: ROWS}})


# --- in a zoo ------------------------------------------------------------------------------------

ZOO = """\
name = "planted"

[[networks]]
path = "*.safetensors"
activation = "tanh"

{more}
[probe]
samples = 512
variables = [{{ name = "a", low = -1.0, high = 1.0 }}, {{ name = "b", low = -1.0, high = 1.0 }}]
"""
OUTPUT = '[[outputs]]\nname = "y"\n'
GRAPH = '[[networks]]\npath = "graph.onnx"\n'


def planted(sign: float) -> nn.Sequential:
    """A network of which unit 1 is ±tanh(2a - b), and on which three quarters of the output depend."""
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).requires_grad_(False)
    module[0].weight.copy_(torch.tensor([[0.2, 0.5], [2.0 * sign, -sign], [0.1, -0.7]]))
    module[0].bias.copy_(torch.tensor([0.1, 0.0, -0.2]))
    module[2].weight.copy_(torch.tensor([[1.0, 3.0 * sign, -0.4]]))
    return module


def graph(module: nn.Sequential, path: Path) -> None:
    weights = [
        numpy_helper.from_array(part.numpy(), name)
        for name, part in (("a", module[0].weight.T), ("c", module[0].bias), ("b", module[2].weight.T))
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "a", "c"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 2), ("y", 1))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, path)


def zoo(folder: Path, *, outputs: bool = False, onnx_too: bool = False) -> tuple[Study, dict[str, Observed]]:
    for name, sign in (("plus", 1.0), ("minus", -1.0)):
        save_file(planted(sign).state_dict(), folder / f"{name}.safetensors")
    if onnx_too:
        graph(planted(1.0), folder / "graph.onnx")
    more = OUTPUT * outputs + "\n" + GRAPH * onnx_too
    (folder / "zoo.toml").write_text(ZOO.format(more=more))
    study = open_study(folder / "zoo.toml")
    return study, {seen.network.name: seen for seen in probe(study)}


def feature(*members: Member, name: str = "", role: str = "hidden") -> Feature:
    counts = (len(members), 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, True)
    return Feature(1, "unit", "hidden 1", role, 1, name, "", members, *counts)


UNIT = feature(Member("plus", "0", 1, 1, 1.0), Member("minus", "0", 1, -1, 1.0))


def standardised(formula: str, columns: dict[str, np.ndarray], like: str = "tanh(2*a - b)") -> Expression:
    from consilience.analysis.formulas.expression import evaluate

    wanted = evaluate(parse(like), columns)
    return (parse(formula) - float(wanted.mean())) / float(wanted.std())


def put(study: Study, networks: dict[str, Observed], formula: str, **more: object) -> dict[str, Substitution]:
    inputs = study.probe.inputs
    columns = {"a": inputs[:, 0], "b": inputs[:, 1]}
    given = {"feature": UNIT, "expression": standardised(formula, columns)} | more
    values = np.stack([np.tanh(2 * columns["a"] - columns["b"])] * 2)
    values = (values - values.mean()) / values.std()
    given = {"values": values} | given
    found = substitute(networks=networks, inputs=inputs, columns=columns, **given)
    return {one.network: one for one in found}


def test_the_right_equation_costs_nothing_and_a_wrong_one_much(tmp_path):
    study, networks = zoo(tmp_path)
    right, wrong = put(study, networks, "tanh(2*a - b)"), put(study, networks, "tanh(2*a + b)")
    assert list(right) == ["plus", "minus"]
    for name in right:
        assert right[name].loss == "distance from itself"
        assert right[name].loss_before == 0.0
        assert right[name].loss_with == pytest.approx(0.0, abs=1e-9)
        assert right[name].loss_mean == pytest.approx(0.0, abs=1e-9)
        assert right[name].loss_ablated > 0.5
        assert wrong[name].loss_with > 0.3
        assert right[name].note == ""


def test_targets_are_what_is_lost_against(tmp_path):
    study, networks = zoo(tmp_path)
    targets = predict(networks["plus"].network, study.probe.inputs)[:, 0] + 1.0
    found = put(study, networks, "tanh(2*a - b)", targets=targets)["plus"]
    assert found.loss == "mean squared error"
    assert found.loss_before == pytest.approx(1.0, rel=1e-5)
    assert found.loss_with == pytest.approx(1.0, rel=1e-5)
    assert found.loss_ablated > 2.0
    with pytest.raises(BadInput, match="the targets have 2 columns, the networks 1 outputs"):
        put(study, networks, "a", targets=study.probe.inputs)


def test_outputs_that_are_named_are_held_against_other_lineages(tmp_path):
    study, networks = zoo(tmp_path, outputs=True)
    inputs = study.probe.inputs
    values = np.stack([predict(seen.network, inputs)[:, 0] for seen in networks.values()])
    members = [Member(name, "2", 0, 1, 1.0) for name in networks]
    formula = parse("tanh(0.2*a + 0.5*b + 0.1) + 3*tanh(2*a - b) - 0.4*tanh(0.1*a - 0.7*b - 0.2)")
    more = {"feature": feature(*members, name="y", role="output"), "expression": formula, "values": values}
    found = put(study, networks, "a", **more)
    bias = {name: float(seen.network.module.state_dict()["2.bias"]) for name, seen in networks.items()}
    apart, spread = bias["plus"] - bias["minus"], values[0].var()
    for name, other in (("plus", "minus"), ("minus", "plus")):
        assert found[name].loss == "distance from others"
        assert found[name].loss_before == pytest.approx(apart**2 / spread, rel=1e-3)
        assert found[name].loss_with == pytest.approx(bias[other] ** 2 / spread, rel=1e-3)
        assert found[name].loss_mean == pytest.approx((apart / 2) ** 2 / spread, rel=1e-3)
        assert found[name].loss_ablated >= 1.0


def test_directions_and_their_own_scale(tmp_path):
    study, networks = zoo(tmp_path)
    members = [Member("plus", "0", -1, 1, 1.0, (0.0, 1.0, 0.0)), Member("minus", "0", -1, 1, 1.0, (0.0, -1.0, 0.0))]
    inputs = study.probe.inputs
    before = 2 * inputs[:, 0] - inputs[:, 1]
    more = {"feature": feature(*members), "expression": parse("2*a - b") - float(before.mean())}
    more |= {"values": np.stack([before - before.mean()] * 2)}
    for found in put(study, networks, "a", **more).values():
        assert found.loss_with == pytest.approx(0.0, abs=1e-9)
        assert found.loss_mean == pytest.approx(0.0, abs=1e-9)
        assert found.loss_ablated > 0.5


def test_a_linked_equation_goes_through_each_networks_own_link(tmp_path):
    study, networks = zoo(tmp_path)
    inputs = study.probe.inputs
    concept = parse("2*a - b")
    values = np.stack([2 * inputs[:, 0] - inputs[:, 1]] * 2)
    found = put(study, networks, "a", expression=concept, values=values, linked=True)
    wrong = put(study, networks, "a", expression=parse("2*a + b"), values=values, linked=True)
    for name in networks:
        assert found[name].loss_with < 1e-4
        assert found[name].loss_mean < 1e-4
        assert wrong[name].loss_with > 0.2


def test_a_link_may_fall_and_noise_has_none():
    given = DRAW.normal(size=2000)
    np.testing.assert_allclose(through_link(given, -np.tanh(given)), -np.tanh(given), atol=0.02)
    noise = DRAW.normal(size=2000)
    assert np.mean((through_link(given, noise) - noise) ** 2) > 0.9 * noise.var()


def test_an_equation_that_is_not_finite_is_said_to_be(tmp_path):
    study, networks = zoo(tmp_path)
    found = put(study, networks, "log(a)")["minus"]
    assert math.isnan(found.loss_with)
    assert found.loss_ablated > 0.5
    assert found.note == "the equation is not finite on 256 of 512 samples"


def test_an_onnx_graph_is_left_out_in_words(tmp_path):
    study, networks = zoo(tmp_path, onnx_too=True)
    layer = networks["graph"].network.layers[0]
    unit = feature(*UNIT.members, Member("graph", layer.name, 1, 1, 1.0))
    found = put(study, networks, "tanh(2*a - b)", feature=unit)
    assert found["plus"].loss_with == pytest.approx(0.0, abs=1e-9)
    assert found["graph"].loss_before == 0.0
    assert math.isnan(found["graph"].loss_with)
    assert math.isnan(found["graph"].loss_ablated)
    assert found["graph"].note == "runs as an ONNX graph, in which no unit can be given another value"
    with pytest.raises(Refused, match="runs as an ONNX graph"):
        predict_with(networks["graph"].network, study.probe.inputs, {layer.name: {1: np.zeros(512)}})
