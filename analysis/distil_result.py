"""Write a distillation as plain data, as it is kept in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .distil import Distillation
from .distil_target import Effect
from .judge import Candidate
from .target import Target


def plain(
    found: Distillation, target: Target, lineages: Sequence[str], effects: Mapping[str, Effect]
) -> dict[str, Any]:
    """Turn what came out into numbers and text."""
    ratios = found.chosen.ratio.each if found.chosen.ratio else [math.nan] * len(lineages)
    return {
        "status": found.status,
        "reason": found.reason,
        "linked": target.linked,
        "chosen": _candidate(found.chosen),
        "skeleton": str(found.skeleton),
        "constants": [asdict(estimate) | {"shared": None, "each": []} for estimate in found.estimates],
        "front": [_candidate(candidate) for candidate in found.front],
        "evidence": asdict(found.evidence),
        "lineages": list(lineages),
        "ratios": list(ratios),
        "relevance": {name: asdict(effect) for name, effect in effects.items()},
        "stability": math.nan,
        "gradient_agreement": math.nan,
        "links": [],
        "dissenters": [],
        "substitutions": [],
        "rivals": [],
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
