"""Whether a network is another one with fewer units: removed and trained on, or begun from the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int

from .chance import agreement, combined, order_chance
from .overlap import described, layout
from .pairing import Axis, Side, hidden_axes, plain_layers
from .resemblance import Resemblance
from .units import centred, is_ordered

MOST_COMPARED = 8
_OUTPUTS = Axis(0, 1, "")
_CLEAR = -5.0

Units = Float32[np.ndarray, "units numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class _Order:
    """Units of a narrow layer beside those of a wide one: the one that each stands for, and how many fit.

    Either the nearest, of which so many are in order, or, if `first`, those of equal number, of which so many are
    the nearest among as many. `chance` is the logarithm of a bound on the probability of as much by chance.
    """

    name: str
    nearest: Int[np.ndarray, " units"]
    fitting: int
    first: bool
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
    relation = "shared-initialisation" if best.first else "pruned"
    similarity = float(np.mean([order.similarity for order in orders if order is best or order.chance < _CLEAR]))
    evidence = (
        f"{best.fitting} of {len(best.nearest)} units of {best.name[:60]} are nearest to those of the wider network"
    )
    how = "of equal number" if best.first else "in the same order"
    return Resemblance(relation, similarity, f"{evidence} {how}, mean cosine {best.similarity:.3f}")


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
    # Once with biases and what follows beside the weights: a pruned network has kept them, but one that was only
    # begun from the same random numbers has others.
    whole = described(wide, first, array, _OUTPUTS), described(narrow, second, other, _OUTPUTS)
    bare = layout(array, _OUTPUTS), layout(other, _OUTPUTS)
    if any(is_ordered(centred(units)) for units in bare):
        return None
    name = narrow.marks.names[second]
    orders = [_nearest(*tables, name) for tables in (bare, whole) if tables[0].shape[1] == tables[1].shape[1]]
    best = min(orders, key=lambda order: order.chance)
    return replace(best, chance=min(best.chance + float(np.log(2 * len(orders))), 0.0))


def _nearest(
    wide: Float32[np.ndarray, "wide numbers"], narrow: Float32[np.ndarray, "narrow numbers"], name: str
) -> _Order:
    scale = np.sqrt(np.square(wide).mean(axis=0)) + np.float32(1e-12)
    products = _directions(narrow / scale) @ _directions(wide / scale).T
    nearest = products.argmax(axis=1)
    rising, chance = order_chance(nearest)
    found = _Order(name, nearest, rising, False, float(np.clip(products.max(axis=1).mean(), 0, 1)), chance)
    first = agreement(wide[: len(narrow)], narrow)
    if first.chance > chance:
        return found
    similarity = float(np.clip(np.diagonal(products).mean(), 0, 1))
    return _Order(name, np.arange(len(narrow)), first.hits, True, similarity, first.chance)


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


def _directions(units: Units) -> Units:
    lengths = np.sqrt(np.square(units).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(units, lengths, out=np.zeros_like(units), where=lengths > 0))
