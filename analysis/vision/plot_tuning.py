"""Draw tuning curves of a feature's units over their law: round where the coordinate is an angle."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..pictures import plot_text as text
from ..pictures.plot_style import INK, SOFT, colours, style
from . import plot_sheet as lay
from .plot_sheet import MARGIN, WIDTH, Sheet

Scale = Literal["orientation", "direction", "log", "linear"]
Array = Float[np.ndarray, " places"]
Drawn = Float[np.ndarray, "two _drawn"]

ABREAST = 3
"""Panels beside one another."""
NARROW = 4.6
"""Width of a picture of one panel in inches."""
SPACE = 0.3
"""Inches between panels."""
HIGH = 1.95
"""Height of a panel's axes in inches."""
LISTED = 12
"""Networks in the legend at the most."""
PERIODS: dict[Scale, float] = {"orientation": math.pi, "direction": 2 * math.pi}
"""Periods of the coordinates that are angles, in radians."""

DOTTED = 6
"""Curves of a panel up to which places that were held out are dots: those of more hide one another and the law."""
LAW = "law"
"""What the law is called in the legend."""

CAPTION = "Thin: single units, coloured by network. Thick, in black: the law."
DOTS = "Open dots: held out from the fit."
TURNED = "Angles are counted from each unit's preferred one."
TWICE = "Orientations repeat after 180° and are drawn twice."


@dataclass(frozen=True, slots=True, eq=False)
class TuningCurve:
    """Responses of one unit at places of a coordinate; `held` marks those that its law was not fitted on.

    Angles in radians; they are counted from `preferred`, which other coordinates leave unused.
    """

    network: str
    places: Array
    responses: Array
    held: Bool[np.ndarray, " places"]
    preferred: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TuningPanel:
    """Curves over one coordinate and their law, drawn at its own places (angles: from the preferred one).

    `r2` is the law's on held-out places, `law` the name of the form that won, `around` what a round coordinate is.
    """

    coordinate: str
    scale: Scale
    curves: Sequence[TuningCurve]
    law_places: Array
    law_responses: Array
    formula: str = ""
    law: str = ""
    r2: float = math.nan
    unit: str = ""
    around: str = "angle"


@style()
def draw_tuning(
    panels: Sequence[TuningPanel], *, finding: str, response: str = "response [share of the peak]", note: str = ""
) -> Figure:
    """Draw tuning curves of all members over their law, a panel a coordinate, with the law written above it.

    Orientations (period 180°) and directions (360°) are drawn round, frequencies on a logarithmic axis. What is
    not finite is left out. `response` says what the curves are in; `note` ends the caption.
    """
    abreast = lay.abreast(len(panels), most=ABREAST)
    width = float(np.clip(NARROW + 1.3 * (abreast - 1), NARROW, WIDTH))
    step = (width - 2 * MARGIN + SPACE) / abreast
    heads = [_head(panel, step - SPACE) for panel in panels]
    high = max((sum(words.high + 0.05 for words in head) for head in heads), default=0.0)
    row = high + HIGH + 0.75
    networks = list(dict.fromkeys(curve.network for panel in panels for curve in panel.curves))
    named = [LAW, *networks[:LISTED]] if networks else []
    legend = _legend_places(named, width)
    tall = 0.1 + 0.17 * (max((down for _, down in legend), default=-1) + 1)
    rows = -(-len(panels) // abreast)
    caption = " ".join(filter(None, (*_caption(panels, networks, response), note)))
    on = lay.sheet(width, max(rows, 1) * row + tall, finding=finding, caption=caption)
    if not panels:
        lay.nothing(on, MARGIN, on.top, wide=width - 2 * MARGIN, high=1.0, words="no tuning curve")
    palette = dict(zip(networks, colours(len(networks)), strict=True)) | {LAW: to_rgba(INK)}
    for place, (panel, head) in enumerate(zip(panels, heads, strict=True)):
        left, top = MARGIN + place % abreast * step, on.top + place // abreast * row
        down = top
        for words, colour in zip(head, (INK, SOFT, INK), strict=True):
            lay.write(on, words, left, down, colour=colour)
            down += words.high + 0.05
        _panel(on, panel, left, top + high + 0.2, wide=step - SPACE, palette=palette, response=response)
    _legend(on, named, legend, palette)
    return on.figure


def _head(panel: TuningPanel, width: float) -> tuple[lay.Words, lay.Words, lay.Words]:
    r2 = f"R² = {lay.score(panel.r2)} held out" if math.isfinite(panel.r2) else ""
    second = ", ".join(filter(None, (panel.law, r2)))
    return (
        lay.line(panel.coordinate, width=width, sizes=(9.5, 8.5, 7.5), bold=True),
        lay.line(second, width=width, sizes=(8.0, 7.0, 6.5)),
        lay.law("", panel.formula, width=width, sizes=(9.5, 8.5, 7.5, 6.5), lines=3),
    )


def _caption(panels: Sequence[TuningPanel], networks: Sequence[str], response: str) -> list[str]:
    dotted = any(curve.held.any() for panel in panels if len(panel.curves) <= DOTTED for curve in panel.curves)
    sayings = (
        (bool(networks), CAPTION),
        (dotted, DOTS),
        (any(panel.scale in PERIODS for panel in panels), f"From the centre out: {response}."),
        (any(panel.scale in PERIODS for panel in panels), TURNED),
        (any(panel.scale == "orientation" for panel in panels), TWICE),
        (len(networks) > LISTED, f"{LISTED} of {len(networks)} networks are named."),
    )
    return [words for wanted, words in sayings if wanted]


def _legend_places(networks: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Place the names of the networks in lines: inches from the left, and which line."""
    places, left, down = [], 0.0, 0
    for name in networks:
        wide = _entry(name).wide + 0.45
        if left and left + wide > width - 2 * MARGIN:
            left, down = 0.0, down + 1
        places.append((left, down))
        left += wide
    return places


def _entry(name: str) -> lay.Words:
    return lay.line(name, width=1.7, sizes=(7.5, 6.5))


def _legend(
    on: Sheet,
    networks: Sequence[str],
    places: Sequence[tuple[float, int]],
    palette: dict[str, tuple[float, float, float, float]],
) -> None:
    lines = max((down for _, down in places), default=0) + 1
    for name, (left, down) in zip(networks, places, strict=False):
        across, top = MARGIN + left, on.bottom - 0.17 * (lines - down)
        on.canvas.add_line(Line2D([across, across + 0.2], [top + 0.06, top + 0.06], color=palette[name], linewidth=2))
        lay.write(on, _entry(name), across + 0.26, top)


def _panel(
    on: Sheet,
    panel: TuningPanel,
    left: float,
    top: float,
    *,
    wide: float,
    palette: dict[str, tuple[float, float, float, float]],
    response: str,
) -> None:
    round_ = panel.scale in PERIODS
    if not any(np.isfinite(curve.responses).any() for curve in panel.curves):
        lay.nothing(on, left, top, wide=wide, high=HIGH)
        return
    if round_:
        side = min(wide - 0.55, HIGH)
        axes = lay.axes_at(on, left + (wide - side) / 2, top + (HIGH - side) / 2, wide=side, high=side, polar=True)
    else:
        axes = lay.axes_at(on, left + 0.48, top, wide=wide - 0.48, high=HIGH)
    _law(axes, panel)
    few = len(panel.curves) <= DOTTED
    for curve in panel.curves:
        _curve(axes, curve, panel.scale, palette[curve.network], few=few)
    AXES[panel.scale](axes, panel)
    label = lay.line(
        text.quantity(panel.coordinate, panel.unit).replace(r"\$", "$"), width=wide - 0.5, sizes=(8.0, 7.0)
    )
    if round_:
        words = lay.line(f"{panel.around} from the preferred one", width=wide, sizes=(8.0, 7.0))
        lay.write(on, words, left + wide / 2, top + (HIGH + side) / 2 + 0.25, at="center")
    else:
        axes.set_xlabel(label.text, fontsize=label.size)
        axes.set_ylabel(lay.line(response, width=HIGH, sizes=(8.0, 7.0, 6.0)).text, fontsize=8.0)


def _law(axes: Axes, panel: TuningPanel) -> None:
    """Draw the law over all curves, in a white seam that parts it from them."""
    places, responses = _laid(panel.law_places, panel.law_responses, panel.scale)
    seam = [Stroke(linewidth=4.0, foreground="white"), Normal()]
    axes.plot(places, responses, color=INK, linewidth=2.0, solid_capstyle="round", zorder=5, path_effects=seam)


def _curve(
    axes: Axes, curve: TuningCurve, scale: Scale, colour: tuple[float, float, float, float], *, few: bool
) -> None:
    shifted = curve.places - (curve.preferred if scale in PERIODS else 0.0)
    drawn = _laid(shifted, curve.responses, scale)
    axes.plot(*drawn, color=colour, linewidth=0.8 if few else 0.6, alpha=0.9 if few else 0.55, zorder=3)
    if few:
        dots, values = _laid(shifted[curve.held], curve.responses[curve.held], scale, closed=False)
        axes.plot(dots, values, "o", markersize=2.4, mfc="white", mec=colour, markeredgewidth=0.6, zorder=4)


def _laid(places: Array, responses: Array, scale: Scale, *, closed: bool = True) -> Drawn:
    """Order what is finite; angles go once round the circle, orientations twice, back to where they began."""
    finite = np.isfinite(places) & np.isfinite(responses) & ((places > 0) | (scale != "log"))
    places, responses = places[finite], responses[finite]
    period = PERIODS.get(scale)
    if period is not None:
        places = np.mod(places, period)
    order = np.argsort(places, kind="stable")
    places, responses = places[order], responses[order]
    if period is None or not places.size:
        return np.stack([places, responses])
    turns = round(2 * math.pi / period)
    around = np.concatenate([places + turn * period for turn in range(turns)])
    values = np.tile(responses, turns)
    if not closed:
        return np.stack([around, values])
    return np.stack([np.append(around, around[0] + 2 * math.pi), np.append(values, values[0])])


def _drawn(panel: TuningPanel) -> tuple[float, float]:
    """Give the lowest and highest finite response of a panel, zero among them."""
    values = np.concatenate([panel.law_responses, *(curve.responses for curve in panel.curves), np.zeros(1)])
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    return low, high if high > low else low + 1.0


def _polar(axes: Axes, panel: TuningPanel) -> None:
    assert isinstance(axes, PolarAxes)
    low, high = _drawn(panel)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_rlim(1.05 * low, 1.05 * high)
    half = panel.scale == "orientation"
    angles = np.arange(0, 360, 45)
    names = [_signed_degrees(int(angle), 180 if half else 360) for angle in angles]
    axes.set_xticks(np.deg2rad(angles), names, fontsize=6.5)
    axes.tick_params(axis="x", pad=-2)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.tick_params(axis="y", labelsize=6.0, labelcolor=SOFT)
    axes.set_rlabel_position(75.0 if half else 157.5)
    axes.spines["polar"].set_visible(False)
    axes.grid(visible=True)
    if low < 0:
        around = np.linspace(0, 2 * np.pi, 181)
        axes.plot(around, np.zeros_like(around), color=INK, linewidth=0.7, linestyle=(0, (3, 2)), zorder=2)


def _signed_degrees(angle: int, period: int) -> str:
    folded = angle % period
    folded = folded - period if folded > period // 2 else folded
    return f"{folded}°".replace("-", "\N{MINUS SIGN}")


def _linear(axes: Axes, panel: TuningPanel) -> None:
    axes.grid(visible=True)
    axes.tick_params(labelsize=7.0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if _drawn(panel)[0] < 0:
        axes.axhline(0.0, color=INK, linewidth=0.7, linestyle=(0, (3, 2)), zorder=1)


def _logarithmic(axes: Axes, panel: TuningPanel) -> None:
    _linear(axes, panel)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


AXES: dict[Scale, Callable[[Axes, TuningPanel], None]] = {
    "orientation": _polar,
    "direction": _polar,
    "log": _logarithmic,
    "linear": _linear,
}
