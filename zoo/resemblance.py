"""Whether two networks of one shape share weights, and how: what their tensors show number by number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt32

from .chance import Agreement, combined, pooled
from .marks import distinct, is_fixed, is_table, is_varied, magnitudes, rare
from .overlap import Overlap, agreement_of, overlap
from .pairing import Axis, Side, pairs
from .units import FEWEST

MOST_COMPARED = 32
TUNED = 0.8
"""Mean cosine from which weights are called fine-tuned rather than trained apart from one initialisation."""
PRUNED = 0.15
"""By this much must the share of zeros differ for networks to be called pruned where other weights moved, too."""
SHARED, APART = 0.3, 0.1
"""Cosines from which one layer is called shared, and up to which another is called not shared."""
LARGE = 0.2
"""Share of a network from which one tensor that is equal in another one shows kinship."""
_HEAD = 1 << 18
_FEW, _MANY = 4, 8


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A relation between two networks, how similar they are in it (0 to 1), and what shows it."""

    relation: str
    similarity: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Tensors:
    """Two tensors that stand for each other: the name on the left, what they have in common."""

    name: str
    overlap: Overlap
    same: bool
    table: bool
    agreement: tuple[Axis, Agreement] | None


def resemblance(left: Side, right: Side, *, chance: float) -> Resemblance | None:
    """Compare the weights of two networks; None where nothing shows that they are related.

    `chance` is the logarithm of a probability: agreement that is likelier by chance is none. Reads at most
    MOST_COMPARED tensors of each network, one of each at a time, and the head of the weights.
    """
    compared = _compare(left, right)
    rules: tuple[Callable[[], Resemblance | None], ...] = (
        lambda: _rounded(compared),
        lambda: _pruned(compared),
        lambda: _with_equal_tensors(left, right, compared),
        lambda: _agreeing(compared, chance),
        lambda: _with_equal_values(left, right),
    )
    return next((found for rule in rules if (found := rule()) is not None), None)


def _compare(left: Side, right: Side) -> list[Tensors]:
    found = pairs(left.marks, right.marks)
    places = np.unique(np.linspace(0, max(len(found) - 1, 0), MOST_COMPARED).astype(int))
    compared = []
    for pair in [found[place] for place in places] if len(found) > MOST_COMPARED else found:
        first, second = left.tensor(pair.left), right.tensor(pair.right)
        same = bool((left.marks.digests[pair.left] == right.marks.digests[pair.right]).all())
        agreement = None if same else agreement_of(left, right, pair, first, second)
        compared.append(
            Tensors(left.marks.names[pair.left], overlap(first, second), same, is_table(first.shape), agreement)
        )
    return compared


def _rounded(compared: Sequence[Tensors]) -> Resemblance | None:
    if sum(item.overlap.size for item in compared) < _MANY or all(item.same for item in compared):
        return None
    if not all(item.same or item.overlap.rounded for item in compared):
        return None
    return Resemblance("copy", 1.0, f"{_weights(len(compared))} equal after rounding to 16 bits")


def _pruned(compared: Sequence[Tensors]) -> Resemblance | None:
    shared, equal = (sum(getattr(item.overlap, name) for item in compared) for name in ("shared", "equal"))
    left, right = _zeros(compared)
    if equal < _FEW or equal < 0.9 * shared or left == right:
        return None
    evidence = f"{max(left, right):.0%} of the weights are zero in one ({min(left, right):.0%} in the other)"
    return Resemblance("pruned", _cosine(compared), f"{evidence}, {equal / shared:.0%} of the rest are equal")


def _with_equal_tensors(left: Side, right: Side, compared: Sequence[Tensors]) -> Resemblance | None:
    """Judge by tensors that are equal: several, or one that is much of the network; one may be a fixed table."""
    same = [item for item in compared if item.same]
    sizes = [item.overlap.size for item in same if item.table]
    whole = sum(item.overlap.size for item in compared)
    if not sizes or (len(sizes) < 2 and sizes[0] < LARGE * whole and not _has_equal_vector(left, right)):
        return None
    others = [item for item in compared if not item.same]
    evidence = f"{len(same)} of {_weights(len(compared))} equal, first {_short(same[0].name)}"
    if not others:
        return Resemblance("shared-layers", 1.0, evidence)
    evidence += f"; cosine {_cosine(others):.3f} over the others"
    relation = "fine-tuned" if _cosine(others) >= TUNED else "shared-layers"
    return Resemblance(relation, _cosine(compared), evidence)


def _has_equal_vector(left: Side, right: Side) -> bool:
    """Look for a bias or the like that is equal in both under one name, and that training has changed."""
    digests = dict(zip(right.marks.names, map(tuple, right.marks.digests.tolist()), strict=True))
    for number, name in enumerate(left.marks.names):
        shape = left.marks.shapes[number]
        if len(shape) == 1 and shape[0] >= FEWEST and not is_fixed(name):
            equal = tuple(left.marks.digests[number].tolist()) == digests.get(name)
            if equal and is_varied(magnitudes(left.tensor(number))):
                return True
    return False


def _agreeing(compared: Sequence[Tensors], chance: float) -> Resemblance | None:
    """Judge by units that agree under equal numbers more than chance allows (see chance)."""
    shown = {item.name: item.agreement for item in compared if item.agreement is not None}
    if _chance(list(shown.values())) > chance:
        return None
    name, (_, agreement) = min(shown.items(), key=lambda item: item[1][1].chance)
    relation, evidence = _relation(compared)
    units = f"{agreement.hits} of {agreement.units} units of {_short(name)}"
    cosine = max(_cosine(compared), 0.0)
    return Resemblance(relation, cosine, f"{evidence}; {units} are nearest to the one of equal number (by chance, 1)")


def _chance(shown: Sequence[tuple[Axis, Agreement]]) -> float:
    """Bound the chance of all that agrees; tensors whose units may be the same ones count once, by the best."""
    groups: dict[str, list[Agreement]] = {}
    for axis, agreement in shown:
        groups.setdefault(axis.group, []).append(agreement)
    tried = [float(np.log(len(group))) for group in groups.values()]
    best = [min(agreement.chance for agreement in group) for group in groups.values()]
    hits = [max(agreement.hits for agreement in group) for group in groups.values()]
    single = combined([min(value + more, 0.0) for value, more in zip(best, tried, strict=True)])
    return min(single, pooled(hits) + sum(tried)) + float(np.log(2))


def _relation(compared: Sequence[Tensors]) -> tuple[str, str]:
    """Name the relation of networks that agree by number, and word how alike their tensors are."""
    cosine, cosines = _cosine(compared), {item.name: item.overlap.cosine for item in compared}
    evidence, zeros = f"cosine {cosine:.3f} over {_weights(len(compared))}", _zeros(compared)
    if abs(zeros[0] - zeros[1]) >= PRUNED:
        return "pruned", f"{max(zeros):.0%} of the weights are zero in one; {evidence}"
    if cosine >= TUNED:
        return "fine-tuned", evidence
    most, least = max(cosines, key=cosines.__getitem__), min(cosines, key=cosines.__getitem__)
    if cosines[most] < SHARED or cosines[least] > APART:
        return "shared-initialisation", evidence
    return "shared-layers", f"{_short(most)} cosine {cosines[most]:.2f}, {_short(least)} {cosines[least]:.2f}"


def _with_equal_values(left: Side, right: Side) -> Resemblance | None:
    """Judge by numbers of full precision that stand in both, wherever: units removed, layers moved or turned."""
    first, second = _values(left), _values(right)
    equal, fewer, more = len(np.intersect1d(first, second, assume_unique=True)), *sorted((len(first), len(second)))
    share = equal / max(fewer, 1)
    if not (equal >= _FEW and share >= 0.95) and not (equal >= _MANY and share >= 0.3):
        return None
    evidence = f"{equal:,} of {fewer:,} weights stand in both, equal to the last bit"
    if share < 0.9:
        return Resemblance("shared-layers", share, evidence)
    return Resemblance("pruned" if fewer < 0.98 * more else "renamed", share, evidence)


def _values(side: Side) -> UInt32[np.ndarray, " values"]:
    """List the different values at the head of the weights."""
    found, left = [np.zeros(0, np.uint32)], _HEAD
    for number in np.flatnonzero(side.marks.telling).tolist():
        found.append(rare(magnitudes(side.tensor(number).reshape(-1)[:left])))
        left -= min(left, int(np.prod(side.marks.shapes[number])))
        if not left:
            break
    return distinct(np.concatenate(found))


def _cosine(compared: Sequence[Tensors]) -> float:
    return float(np.mean([item.overlap.cosine for item in compared])) if compared else 0.0


def _zeros(compared: Sequence[Tensors]) -> tuple[float, float]:
    whole = max(sum(item.overlap.size for item in compared), 1)
    left = sum(item.overlap.left_zeros * item.overlap.size for item in compared)
    return left / whole, sum(item.overlap.right_zeros * item.overlap.size for item in compared) / whole


def _weights(count: int) -> str:
    return f"{count} weight tensor{'s' if count != 1 else ''}"


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."
