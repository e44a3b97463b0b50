"""Read off a study what pictures of matched units show: features with their members, or units with their partners."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from ..alignment.correspond import Level
from ..pictures.plot_matches import ROWS, Panel, Strip
from .stage_align import Aligned
from .stage_cluster import Clustered, Feature, Member

SAMPLES = 2048
"""Samples that are read of a layer at the most, drawn at random, the same for all."""

Column = Float[np.ndarray, " samples"]
Read = Callable[[str, str], Float[np.ndarray, "samples units"]]


def chances(nulls: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Give, by level, the r that one in twenty matches of the strongest null exceeds."""
    found: dict[str, float] = {}
    for row in nulls:
        if row["r95"] is not None:
            found[row["level"]] = max(float(row["r95"]), found.get(row["level"], 0.0))
    return found


def best(features: Sequence[Feature]) -> list[Feature]:
    """Choose the features that are worth drawing: those above the nulls if there are any, else those supported best.

    Outputs come first, but where there are hidden ones too they leave those half of the rows.
    """
    tested = [feature for feature in features if feature.lineages > 1]
    kept = [feature for feature in tested if feature.above_null] or sorted(tested, key=lambda f: -f.support)
    outputs = [feature for feature in kept if feature.role == "output"]
    hidden = [feature for feature in kept if feature.role != "output"]
    first = max(ROWS // 2, ROWS - len(hidden))
    return [*outputs[:first], *hidden, *outputs[first:]]


def of_features(found: Clustered, features: Sequence[Feature], chance: Mapping[str, float]) -> list[Strip]:
    """Hold the members of features against the mean of the other lineages' members.

    `chance` is what matches of units reach, by level; it says nothing of directions. Of several members in one
    network the one with the largest r is drawn.
    """
    lineage = {seen.network.name: seen.network.lineage for seen in found.observed}
    lineages = len(set(lineage.values()))
    read = _reader(found.aligned)
    strips = []
    for feature in features:
        votes = _votes(feature, lineage, read)
        shown = {m.network: m for m in sorted(feature.members, key=lambda m: np.nan_to_num(m.sign * m.r))}
        panels = {network: _member(member, feature, votes, lineage, read) for network, member in shown.items()}
        detail = f"{feature.level}, {feature.lineages} of {lineages} lineages"
        level = chance.get(feature.level, math.nan) if feature.kind == "unit" else math.nan
        strips.append(Strip(f"{feature.id} {feature.name}".strip(), detail, panels, level))
    return strips


def of_level(
    aligned: Aligned, level: Level, reference: str, matches: Sequence[Mapping[str, Any]], *, q: float, chance: float
) -> list[Strip]:
    """Hold the partners of a network's units against those units, the best matched units first.

    `matches` are those of the reference, as the catalogue has them.
    """
    layers = {aligned.observed[network].network.name: aligned.layer((network, at)).name for network, at in level.layers}
    read = _reader(aligned)
    partners: dict[int, dict[str, tuple[int, float, float]]] = {}
    for row in matches:
        mine, other = ("left", "right") if row["left_network"] == reference else ("right", "left")
        found = row[f"{other}_unit"], row["r"], row["q"]
        partners.setdefault(row[f"{mine}_unit"], {})[row[f"{other}_network"]] = found
    order = sorted(partners, key=lambda unit: (-sum(abs(r) for _, r, _ in partners[unit].values()), unit))
    strips = []
    for unit in order:
        against = read(reference, layers[reference])[:, unit]
        panels = {reference: Panel(f"#{unit}", against[:0], against[:0])}
        for network, (partner, r, found_q) in partners[unit].items():
            values = read(network, layers[network])[:, partner]
            panels[network] = Panel(f"#{partner}", values, against, r, -1 if r < 0 else 1, found_q <= q)
        strips.append(Strip(f"unit #{unit}", f"matched in {len(partners[unit])}", panels, chance))
    return strips


def central(names: Sequence[tuple[str, str]], similarities: Sequence[Mapping[str, Any]]) -> str:
    """Find the network whose layer is most like the others (CKA), the first of several."""
    total = dict.fromkeys(names, 0.0)
    for row in similarities:
        left, right = (row["left_network"], row["left_layer"]), (row["right_network"], row["right_layer"])
        if left in total and right in total:
            total[left] += row["cka"]
            total[right] += row["cka"]
    return max(total, key=lambda name: round(total[name], 9))[0]


def _reader(aligned: Aligned) -> Read:
    """Read layers by network and name, before the nonlinearity, each once and on the same samples."""
    observed = {seen.network.name: seen for seen in aligned.observed}

    @cache
    def read(network: str, layer: str) -> Float[np.ndarray, "samples units"]:
        seen = observed[network]
        values = seen.pre(next(at for at in seen.network.layers if at.name == layer))
        rows = np.sort(np.random.default_rng(0).permutation(len(values))[:SAMPLES])
        return values[rows].astype(np.float64)

    return read


def _column(member: Member, read: Read) -> Column:
    values = read(member.network, member.layer)
    return np.asarray(values @ np.array(member.weights) if member.weights else values[:, member.unit])


def _votes(feature: Feature, lineage: Mapping[str, str], read: Read) -> dict[str, Column]:
    """Average the members of each lineage, standardised and in the feature's sign."""
    votes: dict[str, list[Column]] = {}
    for member in feature.members:
        values = _column(member, read)
        standard = (values - values.mean()) / (values.std() or 1.0)
        votes.setdefault(lineage[member.network], []).append(member.sign * standard)
    return {name: np.mean(parts, axis=0) for name, parts in votes.items()}


def _member(
    member: Member, feature: Feature, votes: Mapping[str, Column], lineage: Mapping[str, str], read: Read
) -> Panel:
    others = [vote for name, vote in votes.items() if name != lineage[member.network]]
    more = sum(other.network == member.network for other in feature.members) - 1
    name = "direction" if member.weights else f"#{member.unit}"
    return Panel(
        name + (f" +{more}" if more else ""), _column(member, read), np.mean(others, axis=0), member.r, member.sign
    )
