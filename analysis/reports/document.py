"""Write the equation catalogue as pages that people read: Markdown and LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ..formulas.equation import (
    DIGITS,
    EquationRecord,
    constants_in_words,
    evidence,
    finite,
    formula,
    formula_latex,
    plain,
    unit_and_range,
)
from ..formulas.printing import GREEK

COLUMNS = ("id", "what", "status", "equation", "complexity", "fidelity", "peer ratio", "universality")

LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "°": r"$^{\circ}$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{OHM SIGN}": r"$\Omega$",
    "\N{MINUS SIGN}": "$-$",
}


def to_markdown(records: Sequence[EquationRecord]) -> str:
    """Write a table of all equations, then a section for each."""
    head = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    table = [*head, *(_row(_cells(record)) for record in records)]
    sections = [_section(record) for record in records]
    return "\n\n".join(["# Equations", "\n".join(table), *sections]) + "\n"


def markdown_text(text: str) -> str:
    """Escape text so that Markdown and HTML show it as it is."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_{}\[\]()#!|~$:@])|^([+-])", r"\\\g<0>", escaped.strip())
    return re.sub(r"(?i)\bwww\.", r"www\.", escaped)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(record: EquationRecord) -> list[str]:
    text = formula(record, digits=DIGITS)
    return [
        markdown_text(record.id),
        markdown_text(record.title),
        markdown_text(record.status),
        f"`{text}`" if text else "",
        str(record.complexity) if text else "",
        _number(record.fidelity, ".6g"),
        _ratio(record),
        _number(record.universality, ".0%"),
    ]


def _number(value: float, form: str) -> str:
    return "" if finite(value) is None else format(value, form)


def _ratio(record: EquationRecord) -> str:
    error = _number(record.peer_ratio_error, ".2g")
    ratio = _number(record.peer_ratio, ".3g")
    return f"{ratio} ± {error}" if ratio and error else ratio


def _section(record: EquationRecord) -> str:
    unit = f" in {markdown_text(record.target_unit)}" if record.target_unit else ""
    lines = [f"## {markdown_text(record.id)}: {markdown_text(record.title)}", ""]
    if record.expression is not None:
        lines += ["```math", formula_latex(record), "```", ""]
        lines += [f"- {markdown_text(record.target_name)}{unit}"] if unit else []
    for variable in record.variables:
        words = markdown_text(unit_and_range(variable))
        lines.append(f"- {markdown_text(variable.name)}{': ' if words else ''}{words}")
    lines += [f"- {markdown_text(line)}" for line in constants_in_words(record)]
    lines += [f"- {sentence}" for sentence in evidence(record)]
    return "\n".join([*lines, *(["", markdown_text(record.note)] if record.note else [])])


def to_latex_document(records: Sequence[EquationRecord]) -> str:
    """Write an article that compiles without any package beyond LaTeX's own."""
    body = "\n".join(latex_section(record) for record in records)
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[T1]{fontenc}",
            r"\begin{document}",
            r"\section*{Equations}",
            body,
            r"\end{document}",
            "",
        ]
    )


def latex_text(text: str) -> str:
    """Escape text so that LaTeX prints it as it is; letters that its fonts lack become question marks."""
    return "".join(LATEX_SPECIALS.get(letter) or _latex_letter(letter) for letter in plain(text)).strip()


def _latex_letter(letter: str) -> str:
    kind, _, code = unicodedata.decomposition(letter).partition(" ")
    if kind == "<super>":
        raised = chr(int(code.split()[0], 16))
        return f"$^{{{raised}}}$" if raised.isalnum() and raised.isascii() else "$^{-}$"
    size, _, name = unicodedata.name(letter, "").removeprefix("GREEK ").partition(" LETTER ")
    command = name.lower() if size == "SMALL" else name.capitalize()
    if GREEK.fullmatch(command):
        return f"$\\{command}$"
    return letter if ord(letter) < 256 else "?"


def latex_section(record: EquationRecord) -> str:
    """Write an equation under a title of its own, with its evidence."""
    lines = [rf"\subsection*{{{latex_text(record.id)}: {latex_text(record.title)}}}"]
    if record.expression is not None:
        lines += [r"\[", formula_latex(record), r"\]"]
    items = [latex_text(sentence) for sentence in _sentences(record)]
    if items:
        lines += [r"\begin{itemize}", *(rf"\item {{}}{item}" for item in items), r"\end{itemize}"]
    return "\n".join([*lines, latex_text(record.note)])


def _sentences(record: EquationRecord) -> list[str]:
    unit = f" [{record.target_unit}]" if record.target_unit else ""
    return [
        f"status: {record.status}",
        *([f"{record.target_name}{unit}"] if record.expression is not None else []),
        *(f"{variable.name} {unit_and_range(variable)}".strip() for variable in record.variables),
        *constants_in_words(record),
        *evidence(record),
    ]
