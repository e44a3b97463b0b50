"""Which networks of a zoo descend from one another: only lineages are independent witnesses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...zoo.errors import one_line
from ...zoo.fingerprint import Fingerprint, fingerprint, read_fingerprint, write_fingerprint
from ...zoo.lineage import Kinship, kinships, lineages
from ...zoo.store import content_key, write_atomically
from ..project.study import Study

VERSION = "lineage-1"


@dataclass(frozen=True, slots=True, eq=False)
class Descendant:
    """A network as its weights show it: the key of its content, its declared lineage, its weights.

    `sketch` is the file of its fingerprint, or None where it has to be taken from the weights.
    """

    name: str
    key: str
    declared: str | None
    weights: Mapping[str, np.ndarray]
    sketch: Path | None


@dataclass(frozen=True, slots=True)
class Kin:
    """A kinship by name; `counted` unless zoo.toml declares the two of different lineage."""

    network: str
    relative: str
    relation: str
    similarity: float
    evidence: str
    counted: bool


def lineages_of(study: Study, found: Sequence[Descendant]) -> tuple[dict[str, str], tuple[Kin, ...]]:
    """Find the lineage of every network, named for its first member or as zoo.toml declares it, and the kinships.

    What zoo.toml declares stands, also against the evidence; networks it says nothing of join their relatives.
    """
    edges = _kinships(study, found)
    counted = [edge for edge in edges if not _contradicts(found[edge.left], found[edge.right])]
    first = lineages(len(found), _declared(found) + tuple(counted))
    groups: dict[int, str] = {}
    for item, start in zip(found, first, strict=True):
        if item.declared is not None:
            groups.setdefault(start, item.declared)
    named = {
        item.name: item.declared or groups.get(start, found[start].name)
        for item, start in zip(found, first, strict=True)
    }
    kin = tuple(
        Kin(found[e.right].name, found[e.left].name, e.relation, e.similarity, one_line(e.evidence), e in counted)
        for e in edges
    )
    return named, kin


def _contradicts(left: Descendant, right: Descendant) -> bool:
    return left.declared is not None and right.declared is not None and left.declared != right.declared


def _declared(found: Sequence[Descendant]) -> tuple[Kinship, ...]:
    """Tie the networks together that zoo.toml declares to be of one lineage."""
    first: dict[str, int] = {}
    return tuple(
        Kinship(first.setdefault(item.declared, number), number, "declared", 1.0, "zoo.toml says so")
        for number, item in enumerate(found)
        if item.declared is not None and first.setdefault(item.declared, number) != number
    )


def _kinships(study: Study, found: Sequence[Descendant]) -> tuple[Kinship, ...]:
    """Compare the weights of all networks, or take what is kept from comparing the same ones before."""
    file = study.store.result_path("lineage", content_key(VERSION, [item.key for item in found]), ".json")
    if not file.exists():
        edges = kinships([_fingerprint(study, item) for item in found], lambda number: found[number].weights)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps([asdict(edge) for edge in edges]))
    return tuple(Kinship(**edge) for edge in json.loads(file.read_text()))


def _fingerprint(study: Study, item: Descendant) -> Fingerprint:
    if item.sketch is not None:
        return read_fingerprint(item.sketch)
    file = study.store.result_path("fingerprint", content_key(VERSION, item.key), ".npz")
    if not file.exists():
        with write_atomically(file) as temporary:
            write_fingerprint(temporary, fingerprint(item.weights))
    return read_fingerprint(file)
