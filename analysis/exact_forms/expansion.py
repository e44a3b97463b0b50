"""Write units of networks of dense layers as they are: of the layer before them, or of the inputs, everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...zoo.dense import Dense
from ...zoo.errors import BadInput
from ..formulas.expression import Expression, Variable, complexity, walk
from ..formulas.parsing import DEPTH
from ..formulas.plane import weighted_sum
from .activation import UNWRITTEN, activate, bend, bends
from .cone import Cone

MOST_NODES = 500


@dataclass(frozen=True, slots=True)
class Unit:
    """What one unit computes of the layer before it: activation(inner), and that written out, if it can be."""

    layer: str
    unit: int
    activation: str
    inner: Expression
    expression: Expression | None


def unit_form(layer: Dense, unit: int, names: Sequence[str], *, most: int = MOST_NODES) -> Unit:
    """Write a unit in terms of what its layer takes, under these names.

    Raises BadInput for a weighted sum of more than `most` nodes and for a function that is not known.
    """
    terms, what = [_Term(1, 1, partial(Variable, name)) for name in names], f"unit {unit} of layer {layer.name}"
    inner = _checked(_sum(layer.weight[unit], float(layer.bias[unit]), terms), what, most)
    if layer.activation in UNWRITTEN:
        return Unit(layer.name, unit, layer.activation, inner.build(), None)
    whole = _applied(layer, unit, inner)
    return Unit(layer.name, unit, layer.activation, inner.build(), whole.build())


def expand(part: Cone, names: Sequence[str], *, most: int = MOST_NODES) -> Expression:
    """Write the unit at a cone's tip as one expression of the inputs that equals it everywhere.

    Functions of straight pieces are written as lines and bends, c + m z + sum of d |z - knot|, so that lines add
    up and every bend of every unit stands once for each unit above that sees it. Softplus is log(1 + exp(z)),
    infinite where exp is. Raises BadInput for more than `most` nodes, and for a function that is no formula of ours.
    """
    terms = [_Term(1, 1, partial(Variable, name)) for name in names]
    weights, constants = np.eye(part.inputs), np.zeros(part.inputs)
    for layer in part.layers:
        weights, constants = layer.weight @ weights, layer.weight @ constants + layer.bias
        weights, constants = _through(layer, weights, constants, terms)
    tip = f"unit {part.units[-1][0]} of layer {part.layers[-1].name}"
    return _checked(_sum(weights[0], float(constants[0]), terms), tip, most).build()


@dataclass(frozen=True, slots=True)
class _Term:
    """An expression that is built when it is known not to be too large, or nested too deep to be read back."""

    nodes: int
    depth: int
    build: Callable[[], Expression]


def _through(
    layer: Dense, weights: np.ndarray, constants: np.ndarray, terms: list[_Term]
) -> tuple[np.ndarray, np.ndarray]:
    """Take sums of terms through a layer's function: its lines stay sums, all else becomes new terms."""
    each = [_split(layer, unit, _sum(weights[unit], float(constants[unit]), terms)) for unit in range(len(constants))]
    slopes, new = np.array([slope for _, slope, _ in each]), [len(bent) for _, _, bent in each]
    sizes = np.zeros((len(each), sum(new)))
    sizes[np.repeat(np.arange(len(each)), new), np.arange(sum(new))] = [size for _, _, bent in each for size, _ in bent]
    terms.extend(term for _, _, bent in each for _, term in bent)
    shifts = np.array([shift for shift, _, _ in each])
    return np.hstack([slopes[:, None] * weights, sizes]), slopes * constants + shifts


def _split(layer: Dense, unit: int, z: _Term) -> tuple[float, float, list[tuple[float, _Term]]]:
    """Split a unit's function of z into a constant, a slope, and what is not straight, as weighted terms."""
    straight = bends(layer)
    if straight is None:
        return 0.0, 0.0, [(1.0, _applied(layer, unit, z))]
    constant, slope, sizes = straight.parts(unit)
    return constant, slope, [(size, _bend(z, knot)) for size, knot in sizes]


def _sum(weights: np.ndarray, constant: float, terms: Sequence[_Term]) -> _Term:
    used = [(float(weights[at]), terms[at]) for at in np.flatnonzero(weights).tolist()]
    each = sum(term.nodes + {1.0: 0, -1.0: 1}.get(weight, 2) for weight, term in used)
    nodes = each + max(len(used) - 1, 0) + (2 * bool(constant) if used else 1)
    depth = len(used) + 2 + max((term.depth for _, term in used), default=0)
    return _Term(nodes, depth, lambda: weighted_sum([(weight, term.build()) for weight, term in used], constant))


def _bend(z: _Term, knot: float) -> _Term:
    return _Term(z.nodes + 1 + 2 * bool(knot), z.depth + 2, lambda: bend(z.build(), knot))


def _applied(layer: Dense, unit: int, z: _Term) -> _Term:
    shape = activate(layer, unit, Variable("z"))
    seen = sum(node == Variable("z") for node in walk(shape))
    nodes = complexity(shape)
    return _Term(nodes + seen * (z.nodes - 1), z.depth + nodes, lambda: activate(layer, unit, z.build()))


def _checked(term: _Term, what: str, most: int) -> _Term:
    hint = "ask for a unit of an earlier layer, or for pieces"
    if term.nodes > most:
        hint += f"; --most {term.nodes} (in Python most={term.nodes}) allows so many"
        raise BadInput(f"{what} is an expression of {term.nodes:,} nodes, more than {most:,}", hint=hint)
    if term.depth > DEPTH:
        raise BadInput(f"{what} is an expression nested {term.depth:,} deep, more than {DEPTH}", hint=hint)
    return term
