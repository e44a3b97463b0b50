"""Draft a zoo.toml from what checkpoints show, and mark what they do not show."""

from __future__ import annotations

import os
import shlex
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

from .appraise import Found, appraise
from .checkpoint import READERS
from .errors import BadInput, BadProbe, Refused
from .globs import cover, literal
from .hub import HUB
from .inspection import Located, inspect
from .locate import PACKAGE, SUFFIXES, locate_given
from .manifest import ProbeTable, check_manifest
from .probe import ROWS, make_probe
from .sandbox import Sandbox
from .scratch import Scratch
from .sketch import Group, RowsFile, Sketch, alternatives, counted, plain, sketch
from .store import Store, write_atomically

MANIFEST = "zoo.toml"
LARGEST_ROWS = 256 << 20
_NO_CHECKPOINT = {"unknown-format", "empty", "symlink", "not-a-file", "missing", "unreadable"}
_FORMATS = f"the formats are {', '.join(READERS)}; give the folder that holds them, or the one above it"


def draft_manifest(folder: Path, *, force: bool = False) -> tuple[str, ...]:
    """Write a zoo.toml into a folder of checkpoints, and tell what was found and what could not be told.

    Looks at the folder's files and those below; nothing in them is run. Returns lines for the user, the
    last with the command to type next. Raises BadInput where the folder is none or holds no checkpoint, and
    where a zoo.toml is there and `force` is not set.
    """
    path = folder / MANIFEST
    _check(folder, path, force=force)
    lines = _draft(folder, locate_given(str(folder)), {})
    return (*lines, _next(path))


def draft_given(paths: Sequence[str], *, said: Mapping[str, str]) -> tuple[Path, tuple[str, ...]]:
    """Write a zoo.toml for files, folders and globs, into the folder that holds them all, and tell what was found.

    `said` are keys of [[networks]] that hold for all of them. Returns the path of the zoo.toml and lines
    for the user. Raises BadInput where the paths hold no checkpoint, or a zoo.toml is there already.
    """
    elsewhere = [path for path in paths if path.startswith((HUB, PACKAGE))]
    if elsewhere:
        raise BadInput(
            f"{elsewhere[0]}: lies in no folder that a zoo.toml could be written to",
            hint=f'write path = "{elsewhere[0]}" into a zoo.toml, or look at it: consilience check {elsewhere[0]}',
        )
    places = [place for path in paths for place in locate_given(path)]
    folder = _common(paths, places)
    if os.path.lexists(folder / MANIFEST):
        raise BadInput(
            f"{folder / MANIFEST}: is already there, and says which networks belong to that zoo",
            hint=f"add them to it as [[networks]], then: consilience ingest {shlex.quote(str(folder))}",
        )
    return folder / MANIFEST, _draft(folder, places, said)


def _common(paths: Sequence[str], places: Sequence[Located]) -> Path:
    """Find the folder that holds all: the one that was named, or the nearest above all files."""
    if len(paths) == 1 and Path(paths[0]).is_dir() and not (places and places[0].file == Path(paths[0])):
        return Path(paths[0])
    if not places:
        return Path()
    return Path(os.path.relpath(os.path.commonpath([place.file.absolute().parent for place in places])))


def _draft(folder: Path, places: Sequence[Located], said: Mapping[str, str]) -> tuple[str, ...]:
    path = folder / MANIFEST
    files = [
        place.file.relative_to(folder).as_posix()
        if place.file.is_relative_to(folder)
        else Path(os.path.relpath(place.file, folder)).as_posix()
        for place in places
    ]
    found, aside = _read_all(folder, places, files, said)
    if not found:
        raise _nothing(folder, aside)
    whole = _survey(folder, found, said)
    text = sketch(whole)
    check_manifest(tomllib.loads(text), path=path)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    told = (*_told(whole), *_odd(found), *aside)
    return tuple(plain(line) for line in (*told, f"wrote {path}"))


def _check(folder: Path, path: Path, *, force: bool) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise BadInput(f"{folder}: {what}", hint="consilience init FOLDER takes a folder of checkpoints")
    if not force and os.path.lexists(path):
        command = f"consilience init {shlex.quote(str(folder))} --force"
        raise BadInput(f"{path}: is already there", hint=f"{command} overwrites it")


def _read_all(
    folder: Path, places: Sequence[Located], files: Sequence[str], said: Mapping[str, str]
) -> tuple[list[Found], list[str]]:
    found, aside = [], []
    with (
        Scratch() as scratch,
        Sandbox() as sandbox,
        closing(inspect(places, store=Store(scratch), sandbox=sandbox)) as inspected,
    ):
        for file, seen in zip(files, inspected, strict=True):
            try:
                found.append(appraise(file, seen, said=said, search_path=folder))
            except Refused as refusal:
                promising = PurePosixPath(file).suffix.lower() in SUFFIXES
                if refusal.code not in _NO_CHECKPOINT or promising:
                    aside.append(f"set aside: {file} {refusal.what} ({refusal.hint})")
    return found, aside


def _nothing(folder: Path, aside: list[str]) -> BadInput:
    if not aside:
        return BadInput(f"{plain(str(folder))}: holds no checkpoint", hint=_FORMATS)
    first = plain(aside[0].removeprefix("set aside: "))
    return BadInput(
        f"{plain(str(folder))}: none of {counted(len(aside), 'checkpoint')} can be read, the first: {first}",
        hint=_FORMATS,
    )


def _survey(folder: Path, found: list[Found], said: Mapping[str, str]) -> Sketch:
    widths = Counter(inputs for one in found for inputs in one.readings)
    inputs = max(widths, key=lambda width: (widths[width], -width), default=None)
    kept = [one for one in found if not one.readings or inputs in one.readings]
    others = [one for one in found if one.readings and inputs not in one.readings]
    rows, notes = _rows(folder, inputs) if inputs else (None, ())
    image = any(one.image for one in kept)
    return Sketch(
        _name(folder),
        inputs,
        tuple(_groups(folder, kept, inputs)),
        tuple(f"{one.file} takes {counted(min(one.readings), 'input')}, not {inputs}" for one in others),
        rows,
        notes,
        said=tuple(said.items()),
        image=image and rows is None,
    )


def _name(folder: Path) -> str:
    name = folder.resolve().name.encode("utf-8", "replace").decode()
    return name[:200] or "zoo"


def _groups(folder: Path, kept: list[Found], inputs: int | None) -> Iterator[Group]:
    """Put together the networks of which the same has to be said."""
    names = _own_names([one.file for one in kept])
    groups: dict[object, list[Found]] = {}
    for one in kept:
        reading = one.readings.get(inputs or 0)
        groups.setdefault((one.architecture, reading.doubt) if reading else one.tensors, []).append(one)
    for members in sorted(groups.values(), key=lambda members: not members[0].readings):
        readings = [reading for one in members if (reading := one.readings.get(inputs or 0))]
        free = [one.file for one in members if one.file not in names]
        patterns = [(pattern, None) for pattern, _ in cover(folder, free, coming=MANIFEST)] if free else []
        named = [(literal(one.file), names[one.file]) for one in members if one.file in names]
        yield Group(
            members[0].architecture,
            readings[0].doubt if readings else members[0].doubt,
            tuple(sorted({reading.outputs for reading in readings})),
            tuple(sorted({name for reading in readings for name in reading.activations})),
            len(members),
            (*patterns, *named),
        )


def _own_names(files: list[str]) -> dict[str, str]:
    """Name the files that differ from another in the suffix alone: both would be called the same."""
    stems = Counter(str(PurePosixPath(file).with_suffix("")) for file in files)
    taken = {PurePosixPath(file).stem for file in files} | set(stems)
    names: dict[str, str] = {}
    for file in files:
        if stems[str(PurePosixPath(file).with_suffix(""))] > 1:
            name = file[-190:]
            while name in taken:
                name = f"{name}'"
            names[file] = name
            taken.add(name)
    return names


def _rows(folder: Path, inputs: int | None) -> tuple[RowsFile | None, tuple[str, ...]]:
    """Look for a file with one column for each input; say of the others why they are not used."""
    fitting, notes = [], []
    for file in _tables(folder):
        try:
            fitting.append(_fitting(folder, file, inputs))
        except BadProbe as error:
            notes.append(f"not used: {error.what.removeprefix(f'{folder}/')}")
    if len(fitting) > 1:
        others = ", ".join(rows.file for rows in fitting[1:4])
        notes.append(f"could not tell: which rows to show; took {fitting[0].file}, could be {others}")
    return (fitting[0] if fitting else None), tuple(notes)


def _tables(folder: Path) -> list[str]:
    """List the files in a folder, and in those just below it, that may be rows of a table."""
    files = [path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)) if path.suffix.lower() in ROWS]
    names = [path.relative_to(folder) for path in files if not path.is_dir()]
    return [name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)]


def _fitting(folder: Path, file: str, inputs: int | None) -> RowsFile:
    """Try a file as a probe. Raises BadProbe where it is none, or has another number of columns."""
    status = (folder / file).lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_ROWS or not _is_text(file):
        raise BadProbe(f"{file}: is no plain file of moderate size", hint="name it in probe.rows yourself")
    table = ProbeTable(rows=file, samples=8)
    names = tuple(variable.name for variable in make_probe(table, folder=folder, seed=0).variables)
    if inputs is not None and len(names) != inputs:
        raise BadProbe(
            f"{file}: has {counted(len(names), 'column')} of numbers, the networks take {inputs}",
            hint="list the columns that are inputs in [[probe.variables]]",
        )
    named = PurePosixPath(file).suffix.lower() != ".npy"
    return RowsFile(file, names if named else tuple(f"x{n}" for n in range(1, len(names) + 1)), named)


def _is_text(file: str) -> bool:
    try:
        file.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(zoo: Sketch) -> Iterator[str]:
    """Say what was found, then what could not be told, one line each."""
    for group in zoo.groups:
        between = f", activation {', '.join(group.activations)}" if group.activations else ""
        ends = f", {counted(zoo.inputs or 0, 'input')}, {alternatives(group.outputs)}" if group.outputs else ""
        kind = {"mlp": "MLP", "cnn": "CNN"}.get(group.kind, "network")
        how = "" if kind != "network" else f" that run as {group.kind}" if group.kind else " of an unknown kind"
        yield f"found {counted(group.networks, kind)}{how}{ends}{between}: {_places(group)}"
    if zoo.rows:
        yield f"found rows to show them: {zoo.rows.file}"
    for group in zoo.groups:
        if group.doubt:
            what = "activation" if group.kind else "architecture"
            yield f"could not tell: the {what} of {_places(group)}: {group.doubt}"
    yield from (f"left out: {text}" for text in zoo.left_out)
    if zoo.inputs is None and not zoo.rows:
        yield "could not tell: how many inputs the networks take"
    elif zoo.image:
        yield "could not tell: which photos to show; [probe] waits for them"
    elif not zoo.rows:
        yield "could not tell: the ranges of the inputs; -1 to 1 stands in their place"
    if not (zoo.rows and zoo.rows.named) and not zoo.image:
        yield "could not tell: what the inputs mean; they have numbers for names"
    yield "could not tell: whether an output means the same in all networks, and whether inputs were scaled"
    yield from zoo.notes


def _places(group: Group) -> str:
    shown = ", ".join(pattern for pattern, _ in group.patterns[:3])
    return f"{shown} and {len(group.patterns) - 3} more" if len(group.patterns) > 3 else shown


def _odd(found: list[Found]) -> Iterator[str]:
    for one in found:
        if one.warnings:
            more = f" and {len(one.warnings) - 1} more" if len(one.warnings) > 1 else ""
            yield f"odd: {one.file}: {one.warnings[0]}{more}"


def _next(path: Path) -> str:
    return f"next: complete what is marked in it, then type: consilience run {shlex.quote(str(path))}"
