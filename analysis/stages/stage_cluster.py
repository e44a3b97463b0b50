"""Cluster: group matched units into features, and tell which of them are more than chance gives."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int
from threadpoolctl import threadpool_limits

from ...zoo.store import content_key, write_atomically
from ..alignment.correspond import Level
from ..alignment.feature import features_from, reliability
from ..alignment.judge_shared import JudgedDirections, judge_shared
from ..alignment.moments import measure
from ..alignment.significance import Judgement, discover, judge
from ..alignment.similarity import Activations
from ..project.study import Study
from .stage_align import Aligned, Twins, align
from .stage_probe import Observed

VERSION = "cluster-6"
EQUATION_TABLES = (
    *("equations", "fronts", "constants", "own_constants", "agreements", "relevances"),
    *("links", "dissenters", "substitutions", "rivals"),
)
"""What is said of equations: gone when the features that they describe are others."""


@dataclass(frozen=True, slots=True)
class Member:
    """A unit of a feature, its sign against the prototype, and its r with the other lineages' prototype.

    Of a direction, `unit` is -1 and `weights` tell how much each unit of the layer counts, before its nonlinearity.
    """

    network: str
    layer: str
    unit: int
    sign: int
    r: float
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """Units, or directions, that do the same thing, with what speaks for it; see `feature.Features` for the terms.

    `universality` is the share of all lineages of the zoo, also of those without such a level.

    An output that zoo.toml names has that name and its physical unit.
    """

    number: int
    kind: str
    level: str
    role: str
    positions: int
    name: str
    unit: str
    members: tuple[Member, ...]
    lineages: int
    universality: float
    agreement: float
    support: float
    reliability: float
    lift: float
    p: float
    q: float
    above_null: bool

    @property
    def id(self) -> str:
        """F and the number."""
        return f"F{self.number}"

    @property
    def networks(self) -> int:
        """How many networks have a member."""
        return len({member.network for member in self.members})


@dataclass(frozen=True, slots=True, eq=False)
class Clustered:
    """The features of all levels, what they were found in, and the support that features of null zoos had."""

    features: tuple[Feature, ...]
    aligned: Aligned
    null_support: tuple[float, ...]
    key: str

    @property
    def observed(self) -> tuple[Observed, ...]:
        """The networks that were probed."""
        return self.aligned.observed


def cluster(study: Study) -> Clustered:
    """Find the features of every level; what was found before is kept. Raises what `probe` raises."""
    aligned = align(study)
    settings = study.manifest.align.model_dump(mode="json")
    outputs = [output.model_dump(mode="json") for output in study.manifest.outputs]
    key = content_key(VERSION, aligned.key, settings, outputs)
    file = study.store.result_path("cluster", key, ".json")
    if not file.exists():
        with threadpool_limits(1):  # matrices are small, and threads would wait for one another
            found = _work(study, aligned)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(found))
    kept = json.loads(file.read_text())
    features = tuple(
        Feature(**{**row, "members": tuple(_member(member) for member in row["members"])}) for row in kept["features"]
    )
    _index(study, features, key)
    return Clustered(features, aligned, tuple(kept["null_support"]), key)


def _member(row: Mapping[str, Any]) -> Member:
    return Member(**{**row, "weights": tuple(row["weights"])})


def _work(study: Study, aligned: Aligned) -> dict[str, Any]:
    twins = Twins(study, aligned)
    found: list[Feature] = []
    chance: list[float] = []
    for level in study.each("cluster", aligned.levels, name=lambda level: level.name):
        values = aligned.activations(level)
        judged = _judge(study, aligned, level, values, twins)
        stable = reliability(values, judged.features)
        chance += [float(support) for null in judged.nulls.values() for support in null.support]
        found += [_feature(study, aligned, level, judged, stable, index) for index in range(len(judged.features))]
        if level.role == "hidden" and len({one.lineage for one in values}) > 1:
            found += _directions(study, aligned, level, values, twins, judged)
    numbered = [replace(feature, number=number) for number, feature in enumerate(sorted(found, key=_order), 1)]
    return {"features": [asdict(feature) for feature in numbered], "null_support": chance}


def _judge(study: Study, aligned: Aligned, level: Level, values: Sequence[Activations], twins: Twins) -> Judgement:
    settings, seed = study.manifest.align, study.manifest.seed
    draws = max(settings.null_draws, _fewest_draws(settings.q, values))

    def untrained(draw: int) -> list[np.ndarray]:
        return twins.of(level, draw)

    if level.role == "output" and study.manifest.outputs:
        groups = _named_groups(study, aligned, level)
        find = partial(features_from, groups=groups)
        return judge(values, find=find, twins=untrained, seed=seed, draws=draws)
    return discover(values, outputs=level.role == "output", twins=untrained, seed=seed, draws=draws)


def _fewest_draws(q: float, values: Sequence[Activations]) -> int:
    """Count the draws without which not even the best p could reach q: few units need many."""
    units = max((int(one.alive.sum()) for one in values), default=0)
    return math.ceil(1 / q / max(units, 1))


def _named_groups(study: Study, aligned: Aligned, level: Level) -> list[Int[np.ndarray, " units"]]:
    names = [output.name for output in study.manifest.outputs]
    return [
        np.array([names.index(name) for name in aligned.observed[network].network.outputs], dtype=np.int64)
        for network, _ in level.layers
    ]


def _feature(
    study: Study, aligned: Aligned, level: Level, judged: Judgement, stable: np.ndarray, index: int
) -> Feature:
    features = judged.features
    members = tuple(
        Member(
            aligned.observed[level.layers[network][0]].network.name,
            aligned.layer(level.layers[network]).name,
            int(unit),
            int(sign),
            float(r),
        )
        for network, unit, sign, r in zip(
            *(
                column[features.feature == index]
                for column in (features.network, features.unit, features.sign, features.r)
            ),
            strict=True,
        )
    )
    lineage = {seen.network.name: seen.network.lineage for seen in aligned.observed}
    name, unit = _meaning(study, aligned, level, members)
    lineages = len({lineage[member.network] for member in members})
    return Feature(
        number=0,
        kind="unit",
        level=level.name,
        role=level.role,
        positions=level.positions,
        name=name,
        unit=unit,
        members=members,
        lineages=lineages,
        universality=lineages / len(set(lineage.values())),
        agreement=float(features.agreement[index]),
        support=float(features.support[index]),
        reliability=float(stable[index]),
        lift=float(judged.lift[index]),
        p=float(judged.p[index]),
        q=float(judged.q[index]),
        above_null=bool(lineages > 1 and judged.q[index] <= study.manifest.align.q),
    )


def _directions(
    study: Study, aligned: Aligned, level: Level, values: Sequence[Activations], twins: Twins, judged: Judgement
) -> list[Feature]:
    """Give what the networks of a level share beyond single units, up to a change of axes."""
    settings = study.manifest.align
    found = judge_shared(
        values,
        known=judged.features.prototypes[:, judged.q <= settings.q],
        twins=lambda draw: twins.of(level, draw),
        q=settings.q,
        seed=study.manifest.seed,
    )
    lineages = {seen.network.lineage for seen in aligned.observed}
    scale = [np.sqrt(np.where(one.alive, measure(one.values).variance, 1.0)) for one in values]
    features = []
    for index in np.flatnonzero(found.new):
        members = tuple(
            _direction(aligned, level, place, found, int(index), scale[place])
            for place in np.flatnonzero(found.shared.held[:, index]).tolist()
        )
        universality = float(found.shared.lineages[index]) / len(lineages)
        features.append(
            Feature(
                number=0,
                kind="direction",
                level=level.name,
                role=level.role,
                positions=level.positions,
                name="",
                unit="",
                members=members,
                lineages=int(found.shared.lineages[index]),
                universality=universality,
                agreement=float(found.shared.agreement[index]),
                support=universality * float(found.shared.agreement[index]),
                reliability=math.nan,
                lift=float(found.lift[index]),
                p=found.p,
                q=found.q,
                above_null=True,
            )
        )
    return features


def _direction(
    aligned: Aligned, level: Level, place: int, found: JudgedDirections, index: int, scale: np.ndarray
) -> Member:
    weights = found.shared.weights[place][:, index] / scale
    return Member(
        aligned.observed[level.layers[place][0]].network.name,
        aligned.layer(level.layers[place]).name,
        -1,
        1,
        float(found.shared.r[place, index]),
        tuple(weights.tolist()),
    )


def _meaning(study: Study, aligned: Aligned, level: Level, members: Sequence[Member]) -> tuple[str, str]:
    """Give an output the name and unit that zoo.toml has for it."""
    if level.role != "output" or not study.manifest.outputs:
        return "", ""
    first = next(seen.network for seen in aligned.observed if seen.network.name == members[0].network)
    name = first.outputs[members[0].unit]
    return name, next(output.unit for output in study.manifest.outputs if output.name == name)


def _order(feature: Feature) -> tuple[object, ...]:
    """Outputs first, as the networks have them; then what is above the nulls, units first, best supported first."""
    first = (feature.members[0].network, feature.members[0].unit)
    if feature.role == "output":
        return (0, first[1], first[0], feature.level)
    rank = (1 if feature.kind == "unit" else 2) if feature.above_null else 3
    return (rank, -round(feature.support, 9), feature.level, first)


def _index(study: Study, features: Sequence[Feature], key: str) -> None:
    with study.writing() as catalogue:
        if catalogue.indexed("cluster", "zoo") == key:
            return
        rows: list[Mapping[str, Any]] = []
        members: list[Mapping[str, Any]] = []
        for feature in features:
            row = asdict(feature)
            del row["positions"]
            row |= {"feature": feature.id, "members": len(feature.members), "networks": feature.networks}
            rows.append(row)
            members += [_member_row(feature, member) for member in feature.members]
        catalogue.replace({}, {"features": rows, "members": members, **{table: [] for table in EQUATION_TABLES}})
        catalogue.replace({"stage": ["distil", "families"]}, {"stages": []})
        catalogue.mark("cluster", "zoo", key, study.manifest.align.model_dump(mode="json"))


def _member_row(feature: Feature, member: Member) -> dict[str, Any]:
    row = {"feature": feature.id, **asdict(member)}
    return row | ({"unit": None} if feature.kind == "direction" else {"weights": None})
