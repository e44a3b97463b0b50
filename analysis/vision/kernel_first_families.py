"""Families among kernels of first layers: one form in several lineages, with the numbers that all kernels share.

Layers differ in size and kernels in angle, so that shared are numbers without a unit: widths in wavelengths,
widths across in widths along. Angle, wavelength, phase, place and scale are each kernel's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..alignment.null import q_values
from ..formulas.expression import Apply, Constant, Expression, Variable
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..formulas.simplify import simplify
from .kernel_equation import U, envelope, profile
from .kernel_shapes import SHAPES, Grid, Kernel

PASSING = 0.05
"""The false discovery rate at which a lineage has more kernels of a kind than chance gives."""
WAVES = ("axis_gabor", "gabor")
DIGITS = 3

Kind = tuple[str, str, str]
"""Form, what it detects, and the name of its colour axis."""
Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """A kernel with a closed form above chance, and the numbers of that form."""

    unit: int
    kind: Kind
    numbers: Numbers
    kernel: Kernel


@dataclass(frozen=True, slots=True, eq=False)
class FirstKernels:
    """The first layer of a network: its explained kernels, of how many; and the same of kernels without shape."""

    lineage: str
    explained: tuple[Explained, ...]
    of: int
    chance: Mapping[Kind, int]
    of_chance: int

    def p(self, kind: Kind) -> float:
        """Say how often chance gives as many kernels of a kind (Fisher's exact test)."""
        from scipy.stats import fisher_exact

        units, null = sum(one.kind == kind for one in self.explained), self.chance.get(kind, 0)
        table = [[units, self.of - units], [null, self.of_chance - null]]
        return float(fisher_exact(table, alternative="greater").pvalue)


@dataclass(frozen=True, slots=True, eq=False)
class FirstFamily:
    """Kernels of one kind in two lineages or more, by network.

    `shared` holds the numbers that all have, with their spread over networks (root mean square of the networks'
    medians), `expression` the form with them: u and v are along and across a kernel's own angle, in its wavelengths, or
    in its width where it has none. `r2` is that of members with these numbers in the place of their own,
    `by_lineage` the same with the numbers of the others, and its error over that with the lineage's own.
    """

    kind: Kind
    members: Mapping[str, tuple[Explained, ...]]
    shared: Mapping[str, tuple[float, float]]
    expression: Expression
    r2: float
    by_lineage: Mapping[str, tuple[float, float]]
    p: float


def first_families(layers: Mapping[str, FirstKernels]) -> tuple[FirstFamily, ...]:
    """Find the kinds of kernels that at least two lineages have beyond chance, the one with most members first.

    Corrected for all kinds and lineages that were asked about (Benjamini & Hochberg 1995); of relatives the one with
    the least p stands for all.
    """
    kinds = sorted({one.kind for layer in layers.values() for one in layer.explained})
    asked = [(kind, lineage) for kind in kinds for lineage in dict.fromkeys(one.lineage for one in layers.values())]
    p = [min(one.p(kind) for one in layers.values() if one.lineage == lineage) for kind, lineage in asked]
    q = q_values(np.array(p)) if p else np.zeros(0)
    passed = {place: chances for place, chances, rate in zip(asked, p, q, strict=True) if rate <= PASSING}
    found = []
    for kind in kinds:
        own = {lineage: chances for (of, lineage), chances in passed.items() if of == kind}
        if len(own) > 1:
            held = {name: layer for name, layer in layers.items() if layer.lineage in own}
            found.append(_family(kind, held, max(own.values())))
    return tuple(sorted(found, key=lambda family: -sum(map(len, family.members.values()))))


def shared_numbers(kind: Kind, numbers: Numbers) -> dict[str, float]:
    """Give the numbers of a kernel that do not depend on its size."""
    if kind[0] in WAVES:
        return {f"cycles_{axis}": numbers[f"sigma_{axis}"] * numbers["frequency"] for axis in "uv"}
    if "sigma_u" in numbers:
        return {"aspect": numbers["sigma_v"] / numbers["sigma_u"]}
    return {name: numbers[name] for name in ("ratio", "surround", "pedestal") if name in numbers}


def family_expression(kind: Kind, shared: Numbers) -> Expression:
    """Write a kind with its shared numbers in u and v; the phase is each kernel's own, and of `gabor` the level."""
    if kind[0] in WAVES:
        wave: Expression = Apply("cos", (2 * Constant(math.pi) * U + Variable("phase"),))
        made: Expression = (wave + Variable("level") if kind[0] == "gabor" else wave) * envelope(
            _with(kind, {"frequency": 1.0}, shared)
        )
    else:
        made = simplify(profile(kind[0], _with(kind, {"sigma": 1.0, "sigma_u": 1.0, "amplitude": 1.0}, shared)))
    return parse(to_text(made, digits=DIGITS))


def _family(kind: Kind, held: Mapping[str, FirstKernels], p: float) -> FirstFamily:
    members = {name: tuple(one for one in layer.explained if one.kind == kind) for name, layer in held.items()}
    members = {name: own for name, own in members.items() if own}
    medians = {name: _median(kind, own) for name, own in members.items()}
    shared = _mean(list(medians.values()))
    spread = {
        name: math.sqrt(float(np.mean([(each[name] - value) ** 2 for each in medians.values()])))
        for name, value in shared.items()
    }
    return FirstFamily(
        kind=kind,
        members=members,
        shared={name: (value, spread[name]) for name, value in shared.items()},
        expression=family_expression(kind, shared),
        r2=_r2(kind, [one for own in members.values() for one in own], shared),
        by_lineage=_by_lineage(kind, members, medians, {name: layer.lineage for name, layer in held.items()}),
        p=p,
    )


def _by_lineage(
    kind: Kind,
    members: Mapping[str, Sequence[Explained]],
    medians: Mapping[str, Numbers],
    lineages: Mapping[str, str],
) -> dict[str, tuple[float, float]]:
    found = {}
    for lineage in dict.fromkeys(lineages[name] for name in members):
        own = [one for name, each in members.items() if lineages[name] == lineage for one in each]
        theirs, ours = (
            1 - _r2(kind, own, _mean([one for name, one in medians.items() if (lineages[name] == lineage) == mine]))
            for mine in (False, True)
        )
        found[lineage] = (1 - theirs, math.sqrt(theirs / max(ours, 1e-12)))
    return found


def _median(kind: Kind, own: Sequence[Explained]) -> dict[str, float]:
    each = [shared_numbers(kind, one.numbers) for one in own]
    return {name: float(np.median([numbers[name] for numbers in each])) for name in each[0]}


def _mean(each: Sequence[Numbers]) -> dict[str, float]:
    return {name: float(np.mean([numbers[name] for numbers in each])) for name in each[0]}


def _with(kind: Kind, numbers: Numbers, shared: Numbers) -> dict[str, float]:
    """Put shared numbers in the place of a kernel's own."""
    if kind[0] in WAVES:
        return dict(numbers) | {f"sigma_{axis}": shared[f"cycles_{axis}"] / numbers["frequency"] for axis in "uv"}
    if "aspect" in shared:
        return dict(numbers) | {"sigma_v": shared["aspect"] * numbers["sigma_u"]}
    return dict(numbers) | dict(shared)


def _r2(kind: Kind, members: Sequence[Explained], shared: Numbers) -> float:
    return float(np.mean([member_r2(one, shared) for one in members]))


def member_r2(one: Explained, shared: Numbers) -> float:
    """Measure how much of a kernel its form gives with shared numbers; the weights of its channels are fitted."""
    shape, grid = SHAPES[one.kind[0]], Grid(*one.kernel.shape[1:])
    numbers = _with(one.kind, one.numbers, shared)
    images = shape.basis(np.array([[numbers[name] for name in shape.parameters]]), grid)[0]
    target: Float[np.ndarray, "places channels"] = one.kernel.reshape(len(one.kernel), -1).T
    left = target - images.T @ (np.linalg.pinv(images.T) @ target)
    return 1 - float(np.sum(left**2)) / float(np.sum(target**2))
