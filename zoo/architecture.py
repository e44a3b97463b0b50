"""Build a network that can be run from a checkpoint that holds only weights.

Refusals: no-architecture (not recognised: name one), no-activation (never guessed), factory (the user's
code fails), input-shape, output-shape, forward, scaling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from .checkpoint import Checkpoint
from .errors import Refused
from .factory import call_factory
from .network import Network, Scaling, precision, predict, to_module
from .record import Trace, trace

MOST_STEMS = 5
_NAME_IT = 'name it in zoo.toml: architecture = "python:module:factory"'


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


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """What a builder may go by: the weights, and what zoo.toml says of them."""

    checkpoint: Checkpoint
    detail: str
    activation: str | None
    options: Mapping[str, object]
    inputs: int
    search_path: Path


def build_network(
    checkpoint: Checkpoint,
    *,
    name: str,
    digest: str,
    lineage: str,
    architecture: str | None = None,
    activation: str | None = None,
    options: Mapping[str, object] | None = None,
    outputs: Sequence[str] = (),
    scaling: Scaling | None = None,
    example: Float[np.ndarray, "*samples variables"],
    search_path: Path,
) -> Network:
    """Build a network, run it on an example and find its layers.

    The example is one row of the probe or several, in physical units. Without an architecture an MLP is
    inferred from names and shapes. A module may say what shape it takes by an attribute `input_shape`;
    else it takes rows. Raises Refused, see the codes above.
    """
    row = np.atleast_2d(example)[:1]
    kind, _, detail = (architecture or "mlp").partition(":")
    if kind not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise Refused("no-architecture", f"architecture {kind!r} is none of {known}", hint=_NAME_IT)
    blueprint = Blueprint(checkpoint, detail, activation, options or {}, row.size, search_path)
    module = _settled(BUILDERS[kind](blueprint))
    shape = tuple(getattr(module, "input_shape", row.shape[1:]))
    found = _trace(module, np.repeat(row, 2, axis=0), shape, scaling)
    if outputs and len(outputs) != found.layers[-1].units:
        units = found.layers[-1].units
        raise Refused(
            "output-shape",
            f"gives {units} outputs, zoo.toml names {len(outputs)}",
            hint="correct outputs there",
        )
    network = Network(name, digest, lineage, module, found.layers, shape, tuple(outputs), scaling)
    predict(network, row)  # so that scaling which does not fit is refused here, not in the middle of a run
    return network


def build_mlp(blueprint: Blueprint) -> nn.Module:
    """Infer a multilayer perceptron from names and shapes: weights are stored as (outputs, inputs).

    Raises Refused (no-architecture, no-activation, input-shape).
    """
    layers = _in_order(_dense_layers(blueprint.checkpoint.tensors), blueprint.inputs)
    declared = blueprint.activation or blueprint.checkpoint.metadata.get("activation")
    return Perceptron(layers, _activation(declared) if len(layers) > 1 else nn.Identity)


def build_from_factory(blueprint: Blueprint) -> nn.Module:
    """Let the user's factory build the module. Raises Refused (factory)."""
    return call_factory(
        blueprint.detail,
        blueprint.checkpoint.tensors,
        options=blueprint.options,
        search_path=blueprint.search_path,
    )


BUILDERS: dict[str, Callable[[Blueprint], nn.Module]] = {"mlp": build_mlp, "python": build_from_factory}


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """One layer of a perceptron as it stands in a checkpoint."""

    name: str
    weight: Float[np.ndarray, "outputs inputs"]
    bias: Float[np.ndarray, " outputs"] | None


class Perceptron(nn.Module):
    """Dense layers one after another, an activation between them; layers keep their checkpoint's names."""

    def __init__(self, layers: Sequence[Dense], activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.chain: list[nn.Module] = []
        for layer in layers:
            linear = _linear(layer)
            _place(self, layer.name, linear)
            self.chain += [linear, activation()]
        self.chain.pop()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the layers in their order."""
        for step in self.chain:
            inputs = step(inputs)
        return inputs


def _linear(layer: Dense) -> nn.Linear:
    dtype = torch.float64 if layer.weight.dtype == np.float64 else torch.float32
    outputs, inputs = layer.weight.shape
    linear = nn.Linear(inputs, outputs, bias=layer.bias is not None, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(layer.weight))
        if layer.bias is not None:
            linear.bias.copy_(torch.tensor(layer.bias))
    return linear


def _place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Hang a module below another. Not by attribute: a layer may well be called "type" or "forward"."""
    *folders, last = path.split(".")
    for folder in folders:
        root = root._modules.setdefault(folder, nn.Module()) or root
    root._modules[last] = module


def _activation(name: str | None) -> Callable[[], nn.Module]:
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
        raise Refused("no-activation", f"activation {name!r} is not known", hint=f"one of {choices}")
    return ACTIVATIONS[key]


def _dense_layers(tensors: Mapping[str, np.ndarray]) -> list[Dense]:
    """Pair weights with biases by name. Raises Refused (no-architecture) if anything is left over."""
    floats = {name: array for name, array in tensors.items() if array.dtype.kind == "f"}
    weights = {name: array for name, array in floats.items() if array.ndim == 2 and array.size}
    stems = {_stem(name): name for name in weights}
    biases = {_stem(name): array for name, array in floats.items() if array.ndim == 1}
    if not weights or len(stems) != len(weights):
        raise _unrecognised("no weights with two axes" if not weights else "two weights of one name")
    for name, array in floats.items():
        partner = weights.get(stems.get(_stem(name), ""))
        fits = partner is not None and array.ndim == 1 and len(array) == len(partner)
        if name not in weights and not fits:
            raise _unrecognised(f"{name} of shape {array.shape} belongs to no dense layer")
    if len(floats) != len(weights) + len(biases):
        raise _unrecognised("two biases of one layer")
    return [Dense(stem.strip("./_ ") or name, weights[name], biases.get(stem)) for stem, name in stems.items()]


def _stem(name: str) -> str:
    return re.sub(r"^[wb]_(?=[a-z])|(weights?|bias(es)?|kernel|w|b)(?=[\d_]*$)", "", name, flags=re.IGNORECASE)


def _in_order(layers: list[Dense], inputs: int) -> list[Dense]:
    """Order layers: numbers order those that share a name, shapes order the rest.

    Raises Refused (no-architecture) if they do not chain, or chain in more than one way.
    """
    groups: dict[str, list[Dense]] = {}
    for layer in sorted(layers, key=lambda layer: _numbers(layer.name)):
        groups.setdefault(re.sub(r"\d+", "#", layer.name), []).append(layer)
    if len(groups) > MOST_STEMS:
        raise _unrecognised(f"its {len(layers)} weights have {len(groups)} kinds of names")
    chains = list(_chains(list(groups.values())))
    if not chains:
        raise _unrecognised(str(_break([layer for group in groups.values() for layer in group])))
    fitting = [chain for chain in chains if chain[0].weight.shape[1] == inputs]
    if not fitting:
        raise Refused(
            "input-shape",
            f"takes {chains[0][0].weight.shape[1]} inputs, the probe has {inputs}",
            hint="give the probe the network's variables, or leave this network out of the zoo",
        )
    if len(fitting) > 1:
        raise _unrecognised("its layers fit together in more than one order")
    return fitting[0]


def _chains(groups: list[list[Dense]]) -> Iterator[list[Dense]]:
    for order in permutations(groups):
        chain = [layer for group in order for layer in group]
        if _break(chain) is None:
            yield chain


def _break(chain: Sequence[Dense]) -> str | None:
    for left, right in pairwise(chain):
        given, taken = left.weight.shape[0], right.weight.shape[1]
        if given != taken:
            return f"{left.name} gives {given}, {right.name} takes {taken}"
    return None


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _unrecognised(why: str) -> Refused:
    return Refused("no-architecture", f"is not recognised as an MLP: {why}", hint=_NAME_IT)


def _settled(module: nn.Module) -> nn.Module:
    """Bring a module to rest: no training, no gradients of weights, no half precision on the CPU."""
    if precision(module) in (torch.float16, torch.bfloat16):
        module = module.float()
    return module.cpu().eval().requires_grad_(False)


def _trace(module: nn.Module, rows: np.ndarray, shape: tuple[int, ...], scaling: Scaling | None) -> Trace:
    def run() -> Trace:
        return trace(module, to_module(rows, module=module, input_shape=shape, scaling=scaling))

    parts = (*module.parameters(), *module.buffers())
    if len({part.dtype for part in parts if part.is_floating_point()}) < 2:
        return run()
    try:
        return run()
    except Refused:  # weights and constants of two precisions that do not meet: bring all to the weights'
        module.to(precision(module))
        return run()
