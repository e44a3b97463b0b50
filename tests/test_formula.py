"""Expressions as functions of arrays: NumPy, PyTorch and JAX give what evaluate gives, and their gradients too."""

from __future__ import annotations

import importlib.util
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from random_expressions import calm, expressions_of

from consilience.analysis.formulas.derivative import derivative
from consilience.analysis.formulas.expression import FUNCTIONS, Apply, Expression, evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.zoo.errors import BadFormula, MissingExtra

NAMES = ("x", "m1", "lambda")
SAMPLES = np.random.default_rng(1).uniform(-3, 3, (64, len(NAMES)))
COLUMNS = dict(zip(NAMES, SAMPLES.T, strict=True))
GRAVITY = parse("1.0625*m1*m2/r**2")

expressions = expressions_of(NAMES)
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed here")


@given(expressions)
@calm
def test_numpy_gives_the_same_values_to_the_last_bit(expression: Expression) -> None:
    values = expression.numpy(NAMES)(*SAMPLES.T)
    np.testing.assert_array_equal(values, evaluate(expression, COLUMNS))


def close(found: Any, expression: Expression, columns: dict[str, np.ndarray]) -> bool:
    """Compare with evaluate to 1e-10 wherever rounding alone does not move the value as much."""
    expected = evaluate(expression, columns)
    moved = evaluate(expression, {name: column * (1 - 2e-15) for name, column in columns.items()})
    with np.errstate(all="ignore"):
        steady = np.isfinite(expected) & (np.abs(moved - expected) <= 1e-11 * np.abs(expected))
    return np.allclose(np.asarray(found)[steady], expected[steady], rtol=1e-10, atol=1e-300)


@given(expressions)
@calm
def test_torch_gives_the_same_values(expression: Expression) -> None:
    torch = pytest.importorskip("torch")
    assert close(expression.torch(NAMES)(*torch.tensor(SAMPLES.T)).detach(), expression, COLUMNS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_torch_gradients_are_the_derivatives(name: str) -> None:
    torch = pytest.importorskip("torch")
    inner = (parse("0.7*x*y"), parse("1.3*x + y"))[: FUNCTIONS[name].arity]
    expression = 2.5 * Apply(name, inner)
    columns = {"x": np.linspace(0.1, 0.9, 7), "y": np.linspace(1.0, 1.5, 7)}
    tensors = {variable: torch.tensor(column, requires_grad=True) for variable, column in columns.items()}
    slopes = torch.autograd.grad(expression.torch()(**tensors).sum(), list(tensors.values()))
    for variable, slope in zip(columns, slopes, strict=True):
        np.testing.assert_allclose(slope, evaluate(derivative(expression, variable), columns), rtol=1e-12)


def test_torch_trains_the_free_numbers_and_leaves_the_structure() -> None:
    torch = pytest.importorskip("torch")
    module = GRAVITY.torch()
    assert [name for name, _ in module.named_parameters()] == ["c1"]
    assert repr(module) == "TorchFormula(c1*m1*m2/r**2)"
    m1, m2, r = torch.rand(3, 50, generator=torch.Generator().manual_seed(0)) + 1
    optimiser = torch.optim.LBFGS(module.parameters(), line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimiser.zero_grad()
        error = (module(m1, m2, r) - 3.25 * m1 * m2 / r**2).square().mean()
        error.backward()
        return error

    optimiser.step(loss)
    trained = module.c1.item()
    assert trained == pytest.approx(3.25, rel=1e-6)
    assert module.expression == parse(f"{trained!r}*m1*m2/r**2")


def test_torch_trains_an_exponent() -> None:
    torch = pytest.importorskip("torch")
    module = parse("r**1.7").torch()
    r = torch.linspace(1, 2, 5)
    module(r).sum().backward()
    assert module.c1.grad.item() == pytest.approx((r**1.7 * r.log()).sum().item(), rel=1e-6)


def test_torch_modules_travel_and_stand_among_others() -> None:
    torch = pytest.importorskip("torch")
    module = parse("2.3*x + 0.7").torch()
    network = torch.nn.Sequential(torch.nn.Linear(3, 1), module)
    assert network(torch.zeros(5, 3)).shape == (5, 1)
    assert network(torch.zeros(5, 3)).dtype == torch.float32
    other = parse("1.1*x + 0.1").torch()
    other.load_state_dict(module.state_dict())
    assert other.expression == module.expression == pickle.loads(pickle.dumps(module)).expression
    assert parse("c1*x + 0.3").torch().skeleton == parse("c1*x + c2")


def test_arrays_broadcast_and_come_by_name_or_place() -> None:
    force = GRAVITY.numpy()
    assert str(inspect.signature(force)) == "(m1, m2, r)"
    assert force(2, 4, r=2.0) == 2.125
    assert force(m2=1, m1=np.ones((3, 1)), r=np.ones(4)).shape == (3, 4)
    assert force(np.ones(2, dtype=np.float32), 1, 1).dtype == np.float32
    assert GRAVITY.numpy(["r", "m2", "m1", "t"])(2.0, 4, 2, np.zeros(3)).tolist() == [2.125] * 3
    assert pickle.loads(pickle.dumps(force)) == force
    values = parse("2.5").numpy(["x"])(np.zeros(3))
    values += 1
    assert values.tolist() == [3.5] * 3


def test_reserved_names_go_with_and_without_their_underscore() -> None:
    law = parse("2*lambda").numpy()
    assert law(lambda_=2) == law(**{"lambda": 2}) == 4


def test_arguments_that_do_not_fit_are_told() -> None:
    with pytest.raises(BadFormula, match="no argument for m2, r"):
        GRAVITY.numpy(["m1"])
    with pytest.raises(BadFormula, match="stands twice"):
        GRAVITY.torch(["m1", "m2", "r", "r"])
    with pytest.raises(TypeError, match="missing a required argument: 'r'"):
        GRAVITY.numpy()(1, 2)


@pytest.mark.skipif(importlib.util.find_spec("jax") is not None, reason="jax is installed")
def test_without_jax_the_remedy_is_told() -> None:
    with pytest.raises(MissingExtra, match="jax is not installed") as error:
        GRAVITY.jax()
    assert error.value.hint == "pip install 'consilience[jax]'"


@needs_jax
@given(expressions)
@calm
def test_jax_gives_the_same_values(expression: Expression) -> None:
    import jax

    with jax.enable_x64(True):
        assert close(expression.jax(NAMES)(*SAMPLES.T), expression, COLUMNS)


@needs_jax
def test_jax_differentiates_and_compiles() -> None:
    import jax

    with jax.enable_x64(True):
        slope = jax.jit(jax.vmap(jax.grad(GRAVITY.jax(), argnums=2)))
        columns = {"m1": np.linspace(1, 2, 5), "m2": np.linspace(2, 3, 5), "r": np.linspace(1, 3, 5)}
        np.testing.assert_allclose(slope(*columns.values()), evaluate(derivative(GRAVITY, "r"), columns), rtol=1e-12)
