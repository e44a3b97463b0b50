"""Write the equation catalogue as a Python module that needs NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

from ..formulas.equation import EquationRecord, constants_in_words, evidence, facts, plain, unit_and_range
from ..formulas.expression import Expression
from ..formulas.expression import variables as variables_of
from ..formulas.printing import python_name, python_names, to_python

ASCII = str.maketrans({"²": "^2", "³": "^3", "±": "+-", "·": "*", "°": "deg", "−": "-", "–": "-", "µ": "u", "μ": "u"})
"""What our sentences and units say beyond ASCII, in comments that any reader of source text can show."""

HEAD = '''"""Equations that networks trained apart agree on, as functions of NumPy arrays.

CATALOGUE holds every entry with its evidence, those without a formula too. Written by Consilience.
"""

import numpy as np
'''


def to_module(records: Sequence[EquationRecord]) -> str:
    """Write one function for each equation and the dictionary CATALOGUE, in plain ASCII.

    Functions bear the names of their targets, made identifiers; of several with one target the
    later ones get their id too.
    """
    names = function_names(records)
    functions = [
        _function(record, record.expression, name)
        for record, name in zip(records, names, strict=True)
        if record.expression is not None
    ]
    entries = [_entry(record, name) for record, name in zip(records, names, strict=True)]
    catalogue = "\n".join(["CATALOGUE = {", *entries, "}", ""])
    return "\n\n".join([HEAD, *functions, catalogue])


def function_names(records: Sequence[EquationRecord]) -> list[str]:
    """Name the functions after their targets, all different."""
    names: list[str] = []
    for record in records:
        name = python_name(record.target_name)
        if name in names:
            name = python_name(f"{name}_{record.id}")
        while name in names:
            name += "_"
        names.append(name)
    return names


def _function(record: EquationRecord, expression: Expression, name: str) -> str:
    called = python_names(arguments_of(record, expression))
    source = to_python(expression, name=name, arguments=list(called))
    signature, _, body = source.partition("\n")
    return f"{signature}\n{_docstring(record, called)}\n{body}"


def arguments_of(record: EquationRecord, expression: Expression) -> list[str]:
    """List the variables that the formula uses, in the record's order."""
    used = variables_of(expression)
    declared = [variable.name for variable in record.variables if variable.name in used]
    return list(dict.fromkeys([*declared, *used]))


def _docstring(record: EquationRecord, called: dict[str, str]) -> str:
    quoted = [_inert(line) for line in words_about(record, called)]
    return "\n".join(f"    {line}".rstrip() for line in (f'"""{quoted[0]}', *quoted[1:], '"""'))


def words_about(record: EquationRecord, called: dict[str, str]) -> list[str]:
    """Say in lines what the function gives, what it takes and what stands for it; the second line is empty."""
    unit = f" [{record.target_unit}]" if record.target_unit else ""
    lines = [
        *(
            f"{called[variable.name]}: {unit_and_range(variable) or 'no unit'}"
            for variable in record.variables
            if variable.name in called
        ),
        *constants_in_words(record),
        *evidence(record),
        f"status: {record.status}",
        record.note,
    ]
    return [line.translate(ASCII) for line in (f"{record.id}: {record.title}{unit}", "", *filter(None, lines))]


def _inert(line: str) -> str:
    """Escape one line of a docstring, so that nothing in it can end the string or hide what follows."""
    escaped = plain(line).replace("\\", "\\\\").replace('"', '\\"')
    return escaped.encode("ascii", "backslashreplace").decode("ascii")


def _entry(record: EquationRecord, name: str) -> str:
    function = name if record.expression is not None else "None"
    lines = [f"        {key!r}: {value!a}," for key, value in facts(record).items() if key != "id"]
    return "\n".join([f"    {plain(record.id)!a}: {{", f"        'function': {function},", *lines, "    },"])
