"""Run stages in order, and say in words what they will do and what came out.

Each stage is imported when it is run: reading checkpoints needs nothing of what draws or searches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ...zoo.errors import BadInput
from ..project.catalogue import Catalogue
from ..project.study import Study, open_study
from ..reports.show import law_lines
from .seen import saw_kernels, saw_tuning
from .sources import sources

NULLS_SAID = {
    "rotated": "with axes turned at random",
    "shuffled": "with samples shuffled",
    "untrained": "in untrained twins",
}

if TYPE_CHECKING:
    from ..alignment.align import Given
    from ..alignment.matching import Alignment
    from ..alignment.significance import Judgement
    from ..alignment.subspace import Directions
    from ..distillation.law import Law

TOLD = 10
"""Of so many networks what is odd about them is said after `ingest`."""
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
        distil_features(opened)
        if opened.probe.image:
            _see(opened)
        with opened.reading() as catalogue:
            outputs = catalogue.equations_of_outputs()
        plot(opened, equations=outputs[:DRAWN])
    return opened


def _see(study: Study) -> None:
    from .stage_kernels import describe_kernels
    from .stage_tuning import tune as work

    describe_kernels(study)
    work(study)


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

        with _alone(first) as opened:
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
        return distil_functions(first, inputs, **settings)
    if inputs is not None:
        raise BadInput("a zoo is asked at its own probe", hint="give functions and inputs, or a zoo alone")
    return _distil_zoo(first, **settings)


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
    from .distil_choice import Asked, with_settings
    from .stage_distil import distil_features

    asked = Asked(tuple(only), output or "", inner or "", tuple(variables), linked)
    with _alone(study) as opened:
        distil_features(with_settings(opened, engine=engine, budget=budget), asked)
    return opened


def plan(study: Study, *, engine: str | None = None, budget: str | None = None) -> str:
    """Say in one line what a run will do, with another engine or budget than zoo.toml says. Raises BadInput."""
    from .distil_choice import budgeted, with_settings

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


def summary(study: Study, verb: str) -> tuple[str, ...]:
    """Say what a stage found, most important first, and what to type next."""
    with study.reading() as catalogue:
        return tuple(SUMMARIES[verb](study, catalogue))


def _ingested(study: Study, catalogue: Catalogue) -> list[str]:
    rows = catalogue.select("networks")
    counts = {status: sum(row["status"] == status for row in rows) for status in ("ok", "warned", "refused")}
    lineages = len({row["lineage"] for row in rows if row["lineage"]})
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    told = [f"{row['network']}: {', '.join(row['warnings'])}" for row in rows if row["status"] == "warned"]
    more = [f"and {len(told) - TOLD} more: consilience networks lists all"] if len(told) > TOLD else []
    return [f"{len(rows)} checkpoints: {found}; {lineages} lineages", *told[:TOLD], *more, _next(study, "probe")]


def _probed(study: Study, catalogue: Catalogue) -> list[str]:
    layers = catalogue.select("layers")
    hidden = [row for row in layers if row["role"] == "hidden"]
    dead = sum(row["dead"] or 0 for row in layers)
    networks = len({row["network"] for row in layers})
    units = sum(row["units"] for row in layers)
    return [
        f"{networks} networks probed: {units:,} units in {len(hidden)} hidden and {len(layers) - len(hidden)} output "
        f"layers, {dead} of them dead",
        _next(study, "align"),
    ]


def _aligned(study: Study, catalogue: Catalogue) -> list[str]:
    q, chance = study.manifest.align.q, catalogue.chance_passed()
    lines = []
    for row in catalogue.count_matches(q):
        by_chance = f" (by chance {row['null_r']:.3f})" if row["null_r"] is not None else ""
        lines.append(
            f"{row['level']}: {row['matches']:,} matches, {row['significant']:,} above the nulls at q = {q:g}; "
            f"median |r| {row['median_r']:.3f}{by_chance}"
        )
        if row["significant"]:
            passed = [f"{count:.1f} {NULLS_SAID[name]}" for name, count in chance.get(row["level"], {}).items()]
            lines.append(f"  by the same measure chance gives: {', '.join(passed)}")
    for level, (without, pairs) in catalogue.unmatched_pairs().items():
        lines.append(f"{level}: {without} of {pairs} pairs of networks have no match")
    if len(sources(study)) < 2:
        lines.append("one network alone has no others to be matched with: add networks that were trained apart")
    return [*lines, _next(study, "cluster")]


def _clustered(study: Study, catalogue: Catalogue) -> list[str]:
    features = catalogue.select("features")
    above = [row for row in features if row["above_null"]]
    units = [row for row in features if row["kind"] == "unit"]
    several = sum(row["lineages"] > 1 for row in units)
    directions = [row for row in above if row["kind"] == "direction"]
    beyond = [
        f"  {level}: {count} shared directions that are no single units, more than untrained twins share"
        for level, count in Counter(row["level"] for row in directions).items()
    ]
    alone = ["one lineage alone shares nothing with others: add networks that were trained apart"]
    return [
        f"{len(units)} features, {several} of them in several lineages, "
        f"{len(above) - len(directions)} above the nulls at q = {study.manifest.align.q:g} "
        f"(of outputs {sum(row['role'] == 'output' for row in above)}, "
        f"of hidden units {sum(row['role'] == 'hidden' for row in above) - len(directions)})",
        *beyond,
        *(
            alone
            if features and not several and len({row["lineage"] for row in catalogue.select("networks")}) < 2
            else []
        ),
        _next(study, "distil"),
    ]


def _distilled(study: Study, catalogue: Catalogue) -> list[str]:
    equations = sorted(catalogue.select("equations"), key=lambda row: (row["status"] != "equation", row["number"]))
    lines = [line for row in equations for line in law_lines(catalogue, row, whole=len(equations) <= 3)]
    if study.manifest.probe is not None and study.probe.image:
        lines.append("no equations: photos have no variables in which a formula could be written")
    if equations and all(row["status"] == "no_equation" for row in equations):
        lines.insert(0, "no law: no equation predicts a left-out network as well as the other networks do")
    return [*lines, "", *_clustered(study, catalogue)[:1], *_after(study)]


def _after(study: Study) -> list[str]:
    at = _zoo_option(study)
    return [
        f"pictures: {_short(study.project / 'plots')}",
        f"catalogue: {_short(study.catalogue_path)}",
        f"next: consilience show E1{at}",
        f"      consilience features{at}",
        f"      consilience export laws.md{at}",
    ]


def _next(study: Study, verb: str) -> str:
    return f"next: consilience {verb} {_short(study.path)}"


def _zoo_option(study: Study) -> str:
    here = study.path.name == "zoo.toml" and Path.cwd().is_relative_to(study.folder)
    return "" if here else f" --zoo {_short(study.path)}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


SUMMARIES: dict[str, Any] = {
    "kernels": saw_kernels,
    "tune": saw_tuning,
    "ingest": _ingested,
    "probe": _probed,
    "align": _aligned,
    "cluster": _clustered,
    "distil": _distilled,
    "run": _distilled,
}
