"""Networks run in physical units, batch by batch alike; twins forget all they learned and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from consilience.zoo.architecture import build_network
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import BadInput, Refused
from consilience.zoo.network import Network, Scaling, gradients, predict, record, to_module, untrained_twin
from consilience.zoo.preprocess import Preprocessing, preprocess
from consilience.zoo.record import trace

ROWS = np.random.default_rng(1).uniform(1.0, 5.0, size=(101, 3))
SCALING = Scaling((3.0,), (1.0, 2.0, 0.5), (10.0, -1.0), (100.0,))


def tensors(seed: int = 0, widths: tuple[int, ...] = (3, 16, 8, 2)) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        name: array.astype(np.float32)
        for layer, (inputs, outputs) in enumerate(pairwise(widths))
        for name, array in [
            (f"net.{layer}.weight", draw.normal(size=(outputs, inputs)) / np.sqrt(inputs)),
            (f"net.{layer}.bias", draw.normal(size=outputs) * 0.1),
        ]
    }


def mlp(
    weights: dict[str, np.ndarray] | None = None, *, activation: str = "tanh", scaling: Scaling | None = None
) -> Network:
    return build_network(
        Checkpoint("safetensors", weights or tensors(), {}),
        name="n",
        digest="d",
        lineage="n",
        activation=activation,
        scaling=scaling,
        example=ROWS,
        search_path=Path(),
    )


def around(module: nn.Module, *, shape: tuple[int, ...] = (3,), scaling: Scaling | None = None) -> Network:
    module = module.eval().requires_grad_(False)
    rows = to_module(ROWS[:2, : int(np.prod(shape))], module=module, input_shape=shape, scaling=None)
    return Network("m", "d", "m", module, trace(module, rows).layers, shape, (), scaling)


def test_scaling_is_applied_around_the_module_in_double_precision() -> None:
    plain, scaled = mlp(), mlp(scaling=SCALING)
    inside = (ROWS - 3.0) / np.array([1.0, 2.0, 0.5])
    np.testing.assert_array_equal(predict(scaled, ROWS), predict(plain, inside) * 100.0 + [10.0, -1.0])
    assert predict(scaled, ROWS).dtype == np.float64


def test_shifts_beyond_single_precision_survive() -> None:
    network = around(nn.Flatten(), scaling=Scaling(input_shift=(1e9,), output_shift=(1e9,)))
    rows = 1e9 + np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(predict(network, rows), rows)


@pytest.mark.parametrize("batch", [1, 7, 101, 4096])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_batches_do_not_matter(batch: int, activation: str) -> None:
    network = mlp(activation=activation, scaling=SCALING)
    np.testing.assert_allclose(predict(network, ROWS, batch=batch), predict(network, ROWS), atol=1e-3)
    whole = next(record(network, ROWS))
    parts = list(record(network, ROWS, batch=batch))
    assert len(parts) == -(-len(ROWS) // batch)
    for layer in network.layers:
        for side in ("pre", "post"):
            joined = np.concatenate([getattr(part[layer.name], side) for part in parts])
            assert joined.dtype == np.float32
            np.testing.assert_allclose(joined, getattr(whole[layer.name], side), rtol=1e-4, atol=1e-6)


def test_records_hold_both_sides_of_the_nonlinearity() -> None:
    weights = tensors()
    found = next(record(mlp(weights, activation="relu", scaling=SCALING), ROWS))
    inside = (ROWS - 3.0) / np.array([1.0, 2.0, 0.5])
    before = inside @ weights["net.0.weight"].T + weights["net.0.bias"]
    np.testing.assert_allclose(found["net.0"].pre, before, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["net.0"].post, np.maximum(found["net.0"].pre, 0))
    assert list(found) == ["net.0", "net.1", "net.2"]


def test_the_output_is_recorded_in_physical_units() -> None:
    network = mlp(scaling=SCALING)
    found = next(record(network, ROWS))["net.2"]
    np.testing.assert_allclose(found.pre, predict(network, ROWS), rtol=1e-6)
    np.testing.assert_array_equal(found.pre, found.post)


def test_a_planted_dead_unit_never_varies_after_the_nonlinearity() -> None:
    weights = tensors()
    weights["net.0.bias"][5] = -1e3
    found = next(record(mlp(weights, activation="relu"), ROWS))["net.0"]
    assert np.ptp(found.pre[:, 5]) > 0
    assert not found.post[:, 5].any()
    assert (np.ptp(found.post, axis=0) > 0).sum() > 8


def test_permuting_hidden_units_changes_nothing() -> None:
    weights = tensors()
    order = np.random.default_rng(2).permutation(16)
    moved = dict(weights)
    moved["net.0.weight"], moved["net.0.bias"] = weights["net.0.weight"][order], weights["net.0.bias"][order]
    moved["net.1.weight"] = weights["net.1.weight"][:, order]
    np.testing.assert_allclose(predict(mlp(moved), ROWS), predict(mlp(weights), ROWS), rtol=1e-4, atol=1e-6)
    left, right = next(record(mlp(moved), ROWS)), next(record(mlp(weights), ROWS))
    np.testing.assert_allclose(left["net.0"].post, right["net.0"].post[:, order], rtol=1e-5)


def test_outputs_that_are_not_finite_are_returned() -> None:
    weights = tensors()
    weights["net.2.bias"][1] = np.nan
    found = predict(mlp(weights), ROWS)
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, 0]).all()


def test_no_rows_give_no_rows() -> None:
    network = mlp()
    assert predict(network, ROWS[:0]).shape == (0, 2)
    assert gradients(network, ROWS[:0], 0).shape == (0, 3)
    assert list(record(network, ROWS[:0])) == []
    assert [len(part["net.0"].pre) for part in record(network, ROWS[:1])] == [1]


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(Refused, match="takes 3 inputs, the probe has 2") as caught:
        predict(mlp(), ROWS[:, :2])
    assert caught.value.code == "input-shape"
    with pytest.raises(Refused, match="takes 3 inputs"):
        list(record(mlp(), ROWS[:, :2]))


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(BadInput, match="device 'nonsense' cannot be used") as caught:
        predict(mlp(), ROWS, device="nonsense")
    assert "--device cpu" in caught.value.hint


@pytest.mark.parametrize("activation", ["tanh", "silu", "relu"])
def test_gradients_are_slopes_in_physical_units(activation: str) -> None:
    weights = {name: array.astype(np.float64) for name, array in tensors().items()}
    network = mlp(weights, activation=activation, scaling=SCALING)
    slopes = gradients(network, ROWS, 1, batch=40)
    assert slopes.shape == ROWS.shape
    step = 1e-6
    for variable in range(3):
        offset = np.eye(3)[variable] * step
        expected = (predict(network, ROWS + offset) - predict(network, ROWS - offset))[:, 1] / (2 * step)
        close = np.isclose(slopes[:, variable], expected, rtol=1e-4, atol=1e-3)
        assert close.mean() > 0.97  # a ReLU may bend within a step


def test_gradients_that_cannot_be_had() -> None:
    class Cut(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.detach() * 2

    with pytest.raises(Refused, match="has no gradient") as caught:
        gradients(around(Cut()), ROWS, 0)
    assert caught.value.code == "not-differentiable"
    with pytest.raises(IndexError, match="output unit 2 of 2"):
        gradients(mlp(), ROWS, 2)


def test_in_place_nonlinearities_change_neither_records_nor_gradients() -> None:
    def make(inplace: bool) -> Network:
        torch.manual_seed(0)
        return around(nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 1)))

    left, right = make(True), make(False)
    for name in ("0", "2"):
        one, other = next(record(left, ROWS))[name], next(record(right, ROWS))[name]
        np.testing.assert_array_equal(one.pre, other.pre)
        np.testing.assert_array_equal(one.post, other.post)
    assert (next(record(left, ROWS))["0"].pre < 0).any()
    np.testing.assert_array_equal(gradients(left, ROWS, 0), gradients(right, ROWS, 0))


class Mixed(nn.Module):
    """Parts that reset themselves, bare numbers that do not, and constants that are not learned."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([3.0, 3.0, 3.0]))
        self.bare = nn.Parameter(torch.arange(12.0).reshape(3, 4))
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm((inputs - self.mean) @ self.bare)))


@pytest.mark.parametrize("make", [mlp, lambda: around(Mixed())])
def test_twins_are_fresh_reproducible_and_leave_the_world_alone(make: Callable[[], Network]) -> None:
    network = make()
    before, state = predict(network, ROWS), torch.get_rng_state()
    first, again, second = [untrained_twin(network, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(predict(network, ROWS), before)
    np.testing.assert_array_equal(predict(first, ROWS), predict(again, ROWS))
    for name, weights in first.module.named_parameters():
        if weights.ndim == 2:
            assert not torch.equal(weights, network.module.get_parameter(name))
            assert not torch.equal(weights, second.module.get_parameter(name))
        assert not weights.requires_grad
    assert len({network.digest, first.digest, second.digest}) == 3
    assert first.digest == again.digest
    assert first.layers == network.layers
    assert first.lineage == first.name == f"{network.name} (untrained 1)"


def test_twins_keep_constants_and_shuffle_bare_numbers() -> None:
    network = around(Mixed())
    twin = untrained_twin(network, seed=0).module
    assert torch.equal(twin.mean, network.module.mean)
    assert torch.equal(twin.bare.flatten().sort().values, torch.arange(12.0))
    assert twin.norm.running_mean.abs().max() == 0


def test_twins_of_two_networks_share_no_rows() -> None:
    one, other = mlp(), replace(mlp(tensors(3)), digest="e")
    left, right = untrained_twin(one, seed=0), untrained_twin(other, seed=0)
    assert not torch.equal(next(left.module.parameters()), next(right.module.parameters()))


def test_images_are_reshaped_inside() -> None:
    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.stem(images)).flatten(1))

    rows = np.random.default_rng(0).random((30, 64))
    module = Image().eval()
    layers = trace(module, torch.zeros(2, 1, 8, 8)).layers
    network = Network("m", "d", "m", module.requires_grad_(False), layers, (1, 8, 8))
    assert predict(network, rows).shape == (30, 10)
    np.testing.assert_array_equal(predict(network, rows.reshape(30, 8, 8)), predict(network, rows))
    assert [part["stem"].post.shape for part in record(network, rows, batch=20)] == [
        (20 * 16, 4),
        (10 * 16, 4),
    ]
    assert gradients(network, rows, 3).shape == (30, 64)


PHOTOS = np.random.default_rng(5).integers(0, 256, size=(21, 12, 10, 3), dtype=np.uint8)


class Sees(nn.Module):
    """A convolution over photos, that counts how many it is shown at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.most = nn.Conv2d(3, 4, 3), nn.Linear(4, 2), 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(images))
        return self.head(torch.relu(self.stem(images)).mean((2, 3)))


def seeing(preprocessing: Preprocessing | None = None) -> Network:
    torch.manual_seed(0)
    module = Sees().eval().requires_grad_(False)
    layers = trace(module, torch.zeros(2, 3, 8, 8)).layers
    return Network("m", "d", "m", module, layers, (3, 8, 8), preprocessing=preprocessing)


@pytest.mark.parametrize("steps", [None, Preprocessing((8, 8), 0.8, "bgr", 255.0, (100.0, 110.0, 120.0))])
def test_photos_are_brought_to_what_the_module_takes(steps: Preprocessing | None) -> None:
    network = seeing(steps)
    given = preprocess(PHOTOS, steps, (3, 8, 8))
    np.testing.assert_allclose(predict(network, PHOTOS), predict(network, given), rtol=1e-5)
    seen, wanted = next(record(network, PHOTOS))["stem"], next(record(network, given))["stem"]
    np.testing.assert_allclose(seen.pre, wanted.pre, rtol=1e-5)
    assert seen.pre.shape == (21 * 16, 4)
    assert gradients(network, PHOTOS, 1).shape == (21, 192)


def test_photos_that_do_not_fit_are_refused() -> None:
    with pytest.raises(Refused, match="takes") as caught:
        predict(seeing(Preprocessing((9, 9))), PHOTOS)
    assert caught.value.code == "input-shape"


def test_rows_of_bytes_are_rows() -> None:
    network = mlp()
    rows = np.random.default_rng(0).integers(0, 9, size=(7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(predict(network, rows), predict(network, rows.astype(np.float64)))


def test_batches_are_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = np.random.default_rng(0).random((300, 3, 8, 8))
    network = seeing()
    assert isinstance(network.module, Sees)
    whole = predict(network, inputs)
    assert network.module.most == 300
    monkeypatch.setattr("consilience.zoo.network.BATCH_BYTES", 50_000)
    network = seeing()
    np.testing.assert_allclose(predict(network, inputs), whole, rtol=1e-5)
    assert isinstance(network.module, Sees)
    assert 2 < network.module.most < 50
    parts = list(record(network, inputs))
    assert 5 < len(parts) < 300
    slopes = gradients(network, inputs, 0)
    monkeypatch.setattr("consilience.zoo.network.BATCH_BYTES", 0)
    np.testing.assert_allclose(predict(network, inputs[:20]), whole[:20], rtol=1e-5)
    np.testing.assert_allclose(gradients(network, inputs[:20], 0), slopes[:20], rtol=1e-3, atol=1e-8)
    assert len(list(record(network, inputs[:20]))) == 20


@pytest.mark.parametrize("nested", [lambda x: (x, x + 1), lambda x: {"loss": None, "logits": x}, lambda x: [(x,), 3]])
def test_of_several_outputs_the_first_counts(nested: Callable[[torch.Tensor], object]) -> None:
    class Gives(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> object:
            return nested(self.first(inputs))

    network = around(Gives())
    with torch.no_grad():
        wanted = network.module.first(torch.from_numpy(ROWS).float())
    assert [layer.name for layer in network.layers] == ["first"]
    np.testing.assert_allclose(predict(network, ROWS), wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(next(record(network, ROWS))["first"].pre, wanted.numpy(), rtol=1e-6)
    assert gradients(network, ROWS, 1).shape == ROWS.shape


def test_places_of_rows_are_samples_in_any_batch() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.Sequential(nn.Unflatten(1, (5, 4)), nn.Linear(4, 8), layer, nn.Flatten(), nn.Linear(40, 1))
    network = around_rows(module.eval().requires_grad_(False), 20)
    rows = np.random.default_rng(0).normal(size=(33, 20))
    whole = next(record(network, rows))
    assert [(at.name, at.axes, at.positions) for at in network.layers][1] == ("2.self_attn", ("row", "token"), 5)
    for batch in (1, 2, 7, 33):
        parts = list(record(network, rows, batch=batch))
        for at in network.layers:
            joined = np.concatenate([part[at.name].post for part in parts])
            assert joined.shape == (33 * at.positions, at.units)
            np.testing.assert_allclose(joined, whole[at.name].post, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole["4"].pre, predict(network, rows), rtol=1e-4, atol=1e-6)
    twin = untrained_twin(network, seed=0)
    assert trace(twin.module, torch.zeros(2, 20)).layers == network.layers


def around_rows(module: nn.Module, width: int) -> Network:
    return Network("m", "d", "m", module, trace(module, torch.randn(2, width)).layers, (width,))


def test_twins_forget_what_was_computed_from_the_weights() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor, self.kept = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), None
            self.first = nn.Linear(3, 6)

        def train(self, mode: bool = True) -> nn.Module:
            self.kept = None if mode else self.kept
            return super().train(mode)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.kept = self.factor * 2 if self.kept is None else self.kept
            return self.first(inputs) * self.kept

    network = around(Keeps())
    predict(network, ROWS)
    twin = untrained_twin(network, seed=3)
    predict(twin, ROWS)
    assert not torch.equal(twin.module.factor, network.module.factor)
    assert torch.equal(twin.module.kept, 2 * twin.module.factor)
