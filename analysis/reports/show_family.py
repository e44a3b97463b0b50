"""Tell in words what the catalogue knows of a family of vision networks: what it detects, its law, who has it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..formulas.equation import found_by
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.catalogue import Catalogue
from .show_evidence import DIGITS, missing
from .vision_report import FAMILIES, FamilyReport, family_report, lineages_of

Row = Mapping[str, Any]
WHAT = {"tuning": "unit", "kernel": "kernel", "map": "unit"}
OVER = {"tuning": "units, each fitted alone", "kernel": "networks", "map": "lineages"}
"""What a family's members are, and over what its numbers spread."""
SCORES = {"tuning": "R² of the law", "kernel": "R² of the form", "map": "r with the others"}
"""What is told of a member."""
AGREE = {
    "kernel": "kernels of its networks have cosines from {:.3f}",
    "map": "mean r of a unit with the others {:.3f}",
}
"""How alike members are."""
EACH = 20
"""Up to so many members are told one by one."""
BEST = 5
"""So many are told of a layer where there are more."""


def is_vision_family(catalogue: Catalogue, feature: str) -> bool:
    """Tell whether a feature is a family of vision networks."""
    return any(row["kind"] in FAMILIES for row in catalogue.select("features", feature=feature))


def family_in_words(catalogue: Catalogue, row: Row, law: Sequence[str]) -> list[str]:
    """Describe a family; `law` says its equation in lines."""
    report = family_report(catalogue, row, len(set(lineages_of(catalogue).values())))
    form = f" ({report.form})" if report.form else ""
    members = sorted(catalogue.select("members", feature=row["feature"]), key=_best_first)
    share = report.lineages / max(report.of_lineages, 1)
    return [
        f"feature {report.id}: {report.detector}{form}, {report.level}, {_verdict(report)}",
        f"  in {report.lineages} of {report.of_lineages} lineages ({share:.0%}): "
        f"{report.units:,} {WHAT[report.kind]}s of {report.networks} networks",
        *_alike(report),
        *(law or [f"{report.id}: no equation"]),
        *numbers_in_words(report),
        *_members(report, members),
    ]


def _alike(report: FamilyReport) -> list[str]:
    told = report.kind == "map" or report.coverage
    return [f"  {AGREE[report.kind].format(report.agreement)}"] if told else []


def numbers_in_words(report: FamilyReport) -> list[str]:
    """Say which numbers of the equation all share, how far they spread, and which are each member's own."""
    if report.law is None:
        return []
    shared = ", ".join(f"{one.name} = {_spread(one.value, one.spread)}" for one in report.shared)
    alone = "" if shared else "  no number is shared: a form, and no more"
    what = WHAT[report.kind]
    return [
        *([f"  one number for all: {shared} (±: spread over {OVER[report.kind]})"] if shared else [alone]),
        *([f"  each {what}'s own: {', '.join(report.own)}"] if report.own else []),
        *(
            ["  u and v: along and across each kernel's own angle, in its own wavelength or width"]
            if report.turned
            else []
        ),
        *([f"  R² {report.r2:.3f}{' on stimuli held out' if report.kind != 'kernel' else ''}"] if report.r2 else []),
    ]


def equation_in_words(catalogue: Catalogue, equation: Row, law: Sequence[str]) -> list[str]:
    """Describe the equation of a family with what it is on each lineage that had no part in it."""
    (row,) = catalogue.select("features", feature=equation["feature"])
    report = family_report(catalogue, row, len(set(lineages_of(catalogue).values())))
    held = equation["status"] != "no_equation"
    by = found_by(equation["engine"], equation["searched"]) if equation["searched"] else ""
    lines = [
        *law,
        *([f"  caution: {equation['reason']}"] if held and equation["reason"] else []),
        *([] if held else [f"  the best that was found: {to_text(parse(equation['expression']), digits=DIGITS)}"]),
        *numbers_in_words(report),
        f"  of feature {report.id} ({report.detector}), in {report.networks} networks" + (f", {by}" if by else ""),
    ]
    if report.by_lineage:
        lines.append("  fitted without a lineage: R² on it, and its error there over that of the peers")
        lines += [
            f"    {one.lineage}  {one.r2:.3f}" + ("" if math.isnan(one.ratio) else f"  {one.ratio:.2f}")
            for one in report.by_lineage
        ]
    return lines


def _verdict(report: FamilyReport) -> str:
    told = "" if math.isnan(report.p) else f" (p = {report.p:.2g})"
    return f"above the nulls{told}" if report.above_null else f"not above the nulls: chance gives as much{told}"


def _spread(value: float, spread: float) -> str:
    return (
        f"{value:.3g} ± {spread:.2g}" if math.isfinite(spread) and abs(spread) > 1e-9 * abs(value) else f"{value:.3g}"
    )


def _members(report: FamilyReport, members: Sequence[Row]) -> list[str]:
    """List few members one by one, of many the best of each layer, of kernels how many each network has."""
    if report.coverage:
        return [_of_network(report, name) for name in report.coverage]
    score = SCORES.get(report.kind, "")
    if len(members) <= EACH:
        return [f"  {score or 'members'}:", *(f"    {_member(row)}" for row in members)]
    found: dict[tuple[str, str], list[Row]] = {}
    for row in members:
        found.setdefault((row["network"], row["layer"]), []).append(row)
    return [
        f"  by layer, the best by {score} in brackets:",
        *(f"    {_layer(*place, own)}" for place, own in found.items()),
    ]


def _of_network(report: FamilyReport, name: str) -> str:
    own = [one for one in report.members if one.network == name]
    share, chance = report.coverage[name]
    counted = f"{sum(len(one.units) for one in own):,} kernels in {len(own)} layers"
    return f"  {name}: {counted}, {share:.0%} of all, by chance {chance:.0%}"


def _layer(network: str, layer: str, rows: Sequence[Row]) -> str:
    best = ", ".join(f"{row['unit']}: {row['r']:.3f}" for row in rows[:BEST])
    return f"{network} {layer}: {len(rows)} ({best}{' ...' if len(rows) > BEST else ''})"


def _member(row: Row) -> str:
    r = "" if missing(row["r"]) else f"  {row['r']:.3f}"
    return f"{'-' if row['sign'] < 0 else '+'} {row['network']} {row['layer']}[{row['unit']}]{r}"


def _best_first(row: Row) -> tuple[float, str, str, int]:
    r = 0.0 if missing(row["r"]) else row["sign"] * row["r"]
    return (-r, row["network"], row["layer"], row["unit"])
