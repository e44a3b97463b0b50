"""Plot: draw what the catalogue holds as PNG and SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..zoo.errors import BadInput, NotFound
from ..zoo.store import content_key
from . import plot as pictures_of
from .catalogue import Catalogue
from .fit import predict
from .parsing import parse
from .show import rounded
from .stage_align import Aligned
from .stage_cluster import Clustered, cluster
from .stage_distil import Witness, coordinates
from .study import Study

SUFFIXES = (".png", ".svg")
MOST_UNITS = 3000
SAMPLES = 400
VERSION = "plot-2"

Drawing = tuple[str, str, Callable[[], Figure]]
"""A file name without suffix, the key of what it shows, and how to draw it."""


def plot(
    study: Study, *, pictures: Sequence[str] = (), folder: Path | None = None, equations: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Draw pictures of a study, by default all; what is drawn already and has not changed is kept.

    `pictures` are of PICTURES, `equations` those whose fronts and agreements are drawn (by default all).
    Raises BadInput for an unknown picture, NotFound before anything was distilled.
    """
    unknown = [name for name in pictures if name not in PICTURES]
    if unknown:
        raise BadInput(f"no picture {unknown[0]!r}", hint=f"there are {', '.join(PICTURES)}")
    out = folder or study.project / "plots"
    with study.reading() as catalogue:
        if not catalogue.select("features"):
            raise NotFound("nothing to draw yet", hint=f"consilience run {study.path}")
    found = cluster(study)
    with study.reading() as catalogue:
        rows = [row for row in catalogue.listing("equations").dicts() if not equations or row["equation"] in equations]
        wanted = pictures or tuple(PICTURES)
        drawings = [d for name in wanted for d in PICTURES[name](study, catalogue, found, rows)]
    if not drawings:
        raise NotFound("nothing to draw yet", hint=f"consilience run {study.path}")
    notes = study.project / "plots" / ".keys" / content_key(str(out.resolve()))[:16]
    return tuple(path for d in study.each("plot", drawings, name=lambda d: d[0]) for path in _draw(out, notes, *d))


def _draw(folder: Path, notes: Path, name: str, key: str, draw: Callable[[], Figure]) -> Iterator[Path]:
    """Draw into PNG and SVG, unless a note says that they show the same already."""
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    note = notes / name
    if not (all(path.exists() for path in paths) and note.exists() and note.read_text() == key):
        figure = draw()
        for path in paths:
            pictures_of.save(figure, path)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(key)
    yield from paths


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
    networks = {seen.network.name: seen for seen in found.observed}
    for row in rows:
        if row["status"] != "equation":
            continue
        witness = Witness(study, features[row["feature"]], networks)
        r2 = {each["lineage"]: each["fidelity"] for each in catalogue.select("agreements", equation=row["equation"])}
        key = content_key(VERSION, row["expression"], row["target"], row["unit"], found.key)

        def draw(witness: Witness = witness, row: dict[str, Any] = row, r2: dict[str, float] = r2) -> Figure:
            points = study.probe.draw(SAMPLES, seed=study.manifest.seed + 5)
            predicted = predict(parse(row["expression"]), coordinates(study, points), len(points))
            return pictures_of.agreement(
                predicted,
                witness(points),
                lineages=witness.lineages,
                r2=[r2.get(lineage, math.nan) for lineage in witness.lineages],
                formula=rounded(row["expression"]),
                target=row["target"],
                unit=row["unit"] or "",
            )

        yield f"agreement-{row['equation']}", key, draw


def _units(study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]) -> Iterator[Drawing]:
    levels = [level for level in found.aligned.levels if level.role == "hidden" and level.positions == 1]
    if levels:
        key = content_key(VERSION, found.key)
        yield "units", key, lambda: _draw_units(study, found, [level.name for level in levels])


def _draw_units(study: Study, found: Clustered, levels: Sequence[str]) -> Figure:
    aligned = found.aligned
    home = {(m.network, m.layer, m.unit): (f, m) for f in found.features if f.above_null for m in f.members}
    columns: list[np.ndarray] = []
    networks: list[str] = []
    names: list[str] = []
    features: list[str] = []
    universality: list[float] = []
    signs: list[float] = []
    for level in aligned.levels:
        for place in level.layers if level.name in levels else ():
            network, layer = aligned.observed[place[0]].network.name, aligned.layer(place)
            values = aligned.observed[place[0]].pre(layer)[:: max(1, len(study.probe.inputs) // 512)]
            for unit in np.flatnonzero(aligned.observed[place[0]].alive(layer)):
                feature, member = home.get((network, layer.name, int(unit)), (None, None))
                columns.append(values[:, unit])
                networks.append(network)
                names.append(level.name)
                features.append(feature.id if feature else "")
                universality.append(feature.universality if feature else 0.0)
                signs.append(float(member.sign) if member else 1.0)
    kept = _thinned(features)
    return pictures_of.units(
        np.stack(columns)[kept].astype(np.float64),
        networks=[networks[k] for k in kept],
        levels=[names[k] for k in kept],
        features=[features[k] for k in kept],
        universality=np.array(universality)[kept],
        signs=np.array(signs)[kept],
        seed=study.manifest.seed,
        note="" if len(kept) == len(columns) else f"{len(kept)} of {len(columns)} units are shown.",
    )


def _thinned(features: Sequence[str]) -> np.ndarray:
    """Keep the units of features, and of the others as many as there is room for, evenly."""
    inside = np.array([k for k, feature in enumerate(features) if feature][:MOST_UNITS], dtype=np.int64)
    outside = np.array([k for k, feature in enumerate(features) if not feature], dtype=np.int64)
    room = min(MOST_UNITS - len(inside), len(outside))
    some = outside[np.linspace(0, len(outside) - 1, room).astype(int)] if room > 0 else outside[:0]
    return np.sort(np.concatenate([inside, some]))


def _similarities(
    study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]
) -> Iterator[Drawing]:
    aligned: Aligned = found.aligned
    places = [place for level in aligned.levels if level.role == "hidden" for place in level.layers]
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
            matrix, names=[f"{network} {layer}" for network, layer in named], groups=levels, measure="unbiased CKA"
        )

    yield "similarity", content_key(VERSION, aligned.key), draw


def _universality(
    study: Study, catalogue: Catalogue, found: Clustered, rows: Sequence[dict[str, Any]]
) -> Iterator[Drawing]:
    tested = [feature for feature in found.features if feature.lineages > 1]
    if not tested:
        return

    def draw() -> Figure:
        return pictures_of.universality(
            np.array([feature.support for feature in tested]),
            np.array(found.null_support),
            above=np.array([feature.above_null for feature in tested]),
            measure="support [universality times agreement]",
        )

    yield "universality", content_key(VERSION, found.key), draw


PICTURES: dict[str, Callable[[Study, Catalogue, Clustered, Sequence[dict[str, Any]]], Iterator[Drawing]]] = {
    "front": _fronts,
    "agreement": _agreements,
    "units": _units,
    "similarity": _similarities,
    "universality": _universality,
}
