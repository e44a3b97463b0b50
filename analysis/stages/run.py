"""Run stages in order, and say in words what they will do and what came out.

Each stage is imported when it is run: reading checkpoints needs nothing of what draws or searches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ...zoo.errors import BadInput
from ..project.study import Study, open_study, versions
from .sources import sources
from .summaries import asked_for, summary

if TYPE_CHECKING:
    from ..alignment.align import Given
    from ..alignment.matching import Alignment
    from ..alignment.significance import Judgement
    from ..alignment.subspace import Directions
    from ..distillation.law import Law
    from .distil_choice import Asked

DRAWN = 12
"""Of so many outputs `run` draws fronts and agreements by itself; `plot` draws those of all equations."""


@contextmanager
def _alone(study: Study | str | Path) -> Iterator[Study]:
    """Open a study unless it is, and keep other runs out of it."""
    opened = study if isinstance(study, Study) else open_study(study)
    with opened.alone():
        yield opened


def run(study: Study | str | Path) -> Study:
    """Do everything, from checkpoints to equations and pictures; what was done before is kept.

    Takes a study, a zoo.toml or its folder. Raises BadInput where nothing can go on, CatalogueLocked where
    another process writes, Stopped where the study was asked to stop.
    """
    from .stage_distil import distil_features
    from .stage_plot import plot

    with _alone(study) as opened:
        seen = opened.probe.image and _see(opened)
        if seen and opened.photos_only:
            with opened.writing() as catalogue:
                catalogue.mark("zoo", "whole", opened.key, versions())
        else:
            distil_features(opened)
        with opened.reading() as catalogue:
            outputs = catalogue.equations_of_outputs()
        plot(opened, equations=outputs[:DRAWN])
    return opened


def _see(study: Study) -> bool:
    """Find what vision networks see; say whether there are any."""
    from .stage_kernels import describe_kernels
    from .stage_maps import match_photos
    from .stage_present import can_see

    if not can_see(study):
        return False
    describe_kernels(study)
    match_photos(study)
    return True


def kernels(study: Study | str | Path) -> Study:
    """Find closed forms of the kernels of vision networks. Takes and raises what `run` does."""
    from .stage_kernels import describe_kernels

    with _alone(study) as opened:
        describe_kernels(opened)
    return opened


def tune(study: Study | str | Path) -> Study:
    """Find what units of vision networks are tuned to, by stimuli. Takes and raises what `run` does."""
    from .stage_tuning import tune as work

    with _alone(study) as opened:
        work(opened)
    return opened


def ingest(study: Study | str | Path) -> Study:
    """Read the checkpoints of a zoo, safely. Takes and raises what `run` does."""
    from .stage_ingest import ingest as work

    with _alone(study) as opened:
        work(opened)
    return opened


def probe(study: Study | str | Path) -> Study:
    """Record all networks on the same inputs. Takes and raises what `run` does."""
    from .stage_probe import probe as work

    with _alone(study) as opened:
        work(opened)
    return opened


@overload
def align(study: Study | str | Path, /) -> Study: ...
@overload
def align(
    left: Given,
    right: Given,
    /,
    *,
    method: str = "assignment",
    odd: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> Alignment | Directions: ...
def align(first: Study | str | Path | Given, second: Given | None = None, /, **settings: Any) -> Any:
    """Match units across the networks of a zoo, against the nulls; or the units of two arrays: see `align.align`.

    A zoo is taken, and errors raised, as by `run`.
    """
    if isinstance(first, Study | str | Path):
        from .stage_align import align as work

        with _alone(first) as opened:
            work(opened)
        return opened
    from ..alignment.align import align as align_arrays

    if second is None:
        raise BadInput("one layer alone cannot be aligned", hint="give two arrays, or a zoo.toml")
    return align_arrays(first, second, **settings)


@overload
def cluster(study: Study | str | Path, /) -> Study: ...
@overload
def cluster(networks: Sequence[Given], /, *, odd: bool = False, seed: int = 0, draws: int = 20) -> Judgement: ...
def cluster(
    first: Study | str | Path | Sequence[Given], /, *, odd: bool = False, seed: int = 0, draws: int = 20
) -> Any:
    """Group matched units of a zoo into features; or those of plain arrays, one a network: see `group`.

    A zoo is taken, and errors raised, as by `run`.
    """
    if isinstance(first, Study | str | Path):
        from .stage_cluster import cluster as work
        from .stage_maps import match_photos
        from .stage_present import can_see

        with _alone(first) as opened:
            if opened.photos_only and can_see(opened):
                match_photos(opened)
            else:
                work(opened)
        return opened
    from ..alignment.significance import group

    return group(first, odd=odd, seed=seed, draws=draws)


@overload
def distil(
    study: Study | str | Path,
    /,
    *,
    only: Sequence[str] = (),
    output: str | None = None,
    inner: str | None = None,
    variables: Sequence[str] = (),
    engine: str | None = None,
    budget: str | None = None,
    linked: bool = False,
) -> Study: ...
@overload
def distil(functions: Any, /, inputs: Any, **settings: Any) -> Law: ...
def distil(first: Any, /, inputs: Any = None, **settings: Any) -> Any:
    """Turn features of a zoo into equations; or what plain functions agree on, see `plain.distil` for its settings.

    Of a zoo the outputs and all features above the nulls are distilled, or those named: `only` names features (F3),
    outputs and single units (NETWORK/LAYER:UNIT), `variables` what equations are written in: variables, or features.
    With `inner` these are what a module inside the networks is given. `engine`, `budget` (quick, normal,
    thorough) and `variables` go before what zoo.toml says; `linked` says that targets are known up to a monotone
    function of each network's own. Takes and raises what `run` does, and NotFound for a feature, output, unit,
    module or variable that is not there.

    Plain functions, or arrays of what they gave, come with `inputs`: rows, ranges or a sampler.
    """
    if not isinstance(first, Study | str | Path):
        from ..distillation.plain import distil as distil_functions

        if inputs is None:
            raise BadInput("functions without inputs", hint="give rows, ranges {name: (low, high)} or a sampler")
        return distil_functions(first, inputs, **_known(distil_functions, settings))
    if inputs is not None:
        raise BadInput("a zoo is asked at its own probe", hint="give functions and inputs, or a zoo alone")
    return _distil_zoo(first, **_known(_distil_zoo, settings))


def _known(verb: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Give settings back. Raises BadInput for one that the verb does not have, with the nearest that it has."""
    known = [name for name, one in signature(verb).parameters.items() if one.kind is one.KEYWORD_ONLY]
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise BadInput(f"distil has no setting {name!r}", hint=hint)
    return settings


def _distil_zoo(
    study: Study | str | Path,
    *,
    only: Sequence[str] = (),
    output: str | None = None,
    inner: str | None = None,
    variables: Sequence[str] = (),
    engine: str | None = None,
    budget: str | None = None,
    linked: bool = False,
) -> Study:
    opened = study if isinstance(study, Study) else open_study(study)
    _made(opened, asked_of(only, output, inner, variables, linked), engine, budget)
    return opened


def asked_of(
    only: Sequence[str] = (),
    output: str | None = None,
    inner: str | None = None,
    variables: Sequence[str] = (),
    linked: bool = False,
) -> Asked:
    """Gather what `distil` is asked for; names that stand twice are taken once."""
    from .distil_choice import Asked

    once = dict.fromkeys
    return Asked(tuple(once(only)), output or "", inner or "", tuple(once(variables)), linked)


def _made(study: Study, asked: Asked, engine: str | None, budget: str | None) -> tuple[str, ...]:
    """Distil what was asked for, and give the identifiers of the equations."""
    from .distil_choice import with_settings
    from .distil_names import check_names
    from .stage_distil import distil_features

    wanted = with_settings(study, engine=engine, budget=budget)
    check_names(study, asked)
    with study.alone():
        return distil_features(wanted, asked)


def plan(study: Study, *, engine: str | None = None, budget: str | None = None, **asked: Any) -> str:
    """Say in one line what a run will do, with another engine or budget than zoo.toml says.

    What `distil` is asked for may be given as well. Raises BadInput, and NotFound for names that zoo.toml has not.
    """
    from .distil_choice import budgeted, with_settings
    from .distil_names import check_names

    check_names(study, asked_of(**asked))
    files, manifest = sources(study), study.manifest
    pairs = len(files) * (len(files) - 1) // 2
    told = with_settings(study, engine=engine, budget=budget).manifest.distil
    search = budgeted(told, told.budget)
    most = f"at most {search.restarts} searches an equation ({search.engine})"
    most = most if search.engine != "none" else "no search"
    return f"{manifest.name}: {len(files)} networks, {pairs} pairs, {_shown(study)}; {most}; results in {study.project}"


def _shown(study: Study) -> str:
    if study.manifest.probe is None:
        return "no probe"
    count = f"{len(study.probe.inputs):,}"
    return f"{count} photos" if study.probe.image else f"{count} samples of {len(study.probe.variables)} variables"


def refusals(study: Study) -> tuple[str, ...]:
    """Say for every refused checkpoint what is wrong with it and what to do."""
    with study.reading() as catalogue:
        rows = sorted(catalogue.select("networks", status="refused"), key=lambda row: str(row["file"]))
    return tuple(
        f"refused: {row['file']} {row['message']} [{row['code']}]" + (f"; hint: {row['hint']}" if row["hint"] else "")
        for row in rows
    )


def left_out(study: Study) -> tuple[str, ...]:
    """Say for every photo of the probe that cannot be shown what is wrong with it and what to do."""
    return tuple(f"left out: {line}" for line in study.probe.left_out) if study.manifest.probe else ()


def told(study: Study, verb: str, **arguments: Any) -> tuple[str, ...]:
    """Run a stage by its name and say what came out; where `distil` was asked for something, that alone.

    Raises what the stage raises.
    """
    if verb != "distil":
        STAGES[verb](study, **arguments)
        return summary(study, verb)
    engine, budget = arguments.pop("engine", None), arguments.pop("budget", None)
    asked = asked_of(**arguments)
    made = _made(study, asked, engine, budget)
    return asked_for(study, made, engine=engine, alone=asked != asked_of())


STAGES: Mapping[str, Callable[..., Study]] = {
    one.__name__: one for one in (run, ingest, probe, align, cluster, kernels, tune)
}
"""What a stage is called on the command line; `distil` is told apart, since it may be asked for something."""
