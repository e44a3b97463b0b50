"""Write equations in the inputs of networks alone."""

from __future__ import annotations

from collections.abc import Mapping

from consilience.analysis.formulas.expression import Expression, substitute
from consilience.analysis.formulas.parsing import parse


def written_in_inputs(expression: Expression, derived: Mapping[str, str]) -> Expression:
    """Put the formulas of derived variables in their places."""
    return substitute(expression, {name: parse(formula) for name, formula in derived.items()})
