"""Lists of what the catalogue holds, and other ways of looking at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..zoo.errors import NotFound
from .opening import open_zoo, progress, reading
from .options import Format, Limit, Quiet, Sort, Where, ZooOption, check_format
from .output import answer, emit, say

BRIEF = {
    "networks": ("network", "status", "lineage", "activation", "parameters", "code", "warnings"),
    "layers": ("network", "layer", "kind", "role", "axes", "activation", "units", "dead", "level"),
    "features": ("feature", "level", "name", "lineages", "universality", "agreement", "q", "above_null"),
    "detectors": ("feature", "detector", "level", "name", "members", "lineages", "agreement", "above_null"),
    "equations": ("equation", "target", "status", "expression", "complexity", "peer_ratio", "fidelity"),
    "kinships": ("network", "relative", "relation", "similarity", "evidence"),
    "matches": ("left_network", "left_layer", "left_unit", "right_network", "right_layer", "right_unit", "r", "q"),
}
"""What a table shows where a terminal has no room for all."""
NONE_YET = {"kinships": "no two networks are relatives, as far as their weights show; before ingest nothing is known"}


def _lister(what: str, about: str, example: str) -> Callable[..., None]:
    def command(
        where: Where = None,
        sort: Sort = None,
        limit: Limit = None,
        format: Format = None,
        quiet: Quiet = False,
        zoo: ZooOption = None,
    ) -> None:
        check_format(format)
        with reading(zoo) as catalogue:
            rows = catalogue.listing(what, where=where, sort=sort, limit=limit)
        asked = where is not None or limit == 0
        hint = "loosen --where or --limit" if asked else NONE_YET.get(what, f"no {what} yet: consilience run")
        _emit(rows, format, quiet, hint=hint, brief=BRIEF[what])

    command.__name__ = what
    command.__doc__ = f"{about}\n\nExample: {example}"
    return command


networks = _lister("networks", "List the networks, those that were refused with the reason.", "consilience networks")
kinships = _lister(
    "kinships", "List the networks that descend from one another, with the evidence.", "consilience kinships"
)
equations = _lister(
    "equations", "List the equations with their evidence.", "consilience equations --format csv > equations.csv"
)
matches = _lister(
    "matches", "List the matched units of pairs of networks.", 'consilience matches --where "q < 0.05" --limit 20'
)


def features(
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="DETECTOR",
            help="edge, line, orientation (of no phase), oriented (a family of these three), colour, spot ...",
        ),
    ] = None,
    shared: Annotated[
        str | None,
        typer.Option("--in", metavar="LINEAGES", help='In so many lineages at least: 3, or "3 of 7" of a zoo of 7.'),
    ] = None,
    where: Where = None,
    sort: Sort = None,
    limit: Limit = None,
    format: Format = None,
    quiet: Quiet = False,
    zoo: ZooOption = None,
) -> None:
    """List the features: what several networks have in common.

    Example: consilience features --where "above_null" --sort -universality

    Example: consilience features --kind edge --in "3 of 7"
    """
    from ..analysis.reports.asked import condition

    check_format(format)
    with reading(zoo) as catalogue:
        told = condition(catalogue, kind=kind, shared=shared, where=where)
        rows = catalogue.listing("features", where=told, sort=sort, limit=limit)
    asked = told is not None or limit == 0
    loosen = "loosen --kind, --in, --where or --limit" if kind or shared else "loosen --where or --limit"
    hint = loosen if asked else "no features yet: consilience run"
    seen = any(row["detector"] for row in rows.dicts())
    _emit(rows, format, quiet, hint=hint, brief=BRIEF["detectors" if seen else "features"])


def compare(
    left: Annotated[str, typer.Argument(metavar="NETWORK", help="A network's name.")],
    right: Annotated[str, typer.Argument(metavar="NETWORK", help="Another's.")],
    format: Format = None,
    zoo: ZooOption = None,
) -> None:
    """List the features that two networks share, and how many units each has in them.

    Example: consilience compare efficientnet-lite0 mobilenet-v2
    """
    from ..analysis.reports.asked import shared_by

    check_format(format)
    with reading(zoo) as catalogue:
        rows = shared_by(catalogue, left, right)
    _emit(rows, format, False, hint=f"{left} and {right} share no feature; consilience kinships tells relatives")


def layers(
    network: Annotated[str | None, typer.Argument(help="A network's name; by default all.", show_default=False)] = None,
    where: Where = None,
    sort: Sort = None,
    limit: Limit = None,
    format: Format = None,
    quiet: Quiet = False,
    zoo: ZooOption = None,
) -> None:
    """List the layers of a network, or of all: kind, units, what a sample is, activation.

    Example: consilience layers relu-32x32 --zoo data/gravity
    """
    check_format(format)
    with reading(zoo) as catalogue:
        rows = catalogue.listing("layers", where=where, sort=sort, limit=limit, network=network)
    _emit(rows, format, quiet, hint="no layers yet: consilience ingest", brief=BRIEF["layers"])


def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A network's name, a feature or an equation.")],
    zoo: ZooOption = None,
) -> None:
    """Tell all about one network, feature or equation, in words.

    Example: consilience show E1
    """
    from ..analysis.reports.show import show as tell

    with reading(zoo) as catalogue:
        for line in tell(catalogue, identifier):
            answer(line)


def query(
    sql: Annotated[str, typer.Argument(help="One question in SQL; nothing can be changed.")],
    format: Format = None,
    zoo: ZooOption = None,
) -> None:
    """Ask the catalogue in SQL, read-only.

    Example: consilience query "SELECT level, count(*) FROM features WHERE above_null GROUP BY level"
    """
    check_format(format)
    with reading(zoo) as catalogue:
        rows = catalogue.query(sql)
    _emit(rows, format, False, hint='consilience query "SHOW TABLES" shows where to look')


def export(
    file: Annotated[Path, typer.Argument(help="Where to write; the suffix tells the format.")],
    format: Annotated[
        str | None, typer.Option("--format", help="markdown, latex, json, csv, parquet, python or c.")
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw what LaTeX shows of vision networks.")
    ] = True,
    zoo: ZooOption = None,
) -> None:
    """Write the catalogue of equations for people and for programs.

    Of vision networks, LaTeX is an appendix with all that is known of each detector: its equation with the numbers
    that units share and their spread, evidence, members, pictures (drawn into the folder NAME-figures), and at the end
    what is not reduced.

    Example: consilience export laws.tex

    Example: consilience export detectors.tex --zoo data/vision
    """
    from ..analysis.stages.stage_export import export_equations, figure_folder

    with progress() as settings:
        count = export_equations(open_zoo(zoo, **settings), file, format=format, figures=figures)
    drawn = figures and file.suffix == ".tex" and figure_folder(file).is_dir()
    say(f"{count} equations written to {file}" + (f", figures to {figure_folder(file)}" if drawn else ""))


def plot(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            help="front, agreement, matches, units, similarity, universality; of vision networks kernels, tuning, "
            "shares, table, detectors; by default all."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder; by default .consilience/plots.", show_default=False)
    ] = None,
    zoo: ZooOption = None,
) -> None:
    """Draw pictures as PNG and SVG: fronts, equations against networks, matched units, maps, similarity.

    Of vision networks: kernels with their closed forms, tuning curves with their law, what units detect by layer, a
    table of all detectors, and what each sees in photos.

    Example: consilience plot front agreement --out figures

    Example: consilience plot kernels table --zoo data/vision
    """
    from ..analysis.stages.stage_plot import plot as draw

    study = open_zoo(zoo)
    for path in draw(study, pictures=tuple(pictures or ()), folder=out):
        answer(str(path))


def _emit(rows: Any, format: str | None, quiet: bool, *, hint: str, brief: tuple[str, ...] = ()) -> None:
    if not rows.rows:
        raise NotFound("nothing found", hint=hint)
    emit(rows, format=format, quiet=quiet, brief=brief)


COMMANDS: tuple[Callable[..., None], ...] = (
    networks,
    kinships,
    features,
    compare,
    equations,
    matches,
    layers,
    show,
    query,
    export,
    plot,
)
