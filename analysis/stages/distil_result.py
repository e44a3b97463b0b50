"""Write a distillation and what speaks for it as plain data, as it is kept in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..distillation.distil import Distillation
from ..distillation.distil_evidence import Support
from ..distillation.judge import Candidate
from .distil_target import Effect
from .substitute import Substitution


def plain(
    found: Distillation,
    support: Support,
    *,
    lineages: Sequence[str],
    effects: Mapping[str, Effect],
    substitutions: Sequence[Substitution],
    linked: bool,
) -> dict[str, Any]:
    """Turn what came out into numbers and text."""
    ratios = found.chosen.ratio.each if found.chosen.ratio else [math.nan] * len(lineages)
    return {
        "status": found.status,
        "reason": found.reason,
        "linked": linked,
        "engine": found.chosen.source,
        "searched": found.searched,
        "chosen": _candidate(found.chosen),
        "skeleton": str(found.skeleton),
        "constants": _constants(found, support),
        "front": [_candidate(candidate) for candidate in found.front],
        "evidence": asdict(found.evidence),
        "lineages": list(lineages),
        "ratios": list(ratios),
        "relevance": {name: {"effect": one.effect, "kept": one.kept} for name, one in effects.items()},
        "stability": support.stability,
        "gradient_agreement": support.gradient_agreement,
        "links": [asdict(link) | {"lineage": lineages[link.lineage]} for link in support.links],
        "dissenters": [asdict(one) | {"lineage": lineages[one.lineage]} for one in support.dissenters],
        "substitutions": [asdict(one) for one in substitutions],
        "rivals": [asdict(rival) for rival in support.rivals],
    }


def _constants(found: Distillation, support: Support) -> list[dict[str, Any]]:
    """Join what each number is, and whether all lineages share it; without an answer `shared` is None."""
    rows = [asdict(estimate) | {"shared": None, "each": []} for estimate in found.estimates]
    for row, number in zip(rows, support.numbers, strict=False):
        row |= {"shared": number.shared, "each": list(number.each)}
    return rows


def _candidate(candidate: Candidate) -> dict[str, Any]:
    ratio = candidate.ratio
    return {
        "expression": str(candidate.expression),
        "complexity": candidate.complexity,
        "error": candidate.error,
        "peer_ratio": ratio.value if ratio else math.nan,
        "peer_ratio_error": ratio.error if ratio else math.nan,
    }
