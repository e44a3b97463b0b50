"""Name files by the fewest patterns that match them and nothing else."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from pathlib import Path, PurePosixPath


def cover(folder: Path, files: Sequence[str], *, coming: str) -> list[tuple[str, tuple[str, ...]]]:
    """Cover files with patterns, each with what it matches: globs where possible, else names.

    Files are paths relative to the folder, in it or one level below; what else lies there is seen on disk,
    and `coming` is a file that will be written beside them. A name with a bracket, a star or a question
    mark is escaped, so every pattern is one for `Path.glob` or, without such signs, a plain path.
    """
    wanted = set(files)
    if len(files) == 1:
        return [(literal(files[0]), tuple(files))]
    for pattern in _candidates(files):
        if _matches(folder, pattern, coming) == wanted:
            return [(pattern, tuple(sorted(files)))]
    return [found for part in _split(files) for found in cover(folder, part, coming=coming)]


def literal(file: str) -> str:
    """Write a path so that nothing in it is a sign: not for a glob, not for a file of a package."""
    return glob.escape(f"./{file}" if file.startswith("package:") else file)


def _matches(folder: Path, pattern: str, coming: str) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.glob(pattern) if not path.is_dir()}
    return found | ({coming} if PurePosixPath(coming).match(pattern) else set())


def _candidates(files: Sequence[str]) -> Iterator[str]:
    paths = [PurePosixPath(file) for file in files]
    parents, suffixes = {path.parent for path in paths}, {path.suffix for path in paths}
    if len(suffixes) > 1:
        return
    ending = glob.escape(paths[0].suffix)
    if len(parents) > 1:
        if PurePosixPath(".") not in parents and ending:
            yield f"*/*{ending}"
        return
    for start in ("", _beginning(paths)):
        yield literal(str(paths[0].parent / f"{start}x"))[:-1] + f"*{ending}"


def _split(files: Sequence[str]) -> Iterator[list[str]]:
    """Split by folder, else by suffix, else by the first letter in which the names differ."""
    paths = [PurePosixPath(file) for file in files]
    common = len(_beginning(paths))
    for key in (
        lambda path: str(path.parent),
        lambda path: path.suffix,
        lambda path: path.stem[common : common + 1],
    ):
        parts = [[str(path) for path in part] for _, part in groupby(sorted(paths, key=key), key=key)]
        if len(parts) > 1:
            yield from parts
            return


def _beginning(paths: Sequence[PurePosixPath]) -> str:
    stems = sorted(path.stem for path in paths)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(stems[0], stems[-1], strict=False))
    return "".join(sign for sign, _ in same)
