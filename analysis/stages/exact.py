"""Exact forms: what a unit of a small network of dense layers is, digit for digit, rather than what it is close to."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ...zoo.dense import Dense, read_dense
from ...zoo.errors import BadInput, NotFound, Refused
from ...zoo.network import Network, precision, predict
from ..exact_forms.activation import run_dense
from ..exact_forms.cone import Cone, cone
from ..exact_forms.expansion import MOST_NODES, Unit, expand, unit_form
from ..exact_forms.halfspace import Box, condition
from ..exact_forms.piece_tree import Branch, Leaf, leaves, piece_tree, tree_python, tree_text
from ..exact_forms.pieces import MOST_PIECES, Pieces, pieces
from ..formulas.expression import Expression, complexity
from ..formulas.printing import to_text
from ..project.study import Study, open_study
from .sources import sources
from .stage_ingest import gather

CHECKED = 256
"""So many samples of the probe show that a network was read right."""
AGREES = {torch.float64: 1e-9}
"""How far, as a share of the largest output, what was read may be from the network; 1e-4 in other precisions."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """A unit as it is: in the form asked for, written in `names`.

    As `unit` it is a `Unit`, as `expression` an expression, as `pieces` a `Pieces`, as `tree` a `Branch` or `Leaf`.
    """

    network: str
    layer: str
    unit: int
    form: str
    names: tuple[str, ...]
    found: Unit | Expression | Pieces | Branch | Leaf


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One unit of a network that was read as layers, what stands before them, and the samples of the probe."""

    layers: tuple[Dense, ...]
    place: int
    unit: int
    names: tuple[str, ...]
    rows: Float[np.ndarray, "rows inputs"]
    box: Box
    most: int | None

    @property
    def cone(self) -> Cone:
        """What the unit depends on."""
        return cone(self.layers, self.place, self.unit)


def exact(study: Study | str | Path, network: str, *, unit: str = "", form: str = "", most: int | None = None) -> Exact:
    """Write a unit of a network, or its output, as what it is.

    The unit is LAYER:UNIT or the name of an output; it may be left out where there is one output. Forms are those
    of FORMS: `unit` (of the units of the layer before; what is taken for a unit that is named), `pieces` (the planes
    that it is on the probe, and where; for outputs), `tree` (the same as tests one after another) and `expression`
    (one for everywhere). `most` is how many pieces, leaves or nodes there may be.

    Raises NotFound for a network or unit that is not there, and BadInput for one that is no multilayer perceptron,
    functions that have no such form, and more than `most`.
    """
    chosen = form or ("unit" if unit else "pieces")
    if chosen not in FORMS:
        raise BadInput(f"{chosen[:40]!r} is no exact form", hint=f"choose one of {', '.join(FORMS)}")
    asked = _ask(study if isinstance(study, Study) else open_study(study), network, unit, most)
    with _naming(network):
        names, found = FORMS[chosen](asked)
    return Exact(network, asked.layers[asked.place].name, asked.unit, chosen, names, found)


@contextmanager
def _naming(network: str) -> Iterator[None]:
    """Say which network it is that something cannot be done with."""
    try:
        yield
    except (BadInput, Refused) as error:
        raise BadInput(f"{network}: {error.what}", hint=error.hint) from None


Form = tuple[tuple[str, ...], Unit | Expression | Pieces | Branch | Leaf]


def _as_unit(asked: Asked) -> Form:
    before = asked.layers[asked.place - 1] if asked.place else None
    names = asked.names if before is None else tuple(f"h{asked.place}_{unit}" for unit in range(len(before.bias)))
    return names, unit_form(asked.layers[asked.place], asked.unit, names, most=asked.most or MOST_NODES)


def _as_expression(asked: Asked) -> Form:
    return asked.names, expand(asked.cone, asked.names, most=asked.most or MOST_NODES)


def _as_pieces(asked: Asked) -> Form:
    return asked.names, pieces(asked.cone, asked.rows, box=asked.box, most=asked.most or MOST_PIECES)


def _as_tree(asked: Asked) -> Form:
    return asked.names, piece_tree(asked.cone, asked.rows, box=asked.box, most=asked.most or MOST_PIECES)


FORMS: dict[str, Callable[[Asked], Form]] = {
    "unit": _as_unit,
    "pieces": _as_pieces,
    "tree": _as_tree,
    "expression": _as_expression,
}


def facts(told: Exact, *, digits: int | None = None) -> list[dict[str, Any]]:
    """Give what is exact as rows of plain values; with `digits` numbers are rounded to so many.

    Conditions are a list for each cell of a piece, of which all must hold.
    """
    head = {"network": told.network, "layer": told.layer, "unit": told.unit}
    match told.found:
        case Unit(activation=activation, inner=inner, expression=expression):
            whole = None if expression is None else to_text(expression, digits=digits)
            return [head | {"activation": activation, "inner": to_text(inner, digits=digits), "expression": whole}]
        case Pieces() as found:
            return [head | row for row in _piece_facts(found, told.names, digits)]
        case Branch() | Leaf() as tree:
            code = tree_python(tree, told.names, name=f"{told.network}_{told.layer}_{told.unit}")
            text = "\n".join(tree_text(tree, told.names, digits=digits))
            return [head | {"leaves": sum(1 for _ in leaves(tree)), "tree": text, "python": code}]
        case expression:
            return [head | {"nodes": complexity(expression), "expression": to_text(expression, digits=digits)}]


def _piece_facts(found: Pieces, names: Sequence[str], digits: int | None) -> list[dict[str, Any]]:
    total = sum(piece.rows for piece in found.pieces)
    return [
        {
            "piece": number,
            "share": piece.rows / total,
            "expression": to_text(piece.plane.expression(names), digits=digits),
            "where": [[condition(side, names, digits=digits) for side in cell.sides] for cell in piece.cells],
        }
        for number, piece in enumerate(found.pieces, 1)
    ]


def _ask(study: Study, name: str, unit: str, most: int | None) -> Asked:
    probe = study.probe
    if probe.image:
        what = f"{study.path}: shows photos, whose points have no names"
        raise BadInput(what, hint="exact forms need a probe of named variables")
    network, rows = _network(study, name), probe.inputs.astype(np.float64)
    with _naming(name):
        layers = read_dense(network)
    _check(network, layers, rows[:CHECKED])
    place, number = _unit(network, layers, unit)
    ends = (
        [(v.low, v.high) for v in probe.variables]
        if probe.box
        else zip(rows.min(axis=0), rows.max(axis=0), strict=True)
    )
    box = Box(*np.array([*ends], dtype=np.float64).T)
    return Asked(layers, place, number, tuple(v.name for v in probe.variables), rows, box, most)


def _network(study: Study, name: str) -> Network:
    """Build one network of the zoo. Raises NotFound, and BadInput for one that is refused or not run."""
    known = {source.name: source for source in sources(study)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or list(known)[:5]
        raise NotFound(f"{study.path}: names no network {name!r}", hint=f"there are {', '.join(near)}")
    (item,), _ = gather(study, [known[name]])
    if item.refusal is not None:
        raise BadInput(f"{name}: {item.refusal.what}", hint=item.refusal.hint)
    if item.network is None:
        raise BadInput(f"{name}: is catalogued as weights and not run", hint="name an architecture in zoo.toml")
    return item.network


def _check(network: Network, layers: Sequence[Dense], rows: Float[np.ndarray, "rows inputs"]) -> None:
    """Hold what was read against the network: a function called in a way that is not known would be misread."""
    expected = predict(network, rows)
    with _naming(network.name):
        apart = float(np.abs(run_dense(layers, rows) - expected).max())
    if not apart <= AGREES.get(precision(network.module), 1e-4) * max(float(np.abs(expected).max()), 1e-300):
        what = (
            f"{network.name}: its layers, read one by one, give something else than it predicts, by up to {apart:.2g}"
        )
        raise BadInput(what, hint="this may be a bug of ours: report how the network is made")


def _unit(network: Network, layers: Sequence[Dense], unit: str) -> tuple[int, int]:
    """Find a unit by LAYER:UNIT or an output's name, or the only output."""
    outputs, names = len(layers[-1].bias), [layer.name for layer in layers]
    if not unit and outputs == 1:
        return len(layers) - 1, 0
    if unit in network.outputs:
        return len(layers) - 1, network.outputs.index(unit)
    layer, _, number = unit.rpartition(":")
    if not unit or layer not in names or not number.isdecimal():
        hint = f"name one as LAYER:UNIT, such as {names[-1]}:0; its layers are {', '.join(names)}"
        if not unit:
            raise BadInput(f"{network.name}: has {outputs} outputs", hint=hint)
        raise NotFound(f"{network.name}: has no unit {unit[:80]!r}", hint=hint)
    place = names.index(layer)
    if int(number) >= len(layers[place].bias):
        what = f"{network.name}: layer {layer} has no unit {number}"
        raise NotFound(what, hint=f"its units are 0 to {len(layers[place].bias) - 1}")
    return place, int(number)
