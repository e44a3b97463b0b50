"""Random expressions of every function, for laws that must hold of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from consilience.analysis.formulas.expression import FUNCTIONS, Apply, Constant, Expression, Variable

calm = settings(deadline=None, derandomize=True, max_examples=150)
numbers = st.one_of(st.integers(-5, 5).map(float), st.floats(-9, 9, width=32), st.just(math.pi)).map(Constant)


def calls(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Apply any function to as many of the children as it takes."""
    return st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda name: st.tuples(*[children] * FUNCTIONS[name].arity).map(lambda inner: Apply(name, inner))
    )


def expressions_of(names: Sequence[str]) -> st.SearchStrategy[Expression]:
    """Draw expressions of these variables, of at most eight leaves."""
    leaves = st.one_of(numbers, st.sampled_from(tuple(names)).map(Variable))
    return st.recursive(leaves, calls, max_leaves=8)
