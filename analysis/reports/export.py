"""Write the equation catalogue for people (Markdown, LaTeX) and programs (JSON, CSV, Parquet, Python, C).

Names and notes come from strangers' files, so each format gets them escaped: no cell, comment,
macro, tag or literal of theirs is ever more than text. What is not finite is null or empty.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...zoo.errors import BadInput
from ...zoo.store import write_atomically
from ..formulas.equation import EquationRecord, Interval, Range, constant_in_words, facts, unit_and_range
from .c_file import to_c_file
from .document import to_latex_document, to_markdown
from .module import to_module

__all__ = ["FORMATS", "EquationRecord", "Interval", "Range", "export"]

RISKY = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would run as a formula."""


def export(records: Sequence[EquationRecord], *, format: str, path: Path) -> None:
    """Write the records to a file in one of FORMATS; the file is the old one or the whole new one.

    Raises BadInput for an unknown format and where the file cannot be written.
    """
    write = FORMATS.get(format)
    if write is None:
        raise BadInput(f"unknown format {format[:40]!r}", hint=f"choose one of {', '.join(FORMATS)}")
    content = write(records)
    try:
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {error.strerror}", hint="name a file in a folder that you can write to"
        ) from None


def to_json(records: Sequence[EquationRecord]) -> str:
    """Write a list of objects, one for each record."""
    return json.dumps([facts(record) for record in records], indent=2, allow_nan=False) + "\n"


def to_csv(records: Sequence[EquationRecord]) -> str:
    """Write one row for each record; variables and constants are given in words.

    A formula that begins with a minus stands in parentheses and other text that a spreadsheet
    would run gets an apostrophe in front.
    """
    rows = [_cells(record) for record in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*SCHEMA.names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cells(record: EquationRecord) -> dict[str, object]:
    row = facts(record)
    row["variables"] = "; ".join(f"{v.name} {unit_and_range(v)}".strip() for v in record.variables)
    row["constants"] = "; ".join(constant_in_words(constant) for constant in record.constants)
    if row["formula"] and row["formula"].startswith("-"):
        row["formula"] = f"({row['formula']})"
    return {key: _cell(value) for key, value in row.items()}


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(RISKY) else value


VARIABLE = pa.struct([("name", pa.string()), ("unit", pa.string()), ("low", pa.float64()), ("high", pa.float64())])
CONSTANT = pa.struct(
    [
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("snapped", pa.bool_()),
        ("each", pa.list_(pa.float64())),
    ]
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "feature", "title", "status", "target", "unit")),
        ("formula", pa.string()),
        ("latex", pa.string()),
        ("complexity", pa.int64()),
        *((name, pa.float64()) for name in ("fidelity", "peer_ratio", "peer_ratio_error")),
        *((name, pa.float64()) for name in ("peer_agreement", "extrapolation")),
        ("networks", pa.int64()),
        ("lineages", pa.int64()),
        ("universality", pa.float64()),
        ("linked", pa.bool_()),
        ("terms", pa.string()),
        *((name, pa.float64()) for name in ("stability", "gradient_agreement")),
        *((name, pa.float64()) for name in ("loss_before", "loss_with", "loss_mean")),
        ("variables", pa.list_(VARIABLE)),
        ("constants", pa.list_(CONSTANT)),
        ("skeleton", pa.string()),
        ("note", pa.string()),
    ]
)


def to_parquet(records: Sequence[EquationRecord]) -> bytes:
    """Write a table with nested lists for variables and constants."""
    table = pa.Table.from_pylist([facts(record) for record in records], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


FORMATS: dict[str, Callable[[Sequence[EquationRecord]], bytes]] = {
    "markdown": lambda records: to_markdown(records).encode(),
    "latex": lambda records: to_latex_document(records).encode(),
    "json": lambda records: to_json(records).encode(),
    "csv": lambda records: to_csv(records).encode(),
    "parquet": to_parquet,
    "python": lambda records: to_module(records).encode(),
    "c": lambda records: to_c_file(records).encode(),
}
