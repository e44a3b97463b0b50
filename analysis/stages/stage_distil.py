"""Distil: query the networks for what a feature does, and write it as an equation with its evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ...zoo.errors import BadInput
from ...zoo.manifest import DistilTable
from ...zoo.store import content_key, write_atomically
from ..distillation.distil import distil
from ..distillation.distil_evidence import weigh
from ..distillation.search import resolve
from ..project.study import Progress, Study, versions
from .distil_choice import Asked, budgeted, choose, identifier
from .distil_index import index
from .distil_result import plain
from .distil_target import Terms, make_target, terms_of
from .families import is_family
from .ground import Ground, ground_of
from .inner import ground_within
from .stage_cluster import EQUATION_TABLES, Clustered, Feature, cluster
from .stage_probe import Observed
from .substitute import Substitution, substitute
from .witness import Witness, witness

VERSION = "distil-10"
LESS = {"thorough": "normal", "normal": "quick", "quick": "quick"}
"""The budget of hidden features that nobody asked for by name: there may be many of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One thing to distil: a feature in its ground, what its members say there, and in terms of what."""

    feature: Feature
    ground: Ground
    said: Witness
    terms: Terms
    linked: bool

    @property
    def title(self) -> str:
        """Name the feature for people."""
        named = self.feature.name if self.feature.number else ""
        return f"{identifier(self.feature)} {named}".strip()


def distil_features(study: Study, asked: Asked | None = None) -> tuple[str, ...]:
    """Distil the outputs and the features above the nulls, or those asked for, into equations.

    What was distilled before with the same networks, probe and settings is kept. Returns the identifiers of
    the equations. Raises NotFound for a feature, unit, module or variable that is not there, and BadInput for what
    no variables describe.
    """
    asked = asked or Asked()
    found = cluster(study)
    networks = {seen.network.name: seen for seen in found.observed}
    chosen = choose(study, found.features, {name: seen.network for name, seen in networks.items()}, asked)
    _demand_described(chosen, asked)
    made = []
    for feature in study.each("distil", chosen, name=lambda feature: identifier(feature)):
        subject = _subject(study, feature, found, networks, asked)
        made.append(_distil(study, subject, found, networks, asked))
    if asked == Asked():
        _forget_others(study, made, len(found.features))
    return tuple(made)


def _forget_others(study: Study, made: Sequence[str], known: int) -> None:
    """Leave what was made, and equations that were asked for in other terms or about single units."""
    with study.writing() as catalogue:
        extra = [
            row["equation"]
            for row in catalogue.select("equations")
            if row["number"] > known or is_family(row["feature"])
        ]
        catalogue.keep_only("equation", [*made, *extra], EQUATION_TABLES)
        catalogue.mark("zoo", "whole", study.key, versions())


def _demand_described(features: Sequence[Feature], asked: Asked) -> None:
    """Refuse what has no variables in which an equation could be written."""
    for feature in features:
        if feature.positions > 1 and not asked.inner:
            raise BadInput(
                f"{identifier(feature)} is a map over the positions of a row, which the variables do not describe",
                hint="distil outputs and dense features, or add --inner MODULE: in terms of what a module is given",
            )


def _subject(
    study: Study, feature: Feature, found: Clustered, networks: Mapping[str, Observed], asked: Asked
) -> Subject:
    first = feature.members[0].network
    ground = ground_within(study, networks, asked.inner, first=first) if asked.inner else ground_of(study, networks)
    return Subject(
        feature,
        ground,
        witness(feature, ground, device=study.device),
        terms_of(study, feature, found.features, ground, asked),
        asked.linked or any(output.linked for output in study.manifest.outputs if output.name == feature.name),
    )


def _distil(study: Study, subject: Subject, found: Clustered, networks: Mapping[str, Observed], asked: Asked) -> str:
    """Distil one feature, or take what is kept; a result of the full budget stands for one of the quick."""
    settings = study.manifest.distil
    whole, less = budgeted(settings, settings.budget), budgeted(settings, LESS[settings.budget])
    deep = asked.named or subject.feature.role == "output"
    key = _key(study, subject, whole, networks, asked)
    if not deep and not _file(study, key).exists():
        key = _key(study, subject, less, networks, asked)
    file = _file(study, key)
    if not file.exists():
        with threadpool_limits(1):  # the searches fill the processors, and sums stay in one order
            result = _work(study, subject, whole if deep else less, networks, whole=not asked.inner)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(result, allow_nan=True))
    result = json.loads(file.read_text())
    return index(study, subject.feature, asked.terms_told, key, result, known=len(found.features))


def _key(study: Study, subject: Subject, settings: DistilTable, networks: Mapping[str, Observed], asked: Asked) -> str:
    feature = subject.feature
    return content_key(
        VERSION,
        [
            (networks[m.network].key, m.layer, m.unit, m.sign, m.weights, networks[m.network].network.lineage)
            for m in feature.members
        ],
        (feature.role, bool(feature.name), subject.linked),
        (asked.inner, subject.ground.key),
        (subject.terms.variables, subject.terms.key),
        settings.model_dump(mode="json", exclude={"features", "outputs", "inner", "variables"}),
        study.manifest.seed,
    )


def _file(study: Study, key: str) -> Path:
    return study.store.result_path("distil", key, ".json")


def _work(
    study: Study, subject: Subject, settings: DistilTable, networks: Mapping[str, Observed], *, whole: bool
) -> dict[str, Any]:
    """Distil, weigh what came out, and put it into the networks; of parts of networks this is not asked."""

    def tell(step: str) -> None:
        study.report(Progress("distil", f"{subject.title}: {step}", 0, 0))

    feature, seed = subject.feature, study.manifest.seed
    name, said = feature.name or feature.id, subject.said
    target, effects = make_target(study, name, said, subject.ground, subject.terms, settings, linked=subject.linked)
    found = distil(
        target,
        engine=resolve(settings.engine),
        restarts=settings.restarts,
        evaluations=settings.evaluations,
        seed=seed,
        progress=tell,
    )
    found, support = weigh(found, target, seed=seed, progress=tell)
    replaced: tuple[Substitution, ...] = ()
    if whole and found.status != "no_equation":
        tell("substitution")
        sample = target.held_out
        replaced = substitute(
            feature,
            networks,
            sample.inputs,
            expression=found.chosen.expression,
            columns=sample.columns,
            values=sample.values,
            linked=subject.linked,
            device=study.device,
        )
    return plain(found, support, lineages=said.lineages, effects=effects, substitutions=replaced, linked=subject.linked)
