"""Elementwise functions of networks as formulas, and those made of straight pieces as their pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from ...zoo.dense import Dense
from ...zoo.errors import BadInput
from ..formulas.expression import Apply, Constant, Expression, evaluate, substitute
from ..formulas.parsing import parse
from ..formulas.plane import weighted_sum


@dataclass(frozen=True, slots=True, eq=False)
class Bends:
    """Continuous functions of straight pieces, one a unit: where they bend, each piece's slope and value at 0."""

    knots: Float[np.ndarray, "units knots"]
    slopes: Float[np.ndarray, "units pieces"]
    values: Float[np.ndarray, "units pieces"]

    def piece(self, z: Float[np.ndarray, "rows units"]) -> Int[np.ndarray, "rows units"]:
        """Tell on which piece each unit is: how many of its knots are not above its value."""
        return np.asarray((z[:, :, None] >= self.knots).sum(axis=2))

    def parts(self, unit: int) -> tuple[float, float, tuple[tuple[float, float], ...]]:
        """Give c, m and (d, knot) for each bend, so that the unit's function is c + m z + sum of d |z - knot|."""
        knots, slopes = self.knots[unit], self.slopes[unit]
        sizes = np.diff(slopes) / 2
        bends = tuple((float(d), float(knot)) for d, knot in zip(sizes, knots, strict=True) if d)
        return float(self.values[unit, 0] - sizes @ knots), float(slopes[0] + slopes[-1]) / 2, bends


Pieces = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Knots, slopes, values at 0."""

BENDS: dict[str, Callable[..., Pieces]] = {
    "identity": lambda: ((), (1.0,), (0.0,)),
    "relu": lambda: ((0.0,), (0.0, 1.0), (0.0, 0.0)),
    "leaky_relu": lambda slope: ((0.0,), (slope, 1.0), (0.0, 0.0)),
    "abs": lambda: ((0.0,), (-1.0, 1.0), (0.0, 0.0)),
    "hardtanh": lambda low, high: ((low, high), (0.0, 1.0, 0.0), (low, 0.0, high)),
    "hardsigmoid": lambda: ((-3.0, 3.0), (0.0, 1 / 6, 0.0), (0.0, 0.5, 1.0)),
    "clamp_min": lambda low: ((low,), (0.0, 1.0), (low, 0.0)),
    "clamp_max": lambda high: ((high,), (1.0, 0.0), (0.0, high)),
}
"""Functions of straight pieces, made of the numbers that they are called with."""

SELU = "1.0507009873554804934193349852946"
FORMULAS: dict[str, str] = {
    "identity": "z",
    "relu": "(z + abs(z))/2",
    "abs": "abs(z)",
    "tanh": "tanh(z)",
    "sigmoid": "1/(1 + exp(-z))",
    "logsigmoid": "-log(1 + exp(-z))",
    "silu": "z/(1 + exp(-z))",
    "softplus": "log(1 + exp(p*z))/p",
    "mish": "z*tanh(log(1 + exp(z)))",
    "gelu_tanh": "z/2*(1 + tanh(0.7978845608028654*(z + 0.044715*z**3)))",
    "elu": "(z + abs(z))/2 + p*(exp((z - abs(z))/2) - 1)",
    "celu": "(z + abs(z))/2 + p*(exp((z - abs(z))/2/p) - 1)",
    "selu": f"{SELU}*((z + abs(z))/2 + 1.6732632423543772848170429916717*(exp((z - abs(z))/2) - 1))",
    "softsign": "z/(1 + abs(z))",
    "tanhshrink": "z - tanh(z)",
    "hardswish": "z*(1/2 + (abs(z + 3) - abs(z - 3))/12)",
    "sin": "sin(z)",
    "cos": "cos(z)",
    "exp": "exp(z)",
    "square": "z**2",
}
"""Functions as formulas of z, where p is the first number that they are called with."""


UNWRITTEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {"gelu": lambda z: np.asarray(z * ndtr(z))}
"""Functions that can be computed, but not written in ours."""


def bends(layer: Dense) -> Bends | None:
    """Give the pieces of a layer's function for each of its units; None where it is not made of straight ones."""
    if layer.activation not in BENDS:
        return None
    each = [BENDS[layer.activation](*numbers) for numbers in layer.numbers.tolist()]
    return Bends(*(np.array(part, dtype=np.float64).reshape(len(each), -1) for part in zip(*each, strict=True)))


def activate(layer: Dense, unit: int, z: Expression) -> Expression:
    """Write what a unit makes of z. Raises BadInput for a function that is no formula of ours."""
    text = FORMULAS.get(layer.activation)
    if text is not None:
        numbers = layer.numbers[unit].tolist() or [0.0]
        return substitute(parse(text), {"z": z, "p": Constant(numbers[0])})
    straight = bends(layer)
    if straight is None:
        known = ", ".join(sorted(FORMULAS | BENDS))
        why = " (it needs the error function)" if layer.activation == "gelu" else ""
        what = f"layer {layer.name}: no equation can be written with {layer.activation}{why}"
        raise BadInput(what, hint=f"exact forms know {known}; consilience distil finds a formula that comes near")
    constant, slope, sizes = straight.parts(unit)
    return weighted_sum([(slope, z), *((size, bend(z, knot)) for size, knot in sizes)], constant)


def bend(z: Expression, knot: float) -> Expression:
    """Write |z - knot|."""
    return Apply("abs", (z - knot if knot else z,))


def run_dense(layers: Sequence[Dense], rows: Float[np.ndarray, "rows inputs"]) -> Float[np.ndarray, "rows outputs"]:
    """Compute in double precision what layers give. Raises BadInput for a function that is not known."""
    for layer in layers:
        z = rows @ layer.weight.T + layer.bias
        rows = np.stack([_compute(layer, unit, z[:, unit]) for unit in range(z.shape[1])], axis=1)
    return rows


def _compute(layer: Dense, unit: int, z: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    if layer.activation in UNWRITTEN:
        return UNWRITTEN[layer.activation](z)
    return evaluate(activate(layer, unit, parse("z")), {"z": z})
