"""Tell in words what the catalogue knows of a network, a feature or an equation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...zoo.errors import NotFound
from ..formulas.equation import found_by
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.catalogue import Catalogue
from ..project.study import Study
from .show_evidence import kept, missing, own_values, substituted, support_lines
from .show_family import equation_in_words, family_in_words, is_vision_family
from .show_unit import unit_in_words

Row = Mapping[str, Any]
DIGITS = 5


def show(catalogue: Catalogue, identifier: str) -> tuple[str, ...]:
    """Describe one network by name, one feature (F1), one equation (E1), or a unit that was shown stimuli.

    Raises NotFound for anything else.
    """
    for table, column, tell in KINDS:
        rows = catalogue.select(table, **{column: identifier}) or catalogue.select(
            table, **{column: identifier.upper()}
        )
        if rows:
            return tuple(tell(catalogue, rows[0]))
    if unit := unit_in_words(catalogue, identifier):
        return tuple(unit)
    raise NotFound(
        f"the catalogue has no {identifier!r}",
        hint="consilience networks, features and equations list what there is (add -q for names only)",
    )


def describe(study: Study, identifier: str) -> str:
    """Describe a network, feature or equation of a study. Raises what `show` raises."""
    with study.reading() as catalogue:
        return "\n".join(show(catalogue, identifier))


def law_lines(catalogue: Catalogue, equation: Row, *, whole: bool) -> list[str]:
    """Say an equation in one line, and with `whole` what speaks for it in a few more."""
    lines = [f"{law(equation)}   ({headline(equation)})"]
    if whole and equation["terms"]:
        lines.append(f"  in terms of {equation['terms']}")
    if whole and equation["status"] != "no_equation" and equation["reason"]:
        lines.append(f"  {'caution' if equation['status'] == 'equation' else 'ambiguous'}: {equation['reason']}")
    if whole:
        lines += [f"  {line}" for line in [*_constants(catalogue, equation), *_sentences(equation)]]
    return lines


def law(equation: Row) -> str:
    """Write the equation with its target and unit, up to a monotone L where it is linked, or say that there is none."""
    unit = f" [{equation['unit']}]" if equation["unit"] else ""
    if equation["status"] == "no_equation":
        return f"{equation['target']}{unit}: no equation"
    found = rounded(equation["expression"])
    return f"{equation['target']}{unit} = {f'L({found})' if equation['linked'] else found}"


def rounded(expression: str) -> str:
    """Write a formula with few digits."""
    return to_text(parse(expression), digits=DIGITS)


def headline(equation: Row) -> str:
    """Say peer ratio and complexity, or why there is no equation."""
    if equation["status"] == "no_equation":
        return f"{equation['equation']}: {equation['reason']}"
    ratio = equation["peer_ratio"]
    if missing(ratio):
        said = (equation["reason"], _counted(equation["complexity"], "node"))
        return f"{equation['equation']}: {'; '.join(filter(None, said))}"
    caution = ", with a caution" if equation["reason"] else ""
    caution = ", ambiguous" if equation["status"] == "ambiguous" else caution
    return (
        f"{equation['equation']}: peer ratio {ratio:.2f} ± {equation['peer_ratio_error']:.2f}, "
        f"{_counted(equation['complexity'], 'node')}, {_counted(equation['lineages'], 'lineage')}{caution}"
    )


def _constants(catalogue: Catalogue, equation: Row) -> list[str]:
    rows = sorted(catalogue.select("constants", equation=equation["equation"]), key=lambda row: row["position"])
    if not rows or equation["status"] == "no_equation":
        return []
    left = f"L({equation['skeleton']})" if equation["linked"] else equation["skeleton"]
    own = own_values(catalogue, equation)
    said = [_constant(row, own.get(row["position"], [])) for row in rows]
    return [f"with its numbers set free: {equation['target']} = {left}", *said]


def _constant(row: Row, own: Sequence[float]) -> str:
    interval = "" if missing(row["low"]) else f"   another network would say {row['low']:.5g} to {row['high']:.5g}"
    exact = "" if row["exact"] is None else f"; stands as exactly {row['exact']:g}"
    each = f"; every lineage has its own, {min(own):.5g} to {max(own):.5g}" if own else ""
    return f"  {row['name']} = {row['value']:.5g}{interval}{exact}{each}"


def _sentences(equation: Row) -> list[str]:
    said = [
        ("fidelity", "on the consensus of all networks R² = {:.6f} (held-out points)"),
        ("peer_agreement", "networks predict each other with R² = {:.6f}"),
        ("extrapolation", "10 % outside the probe's range the equation has R² = {:.6f}"),
        ("peer_extrapolation", "where the networks predict each other with R² = {:.6f}"),
        ("gradient_agreement", "its gradient points as the networks' do: mean cosine {:.4f}"),
        ("stability", "of other draws of networks and points {:.0%} choose the same form"),
    ]
    told = [words.format(equation[key]) for key, words in said if not missing(equation[key])]
    alone = equation["networks"] == 1
    return [line.replace("the consensus of all networks", "the network") for line in told] if alone else told


def _tell_network(catalogue: Catalogue, row: Row) -> list[str]:
    lines = [f"network {row['network']}: {row['status']}, {row['file']}"]
    if row["status"] == "refused":
        return [*lines, f"  {row['message']} [{row['code']}]", *([f"  hint: {row['hint']}"] if row["hint"] else [])]
    made = [row["format"], f"{row['parameters']:,} parameters", row["architecture"], row["activation"]]
    lines += [
        f"  {', '.join(part for part in made if part)}",
        f"  lineage {row['lineage']}; sha256 {row['digest']}",
    ]
    lines += [f"  {_kinship(edge, row['network'])}" for edge in catalogue.kin(row["network"])]
    lines += [f"  flag: {flag}" for flag in row["warnings"] or ()]
    lines += [f"  {key}: {value}" for key, value in json.loads(row["metadata"] or "{}").items()]
    layers = sorted(catalogue.select("layers", network=row["network"]), key=lambda layer: layer["position"])
    lines += [
        f"  layer {layer['layer']}: {layer['units']} {layer['kind']} {layer['role']} units, {layer['activation']}"
        + ("" if layer["dead"] is None else f", {layer['dead']} dead")
        for layer in layers
    ]
    members = [m for m in catalogue.select("members", network=row["network"]) if not missing(m["unit"])]
    above = {f["feature"] for f in catalogue.select("features", above_null="true")}
    shared = [m for m in members if m["feature"] in above]
    return [*lines, f"  {len(members)} of its units belong to features, {len(shared)} to features above the nulls"]


def _kinship(edge: Row, network: str) -> str:
    other = edge["relative"] if edge["network"] == network else edge["network"]
    against = "" if edge["counted"] else ", though zoo.toml says otherwise"
    return f"{edge['relation']} with {other}: {edge['evidence']}{against}"


def _tell_feature(catalogue: Catalogue, row: Row) -> list[str]:
    if is_vision_family(catalogue, row["feature"]):
        equations = catalogue.select("equations", feature=row["feature"])
        law = [line for equation in equations for line in law_lines(catalogue, equation, whole=False)]
        return family_in_words(catalogue, row, law) + (_in_place(catalogue, row) if row["kind"] == "kernel" else [])
    name, kind = f" {row['name']}" if row["name"] else "", row["kind"] or "unit"
    lines = [
        f"feature {row['feature']}{name}: {row['role']} {kind}s at level {row['level']}, {_verdict(row)}",
        f"  in {row['lineages']} lineages, universality {row['universality']:.0%}; {row['members']} {kind}s of "
        f"{row['networks']} networks",
        f"  {', '.join(words.format(row[key]) for key, words in STRENGTHS if not missing(row[key]))}",
    ]
    lines += map(_member, sorted(catalogue.select("members", feature=row["feature"]), key=_closest_first))
    for equation in catalogue.select("equations", feature=row["feature"]):
        lines += law_lines(catalogue, equation, whole=False)
    return lines


HEAVIEST = 5
"""So many units of a direction are named."""
STRENGTHS = (
    ("agreement", "agreement {:.3f} (mean r of a member with the others)"),
    ("support", "support {:.3f}"),
    ("lift", "lift over untrained networks {:.2f}"),
    ("reliability", "reliability {:.2f}"),
)


def _verdict(row: Row) -> str:
    if row["lineages"] < 2:
        return "in one lineage only: there is nothing to compare it with"
    verdict = "above the nulls" if row["above_null"] else "not above the nulls: chance gives as much"
    return verdict if missing(row["q"]) else f"{verdict} (q = {row['q']:.3g})"


def _in_place(catalogue: Catalogue, row: Row) -> list[str]:
    """Say what is left of networks with this and the other forms of its level in the place of their kernels."""
    networks = dict.fromkeys(row["network"] for row in catalogue.select("kernel_substitutions", layer=row["level"]))
    told = {network: substituted(catalogue, network)[row["level"]] for network in networks}
    return [
        f"  with the other forms in the place of all {rows['equations']['units']:,} kernels of {row['level']} in "
        f"{network}: {kept(rows)}"
        for network, rows in told.items()
    ]


def _member(row: Row) -> str:
    r = "" if missing(row["r"]) else f"  r = {row['r']:.3f}"
    if missing(row["unit"]):
        counted = sorted(enumerate(row["weights"]), key=lambda unit: -abs(unit[1]))[:HEAVIEST]
        most = ", ".join(str(unit) for unit, weight in counted if weight)
        return f"  {row['network']} {row['layer']}, a direction; most of it from units {most}{r}"
    return f"  {'-' if row['sign'] < 0 else '+'} {row['network']} {row['layer']}[{row['unit']}]{r}"


def _closest_first(row: Row) -> tuple[float, str, str, int]:
    return (0.0 if missing(row["r"]) else -row["r"], row["network"], row["layer"], row["unit"] or 0)


def _tell_equation(catalogue: Catalogue, row: Row) -> list[str]:
    if is_vision_family(catalogue, row["feature"]):
        return equation_in_words(catalogue, row, law_lines(catalogue, row, whole=False))
    lines = law_lines(catalogue, row, whole=True)
    if row["status"] == "no_equation":
        lines.append(f"  the best that was found: {rounded(row['expression'])}")
    lines += support_lines(catalogue, row)
    what = "unit" if ":" in row["feature"] else "feature"
    lines.append(f"  {what} {row['feature']}, in {_counted(row['networks'], 'network')}, {_finder(row)}")
    lines += _relevance(catalogue, row)
    lines.append("  each lineage: R² of the equation, and its error there over that of the peers")
    for each in catalogue.select("agreements", equation=row["equation"]):
        ratio = "" if missing(each["peer_ratio"]) else f"  {each['peer_ratio']:.2f}"
        lines.append(f"    {each['lineage']}  {each['fidelity']:.6f}{ratio}")
    lines.append("  the front: nodes, peer ratio, equation")
    for member in sorted(catalogue.select("fronts", equation=row["equation"]), key=lambda m: m["complexity"]):
        known = not missing(member["peer_ratio"])
        ratio = f"{member['peer_ratio']:.3g} ± {member['peer_ratio_error']:.2g}" if known else ""
        mark = "*" if member["chosen"] else " "
        lines.append(f"  {mark} {member['complexity']:3d}  {ratio:>16}  {rounded(member['expression'])}")
    return lines


def _counted(many: int, what: str) -> str:
    return f"{many} {what}" if many == 1 else f"{many} {what}s"


def _finder(row: Row) -> str:
    """Say what found it; families of vision networks, and rows of older programs, bear a label only."""
    known = row["searched"] or row["engine"] in ("ladder", "reducer")
    return found_by(row["engine"], row["searched"] or "") if known else f"engine {row['engine']}"


def _relevance(catalogue: Catalogue, row: Row) -> list[str]:
    found = catalogue.select("relevances", equation=row["equation"])
    features = [e["variable"] for e in found if missing(e["effect"])]
    effects = sorted((e for e in found if not missing(e["effect"])), key=lambda e: -e["effect"])
    kept = [f"{e['variable']} {e['effect']:.3g}" for e in effects if e["kept"]]
    dropped = [e["variable"] for e in effects if not e["kept"]]
    lines = [f"  features that it may be written in: {', '.join(features)}"] if features else []
    if kept or not features:
        moves = ", ".join(kept[:20]) or "none"
        lines.append(f"  variables, by how far the consensus moves when they are redrawn: {moves}")
    if dropped:
        more = f" and {len(dropped) - 20} more" if len(dropped) > 20 else ""
        lines.append(f"  not used: {', '.join(dropped[:20])}{more}")
    return lines


KINDS: tuple[tuple[str, str, Callable[[Catalogue, Row], list[str]]], ...] = (
    ("equations", "equation", _tell_equation),
    ("features", "feature", _tell_feature),
    ("networks", "network", _tell_network),
)
