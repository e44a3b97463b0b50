"""Read a network as what it is where it is a multilayer perceptron: dense layers, one after another, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from .errors import Refused
from .follow import follow
from .graph import flat
from .network import Network, Scaling, precision
from .step import PASSED, RESHAPES, Followed, Step

ROWS = 64
"""So many random rows are run to see which steps there are."""
Each = float | Float[np.ndarray, " units"]
AFFINE: dict[str, Callable[[Any], tuple[Each, Each]]] = {
    "add": lambda constant: (1.0, constant),
    "radd": lambda constant: (1.0, constant),
    "sub": lambda constant: (1.0, -constant),
    "rsub": lambda constant: (-1.0, constant),
    "mul": lambda constant: (constant, 0.0),
    "rmul": lambda constant: (constant, 0.0),
    "div": lambda constant: (1.0 / constant, 0.0),
    "truediv": lambda constant: (1.0 / constant, 0.0),
    "neg": lambda _: (-1.0, 0.0),
}
"""What scales and shifts what it is called on by a constant: as a factor and a shift."""
ALIASES = {"prelu": "leaky_relu", "log_sigmoid": "logsigmoid", "absolute": "abs", "clip": "clamp"}
DEFAULTS = {"leaky_relu": [0.01], "elu": [1.0], "celu": [1.0], "hardtanh": [-1.0, 1.0], "softplus": [1.0, 20.0]}


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """activation(weight @ inputs + bias), in double precision; the numbers are the activation's own, for each unit."""

    name: str
    weight: Float[np.ndarray, "units inputs"]
    bias: Float[np.ndarray, " units"]
    activation: str
    numbers: Float[np.ndarray, "units numbers"]


def read_dense(network: Network) -> tuple[Dense, ...]:
    """Read the layers of a network that takes rows through dense layers and elementwise functions, in one line.

    Inputs and outputs are in physical units: known scaling, norms at rest and constant factors are part of
    weights and biases. The last has the name of the output layer, the others theirs in the network. Whether
    the functions are known is not asked here. Raises Refused (no-dense), naming the first step that does not fit.
    """
    if isinstance(network.module, Followed):
        raise _refused("runs as an ONNX graph, whose weights are not read")
    width, scaling = prod(network.input_shape), network.scaling or Scaling()
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, *network.input_shape, generator=draw).to(precision(network.module))
    reading = _Reading(rows, width)
    reading.stretch(1.0, -_spread(scaling.input_shift, 0.0, width))
    reading.stretch(1.0 / _spread(scaling.input_scale, 1.0, width), 0.0)
    if follow(network.module, rows, reading) is not reading.value:
        raise _refused("gives something else than its last step does")
    reading.stretch(_spread(scaling.output_scale, 1.0, reading.width), 0.0)
    reading.stretch(1.0, _spread(scaling.output_shift, 0.0, reading.width))
    reading.settle()
    return (*reading.layers[:-1], replace(reading.layers[-1], name=network.layers[-1].name))


def _spread(numbers: tuple[float, ...], default: float, width: int) -> np.ndarray:
    return np.full(width, numbers or default, dtype=np.float64)


def _refused(what: str) -> Refused:
    return Refused("no-dense", what, hint="exact forms are for networks of dense layers, one after another")


class _Reading:
    """What was read of a run so far: layers, then a factor and a shift of each unit that belong to none yet."""

    def __init__(self, rows: torch.Tensor, width: int) -> None:
        self.value, self.width, self.layers = rows, width, list[Dense]()
        self.factor, self.shift = np.ones(width), np.zeros(width)
        self._fed = [rows]

    def __call__(self, step: Step) -> None:
        """Take a step; one that weights alone go into is none."""
        if not any(self._is_fed(part) for part in flat(step.sources)):
            return
        if step.sources[0] is not self.value or any(self._is_fed(part) for part in flat(step.sources[1:])):
            raise _refused(f"computes {step.function} of more than what its last layer gives")
        if step.function == "linear":
            self._linear(step)
        elif step.function == "batch_norm" and step.result.ndim == 2:
            self._norm(*step.sources[1:5], epsilon=step.sources[7])
        elif step.function in AFFINE:
            self.stretch(*AFFINE[step.function](self._constant(step)))
        elif step.function not in PASSED | RESHAPES:
            self._activate(step)
        if step.result.shape[:1] != self.value.shape[:1] or step.result.numel() != len(step.result) * self.width:
            raise _refused(f"computes {step.function}, which does not keep units apart")
        self.value = step.result
        self._fed.append(step.result)

    def stretch(self, factor: Each, shift: Each) -> None:
        """Take what there is times a factor, plus a shift."""
        self.factor, self.shift = self.factor * factor, self.shift * factor + shift

    def settle(self, name: str = "scaled") -> None:
        """Let what belongs to no layer yet belong to the last, if no function stands after it, or to one of its own."""
        last = self.layers[-1] if self.layers else None
        if last is not None and last.activation == "identity":
            weight, bias = last.weight * self.factor[:, None], last.bias * self.factor + self.shift
            self.layers[-1] = replace(last, weight=weight, bias=bias)
        elif last is None or (self.factor != 1.0).any() or self.shift.any():
            self._append(name, np.diag(self.factor), self.shift)
        self.factor, self.shift = np.ones(self.width), np.zeros(self.width)

    def _linear(self, step: Step) -> None:
        if self.layers:
            self.settle()
        weight, bias = _as_linear(step, self.width)
        self._append(step.module, weight * self.factor, weight @ self.shift + bias)
        self.width = len(bias)
        self.factor, self.shift = np.ones(self.width), np.zeros(self.width)

    def _append(self, name: str, weight: np.ndarray, bias: np.ndarray) -> None:
        names = [layer.name.partition("#")[0] for layer in self.layers]
        name = f"{name}#{names.count(name) + 1}" if name in names else name
        self.layers.append(Dense(name, weight, bias, "identity", np.zeros((len(bias), 0))))

    def _norm(self, mean: Any, variance: Any, weight: Any, bias: Any, *, epsilon: float) -> None:
        if mean is None or variance is None:
            raise _refused("norms every batch by itself")
        scale = 1.0 / np.sqrt(_double(variance) + epsilon) * (1.0 if weight is None else _double(weight))
        self.stretch(scale, (0.0 if bias is None else _double(bias)) - _double(mean) * scale)

    def _constant(self, step: Step) -> Each:
        if len(step.sources) < 2:
            return 0.0
        given = step.sources[1]
        constant = _double(given).reshape(-1) if isinstance(given, torch.Tensor) else np.array([float(given)])
        if len(constant) not in (1, self.width):
            raise _refused(f"computes {step.function} with other numbers for each row")
        return constant

    def _activate(self, step: Step) -> None:
        self.settle(f"before {step.function}")
        if self.layers[-1].activation != "identity":
            self._append(f"before {step.function}", np.eye(self.width), np.zeros(self.width))
        name, numbers = _named(step)
        each = np.broadcast_to(numbers, (self.width, numbers.shape[-1]))
        self.layers[-1] = replace(self.layers[-1], activation=name, numbers=each)

    def _is_fed(self, value: Any) -> bool:
        return any(value is one for one in self._fed)


def _as_linear(step: Step, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Read weights as outputs × inputs: a product of matrices has them the other way round."""
    inputs, weight, bias = (*step.sources, None)[:3]
    found = _double(step.result).reshape(len(step.result), -1)
    numbers, units = _double(weight), step.result.shape[-1]
    if width not in numbers.shape:
        raise _refused(f"{step.module} takes {inputs.shape[-1]} of {width} units at a time")
    shift = np.zeros(units) if bias is None else np.broadcast_to(_double(bias).reshape(-1), (units,))
    given = _double(inputs).reshape(len(inputs), -1)
    ways = [way for way in (numbers, numbers.T) if way.shape == (units, width)]
    return min(ways, key=lambda way: float(np.abs(given @ way.T + shift - found).max())), shift


def _named(step: Step) -> tuple[str, Float[np.ndarray, "_units numbers"]]:
    """Name a function, and give the numbers that it was called with."""
    given = [float(one) for one in step.sources[1:] if isinstance(one, int | float) and not isinstance(one, bool)]
    name = ALIASES.get(step.function, step.function)
    if step.function == "prelu":
        return name, _double(step.sources[1]).reshape(-1, 1)
    if name == "relu6":
        return "hardtanh", np.array([[0.0, 6.0]])
    if name == "gelu" and "tanh" in step.sources[1:]:
        name = "gelu_tanh"
    if name == "clamp" and len(given) == 1:
        name = "clamp_min" if bool((step.result >= given[0]).all()) else "clamp_max"
    elif name == "clamp":
        name = "hardtanh"
    return name, np.array([given or DEFAULTS.get(name, [])])


def _double(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu().double().numpy())
