"""The stages from checkpoints to equations, one command each, and what comes before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .opening import open_zoo, progress
from .options import (
    Activation,
    Architecture,
    Budget,
    Device,
    DryRun,
    Engine,
    Force,
    Format,
    Inner,
    Linked,
    Output,
    StripPrefix,
    Terms,
    Wait,
    Zoo,
    ZooOption,
    check_format,
)
from .output import answer, emit, say

CHECKED = ("file", "status", "format", "architecture", "parameters", "inputs", "outputs", "message", "hint")


def _stage(verb: str, zoo: Path | None, device: str, wait: float, dry_run: bool, **arguments: Any) -> None:
    _end(refused=_work(verb, zoo, device, wait, dry_run, **arguments))


def _work(verb: str, zoo: Path | None, device: str, wait: float, dry_run: bool, **arguments: Any) -> bool:
    """Run a stage, say what came of it, and tell whether a checkpoint was refused."""
    from ..analysis.stages import run as runs
    from ..analysis.stages.set_aside import set_aside

    with progress() as settings:
        study = open_zoo(zoo, device=device, wait_for_lock=wait, **settings)
        say(runs.plan(study, **arguments))
        if dry_run:
            return False
        lines = runs.told(study, verb, **arguments)
    for line in lines:
        answer(line)
    refused = (*runs.refusals(study), *set_aside(study))
    for line in (*runs.left_out(study), *refused):
        say(line)
    return bool(refused)


def _end(*, refused: bool) -> None:
    if refused:
        raise typer.Exit(3)


def run(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Do everything: from checkpoints to a catalogue of equations.

    What was done before is kept; a run that was stopped goes on where it was.

    Example: consilience run data/gravity/zoo.toml
    """
    _stage("run", zoo, device, wait_for_lock, dry_run)


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
    check_format(format)
    _checked(paths, zoo, _said(architecture, activation, strip_prefix), format)


def _checked(paths: list[str], zoo: Path | None, said: dict[str, str], format: str | None) -> None:
    from dataclasses import asdict

    from ..analysis.project.catalogue import Rows
    from ..analysis.stages.check import check as look
    from ..analysis.stages.check import nearest_study

    zoo = zoo or next((Path(path) for path in paths if _is_zoo(Path(path))), None)
    files = [str(Path(path).parent) if path.endswith(".toml") else path for path in paths]
    with progress() as settings:
        study = open_zoo(zoo, **settings) if zoo else nearest_study(Path.cwd(), tell=say, **settings)
        found = look(files, study=study, said=said)
    emit(Rows.of([asdict(checkup) for checkup in found]), format=format, quiet=False, brief=CHECKED)
    if any(checkup.status == "refused" for checkup in found):
        raise typer.Exit(3)


def _said(architecture: str | None, activation: str | None, strip_prefix: str | None) -> dict[str, str]:
    given = {"architecture": architecture, "activation": activation, "strip_prefix": strip_prefix}
    return {key: value for key, value in given.items() if value is not None}


def probe(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Show all networks the same inputs and record what their units do.

    Example: consilience probe data/gravity --device cuda
    """
    _stage("probe", zoo, device, wait_for_lock, dry_run)


def align(
    zoo: Zoo = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="FOLDER",
            help="Write all networks into a folder, their units in one order: a zoo of its own.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    wait_for_lock: Wait = 0,
    dry_run: DryRun = False,
) -> None:
    """Match units across networks, against what chance gives.

    With --write the networks are written with their units at the places that all share: each computes what it did,
    which is checked, and weights can be compared number by number.

    Example: consilience align data/digits
    Example: consilience align data/gravity --write gravity-aligned
    """
    if write is None:
        _stage("align", zoo, device, wait_for_lock, dry_run)
        return
    from ..analysis.stages.stage_write import check_folder, write_aligned

    check_folder(open_zoo(zoo), write, force=force)
    refused = _work("align", zoo, device, wait_for_lock, dry_run)
    if dry_run:
        say(f"the networks would be written to {write}")
        return
    with progress() as settings:
        study = open_zoo(zoo, device=device, wait_for_lock=wait_for_lock, **settings)
        export = write_aligned(study, write, force=force)
    for line in export.lines():
        answer(line)
    for line in export.refusals():
        say(line)
    _end(refused=refused or bool(export.left_out))


def cluster(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Group matched units into features, each with its universality.

    Example: consilience cluster data/digits
    """
    _stage("cluster", zoo, device, wait_for_lock, dry_run)


def distil(
    features: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FEATURE",
            help="Features, outputs or single units: F3, force, NETWORK/LAYER:UNIT; by default all that count.",
        ),
    ] = None,
    output: Output = None,
    inner: Inner = None,
    terms: Terms = None,
    engine: Engine = None,
    budget: Budget = None,
    linked: Linked = False,
    zoo: ZooOption = None,
    device: Device = "cpu",
    wait_for_lock: Wait = 0,
    dry_run: DryRun = False,
) -> None:
    """Turn outputs and features into equations, judged on networks left out of the fit.

    What is said here goes before [distil] in zoo.toml. In terms of other features a deep one reads as a formula of
    shallower ones; with --inner, a module inside the networks is a function of what it is given there.

    Example: consilience distil F1 F7 --zoo data/gravity

    Example: consilience distil --output force --in m1,r --engine auto --budget thorough

    Example: consilience distil F9 --in F3,F4

    Example: consilience distil seed-1/layers.0:3

    Example: consilience distil --inner MODULE --budget quick
    """
    _refuse_folders(features or [])
    variables = _names(terms)
    _refuse_empty({"FEATURE": features or [], "--output": [output], "--inner": [inner]})
    told = {"output": output, "inner": inner, "engine": engine, "budget": budget, "linked": linked}
    arguments = {"only": tuple(features or ()), "variables": variables, **told}
    _stage("distil", zoo, device, wait_for_lock, dry_run, **arguments)


def kernels(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Find closed forms of the kernels of vision networks: first layers, and families of depthwise kernels.

    Each is held against kernels without shape, and put back into its network in the place of what was learned.

    Example: consilience kernels data/vision
    """
    _stage("kernels", zoo, device, wait_for_lock, dry_run)


def tune(zoo: Zoo = None, device: Device = "cpu", wait_for_lock: Wait = 0, dry_run: DryRun = False) -> None:
    """Find what units of vision networks are tuned to: gratings, colours, spots and arcs are shown to them.

    Laws race on every unit, on stimuli held out; untrained twins are shown the same; units of equal law form families.
    What is shown: consilience stimuli --out sheet.png

    Example: consilience tune data/vision
    """
    _stage("tune", zoo, device, wait_for_lock, dry_run)


def _names(terms: str | None) -> tuple[str, ...]:
    """Take names apart that stand between commas."""
    names = tuple(name.strip() for name in (terms or "").split(","))
    if terms is not None and not all(names):
        raise typer.BadParameter("a name is empty; without --in all variables are taken", param_hint="--in")
    return names if terms is not None else ()


def _refuse_empty(given: Mapping[str, Sequence[str | None]]) -> None:
    """Refuse names without a letter, as a shell makes them of variables that are not set."""
    for hint, names in given.items():
        if any(name is not None and not name.strip() for name in names):
            raise typer.BadParameter("a name is empty; leave it out to take all", param_hint=hint)


def _refuse_folders(features: list[str]) -> None:
    """Tell a zoo that was given in the place of a feature."""
    for name in features:
        if _is_zoo(Path(name)):
            rest = " ".join(other for other in features if other != name)
            raise typer.BadParameter(
                f"{name!r} is a zoo, not a feature; type: consilience distil {f'{rest} ' if rest else ''}--zoo {name}"
            )


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


COMMANDS: tuple[Callable[..., None], ...] = (run, ingest, check, probe, align, cluster, distil, kernels, tune, init)
