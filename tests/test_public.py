"""What `import consilience` promises, and what a wheel of it holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import consilience

ROOT = Path(__file__).parents[1]
NAMES = [
    "ConsilienceError",
    "EquationRecord",
    "Expression",
    "Law",
    "Study",
    "align",
    "barrier",
    "check",
    "cluster",
    "describe",
    "distil",
    "equations",
    "exact",
    "export_equations",
    "features",
    "ingest",
    "merge",
    "networks",
    "open_study",
    "parse",
    "plot",
    "probe",
    "query",
    "run",
]


def test_the_public_names():
    assert consilience.__all__ == NAMES
    assert dir(consilience) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(consilience, name).__doc__


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = consilience.nonsense


def test_importing_it_imports_nothing_heavy():
    code = "import consilience, sys; print([m for m in ('torch', 'numpy', 'duckdb', 'sympy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_errors_and_manifests_need_no_arrays():
    code = (
        "import consilience.zoo.errors, consilience.zoo.manifest, sys\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_the_wheel_holds_everything_and_nothing_else(tmp_path):
    keep = ("pyproject.toml", "README.md", "LICENSE", "consilience", "zoo", "analysis", "cli", "tests", "data")
    for name in keep:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns(".consilience"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("zoo", "analysis", "cli"):
        for file in (ROOT / folder).glob("*.py"):
            assert f"consilience/{folder}/{file.name}" in held
    assert {"consilience/__init__.py", "consilience/py.typed"} <= held
    assert {name.split("/")[0] for name in held} == {"consilience", "consilience-0.1.0.dist-info"}
