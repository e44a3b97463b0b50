"""Draft a zoo.toml from what a folder of checkpoints shows, and mark what it does not show."""

from __future__ import annotations

import os
import shlex
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from .architecture import build_network
from .checkpoint import READERS, Checkpoint, read_checkpoint
from .errors import BadInput, BadProbe, Refused
from .globs import cover, literal
from .manifest import ProbeTable, check_manifest
from .network import Network
from .probe import ROWS, make_probe
from .sketch import Group, RowsFile, Sketch, alternatives, counted, plain, sketch
from .store import write_atomically

MANIFEST = "zoo.toml"
LARGEST_ROWS = 256 << 20
SUFFIXES = {
    *(".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".pkl", ".pickle", ".joblib", ".model"),
    *(".onnx", ".h5", ".hdf5", ".keras", ".gguf", ".pt2", ".ptl", ".msgpack", ".tar"),
}
"""Names that promise a checkpoint: what they hold is reported where it is none."""
_NO_CHECKPOINT = {"unknown-format", "empty", "symlink", "not-a-file", "missing", "unreadable"}
_FORMATS = f"the formats are {', '.join(READERS)}; give the folder that holds them, or the one above it"


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to take the weights for an MLP: its width at both ends, and what is known between layers."""

    inputs: int
    outputs: int
    activations: tuple[str, ...]
    doubt: str


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint in the folder: the ways to read it as an MLP, or why there is none."""

    file: str
    readings: Mapping[int, Reading]
    doubt: str
    tensors: tuple[str, ...]
    warnings: tuple[str, ...]


def draft_manifest(folder: Path, *, force: bool = False) -> tuple[str, ...]:
    """Write a zoo.toml into a folder of checkpoints, and tell what was found and what could not be told.

    Looks at the folder's files and those one folder below; nothing in them is run. Returns lines for the
    user, the last with the command to type next. Raises BadInput where the folder is none or holds no
    checkpoint, and where a zoo.toml is there and `force` is not set.
    """
    path = folder / MANIFEST
    _check(folder, path, force=force)
    files = _files(folder)
    found, aside = _read_all(folder, files)
    if not found:
        raise _nothing(folder, aside)
    whole = _survey(folder, files, found)
    text = sketch(whole)
    check_manifest(tomllib.loads(text), path=path)
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    told = (*_told(whole), *_odd(found), *aside)
    return tuple(plain(line) for line in (*told, f"wrote {path}", _next(path)))


def _check(folder: Path, path: Path, *, force: bool) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise BadInput(f"{folder}: {what}", hint="consilience init FOLDER takes a folder of checkpoints")
    if not force and os.path.lexists(path):
        command = f"consilience init {shlex.quote(str(folder))} --force"
        raise BadInput(f"{path}: is already there", hint=f"{command} overwrites it")


def _files(folder: Path) -> list[str]:
    """List the files of a folder and of those just below it, without hidden ones and links to folders."""
    try:
        level = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        below = [path for path in level if path.is_dir() and not path.is_symlink()]
        inner = [path for one in below for path in sorted(one.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise BadInput(
            f"{error.filename}: {error.strerror}", hint="check the rights of the folder and those in it"
        ) from None
    files = [path for path in (*level, *inner) if not path.is_dir()]
    return [path.relative_to(folder).as_posix() for path in files if path != folder / MANIFEST]


def _read_all(folder: Path, files: list[str]) -> tuple[list[Found], list[str]]:
    found, aside = [], []
    for file in files:
        if PurePosixPath(file).suffix.lower() in ROWS:
            continue
        try:
            found.append(_read(folder, file))
        except Refused as refusal:
            if refusal.code not in _NO_CHECKPOINT or PurePosixPath(file).suffix.lower() in SUFFIXES:
                aside.append(f"set aside: {file} {refusal.what} ({refusal.hint})")
    return found, aside


def _read(folder: Path, file: str) -> Found:
    """Read one checkpoint and try it as an MLP. Raises Refused, also for a name that TOML cannot hold."""
    try:
        file.encode()
    except UnicodeEncodeError:
        raise Refused("name", "has a name that is not text", hint="rename the file") from None
    checkpoint = read_checkpoint(folder / file)
    readings, doubt = {}, "none of the weights has two axes"
    weights = [array for array in checkpoint.tensors.values() if array.ndim == 2 and array.size]
    for inputs in sorted({array.shape[1] for array in weights}):
        try:
            readings[inputs] = _as_mlp(folder, checkpoint, inputs)
        except Refused as refusal:
            doubt = doubt if refusal.code == "input-shape" else f"the file {refusal.what}"
    return Found(file, readings, doubt, tuple(sorted(checkpoint.tensors)), checkpoint.warnings)


def _as_mlp(folder: Path, checkpoint: Checkpoint, inputs: int) -> Reading:
    try:
        network, doubt = _built(folder, checkpoint, inputs, activation=None), ""
    except Refused as refusal:
        if refusal.code != "no-activation":
            raise
        network = _built(folder, checkpoint, inputs, activation="identity")
        said = checkpoint.metadata.get("activation")
        doubt = f"the files say {said!r}, which is not known here" if said else "the files do not say it"
    hidden = sorted({layer.activation for layer in network.layers if layer.role == "hidden"})
    return Reading(inputs, network.layers[-1].units, () if doubt else tuple(hidden), doubt)


def _built(folder: Path, checkpoint: Checkpoint, inputs: int, *, activation: str | None) -> Network:
    example = np.zeros((1, inputs))
    return build_network(
        checkpoint,
        name="draft",
        digest="",
        lineage="draft",
        activation=activation,
        example=example,
        search_path=folder,
    )


def _nothing(folder: Path, aside: list[str]) -> BadInput:
    if not aside:
        return BadInput(f"{plain(str(folder))}: holds no checkpoint", hint=_FORMATS)
    first = plain(aside[0].removeprefix("set aside: "))
    return BadInput(
        f"{plain(str(folder))}: none of {counted(len(aside), 'checkpoint')} can be read, the first: {first}",
        hint=_FORMATS,
    )


def _survey(folder: Path, files: list[str], found: list[Found]) -> Sketch:
    widths = Counter(inputs for one in found for inputs in one.readings)
    inputs = max(widths, key=lambda width: (widths[width], -width), default=None)
    kept = [one for one in found if not one.readings or inputs in one.readings]
    others = [one for one in found if one.readings and inputs not in one.readings]
    rows, notes = _rows(folder, files, inputs)
    return Sketch(
        _name(folder),
        inputs,
        tuple(_groups(folder, kept, inputs)),
        tuple(f"{one.file} takes {counted(min(one.readings), 'input')}, not {inputs}" for one in others),
        rows,
        notes,
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
        groups.setdefault(reading.doubt if reading else one.tensors, []).append(one)
    for members in sorted(groups.values(), key=lambda members: not members[0].readings):
        readings = [reading for one in members if (reading := one.readings.get(inputs or 0))]
        free = [one.file for one in members if one.file not in names]
        patterns = [(pattern, None) for pattern, _ in cover(folder, free, coming=MANIFEST)] if free else []
        named = [(literal(one.file), names[one.file]) for one in members if one.file in names]
        yield Group(
            bool(readings),
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


def _rows(folder: Path, files: list[str], inputs: int | None) -> tuple[RowsFile | None, tuple[str, ...]]:
    """Look for a file with one column for each input; say of the others why they are not used."""
    fitting, notes = [], []
    for file in [file for file in files if PurePosixPath(file).suffix.lower() in ROWS]:
        try:
            fitting.append(_fitting(folder, file, inputs))
        except BadProbe as error:
            notes.append(f"not used: {error.what.removeprefix(f'{folder}/')}")
    if len(fitting) > 1:
        others = ", ".join(rows.file for rows in fitting[1:4])
        notes.append(f"could not tell: which rows to show; took {fitting[0].file}, could be {others}")
    return (fitting[0] if fitting else None), tuple(notes)


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
        kind = counted(group.networks, "MLP" if group.mlp else "network")
        ends = (
            f", {counted(zoo.inputs or 0, 'input')}, {alternatives(group.outputs)}"
            if group.mlp
            else " of an unknown kind"
        )
        between = f", activation {', '.join(group.activations)}" if group.activations else ""
        yield f"found {kind}{ends}{between}: {_places(group)}"
    if zoo.rows:
        yield f"found rows to show them: {zoo.rows.file}"
    for group in zoo.groups:
        if group.doubt:
            what = "activation" if group.mlp else "architecture"
            yield f"could not tell: the {what} of {_places(group)}: {group.doubt}"
    yield from (f"left out: {text}" for text in zoo.left_out)
    if zoo.inputs is None and not zoo.rows:
        yield "could not tell: how many inputs the networks take"
    if not zoo.rows:
        yield "could not tell: the ranges of the inputs; -1 to 1 stands in their place"
    if not (zoo.rows and zoo.rows.named):
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
