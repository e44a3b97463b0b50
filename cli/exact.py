"""What units of small networks are, exactly, beside the equations that are fitted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from .opening import open_zoo, progress
from .options import Format, ZooOption, check_format
from .output import answer, emit

TABLE = ("piece", "share", "expression", "where")
"""What a table shows of pieces."""


def exact(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Name of a network of the zoo.")],
    unit: Annotated[
        str, typer.Option("--unit", metavar="LAYER:UNIT", help="Or an output's name; by default the only output.")
    ] = "",
    form: Annotated[
        str, typer.Option("--as", help="unit, pieces, tree or expression; unit for a unit, else pieces.")
    ] = "",
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="So many pieces or leaves (64), or nodes (500), may it have.")
    ] = None,
    digits: Annotated[
        int | None, typer.Option("--digits", min=1, help="Round numbers for reading; by default they are exact.")
    ] = None,
    format: Format = None,
    zoo: ZooOption = None,
) -> None:
    """Write a unit of a small multilayer perceptron, or its output, as exactly what it is.

    As a unit: its function of the units of the layer before it (h1_0, h1_1, ... are those of the first layer).
    As pieces: the planes that a network of straight functions (ReLU and the like) is made of, and where the
    probe's rows lie on each. As a tree: the same as tests one after another, with Python code in json. As an
    expression: one formula that equals the network everywhere.

    Example: consilience exact relu-32x32 --unit 0:3 --zoo data/gravity
    """
    from ..analysis.project.catalogue import Rows
    from ..analysis.stages.exact import exact as write
    from ..analysis.stages.exact import facts

    check_format(format)
    with progress() as settings:
        found = write(open_zoo(zoo, **settings), network, unit=unit, form=form, most=most)
    told = facts(found, digits=digits)
    for_people = format == "table" or (format is None and sys.stdout.isatty())
    if for_people and found.form == "tree":
        for line in told[0]["tree"].splitlines():
            answer(line)
    elif for_people and found.form == "pieces":
        emit(
            Rows.of([row | {"where": _in_words(row["where"])} for row in told]).only(TABLE), format=format, quiet=False
        )
    else:
        emit(Rows.of(told), format=format, quiet=False)


def _in_words(cells: Sequence[Sequence[str]]) -> str:
    return " or ".join(" and ".join(cell) or "everywhere" for cell in cells)


COMMANDS: tuple[Callable[..., None], ...] = (exact,)
