"""Tell in words what the catalogue knows of one unit of a vision network: what it is tuned to, by which laws."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.catalogue import Catalogue
from .show_evidence import DIGITS, missing

Row = Mapping[str, Any]
UNIT = re.compile(r"([^/]+)/(.+):(\d{1,9})")
"""NETWORK/LAYER:UNIT."""
ANGLES = ("angle", "phase")
TOLD = ("selectivity", "f1_f0", "half_width", "bandwidth", "separability", "colour")
"""Indices that are told by their names in the table."""


def unit_in_words(catalogue: Catalogue, identifier: str) -> list[str]:
    """Describe a unit that was shown stimuli; empty where the catalogue knows of none by this name."""
    named = UNIT.fullmatch(identifier)
    if named is None:
        return []
    at: dict[str, str | int] = {"network": named[1], "layer": named[2], "unit": int(named[3])}
    found = catalogue.select("tunings", **at)
    if not found:
        return []
    features = sorted({str(row["feature"]) for row in catalogue.select("members", **at)})
    laws = sorted(catalogue.select("laws", **at), key=lambda row: -row["r2"])
    return [
        f"unit {identifier}: {found[0]['detector']}",
        *_indices(found[0]),
        *(["  laws, by R² on stimuli held out:"] if laws else []),
        *(f"    {_law(row)}" for row in laws),
        *(f"  kernel: {_kernel(row)}" for row in catalogue.select("kernels", **at)),
        f"  in {', '.join(features)}" if features else "  in no feature that networks share",
    ]


def _indices(row: Row) -> list[str]:
    sees = f"  sees {row['receptive_field']} pixels a side, {row['stride']:g} further from place to place"
    if missing(row["angle"]):
        return [sees]
    angle, phase = (math.degrees(row[name] or 0.0) for name in ANGLES)
    aliased = ", beyond what its lattice holds" if row["aliased"] else ""
    likes = f"  likes gratings at {angle:.0f}°, {row['frequency']:.3g} cycles per pixel{aliased}, phase {phase:.0f}°"
    told = ", ".join(f"{name} {row[name]:.2f}" for name in TOLD if not missing(row[name]))
    return [sees, likes, f"  {told}"]


def _law(row: Row) -> str:
    law = f"{row['law']}: {to_text(parse(row['expression']), digits=DIGITS)}"
    return f"{row['coordinate']} ({row['stimulus']})  {row['r2']:.3f}  {law if row['reduced'] else 'not reduced'}"


def _kernel(row: Row) -> str:
    form = row["form"].replace("_", " ")
    explained = "" if row["explained"] else ", no more than chance gives"
    return f"{form}, R² {row['r2']:.3f}{explained}"
