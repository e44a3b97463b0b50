"""Check: say of files what they are, what would run them and whether they fit the probe, and keep nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...zoo.architecture import infer
from ...zoo.errors import ConsilienceError, NotFound, Refused
from ...zoo.inspection import Located
from ...zoo.locate import INDEX, SUFFIXES, locate_given
from ...zoo.manifest import Manifest, NetworksTable
from ...zoo.network import Network
from ...zoo.scratch import Scratch
from ..project.study import Study, find_study
from .sources import Source, shown, sources
from .stage_ingest import Ingested, build, gather, status_of

_UNKNOWN = {"unknown-format", "empty"}
"""What lies in a folder and promises nothing is passed by where it is one of these."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a file is, what would run it, whether it fits the probe (None: there is none), and what is wrong."""

    file: str
    status: str
    format: str | None
    architecture: str | None
    parameters: int | None
    inputs: str | None
    outputs: int | None
    layers: int | None
    fits_probe: bool | None
    lineage: str | None
    warnings: list[str]
    code: str | None
    message: str | None
    hint: str | None


def check(
    paths: Sequence[str], *, study: Study | None = None, said: Mapping[str, Any] | None = None
) -> tuple[Checkup, ...]:
    """Look at checkpoints as ingest would, without keeping anything.

    Paths are files, folders, globs, or names on the Hub (hf:owner/name). With a study, files that its
    zoo.toml names are taken as it says, and all are tried on its probe. `said` holds what is true of all
    other files: keys of [[networks]] in zoo.toml. Raises NotFound where the paths hold no checkpoint.
    """
    places = list(dict.fromkeys(place for path in paths for place in locate_given(path)))
    if not places:
        raise NotFound(f"no checkpoint in {', '.join(paths)}", hint="give files, folders or globs of checkpoints")
    with Scratch() as scratch:
        bench = replace(study or _nothing_known(), home=scratch)
        whole, _ = gather(bench, _named(bench, places, said or {}, known=study is not None))
        explicit = {Path(path) for path in paths}
        return tuple(
            _checkup(bench, item) for item in whole if item.source.place.file in explicit or not _promises_nothing(item)
        )


def nearest_study(start: Path, *, tell: Callable[[str], None], **settings: Any) -> Study | None:
    """Open the study of a folder, or of the nearest one above it, as far as there is one that can be used.

    Nobody named it: what is wrong with it is told in one line, and no reason not to look at files.
    """
    try:
        study = find_study(start, **settings)
        sources(study)
        _ = study.manifest.probe and study.probe
        return study
    except NotFound:
        pass
    except ConsilienceError as error:
        tell(f"warning: {error.what}; the files are checked without that zoo.toml")
    return None


def _nothing_known() -> Study:
    return Study(Path.cwd() / "zoo.toml", Manifest(name="check", networks=(NetworksTable(path="*"),)))


def _named(study: Study, places: Sequence[Located], said: Mapping[str, Any], *, known: bool) -> list[Source]:
    """Give every file its path for a name, and what zoo.toml says of it or else what is said of all."""
    told = {os.path.realpath(source.place.file): source.table for source in sources(study)} if known else {}
    named = []
    for place in places:
        name = shown(str(place.file))
        table = told.get(os.path.realpath(place.file)) or NetworksTable(path=name, **said)
        named.append(Source(name, place, table))
    return named


def _promises_nothing(item: Ingested) -> bool:
    unknown = item.refusal is not None and item.refusal.code in _UNKNOWN
    file = item.source.place.file
    return unknown and file.suffix.lower() not in SUFFIXES and not file.name.endswith(INDEX)


def _checkup(study: Study, item: Ingested) -> Checkup:
    checkpoint, refusal = item.checkpoint, item.refusal
    network = item.network or _without_probe(study, item)
    table = item.source.table
    return Checkup(
        file=item.source.name,
        status=status_of(item),
        format=checkpoint.format if checkpoint else None,
        architecture=table.architecture or (infer(checkpoint) if checkpoint else None),
        parameters=sum(_size(shape) for shape in checkpoint.shapes.values()) if checkpoint else None,
        inputs=" x ".join(map(str, network.input_shape)) if network else None,
        outputs=network.layers[-1].units if network else None,
        layers=len(network.layers) if network else None,
        fits_probe=_fits(study, item),
        lineage=item.lineage,
        warnings=list(item.flags),
        **(_reason(refusal) if refusal else {"code": None, "message": None, "hint": None}),
    )


def _reason(refusal: Refused) -> dict[str, str]:
    return {"code": refusal.code, "message": refusal.what, "hint": refusal.hint}


def _size(shape: Sequence[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _fits(study: Study, item: Ingested) -> bool | None:
    if study.manifest.probe is None or item.checkpoint is None:
        return None
    return item.network is not None


def _without_probe(study: Study, item: Ingested) -> Network | None:
    """Build a network that the probe does not fit on an input of its own, to tell what it takes."""
    if item.checkpoint is None or item.refusal is None or item.refusal.code != "input-shape":
        return None
    blank = replace(study, manifest=study.manifest.model_copy(update={"probe": None, "outputs": ()}))
    try:
        return build(blank, item.source, item.key, item.checkpoint)
    except Refused:
        return None
