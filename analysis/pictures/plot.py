"""Draw pictures and write them as files: every picture is a function from plain arrays to a figure."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from ...zoo.errors import BadInput
from ...zoo.store import write_atomically
from .plot_agreement import agreement
from .plot_front import FrontPoint, front
from .plot_matches import Panel, Strip, matches
from .plot_similarity import similarity
from .plot_style import style
from .plot_units import units
from .plot_universality import universality

__all__ = [
    "FORMATS",
    "PICTURES",
    "FrontPoint",
    "Panel",
    "Strip",
    "agreement",
    "front",
    "matches",
    "save",
    "similarity",
    "units",
    "universality",
]

DPI = 160

PICTURES: dict[str, Callable[..., Figure]] = {
    "front": front,
    "agreement": agreement,
    "units": units,
    "similarity": similarity,
    "universality": universality,
    "matches": matches,
}

FORMATS: dict[str, Mapping[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Metadata that each format would add by itself: left out, since the same picture has the same bytes."""


@style()
def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, in the format that the suffix names (png at 160 dpi, svg, pdf).

    Raises BadInput for another suffix, or where the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise BadInput(f"{path}: no picture format {suffix!r}", hint=f"use one of {', '.join(FORMATS)}")
    try:
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=dict(FORMATS[suffix]))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "it failed"
        remedy = "make room there" if error.errno == errno.ENOSPC else "name a folder that you can write to"
        raise BadInput(
            f"{path}: cannot write the picture into {path.parent}: {reason}", hint=f"{remedy}: --out FOLDER"
        ) from None
