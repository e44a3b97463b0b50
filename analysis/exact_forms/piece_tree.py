"""The straight pieces of a network of dense layers as a decision tree over the signs of its units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..formulas.plane import Plane
from ..formulas.printing import python_body, python_name, python_names, to_text
from .cone import Cone
from .halfspace import Box, condition
from .pieces import MOST_PIECES, Reached, Rows, Straight, check_count, reach, straight


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A plane, and how many of the rows come there."""

    plane: Plane
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A test of one unit before its function, written in the inputs: whether `test` is at least 0."""

    layer: str
    unit: int
    test: Plane
    yes: Tree
    no: Tree


Tree = Leaf | Branch


def piece_tree(part: Cone, rows: Rows, *, box: Box | None = None, most: int = MOST_PIECES) -> Tree:
    """Grow a tree of tests that leads every row to the plane that the unit at a cone's tip is there, exactly.

    Units are tested layer by layer, since what a test reads in the inputs depends on those before it; of a
    layer first those that tell planes apart best. What all rows of a branch agree on is not tested.
    Raises BadInput for smooth functions, and for more than `most` pieces or leaves.
    """
    whole = straight(part)
    reached = reach(whole, rows, box or Box(rows.min(axis=0), rows.max(axis=0)), most=most)
    tree = _grow(whole, reached, np.arange(len(reached.patterns)))
    check_count(sum(1 for _ in leaves(tree)), most, "leaves")
    return tree


def leaves(tree: Tree) -> Iterator[Leaf]:
    """Visit the leaves from top to bottom."""
    if isinstance(tree, Leaf):
        yield tree
    else:
        yield from leaves(tree.yes)
        yield from leaves(tree.no)


def ask(tree: Tree, rows: Rows) -> Float[np.ndarray, " rows"]:
    """Compute what the tree says for every row."""
    if isinstance(tree, Leaf):
        return tree.plane(rows)
    yes = tree.test(rows) >= 0
    found = np.empty(len(rows))
    found[yes], found[~yes] = ask(tree.yes, rows[yes]), ask(tree.no, rows[~yes])
    return found


def tree_text(tree: Tree, names: Sequence[str], *, digits: int | None = None) -> list[str]:
    """Write a tree as lines, each test with the unit that it is, each plane with its rows."""
    if isinstance(tree, Leaf):
        return [f"{to_text(tree.plane.expression(names), digits=digits)}  [{tree.rows:,} rows]"]
    return [
        f"where {condition(tree.test, names, digits=digits)}  [unit {tree.unit} of layer {tree.layer}]",
        *(f"    {line}" for line in tree_text(tree.yes, names, digits=digits)),
        "otherwise",
        *(f"    {line}" for line in tree_text(tree.no, names, digits=digits)),
    ]


def tree_python(tree: Tree, names: Sequence[str], *, name: str) -> str:
    """Write a tree as the source of a Python function of numbers."""
    parameters = python_names(names)
    lines = "\n".join(f"    {line}" for line in _python(tree, names, parameters))
    return f"def {python_name(name)}({', '.join(parameters.values())}):\n{lines}\n"


def _python(tree: Tree, names: Sequence[str], parameters: dict[str, str]) -> list[str]:
    if isinstance(tree, Leaf):
        return [f"return {python_body(tree.plane.expression(names), parameters)}"]
    return [
        f"if {python_body(tree.test.expression(names), parameters)} >= 0:",
        *(f"    {line}" for line in _python(tree.yes, names, parameters)),
        *_python(tree.no, names, parameters),
    ]


def _grow(whole: Straight, reached: Reached, members: Int[np.ndarray, " members"]) -> Tree:
    if len(np.unique(reached.label[members])) == 1:
        first = members[reached.rows[members].argmax()]
        return Leaf(reached.tips[first], int(reached.rows[members].sum()))
    column, piece = _best(whole, reached, members)
    layer, place = whole.place(column)
    row, knot = whole.planes(reached.patterns[members[0]])[0][column], whole.knots(column)[piece - 1]
    yes = reached.patterns[members, column] >= piece
    return Branch(
        whole.cone.layers[layer].name,
        whole.cone.units[layer][place],
        Plane(row[:-1], float(row[-1] - knot)),
        _grow(whole, reached, members[yes]),
        _grow(whole, reached, members[~yes]),
    )


def _best(whole: Straight, reached: Reached, members: Int[np.ndarray, " members"]) -> tuple[int, int]:
    """Choose a unit of the first layer that still differs, and a piece, that leave least doubt about the plane."""
    patterns = reached.patterns[members]
    differs = np.flatnonzero((patterns != patterns[0]).any(axis=0))
    depth = whole.place(int(differs[0]))[0]
    tests = [
        (column, piece)
        for column in differs.tolist()
        if whole.place(column)[0] == depth
        for piece in np.unique(patterns[:, column])[1:].tolist()
    ]
    return min(tests, key=lambda test: _doubt(reached, members, patterns[:, test[0]] >= test[1]))


def _doubt(reached: Reached, members: Int[np.ndarray, " members"], yes: Bool[np.ndarray, " members"]) -> float:
    """Measure the entropy that is left about planes, in rows times nats."""
    total = 0.0
    for side in (members[yes], members[~yes]):
        counts = np.bincount(reached.label[side], weights=reached.rows[side])
        counts = counts[counts > 0]
        total -= float((counts * np.log(counts / counts.sum())).sum())
    return total
