"""Tell in words what else speaks for and against an equation: rivals, lineages that dissent, substitution, links."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.catalogue import Catalogue

Row = Mapping[str, Any]
DIGITS = 5
POINTS = 3
"""So many points that tell two formulas apart are named."""


def support_lines(catalogue: Catalogue, equation: Row) -> list[str]:
    """Say what was asked after an equation was chosen, a line each; nothing where nothing was."""
    name = {"equation": equation["equation"]}
    return [
        *_rivals(catalogue.select("rivals", **name)),
        *_dissenters(catalogue.select("dissenters", **name)),
        *_links(catalogue.select("links", **name)),
        *_substitutions(catalogue.select("substitutions", **name)),
    ]


def own_values(catalogue: Catalogue, equation: Row) -> dict[int, list[float]]:
    """Give the values of each lineage for the numbers, by position, that they do not share."""
    found: dict[int, list[float]] = {}
    for row in catalogue.select("own_constants", equation=equation["equation"]):
        found.setdefault(row["position"], []).append(row["value"])
    return found


def _rivals(rows: Sequence[Row]) -> list[str]:
    said = {"ambiguous": "fits as well", "dropped": "lost to it where the two differ most"}
    lines = [
        f"  {said[row['status']]}: {to_text(parse(row['expression']), digits=DIGITS)}{_measured(row)}"
        for row in sorted(rows, key=lambda row: (row["status"], row["complexity"] or 0))
    ]
    inputs: list[dict[str, float]] = next(
        (json.loads(row["inputs"]) for row in rows if row["status"] == "ambiguous"), []
    )
    if inputs:
        lines.append("  measure there to tell them apart:")
        lines += [f"    {', '.join(f'{name} = {value:.5g}' for name, value in one.items())}" for one in inputs[:POINTS]]
    return lines


def _measured(row: Row) -> str:
    nodes = [] if row["complexity"] is None else [f"{row['complexity']} nodes"]
    ratio = [] if missing(row["ratio"]) else [f"peer ratio {row['ratio']:.2f}"]
    return f" ({', '.join([*nodes, *ratio])})" if nodes or ratio else ""


def _dissenters(rows: Sequence[Row]) -> list[str]:
    return [
        f"  {row['lineage']} dissents: it lies {row['ratio']:.2g} times as far from the equation as the others "
        f"(p = {row['p']:.2g})"
        for row in rows
    ]


def _links(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    if rows[0]["kind"] == "affine":
        pairs = [f"{row['lineage']} {row['parameters'][0]:.4g}, {row['parameters'][1]:+.4g}" for row in rows]
        return [f"  each lineage has a factor and an offset of its own: {'; '.join(pairs)}"]
    rising = [row["lineage"] for row in rows if row["kind"] == "rising"]
    falling = [row["lineage"] for row in rows if row["kind"] == "falling"]
    said = [f"{way} in {', '.join(names)}" for way, names in (("rising", rising), ("falling", falling)) if names]
    return [f"  up to a monotone function L of each lineage's own: {'; '.join(said)}"]


def _substitutions(rows: Sequence[Row]) -> list[str]:
    known = [row for row in rows if not missing(row["loss_before"])]
    if not known:
        return []
    lines = [f"  put in the place of the units, {known[0]['loss']}: as it is, equation, consensus, each unit's mean"]
    for row in known:
        losses = [row[f"loss_{which}"] for which in ("before", "with", "mean", "ablated")]
        told = "  ".join("-" if missing(loss) else f"{loss:.4g}" for loss in losses)
        note = f"  ({row['note']})" if row["note"] else ""
        lines.append(f"    {row['network']}  {told}{note}")
    return lines


def missing(value: object) -> bool:
    """Tell whether a number was not measured."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def substituted(catalogue: Catalogue, network: str) -> dict[str, dict[str, Row]]:
    """Give what was put in the place of a network's kernels: by layer, or all layers of a kind, and there by kind."""
    found: dict[str, dict[str, Row]] = {}
    for row in catalogue.select("kernel_substitutions", network=network):
        found.setdefault(row["layer"], {})[row["kind"]] = row
    return found


def kept(told: Mapping[str, Row]) -> str:
    """Say what is left of a network's outputs with the equations, and with baselines of the same size."""
    classes = not missing(told["equations"]["agreement"])
    column, what = ("agreement", "same class") if classes else ("r2", "R² of the outputs")
    others = ", ".join(f"{_baseline(row)} {row[column]:.3f}" for kind, row in told.items() if kind != "equations")
    return f"{what} {told['equations'][column]:.3f} on {told['equations']['images']} photos ({others})"


def _baseline(row: Row) -> str:
    numbers = row["kind"].startswith("PCA") and not missing(row["numbers"])
    return f"{row['kind']} in {row['numbers']} numbers" if numbers else str(row["kind"])
