"""Find the checkpoints that a path means: a file, a folder, a glob, a place in a package, a name on the Hub."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .errors import BadInput
from .hub import HUB, snapshot
from .inspection import Located

PACKAGE = "package:"
CONFIG = "config.json"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
SUFFIXES = frozenset(
    {".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".npy", ".pkl", ".pickle", ".joblib", ".model"}
    | {".onnx", ".h5", ".hdf5", ".keras", ".gguf", ".pt2", ".ptl", ".msgpack", ".tar"}
)
"""Names that promise a checkpoint: what such a file holds is reported also where it is none."""
OTHERS = frozenset(
    {".md", ".txt", ".rst", ".py", ".ipynb", ".sh", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".json", ".jsonl"}
    | {".csv", ".tsv", ".parquet", ".feather", ".arrow", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf"}
    | {".html", ".css", ".js", ".tex", ".log", ".duckdb", ".wal", ".lock", ".mp3", ".wav", ".mp4"}
)
"""Names of what lies beside checkpoints: in a folder, such files are not opened."""
INDEX = ".index.json"
DEEPEST = 32
"""Levels of folders below the one that is named."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[a-z]+$)")


def locate(path: str, *, folder: Path) -> list[Located]:
    """Find the checkpoints that a path of zoo.toml or of the command line means, in the order of their names.

    Relative paths begin at the folder, and what is found must lie in it. A folder with a config.json and
    weights is one network; any other means the checkpoints in it and in such folders below. Shards of one
    index count as one, under the index's name. Raises BadInput for a package or a Hub name that is not there.
    """
    if path.startswith(HUB):
        root = snapshot(path.removeprefix(HUB))
        return [Located(root, root.parent.parent, linked=True)]
    if path.startswith(PACKAGE):
        package, _, inner = path.removeprefix(PACKAGE).partition("/")
        root = _package_folder(package)
        return _expand(root, inner)
    return _expand(folder, path)


def locate_given(path: str) -> list[Located]:
    """Find the checkpoints that somebody names on a command line: the folder named is where they must lie."""
    if path.startswith((HUB, PACKAGE)):
        return locate(path, folder=Path())
    parts = Path(path).parts
    free = next((n for n, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts))
    if free < len(parts) and not os.path.lexists(path):
        return _expand(Path(*parts[:free]), str(Path(*parts[free:])))
    given = Path(path)
    if os.path.isdir(path) and not given.is_symlink() and not is_model_folder(given):
        return _expand(given, "")
    return [Located(given, given.parent)]


def name_of(place: Located) -> str:
    """Name a network for its file without the suffix, or for its folder."""
    file = place.file
    if place.linked:
        return place.inside.name.removeprefix("models--").replace("--", "/")
    if file.name.endswith(INDEX):
        file = file.with_name(file.name.removesuffix(INDEX))
    name = file.name if file.is_dir() else file.stem
    return name.encode("utf-8", "backslashreplace").decode()


def is_model_folder(path: Path) -> bool:
    """Tell a folder that is one network (config.json and weights, as Hugging Face lays them out)."""
    return (path / CONFIG).is_file() and any(any(path.glob(pattern)) for pattern in WEIGHTS)


def _within(folder: Path, files: Iterable[Path]) -> list[Located]:
    return [Located(file, folder) for file in files]


def _expand(root: Path, path: str) -> list[Located]:
    try:
        if not any(sign in path for sign in "*?["):
            found = root / path
            if found.is_dir() and not found.is_symlink() and not is_model_folder(found):
                return _within(root, _in_folder(found))
            return [Located(found, root)]
        matches = sorted(match for match in root.glob(path) if not match.is_dir() or is_model_folder(match))
    except (ValueError, NotImplementedError, RecursionError) as error:
        raise BadInput(f"{path}: {error}", hint="give a path, a glob or a folder") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", hint="give a path, a glob or a folder that can be read") from None
    return _within(root, _without_shards(matches))


def _in_folder(folder: Path) -> Iterator[Path]:
    """List what may be a checkpoint in a folder and below it: hidden files and linked folders are passed by.

    A folder below that cannot be listed, or lies too deep, stands for itself: it is refused as what it is.
    """
    waiting = [(folder, DEEPEST)]
    while waiting:
        place, left = waiting.pop()
        try:
            shown = sorted(entry for entry in place.iterdir() if not entry.name.startswith("."))
            folders = [entry for entry in shown if entry.is_dir() and not entry.is_symlink()]
            whole = [entry for entry in folders if is_model_folder(entry)]
        except OSError:
            if place == folder:
                raise
            yield place
            continue
        files = [entry for entry in shown if entry not in folders]
        yield from _without_shards([file for file in files if _may_be_one(file)])
        yield from whole
        deeper = [entry for entry in folders if entry not in whole]
        if left:
            waiting += [(entry, left - 1) for entry in reversed(deeper)]
        else:
            yield from deeper


def _may_be_one(file: Path) -> bool:
    return file.suffix.lower() not in OTHERS or file.name.endswith(INDEX)


def _without_shards(files: Sequence[Path]) -> list[Path]:
    """Put the index in the place of its shards: they are parts of one network."""
    return sorted({_index_of(file) or file for file in files})


def _index_of(file: Path) -> Path | None:
    whole = _SHARD.sub("", file.name)
    index = file.with_name(whole + INDEX)
    return index if whole != file.name and index.is_file() else None


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise BadInput(
            f"the package {package!r} is not installed",
            hint=f"pip install {package.replace('_', '-')}, or for our examples: make examples",
        )
    return Path(next(iter(spec.submodule_search_locations)))
