"""A place in a network where units can be watched, and what was seen there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np
from jaxtyping import Float

from .errors import Refused

ACTIVATIONS = frozenset(
    {
        "relu",
        "tanh",
        "silu",
        "gelu",
        "elu",
        "sigmoid",
        "softplus",
        "leaky_relu",
        "sin",
        "relu6",
        "selu",
        "celu",
    }
    | {"mish", "hardtanh", "hardswish", "hardsigmoid", "softsign", "tanhshrink", "logsigmoid", "prelu"}
)
ODD = frozenset({"identity", "tanh", "sin", "softsign", "tanhshrink"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A place in a network where units can be watched.

    Kinds: dense (neurons), convolution (channels), attention (what the heads give, side by side, before the
    output projection), residual (the stream that a block leaves), recurrent (states), message (components of
    what nodes of a graph tell one another). Axes say what a sample is: a row, or one of `positions` of every
    row: a place of a map, a token (of a grid of tokens: by its two numbers), a step, a node, a neighbour of a
    node, an edge.

    Activation is "identity" where only linear steps follow, and "other" where something follows that is
    not one elementwise function; states have that of their cell. Depth is the rank among the layers over
    their number: the output has 1.
    """

    name: str
    kind: str
    role: str
    units: int
    depth: float
    activation: str
    axes: tuple[str, ...] = ("row",)
    positions: int = 1

    @property
    def odd(self) -> bool:
        """Whether a unit may be met with its sign flipped."""
        return self.role == "hidden" and self.activation in ODD


@dataclass(frozen=True, slots=True, eq=False)
class LayerRecord:
    """What the units of one layer gave for one batch, before and after the nonlinearity.

    Samples are rows, and within a row its positions.
    """

    pre: Float[np.ndarray, "samples units"]
    post: Float[np.ndarray, "samples units"]


def choose(layers: Sequence[Layer], patterns: Sequence[str]) -> tuple[Layer, ...]:
    """Keep the hidden layers whose names match one of the patterns, in which * stands for anything, and the output.

    Without patterns all are kept. Raises Refused (layers) for a pattern that matches none.
    """
    names = [layer.name for layer in layers if layer.role == "hidden"]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise _none(pattern, names)
    return tuple(
        layer
        for layer in layers
        if not patterns or layer.role == "output" or any(fnmatchcase(layer.name, pattern) for pattern in patterns)
    )


def _none(pattern: str, names: Sequence[str]) -> Refused:
    near = get_close_matches(pattern[:80], names, n=3, cutoff=0.5) or names[:10]
    hint = f"correct layers in zoo.toml: it has {', '.join(near)}" if near else "leave layers out of zoo.toml"
    return Refused("layers", f"has no hidden layer {pattern[:80]!r}", hint=hint)
