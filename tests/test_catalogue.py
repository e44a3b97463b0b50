"""The index: whole transactions, one writer, readers who can change and reach nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from consilience.analysis.project import catalogue as module
from consilience.analysis.project.catalogue import LISTS, MIGRATIONS, Rows, reading, writing
from consilience.analysis.project.lock import locked
from consilience.zoo.errors import BadInput, CatalogueLocked, CatalogueUnusable, NotFound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "project" / "catalogue.duckdb"


def level(name: str, network: str = "a") -> dict[str, str]:
    return {"level": name, "network": network, "layer": "0"}


def match(left: int, r: float) -> dict[str, object]:
    places = {"left_network": "a", "left_layer": "0", "right_network": "b", "right_layer": "0"}
    return {"level": "output", **places, "left_unit": left, "right_unit": 0, "r": r, "p": 0.1, "q": r}


def test_replacing_twice_is_replacing_once(path):
    with writing(path) as catalogue:
        for _ in range(2):
            catalogue.replace({"network": "a"}, {"levels": [level("output"), level("hidden 1")]})
        catalogue.replace({"network": "b"}, {"levels": [level("output", "b")]})
        assert len(catalogue.select("levels")) == 3
        catalogue.replace({"network": "a"}, {"levels": []})
        assert catalogue.select("levels") == [level("output", "b")]
        catalogue.replace({}, {"levels": [level("hidden 2", "c")]})
        assert catalogue.select("levels") == [level("hidden 2", "c")]


def test_large_tables_are_replaced_like_small_ones(path):
    rows = pa.Table.from_pylist([match(unit, unit / 10) for unit in range(3)])
    with writing(path) as catalogue:
        for _ in range(2):
            catalogue.replace_arrow({"level": "output"}, "matches", rows)
        assert len(catalogue.select("matches", level="output")) == 3
        assert catalogue.count_matches(0.1) == [
            {"level": "output", "matches": 3, "significant": 2, "median_r": 0.1, "null_r": None}
        ]


def test_an_error_leaves_what_was_there(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output")]})
        broken = {"levels": [level("hidden 1")], "nulls": [{"level": "output", "null_name": None}]}
        with pytest.raises(duckdb.ConstraintException, match="NOT NULL"):
            catalogue.replace({}, broken)
        with pytest.raises(duckdb.CatalogException, match="nowhere"):
            catalogue.replace_arrow({}, "nowhere", pa.table({"a": [1]}))
        with pytest.raises(duckdb.BinderException, match="nothing"):
            catalogue.keep_only("nothing", ["x"], ["levels"])
        catalogue.mark("align", "zoo", "key", {})  # a new transaction can begin
        assert catalogue.select("levels") == [level("output")]
    with reading(path) as catalogue:
        assert catalogue.select("levels") == [level("output")]


def test_what_left_the_zoo_leaves_the_catalogue_with_the_notes_of_it(path):
    with writing(path) as catalogue:
        for network in ("a", "b"):
            catalogue.replace({"network": network}, {"levels": [level("output", network)]})
            catalogue.mark("ingest", network, "key", {})
        catalogue.mark("align", "zoo", "key", {})
        catalogue.keep_only("network", ["b"], ["levels"])
        assert catalogue.select("levels") == [level("output", "b")]
        assert catalogue.indexed("ingest", "a") is None
        assert catalogue.indexed("ingest", "b") == "key"
        assert catalogue.indexed("align", "zoo") == "key"


def test_notes_of_what_is_indexed(path):
    with writing(path) as catalogue:
        assert catalogue.indexed("align", "zoo") is None
        catalogue.mark("align", "zoo", "old", {"q": 0.05})
        catalogue.mark("align", "zoo", "new", {"q": 0.01})
        assert catalogue.indexed("align", "zoo") == "new"
        (row,) = catalogue.select("stages")
        assert json.loads(row["settings"]) == {"q": 0.01}
        catalogue.forget("align", "zoo")
        assert catalogue.indexed("align", "zoo") is None


def test_values_are_never_code(path):
    name = "x'; DROP TABLE levels; --"
    with writing(path) as catalogue:
        catalogue.replace({"network": name}, {"levels": [level("output", name)]})
        assert catalogue.select("levels", network=name) == [level("output", name)]


# --- lists and questions ----------------------------------------------------------------------------


@pytest.fixture
def filled(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"matches": [match(unit, (7 * unit % 5) / 10) for unit in range(5)]})
    with reading(path) as catalogue:
        yield catalogue


def test_lists_are_sorted_limited_and_filtered(filled):
    def units(**arguments) -> list[int]:
        return [row["left_unit"] for row in filled.listing("matches", **arguments).dicts()]

    assert units() == [0, 3, 1, 4, 2]  # by q
    assert units(sort="left_unit") == [0, 1, 2, 3, 4]
    assert units(sort="-left_unit", limit=2) == [4, 3]
    assert units(where="r > 0.15 -- a comment", limit=1) == [1]
    assert units(limit=0) == []


@pytest.mark.parametrize("what", LISTS)
def test_every_list_can_be_made(filled, what):
    assert filled.listing(what).columns


@pytest.mark.parametrize(
    "arguments",
    [
        {"where": "nonsense = 1"},
        {"where": "1) UNION SELECT (1"},
        {"where": "q <"},
        {"sort": "nonsense"},
        {"sort": 'q" DESC; DROP TABLE matches; --'},
    ],
)
def test_a_list_that_is_not_understood(filled, arguments):
    with pytest.raises(BadInput, match="does not take that") as caught:
        filled.listing("matches", **arguments)
    assert "left_network" in caught.value.hint


def test_rows_as_dictionaries():
    assert Rows(("a", "b"), ((1, 2), (3, 4))).dicts() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


@pytest.mark.parametrize("sql", ["", " ; ", "-- nothing"])
def test_no_question_has_no_answer(filled, sql):
    assert filled.query(sql).rows == ()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM matches",
        "DROP TABLE matches",
        "ALTER TABLE matches ADD COLUMN x INT",
        "SELECT 1; UPDATE matches SET r = 0",
        "ATTACH '{outside}' AS other",
        "COPY matches TO '{outside}'",
        "EXPORT DATABASE '{outside}'",
        "COPY matches FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "FROM '/etc/passwd.csv'",
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "SET memory_limit = '1TB'",
        "SET lock_configuration = false",
        "INSTALL httpfs",
        "LOAD '/tmp/x.duckdb_extension'",
        "IMPORT DATABASE '/etc'",
    ],
)
def test_readers_change_nothing_and_reach_nothing(filled, tmp_path, sql):
    outside = tmp_path / "outside"
    with pytest.raises(BadInput, match="does not take that") as caught:
        filled.query(sql.format(outside=outside))
    assert "nothing can be changed" in caught.value.hint
    assert not outside.exists()
    assert len(filled.select("matches")) == 5


# --- opening ------------------------------------------------------------------------------------------


def test_no_catalogue_yet(path):
    with pytest.raises(NotFound, match="no catalogue here yet"), reading(path):
        pass
    assert not path.parent.exists()


def test_a_catalogue_is_made_whole_or_not_at_all(path, monkeypatch):
    monkeypatch.setattr(module, "MIGRATIONS", ("CREATE TABLE a (a INT)", "nonsense"))
    with pytest.raises(duckdb.ParserException, match="nonsense"), writing(path):
        pass
    assert not path.exists()
    monkeypatch.undo()
    with writing(path) as catalogue:
        assert catalogue.select("networks") == []
    assert not list(path.parent.glob(".tmp-*"))


def test_older_programs_of_the_database_can_read_it(path):
    with writing(path) as catalogue:
        rows = catalogue.query("SELECT tags FROM duckdb_databases() WHERE database_name = 'catalogue'").rows
    assert "v1.0.0" in str(rows)


def test_two_writers(path):
    who = f"process {os.getpid()} on .* is at work"
    with writing(path), pytest.raises(CatalogueLocked, match=who) as caught, writing(path):
        pass
    assert "--wait-for-lock" in caught.value.hint
    with writing(path):
        pass


def test_one_process_opens_it_once(path):
    with writing(path):
        pass
    with reading(path), pytest.raises(CatalogueLocked, match="this process has it open already"), writing(path):
        pass
    with writing(path), pytest.raises(CatalogueLocked, match="this process has it open already"), reading(path):
        pass
    with reading(path), reading(path):
        pass


READ = """
import sys; from pathlib import Path; from consilience.analysis.project.catalogue import reading
from consilience.zoo.errors import ConsilienceError
try:
    with reading(Path(sys.argv[1]), wait=float(sys.argv[2])) as catalogue:
        print(len(catalogue.select("levels")), flush=True)
        sys.stdin.read()
except ConsilienceError as error:
    print(type(error).__name__, error, flush=True)
"""


def reader(path: Path, wait: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", READ, path, str(wait)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_reader_while_a_writer_is_active(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output")]})
        with reader(path, 0.2) as hasty:
            assert hasty.communicate()[0].startswith(f"CatalogueLocked {path}: process {os.getpid()} on ")
        patient = reader(path, 60)
    with patient:
        assert patient.communicate()[0] == "1\n"


def test_a_writer_while_another_program_reads(path):
    with writing(path):
        pass
    with reader(path, 1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"
        with pytest.raises(CatalogueLocked, match="another program has it open"), writing(path, wait=0.1):
            pass
        other.communicate()
    with writing(path):
        pass


def test_who_holds_a_lock_is_not_always_known(tmp_path):
    file = tmp_path / "run.lock"
    with locked(file):
        (tmp_path / "run.holder").write_text("[]")
        with pytest.raises(CatalogueLocked, match="another process is at work"), locked(file):
            pass


# --- versions and damage --------------------------------------------------------------------------------


def test_the_schema_version_counts_the_migrations(path):
    with writing(path) as catalogue:
        meta = {row["key"]: row["value"] for row in catalogue.select("meta")}
    assert meta == {"application": "consilience", "schema_version": str(len(MIGRATIONS))}


def test_a_migration_keeps_the_rows_and_a_copy_of_before(path, monkeypatch):
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output")]})
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "ALTER TABLE levels ADD COLUMN colour TEXT"))
    for _ in range(2):
        with writing(path) as catalogue:
            assert catalogue.select("levels") == [level("output") | {"colour": None}]
            assert {"key": "schema_version", "value": str(len(MIGRATIONS) + 1)} in catalogue.select("meta")
    monkeypatch.undo()
    with reading(path.with_suffix(f".v{len(MIGRATIONS)}.duckdb")) as before:
        assert before.select("levels") == [level("output")]


def test_a_reader_brings_an_older_catalogue_up_to_date(path, monkeypatch):
    monkeypatch.setattr(module, "MIGRATIONS", MIGRATIONS[:3])
    old = {"equation": "E1", "number": 1, "feature": "F1", "target": "force", "status": "equation"}
    with writing(path) as catalogue:
        catalogue.replace({}, {"equations": [old]})
    monkeypatch.undo()
    with reading(path) as catalogue:
        (row,) = catalogue.listing("equations").dicts()
        assert row["target"] == "force"
        assert (row["linked"], row["terms"], row["stability"], row["gradient_agreement"]) == (None,) * 4
        assert catalogue.select("substitutions") == catalogue.select("rivals") == []
    with reading(path.with_suffix(".v3.duckdb")) as before:
        assert before.select("equations")[0]["target"] == "force"


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    with writing(path):
        pass
    broken = "ALTER TABLE levels ADD COLUMN colour TEXT; SELECT * FROM nowhere"
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(duckdb.CatalogException, match="nowhere"), writing(path):
        pass
    monkeypatch.undo()
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output")]})
        assert catalogue.select("levels") == [level("output")]


def _change(path: Path, sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS other (STORAGE_VERSION 'v1.0.0')")
        connection.execute("USE other")
        connection.execute(sql)


@pytest.mark.parametrize("opened", [reading, writing])
def test_a_newer_schema_is_refused(path, opened):
    with writing(path):
        pass
    _change(path, "UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    with pytest.raises(CatalogueUnusable, match="written by a newer consilience \\(schema 999") as caught, opened(path):
        pass
    assert "upgrade consilience" in caught.value.hint


@pytest.mark.parametrize("opened", [reading, writing])
def test_a_database_of_another_program_is_refused(path, opened):
    path.parent.mkdir()
    _change(path, "CREATE TABLE meta (key TEXT, value TEXT)")
    with pytest.raises(CatalogueUnusable, match="is not a catalogue of ours"), opened(path):
        pass


@pytest.mark.parametrize("opened", [reading, writing])
@pytest.mark.parametrize("content", [b"", b"x", b"garbage" * 5000])
def test_a_file_that_is_no_database(path, opened, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CatalogueUnusable, match="cannot be read") as caught, opened(path):
        pass
    assert "move it away" in caught.value.hint
    assert path.read_bytes() == content


def _whole(path: Path) -> bool:
    """Read everything; what is wrong must be said as one of our errors."""
    try:
        with reading(path) as catalogue:
            return len(catalogue.listing("matches").rows) == 1000
    except CatalogueUnusable as error:
        return "cannot be read" not in error.what


def test_damage_that_shows_only_when_it_is_read(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"matches": [match(unit, unit / 1000) for unit in range(1000)]})
    content = path.read_bytes()
    whole = []
    for start in range(12388, len(content), 65536):
        damaged = bytearray(content)
        damaged[start : start + 100] = bytes(byte ^ 255 for byte in damaged[start : start + 100])
        path.write_bytes(damaged)
        whole.append(_whole(path))
    assert not all(whole)


def test_the_log_of_a_catalogue_that_was_moved_away_is_not_taken_for_ones_own(path):
    path.parent.mkdir()
    path.with_name("catalogue.duckdb.wal").write_bytes(b"not a log")
    with writing(path) as catalogue:
        assert catalogue.select("networks") == []


def test_a_catalogue_of_the_first_schema_is_brought_up_to_date(path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(module, "MIGRATIONS", MIGRATIONS[:1])
        with writing(path) as catalogue:
            layer = {"network": "a", "layer": "0", "position": 1, "kind": "dense", "role": "hidden", "depth": 0.5}
            catalogue.replace({}, {"layers": [layer | {"activation": "relu", "units": 3, "dead": 0, "grid": 1}]})
            catalogue.mark("probe", "a", "key", {})
            catalogue.mark("align", "zoo", "key", {})
    with writing(path) as catalogue:
        (row,) = catalogue.select("layers")
        assert "grid" not in row
        assert (row["units"], row["positions"], row["axes"]) == (3, None, None)
        assert catalogue.select("kinships") == []
        assert catalogue.indexed("probe", "a") is None  # so that the next run fills in what is new
        assert catalogue.indexed("align", "zoo") == "key"
    assert path.with_suffix(".v1.duckdb").exists()


def test_several_subjects_at_once(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output", name) for name in "abc"]})
        catalogue.replace({"network": ["a", "c"]}, {"levels": [level("hidden 1", "c")]})
        assert catalogue.select("levels") == [level("output", "b"), level("hidden 1", "c")]
        catalogue.mark_all("ingest", {"a": "1", "b": "2"}, {})
        catalogue.forget("ingest", ["a"])
        assert catalogue.all_indexed("ingest") == {"b": "2"}
        catalogue.replace({"network": []}, {"levels": []})
        assert len(catalogue.select("levels")) == 2


def test_half_a_letter_in_a_name_is_stored_as_an_escape(path):
    with writing(path) as catalogue:
        catalogue.replace({}, {"levels": [level("output", "a\ud800")]})
        assert catalogue.select("levels") == [level("output", r"a\ud800")]
