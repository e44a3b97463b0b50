"""The one place that writes: tables and rows to stdout, everything else to stderr."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from ..analysis.project.catalogue import Rows
    from ..analysis.project.study import Progress

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
EVERY = 10.0
"""Seconds between two lines of progress where no terminal shows a bar."""


def say(text: str) -> None:
    """Write a line for a person, on stderr."""
    with _to_whoever_listens(sys.stderr):
        print(printable(text), file=sys.stderr)


def answer(text: str) -> None:
    """Write what was asked for, on stdout."""
    with _to_whoever_listens(sys.stdout):
        print(printable(text))


@contextmanager
def _to_whoever_listens(stream: TextIO) -> Iterator[None]:
    """Go on quietly where the reader has left, as `head` does when it has enough: the work is not in vain."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def printable(text: str) -> str:
    """Show control characters of strangers' names as spaces: none moves the cursor or begins a line."""
    return "".join(c if c.isprintable() else " " for c in text)


def emit(rows: Rows, *, format: str | None, quiet: bool, brief: Sequence[str] = ()) -> None:
    """Write rows to stdout: a table on a terminal and JSON lines in a pipe, unless told otherwise.

    A table that is too wide for the terminal shows the `brief` columns and says so; a pipe gets all.
    """
    if quiet:
        for row in rows.rows:
            answer(str(row[0]))
        return
    if brief and format in (None, "table") and sys.stdout.isatty() and not _fits(rows):
        say(f"shown are {len(brief)} of {len(rows.columns)} columns; --format json or csv gives all")
        rows = rows.only(brief)
    with _to_whoever_listens(sys.stdout):
        FORMATS[format or ("table" if sys.stdout.isatty() else "jsonl")](rows)


def _table(rows: Rows) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    shown = [k for k in range(len(rows.columns)) if any(row[k] not in (None, "", []) for row in rows.rows)]
    for k in shown:
        numeric = all(isinstance(row[k], int | float | type(None)) for row in rows.rows)
        table.add_column(Text(rows.columns[k]), justify="right" if numeric else "left", overflow="fold")
    for row in rows.rows:
        table.add_row(*(Text(_cell(row[k])) for k in shown))
    _console(sys.stdout).print(table)


def _fits(rows: Rows) -> bool:
    columns = zip(rows.columns, *([_cell(value) for value in row] for row in rows.rows), strict=True)
    return sum(3 + max(map(len, column)) for column in columns if any(column[1:])) <= _console(sys.stdout).width


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    wide = None if stream.isatty() else 10_000
    return Console(file=stream, markup=False, highlight=False, width=wide)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return printable(str(value))


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int | float | str | bool | type(None)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else str(value)


def _objects(rows: Rows) -> list[dict[str, Any]]:
    return [{key: _plain(value) for key, value in row.items()} for row in rows.dicts()]


def _json(rows: Rows) -> None:
    print(json.dumps(_objects(rows), indent=2, allow_nan=False))


def _jsonl(rows: Rows) -> None:
    for row in _objects(rows):
        print(json.dumps(row, allow_nan=False))


def _csv(rows: Rows) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows.columns)
    for row in rows.rows:
        writer.writerow([_csv_cell(value) for value in row])


def _csv_cell(value: object) -> object:
    """Write a cell so that a spreadsheet takes a stranger's text for text, not for a formula."""
    plain = _plain(value)
    if isinstance(plain, list):
        plain = "; ".join(map(str, plain))
    if isinstance(plain, str):
        return f"'{printable(plain)}" if plain.startswith(FORMULA_SIGNS) else printable(plain)
    return "" if plain is None else plain


def _markdown(rows: Rows) -> None:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"

    answer(line(rows.columns))
    answer(line(["---"] * len(rows.columns)))
    for row in rows.rows:
        answer(line([_cell(value) for value in row]))


FORMATS: dict[str, Callable[[Rows], None]] = {
    "table": _table,
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "md": _markdown,
}


class Reporter:
    """Tell how a long stage goes: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._told = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, progress: Progress) -> None:
        """Take note of a step."""
        if self._live:
            self._draw(progress)
        elif time.monotonic() - self._told > EVERY:
            self._told = time.monotonic()
            say(_words(progress))

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=_console(sys.stderr), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        total = {"total": progress.total, "completed": progress.done} if progress.total else {}
        self._bar.update(self._task, description=printable(f"{progress.stage:8} {progress.subject[:60]}"), **total)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _words(progress: Progress) -> str:
    of = f" ({progress.done} of {progress.total})" if progress.total else ""
    return f"{progress.stage}: {progress.subject or 'done'}{of}"
