"""Equations out of the catalogue as records with live expressions, to use in Python and to export."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...zoo.errors import BadInput, NotFound
from ..formulas.equation import EquationRecord, Interval, Range
from ..formulas.expression import variables
from ..formulas.parsing import parse
from ..project.catalogue import Catalogue
from ..project.study import Study
from .export import FORMATS, export

SUFFIXES = {
    ".md": "markdown",
    ".tex": "latex",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".py": "python",
    ".c": "c",
}


def equations(study: Study) -> tuple[EquationRecord, ...]:
    """Give every equation of the catalogue with its evidence, in order. Raises NotFound before a run."""
    with study.reading() as catalogue:
        rows = catalogue.listing("equations").dicts()
        return tuple(_record(catalogue, row["equation"]) for row in rows)


def features(study: Study, *, where: str | None = None) -> list[dict[str, Any]]:
    """List the features as dictionaries, those that meet a condition in SQL. Raises BadInput for a bad one."""
    with study.reading() as catalogue:
        return catalogue.listing("features", where=where).dicts()


def networks(study: Study, *, where: str | None = None) -> list[dict[str, Any]]:
    """List the networks as dictionaries, refused ones with the reason. Raises BadInput for a bad condition."""
    with study.reading() as catalogue:
        return catalogue.listing("networks", where=where).dicts()


def query(study: Study, sql: str) -> list[dict[str, Any]]:
    """Ask the catalogue in SQL, read-only. Raises BadInput where the database does not understand it."""
    with study.reading() as catalogue:
        return catalogue.query(sql).dicts()


def export_equations(study: Study, path: str | Path, *, format: str | None = None) -> int:
    """Write the equations to a file and return how many; the suffix tells the format unless it is named.

    Raises BadInput for an unknown format or suffix, NotFound where there are no equations.
    """
    path = Path(path)
    chosen = format_of(path, format)
    records = equations(study)
    if not records:
        raise NotFound("no equations yet", hint=f"consilience run {study.path}")
    export(records, format=chosen, path=path)
    return len(records)


def format_of(path: Path, format: str | None) -> str:
    """Tell in which format a file is written. Raises BadInput where neither it nor the suffix says."""
    chosen = format or SUFFIXES.get(path.suffix.lower())
    if chosen is None:
        raise BadInput(
            f"{path}: the suffix tells no format", hint=f"use {', '.join(SUFFIXES)} or --format {'|'.join(FORMATS)}"
        )
    return chosen


def _record(catalogue: Catalogue, identifier: str) -> EquationRecord:
    (row,) = catalogue.select("equations", equation=identifier)
    feature = next(iter(catalogue.select("features", feature=row["feature"])), None)
    expression = parse(row["expression"]) if row["status"] != "no_equation" else None
    known = {v["variable"]: v for v in catalogue.select("variables")}
    constants = sorted(catalogue.select("constants", equation=identifier), key=lambda c: c["position"])
    own: dict[int, list[float]] = {}
    for value in catalogue.select("own_constants", equation=identifier):
        own.setdefault(value["position"], []).append(value["value"])
    replaced = catalogue.select("substitutions", equation=identifier)
    return EquationRecord(
        id=identifier,
        feature=row["feature"],
        title=_title(row, feature),
        status=row["status"],
        target_name=row["target"],
        expression=expression,
        target_unit=row["unit"] or "",
        variables=tuple(_range(name, known.get(name)) for name in (variables(expression) if expression else ())),
        complexity=row["complexity"] if expression else 0,
        fidelity=_number(row["fidelity"]),
        peer_ratio=_number(row["peer_ratio"]),
        peer_ratio_error=_number(row["peer_ratio_error"]),
        peer_agreement=_number(row["peer_agreement"]),
        extrapolation=_number(row["extrapolation"]),
        networks=row["networks"],
        lineages=row["lineages"],
        universality=_number(row["universality"]),
        linked=bool(row["linked"]),
        terms=row["terms"] or "",
        stability=_number(row["stability"]),
        gradient_agreement=_number(row["gradient_agreement"]),
        loss_before=_mean(replaced, "loss_before"),
        loss_with=_mean(replaced, "loss_with"),
        loss_mean=_mean(replaced, "loss_mean"),
        constants=tuple(_interval(c, own.get(c["position"], [])) for c in constants) if expression else (),
        note=row["reason"] or "",
        skeleton=row["skeleton"] if expression else "",
    )


def _title(row: Mapping[str, Any], feature: Mapping[str, Any] | None) -> str:
    if feature is None:
        return f"unit {row['feature']}"
    return f"output {row['target']}" if feature["role"] == "output" else f"feature {row['feature']}"


def _range(name: str, row: Mapping[str, Any] | None) -> Range:
    """Say what is known of a variable; of a module's inputs and other features, nothing."""
    if row is None:
        return Range(name, "", math.nan, math.nan)
    return Range(name, row["unit"] or "", _number(row["low"]), _number(row["high"]))


def _interval(row: Mapping[str, Any], own: Sequence[float]) -> Interval:
    low, high = _number(row["low"]), _number(row["high"])
    return Interval(row["value"], low, high, row["exact"] is not None, row["name"], tuple(own))


def _mean(rows: Sequence[Mapping[str, Any]], column: str) -> float:
    """Average over the networks in which it was measured."""
    known = [row[column] for row in rows if row[column] is not None and math.isfinite(row[column])]
    return sum(known) / len(known) if known else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
