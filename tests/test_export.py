"""Every format keeps the facts and lets nothing out of its place."""

from __future__ import annotations

import ast
import csv
import ctypes
import io
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.reports.export import FORMATS, EquationRecord, Interval, Range, export
from consilience.zoo.errors import BadInput

GRAVITY = EquationRecord(
    id="E1",
    feature="F1",
    title="output F",
    status="equation",
    target_name="F",
    expression=parse("1.0625*m1*m2/r**2"),
    target_unit="N",
    variables=(Range("m1", "kg", 1.0, 5.0), Range("m2", "kg", 1.0, 5.0), Range("r", "m", 1.0, 3.0)),
    complexity=9,
    fidelity=0.9998,
    peer_ratio=1.03,
    peer_ratio_error=0.04,
    peer_agreement=0.999,
    extrapolation=0.97,
    networks=12,
    lineages=12,
    universality=1.0,
    constants=(Interval(1.0625, 1.05, 1.07, False), Interval(2.0, 1.99, 2.01, True)),
    note="chosen by the peer ratio",
)
NOTHING = EquationRecord(
    id="E2", feature="F2", title="feature F2", status="no_equation", target_name="F2", note="nothing passed"
)
AWKWARD = replace(GRAVITY, id="E3", title="again", expression=parse("-lambda*np + pi*m1/r_0"), variables=())
RECORDS = (GRAVITY, NOTHING, AWKWARD)

HOSTILE = (
    '"; import os; os.system("touch pwned")',
    "$x$ %",
    r"\input{/etc/passwd}",
    "<script>alert(1)</script>",
    '"""\nimport os\n"""',
    "'''\\",
    "a | b\n| c |",
    "=HYPERLINK(1)",
    "[a](javascript:x) `b`",
    "}\\end{document}",
    "\udc80\u202e\x00\x1b[31m",
    "lambda",
    "",
    "µ·ü",
    "*/ int x; /*",
    "**//**/ ??/",
)


def written(tmp_path: Path, records: tuple[EquationRecord, ...], format: str) -> bytes:
    path = tmp_path / "catalogue"
    export(records, format=format, path=path)
    assert list(tmp_path.iterdir()) == [path]
    return path.read_bytes()


def hostile(text: str) -> EquationRecord:
    return EquationRecord(
        id=text,
        feature=text,
        title=text,
        status=text,
        target_name=text,
        target_unit=text,
        expression=parse("-x"),
        variables=(Range("x", text, math.nan, math.inf),),
        note=text,
    )


def test_json_keeps_the_facts(tmp_path: Path) -> None:
    first, second, third = json.loads(written(tmp_path, RECORDS, "json"))
    assert parse(first["formula"]) == GRAVITY.expression
    assert first["variables"][2] == {"name": "r", "unit": "m", "low": 1.0, "high": 3.0}
    assert first["constants"][1] == {"value": 2.0, "low": 1.99, "high": 2.01, "snapped": True, "each": []}
    assert second["formula"] is None
    assert second["fidelity"] is None
    assert parse(third["formula"]) == AWKWARD.expression


def test_what_else_speaks_for_an_equation_is_written(tmp_path: Path) -> None:
    own = Interval(1.5, 1.0, 2.0, False, "c1", (1.4, 1.6))
    losses = {"loss_before": 0.001, "loss_with": 0.002, "loss_mean": 0.0015}
    record = replace(
        GRAVITY, linked=True, terms="F1, F2", stability=0.95, gradient_agreement=0.99, constants=(own,), **losses
    )
    (row,) = json.loads(written(tmp_path, [record], "json"))
    assert row["latex"].endswith(r"L(\frac{1.0625 m_{1} m_{2}}{r^{2}})") or " = L(" in row["latex"]
    assert (row["linked"], row["terms"], row["stability"], row["loss_with"]) == (True, "F1, F2", 0.95, 0.002)
    assert row["constants"][0]["each"] == [1.4, 1.6]
    text = written(tmp_path, [record], "markdown").decode()
    for words in (
        "stability 95%",
        "gradient agreement (mean cosine) 0.9900",
        "loss of the networks as they are, with the equation, with their consensus: 0.001, 0.002, 0.0015",
        "up to a monotone function of each network's own",
        "in terms of F1, F2",
        "every lineage has its own, 1.4 to 1.6",
    ):
        assert words in text


def test_csv_reads_back(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(written(tmp_path, RECORDS, "csv").decode())))
    assert parse(rows[0]["formula"]) == GRAVITY.expression
    assert float(rows[0]["fidelity"]) == GRAVITY.fidelity
    assert rows[0]["variables"] == "m1 [kg] 1 to 5; m2 [kg] 1 to 5; r [m] 1 to 3"
    assert rows[0]["constants"] == "1.0625 (1.05 to 1.07); 2 (1.99 to 2.01), stands as a simple number"
    assert rows[1]["fidelity"] == ""
    assert rows[2]["formula"].startswith("(-")
    assert parse(rows[2]["formula"]) == AWKWARD.expression


def test_parquet_reads_back(tmp_path: Path) -> None:
    rows = pq.read_table(io.BytesIO(written(tmp_path, RECORDS, "parquet"))).to_pylist()
    assert rows == json.loads(written(tmp_path, RECORDS, "json"))


def test_python_module_computes_the_same_values(tmp_path: Path) -> None:
    export(RECORDS, format="python", path=tmp_path / "laws.py")
    program = (
        "import json, laws, numpy as np\n"
        "x = np.linspace(1, 2, 5)\n"
        "assert laws.CATALOGUE['E2']['function'] is None\n"
        "assert laws.CATALOGUE['E1']['function'] is laws.F\n"
        "print(json.dumps([laws.F(m1=x, m2=2*x, r=3*x).tolist(), laws.F_E3(x, 2*x, 3*x, 4*x).tolist()]))\n"
        "print(laws.F.__doc__)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, _, rest = run.stdout.partition("\n")
    x = np.linspace(1, 2, 5)
    gravity = evaluate(parse("1.0625*m1*m2/r**2"), {"m1": x, "m2": 2 * x, "r": 3 * x})
    awkward = evaluate(parse("-x*2*x + pi*3*x/(4*x)"), {"x": x})
    np.testing.assert_allclose(json.loads(first), [gravity, awkward], rtol=1e-14)
    assert "m1: [kg] 1 to 5" in rest
    assert "peer ratio 1.03 +- 0.04" in rest


@pytest.mark.parametrize("format", ["python", "c"])
def test_comments_are_words_that_everyone_can_read(format: str, tmp_path: Path) -> None:
    told = written(tmp_path, (replace(GRAVITY, target_unit="m/s²", note="·/ ±"),), format).decode("ascii")
    comments = told.split("CATALOGUE")[0] if format == "c" else told.split("CATALOGUE = ")[0]
    assert "\\x" not in comments
    assert "fidelity (R^2 on the consensus) 0.9998" in comments
    assert "peer ratio 1.03 +- 0.04" in comments
    assert "[m/s^2]" in comments


@pytest.mark.parametrize("format", ["python", "c", "markdown", "latex"])
def test_constants_stand_where_their_names_are_told(format: str, tmp_path: Path) -> None:
    named = replace(GRAVITY, constants=(Interval(1.0625, 1.05, 1.07, False, "c1"),), skeleton="c1*m1*m2/r**2")
    told = written(tmp_path, (named,), format).decode().replace("\\", "")
    assert "with its numbers set free: F = c1*m1*m2/r**2" in told
    assert told.index("with its numbers set free") < told.index("constant c1 = 1.0625")


def test_python_module_imports_numpy_only(tmp_path: Path) -> None:
    tree = ast.parse(written(tmp_path, RECORDS, "python"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler is installed here")
def test_c_file_computes_the_same_values(tmp_path: Path) -> None:
    export(RECORDS, format="c", path=tmp_path / "laws.c")
    compile_c(tmp_path)
    laws = ctypes.CDLL(str(tmp_path / "laws.so"))
    laws.F.restype = laws.F_E3.restype = ctypes.c_double
    laws.F.argtypes, laws.F_E3.argtypes = [ctypes.c_double] * 3, [ctypes.c_double] * 4
    assert laws.F(2, 4, 2) == 2.125
    assert laws.F_E3(1, 2, 3, 4) == pytest.approx(-2 + math.pi * 3 / 4, rel=1e-14)
    text = (tmp_path / "laws.c").read_text()
    assert " * m1: [kg] 1 to 5" in text
    assert "/* E2: feature F2\n *\n * status: no_equation\n * nothing passed\n */" in text


def compile_c(folder: Path) -> None:
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    done = subprocess.run(["gcc", *flags, "-o", "laws.so", "laws.c", "-lm"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_markdown_shows_the_formula_and_the_evidence(tmp_path: Path) -> None:
    page = written(tmp_path, RECORDS, "markdown").decode()
    assert "| E1 | output F | equation | `1.0625*m1*m2/r**2` | 9 | 0.9998 | 1.03 ± 0.04 | 100% |" in page
    assert "```math\nF = \\frac{1.0625 m_{1} m_{2}}{r^{2}}\n```" in page
    assert "| E2 | feature F2 | no\\_equation |  |  |  |  |  |" in page
    assert "nan" not in page


def test_latex_holds_the_formula(tmp_path: Path) -> None:
    page = written(tmp_path, RECORDS, "latex").decode()
    assert "F = \\frac{1.0625 m_{1} m_{2}}{r^{2}}" in page
    assert "nan" not in page


def test_latex_knows_units_beyond_ascii(tmp_path: Path) -> None:
    page = written(tmp_path, (replace(NOTHING, note="µΩ·m⁻² ° ω ü 質 10_000 %"),), "latex").decode()
    assert "$\\mu$$\\Omega$$\\cdot$m$^{-}$$^{2}$ $^{\\circ}$ $\\omega$ ü ? 10\\_000 \\%" in page


@pytest.mark.parametrize("format", FORMATS)
def test_no_records_are_a_file_too(format: str, tmp_path: Path) -> None:
    assert written(tmp_path, (), format)


@pytest.mark.parametrize("text", HOSTILE)
class TestHostileNames:
    def test_python(self, text: str, tmp_path: Path) -> None:
        source = written(tmp_path, (hostile(text), hostile(text)), "python").decode("ascii")
        kinds = [type(node).__name__ for node in ast.parse(source).body]
        assert kinds == ["Expr", "Import", "FunctionDef", "FunctionDef", "Assign"]
        for function in ast.parse(source).body[2:4]:
            assert isinstance(function, ast.FunctionDef)
            assert [type(node).__name__ for node in function.body] == ["Expr", "Return"]

    def test_c(self, text: str, tmp_path: Path) -> None:
        source = written(tmp_path, (hostile(text), hostile(text)), "c").decode("ascii")
        bare = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
        assert re.fullmatch(r"\s*#include <math.h>\s*(double \w+\(double x\)\s*\{\s*return -x;\s*\}\s*){2}", bare)
        if shutil.which("gcc"):
            (tmp_path / "laws.c").write_text(source)
            compile_c(tmp_path)

    def test_latex(self, text: str, tmp_path: Path) -> None:
        page = written(tmp_path, (hostile(text),), "latex").decode()
        assert page.count("\\begin{document}") == page.count("\\end{document}") == 1
        assert "\\input" not in page
        bare = page.replace("\\{", "").replace("\\}", "")
        depth = 0
        for letter in bare:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            assert depth >= 0
        assert depth == 0

    def test_markdown(self, text: str, tmp_path: Path) -> None:
        page = written(tmp_path, (hostile(text),), "markdown").decode()
        assert "<" not in page
        assert "](" not in page
        (row,) = [line for line in page.splitlines() if "`-x`" in line]
        assert row.replace("\\|", "").count("|") == 9

    def test_csv(self, text: str, tmp_path: Path) -> None:
        rows = list(csv.reader(io.StringIO(written(tmp_path, (hostile(text),), "csv").decode())))
        assert len(rows) == 2
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in rows[1])

    def test_json_and_parquet(self, text: str, tmp_path: Path) -> None:
        (row,) = json.loads(written(tmp_path, (hostile(text),), "json"))
        assert row["variables"][0]["low"] is None
        assert pq.read_table(io.BytesIO(written(tmp_path, (hostile(text),), "parquet"))).to_pylist() == [row]


def test_unknown_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown format 'docx'") as error:
        export(RECORDS, format="docx", path=tmp_path / "x")
    assert "markdown, latex, json" in error.value.hint


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot write"):
        export(RECORDS, format="json", path=tmp_path)
