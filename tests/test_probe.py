"""The probe fills its box or shows the rows of a file, always the same ones, in the order of the names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from consilience.zoo.errors import BadProbe
from consilience.zoo.manifest import ProbeTable, VariableTable
from consilience.zoo.probe import NAME, ROWS, STRETCH, InputVariable, Probe, make_probe

BOX = ProbeTable(
    variables=(
        VariableTable(name="m", low=1.0, high=5.0, unit="kg"),
        VariableTable(name="r", low=0.05, high=3.0),
        VariableTable(name="t", low=-2.0, high=2.0),
    ),
    samples=100,
)
VALUES = np.random.default_rng(0).normal(size=(40, 3))
NAMES = ("a", "b", "c")


def write_csv(path: Path, values: np.ndarray, names: tuple[str, ...]) -> None:
    csv.write_csv(pa.table(list(values.T), names=list(names)), path)


def write_parquet(path: Path, values: np.ndarray, names: tuple[str, ...]) -> None:
    parquet.write_table(pa.table(list(values.T), names=list(names)), path)


def write_npy(path: Path, values: np.ndarray, names: tuple[str, ...]) -> None:
    np.save(path, values)


WRITERS: dict[str, Callable[[Path, np.ndarray, tuple[str, ...]], None]] = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".npy": write_npy,
}
TABLES = [".csv", ".parquet"]


def rows_table(file: str, *names: str, samples: int = 2048) -> ProbeTable:
    return ProbeTable(variables=tuple(VariableTable(name=name) for name in names), rows=file, samples=samples)


def make(folder: Path, suffix: str, *names: str, values: np.ndarray = VALUES, seed: int = 0) -> Probe:
    WRITERS[suffix](folder / f"rows{suffix}", values, NAMES)
    return make_probe(rows_table(f"rows{suffix}", *names), folder=folder, seed=seed)


def in_any_order(values: np.ndarray) -> np.ndarray:
    return values[np.lexsort(values.T)]


def refused(folder: Path, table: ProbeTable, match: str) -> str:
    with pytest.raises(BadProbe, match=match) as caught:
        make_probe(table, folder=folder, seed=0)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value.hint


def inside(probe: Probe, rows: np.ndarray) -> np.ndarray:
    low, high = np.array([(v.low, v.high) for v in probe.variables]).T
    return np.asarray(((rows >= low) & (rows <= high)).all(axis=1))


def test_every_kind_of_rows_has_a_writer_here() -> None:
    assert set(WRITERS) == set(ROWS)


def test_the_box_is_filled_evenly(tmp_path: Path) -> None:
    probe = make_probe(BOX, folder=tmp_path, seed=0)
    assert probe.inputs.shape == (100, 3)
    assert inside(probe, probe.inputs).all()
    assert probe.box
    assert probe.variables[0] == InputVariable("m", 1.0, 5.0, "kg")
    for column, variable in zip(probe.inputs.T, probe.variables, strict=True):
        tenths, _ = np.histogram(column, bins=10, range=(variable.low, variable.high))
        assert tenths.min() >= 7  # ten each on average; plain random numbers fall to four


def test_the_same_seed_gives_the_same_probe(tmp_path: Path) -> None:
    first, again, other = (make_probe(BOX, folder=tmp_path, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.inputs, again.inputs)
    assert first.key == again.key
    assert not np.array_equal(first.inputs, other.inputs)
    assert first.key != other.key


@pytest.mark.parametrize("samples", [8, 9, 64, 65])
def test_as_many_samples_as_asked_for(tmp_path: Path, samples: int) -> None:
    table = BOX.model_copy(update={"samples": samples})
    assert make_probe(table, folder=tmp_path, seed=0).inputs.shape == (samples, 3)


def test_drawing_from_a_box_gives_new_points_in_it(tmp_path: Path) -> None:
    probe = make_probe(BOX, folder=tmp_path, seed=0)
    drawn = probe.draw(50, seed=1)
    assert drawn.shape == (50, 3)
    assert inside(probe, drawn).all()
    assert np.array_equal(drawn, probe.draw(50, seed=1))
    assert not np.array_equal(drawn, probe.draw(50, seed=2))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_drawing_outside_leaves_the_box_by_a_tenth_and_never_turns_negative(tmp_path: Path, count: int) -> None:
    table = BOX.model_copy(update={"variables": BOX.variables[:count]})
    probe = make_probe(table, folder=tmp_path, seed=0)
    drawn = probe.draw_outside(64, seed=1)
    assert drawn is not None
    assert drawn.shape == (64, count)
    assert not inside(probe, drawn).any()
    for column, variable in zip(drawn.T, probe.variables, strict=True):
        reach = STRETCH * (variable.high - variable.low)
        assert column.min() >= variable.low - reach
        assert column.max() <= variable.high + reach
        assert variable.low < 0 or column.min() >= 0
    assert np.array_equal(drawn, probe.draw_outside(64, seed=1))


def test_both_sides_of_a_box_are_left(tmp_path: Path) -> None:
    drawn = make_probe(BOX, folder=tmp_path, seed=0).draw_outside(200, seed=1)
    assert drawn is not None
    assert (drawn[:, 2] < -2).any()
    assert (drawn[:, 2] > 2).any()


@pytest.mark.parametrize("suffix", WRITERS)
def test_rows_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    probe = make(tmp_path, suffix)
    assert np.allclose(in_any_order(probe.inputs), in_any_order(VALUES))
    assert not probe.box
    assert probe.draw_outside(8, seed=0) is None
    names = tuple(v.name for v in probe.variables)
    assert names == (("x0", "x1", "x2") if suffix == ".npy" else NAMES)
    assert all(NAME.fullmatch(name) for name in names)
    for variable, column in zip(probe.variables, VALUES.T, strict=True):
        assert (variable.low, variable.high) == pytest.approx((column.min(), column.max()))


@pytest.mark.parametrize("suffix", TABLES)
def test_columns_are_taken_by_name(tmp_path: Path, suffix: str) -> None:
    probe = make(tmp_path, suffix, "c", "a")
    assert [v.name for v in probe.variables] == ["c", "a"]
    assert np.allclose(in_any_order(probe.inputs), in_any_order(VALUES[:, [2, 0]]))


def test_columns_without_names_are_taken_in_order(tmp_path: Path) -> None:
    probe = make(tmp_path, ".npy", "m1", "m2", "r")
    assert [v.name for v in probe.variables] == ["m1", "m2", "r"]
    assert np.array_equal(in_any_order(probe.inputs), in_any_order(VALUES))


def test_images_become_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.arange(10 * 4 * 4, dtype=np.uint8).reshape(10, 4, 4))
    probe = make_probe(rows_table("images.npy"), folder=tmp_path, seed=0)
    assert probe.inputs.shape == (10, 16)
    assert probe.inputs.dtype == np.float64


def test_text_columns_are_passed_by(tmp_path: Path) -> None:
    lines = ["who,a,b", *(f"name{n},{n},{n / 2}" for n in range(9))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    probe = make_probe(rows_table("rows.csv"), folder=tmp_path, seed=0)
    assert [v.name for v in probe.variables] == ["a", "b"]


def test_a_long_file_is_sampled(tmp_path: Path) -> None:
    WRITERS[".csv"](tmp_path / "rows.csv", VALUES, NAMES)
    table = rows_table("rows.csv", samples=10)
    first, again, other = (make_probe(table, folder=tmp_path, seed=seed) for seed in (0, 0, 1))
    assert first.inputs.shape == (10, 3)
    assert first.key == again.key != other.key


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    changed = VALUES.copy()
    changed[3, 1] += 1e-9
    assert make(tmp_path, ".npy").key == make(tmp_path, ".npy").key
    assert make(tmp_path, ".npy").key != make(tmp_path, ".npy", values=changed).key
    assert make(tmp_path, ".npy").key != make(tmp_path, ".npy", "a", "b", "c").key


def test_drawing_from_rows_gives_rows(tmp_path: Path) -> None:
    probe = make(tmp_path, ".csv")
    drawn = probe.draw(10, seed=1)
    assert {tuple(row) for row in drawn} < {tuple(row) for row in probe.inputs}
    assert len({tuple(row) for row in drawn}) == 10
    assert np.array_equal(drawn, probe.draw(10, seed=1))
    assert probe.draw(1000, seed=1).shape == (40, 3)


def test_a_declared_range_and_unit_stand(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", VALUES, NAMES)
    declared = VariableTable(name="b", low=-10.0, high=10.0, unit="m")
    table = ProbeTable(variables=(declared,), rows="rows.csv")
    assert make_probe(table, folder=tmp_path, seed=0).variables == (InputVariable("b", -10.0, 10.0, "m"),)


def test_a_constant_column_is_kept(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[:, 1] = 7.0
    probe = make(tmp_path, ".csv", values=values)
    assert (probe.variables[1].low, probe.variables[1].high) == (7.0, 7.0)
    assert (probe.inputs[:, 1] == 7.0).all()


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(tmp_path: Path, suffix: str, bad: float) -> None:
    values = VALUES.copy()
    values[5, 1] = bad
    WRITERS[suffix](tmp_path / f"rows{suffix}", values, NAMES)
    hint = refused(
        tmp_path,
        rows_table(f"rows{suffix}"),
        r"holds NaN or infinite numbers in 1 of \d+ rows, the first at row 6, (b|x1)$",
    )
    assert hint == "leave those rows out"


def test_a_hole_in_a_column_that_is_not_asked_for_is_no_matter(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[5, 1] = np.nan
    assert np.isfinite(make(tmp_path, ".csv", "a", "c", values=values).inputs).all()


def test_an_empty_cell(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "1,2\n" * 9 + "3,\n")
    refused(tmp_path, rows_table("rows.csv"), "holds NaN")


@pytest.mark.parametrize("suffix", TABLES)
def test_a_missing_column(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](tmp_path / f"rows{suffix}", VALUES, NAMES)
    hint = refused(tmp_path, rows_table(f"rows{suffix}", "a", "mass"), "has no column 'mass'")
    assert hint == "it has a, b, c"


def test_too_few_columns_without_names(tmp_path: Path) -> None:
    write_npy(tmp_path / "rows.npy", VALUES, NAMES)
    refused(tmp_path, rows_table("rows.npy", "m1", "m2"), "has no column 'm1'")


@pytest.mark.parametrize("suffix", WRITERS)
def test_too_few_rows(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](tmp_path / f"rows{suffix}", VALUES[:7], NAMES)
    assert "at least 8" in refused(tmp_path, rows_table(f"rows{suffix}"), "has 7 rows")


def test_no_such_file(tmp_path: Path) -> None:
    path = re.escape(str(tmp_path / "rows.csv"))
    assert "probe.rows" in refused(tmp_path, rows_table("rows.csv"), f"^{path}: no such file")


def test_an_unknown_kind(tmp_path: Path) -> None:
    hint = refused(tmp_path, rows_table("rows.xlsx"), "rows of an unknown kind")
    assert hint == "use one of .csv, .parquet, .npy"


def test_a_column_that_cannot_be_a_variable(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", VALUES, ("a", "b c", "d"))
    refused(tmp_path, rows_table("rows.csv"), "column 'b c' cannot be the name of a variable")
    assert make_probe(rows_table("rows.csv", "a", "d"), folder=tmp_path, seed=0).inputs.shape == (40, 2)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", VALUES, ("a", "b", "b"))
    refused(tmp_path, rows_table("rows.csv"), "has two columns 'b'")


def test_rows_outside_the_declared_range(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", VALUES, NAMES)
    table = ProbeTable(variables=(VariableTable(name="a", low=100.0),), rows="rows.csv")
    refused(tmp_path, table, "a lies in .* outside the range in zoo.toml")


def test_no_column_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n" + "x,y\n" * 9)
    refused(tmp_path, rows_table("rows.csv"), "has no column of numbers")


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04K\x01.", b"a,b\n1\n2,3,4\n"])
def test_broken_files_are_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"rows{suffix}").write_bytes(content)
    refused(tmp_path, rows_table(f"rows{suffix}"), re.escape(f"rows{suffix}: "))


def test_arrays_that_are_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(20.0))
    refused(tmp_path, rows_table("rows.npy"), r"is an array of shape \(20,\)")
    np.save(tmp_path / "rows.npy", np.full((10, 2), "a"))
    refused(tmp_path, rows_table("rows.npy"), "is an array of shape")
    np.save(tmp_path / "rows.npy", np.zeros((0, 2)))
    refused(tmp_path, rows_table("rows.npy"), re.escape("rows.npy: "))
    with (tmp_path / "rows.npy").open("wb") as file:
        np.savez(file, a=VALUES)
    refused(tmp_path, rows_table("rows.npy"), "magic string")


def test_an_array_that_promises_more_than_it_holds(tmp_path: Path) -> None:
    with (tmp_path / "rows.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50, 4)}
        np.lib.format.write_array_header_1_0(file, header)
    refused(tmp_path, rows_table("rows.npy"), re.escape("rows.npy: "))


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[object()] * 2] * 9), allow_pickle=True)
    refused(tmp_path, rows_table("rows.npy"), "Object arrays cannot be loaded")
