"""A picture that is not drawn yet, and how it becomes files: once, until what it shows has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..pictures import plot as pictures_of

Drawing = tuple[str, str, Callable[[], Figure]]
"""A file name without suffix, the key of what it shows, and how to draw it."""


def draw_once(folder: Path, notes: Path, drawing: Drawing, *, suffixes: Sequence[str]) -> Iterator[Path]:
    """Draw into a file for each suffix, unless a note says that they show the same already. Raises BadInput."""
    name, key, draw = drawing
    paths = [folder / f"{name}{suffix}" for suffix in suffixes]
    note = notes / name
    if not (all(path.exists() for path in paths) and note.exists() and note.read_text() == key):
        figure = draw()
        for path in paths:
            pictures_of.save(figure, path)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(key)
    yield from paths
