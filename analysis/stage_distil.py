"""Distil: query the networks for what a feature does, and write it as an equation with its evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from ..zoo.errors import BadInput, NotFound
from ..zoo.manifest import DistilTable
from ..zoo.network import record
from ..zoo.store import content_key, write_atomically
from .consensus import consensus, disagreement, relevance
from .distil import Distillation, distil
from .expression import evaluate, variables
from .judge import Candidate
from .parsing import parse
from .search import ENGINES
from .stage_cluster import EQUATION_TABLES, Feature, Member, cluster
from .stage_probe import Observed
from .study import Progress, Study, versions
from .target import Sample, Target

VERSION = "distil-7"

Columns = Mapping[str, Float[np.ndarray, " samples"]]


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """The functions of a feature's members, one for each lineage: rows in, lineages × samples out."""

    study: Study
    feature: Feature
    networks: Mapping[str, Observed]

    @property
    def lineages(self) -> tuple[str, ...]:
        """The lineages that have the feature, in the order of their networks."""
        return tuple(dict.fromkeys(self.networks[m.network].network.lineage for m in self.feature.members))

    def __call__(self, rows: Float[np.ndarray, "samples inputs"]) -> Float[np.ndarray, "lineages samples"]:
        """Ask every member; members of one lineage are averaged.

        Outputs that zoo.toml names keep their physical unit. Everything else, of which each network may have
        a scale of its own, is standardised by its moments on the probe and turned to the feature's sign.
        """
        votes: dict[str, list[np.ndarray]] = {lineage: [] for lineage in self.lineages}
        for member in self.feature.members:
            lineage = self.networks[member.network].network.lineage
            votes[lineage].append(self._ask(member, rows).astype(np.float64))
        return np.stack([np.mean(values, axis=0) for values in votes.values()])

    def _ask(self, member: Member, rows: Float[np.ndarray, "samples inputs"]) -> Float[np.ndarray, " samples"]:
        seen = self.networks[member.network]
        layer = next(layer for layer in seen.network.layers if layer.name == member.layer)
        batches = [batch[layer.name] for batch in record(seen.network, rows, device=self.study.device)]
        if member.weights:
            weights = np.array(member.weights)
            values = np.concatenate([batch.pre @ weights for batch in batches])
            return np.asarray(values - seen.pre(layer).mean(axis=0, dtype=np.float64) @ weights)
        values = np.concatenate([batch.post[:, member.unit] for batch in batches])
        if self.feature.name:
            return values
        mean, deviation = seen.moments(layer)[:, member.unit]
        return np.asarray(member.sign * (values - mean) / (deviation or 1.0))


def distil_features(study: Study, *, only: Sequence[str] = ()) -> tuple[str, ...]:
    """Distil the outputs and the features above the nulls, or those named, into equations.

    What was distilled before with the same networks, probe and settings is kept. Returns the identifiers of
    the equations. Raises NotFound for a feature that is not there and BadInput for an unknown variable.
    """
    found = cluster(study)
    networks = {seen.network.name: seen for seen in found.observed}
    chosen = _choose(study, found.features, only)
    for feature in study.each("distil", chosen, name=lambda feature: f"{feature.id} {feature.name}".strip()):
        _distil(study, Witness(study, feature, networks), asked=bool(only))
    if not only:
        with study.writing() as catalogue:
            kept = [_equation_id(feature) for feature in chosen]
            catalogue.keep_only("equation", kept, EQUATION_TABLES)
            catalogue.mark("zoo", "whole", study.key, versions())
    return tuple(_equation_id(feature) for feature in chosen)


def _choose(study: Study, features: Sequence[Feature], only: Sequence[str]) -> list[Feature]:
    if only:
        known = {feature.id: feature for feature in features} | {f.name: f for f in features if f.name}
        missing = [name for name in only if name not in known]
        if missing:
            raise NotFound(f"no feature {missing[0]!r}", hint="consilience features lists them")
        return [known[name] for name in only]
    if study.probe.image:  # photos have no variables in which a formula could be written
        return []
    settings = study.manifest.distil
    outputs = [f for f in features if f.role == "output" and (settings.outputs is None or f.name in settings.outputs)]
    hidden = [f for f in features if f.role == "hidden" and f.above_null and f.positions == 1]
    return outputs + hidden[: settings.features]


def _equation_id(feature: Feature) -> str:
    return f"E{feature.number}"


def _distil(study: Study, witness: Witness, *, asked: bool) -> None:
    """Distil one feature, or take what is kept; a result of the full budget stands for one of the quick."""
    feature = witness.feature
    if study.probe.image:
        raise BadInput(
            f"{feature.id} answers to photos, which no variables describe yet",
            hint="consilience show and plot tell what it does; equations need rows of named variables",
        )
    if feature.positions > 1:
        raise BadInput(
            f"{feature.id} is a map over the positions of a row, which the probe's variables do not describe",
            hint="distil outputs and dense features",
        )
    whole, quick = study.manifest.distil, _quick(study.manifest.distil)
    deep = asked or feature.role == "output"
    key = _key(study, witness, whole)
    if not deep and not _file(study, key).exists():
        key = _key(study, witness, quick)
    file = _file(study, key)
    if not file.exists():
        with threadpool_limits(1):  # the searches fill the processors, and sums stay in one order
            result = _work(study, witness, whole if deep else quick)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(result, allow_nan=True))
    _index(study, feature, key, json.loads(file.read_text()))


def _quick(settings: DistilTable) -> DistilTable:
    """Shrink the budget for hidden features that nobody asked for by name: there may be many of them."""
    return settings.model_copy(
        update={
            "restarts": max(1, settings.restarts // 3),
            "evaluations": max(1000, settings.evaluations // 4),
        }
    )


def _key(study: Study, witness: Witness, settings: DistilTable) -> str:
    feature = witness.feature
    members = [(witness.networks[m.network].key, m.layer, m.unit, m.sign, m.weights) for m in feature.members]
    return content_key(
        VERSION,
        [
            (*member, witness.networks[m.network].network.lineage)
            for member, m in zip(members, feature.members, strict=True)
        ],
        feature.role,
        _linked(study, feature),
        study.probe.key,
        study.probe_table.model_dump(mode="json"),
        settings.model_dump(mode="json", exclude={"features", "outputs"}),
        study.manifest.seed,
    )


def _file(study: Study, key: str) -> Path:
    return study.store.result_path("distil", key, ".json")


def _work(study: Study, witness: Witness, settings: DistilTable) -> dict[str, Any]:
    seed, draw = study.manifest.seed, study.probe.draw
    fitting, held_out = _two_samples(study)
    outside = study.probe.draw_outside(settings.samples, seed=seed + 3)
    effects = _relevance(study, witness, draw(settings.samples, seed=seed + 4))
    names = [name for name, effect in effects.items() if effect.kept]

    def sample(rows: Float[np.ndarray, "samples inputs"]) -> Sample:
        columns = coordinates(study, rows)
        return Sample(rows, {name: columns[name] for name in names}, witness(rows))

    target = Target(
        witness.feature.name or witness.feature.id,
        sample(fitting),
        sample(held_out),
        None if outside is None else sample(outside),
        linked=_linked(study, witness.feature),
    )
    title = f"{witness.feature.id} {witness.feature.name}".strip()
    result = distil(
        target,
        engine=ENGINES.get(settings.engine),
        restarts=settings.restarts,
        evaluations=settings.evaluations,
        seed=seed,
        progress=lambda step: study.report(Progress("distil", f"{title}: {step}", 0, 0)),
    )
    return _plain(result, witness.lineages, effects)


def _linked(study: Study, feature: Feature) -> bool:
    """Tell whether zoo.toml says that every network has this output up to a monotone function of its own."""
    return any(output.linked for output in study.manifest.outputs if output.name == feature.name)


def _two_samples(
    study: Study,
) -> tuple[Float[np.ndarray, "samples inputs"], Float[np.ndarray, "samples inputs"]]:
    """Draw one sample to fit on and another that no fit sees."""
    wanted, seed = study.manifest.distil.samples, study.manifest.seed
    if study.probe.box:
        return study.probe.draw(wanted, seed=seed + 1), study.probe.draw(wanted, seed=seed + 2)
    rows = study.probe.draw(2 * wanted, seed=seed + 1)
    half = len(rows) // 2
    return rows[:half], rows[half:]


def coordinates(study: Study, rows: Float[np.ndarray, "samples inputs"]) -> dict[str, Float[np.ndarray, " samples"]]:
    """Name the columns of rows of the probe, and compute the derived variables."""
    columns = dict(zip((v.name for v in study.probe.variables), rows.T, strict=True))
    derived = {d.name: evaluate(parse(d.formula), columns) for d in study.probe_table.derived}
    return columns | derived


@dataclass(frozen=True, slots=True)
class Effect:
    """How far the consensus moves when a variable alone is redrawn, and whether that exceeds disagreement."""

    effect: float
    kept: bool


def _relevance(study: Study, witness: Witness, rows: Float[np.ndarray, "samples inputs"]) -> dict[str, Effect]:
    """Screen the variables: one whose effect is below what the networks disagree by cannot be in a law.

    A derived variable is in as far as one of the inputs that it is made of is. Raises BadInput for a name
    in distil.variables that the probe does not have.
    """
    values = witness(rows)
    random = np.random.default_rng(study.manifest.seed)
    moved = []
    for column in range(rows.shape[1]):
        changed = rows.copy()
        changed[:, column] = random.permutation(rows[:, column])
        moved.append(consensus(witness(changed)))
    sizes = relevance(consensus(values), np.stack(moved))
    noise = disagreement(values) if len(values) > 1 else 1e-3 * float(consensus(values).std())
    inputs = {v.name: float(size) for v, size in zip(study.probe.variables, sizes, strict=True)}
    derived = {
        d.name: max((inputs.get(name, 0.0) for name in variables(parse(d.formula))), default=0.0)
        for d in study.probe_table.derived
    }
    effects = inputs | derived
    allowed = study.manifest.distil.variables or tuple(effects)
    unknown = [name for name in allowed if name not in effects]
    if unknown:
        raise BadInput(
            f"{study.path}: distil.variables: {unknown[0]!r} is not a variable of the probe",
            hint=f"it has {', '.join(list(effects)[:20])}",
        )
    return {name: Effect(size, name in allowed and size > noise) for name, size in effects.items()}


def _plain(result: Distillation, lineages: Sequence[str], effects: Mapping[str, Effect]) -> dict[str, Any]:
    ratios = result.chosen.ratio.each if result.chosen.ratio else [math.nan] * len(lineages)
    return {
        "status": result.status,
        "reason": result.reason,
        "chosen": _candidate(result.chosen),
        "skeleton": str(result.skeleton),
        "constants": [asdict(estimate) for estimate in result.estimates],
        "front": [_candidate(candidate) for candidate in result.front],
        "evidence": asdict(result.evidence),
        "lineages": list(lineages),
        "ratios": list(ratios),
        "relevance": {name: asdict(effect) for name, effect in effects.items()},
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    ratio = candidate.ratio
    return {
        "expression": str(candidate.expression),
        "complexity": candidate.complexity,
        "error": candidate.error,
        "peer_ratio": ratio.value if ratio else math.nan,
        "peer_ratio_error": ratio.error if ratio else math.nan,
    }


def _index(study: Study, feature: Feature, key: str, result: Mapping[str, Any]) -> None:
    equation = _equation_id(feature)
    with study.writing() as catalogue:
        row = _equation_row(study, feature, result)
        mark = content_key(key, [str(value) for value in row.values()])
        if catalogue.indexed("distil", equation) == mark:
            return
        catalogue.replace(
            {"equation": equation},
            {
                "equations": [row],
                "fronts": [
                    {
                        "equation": equation,
                        **member,
                        "chosen": member["expression"] == result["chosen"]["expression"],
                    }
                    for member in result["front"]
                ],
                "constants": [
                    {"equation": equation, "position": position, **constant}
                    for position, constant in enumerate(result["constants"], 1)
                ],
                "agreements": [
                    {"equation": equation, "lineage": lineage, "fidelity": fidelity, "peer_ratio": ratio}
                    for lineage, fidelity, ratio in zip(
                        result["lineages"], result["evidence"]["agreement"], result["ratios"], strict=True
                    )
                ],
                "relevances": [
                    {"equation": equation, "variable": name, **effect} for name, effect in result["relevance"].items()
                ],
            },
        )
        catalogue.mark("distil", equation, mark, study.manifest.distil.model_dump(mode="json"))


def _equation_row(study: Study, feature: Feature, result: Mapping[str, Any]) -> dict[str, Any]:
    chosen, evidence = result["chosen"], result["evidence"]
    expression = parse(chosen["expression"])
    return {
        "equation": _equation_id(feature),
        "number": feature.number,
        "feature": feature.id,
        "target": feature.name or feature.id,
        "unit": feature.unit,
        "status": result["status"],
        "reason": result["reason"],
        "expression": chosen["expression"],
        "latex": expression.latex(),
        "skeleton": result["skeleton"],
        "complexity": chosen["complexity"],
        "fidelity": evidence["fidelity"],
        "peer_ratio": chosen["peer_ratio"],
        "peer_ratio_error": chosen["peer_ratio_error"],
        "peer_agreement": evidence["peer_agreement"],
        "extrapolation": evidence["extrapolation"],
        "peer_extrapolation": evidence["peer_extrapolation"],
        "networks": feature.networks,
        "lineages": feature.lineages,
        "universality": feature.universality,
        "engine": study.manifest.distil.engine,
    }
