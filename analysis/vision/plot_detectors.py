"""Draw one feature in all networks side by side: its kernel or best crops, and its map over one image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure

from ...zoo.errors import BadInput
from ..pictures.plot_style import SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet
from .plot_tint import diverging, kernel_colours, laid_over, photo, reach

ABREAST = 6
"""Networks in a band; more go into further bands."""
CROPS = 9
"""Crops of a network at the most, the first ones."""
LABEL = 1.05
"""Inches for the words and the image beside a band."""
WIDE = 1.35
"""Largest width of a network's column in inches."""
SPACE = 0.1
"""Inches between columns."""

KERNELS = "Kernel: red positive, blue negative; of three channels in colour, middle grey 0."
CROPPED = "Crops: where the unit answers most over the images, cut to its receptive field."
MAPPED = "Maps: the unit's answer over one image, less its median there, each on its own scale (red above, blue below)."
STRIPED = "Striped: no value there."
SCORED = {"r": "r: agreement of the unit with the feature.", "R²": "R²: what the law explains of the unit's tuning."}
MISSING = "None: the feature has no unit in that network."


@dataclass(frozen=True, slots=True, eq=False)
class DetectorMember:
    """A unit of one network: its kernel, or the crops that it answers most to, best first; its map over the image.

    `r` is its agreement with the feature. The map, whose zero is left clear, covers the whole image, whatever its grid.
    """

    unit: str
    kernel: Float[np.ndarray, "channels rows columns"] | None = None
    crops: Num[np.ndarray, "crops height width 3"] | None = None
    response: Float[np.ndarray, "down across"] | None = None
    r: float = math.nan


@dataclass(frozen=True, slots=True)
class Band:
    """Measures of a band of networks in inches: column, side of what is seen, height of the maps, names, words."""

    column: float
    side: float
    map_high: float
    names: float

    @property
    def high(self) -> float:
        """Height of the band with its space to the next."""
        return self.names + self.side + (self.map_high + 0.08 if self.map_high else 0.0) + 0.56


@style()
def draw_detector(
    members: Mapping[str, DetectorMember],
    *,
    networks: Sequence[str],
    name: str,
    detector: str,
    lineages: int,
    of: int,
    formula: str = "",
    target: str = "response",
    image: Num[np.ndarray, "height width 3"] | None = None,
    score: str = "r",
    note: str = "",
) -> Figure:
    """Draw a feature in every network: kernel or crops, and its map over one `image`, under its name and its law.

    `lineages` of how many have it; `score` is what the members' `r` is, r or R². Networks go in bands of six. `note`
    ends the caption. Raises BadInput for a member of no such network.
    """
    strangers = sorted(members.keys() - set(networks))
    if strangers:
        raise BadInput(f"{name}: no network {strangers[0]!r} is drawn", hint="name it among the networks")
    abreast = lay.abreast(len(networks), most=ABREAST)
    bands = [networks[first : first + abreast] for first in range(0, len(networks), abreast)]
    measures = _measures(networks, image)
    law = lay.law(target, formula, width=WIDTH - 2 * MARGIN) if formula else lay.measured("no equation", lay.LAW)
    caption = " ".join(filter(None, (*_caption(members, networks, mapped=image is not None, score=score), note)))
    finding = f"{name}: {detector}, in {lineages} of {of} lineages"
    on = lay.sheet(WIDTH, max(len(bands), 1) * measures.high, finding=finding, formula=law, caption=caption)
    if not bands:
        lay.nothing(on, MARGIN, on.top, wide=WIDTH - 2 * MARGIN, high=0.8, words="no network")
    for place, band in enumerate(bands):
        top = on.top + place * measures.high
        _beside(on, members, band, measures, None if place else image, top)
        for column, network in enumerate(band):
            left = MARGIN + LABEL + column * measures.column
            head = _head(network, measures.column)
            lay.write(on, head, left + measures.side / 2, top + measures.names - 0.05 - head.high, at="center")
            _member(on, members.get(network), measures, image, left, top + measures.names, score=score)
    return on.figure


def _measures(networks: Sequence[str], image: Num[np.ndarray, "height width 3"] | None) -> Band:
    abreast = lay.abreast(len(networks), most=ABREAST)
    column = min((WIDTH - 2 * MARGIN - LABEL + SPACE) / abreast, WIDE + SPACE)
    side = column - SPACE
    high = 0.0 if image is None else min(side * image.shape[0] / image.shape[1], 2 * side)
    names = max((_head(name, column).high for name in networks), default=0.0) + 0.06
    return Band(column, side, high, names)


def _head(name: str, column: float) -> lay.Words:
    return lay.stacked(name, width=column - 0.12, size=8.0)


def _caption(members: Mapping[str, DetectorMember], networks: Sequence[str], *, mapped: bool, score: str) -> list[str]:
    """Say how to read what is drawn, and nothing of what is not."""
    drawn = list(members.values())
    maps = [one.response for one in drawn if one.response is not None] if mapped else []
    sayings = (
        (any(one.kernel is not None for one in drawn), KERNELS),
        (any(one.kernel is None and one.crops is not None for one in drawn), CROPPED),
        (bool(maps), MAPPED),
        (any(not np.isfinite(one).all() for one in maps), STRIPED),
        (any(math.isfinite(one.r) for one in drawn), SCORED.get(score, "")),
        (len(drawn) < len(networks), MISSING),
    )
    return [words for wanted, words in sayings if wanted]


def _beside(
    on: Sheet,
    members: Mapping[str, DetectorMember],
    band: Sequence[str],
    measures: Band,
    image: Num[np.ndarray, "height width 3"] | None,
    top: float,
) -> None:
    """Say what the rows of a band are, with the image itself beside the maps."""
    drawn = [members[name] for name in band if name in members]
    kernels = any(one.kernel is not None for one in drawn)
    crops = any(one.kernel is None and one.crops is not None for one in drawn)
    said = " or ".join(words for words, wanted in (("kernel", kernels), ("strongest crops", crops)) if wanted)
    words = lay.paragraph(said, width=LABEL - 0.15, size=8.0)
    lay.write(on, words, MARGIN, top + measures.names, colour=SOFT)
    if image is None:
        return
    down = top + measures.names + measures.side + 0.08
    wide = min(LABEL - 0.15, measures.map_high * image.shape[1] / image.shape[0])
    high = wide * image.shape[0] / image.shape[1]
    lay.picture(on, photo(image), MARGIN, down, wide=wide, high=high)
    lay.write(on, lay.measured("the image", 7.0), MARGIN, down + high + 0.04, colour=SOFT)


def _member(
    on: Sheet,
    member: DetectorMember | None,
    measures: Band,
    image: Num[np.ndarray, "height width 3"] | None,
    left: float,
    top: float,
    *,
    score: str,
) -> None:
    side, gap = measures.side, 0.08 if measures.map_high else 0.0
    below = top + side + gap + measures.map_high
    if member is None:
        lay.nothing(on, left, top, wide=side, high=below - top)
        return
    _seen(on, member, left, top, side=side)
    if image is not None and member.response is not None:
        full = reach(member.response)
        laid = laid_over(image, member.response, full=full, colours=diverging())
        lay.picture(on, laid, left, top + side + gap, wide=side, high=measures.map_high)
    elif image is not None:
        lay.nothing(on, left, top + side + gap, wide=side, high=measures.map_high, words="no map")
    unit = lay.stacked(member.unit, width=side, size=7.0)
    lay.write(on, unit, left + side / 2, below + 0.04, at="center")
    if math.isfinite(member.r):
        words = lay.measured(f"{score} = {lay.score(member.r)}", 6.5)
        lay.write(on, words, left + side / 2, below + unit.high + 0.08, at="center", colour=SOFT)


def _seen(on: Sheet, member: DetectorMember, left: float, top: float, *, side: float) -> None:
    """Draw the kernel, or the crops in a square, in a place of so many inches."""
    if member.kernel is not None:
        shown = member.kernel if len(member.kernel) in (1, 3) else member.kernel.mean(axis=0, keepdims=True)
        lay.picture(on, kernel_colours(shown, reach=reach(shown)), left, top, wide=side, high=side)
        return
    crops = () if member.crops is None else member.crops[:CROPS]
    if not len(crops):
        lay.nothing(on, left, top, wide=side, high=side, words="no crops")
        return
    abreast = math.ceil(math.sqrt(len(crops)))
    step = (side + 0.03) / abreast
    for place, crop in enumerate(crops):
        across, down = left + place % abreast * step, top + place // abreast * step
        lay.picture(on, photo(crop), across, down, wide=step - 0.03, high=step - 0.03)
