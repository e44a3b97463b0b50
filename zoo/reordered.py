"""Whether a plain network is another one whose hidden units were reordered, rescaled or turned over."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float64, Int

from .pairing import Side, biases, plain_layers
from .resemblance import Resemblance

TOLERANCE = 1e-5
"""How far units of length one may differ: what rounding in single precision leaves."""
FEWEST = 4
MOST_NUMBERS = 1 << 24

Units = Float64[np.ndarray, "units numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of a plain network; a kernel's positions lie along the last axis of the weight."""

    weight: Float64[np.ndarray, "outputs inputs numbers"]
    bias: Float64[np.ndarray, " outputs"]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of weight and bias."""
        return self.weight.shape, self.bias.shape

    def units(self) -> Units:
        """What leads into each unit, the bias last."""
        return np.concatenate([self.weight.reshape(len(self.weight), -1), self.bias[:, None]], axis=1)


def reordered(left: Side, right: Side) -> Resemblance | None:
    """Follow a plain network layer by layer and look for each unit of the right among those of the left.

    A unit may be any other with all that leads into it times one factor, of either sign (that leaves the
    function of ReLU and of tanh networks as it is); what it leads to must be divided by it. None where one
    unit is without a partner, and for networks that are no chain of layers.
    """
    layers = [_layers(side) for side in (left, right)]
    if not layers[0] or [layer.shapes for layer in layers[0]] != [layer.shapes for layer in layers[1]]:
        return None
    order, factor, hidden = np.arange(layers[0][0].weight.shape[1]), np.ones(layers[0][0].weight.shape[1]), 0
    for ours, theirs in zip(*layers, strict=True):
        places = ours.weight.shape[1] // len(order)  # more than one where channels are flattened
        inputs = (order[:, None] * places + np.arange(places)).ravel()
        expected = Layer(ours.weight[:, inputs] / np.repeat(factor, places)[:, None], ours.bias)
        if ours is layers[0][-1]:
            break
        matched = _match(expected.units(), theirs.units())
        if matched is None:
            return None
        order, factor = matched
        hidden += len(order)
    if hidden < FEWEST or not np.allclose(expected.units(), theirs.units(), rtol=0, atol=_rounding(theirs)):
        return None
    return Resemblance("permuted", 1.0, f"all weights equal after reordering and rescaling {hidden} hidden units")


def _rounding(layer: Layer) -> float:
    return 10 * TOLERANCE * float(np.abs(layer.units()).max(initial=0))


def _layers(side: Side) -> list[Layer]:
    numbers = plain_layers(side.marks)
    if sum(prod(side.marks.shapes[number]) for number in numbers) > MOST_NUMBERS:
        return []
    return [_layer(side, number) for number in numbers]


def _layer(side: Side, number: int) -> Layer:
    weight = side.tensor(number)
    bias = next((side.tensor(other) for other in biases(side.marks, number)), np.zeros(len(weight)))
    whole = [np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0) for array in (weight, bias)]
    return Layer(whole[0].reshape(*weight.shape[:2], -1), whole[1])


def _match(first: Units, second: Units) -> tuple[Int[np.ndarray, " units"], Float64[np.ndarray, " units"]] | None:
    """Find for each unit of theirs the one of ours that points the same way or the opposite way, each taken once."""
    lengths = [np.sqrt(np.square(units).sum(axis=1)) for units in (first, second)]
    if min(lengths[0].min(), lengths[1].min()) == 0 or not len(first):
        return None
    cosines = (second / lengths[1][:, None]) @ (first / lengths[0][:, None]).T
    order = np.abs(cosines).argmax(axis=1)
    if len(np.unique(order)) < len(order):
        return None
    signs = np.sign(cosines[np.arange(len(order)), order])
    factor = signs * lengths[1] / lengths[0][order]
    apart = second / lengths[1][:, None] - signs[:, None] * (first / lengths[0][:, None])[order]
    return None if np.abs(apart).max() > TOLERANCE else (order, factor)
