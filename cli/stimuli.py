"""What networks are shown beside photos: the stimuli, their coordinates, and a sheet of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Format, Quiet, check_format
from .output import answer, emit

if TYPE_CHECKING:
    from ..zoo.stimulus import Coordinate, Stimulus

BRIEF = ("stimulus", "coordinate", "low", "high", "unit", "period", "default", "values", "first", "last")
"""What a table shows where a terminal has no room for what the stimuli are, in words."""


def stimuli(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which stimuli; by default all.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Draw them into a .png, .svg or .pdf.", show_default=False),
    ] = None,
    side: Annotated[
        int, typer.Option("--side", min=15, max=512, help="Pixels of a side: how much of the middle is drawn.")
    ] = 63,
    format: Format = None,
    quiet: Quiet = False,
) -> None:
    """List the stimuli with their coordinates, or draw a sheet of what is presented.

    Listed are the range of each coordinate, the value that it has unless told otherwise, and how many values
    the usual grid has, from `first` to `last`; what has a period goes round. Angles and hues are in radians,
    frequency in cycles per pixel.

    Example: consilience stimuli grating gabor

    Example: consilience stimuli --out sheet.png
    """
    from ..zoo.stimuli import STIMULI, find_stimulus

    check_format(format)
    chosen = [find_stimulus(name) for name in dict.fromkeys(names or STIMULI)]
    if out is not None:
        from ..analysis.pictures.plot import save
        from ..analysis.vision.plot_stimuli import sheet

        save(sheet(chosen, side=side), out)
        answer(str(out))
        return
    from ..analysis.project.catalogue import Rows

    rows = Rows.of([_row(stimulus, coordinate) for stimulus in chosen for coordinate in stimulus.coordinates])
    names_only = Rows(("stimulus",), tuple((stimulus.name,) for stimulus in chosen))
    emit(names_only if quiet else rows, format=format, quiet=quiet, brief=BRIEF)


def _row(stimulus: Stimulus, coordinate: Coordinate) -> dict[str, Any]:
    values = coordinate.values()
    return {
        "stimulus": stimulus.name,
        "coordinate": coordinate.name,
        "low": coordinate.low,
        "high": coordinate.high,
        "unit": coordinate.unit,
        "period": coordinate.period,
        "default": coordinate.default,
        "values": len(values),
        "first": float(values[0]),
        "last": float(values[-1]),
        "about": stimulus.about,
    }


COMMANDS: tuple[Callable[..., None], ...] = (stimuli,)
