"""Write what vision networks share as an article for an appendix: a table of all, each law with its evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..formulas.equation import EquationRecord
from ..formulas.expression import variables
from ..formulas.printing import latex_name
from ..vision.written_law import WrittenLaw
from .document import latex_section, latex_text
from .latex_parts import Figure, breakable, chance, pictures, score, share, symbol, table, with_spread
from .vision_report import FamilyReport, FirstLayer, LayerReport, Replaced, VisionReport

PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{booktabs,graphicx,longtable}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
% A formula of any length, made smaller only where it is wider than the page
\newcommand{\law}[1]{\begin{center}\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{$\displaystyle #1$}%
\end{center}}
\begin{document}"""
CONVENTIONS = (
    r"Places are in pixels of a network's input, $x$ to the right and $y$ down; $\theta$ is the direction along which "
    r"luminance varies (radians), $f$ a frequency in cycles per pixel, $h$ a hue in radians."
)
EVIDENCE = (
    r"$R^2$: share of variance on stimuli held out from the fit (of kernels: of their sum of squares). Peer ratio: "
    "error of the equation, fitted without one lineage, on that lineage, over the error of what that lineage has of "
    r"its own (tuning) or of the other networks (kernels); about 1 is as good. $p$: how often chance (untrained twins, "
    "of maps also shuffled kernels) gives as much, corrected for how many were looked at."
)
KINDS = {
    "tuning": ("Laws of tuning", "unit", "units, each fitted alone"),
    "kernel": ("Forms of kernels", "kernel", "networks"),
    "map": ("Features of maps over photos", "unit", "lineages"),
}
"""By kind of family: a title, what its members are, and over what its numbers spread."""
SHIFTED = "Each kernel's own: its scale, its sign and a shift by at most a pixel."
TURNED = (
    "$u$ and $v$ are along and across each kernel's own angle, from its own centre, in its wavelengths (its width "
    "where it has none); scale and colour are its own too."
)
NAMED = 12
"""So many units of a layer are named; of more only the number is given."""


def to_vision_document(
    report: VisionReport, *, figures: Mapping[str, Sequence[Figure]], others: Sequence[EquationRecord] = ()
) -> str:
    """Write an article that compiles with what every TeX has (booktabs, geometry, graphicx, longtable).

    `figures` are those of a family by its name, and of "summary", "first layers" and "not reduced". `others` are
    equations that are not of families.
    """
    body = [
        PREAMBLE,
        r"\section*{What these networks share}",
        *_introduction(report),
        *_summary(report),
        *pictures(figures.get("summary", ())),
    ]
    for kind, (title, _, _) in KINDS.items():
        body += _kind([one for one in report.families if one.kind == kind], title, figures)
    body += [*_first_layers(report.firsts), *pictures(figures.get("first layers", ()))]
    body += _replacements(report.replaced)
    body += [*_not_reduced(report.layers), *pictures(figures.get("not reduced", ()))]
    body += [r"\section*{Other equations}", *map(latex_section, others)] if others else []
    return "\n".join([*body, r"\end{document}", ""])


def _introduction(report: VisionReport) -> list[str]:
    by_lineage: dict[str, list[str]] = {}
    for network, lineage in report.networks.items():
        by_lineage.setdefault(lineage, []).append(breakable(network))
    told = ", ".join(" with ".join(names) for names in by_lineage.values())
    above = sum(one.above_null for one in report.families)
    return [
        f"Networks: {told}; {_counted(len(by_lineage), 'lineage')}, networks that descend from one another "
        f"count once. {above} of {_counted(len(report.families), 'family', 'families')} of detectors are above what "
        f"chance gives.{_left_in_words(report.layers)}",
        "",
        CONVENTIONS,
        "",
        EVIDENCE,
    ]


def _left_in_words(layers: Sequence[LayerReport]) -> str:
    whole, left = sum(one.units for one in layers), sum(one.not_reduced + one.silent for one in layers)
    silent = sum(one.silent for one in layers)
    if not whole:
        return ""
    return (
        f" Of {whole:,} units that were shown stimuli {left:,} are not reduced to any law, {silent:,} of them silent."
    )


def _summary(report: VisionReport) -> list[str]:
    rows = [
        [
            latex_text(one.id),
            latex_text(one.detector),
            latex_text(one.form),
            f"{one.lineages} of {one.of_lineages}",
            f"{one.units:,}",
            score(one.r2),
            score(one.peer_ratio),
            chance(one.p) if one.above_null else "chance",
        ]
        for one in report.families
        if one.law is not None or one.kind != "map"
    ]
    head = ("", "detects", "form", "lineages", "members", "$R^2$", "peer ratio", "$p$")
    return table("llp{0.24\\linewidth}rrrrr", head, rows)


def _kind(families: Sequence[FamilyReport], title: str, figures: Mapping[str, Sequence[Figure]]) -> list[str]:
    """Give a section to each family with an equation, and to those of tuning and kernels; the rest are a table."""
    told = [one for one in families if one.law is not None or one.kind != "map"]
    listed = [one for one in families if one.law is None and one.kind == "map"]
    lines = [rf"\section*{{{title}}}"] if families else []
    for one in told:
        lines += _family(one, figures.get(one.id, ()))
    lines += _without_law(listed)
    for one in listed:
        lines += pictures(figures.get(one.id, ()))
    return lines


def _family(one: FamilyReport, figures: Sequence[Figure]) -> list[str]:
    _, what, over = KINDS[one.kind]
    form = f" ({latex_text(one.form)})" if one.form else ""
    lines = [rf"\subsection*{{{latex_text(one.id)}: {latex_text(one.detector)}{form}}}"]
    lines += _equation(one, one.law) if one.law else ["No equation."]
    if one.shared:
        numbers = ", ".join(
            f"${symbol(number.name)} = {with_spread(number.value, number.spread)}$" for number in one.shared
        )
        lines += [f"Shared by all: {numbers} ($\\pm$: spread over {over}).", ""]
    if one.own:
        own = ", ".join(f"${symbol(name)}$" for name in one.own)
        lines += [f"Each {what}'s own: {own}.", ""]
    if one.turned or one.coverage:
        lines += [TURNED if one.turned else SHIFTED, ""]
    lines += [_evidence(one), ""]
    lines += [latex_text(f"{one.note[:1].upper()}{one.note[1:]}."), ""] if one.note else []
    lines += _witnesses(one)
    lines += _members(one, what)
    return [*lines, *pictures(figures), *([r"\clearpage"] if len(figures) > 1 else [])]


def _equation(one: FamilyReport, law: WrittenLaw) -> list[str]:
    """Write the equation on a line of its own and what its parts stand for beneath it."""
    whole, *parts = law.latex
    trees = (law.whole, *(part for _, part in law.parts))
    used = dict.fromkeys(latex_name(name) for tree in trees for name in variables(tree))
    known = {*map(symbol, one.own), *(latex_name(name) for name, _ in law.parts)}
    arguments = ", ".join(name for name in used if name not in known)
    left = rf"\mathrm{{{one.id}}}" + (rf"\left({arguments}\right)" if arguments else "")
    lines = [rf"\law{{{left} = {whole}}}"]
    return [*lines, *(rf"\law{{{part}}}" for part in parts)]


def _evidence(one: FamilyReport) -> str:
    _, what, _ = KINDS[one.kind]
    told = "" if math.isnan(one.p) else f" ($p$: {chance(one.p)})"
    verdict = f"above chance{told}" if one.above_null else "not above chance"
    ratio = "" if math.isnan(one.peer_ratio_error) else rf" $\pm$ {one.peer_ratio_error:.2f}"
    said = [
        f"In {one.lineages} of {one.of_lineages} lineages ({one.lineages / max(one.of_lineages, 1):.0%}), {verdict}",
        f"{_counted(one.units, what)} of {_counted(one.networks, 'network')}",
        *([f"$R^2 = {one.r2:.3f}$"] if math.isfinite(one.r2) else []),
        *([f"peer ratio {one.peer_ratio:.2f}{ratio}"] if math.isfinite(one.peer_ratio) else []),
        *([f"members agree at {one.agreement:.3f}"] if (one.coverage or one.kind == "map") else []),
    ]
    return "; ".join(said).replace("%", r"\%") + "."


def _witnesses(one: FamilyReport) -> list[str]:
    """Say what the equation, fitted without a lineage, is on it."""
    rows = [[breakable(row.lineage), score(row.r2), score(row.ratio)] for row in one.by_lineage]
    return table("lrr", ("without this lineage", "$R^2$ on it", "peer ratio"), rows)


def _members(one: FamilyReport, what: str) -> list[str]:
    """List the members by layer; of kernels, which are in many layers, by network, beside what chance gives."""
    if one.coverage:
        found = {name: [row for row in one.members if row.network == name] for name in one.coverage}
        rows = [
            [breakable(name), f"{len(own)}", f"{sum(len(row.units) for row in own):,}", *map(share, one.coverage[name])]
            for name, own in found.items()
        ]
        return table("lrrrr", ("network", "layers", f"{what}s", "share of all", "by chance"), rows)
    rows = [
        [breakable(row.network), breakable(row.layer), f"{len(row.units):,}", _named(row.units)] for row in one.members
    ]
    return table("lp{0.34\\linewidth}rp{0.24\\linewidth}", ("network", "layer", f"{what}s", "which"), rows)


def _named(units: Sequence[int]) -> str:
    return ", ".join(map(str, units)) if len(units) <= NAMED else ""


def _without_law(families: Sequence[FamilyReport]) -> list[str]:
    rows = [
        [
            latex_text(one.id),
            latex_text(one.detector),
            f"{one.lineages} of {one.of_lineages}",
            score(one.agreement),
            chance(one.p),
            "; ".join(
                f"{breakable(place.network)} {breakable(place.layer)}[{_named(place.units)}]" for place in one.members
            ),
        ]
        for one in families
    ]
    head = ("", "most detect", "lineages", "agreement", "$p$", "units")
    said = ["Matched unit by unit on photos; they have no equation of their own.", ""] if rows else []
    return [*said, r"{\small", *table("llrrrp{0.5\\linewidth}", head, rows), "}"] if rows else []


def _first_layers(firsts: Sequence[FirstLayer]) -> list[str]:
    if not firsts:
        return []
    rows = [
        [
            breakable(one.network),
            breakable(one.layer),
            f"{sum(one.forms.values())} of {one.kernels}",
            latex_text(", ".join(f"{count} {form}" for form, count in one.forms.items())),
        ]
        for one in firsts
    ]
    head = ("network", "layer", "explained", "forms")
    return [
        r"\section*{Kernels of first layers}",
        "How many have a closed form that does better than on kernels without shape.",
        "",
        *table("lp{0.24\\linewidth}rp{0.42\\linewidth}", head, rows),
    ]


def _replacements(replaced: Sequence[Replaced]) -> list[str]:
    if not replaced:
        return []
    rows = [
        [
            breakable(one.network),
            breakable(one.layer),
            "same class" if one.classes else "$R^2$ of outputs",
            latex_text(", ".join(f"{kind} {share:.3f}" for kind, share in one.kept.items())),
        ]
        for one in replaced
    ]
    return [
        r"\section*{Equations in the place of kernels}",
        "What networks keep of their outputs on photos with the closed forms in the place of all kernels of a layer, "
        "beside baselines: the share of photos that get the same class or, of networks without classes, $R^2$.",
        "",
        *table("lp{0.2\\linewidth}lp{0.4\\linewidth}", ("network", "layer", "measure", "kept"), rows),
    ]


def _not_reduced(layers: Sequence[LayerReport]) -> list[str]:
    if not layers:
        return []
    rows = [
        [
            breakable(one.network),
            breakable(one.layer),
            f"{one.units:,}",
            f"{one.units - one.not_reduced - one.silent:,}",
            f"{one.not_reduced:,}",
            f"{one.silent:,}",
            share((one.not_reduced + one.silent) / one.units),
            share(one.twins_left),
        ]
        for one in layers
    ]
    totals = [sum(numbers) for numbers in zip(*((o.units, o.not_reduced, o.silent) for o in layers), strict=True)]
    whole, left, silent = totals
    rows.append(["all", "", f"{whole:,}", f"{whole - left - silent:,}", f"{left:,}", f"{silent:,}"])
    rows[-1] += [share((left + silent) / whole), ""]
    head = ("network", "layer", "units", "follow a law", "not reduced", "silent", "left", "left of twins")
    return [
        r"\section*{What is not reduced}",
        "Units by layer that follow no law of tuning well enough, and those that never vary; beside it the share of "
        "units of untrained twins of which the same is true. A law that twins follow as well is no finding.",
        "",
        *table("lp{0.26\\linewidth}rrrrrr", head, rows),
    ]


def _counted(many: int, one: str, several: str = "") -> str:
    return f"{many:,} {one if many == 1 else several or f'{one}s'}"
