"""Source text compiles as it stands and computes what evaluate computes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_expressions import expressions_of

from consilience.analysis.formulas.expression import (
    Expression,
    constants,
    evaluate,
    with_constants,
)
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.printing_code import c_name, c_names, to_c
from consilience.zoo.errors import BadFormula

NAMES = ("x", "m1", "double")
SAMPLES = np.random.default_rng(1).uniform(-3, 3, (64, len(NAMES)))
COLUMNS = dict(zip(NAMES, SAMPLES.T, strict=True))
COMPILER = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed here")

expressions = expressions_of(NAMES)


def compiled(source: str, folder: Path) -> ctypes.CDLL:
    """Compile as C99 to the letter, every warning an error."""
    (folder / "laws.c").write_text(source)
    flags = [
        "-std=c99",
        "-pedantic",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-O1",
        "-ffp-contract=off",
    ]
    command = [str(COMPILER), *flags, "-shared", "-fPIC", "-o", "laws.so", "laws.c", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "laws.so"))


def called(function: Any, columns: Sequence[np.ndarray]) -> np.ndarray:
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * len(columns)
    return np.array([function(*row) for row in zip(*columns, strict=True)])


def steady(expression: Expression) -> np.ndarray:
    """Where rounding alone moves the value by less than 1e-13 of it, so that 1e-12 can be asked for."""
    moved = with_constants(expression, [value * (1 + 3e-15) for value in constants(expression)])
    columns = {name: column * (1 - 2e-15) for name, column in COLUMNS.items()}
    with np.errstate(all="ignore"):
        before, after = evaluate(expression, COLUMNS), evaluate(moved, columns)
        return ~(np.abs(after - before) > 1e-13 * np.abs(before))


@needs_compiler
@given(st.lists(expressions, min_size=60, max_size=60))
@settings(deadline=None, derandomize=True, max_examples=8)
def test_c_computes_the_same_values(tmp_path_factory: pytest.TempPathFactory, laws: list[Expression]) -> None:
    source = "\n".join(to_c(law, name=f"law{i}", arguments=NAMES) for i, law in enumerate(laws))
    library = compiled(f"#include <math.h>\n{source}", tmp_path_factory.mktemp("c"))
    for number, law in enumerate(laws):
        there = steady(law)
        found, expected = called(library[f"law{number}"], [*COLUMNS.values()]), evaluate(law, COLUMNS)
        np.testing.assert_allclose(found[there], expected[there], rtol=1e-12, err_msg=str(law))


@needs_compiler
@pytest.mark.parametrize(
    "text", ["1/2*x", "x - (-(-x))", "-x**2 + (-x)**2", "2**x**2", "abs(x)*pi", "1e22*x + 1e-7", "x/(x/2)*(1/3)"]
)
def test_c_keeps_whole_numbers_and_signs(text: str, tmp_path: Path) -> None:
    library = compiled(parse(text).c("y0"), tmp_path)
    x = np.linspace(0.5, 2, 9)
    np.testing.assert_allclose(called(library["y0_"], [x]), evaluate(parse(text), {"x": x}), rtol=1e-14)


@needs_compiler
def test_whatever_a_law_is_called_c_compiles(tmp_path: Path) -> None:
    names = [
        "y1",
        "exp",
        "gamma",
        "double",
        "M_PI",
        "isnan",
        "NAN",
        "main",
        "class",
        "unix",
        "y1_",
        "lambda",
        "9 a*/",
        "",
    ]
    law = parse("exp(y1) + gamma + NAN + unix")
    source = "\n".join(
        to_c(law, name=name, arguments=("y1", "gamma", "NAN", "unix", "exp", "M_PI"))
        for name in c_names(names).values()
    )
    compiled(f"#include <math.h>\n{source}", tmp_path)
    assert len(set(c_names(names).values())) == len(names)


def test_sources_are_whole() -> None:
    law = parse("1.0625*m1*m2/r**2")
    assert law.c("force") == (
        "#include <math.h>\n\ndouble force(double m1, double m2, double r)\n"
        "{\n    return 1.0625*m1*m2/pow(r, 2.0);\n}\n"
    )
    assert parse("2").c() == "#include <math.h>\n\ndouble law(void)\n{\n    return 2.0;\n}\n"
    namespace: dict[str, Callable[..., float]] = {}
    exec(law.python("force", ["r", "m1", "m2"]), namespace)
    assert namespace["force"](2.0, 2.0, 4.0) == 2.125


def test_names_that_c_reserves_get_an_underscore() -> None:
    assert [c_name(name) for name in ("r", "double", "y1", "sinf", "M_E", "force")] == [
        "r", "double_", "y1_", "sinf_", "M_E_", "force",
    ]  # fmt: skip


def test_arguments_must_hold_every_variable() -> None:
    with pytest.raises(BadFormula, match="no argument for y"):
        parse("x*y").c(arguments=["x"])
    with pytest.raises(BadFormula, match="no argument for x"):
        parse("x*y").python(arguments=["y"])
