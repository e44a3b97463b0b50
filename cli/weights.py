"""What aligned weights are used for: barriers between networks, and averages of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .opening import open_zoo, progress
from .options import Device, Force, Format, Targets, ZooOption, check_format
from .output import emit, say

PROGRAMS = ("json", "jsonl", "csv")
BARRIERS = ("left", "right", "matching", "statistics", "loss", "at_left", "at_right", "middle", "barrier")
"""What people get of a barrier; programs get the whole line of losses as well."""
Networks = Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names of networks of the zoo.")]


def barrier(
    networks: Networks,
    targets: Targets = None,
    points: Annotated[int, typer.Option("--points", min=3, help="How many points on the line, with its ends.")] = 11,
    format: Format = None,
    zoo: ZooOption = None,
    device: Device = "cpu",
) -> None:
    """Say how far the loss rises on the way from the weights of one network to those of another.

    Once as they are, and once each with the units of the second brought to the first's by activations and by
    weights. The barrier is the highest rise above the line between the losses of the two. Without targets the
    loss is the distance from the mean prediction of the two, as a share of its variance: no label is needed.

    Example: consilience barrier seed-1 seed-2 --targets labels.npy
    """
    from ..analysis.project.catalogue import Rows
    from ..analysis.stages.stage_merge import barrier as measure

    check_format(format)
    with progress() as settings:
        study = open_zoo(zoo, device=device, **settings)
        found = measure(study, networks, targets=targets, points=points)
    rows = Rows.of([asdict(record) for record in found])
    for_programs = format in PROGRAMS or (format is None and not sys.stdout.isatty())
    emit(rows if for_programs else rows.only(BARRIERS), format=format, quiet=False)


def merge(
    networks: Networks,
    output: Annotated[Path, typer.Option("--output", help="The .safetensors file to write.", show_default=False)],
    method: Annotated[
        str, typer.Option("--method", help="What units are matched by: activations, weights, or none.")
    ] = "activations",
    repair: Annotated[bool, typer.Option("--repair/--no-repair", help="Give units back the spread they lose.")] = True,
    targets: Targets = None,
    force: Force = False,
    format: Format = None,
    zoo: ZooOption = None,
    device: Device = "cpu",
) -> None:
    """Average networks of one architecture, with their units brought to those of the first, into one.

    The file can stand in a zoo.toml in the place of the first network's. Listed is what each network loses on the
    probe, and what their average does: against the targets, or as the distance from their mean prediction.

    Example: consilience merge seed-1 seed-2 seed-3 --output merged.safetensors
    """
    from ..analysis.project.catalogue import Rows
    from ..analysis.stages.stage_merge import merge as work

    check_format(format)
    with progress() as settings:
        study = open_zoo(zoo, device=device, **settings)
        found = work(study, networks, output, method=method, repair=repair, targets=targets, force=force)
    emit(Rows.of([asdict(record) for record in found]), format=format, quiet=False)
    say(f"the average of {len(networks)} networks written to {output}")


COMMANDS: tuple[Callable[..., None], ...] = (barrier, merge)
