"""Draw where networks agree on a feature of an image and where they do not: mean, spread, and each network's map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from ...zoo.errors import BadInput
from ..pictures.plot_style import SOFT, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet
from .plot_tint import diverging, doubting, laid_over, photo, reach, steps

ABREAST = 6
"""Networks beside one another; more go into further rows."""
SPACE = 0.12
"""Inches between pictures."""
TALLEST = 2.6
"""Inches that a large picture may be high."""

CAPTION = (
    "All maps over the same image, in grey. Mean and single networks on one scale (red above 0, blue below). "
    "Disagreement: standard deviation over the networks that have the feature."
)

Image = Num[np.ndarray, "height width 3"]
Map = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """What the maps of several networks share at each place, and their standard deviation; NaN where not known."""

    mean: Map
    spread: Map


@style()
def draw_agreement_map(
    image: Image,
    maps: Mapping[str, Map],
    *,
    networks: Sequence[str],
    name: str,
    unit: str = "standard deviations of the unit",
    note: str = "",
) -> Figure:
    """Draw the mean of a feature over networks and their disagreement on an image, and each network's map beneath.

    The maps are on one grid that covers the image, in a common `unit`; a network without the feature has none.
    `note` ends the caption. Raises BadInput for a map of no such network, and for maps on different grids.
    """
    _check(maps, networks, name)
    abreast = max(lay.abreast(len(networks), most=ABREAST), 3)
    column = (WIDTH - 2 * MARGIN + SPACE) / abreast
    ratio = image.shape[0] / image.shape[1]
    large = min((WIDTH - 2 * MARGIN - 2 * SPACE) / 3, TALLEST / ratio)
    small = min(column - SPACE, TALLEST / ratio)
    heads = [lay.stacked(network, width=column - 0.12, size=8.0) for network in networks]
    high = max((head.high for head in heads), default=0.0)
    step = high + 0.06 + small * ratio + 0.12
    body = 0.2 + large * ratio + 0.45 + -(-len(networks) // abreast) * step
    finding = f"{name}: where {_counted(len(maps))} agree{'s' if len(maps) == 1 else ''}"
    on = lay.sheet(WIDTH, body, finding=finding, caption=" ".join(filter(None, (*_caption(maps, networks), note))))
    known = [maps[network] for network in networks if network in maps]
    full = reach(*known)
    _summary(on, image, known, large, full=full, unit=unit)
    start = on.top + 0.2 + large * ratio + 0.45
    for place, (network, head) in enumerate(zip(networks, heads, strict=True)):
        left, top = MARGIN + place % abreast * column, start + place // abreast * step
        lay.write(on, head, left + small / 2, top + high - head.high, at="center")
        down = top + high + 0.05
        if network in maps:
            laid = laid_over(image, maps[network], full=full, colours=diverging())
            lay.picture(on, laid, left, down, wide=small, high=small * ratio)
        else:
            lay.nothing(on, left, down, wide=small, high=small * ratio)
    return on.figure


def agreed(maps: Float[np.ndarray, "networks rows columns"]) -> Agreement:
    """Take mean and standard deviation over networks at each place, over those that have a finite value there.

    The mean is NaN where none has one, the standard deviation (n − 1) where fewer than two have.
    """
    known = np.isfinite(maps)
    count = known.sum(axis=0)
    values = np.where(known, maps, 0.0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    squares = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
    spread = np.sqrt(squares / np.maximum(count - 1, 1))
    return Agreement(np.where(count > 0, mean, np.nan), np.where(count > 1, spread, np.nan))


def _counted(number: int) -> str:
    return "no network" if number == 0 else f"{number} network{'s' * (number != 1)}"


def _check(maps: Mapping[str, Map], networks: Sequence[str], name: str) -> None:
    strangers = sorted(maps.keys() - set(networks))
    if strangers:
        raise BadInput(f"{name}: no network {strangers[0]!r} is drawn", hint="name it among the networks")
    shapes = {values.shape for values in maps.values()}
    if len(shapes) > 1:
        raise BadInput(f"{name}: maps of {sorted(shapes)}", hint="resample them to a common grid")


def _caption(maps: Mapping[str, Map], networks: Sequence[str]) -> list[str]:
    sayings = (
        (bool(maps), CAPTION),
        (any(not np.isfinite(values).all() for values in maps.values()), "Striped: no value there."),
        (len(maps) < len(networks), "None: the feature has no unit in that network."),
    )
    return [words for wanted, words in sayings if wanted]


def _summary(on: Sheet, image: Image, maps: Sequence[Map], wide: float, *, full: float, unit: str) -> None:
    """Draw the image, the mean of the networks over it, and how far they differ."""
    high = wide * image.shape[0] / image.shape[1]
    lefts = [MARGIN + place * (wide + SPACE) for place in range(3)]
    titles = ("image", f"mean of {_counted(len(maps))}", "disagreement (standard deviation)")
    for left, title in zip(lefts, titles, strict=True):
        lay.write(on, lay.line(title, width=wide, sizes=(9.5, 8.5, 7.5)), left, on.top)
    top = on.top + 0.2
    lay.picture(on, photo(image), lefts[0], top, wide=wide, high=high)
    both = agreed(np.stack(maps)) if maps else None
    missing = "no map" if both is None else "one network: none to differ from"
    minus = "\N{MINUS SIGN}"
    if both is None:
        lay.nothing(on, lefts[1], top, wide=wide, high=high, words=missing)
    else:
        _large(on, image, both.mean, lefts[1], top, wide=wide, full=full, colours=diverging())
        _scale(on, diverging(), lefts[1], top + high, wide, (f"{minus}{full:.2g}", unit, f"+{full:.2g}"))
    if both is None or len(maps) < 2:
        lay.nothing(on, lefts[2], top, wide=wide, high=high, words=missing)
    else:
        most = reach(both.spread)
        _large(on, image, both.spread, lefts[2], top, wide=wide, full=most, colours=doubting())
        _scale(on, doubting(), lefts[2], top + high, wide, ("0", unit, f"{most:.2g}"))


def _large(
    on: Sheet, image: Image, values: Map, left: float, top: float, *, wide: float, full: float, colours: Colormap
) -> None:
    laid = laid_over(image, values, full=full, colours=colours)
    lay.picture(on, laid, left, top, wide=wide, high=wide * image.shape[0] / image.shape[1])


def _scale(on: Sheet, colours: Colormap, left: float, top: float, wide: float, words: Sequence[str]) -> None:
    """Draw a scale of colours with its ends and, between them, the unit."""
    first, middle, last = words
    lay.bar(on, steps(colours), left, top + 0.06, wide=wide, words=(first, last))
    said = lay.line(middle, width=wide - 0.7, sizes=(6.5, 5.5))
    lay.write(on, said, left + wide / 2, top + 0.16, at="center", colour=SOFT)
