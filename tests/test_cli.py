"""The program as a user meets it: what it says where, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pickle
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file, save_file

from consilience.cli.main import app
from consilience.cli.output import printable

COMMANDS = [str(command.name or command.callback.__name__) for command in app.registered_commands]
LISTS = ("networks", "layers", "features", "equations", "matches")  # kinships: a zoo may have none


def lines(text: str) -> list[str]:
    return text.splitlines()


def refused_well(done, code: int, *said: str) -> None:
    """One line that says what and where, one hint, no traceback, nothing on stdout."""
    assert done.code == code, done.err
    told = [line for line in lines(done.err) if line.startswith(("error: ", "hint: "))]
    assert [line.split(":")[0] for line in told] == ["error", "hint"], done.err
    assert "Traceback" not in done.err
    assert "bug of ours" not in done.err
    assert done.out == ""
    for words in said:
        assert words in "\n".join(told), done.err


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(warm, tmp_path, command):
    done = warm(command, "--help", folder=tmp_path)
    assert done.code == 0
    assert f"Example: consilience {command} " in " ".join(done.out.split()) + " "
    assert done.err == ""


def test_help_of_the_program_lists_every_command(program, tmp_path):
    done = program("--help", folder=tmp_path)
    assert done.code == 0
    assert all(f"  {command} " in done.out for command in COMMANDS)
    assert done.err == ""


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["networks", "--nonsense"]])
def test_nothing_heavy_is_imported_to_help(tmp_path, arguments):
    heavy = ("torch", "numpy", "duckdb", "sklearn", "matplotlib", "sympy", "scipy", "rich")
    code = (
        "import sys; from consilience.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit: sys.stderr.write(str([m for m in {heavy} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("[]")


def test_no_arguments_is_help_and_a_usage_error(program, tmp_path):
    done = program(folder=tmp_path)
    assert done.code == 2
    assert done.out.startswith("Usage: consilience")


def test_version(program, tmp_path):
    assert program("--version", folder=tmp_path).out.startswith("consilience 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "a", "b"], "unexpected extra argument"),
        (["features", "--limit", "-1"], "--limit"),
        (["features", "--format", "xml"], "'xml' is not one of table, json, jsonl, csv, md"),
        (["query", "SELECT 1", "--format", "xml"], "'xml' is not one of"),
        (["show"], "Missing argument 'ID'"),
        (["run", "--nonsense"], "No such option: --nonsense"),
    ],
)
def test_usage_errors_are_one_line_and_a_hint(warm, tmp_path, arguments, said):
    refused_well(warm(*arguments, folder=tmp_path), 2, said, "--help")


# --- run ------------------------------------------------------------------------------------------


def test_run_answers_on_stdout_and_talks_on_stderr(studied):
    _, done = studied
    assert done.code == 0, done.err
    first, *_, last = lines(done.out)
    assert first.startswith("y [m] = ")
    assert "consilience" in last
    plan, *progress = lines(done.err)
    assert plan.startswith("tiny: 4 networks, 6 pairs, 64 samples of 2 variables")
    assert all(line.split(":")[0] in ("ingest", "probe", "align", "cluster", "distil", "plot") for line in progress)


def test_running_again_does_nothing_new(studied, warm, catalogue_of, facts_of, tmp_path):
    folder = Path(shutil.copytree(studied[0], tmp_path / "tiny"))
    before, rows = facts_of(folder), catalogue_of(folder)
    done = warm("run", folder=folder)
    assert (done.code, done.out) == (0, studied[1].out)
    assert facts_of(folder) == before
    assert catalogue_of(folder) == rows


def test_the_console_script_ingests(program, tiny, tmp_path):
    done = program("ingest", tiny, folder=tmp_path)
    assert done.code == 0, done.err
    assert lines(done.out)[0] == "4 checkpoints: 4 ok; 4 lineages"
    assert "next: consilience probe" in done.out


def test_dry_run_writes_nothing(warm, tiny):
    done = warm("run", "--dry-run", folder=tiny)
    assert (done.code, done.out) == (0, "")
    assert "4 networks, 6 pairs, 64 samples of 2 variables; no search; results in" in done.err
    assert not (tiny / ".consilience").exists()


def test_the_project_is_found_upward(studied, warm):
    inner = studied[0] / "networks"
    assert warm("networks", "-q", folder=inner).out == warm("networks", "-q", folder=studied[0]).out


def test_every_stage_can_be_run_by_itself(warm, tiny):
    for stage, said in [
        ("ingest", "4 ok"),
        ("probe", "4 networks probed"),
        ("align", "matches"),
        ("cluster", "features"),
        ("distil", "y [m] = "),
    ]:
        done = warm(stage, folder=tiny)
        assert done.code == 0, done.err
        assert said in done.out


# --- files without a zoo.toml -----------------------------------------------------------------------


def test_a_folder_of_checkpoints_is_drafted_and_ingested(warm, tiny):
    (tiny / "zoo.toml").unlink()
    done = warm("ingest", "networks", folder=tiny)
    assert done.code == 0, done.err
    assert lines(done.out)[0] == "4 checkpoints: 4 ok; 4 lineages"
    assert "wrote networks/zoo.toml" in done.err
    assert lines(warm("networks", "-q", "--zoo", "networks", folder=tiny).out)[0] == "relu-1"
    again = warm("ingest", "networks", folder=tiny)
    assert (again.code, again.out) == (0, done.out)


def test_files_and_globs_become_a_zoo_where_they_lie(warm, tiny):
    (tiny / "zoo.toml").unlink()
    done = warm("ingest", "networks/tanh-0.safetensors", "networks/relu*", folder=tiny)
    assert lines(done.out)[0] == "2 checkpoints: 2 ok; 2 lineages"
    assert (tiny / "networks" / "zoo.toml").is_file()
    other = warm("ingest", "networks/silu-3.safetensors", folder=tiny)
    refused_well(other, 2, "is already there", "add them to it")


def test_what_is_said_of_files_stands_in_the_draft(warm, tiny, tmp_path):
    save_file(load_file(tiny / "networks/tanh-0.safetensors"), tmp_path / "plain.safetensors")
    done = warm("ingest", "plain.safetensors", "--activation", "tanh", folder=tmp_path)
    assert done.code == 0, done.err
    assert 'activation = "tanh"' in (tmp_path / "zoo.toml").read_text()
    refused_well(warm("ingest", tiny, "--activation", "tanh", folder=tmp_path), 2, "activation")


def test_check_looks_and_keeps_nothing(warm, tiny, tmp_path):
    (tiny / "networks" / "broken.pt").write_bytes(b"PK\x03\x04")
    before = sorted(tiny.rglob("*"))
    done = warm("check", tiny, folder=tmp_path)
    assert done.code == 3, done.err
    found = {Path(row["file"]).name: row for row in map(json.loads, lines(done.out))}
    assert found["tanh-0.safetensors"]["status"] == "ok"
    assert found["tanh-0.safetensors"]["fits_probe"] is True
    assert found["broken.pt"]["code"] == "truncated"
    assert found["broken.pt"]["hint"]
    assert sorted(tiny.rglob("*")) == before
    inside = warm("check", "networks", "--format", "csv", folder=tiny)
    assert [row["fits_probe"] for row in csv.DictReader(io.StringIO(inside.out))].count("True") == 4
    assert warm("check", tiny / "zoo.toml", folder=tmp_path).out == done.out
    (tmp_path / "empty").mkdir()
    refused_well(warm("check", "empty", folder=tmp_path), 4, "no checkpoint in empty")


def test_the_layers_of_one_network(studied, warm):
    folder, _ = studied
    rows = [json.loads(line) for line in lines(warm("layers", "tanh-0", folder=folder).out)]
    assert [(row["network"], row["kind"], row["axes"]) for row in rows] == [("tanh-0", "dense", ["row"])] * 2
    refused_well(warm("layers", "nobody", folder=folder), 4, "no network 'nobody'", "consilience networks")


def test_relatives_are_listed_with_the_evidence(warm, tiny):
    shutil.copy(tiny / "networks/tanh-0.safetensors", tiny / "networks/twin.safetensors")
    done = warm("ingest", folder=tiny)
    assert lines(done.out)[0] == "5 checkpoints: 4 ok, 1 warned; 4 lineages"
    (row,) = [json.loads(line) for line in lines(warm("kinships", folder=tiny).out)]
    assert (row["network"], row["relative"], row["relation"], row["counted"]) == ("twin", "tanh-0", "copy", True)
    assert "copy with tanh-0" in warm("show", "twin", folder=tiny).out


# --- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["networks", "equations"])
def test_every_format_lists_the_same(studied, warm, what):
    folder, _ = studied
    given = {name: warm(what, "--format", name, folder=folder) for name in ("table", "json", "jsonl", "csv", "md")}
    assert {done.code for done in given.values()} == {0}
    assert {done.err for done in given.values()} == {""}
    objects = json.loads(given["json"].out)
    assert objects == [json.loads(line) for line in lines(given["jsonl"].out)]
    header, *cells = list(csv.reader(io.StringIO(given["csv"].out)))
    assert header == list(objects[0])
    assert len(cells) == len(objects)
    assert len(lines(given["md"].out)) == len(objects) + 2
    assert len(lines(given["table"].out)) == len(objects) + 2
    assert warm(what, folder=folder).out == given["jsonl"].out  # in a pipe
    names = lines(warm(what, "-q", folder=folder).out)
    assert names == [str(row[header[0]]) for row in objects]


@pytest.mark.parametrize("what", LISTS)
def test_a_pipe_gets_json_lines(studied, warm, what):
    done = warm(what, folder=studied[0])
    assert (done.code, done.err) == (0, "")
    assert all(json.loads(line) for line in lines(done.out))


def test_tables_in_a_pipe_are_not_cut(studied, warm):
    folder, _ = studied
    digest = json.loads(lines(warm("networks", folder=folder).out)[0])["digest"]
    assert digest in warm("networks", "--format", "table", folder=folder).out


def test_where_sort_and_limit(studied, warm):
    folder, _ = studied
    assert lines(warm("networks", "-q", "--where", "activation = 'tanh'", folder=folder).out) == ["tanh-0", "tanh-2"]
    assert lines(warm("networks", "-q", "--sort=-network", "--limit", "1", folder=folder).out) == ["tanh-2"]
    assert lines(warm("networks", "-q", "--sort", "parameters", "--limit", "1", folder=folder).out) == ["silu-3"]


@pytest.mark.parametrize("arguments", [["--where", "nonsense > 1"], ["--sort", "nonsense"], ["--where", "q <"]])
def test_a_wrong_column_is_one_line_with_the_right_ones(studied, warm, arguments):
    refused_well(warm("features", *arguments, folder=studied[0]), 2, "the catalogue does not take that", "universality")


def test_nothing_found(studied, warm, tmp_path):
    refused_well(warm("features", "--where", "q < -1", folder=studied[0]), 4, "nothing found", "loosen --where")
    refused_well(warm("features", folder=tmp_path), 4, "no zoo.toml in", "consilience init")


def test_before_the_first_run(warm, tiny):
    for arguments in (["networks"], ["show", "E1"], ["query", "SELECT 1"], ["export", "laws.md"]):
        refused_well(warm(*arguments, folder=tiny), 4, "no catalogue here yet", "consilience run")
    warm("ingest", folder=tiny)
    refused_well(warm("features", folder=tiny), 4, "no features yet", "consilience run")


def test_not_a_number_is_null(studied, warm):
    done = warm("query", "SELECT 'nan'::DOUBLE AS a, {'b': 'inf'::DOUBLE} AS c, [1, NULL] AS d", folder=studied[0])
    assert json.loads(done.out) == {"a": None, "c": {"b": None}, "d": [1, None]}
    done = warm("query", "SELECT 'nan'::DOUBLE AS a, 1.5 AS b", "--format", "csv", folder=studied[0])
    assert done.out == "a,b\n,1.5\n"


# --- show, query, export ----------------------------------------------------------------------------


def test_show_tells_of_networks_features_and_equations(studied, warm):
    folder, _ = studied
    for identifier, said in [
        ("tanh-0", "network tanh-0: ok, networks/tanh-0.safetensors"),
        ("F1", "feature F1 y: output units"),
        ("E1", "y [m] = "),
    ]:
        done = warm("show", identifier, folder=folder)
        assert (done.code, done.err) == (0, "")
        assert lines(done.out)[0].startswith(said)
    refused_well(warm("show", "nobody", folder=folder), 4, "the catalogue has no 'nobody'", "list what there is")


FORBIDDEN = (
    "DELETE FROM features",
    "SELECT 1; DELETE FROM features",
    "ATTACH '{outside}'",
    "COPY features TO '{outside}'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT getenv('HOME')",
)


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_query_changes_nothing_and_reaches_nothing(studied, warm, catalogue_of, tmp_path, sql):
    folder, outside = studied[0], tmp_path / "outside"
    done = warm("query", sql.format(outside=outside), folder=folder)
    refused_well(done, 2, "the catalogue does not take that", "nothing can be changed")
    assert "root:" not in done.out + done.err
    assert not outside.exists()
    assert catalogue_of(folder)["features"]


@pytest.mark.parametrize("sql", ["", ";", "SELECT * FROM features WHERE false"])
def test_a_question_without_an_answer(studied, warm, sql):
    refused_well(warm("query", sql, folder=studied[0]), 4, "nothing found", "SHOW TABLES")


def test_query_answers(studied, warm):
    done = warm("query", "SELECT activation, count(*) AS n FROM networks GROUP BY ALL ORDER BY ALL", folder=studied[0])
    assert [json.loads(line)["n"] for line in lines(done.out)] == [1, 1, 2]


@pytest.mark.parametrize("suffix", ["md", "tex", "json", "csv", "parquet", "py"])
def test_export_in_every_format(studied, warm, tmp_path, suffix):
    file = tmp_path / f"laws.{suffix}"
    done = warm("export", file, folder=studied[0])
    assert (done.code, done.out) == (0, "")
    assert "written to" in done.err
    content = file.read_bytes()
    match suffix:
        case "parquet":
            assert pyarrow.parquet.read_table(file).num_rows >= 1
        case "json":
            assert json.loads(content)
        case "py":
            compile(content, file, "exec")
        case _:
            assert b"y" in content


def test_export_names_the_formats_it_knows(studied, warm, tmp_path):
    refused_well(warm("export", tmp_path / "laws.doc", folder=studied[0]), 2, "laws.doc", ".md, .tex")
    refused_well(warm("export", tmp_path / "x", "--format", "doc", folder=studied[0]), 2, "'doc'", "markdown")
    refused_well(warm("export", "/dev/null/laws.md", folder=studied[0]), 2, "/dev/null", "can write to")


def test_an_unknown_picture(studied, warm):
    refused_well(warm("plot", "nonsense", folder=studied[0]), 2, "no picture 'nonsense'", "front")


# --- streams ----------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error(studied):
    script = Path(sys.executable).with_name("consilience")
    with subprocess.Popen(
        [script, "matches", "--format", "json"], cwd=studied[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_no_colour_and_an_alphabet_without_plus_minus(studied, program):
    done = program("show", "E1", folder=studied[0], PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out


def on_terminal(*arguments: str, folder: Path, columns: int) -> tuple[str, str]:
    script, (ours, theirs) = Path(sys.executable).with_name("consilience"), pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(
        [script, *arguments], cwd=folder, env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 65536):
                seen += chunk
        assert process.stderr is not None
        told = process.stderr.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[3" not in seen  # NO_COLOR leaves bold
    return re.sub(r"\x1b\[[01]m", "", seen.decode()), told


def test_a_terminal_gets_a_table_that_fits(studied):
    seen, told = on_terminal("networks", folder=studied[0], columns=80)
    header, _, *rows = lines(seen)
    shown = ["network", "status", "lineage", "activation", "parameters", "warnings"]
    assert [cell.strip() for cell in header.split("┃")] == shown
    assert sum("-" in row.split("│")[0] for row in rows) == 4  # a long warning takes several lines of its row
    assert any("dead" in row for row in rows)
    assert max(map(len, lines(seen))) <= 80
    assert told == "shown are 7 of 14 columns; --format json or csv gives all\n"
    seen, told = on_terminal("networks", folder=studied[0], columns=400)
    assert "digest" in lines(seen)[0]
    assert told == ""


def test_a_traceback_where_it_is_asked_for(program, tmp_path):
    assert "Traceback" not in program("networks", folder=tmp_path).err
    done = program("networks", folder=tmp_path, CONSILIENCE_DEBUG="1")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "NotFound: no zoo.toml in" in done.err


def test_control_characters_are_shown_as_spaces():
    assert printable("a\x1b[31mb\nc\u202ed\udcff") == "a [31mb c d "


# --- bad input --------------------------------------------------------------------------------------


class _Program:
    """A pickle that would create a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("PWNED",)


BAD = {
    "cut": "cut short",
    "empty": "is empty",
    "nan": "NaN",
    "pickle": "would run posix.mkdir",
    "pickle-renamed": "would run posix.mkdir",
    "text": "",
    "wide": "takes 3 inputs, the probe has 2",
}
STRANGE = ("=cmd()|x", "[red]bold", "\x1b[31mred\x07", "new\nline", "a'b\"c;DROP TABLE networks")
if sys.platform != "darwin":  # whose file names are all Unicode
    STRANGE = (*STRANGE, "\udcff")


def _spoil(networks: Path) -> None:
    import torch

    whole, good = (networks / "tanh-0.safetensors").read_bytes(), load_file(networks / "tanh-0.safetensors")
    (networks / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (networks / "empty.safetensors").write_bytes(b"")
    (networks / "text.safetensors").write_text("no network at all")
    spoiled = good | {"0.weight": np.where(np.eye(6, 2) > 0, np.nan, good["0.weight"]).astype(np.float32)}
    save_file(spoiled, networks / "nan.safetensors", metadata={"activation": "tanh"})
    torch.save({"w": _Program()}, networks / "pickle.safetensors")
    (networks / "pickle-renamed.safetensors").write_bytes(pickle.dumps(_Program()))
    wide = {"0.weight": np.ones((4, 3)), "0.bias": np.ones(4), "2.weight": np.ones((1, 4)), "2.bias": np.ones(1)}
    save_file(wide, networks / "wide.safetensors", metadata={"activation": "tanh"})


@pytest.fixture(scope="module")
def mixed(pristine, tmp_path_factory, warm):
    """A zoo of four good checkpoints, seven bad ones, and six copies with strange names."""
    folder = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("mixed") / "tiny"))
    _spoil(folder / "networks")
    for name in STRANGE:
        shutil.copy(folder / "networks" / "tanh-2.safetensors", folder / "networks" / f"{name}.safetensors")
    return folder, warm("distil", folder=folder)


def test_bad_checkpoints_are_refused_and_the_others_go_on(mixed):
    folder, done = mixed
    assert done.code == 3, done.err
    assert lines(done.out)[0].startswith("y [m] = ")
    assert "Traceback" not in done.err
    refused = [line for line in lines(done.err) if line.startswith("refused: ")]
    assert len(refused) == len(BAD), done.err
    for name, reason in BAD.items():
        (line,) = (line for line in refused if line.startswith(f"refused: networks/{name}.safetensors "))
        assert reason in line
        assert "; hint: " in line
    assert not (folder / "PWNED").exists()


def test_refused_networks_are_listed_with_the_reason(mixed, warm):
    folder, _ = mixed
    rows = [json.loads(line) for line in lines(warm("networks", "--where", "status = 'refused'", folder=folder).out)]
    assert [row["network"] for row in rows] == sorted(BAD)
    assert all(row["code"] and row["message"] and row["hint"] for row in rows)
    shown = warm("show", "cut", folder=folder).out
    assert "refused, networks/cut.safetensors" in shown
    assert "hint: " in shown


def test_running_again_refuses_the_same(mixed, warm, catalogue_of):
    folder, done = mixed
    before = catalogue_of(folder)
    again = warm("distil", folder=folder)
    assert (again.code, again.out) == (3, done.out)
    assert sorted(lines(again.err)) == sorted(lines(done.err))
    assert catalogue_of(folder) == before


def test_strange_names_are_only_names(mixed, warm):
    folder, done = mixed
    for text in (done.out, done.err, *_everything_listed(folder, warm)):
        assert not set(text) & {"\x1b", "\x07", "\udcff"}
    table = warm("networks", "--format", "table", folder=folder).out
    assert "[red]bold" in table
    assert len(lines(table)) == 2 + 4 + len(BAD) + len(STRANGE)
    cells = list(csv.reader(io.StringIO(warm("networks", "--format", "csv", folder=folder).out)))
    assert not [cell for row in cells for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert lines(warm("show", "=cmd()|x", folder=folder).out)[0].startswith("network =cmd()|x: warned")
    assert warm("show", "a'b\"c;DROP TABLE networks", folder=folder).code == 0


def _everything_listed(folder: Path, warm) -> Iterable[str]:
    for what in ("networks", "matches"):
        for arguments in (["-q"], *(["--format", name] for name in ("table", "json", "jsonl", "csv", "md"))):
            done = warm(what, *arguments, folder=folder)
            assert done.code == 0, done.err
            yield done.out


def _replace(folder: Path, old: str, new: str) -> None:
    path = folder / "zoo.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _only(folder: Path, *names: str) -> None:
    for path in (folder / "networks").iterdir():
        if path.stem not in names:
            path.unlink()


@pytest.mark.parametrize("verb", ["run", "ingest"])
def test_where_no_checkpoint_can_be_used(warm, tiny, verb):
    _spoil(tiny / "networks")
    _only(tiny, "cut", "wide")
    done = warm(verb, folder=tiny)
    refused_well(
        done, 2, "no checkpoint can be used", "cut.safetensors is cut short", "wide.safetensors takes 3 inputs"
    )
    assert warm("networks", "-q", "--where", "status = 'refused'", folder=tiny).out == "cut\nwide\n"


def test_where_no_network_gives_finite_outputs(warm, tiny):
    _spoil(tiny / "networks")
    _only(tiny, "nan")
    refused_well(warm("run", folder=tiny), 2, "no network can be probed", "nan.safetensors")


def test_empty_folders(warm, tmp_path):
    refused_well(warm("init", tmp_path, folder=tmp_path), 2, "holds no checkpoint", "safetensors")
    refused_well(warm("init", tmp_path / "nowhere", folder=tmp_path), 2, "no such folder")
    refused_well(warm("run", tmp_path, folder=tmp_path), 2, "zoo.toml: no such file", "consilience init")
    refused_well(warm("run", folder=tmp_path), 4, "no zoo.toml in", "consilience init")
    refused_well(
        warm("networks", "--zoo", tmp_path / "nowhere", folder=tmp_path), 2, "no such file", "consilience init"
    )


def test_init_then_run_on_a_folder_of_checkpoints(warm, tiny):
    (tiny / "zoo.toml").unlink()
    done = warm("init", ".", folder=tiny)
    assert done.code == 0, done.err
    assert "wrote" in done.out
    assert warm("ingest", folder=tiny).code == 0
    refused_well(warm("init", ".", folder=tiny), 2, "already there", "--force")
    assert warm("init", ".", "--force", folder=tiny).code == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[probe]\nsamples", "[probe]\nsampels", ("probe.sampels: unknown key", "did you mean 'samples'?")),
        ("samples = 64", 'samples = "many"', ("probe.samples: found 'many', expected",)),
        ("[probe]", "[probe", ("not TOML",)),
        ("networks/*.safetensors", "nowhere/*.pt", ("nothing matches 'nowhere/*.pt'", "paths begin at")),
        ("low = -1.0", "low = 7.0", ("low 7.0 is not below high 1.0",)),
        ("[probe]", '[probe]\nrows = "rows.csv"', ("rows.csv: no such file", "probe.rows")),
        ("[distil]", '[distil]\nvariables = ["c"]', ("distil.variables: 'c' is not one of a, b",)),
        ('engine = "none"', 'engine = "magic"', ("distil.engine: found 'magic', expected",)),
        ("[distil]", '[[probe.derived]]\nname = "c"\nformula = "a + d"\n[distil]', ("'d' is not an input", "a, b")),
        ("[distil]", '[[probe.derived]]\nname = "c"\nformula = "a +"\n[distil]', ("derived[1].formula",)),
        ("networks/*.safetensors", "package:no_such_thing/x.npz", ("'no_such_thing' is not installed", "pip install")),
    ],
)
def test_a_wrong_zoo_toml_is_one_line(warm, tiny, old, new, said):
    _replace(tiny, old, new)
    refused_well(warm("run", folder=tiny), 2, *said)


def test_one_file_that_is_not_there_does_not_stop_the_others(warm, tiny):
    _replace(tiny, "[[outputs]]", '[[networks]]\npath = "nowhere.safetensors"\n\n[[outputs]]')
    done = warm("ingest", folder=tiny)
    assert done.code == 3
    assert "refused: nowhere.safetensors does not exist [missing]; hint: " in done.err


@pytest.mark.parametrize("device", ["quantum", "cuda:77"])
def test_a_device_that_is_not_there(warm, tiny, studied, device):
    for folder in (tiny, studied[0]):  # also where all results are kept
        refused_well(warm("run", "--device", device, folder=folder), 2, f"device '{device}' cannot be used", "cpu")


@pytest.mark.parametrize("obstacle", ["file", "dangling", "catalogue"])
def test_a_project_folder_that_cannot_be_written(warm, tiny, obstacle):
    project = tiny / ".consilience"
    match obstacle:
        case "file":
            project.touch()
        case "dangling":
            project.symlink_to("/dev/null/nowhere")
        case "catalogue":
            (project / "catalogue.duckdb").mkdir(parents=True)
    refused_well(warm("run", folder=tiny), 2, ".consilience")
    refused_well(warm("networks", folder=tiny), 2 if obstacle == "catalogue" else 4, ".consilience")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_project_folder_without_rights(warm, tiny):
    (tiny / ".consilience").mkdir(mode=0o500)
    refused_well(warm("run", folder=tiny), 2, ".consilience", "rights")


def test_a_feature_that_is_not_there(warm, studied, tmp_path):
    folder = shutil.copytree(studied[0], tmp_path / "tiny")
    refused_well(
        warm("distil", "F999", folder=folder), 4, "no feature 'F999'", "there are F1 to F", "consilience features"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("yy",), 4, ("no feature 'yy'", "did you mean 'y'?")),
        (("--output", "z"), 4, ("no output 'z'", "there are y")),
        (("relu-1/0:99",), 4, ("layer 0 of relu-1 has no unit '99'", "its units are 0 to 7")),
        (("y", "--in", "a, c"), 4, ("'c' is neither a variable of the probe nor a feature", "it has a, b")),
        (("--inner", "head"), 4, ("no network has a module 'head'", "there are")),
        (
            ("--engine", "opreon"),
            2,
            ("engine 'opreon' is not one of operon, pysr, auto, none", "did you mean 'operon'?"),
        ),
        (("--budget", "60"), 2, ("budget '60' is not one of quick, normal, thorough", "quick")),
        (("y", "--in", ""), 2, ("a name is empty", "--in")),
        (("y", "--in", "a,,b"), 2, ("a name is empty", "--in")),
        (("--output", ""), 2, ("a name is empty", "--output")),
        (("networks/../.",), 2, ("is a zoo, not a feature", "consilience distil --zoo networks/../.")),
    ],
)
def test_what_cannot_be_distilled_is_told_with_what_to_type(warm, studied, tmp_path, arguments, code, said):
    folder = shutil.copytree(studied[0], tmp_path / "tiny")
    refused_well(warm("distil", *arguments, folder=folder), code, *said)


@pytest.mark.parametrize("arguments", [("--output", "z"), ("y", "--in", "a,c")])
def test_names_that_zoo_toml_does_not_have_are_told_before_any_work(warm, tiny, arguments):
    refused_well(warm("distil", *arguments, folder=tiny), 4, repr(arguments[-1][-1]))
    refused_well(warm("distil", *arguments, "--dry-run", folder=tiny), 4)
    assert not (tiny / ".consilience").exists()


def test_what_was_asked_for_is_told_alone_and_names_that_stand_twice_count_once(warm, studied, tmp_path):
    folder = shutil.copytree(studied[0], tmp_path / "tiny")
    done = warm("distil", "y", "--in", "b,a,a", "--engine", "pysr", "--budget", "quick", folder=folder)
    assert done.code == 0, done.err
    told = [json.loads(line) for line in lines(warm("equations", folder=folder).out)]
    (asked,) = [row for row in told if row["terms"]]
    assert asked["terms"] == "b, a"
    assert f"pysr was not needed for {asked['equation']}" in done.out
    identifiers = set(re.findall(r"\bE\d+\b", done.out))
    assert identifiers == {asked["equation"]}
    assert lines(done.out)[-1] == f"next: consilience show {asked['equation']}"


def test_a_choice_on_the_command_line_goes_before_zoo_toml(warm, studied, tmp_path):
    folder = shutil.copytree(studied[0], tmp_path / "tiny")
    done = warm("distil", "y", "--in", "a", "--engine", "auto", "--budget", "quick", "--dry-run", folder=folder)
    assert "at most 1 searches an equation (auto)" in done.err
    done = warm("distil", "y", "--in", "a", folder=folder)
    assert done.code == 0, done.err
    told = [json.loads(line) for line in lines(warm("equations", folder=folder).out)]
    (asked,) = [row for row in told if row["terms"] == "a"]
    assert asked["feature"] == "F1"
    assert "in terms of a" in warm("show", asked["equation"], folder=folder).out
