"""Read off the kernels of vision networks what pictures show of them: families, and first layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ...zoo.kernels import kernels
from ...zoo.store import content_key
from ..vision.kernel_forms import fit_form
from ..vision.plot_first_kernels import BEST, REST, FirstBand, FirstKernel, draw_first_kernels
from ..vision.plot_kernels import KernelCell, KernelRow, draw_kernels
from ..vision.written_law import form_words
from .drawing import Drawing
from .families import Family
from .findings import Findings
from .stage_kernels import Described

VERSION = "seen-kernels-1"

Row = Mapping[str, Any]


def kernel_pictures(findings: Findings) -> Iterator[Drawing]:
    """Draw families of depthwise kernels, and kernels of first layers with their closed forms, network by network."""
    found = findings.kernels
    if found.families:
        yield "kernels", content_key(VERSION, found.key), partial(_draw_families, found)
    if any(kept["kernels"] for _, kept in found.firsts.values()):
        yield "kernels-first", content_key(VERSION, found.key), partial(_draw_first, found)


def kernel_family_pictures(findings: Findings) -> Iterator[tuple[str, str, Drawing]]:
    """Draw each family of kernels by itself, with its name and a caption."""
    found = findings.kernels
    for family in found.families:
        key = content_key(VERSION, found.key, family.number)
        caption = f"{_title(family)}: kernel, closed form and residual in each network."
        yield f"K{family.number}", caption, (f"kernel-K{family.number}", key, partial(_draw_family, found, family))


def _title(family: Family) -> str:
    return f"K{family.number} {family.detector}"


def _draw_families(found: Described) -> Figure:
    above = sum(family.above_null for family in found.families)
    finding = f"{above} of {len(found.families)} forms of kernels are shared above chance"
    networks = _networks(found, found.families)
    return draw_kernels([_row(family) for family in found.families], networks=networks, finding=finding)


def _draw_family(found: Described, family: Family) -> Figure:
    finding = f"{_title(family)}: {form_words(family.form)}, in {family.lineages} lineages"
    return draw_kernels([_row(family)], networks=_networks(found, [family]), finding=finding)


def _networks(found: Described, families: Sequence[Family]) -> list[str]:
    """Name the networks that have one of the families, in the order of zoo.toml."""
    return [name for name in found.networks if any(name in family.images for family in families)]


def _row(family: Family) -> KernelRow:
    chance = "" if family.above_null else ", not above chance"
    return KernelRow(
        name=_title(family),
        cells={name: _cell(np.array(image), family.form) for name, image in family.images.items()},
        formula=family.expression,
        detail=f"{form_words(family.form)}, {len(family.members):,} kernels{chance}",
    )


def _cell(image: Float[np.ndarray, "rows columns"], form: str) -> KernelCell:
    fit = fit_form(image[None], form)
    return KernelCell(image[None], fit.modelled, fit.r2)


def _draw_first(found: Described) -> Figure:
    bands = [_band(found, name, layer, kept["kernels"]) for name, (layer, kept) in found.firsts.items()]
    whole, explained = sum(band.of for band in bands), sum(band.explained for band in bands)
    finding = f"{explained} of {whole} kernels of first layers have a closed form above chance"
    return draw_first_kernels(bands, finding=finding)


def _band(found: Described, name: str, layer: str, rows: Sequence[Row]) -> FirstBand:
    given = kernels(found.networks[name], layer)
    explained = [row for row in rows if row["explained"]]
    rest = sorted((row for row in rows if not row["explained"]), key=lambda row: -row["r2"])
    places = np.linspace(0, len(rest) - 1, min(len(rest), REST)).round().astype(int)
    best, some = _of_each_form(explained)[:BEST], [rest[place] for place in places]
    first, second = ([_kernel(given[row["unit"]], row) for row in chosen] for chosen in (best, some))
    return FirstBand(name, layer, len(explained), len(rows), first, second)


def _of_each_form(rows: Sequence[Row]) -> list[Row]:
    """Order kernels so that the best of each form comes first, then the second best of each."""
    ranked = sorted(rows, key=lambda row: -row["r2"])
    seen: dict[str, int] = {}
    rank = []
    for row in ranked:
        seen[row["form"]] = seen.get(row["form"], 0) + 1
        rank.append(seen[row["form"]])
    return [row for _, row in sorted(zip(rank, ranked, strict=True), key=lambda pair: pair[0])]


def _kernel(kernel: Float[np.ndarray, "channels rows columns"], row: Row) -> FirstKernel:
    r2 = math.nan if row["r2"] is None else float(row["r2"])
    return FirstKernel(row["unit"], kernel, fit_form(kernel, row["form"]).modelled, row["form"], r2)
