"""A unit or a direction of any layer is a function of the inputs, with its slopes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.blueprint import Blueprint
from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.errors import BadInput, NotFound, Refused
from consilience.zoo.network import Network, Scaling, gradients, record
from consilience.zoo.onnx_module import build_onnx
from consilience.zoo.record import trace
from consilience.zoo.response import respond

SCALING = Scaling(input_shift=(1.0, 0.0, -2.0), input_scale=(2.0, 0.5, 3.0), output_shift=(5.0,), output_scale=(7.0,))
ROWS = np.random.default_rng(0).uniform(-2, 2, size=(40, 3))


def network(activation: nn.Module, scaling: Scaling | None = SCALING) -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), activation, nn.Linear(8, 6), activation, nn.Linear(6, 2)).double().eval()
    layers = trace(module, torch.rand(2, 3).double()).layers
    return Network("a", "d", "a", module.requires_grad_(False), layers, (3,), scaling=scaling)


PLACES = [("0", 3), ("2", 5), ("4", 1), ("2", tuple(np.linspace(-1, 1, 6).tolist())), ("4", (0.5, -2.0))]


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU(inplace=True), nn.SiLU()])
@pytest.mark.parametrize(("layer", "place"), PLACES)
def test_values_are_those_recorded_and_slopes_those_of_differences(layer, place, activation):
    one = network(activation)
    response = respond(one, place, layer=layer)
    seen = np.concatenate(
        [getattr(batch[layer], "pre" if isinstance(place, tuple) else "post") for batch in record(one, ROWS)]
    )
    expected = seen @ np.array(place) if isinstance(place, tuple) else seen[:, place]
    np.testing.assert_allclose(response.values(ROWS), expected, rtol=1e-5, atol=1e-5)
    slopes = response.slopes(ROWS, batch=7)
    np.testing.assert_allclose(gradients(one, ROWS, place, layer=layer), slopes, rtol=1e-9, atol=1e-12)
    for variable in range(3):
        step = 1e-6 * np.eye(3)[variable]
        differences = (response.values(ROWS + step) - response.values(ROWS - step)) / 2e-6
        assert np.isclose(slopes[:, variable], differences, rtol=1e-5, atol=1e-6).mean() > 0.97  # a ReLU may bend there


def test_what_is_not_there_is_told():
    one = network(nn.Tanh())
    with pytest.raises(NotFound, match="a has no layer 'nowhere'") as caught:
        respond(one, 0, layer="nowhere")
    assert caught.value.hint == "its layers are 0, 2, 4"
    with pytest.raises(IndexError, match="hidden unit 8 of 8"):
        respond(one, 8, layer="0")
    with pytest.raises(IndexError, match="2 weights for 8 units"):
        respond(one, (1.0, 2.0), layer="0")


def test_maps_are_no_functions_of_one_value():
    module = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    layers = trace(module.eval(), torch.rand(2, 16)).layers
    with pytest.raises(BadInput, match="layer 1 has 4 values for each row"):
        respond(Network("a", "d", "a", module, layers, (16,)), 0, layer="1")


def test_a_hidden_unit_without_a_gradient_is_told():
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.first(rows.detach())))

    module = Cut().eval().requires_grad_(False)
    one = Network("a", "d", "a", module, trace(module, torch.rand(2, 3)).layers, (3,))
    assert respond(one, 0, layer="first").values(ROWS).shape == (40,)
    with pytest.raises(Refused, match="has no gradient"):
        respond(one, 0, layer="first").slopes(ROWS)


def test_a_graph_gives_values_and_no_slopes(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = [np.random.default_rng(k).normal(size=size).astype("f4") for k, size in enumerate([(3, 5), (5,), (5, 1)])]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])]
    gives = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])]
    kept = [numpy_helper.from_array(array, name) for array, name in zip(weights, "wbv", strict=True)]
    graph = helper.make_graph(nodes, "g", given, gives, kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    module = build_onnx(Blueprint(read_checkpoint(tmp_path / "g.onnx"), "", None, {}, 3, tmp_path))
    layers = trace(module, torch.rand(2, 3)).layers
    one = Network("g", "d", "g", module, layers, (3,))
    hidden = np.tanh(ROWS @ weights[0] + weights[1])
    response = respond(one, 2, layer=layers[0].name)
    np.testing.assert_allclose(response.values(ROWS), hidden[:, 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(respond(one, 0).values(ROWS), (hidden @ weights[2])[:, 0], rtol=1e-4, atol=1e-5)
    for asked in (response, respond(one, 0)):
        with pytest.raises(Refused, match="has no gradient"):
            asked.slopes(ROWS[:4])
