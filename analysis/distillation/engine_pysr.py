"""PySR as an engine: what it is asked, its front and its saved fronts, read as our own trees.

Importing pysr starts Julia, and fetches it where there is none: nothing here imports it before it is told to.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadFormula, MissingExtra, NotFound
from ..formulas.expression import FUNCTIONS, Apply, Constant, Expression, Variable, substitute, walk
from ..formulas.expression import variables as variables_of
from ..formulas.parsing import parse
from ..formulas.simplify import simplify

Columns = Mapping[str, Float[np.ndarray, " samples"]]

INNERMOST = ("sin", "cos", "tan", "exp", "log", "tanh")
"""Functions that are not nested in one another: laws have no sin(cos(exp(x)))."""

JULIA_FLOAT = re.compile(r"(?<=[\d.])f(?=[+-]?\d)")
HINT = 'use engine = "operon", or install Julia (https://julialang.org) and run again'


@dataclass(frozen=True, slots=True)
class Template:
    """An outer structure with unknown inner functions: names in `outer`, each of the variables it may use.

    >>> Template(parse("f*sin(x) + g"), {"f": ("y",), "g": ("x", "y")}).inner["f"]
    ('y',)
    """

    outer: Expression
    inner: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        absent = [name for name in self.inner if name not in variables_of(self.outer)]
        if absent or not self.inner:
            raise BadFormula(
                f"the template has no {', '.join(absent) or 'inner function'}",
                hint="name each inner function once in the outer structure",
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """How PySR searches: nodes at most, mini-batches, seconds at most, an outer structure.

    A limit in seconds makes results depend on the machine. With `fetch` Julia may be fetched where there is none.
    """

    maxsize: int = 30
    batching: bool = False
    seconds: float | None = None
    template: Template | None = None
    fetch: bool = False


def julia_at_hand() -> bool:
    """Tell whether PySR is installed and would find a Julia here; nothing is imported, run or fetched."""
    return importlib.util.find_spec("pysr") is not None and any(map(shutil.which, _julias()))


def _julias() -> Iterator[str]:
    """Say where juliapkg and juliacall look, in their order."""
    for name in ("JULIAPKG", "JULIACALL"):
        configured = sys._xoptions.get(f"{name.lower()}-exe") or os.environ.get(f"PYTHON_{name}_EXE")
        if isinstance(configured, str):
            yield configured
    depot = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)[0] or Path.home() / ".julia"
    prefixes = [prefix for prefix in (sys.prefix, os.environ.get("CONDA_PREFIX")) if prefix]
    projects = [os.environ.get("PYTHON_JULIAPKG_PROJECT"), *(Path(prefix) / "julia_env" for prefix in prefixes)]
    for project in (*projects, Path(depot) / "environments" / "pyjuliapkg"):
        if project:
            yield str(Path(project) / "pyjuliapkg" / "install" / "bin" / "julia")
    yield "julia"


def pysr(
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    alphabet: Sequence[str],
    evaluations: int,
    seed: int,
    guesses: Sequence[Expression] = (),
    settings: Settings = Settings(),
) -> list[Expression]:
    """Search with PySR (Cranmer 2023, arXiv 2305.01582), deterministic and serial.

    Guesses that its operators can write join the search; all of them join the front. Raises MissingExtra where
    there is no Julia: before anything is imported, unless it may be fetched.
    """
    module = _import(fetch=settings.fetch)
    scale = float(np.abs(values).max()) or 1.0
    names = {name: f"v{place}" for place, name in enumerate(columns)}
    template = settings.template and _short(settings.template, names, scale)
    asked = _arguments(alphabet, evaluations, seed, settings)
    if template:
        asked["expression_spec"] = module.TemplateExpressionSpec(**_julia_template(template, list(names.values())))
    else:
        asked["guesses"] = _guessed([guess / scale for guess in guesses], alphabet, names)
    with tempfile.TemporaryDirectory() as folder:
        regressor = module.PySRRegressor(**asked, output_directory=folder, run_id="search")
        regressor.fit(np.column_stack(list(columns.values())), values / scale, variable_names=list(names.values()))
        equations = list(regressor.equations_["equation"])
    back: dict[str, Expression] = {short: Variable(name) for name, short in names.items()}
    found = [from_pysr(equation, back, template) for equation in equations]
    return [simplify(Constant(scale) * expression) for expression in found] + list(guesses)


def _arguments(alphabet: Sequence[str], evaluations: int, seed: int, settings: Settings) -> dict[str, Any]:
    nested = [name for name in INNERMOST if name in alphabet]
    return {
        "model_selection": "accuracy",
        "binary_operators": ["+", "-", "*", "/", *(["^"] if "pow" in alphabet else [])],
        "unary_operators": [name for name in alphabet if name != "pow"],
        "constraints": {"^": (-1, 1)} if "pow" in alphabet else None,
        "nested_constraints": {outer: dict.fromkeys(nested, 0) for outer in nested} or None,
        "max_evals": evaluations,
        "niterations": 1_000_000,
        "timeout_in_seconds": settings.seconds,
        "maxsize": settings.maxsize,
        "batching": settings.batching,
        "precision": 64,
        "deterministic": True,
        "parallelism": "serial",
        "random_state": seed % 2**32,
        "progress": False,
        "verbosity": 0,
        "input_stream": "devnull",
    }


def _import(*, fetch: bool) -> Any:
    offline = os.environ.get("PYTHON_JULIAPKG_OFFLINE") == "yes"
    if not julia_at_hand() and (offline or not fetch):
        raise MissingExtra("there is no Julia here for PySR" + ", and it may not be fetched" * offline, hint=HINT)
    try:
        return importlib.import_module("pysr")
    except Exception as error:  # juliapkg raises whatever its download raised
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise MissingExtra(f"PySR cannot start Julia: {reason[:200]}", hint=HINT) from None


# Our trees as PySR reads them


def to_julia(expression: Expression, names: Mapping[str, str], *, square: str = "({} ^ 2.0)") -> str:
    """Write an expression as Julia text; `names` say what stands for a variable, `square` how squares are written."""
    match expression:
        case Constant(value):
            return f"({value!r})" if value < 0 else repr(value)
        case Variable(name):
            return names[name]
        case Apply("neg", (inner,)):
            return f"((-1.0) * {to_julia(inner, names, square=square)})"
        case Apply("pow", (base, Constant(2.0))):
            return square.format(to_julia(base, names, square=square))
        case Apply(function, arguments):
            written = [to_julia(argument, names, square=square) for argument in arguments]
            infix = {"pow": "^"}.get(function, FUNCTIONS[function].infix)
            return f"({written[0]} {infix} {written[1]})" if infix else f"{function}({written[0]})"


def _guessed(guesses: Sequence[Expression], alphabet: Sequence[str], names: Mapping[str, str]) -> list[str] | None:
    """Write the guesses that the search's own operators can write."""
    known = {"add", "sub", "mul", "div", "neg", *alphabet}
    written = [
        to_julia(guess, names, square="square({})")
        for guess in map(simplify, guesses)
        if {_operator(node) for node in walk(guess) if isinstance(node, Apply)} <= known
    ]
    return written or None


def _operator(node: Apply) -> str:
    squared = node.function == "pow" and node.arguments[1] == Constant(2.0)
    return "square" if squared else node.function


def _short(template: Template, names: Mapping[str, str], scale: float) -> Template:
    """Give a template for scaled values, in PySR's variables, with inner functions f0, f1 …"""
    functions = {name: f"f{place}" for place, name in enumerate(template.inner)}
    renaming = {name: Variable(short) for name, short in {**names, **functions}.items()}
    inner = {functions[name]: tuple(names[one] for one in used) for name, used in template.inner.items()}
    return Template(substitute(template.outer, renaming) / scale, inner)


def _julia_template(template: Template, shorts: Sequence[str]) -> dict[str, Any]:
    calls = {name: f"{name}({', '.join(used)})" for name, used in template.inner.items()}
    text = to_julia(template.outer, dict(zip(shorts, shorts, strict=True)) | calls)
    return {"combine": text, "expressions": list(calls), "variable_names": list(shorts)}


# What PySR writes, as our trees


def from_pysr(equation: str, names: Mapping[str, Expression], template: Template | None = None) -> Expression:
    """Read an equation as PySR writes it in our own tree and the caller's variables.

    Powers are written `^`, numbers perhaps 1.5f-3, the inner functions of a template `f = #1 + 2.0; g = …`, where
    #1 is their first argument. Raises BadFormula for functions that we have not.
    """
    if template is None:
        return simplify(substitute(_parsed(equation), names))
    inner = dict(part.split(" = ", 1) for part in equation.split("; ") if " = " in part)
    filled = {
        name: substitute(_parsed(inner.get(name, "")), {_argument(place): Variable(used) for place, used in numbered})
        for name, numbered in ((name, list(enumerate(used, 1))) for name, used in template.inner.items())
    }
    return simplify(substitute(substitute(template.outer, filled), names))


def _parsed(text: str) -> Expression:
    plain = JULIA_FLOAT.sub("e", text).replace("^", "**")
    return parse(re.sub(r"#(\d+)", lambda place: _argument(int(place[1])), plain))


def _argument(place: int) -> str:
    return f"argument_{place}"


def saved_front(folder: Path, *, template: Template | None = None) -> list[Expression]:
    """Read the front that PySR saved in the folder of a run, in the variables that it was given.

    Only the table is read, the backup first, as `PySRRegressor.from_file` does; never checkpoint.pkl, which is a
    pickle and would run what it holds. Raises NotFound where there is no table.
    """
    for name in ("hall_of_fame.csv.bak", "hall_of_fame.csv"):
        if (folder / name).is_file():
            with open(folder / name, encoding="utf-8", newline="") as table:
                return [from_pysr(row["Equation"], {}, template) for row in csv.DictReader(table)]
    raise NotFound(f"no hall_of_fame.csv in {folder}", hint="name the folder of one run: outputs/RUN")
