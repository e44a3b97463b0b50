"""How all pictures look: one style whatever the user's own settings, colours that all can tell apart."""

from __future__ import annotations

import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure

INK, SOFT, PALE = "#222222", "#6b6b6b", "#cfcfcf"
ACCENT, BASE, GOOD = "#D55E00", "#0072B2", "#009E73"  # Okabe and Ito, 2008

COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#332288",
    "#999933",
    "#882255",
    "#117733",
    "#AA4499",
    "#555555",
)
"""Twelve colours told apart with any colour vision: Okabe and Ito's, then Paul Tol's muted scheme."""

HEADLINE, CAPTION = 13.0, 8.5
"""Sizes in points."""

LINE = 0.45
"""Inches that each further line of a headline takes."""

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "consilience",
    "pdf.fonttype": 42,
}

ONE_AT_A_TIME = threading.RLock()


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in our style; also a decorator.

    matplotlib's settings belong to the whole process, so they are lent to one thread at a time and
    given back. The user's own are not built upon: `text.usetex` would hand strangers' names to TeX.
    """
    with ONE_AT_A_TIME, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box stands in its place
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def blank(width: float, height: float) -> Figure:
    """Make an empty figure of so many inches that no global list knows of."""
    return Figure(figsize=(width, height), layout="constrained")


def headline(figure: Figure, finding: str, caption: str = "") -> None:
    """Write what the picture shows above it, and in grey beneath it how it is to be read."""
    figure.suptitle(finding, x=0.01, ha="left", fontsize=HEADLINE, color=INK)
    letters = int(72 * figure.get_figwidth() / (0.53 * CAPTION))
    figure.supxlabel("\n".join(textwrap.wrap(caption, letters)), x=0.01, ha="left", fontsize=CAPTION, color=SOFT)


def room(width: float) -> float:
    """Tell how many points wide a headline may be on a figure of so many inches."""
    return 0.97 * 72 * width


def colours(count: int) -> list[tuple[float, float, float, float]]:
    """Give distinct colours up to twelve, beyond that an even walk through a continuous map."""
    return [to_rgba(colour) for colour in COLOURS[:count]] if count <= len(COLOURS) else shades(count)


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Give colours in an order that shows, from dark to light, for things that have one."""
    return [to_rgba(ramp()(0.05 + 0.9 * place / max(count - 1, 1))) for place in range(count)]


def ramp() -> Colormap:
    """Give the continuous map: even in lightness, without a pale end that would vanish on white."""
    return LinearSegmentedColormap.from_list(
        "consilience", [matplotlib.colormaps["viridis"](0.93 * step / 63) for step in range(64)]
    )


def thinned(names: Sequence[str], *, most: int) -> list[tuple[int, str]]:
    """Choose at most so many evenly spaced places to label, the first among them."""
    step = -(-len(names) // most)
    return [(place, names[place]) for place in range(0, len(names), max(step, 1))]


def bare(axes: Axes) -> None:
    """Take away ticks and frame, for maps whose coordinates mean nothing."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
