"""PySR up to the border of Julia: its Python side runs for real, with juliacall stood in for, in a process of its own.

No table of equations here comes from a search by PySR: those that stand here are written by hand in its format.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilience.analysis.distillation.engine_pysr import (
    Settings,
    Template,
    from_pysr,
    julia_at_hand,
    pysr,
    saved_front,
    to_julia,
)
from consilience.analysis.formulas.expression import Constant, Expression, Variable, evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.zoo.errors import BadFormula, MissingExtra, NotFound

COLUMNS = dict(zip(("mass", "v"), np.random.default_rng(0).uniform(1.0, 3.0, size=(2, 50)), strict=True))
WRITTEN = """Complexity,Loss,Equation
1,4.0e-1,"0.51"
4,2.5e-2,"square(v0) * 1.5f-1"
9,1.0e-9,"(v0 ^ 2.0) / exp(v1 * -0.25) + sqrt(v1)"
"""
START = """
import json, sys, warnings
sys.path.insert(0, {tests!r})
import fake_julia
fake_julia.stand_in()
warnings.simplefilter("ignore")
import numpy as np
from consilience.analysis.distillation.engine_pysr import *
from consilience.analysis.distillation.engine_pysr import _arguments
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.printing import to_text
columns = dict(mass=np.linspace(1, 2, 20), v=np.linspace(2, 3, 20))
def ask(alphabet, **named):
    settings = Settings(fetch=True, **named.pop("settings", {{}}))
    try:
        pysr(columns, 2 * columns["v"], alphabet=alphabet, evaluations=1000, seed=3, settings=settings, **named)
    except fake_julia.NeedsJulia:
        return fake_julia.ASKED
"""


def run(tmp_path: Path, source: str) -> Any:
    """Run a program beside PySR's real Python side; it prints JSON."""
    program = START.format(tests=str(Path(__file__).parent)) + source
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def without_julia(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PATH", "JULIA_DEPOT_PATH", "PYTHON_JULIAPKG_PROJECT", "CONDA_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("PYTHON_JULIAPKG_EXE", "PYTHON_JULIACALL_EXE", "PYTHON_JULIAPKG_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What PySR's Python side handed to Julia, and how it read saved fronts; all in one process, for speed."""
    return run(
        tmp_path_factory.mktemp("pysr"),
        f"""
from pathlib import Path
from pysr import PySRRegressor

settings = dict(maxsize=22, seconds=12.5, batching=True)
asked = dict(ask(("sqrt", "square", "exp", "log", "pow"), settings=settings))
data, search, options = asked["data"], asked["search"], asked["options"]
kept = ("maxsize", "timeout_in_seconds", "batching", "deterministic", "max_evals", "seed")
told = dict(
    arguments={{name: options[name] for name in kept}}, nested=str(options["nested_constraints"]),
    power=asked["Main.Dict 2"][-1], parallelism=search["parallelism"], names=search["variable_names"],
    shape=data[0].shape, kind=str(data[0].dtype), largest=data[1].max(), unguessed=search["guesses"],
)
told["again"] = ask(("exp",))["options"]["seed"]
guesses = [parse("12*mass*v**2 - 6"), parse("tan(v)"), parse("sqrt(v)")]
told["guesses"] = ask(("sqrt", "square"), guesses=guesses)["search"]["guesses"]
template = Template(parse("f*sin(mass) + g**2"), {{"f": ("v",), "g": ("mass", "v")}})
told["template"] = str(ask(("sqrt",), settings=dict(template=template))["options"]["expression_spec"])

alphabet, folder = ("square", "exp", "sqrt"), Path("outputs")
regressor = PySRRegressor(**_arguments(alphabet, 1000, 3, Settings()), output_directory="outputs", run_id="cut")
points = np.column_stack([*columns.values()])
try:
    regressor.fit(points, columns["v"], variable_names=["v0", "v1"])
except fake_julia.NeedsJulia:
    pass
assert (folder / "cut" / "checkpoint.pkl").is_file()
(folder / "lost").mkdir()
for run in ("cut", "lost"):
    (folder / run / "hall_of_fame.csv").write_text({WRITTEN!r})
loaded = dict(cut=PySRRegressor.from_file(run_directory=folder / "cut"), lost=PySRRegressor.from_file(
    run_directory=folder / "lost", binary_operators=["+", "-", "*", "/", "^"], unary_operators=[*alphabet],
    n_features_in=2, feature_names_in=["v0", "v1"]))
told["saved"] = {{run: dict(
    folder=str((folder / run).absolute()), equations=[*map(str, one.equations_["equation"])],
    values=[[*f(points)] for f in one.equations_["lambda_format"]]) for run, one in loaded.items()}}
print(json.dumps(told))
""",
    )


def test_every_argument_passes_pysrs_own_checks(told: Any) -> None:
    seed = told["arguments"].pop("seed")
    assert seed == told["again"]  # one seed of ours is one of Julia's
    assert told["arguments"] == {
        "maxsize": 22,
        "timeout_in_seconds": 12.5,
        "batching": True,
        "deterministic": True,
        "max_evals": 1000,
    }
    assert told["parallelism"] == "serial"
    assert told["power"] == [-1, 1]
    assert told["nested"].startswith("Dict((exp) => Dict((exp) => 0, (log) => 0, ), (log) =>")


def test_data_go_in_double_precision_and_at_one_scale(told: Any) -> None:
    assert (told["shape"], told["kind"], told["largest"]) == ([2, 20], "float64", 1.0)
    assert told["names"] == ["v0", "v1"]
    assert told["unguessed"] is None


def test_guesses_are_handed_over_in_the_operators_of_the_search(told: Any) -> None:
    scale = 6.0  # the largest of the values, which PySR gets as 1
    found = [from_pysr(text, {"v0": Variable("mass"), "v1": Variable("v")}) for text in told["guesses"][0]]
    expected = [parse("12*mass*v**2 - 6"), parse("sqrt(v)")]  # the search has no tan
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(scale * evaluate(one, COLUMNS), evaluate(other, COLUMNS))


def test_templates_become_pysrs_own(told: Any) -> None:
    assert told["template"].split("\n")[1:3] == [
        "@template_spec(expressions=(f0, f1,),) do v0, v1",
        "    (((f0(v1) * sin(v0)) + (f1(v0, v1) ^ 2.0)) / 6.0)",
    ]


@pytest.mark.parametrize("run_name", ["cut", "lost"])
def test_saved_fronts_read_as_from_file_reads_them(told: Any, run_name: str) -> None:
    """`cut` has the checkpoint that PySR wrote before it called Julia, `lost` the table alone."""
    points = {"v0": np.linspace(1, 2, 20), "v1": np.linspace(2, 3, 20)}
    theirs = told["saved"][run_name]
    ours = saved_front(Path(theirs["folder"]))
    assert ours == [from_pysr(text, {}) for text in theirs["equations"]]
    for expression, expected in zip(ours, theirs["values"], strict=True):
        assert np.allclose(evaluate(expression, points), expected)


def test_a_saved_front_is_read_without_its_pickle(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pkl").write_bytes(b"cos\nabort\n(tR.")  # would end this process
    (tmp_path / "hall_of_fame.csv.bak").write_text(WRITTEN)
    assert len(saved_front(tmp_path)) == 3
    assert "pysr" not in sys.modules


def test_a_saved_front_of_a_template_is_filled_in(tmp_path: Path) -> None:
    written = 'Complexity,Loss,Equation\n5,0.1,"f = #1 * 2.0; g = sqrt(#2) - #1"\n'
    (tmp_path / "hall_of_fame.csv").write_text(written)
    template = Template(parse("f*sin(mass) + g**2"), {"f": ("v",), "g": ("mass", "v")})
    (found,) = saved_front(tmp_path, template=template)
    expected = parse("2*v*sin(mass) + (sqrt(v) - mass)**2")
    assert np.allclose(evaluate(found, COLUMNS), evaluate(expected, COLUMNS))


def test_no_saved_front_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no hall_of_fame\.csv") as caught:
        saved_front(tmp_path)
    assert "outputs/RUN" in caught.value.hint


def test_a_template_without_its_function_is_refused() -> None:
    with pytest.raises(BadFormula, match="the template has no g"):
        Template(parse("f*sin(mass)"), {"f": ("mass",), "g": ("v",)})


@pytest.mark.parametrize("text", ["a*b**2 - 3", "-exp(-a/b)", "abs(a - b)**1.5", "sin(a)/cos(-2.5*b)"])
def test_julia_text_reads_back(text: str) -> None:
    names = {"a": "v0", "b": "v1"}
    columns = dict(zip("ab", COLUMNS.values(), strict=True))
    back: dict[str, Expression] = {short: Variable(name) for name, short in names.items()}
    for square in ("square({})", "({} ^ 2.0)"):
        found = from_pysr(to_julia(parse(text), names, square=square), back)
        assert np.allclose(evaluate(found, columns), evaluate(parse(text), columns))


def test_numbers_of_julia_are_numbers() -> None:
    assert from_pysr("1.5f-3", {}) == Constant(1.5e-3)
    assert from_pysr("f * 2.0", {"f": Variable("force")}) == from_pysr("2.0 * force", {})


@pytest.mark.usefixtures("without_julia")
def test_no_julia_is_said_before_anything_is_imported() -> None:
    assert not julia_at_hand()
    with pytest.raises(MissingExtra, match="there is no Julia here") as caught:
        pysr(COLUMNS, COLUMNS["v"], alphabet=("exp",), evaluations=1000, seed=0)
    assert "operon" in caught.value.hint
    assert "pysr" not in sys.modules


@pytest.mark.usefixtures("without_julia")
def test_offline_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_JULIAPKG_OFFLINE", "yes")
    with pytest.raises(MissingExtra, match="may not be fetched"):
        pysr(COLUMNS, COLUMNS["v"], alphabet=(), evaluations=1000, seed=0, settings=Settings(fetch=True))
    assert "pysr" not in sys.modules


def test_a_failed_fetch_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> None:
        raise OSError("no route to the download\nand a long trace")

    monkeypatch.setattr("importlib.import_module", unreachable)
    with pytest.raises(MissingExtra, match=r"cannot start Julia: no route to the download$") as caught:
        pysr(COLUMNS, COLUMNS["v"], alphabet=("exp",), evaluations=1000, seed=0, settings=Settings(fetch=True))
    assert "operon" in caught.value.hint


@pytest.mark.usefixtures("without_julia")
@pytest.mark.parametrize("place", ["PYTHON_JULIAPKG_EXE", "path", "project"])
def test_julia_is_found_where_juliapkg_would_look(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("pyjuliapkg/install/bin" if place == "project" else ".")
    folder.mkdir(parents=True, exist_ok=True)
    julia = folder / ("elsewhere" if place.startswith("PYTHON") else "julia")
    julia.write_text("#!/bin/sh\n")
    julia.chmod(0o755)
    if place.startswith("PYTHON"):
        assert not julia_at_hand()
        monkeypatch.setenv(place, str(julia))
    assert julia_at_hand()


@pytest.mark.slow
@pytest.mark.skipif(not julia_at_hand(), reason="no Julia here: PySR's searches cannot run")
def test_pysr_finds_a_product() -> None:
    values = 2.0 * COLUMNS["mass"] * COLUMNS["v"]
    found = pysr(COLUMNS, values, alphabet=("sqrt",), evaluations=20_000, seed=1)
    assert any(np.allclose(evaluate(expression, COLUMNS), values, rtol=1e-3) for expression in found)
