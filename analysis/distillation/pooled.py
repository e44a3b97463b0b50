"""Pool one skeleton over all lineages: which of its numbers they share, and which each has for itself.

Networks trained on one law give slightly different numbers, since each makes mistakes of its own. A number is split
only where the lineages' values differ by more than such mistakes explain: an F-test between the nested fits, one
value for all and one for each. Mistakes are smooth, so neighbouring points repeat each other; how much of
a mistake falls along a number's direction is learnt from what the fits leave over (see `mistakes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..formulas.expression import Constant, Expression, constants
from ..formulas.fit import fit, free
from .nested import Nested, Numbers, Split
from .target import Sample, Target

LEVEL = 0.05
POINTS = 192
"""More points than this tell next to nothing more: residuals of networks are smooth."""

AS_MUCH = 0.98
"""Numbers explain as much where what they explain is this near to the most."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the skeleton, or of the link that lineages need: one value for all, or one for each.

    `each` lists the values of the lineages where it is not shared; `value` is then their mean. `F` and `p` hold
    one value for each against one for all, when the numbers that were split before are each lineage's own.
    """

    value: float
    each: tuple[float, ...]
    F: float
    p: float

    @property
    def shared(self) -> bool:
        """Whether one value serves all lineages."""
        return not self.each


@dataclass(frozen=True, slots=True)
class Pooled:
    """One skeleton over all lineages: its numbers from left to right, and the affine link scale · f + offset.

    `linked` says whether lineages need scales or offsets of their own beside the numbers. `F` and `p` are those of
    the number that differs most, p for as many tests as were made. `effective` is how many independent
    points the samples are worth.
    """

    numbers: tuple[Number, ...]
    scale: Number
    offset: Number
    linked: bool
    F: float
    p: float
    effective: float


def pool(target: Target, expression: Expression, *, level: float = LEVEL) -> Pooled:
    """Tell which numbers all lineages share and which each has for itself, by nested fits.

    Numbers are split one after the other, the most different first, until the next is not significant after
    Bonferroni's correction for those left. A single lineage shares everything with itself.
    """
    sample = thin(target.fit)
    linked = Constant(1.0) * fit(expression, sample.columns, sample.values.mean(axis=0)).expression + Constant(0.0)
    model = Nested(linked, sample)
    if len(sample.values) < 2 or not np.isfinite(model.values(model.start)).all():
        return _report(model.start, (), {}, math.nan)
    mistakes, numbers, own, tests = model.mistakes(), model.start, list[int](), dict[int, Split]()
    while True:
        found = {place: model.split(place, own, numbers, mistakes) for place in model.places if place not in own}
        tests |= found
        sure = {place: split for place, split in found.items() if split.p * len(found) <= level}
        if not sure:
            return _report(numbers, own, tests, mistakes.effective)
        own.append(_most_different(sure, expression))
        numbers = model.fit(own, numbers)


def thin(sample: Sample) -> Sample:
    """Take every so manieth point, POINTS in all."""
    kept = np.linspace(0, len(sample.inputs) - 1, min(POINTS, len(sample.inputs))).round().astype(int)
    columns = {name: column[kept] for name, column in sample.columns.items()}
    return Sample(sample.inputs[kept], columns, sample.values[:, kept])


def _most_different(found: Mapping[int, Split], expression: Expression) -> int:
    """Name the number that explains most; of several that do, rather a free one than a link, or than an exact one."""
    most = max(split.explained for split in found.values())
    near = [place for place in found if found[place].explained >= AS_MUCH * most]
    inside, links = {place + 1 for place in free(expression)}, (0, len(constants(expression)) + 1)
    return max(near, key=lambda place: (2 * (place in inside) + (place in links), found[place].explained))


def _report(numbers: Numbers, own: Sequence[int], tests: Mapping[int, Split], effective: float) -> Pooled:
    unknown, last = Split(math.nan, math.nan, 0.0), numbers.shape[1] - 1

    def number(place: int) -> Number:
        split = tests.get(place, unknown)
        each = tuple(map(float, numbers[:, place])) if place in own else ()
        return Number(float(numbers[:, place].mean()), each, split.F, split.p)

    first = tests[own[0]] if own else min(tests.values(), key=lambda split: split.p, default=unknown)
    return Pooled(
        tuple(map(number, range(1, last))),
        number(0),
        number(last),
        0 in own or last in own,
        first.F,
        min(1.0, first.p * len(tests)),
        effective,
    )
