"""Infer a plain convolutional network from names and shapes: convolutions, then dense layers, no shortcuts.

Padding, strides and pooling leave no trace in weights. What zoo.toml says of them in options is taken; of the
rest every plain possibility is tried, and if not exactly one fits the input and the first dense layer, the
network is refused with those that do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from torch import nn

from .blueprint import NAME_IT, Blueprint, float_shapes
from .chain import Chain, activation, batch_norm, convolution, linear
from .checkpoint import Checkpoint
from .errors import Refused
from .plain_cnn import Part, Plan, Shape, Stack, find_stack, plans

MOST_SHOWN = 4
LARGEST_SIDE = 256
"""Where nothing tells the size of the images, those up to this side are tried."""
_OPTIONS = ("padding", "stride", "pool", "head", "input")
_POOLS: dict[str, tuple[Callable[[int], nn.Module], ...]] = {
    "max2": (nn.MaxPool1d, nn.MaxPool2d),
    "avg2": (nn.AvgPool1d, nn.AvgPool2d),
}


class Head(nn.Module):
    """Bring maps to one row: one after the other, or each to its mean or its largest value."""

    def __init__(self, kind: str, *, channels_last: bool) -> None:
        super().__init__()
        self.kind, self.channels_last = kind, channels_last

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Bring maps to rows."""
        if self.kind == "flatten":
            return (maps.movedim(1, -1) if self.channels_last else maps).flatten(1)
        places = maps.flatten(2)
        return places.mean(2) if self.kind == "mean" else places.amax(2)


def build_cnn(blueprint: Blueprint) -> nn.Module:
    """Build the one plain convolutional network that fits.

    Raises Refused (no-architecture, no-activation, options, input-shape).
    """
    unknown = sorted(set(blueprint.options) - set(_OPTIONS))
    if unknown:
        raise Refused("options", f"options.{unknown[0]} is not known", hint=f"for a CNN: {', '.join(_OPTIONS)}")
    stack = find_stack(float_shapes(blueprint.checkpoint), turned=blueprint.checkpoint.format == "keras")
    shapes = list(_input_shapes(stack, blueprint))
    found = [plan for shape in shapes for plan in plans(stack, shape, blueprint.options)]
    if not found:
        raise _none(stack, shapes)
    if len(found) > 1:
        raise _several(stack, found, size=len(shapes) > 1)
    return _built(stack, found[0], blueprint)


def _input_shapes(stack: Stack, blueprint: Blueprint) -> Iterator[tuple[int, ...]]:
    """Give the shapes that the input may have: as told or shown, else squares of any size."""
    channels, sides = stack.convolutions[0].shape[1], len(stack.convolutions[0].shape) - 2
    told = blueprint.options.get("input", blueprint.shape if blueprint.image else None)
    if told is not None:
        shape = tuple(told) if isinstance(told, list | tuple) else ()
        if len(shape) != sides + 1 or not all(isinstance(n, int) and n > 0 for n in shape):
            raise Refused("options", f"options.input is {told!r}", hint="write channels and sides, as in [1, 28, 28]")
        if shape[0] != channels:
            hint = "see channels and layout in [networks.preprocessing]"
            raise Refused("input-shape", f"takes {channels} channels, is given {shape[0]}", hint=hint)
        yield shape
    elif blueprint.inputs is not None:
        places = blueprint.inputs // channels
        side = places if sides == 1 else isqrt(places)
        if channels * side**sides != blueprint.inputs:
            what = f"takes {channels} channels of square images, the probe has {blueprint.inputs} numbers a row"
            raise Refused("input-shape", what, hint="say the shape: options = { input = [3, 32, 24] }")
        yield (channels, *[side] * sides)
    elif stack.dense and stack.dense[0].shape[1] != stack.convolutions[-1].shape[0]:
        yield from ((channels, *[side] * sides) for side in range(1, LARGEST_SIDE + 1))
    else:
        yield (channels, *[LARGEST_SIDE] * sides)


def _built(stack: Stack, plan: Plan, blueprint: Blueprint) -> Chain:
    layers = (*stack.convolutions, *stack.dense)
    between = activation(blueprint) if len(layers) > 1 else nn.Identity
    reader = _Reader(blueprint.checkpoint, plan)
    steps: list[tuple[str, nn.Module]] = []
    for number, part in enumerate(layers):
        if number == len(stack.convolutions):
            steps.append(("", reader.head()))
        steps.append((part.name, reader.layer(part, number)))
        activated = [("", between())] if part is not layers[-1] else []
        norm = stack.norms.get(part.name)
        normed = [(norm.part.name, reader.norm(norm.part, len(part.shape) - 2))] if norm else []
        steps += [*activated, *normed] if norm and norm.after_activation else [*normed, *activated]
        if part in stack.convolutions and plan.pools[number] != "none":
            steps.append(("", _POOLS[plan.pools[number]][len(part.shape) - 3](2)))
    if plan.head and not stack.dense:
        steps.append(("", reader.head()))
    sized = plan.head == "flatten" or blueprint.inputs is not None or "input" in blueprint.options
    return Chain(steps, input_shape=plan.input_shape if sized else None)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Make the modules of a stack from the checkpoint's numbers."""

    checkpoint: Checkpoint
    plan: Plan

    @property
    def _turned(self) -> bool:
        return self.checkpoint.format == "keras"

    def layer(self, part: Part, number: int) -> nn.Module:
        weight = self.checkpoint.tensors[part.tensors["weight"]]
        if self._turned:  # places, inputs, outputs in Keras; outputs, inputs, places in torch
            weight = np.moveaxis(weight, (-1, -2), (0, 1))
        bias = self.checkpoint.tensors[part.tensors["bias"]] if "bias" in part.tensors else None
        if weight.ndim == 2:
            return linear(weight, bias)
        return convolution(weight, bias, stride=self.plan.strides[number], padding=self.plan.paddings[number])

    def norm(self, part: Part, axes: int) -> nn.Module:
        numbers = {role: self.checkpoint.tensors[name] for role, name in part.tensors.items()}
        return batch_norm(max(axes, 1), numbers, epsilon=1e-3 if self._turned else 1e-5)

    def head(self) -> nn.Module:
        return Head(self.plan.head, channels_last=self._turned)


def _none(stack: Stack, shapes: Sequence[Shape]) -> Refused:
    shown = f"images of {shapes[0]}" if len(shapes) == 1 else f"square images of up to {LARGEST_SIDE} pixels a side"
    first = stack.dense[0] if stack.dense else stack.convolutions[-1]
    what = f"no plain padding, stride and pooling bring {shown} to what {first.name[:80]} takes"
    known = 'options = { padding = 1, stride = 2, pool = "max2", head = "mean" }'
    return Refused("no-architecture", what, hint=f"say what is known of it in zoo.toml, as in {known}, or {NAME_IT}")


def _several(stack: Stack, found: Sequence[Plan], *, size: bool) -> Refused:
    ways = [plan.words(stack, size=size) for plan in found[:MOST_SHOWN]]
    more = f", or one of {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    what = f"can be run in {len(found)} ways: padding, stride and pooling are not in the weights"
    return Refused("no-architecture", what, hint=f"say which in zoo.toml: {', or '.join(ways)}{more}")
