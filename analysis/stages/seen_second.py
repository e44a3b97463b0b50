"""Say in words what units did at the gratings that they prefer: contrast, plaids, and what is large or long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..project.catalogue import Catalogue
from ..vision.tuning_indices import SUPPRESSED

Row = Mapping[str, Any]


def saw_second(catalogue: Catalogue) -> list[str]:
    """Tell in one line a network which laws of contrast won, and how many units are suppressed by size or length."""
    rows = {name: _by_network(catalogue, name) for name in ("contrast", "contrast contrast", "size", "length")}
    return [
        f"{network}: contrast {_won(own)}; plaids {_won(rows['contrast contrast'][network])}; of {len(own)} units "
        f"{_stopped(rows['size'][network])} surround-suppressed, {_stopped(rows['length'][network])} end-stopped"
        for network, own in rows["contrast"].items()
    ]


def _by_network(catalogue: Catalogue, coordinate: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in catalogue.select("laws", coordinate=coordinate):
        found.setdefault(row["network"], []).append(row)
    return found


def _won(rows: Sequence[Row]) -> str:
    """List the laws that won, those that say what a unit does; the others are not reduced."""
    laws = Counter(row["law"] for row in rows if row["reduced"])
    told = [f"{count} {law}" for law, count in laws.most_common()]
    return ", ".join([*told, f"{len(rows) - laws.total()} not reduced"])


def _stopped(rows: Sequence[Row]) -> int:
    """Count those that fall again; where size does not matter there is only rounding error to fall."""
    return sum(row["suppression"] >= SUPPRESSED and row["law"] != "constant" for row in rows)
