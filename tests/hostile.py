"""Write a folder of hostile files, with honest ones beside them, and a table of what must become of each.

    python tests/hostile.py FOLDER [--vast]

FOLDER/corpus holds the files, FOLDER/outside what nobody may read, FOLDER/canaries what payloads would leave
behind, FOLDER/table.json the table. Nothing here is run, and nothing executable is kept in the repository. With
--vast there are files with holes of terabytes among them: run what reads them under `ulimit -f`. Remove the
folder with `rm -rf`: Python's own functions do not get to the end of its deepest folders.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import hostile_archives
import hostile_folders
import hostile_h5
import hostile_npy
import hostile_onnx
import hostile_pickles
import hostile_places
import hostile_safetensors
import hostile_torch
from hostile_case import Case, Place

MODULES = (
    hostile_safetensors,
    hostile_folders,
    hostile_npy,
    hostile_pickles,
    hostile_torch,
    hostile_archives,
    hostile_onnx,
    hostile_h5,
    hostile_places,
)


def write_corpus(folder: Path, *, vast: bool = False) -> list[Case]:
    """Write everything; the folder must not be there yet."""
    place = Place(*(folder.resolve() / name for name in ("corpus", "outside", "canaries")), vast)
    for part in (place.corpus, place.outside, place.canaries):
        part.mkdir(parents=True)
    for module in (hostile_h5, hostile_places):
        module.plant(place)
    written = []
    for case in _all(place):
        case.write(place)
        written.append(case)
    rows = [{key: value for key, value in asdict(case).items() if key != "content"} for case in written]
    (folder / "table.json").write_text(json.dumps(rows, indent=1))
    return written


def _all(place: Place) -> Iterator[Case]:
    for module in MODULES:
        yield from module.cases(place)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of torch, about what is outdated
    given, vast = [word for word in sys.argv[1:] if word != "--vast"], "--vast" in sys.argv
    if len(given) != 1:
        sys.exit(__doc__)
    print(f"{len(write_corpus(Path(given[0]), vast=vast))} files")
