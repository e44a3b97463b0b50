"""The same seed gives the same catalogue, however many processors there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consilience.analysis.stages.run import cluster

GRAVITY = Path(__file__).parents[1] / "data" / "gravity"
DISTIL = """
import os, sys
os.sched_setaffinity(0, {{*sorted(os.sched_getaffinity(0))[:{workers}]}})
import consilience
consilience.distil({folder!r}, only=["force"])
consilience.distil({folder!r}, only=["force"], variables=["m1", "m2"])
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors to choose"
)
def test_one_worker_and_two_give_the_same_catalogue(
    tmp_path: Path, catalogue_of: Callable[[Path], dict[str, list[str]]]
) -> None:
    first = shutil.copytree(GRAVITY, tmp_path / "1" / "gravity", ignore=shutil.ignore_patterns(".consilience"))
    with (first / "zoo.toml").open("a") as file:
        file.write("\n[distil]\nrestarts = 3\nevaluations = 4000\nsamples = 128\n")
    cluster(first)
    second = shutil.copytree(first, tmp_path / "2" / "gravity")
    for workers, folder in ((1, first), (2, second)):
        program = DISTIL.format(workers=workers, folder=str(folder))
        subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    one, two = catalogue_of(first), catalogue_of(second)
    assert any("m1*m2/r**2" in row for row in one["equations"])
    assert len(one["equations"]) == 2
    assert one == two
