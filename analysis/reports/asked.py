"""Questions that people ask of the catalogue in their own words, as conditions and lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...zoo.errors import BadInput, NotFound
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.catalogue import Catalogue, Rows

DIGITS = 4
"""Digits of the numbers of equations in lists of what is shared."""
SHARED = re.compile(r"(\d{1,6})(?:\s+of\s+(\d{1,6}))?")


def condition(catalogue: Catalogue, *, kind: str | None, shared: str | None, where: str | None) -> str | None:
    """Write what is asked of features as a condition in SQL; None where nothing is.

    `kind` is a detector, `shared` says in how many lineages at least, such as "3" or "3 of 7". Raises NotFound for a
    detector that no feature is, BadInput for a number of lineages that the zoo has not.
    """
    parts = [f"({where}\n)"] if where else []
    if kind is not None:
        known = sorted({str(row["detector"]) for row in catalogue.select("features") if row["detector"]})
        if (kind := kind.lower()) not in known:
            hint = f"there are {', '.join(known)}" if known else "consilience tune and kernels look for detectors"
            raise NotFound(f"no feature is of the kind {kind[:80]!r}", hint=hint)
        parts.append(f"detector = '{kind}'")
    if shared is not None:
        parts.append(f"lineages >= {_least(catalogue, shared)}")
    return " AND ".join(parts) or None


def _least(catalogue: Catalogue, shared: str) -> int:
    told = SHARED.fullmatch(shared.strip())
    if told is None:
        raise BadInput(f"--in {shared[:80]!r} is no number of lineages", hint='write 3, or "3 of 7"')
    whole = len(
        {row["lineage"] for row in catalogue.select("networks") if row["lineage"] and row["status"] != "refused"}
    )
    if told[2] is not None and int(told[2]) != whole:
        raise BadInput(f"the zoo has {whole} lineages, not {told[2]}", hint=f'write "{told[1]} of {whole}"')
    if int(told[1]) > whole:
        raise BadInput(f"the zoo has {whole} lineages, fewer than {told[1]}", hint=f"write {whole} at most")
    return int(told[1])


def _law(equation: Mapping[str, Any]) -> str | None:
    """Write an equation short; None where there is none."""
    held = equation and equation["status"] != "no_equation"
    return to_text(parse(equation["expression"]), digits=DIGITS) if held else None


def shared_by(catalogue: Catalogue, left: str, right: str) -> Rows:
    """List the features that have members in both networks, best supported first.

    Raises NotFound for a network that is not there.
    """
    for name in (left, right):
        if not catalogue.select("networks", network=name):
            raise NotFound(f"no network {name[:80]!r}", hint="consilience networks lists them")
    counts = [
        Counter(str(row["feature"]) for row in catalogue.select("members", network=name)) for name in (left, right)
    ]
    equations = {row["feature"]: row for row in catalogue.select("equations")}
    both = [row for row in catalogue.select("features") if all(count[row["feature"]] for count in counts)]
    both.sort(key=lambda row: (not row["above_null"], -(row["support"] or 0.0), row["feature"]))
    return Rows.of(
        [
            {
                "feature": row["feature"],
                "detector": row["detector"],
                "level": row["level"],
                left: counts[0][row["feature"]],
                right: counts[1][row["feature"]],
                "lineages": row["lineages"],
                "above_null": row["above_null"],
                "equation": _law(equations.get(row["feature"], {})),
            }
            for row in both
        ]
    )
