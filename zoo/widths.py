"""Whether a network is another one with fewer units: removed and trained on, or begun from the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from .chance import combined, order_chance
from .overlap import described
from .pairing import Axis, Side, hidden_axes, plain_layers
from .resemblance import Resemblance
from .units import centred, is_ordered

MOST_COMPARED = 8
_OUTPUTS = Axis(0, 1, "")


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """Units of a narrow layer beside those of a wide one: the nearest of each, and how far these are in order.

    `chance` is the logarithm of a bound on the probability of so long an order by chance.
    """

    name: str
    nearest: Int[np.ndarray, " units"]
    rising: int
    similarity: float
    chance: float


def narrowed(left: Side, right: Side, *, chance: float) -> Resemblance | None:
    """Compare layers that take in the same with different numbers of units: do like units come in the same order?

    In plain networks, each further layer is compared by the inputs that the two share. `chance` is the logarithm
    of a probability: an order that is likelier by chance is none. Looks at MOST_COMPARED layers at most.
    """
    wide, narrow = sorted((left, right), key=_units, reverse=True)
    chains = plain_layers(wide.marks), plain_layers(narrow.marks)
    if len(chains[0]) == len(chains[1]) > 1:
        orders = _along(wide, narrow, chains)
        return _judged(orders, combined([order.chance for order in orders]), chance)
    for _, (first, second) in zip(range(MOST_COMPARED), _layers(wide, narrow), strict=False):
        order = _order(wide, first, wide.tensor(first), narrow, second)
        if order is not None and (found := _judged([order], order.chance + np.log(MOST_COMPARED), chance)):
            return found
    return None


def _judged(orders: Sequence[_Order], found: float, chance: float) -> Resemblance | None:
    if not orders or found > chance:
        return None
    best = min(orders, key=lambda order: order.chance)
    first = int((best.nearest == np.arange(len(best.nearest))).sum())
    relation = "shared-initialisation" if 2 * first >= best.rising else "pruned"
    similarity = float(np.mean([order.similarity for order in orders]))
    which = f"{best.rising} of {len(best.nearest)} units of {best.name[:60]} resemble units of the wider network"
    return Resemblance(relation, similarity, f"{which} in the same order, mean cosine {best.similarity:.3f}")


def _along(wide: Side, narrow: Side, chains: tuple[Sequence[int], Sequence[int]]) -> list[_Order]:
    orders: list[_Order] = []
    for first, second in list(zip(*chains, strict=True))[: min(len(chains[0]) - 1, MOST_COMPARED)]:
        array = wide.tensor(first)
        if orders and array.shape[1] > orders[-1].nearest.max():
            array = array[:, orders[-1].nearest]
        order = _order(wide, first, array, narrow, second)
        if order is None:
            break
        orders.append(order)
    return orders


def _order(wide: Side, first: int, array: np.ndarray, narrow: Side, second: int) -> _Order | None:
    """Look for each unit of the narrow layer among those of the wide one; None where they cannot be compared."""
    other = narrow.tensor(second)
    if array.shape[1:] != other.shape[1:] or len(array) < len(other):
        return None
    tables = described(wide, first, array, _OUTPUTS), described(narrow, second, other, _OUTPUTS)
    if tables[0].shape[1] != tables[1].shape[1] or any(is_ordered(centred(units)) for units in tables):
        return None
    scale = np.sqrt(np.square(tables[0]).mean(axis=0)) + 1e-12
    products = _directions(tables[1] / scale) @ _directions(tables[0] / scale).T
    nearest = products.argmax(axis=1)
    rising, chance = order_chance(nearest)
    similarity = float(np.clip(products.max(axis=1).mean(), 0, 1))
    return _Order(narrow.marks.names[second], nearest, rising, similarity, chance)


def _units(side: Side) -> int:
    return sum(side.marks.shapes[number][0] for number in np.flatnonzero(side.marks.telling).tolist())


def _layers(wide: Side, narrow: Side) -> Iterator[tuple[int, int]]:
    """Pair the first layers that take in the same and have different numbers of hidden units."""
    theirs: dict[tuple[int, ...], int] = {}
    for number in _hidden(narrow):
        theirs.setdefault(narrow.marks.shapes[number][1:], number)
    for number in _hidden(wide):
        shape = wide.marks.shapes[number]
        other = theirs.pop(shape[1:], None)
        if other is not None and narrow.marks.shapes[other][0] < shape[0]:
            yield number, other


def _hidden(side: Side) -> Iterator[int]:
    for number in np.flatnonzero(side.marks.telling).tolist():
        if any((axis.axis, axis.fold) == (0, 1) for axis in hidden_axes(side.marks, number)):
            yield number


def _directions(units: Float32[np.ndarray, "units numbers"]) -> Float32[np.ndarray, "units numbers"]:
    lengths = np.sqrt(np.square(units).sum(axis=1, keepdims=True))
    return np.divide(units, lengths, out=np.zeros_like(units), where=lengths > 0)
