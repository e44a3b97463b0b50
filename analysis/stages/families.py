"""Families: units of equal form across networks, as features of the catalogue with an equation each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...zoo.store import content_key
from ..distillation.judge import AS_GOOD
from ..formulas.expression import complexity
from ..formulas.parsing import parse
from ..project.study import Study
from .stage_cluster import EQUATION_TABLES

DESCRIBED = 2.0
"""A form that errs this many times as much as the peers do is a description of what they share, and says so."""
PAIRS = ("shared", "by_lineage", "coverage")


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A unit, its sign against the family's form, and how well the form does for it: R², or |cos| of kernels."""

    network: str
    layer: str
    unit: int
    sign: int
    r: float


@dataclass(frozen=True, slots=True)
class Family:
    """Units of several networks that have one equation, whose own numbers (such as the preferred angle) may differ.

    `kind` is tuning, kernel or map. `p` is that of what was found against its nulls.
    `agreement` says how alike members are, `fidelity` is the R² of the equation; `shared` holds its numbers with
    their spread over members or networks, `by_lineage` R² and error ratio for each lineage that had no part in the
    fit.

    Of kernels `coverage` is the share that belong to the family, by network, beside its null's, and `images` holds
    each network's kernel of that form. `peer_agreement` is the R² of lineages on each other, `unreduced` says why the
    best expression is no equation, if it is none; `found_by` and `searched` are those of a `Distillation`, where it
    took one, and `skeleton` its form.
    """

    number: int
    kind: str
    detector: str
    level: str
    form: str
    members: tuple[FamilyMember, ...]
    lineages: int
    universality: float
    p: float
    agreement: float
    above_null: bool
    expression: str
    fidelity: float
    shared: Mapping[str, tuple[float, float]]
    by_lineage: Mapping[str, tuple[float, float]]
    coverage: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    images: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    peer_agreement: float | None = None
    unreduced: str = ""
    found_by: str = ""
    searched: str = ""
    skeleton: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Family:
        """Make a family of what `asdict` and JSON made of one."""
        members = tuple(FamilyMember(**member) for member in row["members"])
        pairs = {name: {key: tuple(pair) for key, pair in row[name].items()} for name in PAIRS}
        return cls(**{**row, "members": members, **pairs})

    def numbered(self, number: int) -> Family:
        """Give it a number."""
        return replace(self, number=number)

    @property
    def networks(self) -> int:
        """How many networks have a member."""
        return len({member.network for member in self.members})


LETTERS = ("K", "M", "T")
"""What the identifiers of families begin with: those of kernels, of maps over photos, and of tuning."""


def is_family(feature: str) -> bool:
    """Tell the identifier of a family from those of other features."""
    return feature.startswith(LETTERS) and feature[1:].isdigit()


def index_families(study: Study, letter: str, key: str, families: Sequence[Family]) -> None:
    """Put families into the catalogue as features and equations, in the place of those with the same letter."""
    with study.writing() as catalogue:
        key = content_key(key, letter, [asdict(family) for family in families])
        if catalogue.indexed("families", letter) == key:
            return
        old = [row["feature"] for row in catalogue.select("features") if row["feature"].startswith(letter)]
        gone: dict[str, list[dict[str, Any]]] = {"features": [], "members": [], "coverages": []}
        catalogue.replace({"feature": old}, gone)
        catalogue.replace({"equation": [f"E{name}" for name in old]}, {table: [] for table in EQUATION_TABLES})
        for family in families:
            name = f"{letter}{family.number}"
            rows = {
                "features": [_feature(name, family)],
                "members": [_member(name, one) for one in family.members],
                "coverages": [_coverage(name, *one) for one in family.coverage.items()],
            }
            catalogue.replace({"feature": name}, rows)
            nothing: dict[str, list[dict[str, Any]]] = {table: [] for table in EQUATION_TABLES}
            equation = _equation(name, family) if family.expression else {}
            catalogue.replace({"equation": f"E{name}"}, nothing | equation)
        catalogue.mark("families", letter, key, {})


def _feature(name: str, family: Family) -> dict[str, Any]:
    kept = ("number", "level", "kind", "detector", "lineages", "universality", "p", "agreement", "above_null")
    return {column: getattr(family, column) for column in kept} | {
        "feature": name,
        "role": "hidden",
        "name": f"{family.detector}: {family.form}" if family.form else family.detector,
        "unit": "",
        "members": len(family.members),
        "networks": family.networks,
        "support": family.universality * family.agreement,
        "reliability": None,
        "lift": None,
        "q": family.p,
    }


def _member(name: str, member: FamilyMember) -> dict[str, Any]:
    return {"feature": name, **asdict(member), "weights": None}


def _coverage(name: str, network: str, found: tuple[float, float]) -> dict[str, Any]:
    return {"feature": name, "network": network, "share": found[0], "null_share": found[1]}


def _equation(name: str, family: Family) -> dict[str, list[dict[str, Any]]]:
    expression, equation = parse(family.expression), f"E{name}"
    ratios = [ratio for _, ratio in family.by_lineage.values()]
    peers = float(np.median(ratios)) if ratios else None
    row = {
        "equation": equation,
        "number": family.number,
        "feature": name,
        "target": name,
        "unit": "",
        "status": "equation" if family.above_null and not family.unreduced else "no_equation",
        "reason": _reason(family, peers),
        "expression": family.expression,
        "latex": expression.latex(),
        "skeleton": family.skeleton or family.form,
        "complexity": complexity(expression),
        "fidelity": family.fidelity,
        "peer_ratio": peers,
        "peer_agreement": family.peer_agreement,
        "peer_ratio_error": float(np.std(ratios) / len(ratios) ** 0.5) if len(ratios) > 1 else None,
        "networks": family.networks,
        "lineages": family.lineages,
        "universality": family.universality,
        "engine": family.found_by or family.kind,
        "searched": family.searched or None,
    }
    nothing = ("extrapolation", "peer_extrapolation", "terms", "linked", "stability")
    row |= dict.fromkeys((*nothing, "gradient_agreement"))
    return {
        "equations": [row],
        "constants": [_constant(equation, place, *one) for place, one in enumerate(family.shared.items(), 1)],
        "agreements": [
            {"equation": equation, "lineage": lineage, "fidelity": r2, "peer_ratio": ratio}
            for lineage, (r2, ratio) in family.by_lineage.items()
        ],
    }


def _reason(family: Family, peers: float | None) -> str:
    if not family.above_null:
        return "not above what chance gives"
    if family.unreduced:
        return family.unreduced
    if peers is None or peers <= AS_GOOD:
        return ""
    better = f"networks agree with one another {peers:.2g} times better than with this form"
    return f"describes more than it explains: {better}" if peers > DESCRIBED else better


def _constant(equation: str, place: int, name: str, found: tuple[float, float]) -> dict[str, Any]:
    value, spread = found
    ends = {"low": value - spread, "high": value + spread}
    told = {"equation": equation, "position": place, "name": name, "value": value, "spread": spread}
    return told | ends | {"exact": None, "shared": True}
