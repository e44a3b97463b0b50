"""The probe: what all networks are shown: rows of named variables, from a box or from a file, or photos."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, UInt8

from .errors import BadProbe
from .manifest import ProbeTable
from .photos import read_photos
from .store import content_key
from .whitening import whiten

FEWEST_ROWS = 8
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
STRETCH = 0.1
"""How far beyond each end of a range extrapolation is checked, as a share of the range."""
Inputs = Float[np.ndarray, "samples variables"] | UInt8[np.ndarray, "samples side side 3"]
"""Rows of numbers, or photos in RGB."""


@dataclass(frozen=True, slots=True)
class InputVariable:
    """A named coordinate of the networks' input: its range on the probe and its unit."""

    name: str
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a file of rows holds: the names of its columns of numbers, and the numbers."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "rows variables"]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Rows in physical units, one column for each variable, or photos, which have none; `key` names their content.

    `box` tells rows that fill the box of the ranges, where new ones can be drawn at will, from rows of a
    file and from photos. `left_out` has one line for each photo that cannot be shown.
    """

    inputs: Inputs
    variables: tuple[InputVariable, ...]
    box: bool
    key: str
    left_out: tuple[str, ...] = ()

    @property
    def image(self) -> bool:
        """Whether photos are shown."""
        return self.inputs.ndim == 4

    def draw(self, samples: int, *, seed: int) -> Inputs:
        """Draw rows of the same kind: new points of the box, or rows of the file (photos) in random order.

        A file with fewer rows gives all that it has.
        """
        if self.box:
            return _sobol(self._low, self._high, samples, seed=seed)
        order = np.random.default_rng(seed).permutation(len(self.inputs))
        return self.inputs[order[:samples]]

    def draw_outside(self, samples: int, *, seed: int) -> Float[np.ndarray, "drawn variables"] | None:
        """Draw rows just outside the box, each variable up to STRETCH of its range beyond an end.

        A variable that is never negative stays so. None for rows of a file and for photos: there is no box to leave.
        """
        if not self.box:
            return None
        reach = STRETCH * (self._high - self._low)
        low = np.where(self._low >= 0, np.maximum(self._low - reach, 0.0), self._low - reach)
        rows = _sobol(low, self._high + reach, 16 * samples, seed=seed)
        outside = ((rows < self._low) | (rows > self._high)).any(axis=1)
        return rows[outside][:samples]

    @property
    def _low(self) -> Float[np.ndarray, " variables"]:
        return np.array([variable.low for variable in self.variables])

    @property
    def _high(self) -> Float[np.ndarray, " variables"]:
        return np.array([variable.high for variable in self.variables])


def make_probe(table: ProbeTable, *, folder: Path, seed: int) -> Probe:
    """Make the probe that a zoo.toml asks for.

    Photos that cannot be shown are left out. Raises BadProbe where a file of rows is missing, unreadable, has
    other columns, or holds NaN, and where there are no photos, or too few that can be shown.
    """
    if table.images:
        return _of_photos(table, folder=folder, seed=seed)
    if table.rows is None:
        variables = tuple(
            InputVariable(v.name, float(v.low or 0.0), float(v.high or 0.0), v.unit) for v in table.variables
        )
        low, high = np.array([v.low for v in variables]), np.array([v.high for v in variables])
        inputs = _sobol(low, high, table.samples, seed=seed)
    else:
        path = folder / table.rows
        rows = _read_rows(path, tuple(v.name for v in table.variables))
        inputs = rows.values[np.random.default_rng(seed).permutation(len(rows.values))[: table.samples]]
        variables = _ranges(table, Rows(rows.names, inputs), path=path)
    key = content_key([(v.name, v.low, v.high) for v in variables], inputs.tolist())
    return Probe(inputs, variables, table.rows is None, key)


def _of_photos(table: ProbeTable, *, folder: Path, seed: int) -> Probe:
    photos = read_photos(table, folder=folder, seed=seed)
    count, left_out = len(photos.squares), photos.left_out
    if count < FEWEST_ROWS:
        hint = f"give at least {FEWEST_ROWS}: more photos, or pieces of them with crops = 20"
        without = f" without {len(left_out)} that cannot be shown, first {left_out[0]}" if left_out else ""
        raise BadProbe(f"probe.images: gives {count} squares{without}", hint=hint)
    squares = whiten(photos.squares, table.whiten)
    key = content_key("photos", list(squares.shape), hashlib.sha256(squares.data).hexdigest())
    return Probe(squares, (), False, key, left_out)


def _sobol(
    low: Float[np.ndarray, " variables"], high: Float[np.ndarray, " variables"], samples: int, *, seed: int
) -> Float[np.ndarray, "samples variables"]:
    """Fill a box evenly with a scrambled Sobol sequence (Owen 1998)."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(low), rng=np.random.default_rng(seed))
    points = sequence.random_base2(max(samples - 1, 1).bit_length())
    return np.asarray(low + (high - low) * points[:samples])


def _ranges(table: ProbeTable, rows: Rows, *, path: Path) -> tuple[InputVariable, ...]:
    declared = {variable.name: variable for variable in table.variables}
    found = []
    for name, column in zip(rows.names, rows.values.T, strict=True):
        told = declared.get(name)
        low = float(column.min()) if told is None or told.low is None else told.low
        high = float(column.max()) if told is None or told.high is None else told.high
        if low > high:
            raise BadProbe(
                f"{path}: {name} lies in [{column.min():g}, {column.max():g}], outside the range in zoo.toml",
                hint="correct low and high, or leave them out: the rows tell them",
            )
        found.append(InputVariable(name, low, high, told.unit if told else ""))
    return tuple(found)


def _read_rows(path: Path, wanted: tuple[str, ...]) -> Rows:
    read = ROWS.get(path.suffix.lower())
    if read is None:
        raise BadProbe(f"{path}: rows of an unknown kind", hint=f"use one of {', '.join(ROWS)}")
    try:
        rows = read(path)
    except FileNotFoundError:
        raise BadProbe(f"{path}: no such file", hint="correct probe.rows in zoo.toml") from None
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise BadProbe(f"{path}: {reason}", hint="probe.rows takes a table of numbers") from None
    rows = _pick(path, rows, wanted)
    _demand_finite(path, rows)
    if len(rows.values) < FEWEST_ROWS:
        hint = f"give at least {FEWEST_ROWS}, better some hundreds"
        raise BadProbe(f"{path}: has {len(rows.values)} rows", hint=hint)
    return rows


def _demand_finite(path: Path, rows: Rows) -> None:
    wrong = ~np.isfinite(rows.values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        where = f"{int(wrong.any(axis=1).sum())} of {len(wrong)} rows, the first at row {row + 1}, {rows.names[column]}"
        raise BadProbe(f"{path}: holds NaN or infinite numbers in {where}", hint="leave those rows out")


def _pick(path: Path, rows: Rows, wanted: tuple[str, ...]) -> Rows:
    names, values = rows.names, rows.values
    if not wanted:
        unfit = [name for name in names if not NAME.fullmatch(name) or name == "pi"]
        if unfit:
            raise BadProbe(
                f"{path}: column {unfit[0][:80]!r} cannot be the name of a variable",
                hint="rename it in letters, digits and underscores, or list others in [[probe.variables]]",
            )
        return rows
    if all(name in names for name in wanted):
        return Rows(wanted, values[:, [names.index(name) for name in wanted]])
    if names == _numbered(len(names)) and len(wanted) == len(names):
        return Rows(wanted, values)
    missing = [name for name in wanted if name not in names]
    raise BadProbe(f"{path}: has no column {missing[0]!r}", hint=f"it has {', '.join(names[:20])}")


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"x{index}" for index in range(count))


def _read_npy(path: Path) -> Rows:
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.kind not in "fiub" or array.ndim < 2:
        raise ValueError(f"is an array of shape {array.shape}, rows and variables expected")
    values = array.reshape(len(array), -1).astype(np.float64)
    return Rows(_numbered(values.shape[1]), values)


def _read_csv(path: Path) -> Rows:
    from pyarrow import csv

    return _from_table(csv.read_csv(path))


def _read_parquet(path: Path) -> Rows:
    from pyarrow import parquet

    return _from_table(parquet.read_table(path))


def _from_table(table: pa.Table) -> Rows:
    numeric = [
        name
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind)
    ]
    if not numeric:
        raise ValueError("has no column of numbers")
    twice = [name for name in numeric if table.column_names.count(name) > 1]
    if twice:
        raise ValueError(f"has two columns {twice[0]!r}")
    columns = [table.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in numeric]
    return Rows(tuple(numeric), np.column_stack(columns))


ROWS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npy": _read_npy,
}
