"""Read off the catalogue what was seen in vision networks: families with their evidence, layers, first kernels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..formulas.expression import variables
from ..formulas.parsing import parse
from ..project.catalogue import Catalogue
from ..vision.written_law import WrittenLaw, form_words, own_numbers, written_law
from .show_evidence import missing

Row = Mapping[str, Any]
FAMILIES = ("tuning", "kernel", "map")
"""Kinds of features that are families of vision networks, in the order in which they are told."""
LEFT = ("not reduced", "silent")
"""What units are called that follow no law, and those that never vary."""


@dataclass(frozen=True, slots=True)
class SharedNumber:
    """A number of an equation and how much it differs over units (tuning) or networks (kernels)."""

    name: str
    value: float
    spread: float


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What the equation, fitted without one lineage, is on it: R², and its error over that of the peers."""

    lineage: str
    r2: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Members:
    """The units of one layer that belong to a family."""

    network: str
    layer: str
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FamilyReport:
    """A family: what it detects, its law if it has one, who has it, and the evidence. NaN where nothing was measured.

    `own` are the names in the law that are each unit's own; `coverage` by network the share of kernels that belong to
    the family and the share that chance gives. `note` says what speaks against the equation, or why there is none.
    """

    id: str
    kind: str
    detector: str
    form: str
    level: str
    lineages: int
    of_lineages: int
    networks: int
    above_null: bool
    p: float
    agreement: float
    members: tuple[Members, ...]
    law: WrittenLaw | None = None
    own: tuple[str, ...] = ()
    shared: tuple[SharedNumber, ...] = ()
    r2: float = math.nan
    peer_ratio: float = math.nan
    peer_ratio_error: float = math.nan
    by_lineage: tuple[Witnessed, ...] = ()
    coverage: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    note: str = ""

    @property
    def turned(self) -> bool:
        """Tell whether the law is along and across each kernel's own angle."""
        named = {name for name, _ in self.law.parts} if self.law else set()
        return self.law is not None and self.kind == "kernel" and "u" in {*variables(self.law.whole)} - named

    @property
    def units(self) -> int:
        """Count the members."""
        return sum(len(one.units) for one in self.members)


@dataclass(frozen=True, slots=True)
class LayerReport:
    """How many units of a layer follow a law, how many do not and are silent, and the share of twins that does not."""

    network: str
    layer: str
    units: int
    not_reduced: int
    silent: int
    twins_left: float


@dataclass(frozen=True, slots=True)
class FirstLayer:
    """How many kernels of a first layer have a closed form above chance, by form."""

    network: str
    layer: str
    kernels: int
    forms: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a network keeps of its outputs with something else in the place of the kernels of a layer, or of a kind.

    `kept` holds by kind (equations, PCA ...) the share of photos with the same class, or R² where `classes` is False.
    """

    network: str
    layer: str
    classes: bool
    kept: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class VisionReport:
    """All of it; networks by name with their lineage."""

    networks: Mapping[str, str]
    families: tuple[FamilyReport, ...]
    layers: tuple[LayerReport, ...]
    firsts: tuple[FirstLayer, ...]
    replaced: tuple[Replaced, ...] = ()


def vision_report(catalogue: Catalogue) -> VisionReport:
    """Read the catalogue; families above chance first, then those in most lineages."""
    lineages = lineages_of(catalogue)
    rows = [row for row in catalogue.listing("features").dicts() if row["kind"] in FAMILIES]
    rows.sort(key=lambda row: (FAMILIES.index(row["kind"]), not row["above_null"], -row["lineages"], row["number"]))
    return VisionReport(
        lineages,
        tuple(family_report(catalogue, row, len(set(lineages.values()))) for row in rows),
        _layers(catalogue),
        _firsts(catalogue),
        _replaced(catalogue),
    )


def lineages_of(catalogue: Catalogue) -> dict[str, str]:
    """Give the lineage of every network that can be used."""
    rows = catalogue.select("networks")
    return {row["network"]: row["lineage"] for row in rows if row["lineage"] and row["status"] != "refused"}


def family_report(catalogue: Catalogue, row: Row, whole: int) -> FamilyReport:
    """Read what is known of one feature that is a family, of so many lineages."""
    found: dict[tuple[str, str], list[int]] = {}
    for member in catalogue.select("members", feature=row["feature"]):
        found.setdefault((member["network"], member["layer"]), []).append(member["unit"])
    equation = next(iter(catalogue.select("equations", feature=row["feature"])), None)
    return FamilyReport(
        id=row["feature"],
        kind=row["kind"],
        detector=row["detector"] or "",
        form=form_words((row["name"] or "").removeprefix(row["detector"] or "").removeprefix(": ")),
        level=row["level"],
        lineages=row["lineages"],
        of_lineages=whole,
        networks=row["networks"],
        above_null=bool(row["above_null"]),
        p=_number(row["p"]),
        agreement=_number(row["agreement"]),
        members=tuple(Members(*place, tuple(sorted(units))) for place, units in found.items()),
        **(_law(catalogue, row, equation) if equation else {}),
    )


def _law(catalogue: Catalogue, feature: Row, row: Row) -> dict[str, Any]:
    held = row["status"] != "no_equation"
    expression = parse(row["expression"]) if held else None
    numbers = sorted(catalogue.select("constants", equation=row["equation"]), key=lambda one: one["position"])
    coverage = catalogue.select("coverages", feature=feature["feature"])
    return {
        "law": written_law(expression) if expression else None,
        "own": own_numbers(expression, of_kernels=feature["kind"] == "kernel") if expression else (),
        "shared": tuple(SharedNumber(one["name"], one["value"], _number(one["spread"])) for one in numbers if held),
        "r2": _number(row["fidelity"]),
        "peer_ratio": _number(row["peer_ratio"]),
        "peer_ratio_error": _number(row["peer_ratio_error"]),
        "by_lineage": tuple(
            Witnessed(one["lineage"], _number(one["fidelity"]), _number(one["peer_ratio"]))
            for one in catalogue.select("agreements", equation=row["equation"])
        ),
        "coverage": {one["network"]: (_number(one["share"]), _number(one["null_share"])) for one in coverage},
        "note": row["reason"] or "",
    }


def _layers(catalogue: Catalogue) -> tuple[LayerReport, ...]:
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in catalogue.select("detectors"):
        found.setdefault((row["network"], row["layer"]), {})[row["detector"]] = row
    return tuple(_layer(place, rows) for place, rows in found.items())


def _layer(place: tuple[str, str], rows: Mapping[str, Row]) -> LayerReport:
    left = [rows[name] for name in LEFT if name in rows]
    one = next(iter(rows.values()))
    twins = sum(row["null_units"] for row in left) / one["of_null"] if one["of_null"] else math.nan
    not_reduced, silent = (rows[name]["units"] if name in rows else 0 for name in LEFT)
    return LayerReport(*place, one["of_units"], not_reduced, silent, twins)


def _firsts(catalogue: Catalogue) -> tuple[FirstLayer, ...]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in catalogue.select("kernels"):
        found.setdefault((row["network"], row["layer"]), []).append(row)
    return tuple(FirstLayer(*place, len(rows), _forms(rows)) for place, rows in found.items())


def _forms(rows: list[Row]) -> dict[str, int]:
    return dict(Counter(form_words(row["form"]) for row in rows if row["explained"]).most_common())


def _replaced(catalogue: Catalogue) -> tuple[Replaced, ...]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in catalogue.select("kernel_substitutions"):
        found.setdefault((row["network"], row["layer"]), []).append(row)
    made = []
    for place, rows in found.items():
        classes = all(not missing(row["agreement"]) for row in rows)
        kept = {row["kind"]: _number(row["agreement" if classes else "r2"]) for row in rows}
        made.append(Replaced(*place, classes, kept))
    return tuple(made)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
