"""The equation record: one line of the catalogue, ready to be written in any format."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from .expression import IDENTIFIER, Expression
from .printing import latex_name, to_latex, to_text

DIGITS = 6


class Range(NamedTuple):
    """A variable of an equation, its unit, and where the probe looked (NaN: not known)."""

    name: str
    unit: str
    low: float
    high: float


class Interval(NamedTuple):
    """A constant, its interval over the lineages, and whether it was set to a simple value.

    `each` holds the value of every lineage, where they do not share one.
    """

    value: float
    low: float
    high: float
    snapped: bool
    name: str = ""
    each: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EquationRecord:
    """What was distilled, the formula if there is one, and the evidence for it.

    `status` is equation, ambiguous or no_equation. `constants` are those of the expression, set free, which are
    called as in `skeleton`;
    `universality` is the share of lineages, in [0, 1], `stability` that of resamples that give the same form,
    `gradient_agreement` the mean cosine with the networks' gradients. `loss_before`, `loss_with` and `loss_mean` are
    what networks lose as they are, with the equation and with their consensus in the place of the units. With
    `linked` it holds up to a monotone function of each network's own. Evidence that was not measured is NaN.
    """

    id: str
    feature: str
    title: str
    status: str
    target_name: str
    expression: Expression | None = None
    target_unit: str = ""
    variables: tuple[Range, ...] = ()
    complexity: int = 0
    fidelity: float = math.nan
    peer_ratio: float = math.nan
    peer_ratio_error: float = math.nan
    peer_agreement: float = math.nan
    extrapolation: float = math.nan
    networks: int = 0
    lineages: int = 0
    universality: float = math.nan
    linked: bool = False
    terms: str = ""
    stability: float = math.nan
    gradient_agreement: float = math.nan
    loss_before: float = math.nan
    loss_with: float = math.nan
    loss_mean: float = math.nan
    constants: tuple[Interval, ...] = ()
    note: str = ""
    skeleton: str = ""


def plain(text: str) -> str:
    """Make one line of valid Unicode: no line breaks, control characters or lone surrogates."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", valid)


def finite(value: float) -> float | None:
    """Give None for what is not a finite number: files know null, not NaN."""
    return float(value) if math.isfinite(value) else None


def formula(record: EquationRecord, *, digits: int | None = None) -> str:
    """Write the right-hand side as text, empty where there is none."""
    return "" if record.expression is None else to_text(record.expression, digits=digits)


def formula_latex(record: EquationRecord) -> str:
    """Write the equation with its left-hand side as LaTeX, L for a link; empty where there is none."""
    if record.expression is None:
        return ""
    named = IDENTIFIER.fullmatch(record.target_name)
    left = latex_name(record.target_name) if named else "y"
    right = to_latex(record.expression, digits=DIGITS)
    return f"{left} = {f'L({right})' if record.linked else right}"


def facts(record: EquationRecord) -> dict[str, Any]:
    """Give everything in plain data; text on one line, None for what is not known."""
    return {
        "id": plain(record.id),
        "feature": plain(record.feature),
        "title": plain(record.title),
        "status": plain(record.status),
        "target": plain(record.target_name),
        "unit": plain(record.target_unit),
        "formula": formula(record) or None,
        "latex": formula_latex(record) or None,
        "complexity": record.complexity,
        "fidelity": finite(record.fidelity),
        "peer_ratio": finite(record.peer_ratio),
        "peer_ratio_error": finite(record.peer_ratio_error),
        "peer_agreement": finite(record.peer_agreement),
        "extrapolation": finite(record.extrapolation),
        "networks": record.networks,
        "lineages": record.lineages,
        "universality": finite(record.universality),
        "linked": record.linked,
        "terms": plain(record.terms),
        "stability": finite(record.stability),
        "gradient_agreement": finite(record.gradient_agreement),
        "loss_before": finite(record.loss_before),
        "loss_with": finite(record.loss_with),
        "loss_mean": finite(record.loss_mean),
        "variables": [
            {"name": plain(name), "unit": plain(unit), "low": finite(low), "high": finite(high)}
            for name, unit, low, high in record.variables
        ],
        "constants": [
            {
                "value": finite(constant.value),
                "low": finite(constant.low),
                "high": finite(constant.high),
                "snapped": constant.snapped,
                "each": [finite(value) for value in constant.each],
            }
            for constant in record.constants
        ],
        "skeleton": plain(record.skeleton),
        "note": plain(record.note),
    }


def evidence(record: EquationRecord) -> tuple[str, ...]:
    """Say the evidence in words, one sentence each; what was not measured is left out."""
    error = "" if finite(record.peer_ratio_error) is None else f" ± {record.peer_ratio_error:.2g}"
    losses = f"{record.loss_before:.4g}, {record.loss_with:.4g}, {record.loss_mean:.4g}"
    sentences = (
        (record.fidelity, f"fidelity (R² on the consensus) {record.fidelity:.6g}"),
        (record.peer_ratio, f"peer ratio {record.peer_ratio:.3g}{error}"),
        (record.peer_agreement, f"peer agreement {record.peer_agreement:.6g}"),
        (record.extrapolation, f"extrapolation {record.extrapolation:.6g}"),
        (record.universality, f"universality {record.universality:.0%}"),
        (record.stability, f"stability {record.stability:.0%}"),
        (record.gradient_agreement, f"gradient agreement (mean cosine) {record.gradient_agreement:.4f}"),
        (record.loss_with, f"loss of the networks as they are, with the equation, with their consensus: {losses}"),
        (1.0 if record.linked else math.nan, "up to a monotone function of each network's own"),
        (1.0 if record.terms else math.nan, f"in terms of {plain(record.terms)}"),
        (float(record.networks or math.nan), f"{record.networks} networks of {record.lineages} lineages"),
    )
    return tuple(words for value, words in sentences if finite(value) is not None)


def found_by(source: str, searched: str, *, unused: str = "") -> str:
    """Say what found an equation, which engine searched, and which one was asked for by name and had no need to."""
    by = f"found by the {source}" if source in ("ladder", "reducer") else f"found by {source}"
    if unused:
        return f"{by}; {unused} was not needed"
    if not searched:
        return f"{by}, without a search"
    return by if source == searched else f"{by}, which a search with {searched} did not better"


def unit_and_range(variable: Range) -> str:
    """Say a variable's unit and range in words, as far as they are known."""
    unit = f"[{plain(variable.unit)}]" if variable.unit else ""
    known = finite(variable.low) is not None and finite(variable.high) is not None
    return " ".join(part for part in (unit, f"{variable.low:g} to {variable.high:g}" if known else "") if part)


def constant_in_words(constant: Interval) -> str:
    """Say a constant with its interval."""
    interval = f" ({constant.low:.6g} to {constant.high:.6g})" if finite(constant.low) is not None else ""
    name = f"{plain(constant.name)} = " if constant.name else ""
    simple = ", stands as a simple number" if constant.snapped else ""
    own = f", every lineage has its own, {min(constant.each):.6g} to {max(constant.each):.6g}" if constant.each else ""
    return f"{name}{constant.value:.6g}{interval}{simple}{own}"


def constants_in_words(record: EquationRecord) -> tuple[str, ...]:
    """Say in a line each where the constants stand, and what they are."""
    said = tuple(f"constant {constant_in_words(constant)}" for constant in record.constants)
    right = f"L({plain(record.skeleton)})" if record.linked else plain(record.skeleton)
    free = f"with its numbers set free: {plain(record.target_name)} = {right}"
    return (free, *said) if said and record.skeleton else said
