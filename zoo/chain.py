"""Steps one after another: what can be built from names and shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from .blueprint import Blueprint
from .errors import Refused

Layer = TypeVar("Layer", bound=nn.Module)


class Sine(nn.Module):
    """The sine, elementwise."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Take the sine."""
        return torch.sin(inputs)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "leaky_relu": nn.LeakyReLU,
    "identity": nn.Identity,
    "sin": Sine,
    "mish": nn.Mish,
    "selu": nn.SELU,
}
_ALIASES = {
    "swish": "silu",
    "linear": "identity",
    "sine": "sin",
    "leakyrelu": "leaky_relu",
    "logistic": "sigmoid",
}


class Chain(nn.Module):
    """Modules one after another; those with weights keep their checkpoint's names, the others have none.

    `input_shape` is the shape of one sample, where the weights tell it.
    """

    def __init__(self, steps: Sequence[tuple[str, nn.Module]], input_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        if input_shape is not None:
            self.input_shape = input_shape
        self.chain = [module for _, module in steps]
        for name, module in steps:
            if name:
                _place(self, name, module)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the steps in their order."""
        for step in self.chain:
            inputs = step(inputs)
        return inputs


def activation(blueprint: Blueprint) -> Callable[[], nn.Module]:
    """Find the activation that zoo.toml or else the file declares. Raises Refused (no-activation)."""
    name = blueprint.activation or blueprint.checkpoint.metadata.get("activation")
    choices = ", ".join(ACTIVATIONS)
    if not name:
        raise Refused(
            "no-activation",
            "does not say which activation stands between its layers",
            hint=f'say it in zoo.toml: activation = "relu" (or {choices.removeprefix("relu, ")})',
        )
    key = name.lower()
    key = _ALIASES.get(key, key)
    if key not in ACTIVATIONS:
        raise Refused("no-activation", f"activation {name[:80]!r} is not known", hint=f"one of {choices}")
    return ACTIVATIONS[key]


def linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    """Make a dense layer of weights (outputs, inputs), without numbers of its own in between."""
    outputs, inputs = weight.shape
    return _filled(nn.Linear(inputs, outputs, bias=bias is not None, device="meta"), weight=weight, bias=bias)


def convolution(
    weight: np.ndarray, bias: np.ndarray | None, *, stride: int, padding: tuple[int, ...]
) -> nn.Conv1d | nn.Conv2d:
    """Make a convolution of weights (outputs, inputs, length) or (outputs, inputs, height, width)."""
    outputs, inputs, *kernel = weight.shape
    kind: Any = nn.Conv1d if len(kernel) == 1 else nn.Conv2d
    layer: nn.Conv1d | nn.Conv2d = kind(
        inputs, outputs, tuple(kernel), stride, padding, bias=bias is not None, device="meta"
    )
    return _filled(layer, weight=weight, bias=bias)


def batch_norm(axes: int, numbers: Mapping[str, np.ndarray], *, epsilon: float) -> nn.Module:
    """Make a batch normalisation at rest over maps of so many axes: weight, bias, running_mean, running_var."""
    kind = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[axes]
    layer: nn.Module = kind(len(numbers["running_mean"]), epsilon, affine="weight" in numbers, device="meta")
    return _filled(layer, num_batches_tracked=np.array(0), **numbers)


def tensor(array: np.ndarray) -> torch.Tensor:
    """Take over an array without copying it, where it may be written to; half precision becomes single."""
    plain = array if array.flags.c_contiguous and array.flags.writeable else array.copy(order="C")
    found = torch.from_numpy(plain)
    return found.float() if found.dtype == torch.float16 else found


def _filled(layer: Layer, **numbers: np.ndarray | None) -> Layer:
    given = {name: tensor(array) for name, array in numbers.items() if array is not None}
    widest = max((part.dtype for part in given.values() if part.is_floating_point()), key=lambda kind: kind.itemsize)
    layer.load_state_dict(given, assign=True)
    return layer.to(widest)


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Hang a module below another. Not by attribute: a layer may well be called "type" or "forward"."""
    *folders, last = path.split(".")
    for folder in folders:
        root = root._modules.setdefault(folder, nn.Module()) or root
    root._modules[last] = module
