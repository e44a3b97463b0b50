"""Units as formulas of the layer before them, and of the inputs, equal to the network everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.exact_forms.activation import FORMULAS
from consilience.analysis.exact_forms.cone import cone
from consilience.analysis.exact_forms.expansion import expand, unit_form
from consilience.analysis.formulas.expression import complexity, evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.zoo.dense import Dense, read_dense
from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network, Scaling, predict, record
from consilience.zoo.record import trace

ROWS = np.random.default_rng(0).uniform(-3.0, 3.0, size=(4000, 2))
NAMES = ("a", "b")
COLUMNS = dict(zip(NAMES, ROWS.T, strict=True))
MADE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(0.5),
    "celu": lambda: nn.CELU(0.5),
    "selu": nn.SELU,
    "softplus": lambda: nn.Softplus(3.0),
    "mish": nn.Mish,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardswish": nn.Hardswish,
}


def network(make: Callable[[], nn.Module], precision: torch.dtype = torch.float64) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(2, 5), make(), nn.Linear(5, 3), make(), nn.Linear(3, 2))
    module = module.to(precision).eval().requires_grad_(False)
    for layer in (module[0], module[2], module[4]):
        layer.weight *= 3
    scaling = Scaling((0.5,), (2.0, 0.5), (10.0,), (3.0, 0.1))
    return Network("n", "d", "n", module, trace(module, torch.zeros(2, 2, dtype=precision)).layers, (2,), (), scaling)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", MADE)
def test_one_expression_equals_the_network_everywhere(name):
    for precision, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        given = network(MADE[name], precision)
        layers = read_dense(given)
        for output in range(2):
            whole = expand(cone(layers, 2, output), NAMES, most=10_000)
            assert apart(evaluate(whole, COLUMNS), predict(given, ROWS)[:, output]) < tolerance
        states = np.concatenate([batch["0"].post for batch in record(given, ROWS)])
        assert apart(evaluate(expand(cone(layers, 0, 4), NAMES), COLUMNS), states[:, 4]) < 1e-5


@pytest.mark.parametrize("name", MADE)
def test_a_unit_reads_in_the_layer_before_it(name):
    given = network(MADE[name])
    layers = read_dense(given)
    names = [f"h1_{unit}" for unit in range(5)]
    records = [*record(given, ROWS)]
    first, second = (np.concatenate([batch[layer].post for batch in records]) for layer in ("0", "2"))
    unit = unit_form(layers[1], 2, names)
    assert (unit.layer, unit.unit) == ("2", 2)
    columns = dict(zip(names, first.T.astype(np.float64), strict=True))
    assert apart(evaluate(unit.expression, columns), second[:, 2]) < 1e-5
    before = np.concatenate([batch["2"].pre for batch in records])
    assert apart(evaluate(unit.inner, columns), before[:, 2]) < 1e-5


def test_an_input_that_counts_nothing_is_left_out():
    layer = Dense("only", np.array([[1.0, 0.0, -1.0]]), np.array([0.0]), "relu", np.zeros((1, 0)))
    unit = unit_form(layer, 0, ["x", "y", "z"])
    assert str(unit.inner) == "x - z"
    assert str(unit.expression) == "(x - z + abs(x - z))/2"


def test_units_that_carry_nothing_are_not_written():
    first = Dense("1", np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, 0.0]), "relu", np.zeros((2, 0)))
    last = Dense("2", np.array([[0.0, 2.0]]), np.array([1.0]), "identity", np.zeros((1, 0)))
    part = cone([first, last], 1, 0)
    assert part.units == ((1,), (0,))
    assert str(expand(part, NAMES)) == "3*a + 4*b + abs(3*a + 4*b) + 1"


def test_what_is_too_large_is_refused_with_the_number():
    part = cone(read_dense(network(nn.ReLU)), 2, 0)
    nodes = complexity(expand(part, NAMES, most=10_000))
    with pytest.raises(BadInput, match=f"unit 0 of layer 4 is an expression of {nodes:,} nodes, more than 100"):
        expand(part, NAMES, most=100)
    assert complexity(expand(part, NAMES, most=nodes)) == nodes
    wide = Dense("wide", np.ones((1, 784)), np.zeros(1), "tanh", np.zeros((1, 0)))
    names = [f"p{place}" for place in range(784)]
    with pytest.raises(BadInput, match="unit 0 of layer wide is an expression of 1,567 nodes, more than 500"):
        unit_form(wide, 0, names)
    with pytest.raises(BadInput, match="unit 0 of layer wide is an expression nested 787 deep, more than 200"):
        unit_form(wide, 0, names, most=5000)


def test_a_formula_of_many_inputs_reads_back():
    names, draw = [f"p{place}" for place in range(60)], np.random.default_rng(0)
    layer = Dense("wide", draw.normal(size=(1, 60)), np.ones(1), "elu", np.ones((1, 1)))
    unit = unit_form(layer, 0, names)
    values = dict(zip(names, draw.normal(size=(60, 100)), strict=True))
    assert (evaluate(parse(str(unit.expression)), values) == evaluate(unit.expression, values)).all()


def test_large_networks_are_refused_at_once():
    draw = np.random.default_rng(0)
    sizes = [(64, 4), *[(64, 64)] * 6, (1, 64)]
    layers = [
        Dense(str(at), draw.normal(size=size), draw.normal(size=size[0]), "silu", np.zeros((size[0], 0)))
        for at, size in enumerate(sizes)
    ]
    with pytest.raises(BadInput, match=r"is an expression of [\d,]{15,} nodes"):
        expand(cone(layers, 7, 0), ["a", "b", "c", "d"])


def test_the_error_function_is_none_of_ours():
    given = network(nn.GELU)
    layers = read_dense(given)
    unit = unit_form(layers[0], 0, NAMES)
    assert (unit.activation, unit.expression) == ("gelu", None)
    assert "a" in str(unit.inner)
    with pytest.raises(BadInput, match=r"no equation can be written with gelu \(it needs the error function\)"):
        expand(cone(layers, 2, 0), NAMES)
    assert "gelu" not in FORMULAS
