"""Families among the kernels of first layers, as families of the catalogue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...zoo.kernels import kernels
from ...zoo.network import Network
from ..formulas.printing import to_text
from ..vision.kernel_first_families import Explained, FirstFamily, FirstKernels, Kind, first_families, member_r2
from ..vision.kernel_forms import KernelFit
from ..vision.kernel_race import evidence_beside
from .families import Family, FamilyMember

LEVEL = "first layers"
DETECTORS: Mapping[str, str] = {
    "gaussian": "spot",
    "difference_of_gaussians": "spot",
    "sum_of_gaussians": "spot",
    "elongated_gaussian": "line",
    "second_derivative": "line",
    "first_derivative": "edge",
    "constant": "blank",
}
"""What a kernel of a form detects; of Gabors the phase says it."""

Kept = Mapping[str, Any]


def detects(fit: KernelFit) -> str:
    """Say what a kernel of this form detects: colour, where its axis is not luminance; else edge, line or spot."""
    if len(fit.colour) > 1 and fit.colour_name != "luminance":
        return "colour"
    phase = fit.numbers.get("phase")
    if phase is not None:
        return "line" if abs(math.cos(phase)) >= abs(math.sin(phase)) else "edge"
    return DETECTORS.get(fit.form, "line")


def chance_kinds(nulls: Mapping[str, Sequence[KernelFit]]) -> dict[str, Any]:
    """Count what would be explained among kernels without shape, by kind: of the null that has most of it."""
    most: Counter[Kind] = Counter()
    for fits in nulls.values():
        told = evidence_beside(tuple(fits), {name: tuple(null) for name, null in nulls.items()})
        own = Counter(
            (fit.form, detects(fit), fit.colour_name) for fit, one in zip(fits, told, strict=True) if one.explained
        )
        most |= own
    return {"of": min(map(len, nulls.values())), "kinds": [[*kind, count] for kind, count in most.items()]}


def families_of_firsts(firsts: Mapping[str, tuple[str, Kept]], networks: Mapping[str, Network]) -> list[Family]:
    """Find families among the first layers of networks, given by name with what was found there."""
    lineages = len({networks[name].lineage for name in firsts})
    layers = {name: _first(networks[name], layer, kept) for name, (layer, kept) in firsts.items()}
    named = {name: layer for name, (layer, _) in firsts.items()}
    return [
        _family(one, named, {name: layers[name].lineage for name in layers}, lineages) for one in first_families(layers)
    ]


def _first(network: Network, layer: str, kept: Kept) -> FirstKernels:
    given = kernels(network, layer)
    explained = tuple(
        Explained(row["unit"], (row["form"], row["detector"], row["colour"]), numbers, given[row["unit"]])
        for row, numbers in zip(kept["kernels"], kept["numbers"], strict=True)
        if row["explained"]
    )
    chance = {(form, detector, colour): count for form, detector, colour, count in kept["chance"]["kinds"]}
    return FirstKernels(network.lineage, explained, len(kept["kernels"]), chance, kept["chance"]["of"])


def _family(found: FirstFamily, layers: Mapping[str, str], lineages: Mapping[str, str], of: int) -> Family:
    form, detector, colour = found.kind
    shared = {name: value for name, (value, _) in found.shared.items()}
    members = tuple(
        FamilyMember(name, layers[name], one.unit, 1, member_r2(one, shared))
        for name, own in found.members.items()
        for one in own
    )
    held = {lineages[name] for name in found.members}
    return Family(
        number=0,
        kind="kernel",
        detector=detector,
        level=LEVEL if detector != "colour" else f"{LEVEL}, {colour}",
        form=form,
        members=members,
        lineages=len(held),
        universality=len(held) / of,
        p=found.p,
        agreement=float(np.median([member.r for member in members])),
        above_null=True,
        expression=to_text(found.expression),
        fidelity=found.r2,
        shared=found.shared,
        by_lineage=found.by_lineage,
        images={name: _best(own, shared).tolist() for name, own in found.members.items()},
    )


def _best(own: Sequence[Explained], shared: Mapping[str, float]) -> np.ndarray:
    """Draw the kernel that the family does best for, along its strongest direction over the channels."""
    kernel = max(own, key=lambda one: member_r2(one, shared)).kernel
    axis = np.linalg.svd(kernel.reshape(len(kernel), -1), full_matrices=False)[0][:, 0]
    return np.asarray(np.tensordot(axis * np.sign(axis.sum() or 1.0), kernel, axes=1))
