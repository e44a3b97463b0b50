"""Plot: draw what the catalogue holds as PNG and SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...zoo.errors import BadInput, NotFound
from ...zoo.store import content_key
from ..alignment.correspond import Level
from ..formulas.fit import predict
from ..formulas.parsing import parse
from ..pictures import plot as pictures_of
from ..pictures.plot_matches import ROWS
from ..project.catalogue import Catalogue
from ..project.study import Study
from ..reports.show import rounded
from . import plot_rows
from .drawing import Drawing, draw_once
from .families import is_family
from .findings import Findings
from .ground import ground_of
from .plot_seen import SEEN
from .stage_align import Aligned
from .stage_cluster import Clustered, Feature, cluster
from .witness import witness

SUFFIXES = (".png", ".svg")
MOST_UNITS = 3000
SHEETS = 8
"""Levels whose best matches are drawn at the most, evenly spaced by depth."""
SAMPLES = 400
VERSION = "plot-3"


def plot(
    study: Study, *, pictures: Sequence[str] = (), folder: Path | None = None, equations: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Draw pictures of a study, by default all; what is drawn already and has not changed is kept.

    `pictures` are of PICTURES, `equations` those whose fronts and agreements are drawn (by default all).
    Raises BadInput for an unknown picture, NotFound before anything was distilled.
    """
    unknown = [name for name in pictures if name not in (*PICTURES, *SEEN)]
    if unknown:
        raise BadInput(f"no picture {unknown[0]!r}", hint=f"there are {', '.join((*PICTURES, *SEEN))}")
    out = folder or study.project / "plots"
    with study.reading() as catalogue:
        features = [str(row["feature"]) for row in catalogue.select("features")]
    if not features:
        raise NotFound("nothing to draw yet", hint=f"consilience run {study.path}")
    drawings = [] if all(map(is_family, features)) else _of_features(study, pictures, equations)
    if any(map(is_family, features)):
        findings = Findings(study)
        drawings += [d for name in pictures or SEEN if name in SEEN for d in SEEN[name](findings)]
    if not drawings:
        raise NotFound("nothing to draw yet", hint=f"consilience run {study.path}")
    return tuple(draw_all(study, drawings, out))


def _of_features(study: Study, pictures: Sequence[str], equations: Sequence[str]) -> list[Drawing]:
    found = cluster(study)
    with study.reading() as catalogue:
        rows = [row for row in catalogue.listing("equations").dicts() if not equations or row["equation"] in equations]
        wanted = [name for name in pictures or PICTURES if name in PICTURES]
        return [drawing for name in wanted for drawing in PICTURES[name](study, catalogue, found, rows)]


def draw_all(
    study: Study, drawings: Sequence[Drawing], folder: Path, *, suffixes: Sequence[str] = SUFFIXES
) -> Iterator[Path]:
    """Draw into files of a folder, in order, those that are not there yet as they would be drawn. Raises BadInput."""
    notes = study.project / "plots" / ".keys" / content_key(str(folder.resolve()))[:16]
    for drawing in study.each("plot", drawings, name=lambda drawing: drawing[0]):
        yield from draw_once(folder, notes, drawing, suffixes=suffixes)


def _fronts(study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]) -> Iterator[Drawing]:
    for row in rows:
        members = sorted(catalogue.select("fronts", equation=row["equation"]), key=lambda m: m["complexity"])
        points = [
            pictures_of.FrontPoint(
                complexity=member["complexity"],
                ratio=_number(member["peer_ratio"]),
                ratio_error=_number(member["peer_ratio_error"]),
                error=_number(member["error"]),
                formula=rounded(member["expression"]),
                chosen=member["chosen"] and row["status"] == "equation",
            )
            for member in members
        ]
        key = content_key(VERSION, row["target"], row["unit"], [str(point) for point in points])

        def draw(points: list[pictures_of.FrontPoint] = points, row: dict[str, Any] = row) -> Figure:
            return pictures_of.front(points, target=row["target"], unit=row["unit"] or "")

        yield f"front-{row['equation']}", key, draw


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _agreements(
    study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]
) -> Iterator[Drawing]:
    features = {feature.id: feature for feature in found.features}
    ground = ground_of(study, {seen.network.name: seen for seen in found.observed})
    for row in rows:
        if row["status"] == "no_equation" or row["feature"] not in features or row["terms"] or row["linked"]:
            continue  # what was asked about parts of networks, or up to a link, has no values to compare
        r2 = {each["lineage"]: each["fidelity"] for each in catalogue.select("agreements", equation=row["equation"])}
        key = content_key(VERSION, row["expression"], row["target"], row["unit"], found.key)

        def draw(row: dict[str, Any] = row, r2: dict[str, float] = r2) -> Figure:
            said = witness(features[row["feature"]], ground, device=study.device)
            points = study.probe.draw(SAMPLES, seed=study.manifest.seed + 5)
            predicted = predict(parse(row["expression"]), ground.columns(points), len(points))
            return pictures_of.agreement(
                predicted,
                said(points),
                lineages=said.lineages,
                r2=[r2.get(lineage, math.nan) for lineage in said.lineages],
                formula=rounded(row["expression"]),
                target=row["target"],
                unit=row["unit"] or "",
            )

        yield f"agreement-{row['equation']}", key, draw


def _units(study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]) -> Iterator[Drawing]:
    if found.aligned.levels:
        yield "units", content_key(VERSION, found.key), partial(_draw_units, study, found)


def _draw_units(study: Study, found: Clustered) -> Figure:
    """Map all live units; maps and tokens count by their mean over the positions of a row."""
    aligned, names = found.aligned, [seen.network.name for seen in found.observed]
    home = {(m.network, m.layer, m.unit): (f, m) for f in found.features if f.above_null for m in f.members}
    dots = [
        (level, place, unit, home.get((names[place[0]], aligned.layer(place).name, unit)))
        for level in aligned.levels
        for place in level.layers
        for unit in np.flatnonzero(aligned.observed[place[0]].alive(aligned.layer(place))).tolist()
    ]
    kept = [dots[k] for k in _thinned([f"{one[3][0].id}" if one[3] else "" for one in dots])]
    columns = [
        _by_row(aligned, place, len(study.probe.inputs))[:, [unit for _, _, unit, _ in group]]
        for place, group in ((place, list(group)) for place, group in groupby(kept, key=lambda dot: dot[1]))
    ]
    averaged = any(level.positions > 1 for level, _, _, _ in kept)
    notes = (
        "Maps count by their mean over positions." if averaged else "",
        "" if len(kept) == len(dots) else f"{len(kept):,} of {len(dots):,} units are shown.",
    )
    return pictures_of.units(
        np.concatenate(columns, axis=1).T if columns else np.zeros((0, len(study.probe.inputs))),
        networks=[names[place[0]] for _, place, _, _ in kept],
        levels=[level.name for level, _, _, _ in kept],
        features=[f"{at[0].id} {at[0].name}".strip() if at else "" for _, _, _, at in kept],
        universality=np.array([at[0].universality if at else 0.0 for _, _, _, at in kept]),
        signs=np.array([float(at[1].sign) if at else 1.0 for _, _, _, at in kept]),
        seed=study.manifest.seed,
        note=" ".join(filter(None, notes)),
    )


def _by_row(aligned: Aligned, place: tuple[int, int], rows: int) -> np.ndarray:
    """Read a layer, averaged over the positions of each row, on about 512 rows."""
    values = aligned.observed[place[0]].pre(aligned.layer(place))
    by_row = values.reshape(rows, -1, values.shape[1])[:: max(1, rows // 512)]
    return np.asarray(by_row.mean(axis=1, dtype=np.float64))


def _thinned(features: Sequence[str]) -> np.ndarray:
    """Keep the units of features, and of the others as many as there is room for, evenly."""
    inside = np.array([k for k, feature in enumerate(features) if feature][:MOST_UNITS], dtype=np.int64)
    outside = np.array([k for k, feature in enumerate(features) if not feature], dtype=np.int64)
    room = min(MOST_UNITS - len(inside), len(outside))
    some = outside[np.linspace(0, len(outside) - 1, room).astype(int)] if room > 0 else outside[:0]
    return np.sort(np.concatenate([inside, some]))


def _matches(study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]) -> Iterator[Drawing]:
    chance, aligned = plot_rows.chances(catalogue.select("nulls")), found.aligned
    chosen = plot_rows.best(found.features)
    if chosen:
        yield "matches", content_key(VERSION, found.key), partial(_draw_features, found, chosen, chance)
    levels = [level for level in aligned.levels if len(level.layers) > 1]
    shown = [levels[k] for k in np.linspace(0, len(levels) - 1, min(len(levels), SHEETS)).round().astype(int)]
    note = f" Of {len(levels)} levels {len(shown)} have such a picture." if len(shown) < len(levels) else ""
    for level in shown:
        key = content_key(VERSION, aligned.key, study.manifest.align.q, level.name, note)
        draw = partial(_draw_level, study, aligned, level, chance.get(level.name, math.nan), note)
        yield f"matches-{re.sub('[^a-z0-9]+', '-', level.name.lower())}", key, draw


def _draw_features(found: Clustered, chosen: Sequence[Feature], chance: Mapping[str, float]) -> Figure:
    drawn = chosen[:ROWS]
    above = sum(feature.above_null for feature in chosen)
    finding = (
        f"{above} features are above the nulls" if above else "No feature is above the nulls, best supported first"
    )
    if above == 1:
        finding = "1 feature is above the nulls"
    notes = (
        "A mean of several networks is easier to match than a unit is.",
        "+1: that network has one more such unit." if any(len(f.members) > f.networks for f in drawn) else "",
        "Direction: a mixture of units of that layer." if any(f.kind == "direction" for f in drawn) else "",
        f"{len(drawn)} of {len(chosen)} features are drawn." if len(drawn) < len(chosen) else "",
    )
    return pictures_of.matches(
        plot_rows.of_features(found, drawn, chance),
        networks=[seen.network.name for seen in found.observed],
        finding=f"{finding}: what their units do, network by network",
        note=" ".join(filter(None, notes)),
    )


def _draw_level(study: Study, aligned: Aligned, level: Level, chance: float, note: str) -> Figure:
    names = [(aligned.observed[place[0]].network.name, aligned.layer(place).name) for place in sorted(level.layers)]
    q = study.manifest.align.q
    with study.reading() as catalogue:
        reference = plot_rows.central(names, catalogue.select("similarities"))
        sides = ({"left_network": reference}, {"right_network": reference})
        rows = [row for side in sides for row in catalogue.select("matches", level=level.name, **side)]
    return pictures_of.matches(
        plot_rows.of_level(aligned, level, reference, rows, q=q, chance=chance),
        networks=[reference, *(network for network, _ in names if network != reference)],
        finding=f"{level.name}: the best matched units of {reference}, network by network",
        partner=f"unit of {reference}",
        note=f"Chance is passed at q \N{LESS-THAN OR EQUAL TO} {q:g}. All are held against {reference}, whose layer is "
        f"most like the others (CKA).{note}",
    )


def _similarities(
    study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]
) -> Iterator[Drawing]:
    aligned: Aligned = found.aligned
    places = [place for level in aligned.levels if level.role == "hidden" for place in sorted(level.layers)]
    levels = [level.name for level in aligned.levels if level.role == "hidden" for _ in level.layers]
    if not places:
        return
    named = [(aligned.observed[place[0]].network.name, aligned.layer(place).name) for place in places]
    at = {name: k for k, name in enumerate(named)}
    pairs = catalogue.select("similarities")

    def draw() -> Figure:
        matrix = np.full((len(named), len(named)), np.nan)
        np.fill_diagonal(matrix, 1.0)
        for row in pairs:
            left, right = (row["left_network"], row["left_layer"]), (row["right_network"], row["right_layer"])
            if left in at and right in at:
                matrix[at[left], at[right]] = matrix[at[right], at[left]] = np.clip(row["cka"], 0.0, 1.0)
        return pictures_of.similarity(
            matrix,
            names=[f"{_short(network)} {layer}" for network, layer in named],
            groups=levels,
            measure="unbiased CKA",
            note="Blocks are levels: the layers of different networks that stand for one another. 1: the same but for "
            "rotation and scale; about 0: nothing in common.",
        )

    yield "similarity", content_key(VERSION, aligned.key), draw


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}\N{HORIZONTAL ELLIPSIS}"


def _universality(
    study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]
) -> Iterator[Drawing]:
    tested = [feature for feature in found.features if feature.lineages > 1 and feature.kind == "unit"]
    if not tested:
        return
    q, directions = study.manifest.align.q, sum(feature.kind == "direction" for feature in found.features)
    note = f"Above: q \N{LESS-THAN OR EQUAL TO} {q:g}." + (
        f" {directions} shared directions, which are held against other nulls, are not in it." if directions else ""
    )

    def draw() -> Figure:
        return pictures_of.universality(
            np.array([feature.support for feature in tested]),
            np.array(found.null_support),
            above=np.array([feature.above_null for feature in tested]),
            measure="support [universality times agreement]",
            note=note,
        )

    yield "universality", content_key(VERSION, found.key, note), draw


PICTURES: dict[str, Callable[[Study, Catalogue, Clustered, Sequence[dict[str, Any]]], Iterator[Drawing]]] = {
    "front": _fronts,
    "agreement": _agreements,
    "units": _units,
    "similarity": _similarities,
    "universality": _universality,
    "matches": _matches,
}
