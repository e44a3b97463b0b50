"""Infer a multilayer perceptron from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .blueprint import NAME_IT, Blueprint, float_shapes, wrong_width
from .chain import Chain, activation, linear
from .errors import Refused
from .order import NoOrder, Weighted, orders


@dataclass(frozen=True, slots=True)
class Dense(Weighted):
    """One dense layer as it stands in a checkpoint: the names of its tensors; its shape is (outputs, inputs)."""

    weight: str
    bias: str | None


def build_mlp(blueprint: Blueprint) -> nn.Module:
    """Build dense layers with an activation between them; nothing is read before it is known that they fit.

    Weights are stored as (outputs, inputs), in Keras' files the other way round. Raises Refused
    (no-architecture, no-activation, input-shape).
    """
    tensors, turned = blueprint.checkpoint.tensors, blueprint.checkpoint.format == "keras"
    layers = _in_order(dense_layers(float_shapes(blueprint.checkpoint), turned=turned), blueprint.inputs)
    between = activation(blueprint) if len(layers) > 1 else nn.Identity
    steps: list[tuple[str, nn.Module]] = []
    for layer in layers:
        weight = tensors[layer.weight].T if turned else tensors[layer.weight]
        steps += [(layer.name, linear(weight, tensors[layer.bias] if layer.bias else None)), ("", between())]
    return Chain(steps[:-1], input_shape=(layers[0].shape[1],) if blueprint.inputs is None else None)


def dense_layers(floats: Mapping[str, tuple[int, ...]], *, turned: bool = False) -> list[Dense]:
    """Pair weights with biases by name. Raises Refused (no-architecture) if anything is left over."""
    weights = {
        name: shape[::-1] if turned else shape for name, shape in floats.items() if len(shape) == 2 and all(shape)
    }
    stems = {_stem(name): name for name in weights}
    biases = {_stem(name): name for name, shape in floats.items() if len(shape) == 1}
    if not weights or len(stems) != len(weights):
        raise _unrecognised("no weights with two axes" if not weights else "two weights of one name")
    for name, shape in floats.items():
        partner = weights.get(stems.get(_stem(name), ""))
        if name not in weights and not (partner and shape == partner[:1]):
            raise _unrecognised(f"{name[:80]} of shape {shape} belongs to no dense layer")
    if len(floats) != len(weights) + len(biases):
        raise _unrecognised("two biases of one layer")
    return [Dense(stem.strip("./_ ") or name, weights[name], name, biases.get(stem)) for stem, name in stems.items()]


def _stem(name: str) -> str:
    return re.sub(r"^[wb]_(?=[a-z])|(weights?|bias(es)?|kernel|w|b)(?=[\d_]*$)", "", name, flags=re.IGNORECASE)


def _in_order(layers: list[Dense], inputs: int | None) -> list[Dense]:
    """Find the one order that takes so many inputs. Raises Refused (no-architecture, input-shape)."""
    try:
        chains = orders(layers)
    except NoOrder as reason:
        raise _unrecognised(str(reason)) from None
    fitting = [chain for chain in chains if inputs in (None, chain[0].shape[1])]
    if not fitting:
        raise wrong_width(chains[0][0].shape[1], inputs)
    if len(fitting) > 1:
        raise _unrecognised("its layers fit together in more than one order")
    return fitting[0]


def _unrecognised(why: str) -> Refused:
    return Refused("no-architecture", f"is not recognised as an MLP: {why}", hint=NAME_IT)
