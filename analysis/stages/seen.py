"""Say in words what was seen in vision networks: kernels, tuning, families."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..project.catalogue import Catalogue
from ..project.study import Study
from ..reports.show import law
from ..reports.show_evidence import kept, substituted
from ..vision.detector_counts import REST
from .seen_second import saw_second

Row = Mapping[str, Any]


def saw_kernels(study: Study, catalogue: Catalogue) -> list[str]:
    """Tell by network how many kernels of the first layer have a closed form, and what that keeps of its outputs."""
    rows, lines = catalogue.select("kernels"), []
    for (network, layer), own in _grouped(rows).items():
        explained = [row for row in own if row["explained"]]
        forms = _listed(Counter(row["form"].replace("_", " ") for row in explained))
        lines.append(
            f"{network} {layer}: {len(explained)} of {len(own)} kernels have a closed form above chance"
            + (f" ({forms})" if forms else "")
        )
        told = substituted(catalogue, network)
        if layer in told:
            lines.append(f"  in the place of all {len(own)}: {kept(told[layer])}")
        for level in (level for level in told if level.startswith("depthwise ")):
            every = f"all {told[level]['equations']['units']:,} kernels of {level}"
            lines.append(f"  forms of families in the place of {every}: {kept(told[level])}")
    return [*lines, *family_lines(catalogue, "K")]


def saw_tuning(study: Study, catalogue: Catalogue) -> list[str]:
    """Tell by layer how many units detect what, beside untrained twins."""
    lines = []
    for (network, layer), own in _grouped(catalogue.select("detectors")).items():
        above = sorted((row for row in own if row["above_null"]), key=lambda row: -row["units"])
        told = {part for row in above for part in _parts(row)}
        found = ", ".join(_counted(row, own) for row in above if row["detector"] not in told)
        left = ", ".join(f"{row['units']} {row['detector']}" for row in own if row["detector"] in REST and row["units"])
        of = f"{network} {layer}: of {own[0]['of_units']} units"
        lines.append(f"{of} {found or 'none'} above chance" + (f", {left}" if left else ""))
    for row in catalogue.select("stages", stage="tuning"):
        held = json.loads(row["settings"])
        beyond, of = held["twins_beyond"], held["of_counts"]
        lines.append(
            f"untrained twins, each against the others: {beyond} of {of} counts at p ≤ .05, chance gives {of / 20:.0f}"
        )
    return [*lines, *saw_second(catalogue), *family_lines(catalogue, "T")]


def _parts(row: Row) -> list[str]:
    return row["parts"].split(", ") if row["parts"] else []


def _counted(row: Row, own: Sequence[Row]) -> str:
    """Say how many units a layer has of a detector, how many its twins, their commonest law, and the parts of a sum."""
    twins = f"twins {row['null_units'] * row['of_units'] / row['of_null']:.0f}, p = {row['p']:.1g}"
    parts = [f"{part['units']} {part['detector']}" for part in own if part["detector"] in _parts(row) and part["units"]]
    law = f"{row['following']} {row['law']}" if row["law"] else ""
    return f"{row['units']} {row['detector']} ({'; '.join(filter(None, (twins, law, ', '.join(parts))))})"


def saw_maps(study: Study, catalogue: Catalogue) -> list[str]:
    """Tell how many features of maps networks share and have an equation, and whether matched units prefer the same."""
    found = [row for row in catalogue.select("features") if row["feature"].startswith("M")]
    by = Counter(row["lineages"] for row in found)
    most = ", ".join(f"{by[count]} in {count}" for count in sorted(by, reverse=True))
    kinds = _listed(Counter(row["detector"] for row in found))
    lines = [f"{len(found)} features of maps over photos are above the nulls" + (f": {most} lineages" if most else "")]
    lines += [f"  of them {kinds}", f"  {_reduced(catalogue, {row['feature'] for row in found})}"] if kinds else []
    for row in catalogue.select("stages", stage="maps"):
        lines += [f"  {_vote(what, vote)}" for what, vote in json.loads(row["settings"]).items()]
    return lines


def _reduced(catalogue: Catalogue, features: Set[str]) -> str:
    """Say how many features have an equation, and how many not because lineages disagree."""
    from ..vision.feature_equation import DISAGREE  # with SciPy, which other summaries do without

    own = [row for row in catalogue.select("equations") if row["feature"] in features]
    written = [row for row in own if row["status"] == "equation"]
    searched = sum(row["engine"] != "map" for row in written)
    apart = sum(row["reason"].startswith(DISAGREE) for row in own)
    more = f" ({searched} of them no law of the library)" if searched else ""
    why = f", {apart} of them because lineages do not agree on what stimuli ask" if apart else ""
    return f"{len(written)} have an equation{more}, {len(features) - len(written)} have none{why}"


def _vote(what: str, vote: Mapping[str, float]) -> str:
    """Say how far apart matched units are in what they prefer."""
    ours, chance = (_measured(what, vote[name]) for name in ("distance", "chance"))
    said = f"matched units differ in their preferred {what} by {ours} in the middle, by chance {chance}"
    return f"{said} (p = {vote['p']:.2g}, {vote['pairs']} pairs)"


def _measured(what: str, value: float) -> str:
    if what == "frequency":  # on a grid of few values
        return f"{value:.2f} octaves" if value else "less than a step of the grid"
    return f"{math.degrees(value):.0f}°"


def family_lines(catalogue: Catalogue, letter: str) -> list[str]:
    """Tell the families with this letter, each with its equation, and how many forms chance would give as well."""
    equations = {row["feature"]: row for row in catalogue.select("equations")}
    families = [row for row in catalogue.select("features") if row["feature"].startswith(letter)]
    above = sorted((row for row in families if row["above_null"]), key=lambda row: row["number"])
    lines = [_family_line(row, equations[row["feature"]]) for row in above]
    others = [row["feature"] for row in families if not row["above_null"]]
    return [*lines, f"not above what chance gives: {', '.join(others)}"] if others else lines


def _family_line(family: Row, equation: Row) -> str:
    what = "kernels" if family["kind"] == "kernel" else "units"
    counted = f"{family['detector']}, {family['members']:,} {what} of {family['networks']} networks"
    return f"{law(equation)}   ({counted}, R² {equation['fidelity']:.3f}{_ratio(equation)})"


def _ratio(equation: Row) -> str:
    return "" if equation["peer_ratio"] is None else f", peer ratio {equation['peer_ratio']:.2f}"


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["network"], row["layer"]), []).append(row)
    return found


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
