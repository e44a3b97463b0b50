"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import FORMATS

Zoo = Annotated[
    Path | None,
    typer.Argument(help="A zoo.toml or its folder; by default the nearest one upward.", show_default=False),
]
ZooOption = Annotated[
    Path | None,
    typer.Option("--zoo", help="A zoo.toml or its folder; by default the nearest one upward.", show_default=False),
]
Device = Annotated[str, typer.Option("--device", envvar="CONSILIENCE_DEVICE", help="cpu, cuda or mps.")]
Wait = Annotated[float, typer.Option("--wait-for-lock", metavar="SECONDS", help="Wait for another writer.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Where = Annotated[str | None, typer.Option("--where", help='A condition in SQL, such as "q < 0.05".')]
Sort = Annotated[str | None, typer.Option("--sort", help="A column; with a minus before it, descending.")]
Limit = Annotated[int | None, typer.Option("--limit", min=0, help="At most so many rows.")]
Format = Annotated[
    str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}; table on a terminal, jsonl in a pipe.")
]
Architecture = Annotated[
    str | None,
    typer.Option(
        "--architecture",
        metavar="KIND:NAME",
        help="timm:NAME, torchvision:NAME, transformers:, python:MODULE:FACTORY, weights; by default inferred.",
    ),
]
Activation = Annotated[
    str | None, typer.Option("--activation", help="Between the layers of MLPs and CNNs whose files do not say it.")
]
StripPrefix = Annotated[
    str | None, typer.Option("--strip-prefix", metavar="TEXT", help="Take this off the names of all tensors.")
]
Output = Annotated[str | None, typer.Option("--output", metavar="NAME", help="One output, by its name in zoo.toml.")]
Inner = Annotated[
    str | None,
    typer.Option(
        "--inner", metavar="MODULE", help="What a module inside the networks gives, in terms of what it is given."
    ),
]
Terms = Annotated[
    str | None,
    typer.Option("--in", metavar="VAR,VAR", help="What to write equations in: variables, or features (F3,F7)."),
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="operon, pysr, auto (what is here), or none.")
]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="SIZE", help="quick, normal or thorough: how long the search may be.")
]
Linked = Annotated[
    bool, typer.Option("--linked", help="Targets are known up to a monotone function of each network's own.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Identifiers only.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Targets = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        metavar="FILE",
        help="What should be predicted, .npy or .csv, one row for each row of the probe: whole numbers are classes.",
        show_default=False,
    ),
]


def check_format(format: str | None) -> None:
    """Refuse a format that there is none of."""
    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")
