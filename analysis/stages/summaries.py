"""Say in words what came out of a stage, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..project.catalogue import Catalogue
from ..project.study import Study
from ..reports.show import law_lines
from .seen import saw_kernels, saw_maps, saw_tuning
from .sources import sources

NULLS_SAID = {
    "rotated": "with axes turned at random",
    "shuffled": "with samples shuffled",
    "untrained": "in untrained twins",
}
TOLD = 10
"""Of so many networks what is odd about them is said after `ingest`."""
NAMED = 3
"""So many equations that needed no engine are named."""


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
    if _only_seen(catalogue):
        return [*saw_maps(study, catalogue), _next(study, "tune")]
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


def asked_for(study: Study, made: Sequence[str], *, engine: str | None, alone: bool) -> tuple[str, ...]:
    """Say what was distilled, of what was asked for that `alone`; and whether the engine that was named was needed."""
    with study.reading() as catalogue:
        rows = [row for name in made for row in catalogue.select("equations", equation=name)]
        if not alone or not rows:
            return (*_unneeded(rows, engine), *_distilled(study, catalogue))
        lines = [line for row in rows for line in law_lines(catalogue, row, whole=len(rows) <= 3)]
    return (*lines, *_unneeded(rows, engine), "", f"next: consilience show {made[0]}{_zoo_option(study)}")


def _unneeded(rows: Sequence[Mapping[str, Any]], engine: str | None) -> list[str]:
    """Say which equations were found before the engine that was named had anything to look for."""
    found = [row["equation"] for row in rows if not row["searched"] and row["status"] != "no_equation"]
    if engine in (None, "none") or not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    named = "no engine" if engine == "auto" else engine
    return [
        f"{named} was {'' if engine == 'auto' else 'not '}needed for {', '.join(found[:NAMED])}{more}: "
        "the ladder and the reducer, which come first, found what serves"
    ]


def _distilled(study: Study, catalogue: Catalogue) -> list[str]:
    equations = sorted(catalogue.select("equations"), key=lambda row: (row["status"] != "equation", row["number"]))
    lines = [line for row in equations for line in law_lines(catalogue, row, whole=len(equations) <= 3)]
    if _only_seen(catalogue):
        lines = [line for saw in (saw_kernels, saw_tuning, saw_maps) for line in saw(study, catalogue)]
        known = {str(row["feature"]) for row in catalogue.select("features") if row["above_null"]}
        first = next((name for name in ("T1", "K1", "M1") if name in known), "NETWORK")
        return [*lines, "", *_after(study, first=first)]
    if study.manifest.probe is not None and study.probe.image:
        lines.append("photos have no variables in which a formula could be written: consilience tune shows stimuli")
    if equations and all(row["status"] == "no_equation" for row in equations):
        lines.insert(0, "no law: no equation predicts a left-out network as well as the other networks do")
    return [*lines, "", *_clustered(study, catalogue)[:1], *_after(study)]


def _only_seen(catalogue: Catalogue) -> bool:
    """Tell a catalogue of what vision networks see, whose outputs were not compared."""
    indexed = [catalogue.indexed(stage, "zoo") for stage in ("maps", "cluster")]
    return indexed[0] is not None and indexed[1] is None


def _after(study: Study, *, first: str = "E1") -> list[str]:
    at = _zoo_option(study)
    return [
        f"pictures: {_short(study.project / 'plots')}",
        f"catalogue: {_short(study.catalogue_path)}",
        f"next: consilience show {first}{at}",
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
