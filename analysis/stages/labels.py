"""What networks should have predicted on the probe, from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Num

from ...zoo.errors import BadInput
from ...zoo.probe import ROWS
from ..project.study import Study

Targets = Num[np.ndarray, "samples ..."]


def read_targets(study: Study, path: Path) -> Targets:
    """Read targets (npy, csv) in the order of the file of the probe's rows, and give them in that of its samples.

    One row for each row of that file; for points of a box one for each sample, in their order; for photos one
    for each photo, in the order of their names, which its pieces share. Raises BadInput for a file that cannot
    be read and for another number of targets.
    """
    targets = _read(path)
    shown = _shown(study, len(targets))
    if shown is None:
        wanted, what = _wanted(study)
        raise BadInput(f"{path}: holds {len(targets):,} targets, {wanted:,} are needed", hint=f"give one for {what}")
    found: Targets = targets[shown]
    return found


def _shown(study: Study, count: int) -> Int[np.ndarray, " samples"] | None:
    """Tell which target belongs to each sample of the probe; None where there are too few or many."""
    samples, wanted = len(study.probe.inputs), _wanted(study)[0]
    if count != wanted:
        return np.arange(samples) % count if study.probe.image and samples == count * _pieces(study) else None
    if study.probe.box or study.probe.image:
        return np.arange(samples)
    # The rows that a probe shows are drawn so.
    return np.random.default_rng(study.manifest.seed).permutation(count)[:samples]


def _pieces(study: Study) -> int:
    return 1 + study.probe_table.crops


def _wanted(study: Study) -> tuple[int, str]:
    table = study.probe_table
    if table.rows is None:
        samples = len(study.probe.inputs)
        return samples, "each square, or one for each photo" if study.probe.image else "each sample of the probe"
    path = study.folder / table.rows
    return len(ROWS[path.suffix.lower()](path).values), f"each row of {path}"


def _read(path: Path) -> Targets:
    if path.suffix.lower() not in (".npy", ".csv"):
        raise BadInput(f"{path}: targets of an unknown kind", hint="give a .npy or a .csv")
    try:
        found = _read_npy(path) if path.suffix.lower() == ".npy" else _read_csv(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file", hint="correct --targets") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise BadInput(f"{path}: {reason}", hint="targets are numbers, one row for each sample") from None
    if found.dtype.kind not in "fiub" or found.ndim == 0:
        raise BadInput(f"{path}: holds {found.dtype}, no numbers", hint="targets are numbers, one row for each sample")
    return found.astype(np.float64) if found.dtype.kind == "f" else found.astype(np.int64)


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_csv(path: Path) -> np.ndarray:
    """Read columns of numbers, with or without a line of names above them."""
    from pyarrow import csv

    with path.open() as file:
        headed = not all(map(_is_number, file.readline().split(",")))
    table = csv.read_csv(path, read_options=csv.ReadOptions(autogenerate_column_names=not headed))
    columns = [column.to_numpy() for column in table.columns]
    return columns[0] if len(columns) == 1 else np.column_stack(columns)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
