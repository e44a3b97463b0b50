"""Read off families of vision networks what a table of all of them shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import isfinite

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ...zoo.stimuli import find_stimulus, render
from ...zoo.store import content_key
from ..formulas.fit import predict
from ..formulas.parsing import parse
from ..vision.detector_counts import names_of
from ..vision.plot_sheet import left_out
from ..vision.plot_table import TableCell, draw_table
from ..vision.written_law import PARTS, written_law
from .drawing import Drawing
from .families import Family
from .findings import Findings
from .first_families import LEVEL as FIRST
from .plot_seen_tuning import watched
from .stage_kernels import Described
from .stage_tuning import Tuning

VERSION = "seen-table-2"
SIDE = 48
"""The side in pixels of stimuli that stand for a feature."""
MAPS = 24
"""So many features of maps are drawn at the most, those in most lineages first: there may be a hundred."""
NULLS = "Percentiles: how seldom chance gives two lineages as much beyond untrained twins, in any layer."
SHORTENED = f"{', '.join(PARTS)}: parts that the picture of the feature writes out."


def table_pictures(findings: Findings) -> Iterator[Drawing]:
    """Draw all families above chance as a table: what they detect, in how many lineages, and their equation.

    Of features of maps those that have an equation.
    """
    kernel, tuning, matched = findings.kernels, findings.tuning, [one for one in findings.matched if not one.unreduced]
    if kernel.families or tuning.families or matched:
        key = content_key(VERSION, kernel.key, tuning.key, [(one.number, one.expression) for one in matched])
        yield "table", key, partial(_draw_table, kernel, tuning, matched)


def _draw_table(kernel: Described, tuning: Tuning, matched: Sequence[Family]) -> Figure:
    lineages = {one.network.lineage for one in tuning.presented} | {one.lineage for one in kernel.networks.values()}
    of = len(lineages)
    cells = [_of_kernels(family, of) for family in kernel.families if family.above_null]
    cells += [_of_tuning(tuning, family, of) for family in tuning.families if family.above_null]
    kinds, drawn = len(cells), matched[:MAPS]
    cells += [_of_maps(tuning, family, of) for family in drawn]
    whole, left, silent = watched(tuning)
    notes = (
        NULLS if any(isfinite(cell.percentile) for cell in cells) else "",
        SHORTENED if any(written_law(parse(one.expression)).parts for one in kernel.families) else "",
        left_out(len(matched), len(drawn), "features of maps that have an equation") if matched else "",
        f"{left:,} of {whole:,} units that were shown stimuli are not reduced to a law, {silent:,} are silent.",
    )
    single = f" and {len(matched)} single features of maps" if matched else ""
    finding = f"{kinds} families of units and kernels{single} are shared by networks that were trained apart"
    return draw_table(cells, finding=finding, note=" ".join(filter(None, notes)))


def _of_kernels(family: Family, of: int) -> TableCell:
    images = [np.array(image) for image in family.images.values()]
    # Kernels of first layers differ in size and angle: one of them stands for all.
    mean = images[0] if family.level.startswith(FIRST) else np.mean(images, axis=0)
    name, formula = f"K{family.number}", _short(family)
    return TableCell(name, family.detector, family.lineages, of, kernel=mean[None], formula=formula)


def _of_tuning(tuning: Tuning, family: Family, of: int) -> TableCell:
    return TableCell(
        f"T{family.number}",
        family.detector,
        family.lineages,
        of,
        stimulus=_liked(tuning, family),
        formula=_short(family),
        percentile=100 * (1 - family.p),
    )


def _of_maps(tuning: Tuning, family: Family, of: int) -> TableCell:
    name, liked, formula = f"M{family.number}", _liked(tuning, family), _short(family)
    return TableCell(name, family.detector, family.lineages, of, stimulus=liked, formula=formula)


def _short(family: Family) -> str:
    """Write the equation without what its parts stand for."""
    return written_law(parse(family.expression)).texts[0]


def _liked(tuning: Tuning, family: Family) -> Float[np.ndarray, "height width 3"]:
    """Render the grating, or the colour, that the best member likes best, of those that are called as the family is.

    Where none is, because only what they share is reduced, it is the best of all that are not silent.
    """
    units = [tuning.results[one.network][one.layer]["units"][one.unit] for one in family.members]
    alike = [place for place, unit in enumerate(units) if unit["detector"] in names_of(family.detector)]
    own = alike or [place for place, unit in enumerate(units) if unit["indices"] is not None]
    unit = units[max(own, key=lambda place: family.members[place].r)]
    if family.detector == "colour":
        fine = np.linspace(0.0, 2 * np.pi, 361)
        told = predict(parse(unit["laws"]["hue"]["expression"]), {"hue": fine}, len(fine))
        row = {"hue": float(fine[np.argmax(told)]), "saturation": 1.0, "luminance": 0.5}
        return np.asarray(render(find_stimulus("colour"), np.array([list(row.values())]), side=SIDE)[0])
    indices = unit["indices"]
    row = {"angle": indices["angle"], "frequency": 2.0 / SIDE, "phase": indices["phase"], "contrast": 1.0}
    return np.asarray(render(find_stimulus("grating"), np.array([list(row.values())]), side=SIDE)[0])
