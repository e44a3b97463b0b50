"""The command line: parse, call one verb, hand the result to `output`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..zoo.errors import ConsilienceError, NotFound
from .output import FORMATS, Reporter, answer, emit, say

if TYPE_CHECKING:
    from ..analysis.catalogue import Catalogue
    from ..analysis.study import Study

app = typer.Typer(
    name="consilience",
    help="What did all these networks learn in common, and what is its formula?",
    epilog="Start with: consilience run data/gravity/zoo.toml · your own folder: consilience init FOLDER",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)

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
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Identifiers only.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        answer(f"consilience {version('consilience')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _open(zoo: Path | None, **settings: Any) -> Study:
    from ..analysis.study import find_study, open_study

    return find_study(Path.cwd(), **settings) if zoo is None else open_study(zoo, **settings)


@contextmanager
def _reading(zoo: Path | None) -> Iterator[Catalogue]:
    """Open a catalogue to read, with a warning where the zoo.toml has changed since it was made."""
    study = _open(zoo)
    with study.reading() as catalogue:
        made_with = catalogue.indexed("zoo", "whole")
        if made_with != study.key:
            changed = "zoo.toml has changed since this was made" if made_with else "the run has not finished yet"
            say(f"warning: {changed}; consilience run {study.path} brings it up to date")
        yield catalogue


def _nearest(**settings: Any) -> Study | None:
    from ..analysis.study import find_study

    try:
        return find_study(Path.cwd(), **settings)
    except NotFound:
        return None


@contextmanager
def _progress() -> Iterator[dict[str, Any]]:
    """Settings of a study for long work: progress is shown, and the first Ctrl-C ends it after the current item."""
    import signal

    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after the current item; press Ctrl-C again to stop at once")

    reporter = Reporter()
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield {"report": reporter, "stop": lambda: bool(asked)}
    finally:
        reporter.close()
        signal.signal(signal.SIGINT, before)


def _stage(verb: str, zoo: Path | None, device: str, wait: float, dry_run: bool, **arguments: Any) -> None:
    from ..analysis import run as runs

    with _progress() as progress:
        study = _open(zoo, device=device, wait_for_lock=wait, **progress)
        say(runs.plan(study))
        if dry_run:
            return
        getattr(runs, verb)(study, **arguments)
    for line in runs.summary(study, verb):
        answer(line)
    refused = runs.refusals(study)
    for line in refused:
        say(line)
    if refused:
        raise typer.Exit(3)


@app.command()
def run(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Do everything: from checkpoints to a catalogue of equations.

    What was done before is kept; a run that was stopped goes on where it was.

    Example: consilience run data/gravity/zoo.toml
    """
    _stage("run", zoo, device, wait_for_lock, dry_run)


@app.command()
def ingest(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="A zoo.toml or its folder, by default the nearest one upward; or checkpoints: files, folders, globs, "
            "hf:owner/name. For those a zoo.toml is drafted first.",
            show_default=False,
        ),
    ] = None,
    architecture: Architecture = None,
    activation: Activation = None,
    strip_prefix: StripPrefix = None,
    device: Device = "cpu",
    wait_for_lock: Wait = 0,
    dry_run: DryRun = False,
) -> None:
    """Read the checkpoints, safely, and say which can be used.

    Example: consilience ingest data/gravity
    Example: consilience ingest my-networks --activation relu
    """
    said = _said(architecture, activation, strip_prefix)
    zoo = _drafted(paths or [], said, dry_run)
    if zoo is not None or not paths:
        _stage("ingest", zoo, device, wait_for_lock, dry_run)


def _drafted(paths: list[str], said: dict[str, str], dry_run: bool) -> Path | None:
    """Give the zoo.toml that is meant, having drafted one where the paths are checkpoints.

    A dry run drafts nothing: it checks, and there is no zoo to go on with.
    """
    if not paths or (len(paths) == 1 and _is_zoo(Path(paths[0]))):
        if said:
            raise typer.BadParameter("zoo.toml says that for its networks", param_hint=", ".join(sorted(said)))
        return Path(paths[0]) if paths else None
    if dry_run:
        _checked(paths, None, said, None)
        return None
    from ..zoo.draft import draft_given

    drafted, lines = draft_given(paths, said=said)
    for line in lines:
        say(line)
    return drafted


def _is_zoo(path: Path) -> bool:
    return path.suffix == ".toml" or (path / "zoo.toml").is_file()


@app.command()
def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs, or hf:owner/name.")],
    architecture: Architecture = None,
    activation: Activation = None,
    strip_prefix: StripPrefix = None,
    format: Format = None,
    zoo: ZooOption = None,
) -> None:
    """Say what files are, what would run them and whether they fit the probe; nothing is kept.

    Files that a zoo.toml names, in that folder or upward from here, are taken as it says; its probe is tried on all.

    Example: consilience check downloads/*.pt --architecture timm:resnet18
    """
    _check_format(format)
    _checked(paths, zoo, _said(architecture, activation, strip_prefix), format)


def _checked(paths: list[str], zoo: Path | None, said: dict[str, str], format: str | None) -> None:
    from dataclasses import asdict

    from ..analysis.catalogue import Rows
    from ..analysis.check import check as look

    zoo = zoo or next((Path(path) for path in paths if _is_zoo(Path(path))), None)
    files = [str(Path(path).parent) if path.endswith(".toml") else path for path in paths]
    with _progress() as progress:
        study = _open(zoo, **progress) if zoo is not None else _nearest(**progress)
        found = look(files, study=study, said=said)
    emit(Rows.of([asdict(checkup) for checkup in found]), format=format, quiet=False, brief=CHECKED)
    if any(checkup.status == "refused" for checkup in found):
        raise typer.Exit(3)


def _said(architecture: str | None, activation: str | None, strip_prefix: str | None) -> dict[str, str]:
    given = {"architecture": architecture, "activation": activation, "strip_prefix": strip_prefix}
    return {key: value for key, value in given.items() if value is not None}


@app.command()
def probe(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Show all networks the same inputs and record what their units do.

    Example: consilience probe data/gravity --device cuda
    """
    _stage("probe", zoo, device, wait_for_lock, dry_run)


@app.command()
def align(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Match units across networks, against what chance gives.

    Example: consilience align data/digits
    """
    _stage("align", zoo, device, wait_for_lock, dry_run)


@app.command()
def cluster(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Group matched units into features, each with its universality.

    Example: consilience cluster data/digits
    """
    _stage("cluster", zoo, device, wait_for_lock, dry_run)


@app.command()
def distil(
    features: Annotated[
        list[str] | None, typer.Argument(help="Features to distil, such as F3; by default all that count.")
    ] = None,
    zoo: ZooOption = None,
    device: Device = "cpu",
    wait_for_lock: Wait = 0,
    dry_run: DryRun = False,
) -> None:
    """Turn outputs and features into equations, judged on networks left out of the fit.

    Example: consilience distil F1 F7 --zoo data/gravity
    """
    _stage("distil", zoo, device, wait_for_lock, dry_run, only=tuple(features or ()))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder that holds checkpoints.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a zoo.toml that is there.")] = False,
) -> None:
    """Write a zoo.toml from what a folder of checkpoints shows, and say what it could not tell.

    Example: consilience init my-networks
    """
    from ..zoo.draft import draft_manifest

    for line in draft_manifest(folder, force=force):
        answer(line)


CHECKED = ("file", "status", "format", "architecture", "parameters", "inputs", "outputs", "message", "hint")
BRIEF = {
    "networks": ("network", "status", "lineage", "activation", "parameters", "code", "warnings"),
    "layers": ("network", "layer", "kind", "role", "axes", "activation", "units", "dead", "level"),
    "features": ("feature", "level", "name", "lineages", "universality", "agreement", "q", "above_null"),
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
        _check_format(format)
        with _reading(zoo) as catalogue:
            rows = catalogue.listing(what, where=where, sort=sort, limit=limit)
        asked = where is not None or limit == 0
        hint = "loosen --where or --limit" if asked else NONE_YET.get(what, f"no {what} yet: consilience run")
        _emit(rows, format, quiet, hint=hint, brief=BRIEF[what])

    command.__name__ = what
    command.__doc__ = f"{about}\n\nExample: {example}"
    return app.command(what)(command)


networks = _lister("networks", "List the networks, those that were refused with the reason.", "consilience networks")
kinships = _lister(
    "kinships", "List the networks that descend from one another, with the evidence.", "consilience kinships"
)
features = _lister(
    "features",
    "List the features: what several networks have in common.",
    'consilience features --where "above_null" --sort -universality',
)
equations = _lister(
    "equations", "List the equations with their evidence.", "consilience equations --format csv > equations.csv"
)
matches = _lister(
    "matches", "List the matched units of pairs of networks.", 'consilience matches --where "q < 0.05" --limit 20'
)


@app.command()
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
    _check_format(format)
    with _reading(zoo) as catalogue:
        rows = catalogue.listing("layers", where=where, sort=sort, limit=limit, network=network)
    _emit(rows, format, quiet, hint="no layers yet: consilience ingest", brief=BRIEF["layers"])


@app.command()
def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A network's name, a feature or an equation.")],
    zoo: ZooOption = None,
) -> None:
    """Tell all about one network, feature or equation, in words.

    Example: consilience show E1
    """
    from ..analysis.show import show as tell

    with _reading(zoo) as catalogue:
        for line in tell(catalogue, identifier):
            answer(line)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One question in SQL; nothing can be changed.")],
    format: Format = None,
    zoo: ZooOption = None,
) -> None:
    """Ask the catalogue in SQL, read-only.

    Example: consilience query "SELECT level, count(*) FROM features WHERE above_null GROUP BY level"
    """
    _check_format(format)
    with _reading(zoo) as catalogue:
        rows = catalogue.query(sql)
    _emit(rows, format, False, hint='consilience query "SHOW TABLES" shows where to look')


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; the suffix tells the format.")],
    format: Annotated[
        str | None, typer.Option("--format", help="markdown, latex, json, csv, parquet or python.")
    ] = None,
    zoo: ZooOption = None,
) -> None:
    """Write the catalogue of equations for people and for programs.

    Example: consilience export laws.tex
    """
    from ..analysis.records import export_equations

    study = _open(zoo)
    count = export_equations(study, file, format=format)
    say(f"{count} equations written to {file}")


@app.command()
def plot(
    pictures: Annotated[
        list[str] | None, typer.Argument(help="front, agreement, units, similarity, universality; by default all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder; by default .consilience/plots.", show_default=False)
    ] = None,
    zoo: ZooOption = None,
) -> None:
    """Draw pictures as PNG and SVG: fronts, equations against networks, units, similarity.

    Example: consilience plot front agreement --out figures
    """
    from ..analysis.stage_plot import plot as draw

    study = _open(zoo)
    for path in draw(study, pictures=tuple(pictures or ()), folder=out):
        answer(str(path))


def _check_format(format: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}", param_hint="--format")


def _emit(rows: Any, format: str | None, quiet: bool, *, hint: str, brief: tuple[str, ...] = ()) -> None:
    if not rows.rows:
        raise NotFound("nothing found", hint=hint)
    emit(rows, format=format, quiet=quiet, brief=brief)


def main() -> NoReturn:
    """Run the program; every failure is one line, a hint and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another alphabet shows ± as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            sys.exit(2)
        if os.environ.get("CONSILIENCE_DEBUG") == "1":
            raise
        what, hint, code = _worded(error)
        if what:
            say(what)
        if hint:
            say(f"hint: {hint}")
    if code == 130:
        say("stopped; the same command goes on from here")
    sys.exit(code)


def _worded(error: Exception) -> tuple[str, str, int]:
    """Word an error: what happened, what to do about it, and the exit code."""
    if isinstance(error, ConsilienceError):
        return f"error: {error.what}", error.hint, error.exit_code
    if type(error).__name__ in ("Stopped", "Abort"):
        return "", "", 130
    if hasattr(error, "format_message"):  # typer's own, whose classes have moved between its versions
        command = getattr(getattr(error, "ctx", None), "command_path", app.info.name)
        return f"error: {error.format_message()}", f"{command} --help", 2
    if isinstance(error, OSError):
        what = f"error: {error.filename or 'the project folder'}: {error.strerror or error}"
        return what, "make room or correct the rights and run the same command again: nothing stored is lost", 2
    what = f"error: this is a bug of ours: {type(error).__name__}: {error}"
    return what, "run again with CONSILIENCE_DEBUG=1 and report what it prints", 1
