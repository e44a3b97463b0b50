"""Where classifiers are in doubt: near their threshold labels told them something, far from it they err alike.

A network trained on labels knows one level set of its concept. Beyond it its logit grows as its own smoothness has it,
and that networks of one kind share: they agree with each other there more than with the truth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..formulas.expression import evaluate
from .target import Functions, Rows, Sample, Target

DOUBT = 3.0
"""Logits between -3 and 3 are probabilities between 5 and 95 %."""
TIMES = 16
"""Of so many times as many rows those in doubt are kept."""
FEWEST = 100
CLEAR = 0.5
"""At most this share of rows is in doubt where values are those of a classifier."""


def in_doubt(target: Target, *, seed: int) -> Target | None:
    """Give a linked target where its lineages are in doubt, on average; None where that is nowhere, or nearly all.

    Equations must be such as the functions' inputs and derived variables allow.
    """
    functions = target.functions
    if functions is None or not {*target.fit.columns} <= {*functions.names, *functions.derived}:
        return None
    share = float(np.mean(np.abs(target.fit.values.mean(axis=0)) < DOUBT))
    rows = [_drawn(functions, target.fit.values.shape[1], seed + one) for one in (21, 22)]
    if share > CLEAR or min(map(len, rows)) < FEWEST:
        return None
    fitting, held_out = (_sample(target, functions, one) for one in rows)
    near = replace(functions, draw=lambda samples, seed: _drawn(functions, samples, seed))
    return replace(target, fit=fitting, held_out=held_out, outside=None, functions=near)


def _drawn(functions: Functions, samples: int, seed: int) -> Rows:
    rows = functions.draw(TIMES * samples, seed)
    unsure = np.abs(functions.values(rows).mean(axis=0)) < DOUBT
    return np.asarray(rows[unsure][:samples])


def _sample(target: Target, functions: Functions, rows: Rows) -> Sample:
    inputs = dict(zip(functions.names, rows.T, strict=True))
    columns = inputs | {name: evaluate(formula, inputs) for name, formula in functions.derived.items()}
    return Sample(rows, {name: columns[name] for name in target.fit.columns}, functions.values(rows))
