"""Put what was distilled into the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...zoo.store import content_key
from ..formulas.parsing import parse
from ..project.catalogue import Catalogue
from ..project.study import Study
from .distil_choice import identifier
from .families import is_family
from .stage_cluster import EQUATION_TABLES, Feature

Result = Mapping[str, Any]


def index(study: Study, feature: Feature, terms: str, key: str, result: Result, *, known: int) -> str:
    """Write the rows of one equation and return its identifier; what is there already is left.

    Equations of features as zoo.toml has them bear the number of their feature, all others numbers above `known`.
    """
    with study.writing() as catalogue:
        number = _number(catalogue, feature, terms, known)
        row = _equation(feature, terms, number, result)
        equation = str(row["equation"])
        mark = content_key(key, [str(value) for value in row.values()])
        if catalogue.indexed("distil", equation) != mark:
            tables = {"equations": [row]} | {table: make(result) for table, make in TABLES.items()}
            whole = {table: [{"equation": equation, **one} for one in rows] for table, rows in tables.items()}
            catalogue.replace({"equation": equation}, {table: whole[table] for table in EQUATION_TABLES})
            catalogue.mark("distil", equation, mark, study.manifest.distil.model_dump(mode="json"))
    return equation


def _number(catalogue: Catalogue, feature: Feature, terms: str, known: int) -> int:
    if feature.number and not terms:
        return feature.number
    rows = [row for row in catalogue.select("equations") if not is_family(row["feature"])]
    same = [row["number"] for row in rows if (row["feature"], row["terms"] or "") == (identifier(feature), terms)]
    return int(same[0]) if same else max([known, *(int(row["number"]) for row in rows)]) + 1


def _equation(feature: Feature, terms: str, number: int, result: Result) -> dict[str, Any]:
    chosen, evidence = result["chosen"], result["evidence"]
    return {
        "equation": f"E{number}",
        "number": number,
        "feature": identifier(feature),
        "target": feature.name or feature.id,
        "unit": feature.unit,
        "status": result["status"],
        "reason": result["reason"],
        "expression": chosen["expression"],
        "latex": parse(chosen["expression"]).latex(),
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
        "engine": result["engine"],
        "searched": result["searched"] or None,
        "terms": terms or None,
        "linked": result["linked"],
        "stability": result["stability"],
        "gradient_agreement": result["gradient_agreement"],
    }


def _fronts(result: Result) -> list[dict[str, Any]]:
    chosen = result["chosen"]["expression"]
    return [{**member, "chosen": member["expression"] == chosen} for member in result["front"]]


def _constants(result: Result) -> list[dict[str, Any]]:
    return [
        {"position": position, **{name: value for name, value in constant.items() if name != "each"}}
        for position, constant in enumerate(result["constants"], 1)
    ]


def _own_constants(result: Result) -> list[dict[str, Any]]:
    return [
        {"position": position, "name": constant["name"], "lineage": lineage, "value": value}
        for position, constant in enumerate(result["constants"], 1)
        for lineage, value in zip(result["lineages"], constant["each"], strict=False)
    ]


def _agreements(result: Result) -> list[dict[str, Any]]:
    columns = (result["lineages"], result["evidence"]["agreement"], result["ratios"])
    return [
        {"lineage": lineage, "fidelity": fidelity, "peer_ratio": ratio}
        for lineage, fidelity, ratio in zip(*columns, strict=True)
    ]


def _relevances(result: Result) -> list[dict[str, Any]]:
    return [{"variable": name, **effect} for name, effect in result["relevance"].items()]


def _rivals(result: Result) -> list[dict[str, Any]]:
    return [{**rival, "inputs": json.dumps(rival["inputs"])} for rival in result["rivals"]]


TABLES = {
    "fronts": _fronts,
    "constants": _constants,
    "own_constants": _own_constants,
    "agreements": _agreements,
    "relevances": _relevances,
    "links": lambda result: list(result["links"]),
    "dissenters": lambda result: list(result["dissenters"]),
    "substitutions": lambda result: list(result["substitutions"]),
    "rivals": _rivals,
}
