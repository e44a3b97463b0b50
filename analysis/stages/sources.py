"""The checkpoints that a zoo.toml names, each under the name that its network bears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ...zoo.errors import BadInput, BadManifest
from ...zoo.inspection import Located
from ...zoo.locate import locate, name_of
from ...zoo.manifest import NetworksTable
from ..project.study import Study


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder that should hold a network, the network's name, and what zoo.toml says of it."""

    name: str
    place: Located
    table: NetworksTable


def sources(study: Study) -> tuple[Source, ...]:
    """Find the checkpoints that a zoo.toml names, in the order of their tables and names.

    Raises BadManifest where a path matches nothing or a name stands twice.
    """
    found: list[Source] = []
    for number, table in enumerate(study.manifest.networks, 1):
        places = _located(study, number, table)
        if table.name and len(places) > 1:
            raise BadManifest(
                f"{study.path}: networks[{number}].name: one name for {len(places)} files",
                hint="leave the name out: each is named for its file",
            )
        found += [Source(table.name or name_of(place), place, table) for place in places]
    for longer in (_without_suffix, _whole):
        names = Counter(source.name for source in found)
        found = [replace(s, name=longer(study.folder, s)) if names[s.name] > 1 else s for s in found]
    twice = sorted(name for name, count in Counter(source.name for source in found).items() if count > 1)
    if twice:
        raise BadManifest(f"{study.path}: networks: {twice[0]!r} stands twice", hint="give one of them a name")
    return tuple(found)


def spare(study: Study, files: Iterable[Path]) -> None:
    """Raise BadInput where something is to be written over what the zoo is made of, checkpoints or zoo.toml."""
    own = {study.path.resolve()} | {source.place.file.resolve() for source in sources(study)}
    for file in files:
        if file.resolve() in own or own & set(file.resolve().parents):
            raise BadInput(f"{file}: belongs to the zoo {study.path}", hint="write to another place")


def shown(name: str) -> str:
    """Write a file name that is no Unicode so that it can be stored and printed."""
    return name.encode("utf-8", "backslashreplace").decode()


def _located(study: Study, number: int, table: NetworksTable) -> list[Located]:
    key = f"{study.path}: networks[{number}].path"
    try:
        places = locate(table.path, folder=study.folder)
    except BadInput as error:
        raise BadManifest(f"{key}: {error.what}", hint=error.hint) from None
    if not places:
        raise BadManifest(f"{key}: nothing matches {table.path!r}", hint="paths begin at the folder of zoo.toml")
    return places


def _without_suffix(folder: Path, source: Source) -> str:
    return _whole(folder, replace(source, place=replace(source.place, file=source.place.file.with_suffix(""))))


def _whole(folder: Path, source: Source) -> str:
    """Name a network for its whole path, unless zoo.toml names it or it lies elsewhere."""
    file = source.place.file
    if source.table.name or not file.is_relative_to(folder):
        return source.name
    return shown(file.relative_to(folder).as_posix())
