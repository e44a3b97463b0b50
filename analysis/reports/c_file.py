"""Write the equation catalogue as a C file that needs math.h only."""

from __future__ import annotations

from collections.abc import Sequence

from ..formulas.equation import EquationRecord, plain
from ..formulas.printing_code import c_names, to_c
from .module import arguments_of, function_names, words_about

HEAD = """/* Equations that networks trained apart agree on, as functions of doubles (C99; link with -lm).
 *
 * Entries without a formula are comments. Written by Consilience.
 */

#include <math.h>
"""


def to_c_file(records: Sequence[EquationRecord]) -> str:
    """Write one function for each equation with its evidence above it, in plain ASCII.

    Functions bear the names of their targets, made identifiers, as in the Python module.
    """
    names = c_names(function_names(records)).values()
    return "\n".join([HEAD, *(_entry(record, name) for record, name in zip(records, names, strict=True))])


def _entry(record: EquationRecord, name: str) -> str:
    if record.expression is None:
        return _comment(words_about(record, {}))
    arguments = arguments_of(record, record.expression)
    comment = _comment(words_about(record, c_names(arguments)))
    return comment + to_c(record.expression, name=name, arguments=arguments)


def _comment(lines: Sequence[str]) -> str:
    """Write a comment that nothing in the lines can end."""
    inert = [plain(line).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?") for line in lines]
    text = "\n".join(f" * {line}".rstrip() for line in inert).encode("ascii", "backslashreplace").decode("ascii")
    return f"/*{text[2:]}\n */\n"
