"""The README promises only what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from consilience.zoo.manifest import check_manifest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROGRAM = Path(sys.executable).parent / "consilience"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = re.findall(r"^ {4}consilience (.+?)(?:\s{2,}#.*)?$", README, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_every_command_of_the_readme_exists_with_its_options() -> None:
    assert len(commands()) >= 8
    for command, *arguments in commands():
        said = subprocess.run([PROGRAM, command, "--help"], capture_output=True, text=True, check=True).stdout
        for option in (argument.split("=")[0] for argument in arguments if argument.startswith("-")):
            assert option in said, (command, option)


def test_the_manifest_of_the_readme_is_valid() -> None:
    (text,) = blocks("toml")
    manifest = check_manifest(tomllib.loads(text), path=Path("README.md"))
    assert manifest.distil.variables == ("vx", "vy", "height")


def test_files_that_the_readme_points_to_are_there() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_arrays_are_aligned_as_the_readme_says(tmp_path: Path) -> None:
    _, _, code = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "1.0"
    assert done.stdout.splitlines()[2] == "40 40"


@pytest.mark.slow
def test_functions_are_distilled_as_the_readme_says(tmp_path: Path) -> None:
    _, code, _ = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("force = m1*m2/r**2\n")
    assert "double force(double m1, double m2, double r)" in done.stdout
    assert "peer ratio" in done.stdout
    assert done.stdout.splitlines()[-1] == "[1.]"


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    code, _, _ = blocks("python")
    code = code.replace("laws.py", str(tmp_path / "laws.py"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("force = m1*m2/r**2")
    assert (tmp_path / "laws.py").exists()
