"""The catalogue: a DuckDB index over the facts that stages keep in files. Beside its schema the only place with SQL.

One process writes, under a lock file; readers open the database read-only and are refused everything
outside it. Every write replaces all rows of one subject (a network, a level, a feature) in one
transaction, so writing again changes nothing, and what a killed process left is whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import duckdb
import pyarrow as pa

from ...zoo.errors import BadInput, CatalogueLocked, CatalogueUnusable, NotFound
from ...zoo.store import write_atomically
from .lock import holder, locked
from .schema import LISTS, MIGRATIONS, STAGES_ABOUT

APPLICATION = "consilience"
Opened = TypeVar("Opened")
Subject: TypeAlias = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a question: names of columns, and rows of plain values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]]) -> Rows:
        """Take records that share their keys for rows."""
        columns = tuple(records[0]) if records else ()
        return cls(columns, tuple(tuple(record[column] for column in columns) for record in records))

    def dicts(self) -> list[dict[str, Any]]:
        """Give every row as a dictionary."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def only(self, columns: Sequence[str]) -> Rows:
        """Take some of the columns, in the order given."""
        places = [self.columns.index(column) for column in columns]
        return Rows(tuple(columns), tuple(tuple(row[place] for place in places) for row in self.rows))


class Catalogue:
    """An open catalogue; make one with `writing` or `reading`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def replace(self, subject: Subject, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Put these rows in the place of all rows about the subject, in one transaction.

        `subject` names the column and value that the rows share, such as {"network": "a"}, or several
        values, such as {"network": ["a", "b"]}; an empty subject means all rows of the tables.
        """
        with self._transaction():
            for table, rows in tables.items():
                self._clear(table, subject)
                if rows:
                    self._insert(table, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a COMMIT that failed, for want of room, has ended it already
                self._connection.execute("ROLLBACK")
            raise

    def _clear(self, table: str, subject: Subject) -> None:
        condition = " AND ".join(f"list_contains(?, {column})" for column in subject) or "true"
        values = [[value] if isinstance(value, str) else [*value] for value in subject.values()]
        self._connection.execute(f"DELETE FROM {table} WHERE {condition}", values)

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows, column by column; Arrow would import pandas, 40 MB, to look at a list."""
        columns = list(rows[0])
        lists = [[_storable(row[column]) for row in rows] for column in columns]
        values = ", ".join(["unnest(?)"] * len(columns))
        self._connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}", lists)

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Append an Arrow table whose columns bear the names of the table's."""
        self._connection.register("incoming", rows)
        try:
            names = ", ".join(rows.column_names)
            self._connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")
        finally:
            with suppress(duckdb.Error):  # an error above has ended the transaction, and is the one to tell
                self._connection.unregister("incoming")

    def replace_arrow(self, subject: Subject, table: str, rows: pa.Table) -> None:
        """Do what `replace` does for one large table."""
        with self._transaction():
            self._clear(table, subject)
            self.insert_arrow(table, rows)

    def keep_only(self, column: str, values: Sequence[str], tables: Sequence[str]) -> None:
        """Delete the rows whose column names something that is no longer in the zoo, and the notes of it."""
        with self._transaction():
            for table in tables:
                self._connection.execute(f"DELETE FROM {table} WHERE NOT list_contains(?, {column})", [[*values]])
            self._connection.execute(
                "DELETE FROM stages WHERE list_contains(?, stage) AND NOT list_contains(?, subject)",
                [[*STAGES_ABOUT.get(column, ())], [*values]],
            )

    def mark(self, stage: str, subject: str, key: str, settings: Mapping[str, Any]) -> None:
        """Note that a stage's result for a subject is indexed, and with which settings it was made."""
        self.mark_all(stage, {subject: key}, settings)

    def mark_all(self, stage: str, keys: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        """Do what `mark` does for several subjects at once."""
        told = json.dumps(settings, sort_keys=True)
        rows = [{"stage": stage, "subject": subject, "key": key, "settings": told} for subject, key in keys.items()]
        self.replace({"stage": stage, "subject": [*keys]}, {"stages": rows})

    def indexed(self, stage: str, subject: str) -> str | None:
        """Give the key of what is indexed for a stage and subject, if anything is."""
        rows = self._rows("SELECT key FROM stages WHERE stage = ? AND subject = ?", [stage, subject]).rows
        return str(rows[0][0]) if rows else None

    def all_indexed(self, stage: str) -> dict[str, str]:
        """Give the keys of all that is indexed for a stage, by subject."""
        return dict(self._rows("SELECT subject, key FROM stages WHERE stage = ?", [stage]).rows)

    def forget(self, stage: str, subject: str | Sequence[str]) -> None:
        """Drop the note that a stage's result for a subject, or for each of several, is indexed."""
        self.replace({"stage": stage, "subject": subject}, {"stages": []})

    def listing(
        self,
        what: str,
        *,
        where: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        network: str | None = None,
    ) -> Rows:
        """List networks, layers, kinships, features, equations or matches; those of one network, where it is named.

        `where` is a condition in SQL; `sort` a column, with a minus before it for descending. Raises
        BadInput where the database does not understand them, NotFound for a network that is not there.
        """
        query, order = LISTS[what]
        if network is not None and not self.select("networks", network=network):
            raise NotFound(f"no network {network!r}", hint="consilience networks lists them")
        if sort:
            descending, column = sort.startswith("-"), sort.lstrip("-")
            quoted = column.replace('"', '""')
            order = f'"{quoted}" {"DESC" if descending else "ASC"} NULLS LAST, {order}'
        condition = f"WHERE ({where}\n)" if where else "WHERE true"
        named = "" if network is None else "AND network = ?"
        most = "" if limit is None else f"LIMIT {int(limit)}"
        columns = self._rows(f"SELECT * FROM ({query}) LIMIT 0", []).columns
        hint = f"the columns are {', '.join(columns)}"
        asked = f"SELECT * FROM ({query}) {condition} {named} ORDER BY {order} {most}"
        return self._asked(asked, [network] if named else [], hint=hint)

    def query(self, sql: str) -> Rows:
        """Answer a question in SQL. Raises BadInput where the database does not understand it."""
        hint = 'consilience query "SHOW TABLES" and "DESCRIBE features" show what there is; nothing can be changed'
        return self._asked(sql, [], hint=hint)

    def count_matches(self, q: float) -> list[dict[str, Any]]:
        """Count the matches of each level and those at or below q, with median |r| and the highest null's."""
        return self._rows(
            """
            SELECT level, count(*) AS matches, count(*) FILTER (q <= ?) AS significant,
                median(abs(r)) AS median_r, (SELECT max(nulls.median_r) FROM nulls WHERE nulls.level = matches.level)
                AS null_r
            FROM matches GROUP BY level ORDER BY level
            """,
            [q],
        ).dicts()

    def unmatched_pairs(self) -> dict[str, tuple[int, int]]:
        """Count, by level, the pairs of networks without a match there, and all pairs that have the level."""
        rows = self._rows(
            """
            SELECT level, count(*) * (count(*) - 1) // 2 AS pairs, (
                SELECT count(DISTINCT (left_network, right_network)) FROM matches WHERE matches.level = levels.level)
            FROM levels GROUP BY level ORDER BY level
            """,
            [],
        ).rows
        return {level: (pairs - matched, pairs) for level, pairs, matched in rows if matched < pairs}

    def chance_passed(self) -> dict[str, dict[str, float]]:
        """Tell, by level and null, how many matches of a zoo of chance would have passed as the real ones did."""
        rows = self._rows("SELECT level, null_name, passed FROM nulls ORDER BY level, null_name", []).rows
        found: dict[str, dict[str, float]] = {}
        for level, null, passed in rows:
            found.setdefault(level, {})[null] = passed
        return found

    def equations_of_outputs(self) -> list[str]:
        """Name the equations of outputs, in order."""
        rows = self._rows(
            """
            SELECT equation FROM equations JOIN features USING (feature) WHERE role = 'output'
            ORDER BY equations.number
            """,
            [],
        ).rows
        return [str(row[0]) for row in rows]

    def kin(self, network: str) -> list[dict[str, Any]]:
        """Give the kinships that a network has part in."""
        return self._rows("SELECT * FROM kinships WHERE network = ? OR relative = ?", [network, network]).dicts()

    def select(self, table: str, **subject: str | int) -> list[dict[str, Any]]:
        """Give the rows of one table about one subject, as dictionaries."""
        condition = " AND ".join(f"{column} = ?" for column in subject) or "true"
        return self._rows(f"SELECT * FROM {table} WHERE {condition}", list(subject.values())).dicts()

    def _asked(self, sql: str, values: Sequence[Any], *, hint: str) -> Rows:
        try:
            return self._rows(sql, values)
        except duckdb.Error as error:
            if _broken(error):
                raise
            raise BadInput(f"the catalogue does not take that: {str(error).splitlines()[0]}", hint=hint) from None

    def _rows(self, sql: str, values: Sequence[Any]) -> Rows:
        cursor = self._connection.execute(sql, list(values))
        if cursor is None or cursor.description is None:  # no statement at all, or one without an answer
            return Rows((), ())
        return Rows(tuple(column[0] for column in cursor.description), tuple(cursor.fetchall()))


def _storable(value: Any) -> Any:
    """Write halves of letters, which strangers' names may hold, so that they can be stored: no text has them."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_storable(part) for part in value] if isinstance(value, list | tuple) else value


@contextmanager
def writing(path: Path, *, wait: float = 0.0) -> Iterator[Catalogue]:
    """Open for writing, alone: create or migrate what is there, then lock others out until the end.

    Raises CatalogueLocked where another process writes, or reads, for longer than `wait` seconds, and
    CatalogueUnusable where the file is damaged or a newer program made it.
    """
    with locked(path.with_suffix(".lock"), wait=wait):
        if not path.exists():
            _create(path)
        with _attached(path, wait=wait) as connection:
            _migrate(connection, path)
            with _wording(path):
                yield Catalogue(connection)


def _create(path: Path) -> None:
    """Make an empty catalogue whole before it bears its name: a kill leaves none rather than half a one."""
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)  # the log of a catalogue that was moved away
    with write_atomically(path) as temporary, _attached(temporary) as connection:
        _migrate(connection, path)


@contextmanager
def _attached(path: Path, *, wait: float = 0.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Attach in the storage format that DuckDB 1.x reads as well."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    try:
        _patiently(
            lambda: connection.execute("ATTACH ? AS catalogue (STORAGE_VERSION 'v1.0.0')", [str(path)]),
            path=path,
            wait=wait,
            busy=lambda: CatalogueLocked(
                f"{path}: another program has it open", hint="close it and run the same command again"
            ),
        )
        connection.execute("USE catalogue")
        yield connection
    finally:
        connection.close()


def _patiently(action: Callable[[], Opened], *, path: Path, wait: float, busy: Callable[[], CatalogueLocked]) -> Opened:
    """Open a database, trying again while another process has it, for at most `wait` seconds."""
    until = time.monotonic() + wait
    while True:
        try:
            return action()
        except (duckdb.ResourceInUseException, duckdb.ConnectionException):
            raise CatalogueLocked(
                f"{path}: this process has it open already", hint="leave one `with` block before you enter another"
            ) from None
        except duckdb.Error as error:
            if "Could not set lock" not in str(error):
                raise _unusable(path, error) from None
            if time.monotonic() >= until:
                raise busy() from None
            time.sleep(0.05)


@contextmanager
def _wording(path: Path) -> Iterator[None]:
    """Say what is wrong with the file where the database stumbles over it."""
    try:
        yield
    except duckdb.Error as error:
        if not _broken(error):
            raise
        raise _unusable(path, error) from None


def _broken(error: duckdb.Error) -> bool:
    """Tell a damaged file or a full disk from a wrong question: checksum errors are of the base class."""
    kinds = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    return type(error) is duckdb.Error or isinstance(error, kinds)


def _unusable(path: Path, error: Exception) -> CatalogueUnusable:
    reason = str(error).splitlines()[0].replace(f'"{path}"', "it")
    if "Permission denied" in reason:
        return CatalogueUnusable(f"{path}: permission denied", hint="correct its rights and those of its folder")
    if "No space left" in reason:
        return CatalogueUnusable(f"{path}: the disk is full", hint="make room and run the same command again")
    return CatalogueUnusable(
        f"{path}: cannot be read: {reason}",
        hint="move it away and run `consilience run` again: it is rebuilt from the results beside it",
    )


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    ).fetchall()
    if ("meta",) not in tables:
        return 0
    rows = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    return int(rows["schema_version"]) if rows.get("application") == APPLICATION else -1


def _migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    version = _version(connection)
    _refuse_strangers(version, path)
    if 0 < version < len(MIGRATIONS):
        backup = path.with_suffix(f".v{version}.duckdb")
        backup.unlink(missing_ok=True)
        connection.execute("ATTACH ? AS backup (STORAGE_VERSION 'v1.0.0')", [str(backup)])
        connection.execute("COPY FROM DATABASE catalogue TO backup")
        connection.execute("DETACH backup")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN")
        connection.execute(script)
        connection.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT NOT NULL, value TEXT NOT NULL)")
        connection.execute("DELETE FROM meta")
        connection.execute(
            "INSERT INTO meta VALUES ('application', ?), ('schema_version', ?)", [APPLICATION, str(number)]
        )
        connection.execute("COMMIT")


def _refuse_strangers(version: int, path: Path) -> None:
    if version < 0:
        raise CatalogueUnusable(f"{path}: is not a catalogue of ours", hint="move it away and run again")
    if version > len(MIGRATIONS):
        raise CatalogueUnusable(
            f"{path}: written by a newer consilience (schema {version}, this one knows {len(MIGRATIONS)})",
            hint="upgrade consilience, or move the file away: a run rebuilds it",
        )


@contextmanager
def reading(path: Path, *, wait: float = 5.0) -> Iterator[Catalogue]:
    """Open read-only: no statement writes, or reaches any file outside the catalogue.

    One that an older program made is brought up to date first. Raises NotFound where there is no catalogue yet,
    CatalogueLocked where a writer holds it for longer than `wait` seconds, CatalogueUnusable where a newer
    program made it.
    """
    if not path.exists():
        raise NotFound(f"{path}: no catalogue here yet", hint="consilience run zoo.toml makes one")
    with _opened(path, wait) as connection:
        version = _version(connection)
        if version >= len(MIGRATIONS) or version < 0:
            _refuse_strangers(version, path)
            yield Catalogue(connection)
            return
    with writing(path, wait=wait):
        pass
    with _opened(path, wait) as connection:
        yield Catalogue(connection)


@contextmanager
def _opened(path: Path, wait: float) -> Iterator[duckdb.DuckDBPyConnection]:
    config: dict[str, Any] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "memory_limit": "2GB",
        "lock_configuration": "true",
    }
    connection = _patiently(
        lambda: duckdb.connect(str(path), read_only=True, config=config),
        path=path,
        wait=wait,
        busy=lambda: CatalogueLocked(
            f"{path}: {holder(path.with_suffix('.lock'))} is writing", hint="try again when it has finished"
        ),
    )
    try:
        with _wording(path):
            yield connection
    finally:
        connection.close()
