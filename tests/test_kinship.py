"""Lineages as zoo.toml declares them and as the weights show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consilience.analysis.project.study import Study
from consilience.analysis.stages.kinship import Descendant, lineages_of
from consilience.zoo.manifest import Manifest, NetworksTable


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "zoo.toml", Manifest(name="kin", networks=(NetworksTable(path="*"),)))


def weights(seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "0.weight": draw.normal(size=(32, 8)).astype(np.float32),
        "0.bias": draw.normal(size=32).astype(np.float32),
        "2.weight": draw.normal(size=(1, 32)).astype(np.float32),
    }


def network(name: str, seed: int, *, declared: str | None = None, shift: float = 0.0) -> Descendant:
    own = weights(seed)
    moved = {key: (array + shift * weights(seed + 100)[key]).astype(np.float32) for key, array in own.items()}
    return Descendant(name, f"{seed}-{shift}", declared, moved, None)


def test_relatives_are_one_lineage_named_for_the_first(study: Study) -> None:
    named, kin = lineages_of(study, [network("a", 1), network("b", 2), network("c", 1), network("d", 2, shift=0.05)])
    assert named == {"a": "a", "b": "b", "c": "a", "d": "b"}
    assert [(edge.network, edge.relative, edge.counted) for edge in kin] == [("c", "a", True), ("d", "b", True)]
    assert all(edge.evidence for edge in kin)


def test_what_zoo_toml_says_stands_against_the_evidence(study: Study) -> None:
    found = [network("a", 1, declared="left"), network("b", 1, declared="right"), network("c", 2, declared="left")]
    named, kin = lineages_of(study, found)
    assert named == {"a": "left", "b": "right", "c": "left"}
    assert [edge.counted for edge in kin] == [False]


def test_names_that_strangers_gave_tensors_stay_on_one_line(study: Study) -> None:
    """The evidence names a tensor that two relatives share."""
    odd = {f"\x1b[2J\r\n{key}": array for key, array in weights(1).items()}
    other = odd | {"0.weight": weights(3)["0.weight"]}
    more = odd | {"0.weight": weights(4)["0.weight"], "1.weight": weights(5)["0.weight"]}
    found = [Descendant(name, name, None, tensors, None) for name, tensors in (("a", other), ("b", more))]
    _, (edge,) = lineages_of(study, found)
    assert "?[2J??0.weight" in edge.evidence
    assert edge.evidence.isprintable()


def test_an_undeclared_relative_joins_a_declared_lineage(study: Study) -> None:
    named, _ = lineages_of(study, [network("a", 1), network("b", 1, declared="ours"), network("c", 3)])
    assert named == {"a": "ours", "b": "ours", "c": "c"}


def test_comparing_again_is_free(study: Study) -> None:
    found = [network("a", 1), network("b", 1)]
    first = lineages_of(study, found)
    for kept in study.project.rglob("*.npz"):
        kept.unlink()
    assert lineages_of(study, found) == first
    assert not list(study.project.rglob("*.npz"))
