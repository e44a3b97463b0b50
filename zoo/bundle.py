"""Copy what makes up one checkpoint into the store: its main file, its config.json, the parts it asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .checkpoint import CONFIG, LARGEST_CONFIG
from .errors import Refused
from .sharded import LARGEST_INDEX, check_names
from .store import Store, content_key

INDEX_SUFFIX = ".index.json"
MAIN_FILES = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""What the weights of a Hugging Face folder are called, best first."""


@dataclass(frozen=True, slots=True)
class Located:
    """A file or a Hugging Face folder, and the folder in which it must lie.

    `linked` in a cache of the Hub, where files are links: they are followed, as far as they stay inside.
    """

    file: Path
    inside: Path
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """The digests of one checkpoint's files: the main one, and those beside it by the names it knows them by."""

    place: Located
    main: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Name the content: by the sha256 of the one file, or by a key of all names and digests."""
        return content_key(self.main, dict(self.parts)) if self.parts else self.main

    def files(self, store: Store) -> dict[str, Path]:
        """Tell where the copies of the parts lie, by name."""
        return {name: store.object_path(digest) for name, digest in self.parts.items()}


def gather(place: Located, store: Store) -> Bundle:
    """Copy the main file of a checkpoint and the config.json that belongs to it.

    Raises Refused: several and no-tensors for a folder without a file that is the main one, and what
    `Store.add_object` raises.
    """
    file, alone = place.file, True
    if file.is_dir() and (place.linked or not file.is_symlink()):
        file, alone = file / _main_of(file), False
    largest = LARGEST_INDEX if file.name.endswith(INDEX_SUFFIX) else None
    place = replace(place, file=file)
    bundle = Bundle(place, _add(place, file, store, largest))
    if (file.name in MAIN_FILES or not alone) and os.path.lexists(file.parent / CONFIG):
        try:
            digest = _add(place, file.parent / CONFIG, store, LARGEST_CONFIG)
        except Refused as refusal:
            raise _of_part(CONFIG, refusal) from None
        bundle = replace(bundle, parts={CONFIG: digest})
    return bundle


def add_parts(bundle: Bundle, names: Sequence[str], store: Store) -> Bundle:
    """Copy files that lie beside the main one and that it asks for.

    Raises Refused: damaged, where it asks for what it has, and what `check_names` and `Store.add_object` raise.
    """
    check_names(tuple(names))
    if not names or set(names) & bundle.parts.keys():
        raise Refused("damaged", "asks twice for the same files beside it", hint="get the file again")
    parts = dict(bundle.parts)
    for name in names:
        try:
            parts[name] = _add(bundle.place, bundle.place.file.parent / name, store, None)
        except Refused as refusal:
            raise _of_part(name, refusal) from None
    return replace(bundle, parts=parts)


def _of_part(name: str, refusal: Refused) -> Refused:
    hint = "get all its files again" if refusal.code == "missing" else refusal.hint
    return Refused(refusal.code, f"needs {name} beside it, which {refusal.what}", hint=hint)


def _add(place: Located, file: Path, store: Store, largest: int | None) -> str:
    return store.add_object(file, inside=place.inside, linked=place.linked, largest=largest)


def _main_of(folder: Path) -> str:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        raise Refused("unreadable", "is a folder that cannot be listed", hint="check its rights") from None
    for name in MAIN_FILES:
        if name in names:
            return name
    indexes = [name for name in names if name.endswith(f".safetensors{INDEX_SUFFIX}")]
    found = indexes or [name for name in names if name.endswith(".safetensors")]
    if len(found) == 1:
        return found[0]
    if found:
        hint = f"name one of them: {', '.join(found[:3])}"
        raise Refused("several", f"is a folder of {len(found)} checkpoints, none of them {MAIN_FILES[0]}", hint=hint)
    raise Refused("no-tensors", "is a folder without weights", hint="give the path of a checkpoint file")
