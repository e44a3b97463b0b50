"""The straight pieces of a network of dense layers: where it is which plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ...zoo.errors import BadInput
from ..formulas.plane import Plane
from .activation import BENDS, Bends, bends
from .cone import Cone
from .halfspace import Box, bounds

MOST_PIECES = 64
ALIKE = 1e-9
"""Planes that differ by less than this share of their largest value in the box are one."""

Rows = Float[np.ndarray, "rows inputs"]
Planes = Float[np.ndarray, "units numbers"]
"""A plane a row, its constant last."""
Pattern = Int[np.ndarray, " units"]
"""On which piece of its function each unit is, layer after layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A region without dents: where all of `sides` are at least 0. `rows` is how many of those given lie there."""

    sides: tuple[Plane, ...]
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One plane, and the cells in which the network is it."""

    plane: Plane
    cells: tuple[Cell, ...]

    @property
    def rows(self) -> int:
        """Count the rows that lie there."""
        return sum(cell.rows for cell in self.cells)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces of a network that rows reach, those with most rows first; sides hold in the box."""

    pieces: tuple[Piece, ...]
    box: Box

    def which(self, rows: Rows) -> Int[np.ndarray, " rows"]:
        """Tell in which piece each row lies; -1 where it is in none that was reached, or outside the box."""
        found = np.full(len(rows), -1)
        for number, piece in reversed(list(enumerate(self.pieces))):
            for cell in piece.cells:
                inside = self.box.holds(rows)
                for side in cell.sides:
                    inside &= side(rows) >= -ALIKE * np.abs(side.weights).sum()
                found[inside] = number
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Straight:
    """A cone whose functions are all made of straight pieces."""

    cone: Cone
    bends: tuple[Bends, ...]

    def patterns(self, rows: Rows) -> Int[np.ndarray, "rows units"]:
        """Tell on which piece of its function each unit is for each row."""
        found = []
        for layer, bend in zip(self.cone.layers, self.bends, strict=True):
            z = rows @ layer.weight.T + layer.bias
            piece = bend.piece(z)
            rows = np.take_along_axis(bend.slopes, piece.T, 1).T * z + np.take_along_axis(bend.values, piece.T, 1).T
            found.append(piece)
        return np.concatenate(found, axis=1)

    def planes(self, pattern: Pattern) -> tuple[Planes, Plane]:
        """Give, for a pattern, what each unit is before its function, and what the tip is after it."""
        weights, constants, before, at = np.eye(self.cone.inputs), np.zeros(self.cone.inputs), [], 0
        for layer, bend in zip(self.cone.layers, self.bends, strict=True):
            weights, constants = layer.weight @ weights, layer.weight @ constants + layer.bias
            before.append(np.column_stack([weights, constants]))
            piece = pattern[at : at + len(constants), None]
            slopes, values = (np.take_along_axis(part, piece, 1)[:, 0] for part in (bend.slopes, bend.values))
            weights, constants, at = slopes[:, None] * weights, slopes * constants + values, at + len(constants)
        return np.concatenate(before), Plane(weights[0], float(constants[0]))

    def place(self, unit: int) -> tuple[int, int]:
        """Find the layer and the place in it of a unit; units are counted through all layers."""
        ends = np.cumsum([len(bend.knots) for bend in self.bends])
        layer = int(np.searchsorted(ends, unit, side="right"))
        return layer, unit - int(ends[layer - 1] if layer else 0)

    def knots(self, unit: int) -> Float[np.ndarray, " knots"]:
        """Give where a unit's function bends."""
        layer, place = self.place(unit)
        return np.asarray(self.bends[layer].knots[place])

    def sides(self, pattern: Pattern) -> list[Plane]:
        """Give the planes that are at least 0 where this is the pattern."""
        found = []
        for unit, (row, piece) in enumerate(zip(self.planes(pattern)[0], pattern.tolist(), strict=True)):
            knots = self.knots(unit).tolist()
            found += [Plane(row[:-1], float(row[-1] - knot)) for knot in knots[:piece][-1:]]
            found += [Plane(-row[:-1], float(knot - row[-1])) for knot in knots[piece:][:1]]
        return found


def straight(part: Cone) -> Straight:
    """Take a cone for one of straight pieces. Raises BadInput where a function is none."""
    each = [bends(layer) for layer in part.layers]
    for layer, bend in zip(part.layers, each, strict=True):
        if bend is None:
            raise BadInput(
                f"layer {layer.name}: {layer.activation} is smooth: it has no straight pieces",
                hint=f"ask for --as expression; straight are {', '.join(sorted(BENDS))}",
            )
    return Straight(part, tuple(bend for bend in each if bend is not None))


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """The patterns that rows reach, how many rows have each, one of them, the tip's plane, and which are equal.

    Labels number different planes, those with most rows first.
    """

    patterns: Int[np.ndarray, "patterns units"]
    rows: Int[np.ndarray, " patterns"]
    example: Int[np.ndarray, " patterns"]
    tips: tuple[Plane, ...]
    label: Int[np.ndarray, " patterns"]


def reach(whole: Straight, rows: Rows, box: Box, *, most: int) -> Reached:
    """Find the patterns that rows reach. Raises BadInput for more than `most` different planes."""
    patterns, example, counts = np.unique(whole.patterns(rows), axis=0, return_index=True, return_counts=True)
    tips = tuple(whole.planes(pattern)[1] for pattern in patterns)
    label = _alike(tips, counts, box)
    check_count(int(label.max()) + 1, most, f"pieces where {len(rows):,} rows lie")
    return Reached(patterns, counts, example, tips, label)


def check_count(count: int, most: int, what: str) -> None:
    """Raise BadInput for more than most."""
    if count > most:
        raise BadInput(
            f"there are {count:,} {what}, more than {most:,}",
            hint=f"--most {count} (in Python most={count}) allows them; or ask for a unit of an earlier layer; "
            "equations are shorter: consilience distil",
        )


def pieces(part: Cone, rows: Rows, *, box: Box | None = None, most: int = MOST_PIECES) -> Pieces:
    """Find the pieces of the unit at a cone's tip that rows reach, exactly, and what bounds them.

    The box, in which the bounds are the whole truth, is that around the rows unless another one is given.
    Regions of equal planes are one piece, of several cells. Raises BadInput for smooth functions and for
    more than `most` pieces.
    """
    box = box or Box(rows.min(axis=0), rows.max(axis=0))
    whole = straight(part)
    reached = reach(whole, rows, box, most=most)
    cells = [
        Cell(bounds(whole.sides(pattern), rows[example], box), int(count))
        for pattern, example, count in zip(reached.patterns, reached.example, reached.rows, strict=True)
    ]
    return Pieces(tuple(_piece(reached, cells, number) for number in range(reached.label.max() + 1)), box)


def _piece(reached: Reached, cells: Sequence[Cell], number: int) -> Piece:
    mine = sorted(np.flatnonzero(reached.label == number).tolist(), key=lambda at: -cells[at].rows)
    return Piece(reached.tips[mine[0]], tuple(cells[at] for at in mine))


def _alike(planes: Sequence[Plane], rows: Int[np.ndarray, " patterns"], box: Box) -> Int[np.ndarray, " patterns"]:
    """Number different planes, those with most rows first."""
    middle, half = (box.low + box.high) / 2, (box.high - box.low) / 2
    spread = np.array([[*(plane.weights * half), plane.weights @ middle + plane.constant] for plane in planes])
    least = ALIKE * np.abs(spread).sum(axis=1).max()  # sums of sizes are the largest values in the box
    label = np.full(len(planes), -1)
    for at in np.argsort(-rows, kind="stable"):
        if label[at] < 0:
            same = np.abs(spread - spread[at]).sum(axis=1) <= least
            label[same & (label < 0)] = label.max() + 1
    order = np.argsort(-np.bincount(label, weights=rows), kind="stable")
    return np.asarray(np.argsort(order)[label])
