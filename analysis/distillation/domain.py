"""Where functions are asked: rows as people bring them, a sampler of rows, or a box of ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ...zoo.errors import BadInput
from ...zoo.probe import InputVariable, Probe
from ..formulas.expression import FUNCTIONS, Variable
from .callables import numbers
from .target import Rows

FEWEST = 16
"""Rows needed: one half is fitted to, the other half judges."""

HINT = "give rows (an array, a frame, a dict of columns), a dict of ranges {name: (low, high)}, or a sampler(n, rng)"


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Named inputs and how rows of them are drawn, `draw(samples, seed)`.

    `halves` gives rows to fit to and others to judge by, `outside` rows beyond, or None where that is not known.
    `free` says that inputs may be set one by one. `rows` are those that were given, if any were.
    """

    names: tuple[str, ...]
    draw: Callable[[int, int], Rows]
    halves: Callable[[int, int], tuple[Rows, Rows]]
    outside: Callable[[int, int], Rows | None]
    free: bool
    rows: Rows | None = None


def domain_of(inputs: Any, names: Sequence[str] | None) -> Domain:
    """Understand what inputs were given; without names, those of the columns, or x0, x1, …

    Raises BadInput for what are no rows, ranges or sampler, for too few rows, for NaN in them, and for names that
    are none or do not fit.
    """
    if _is_box(inputs):
        return _of_box({name: tuple(map(float, inputs[name])) for name in _picked(list(inputs), names)})
    if callable(inputs):
        return _of_sampler(inputs, names)
    return _of_rows(*rows_of(inputs, names))


def rows_of(inputs: Any, names: Sequence[str] | None) -> tuple[Rows, tuple[str, ...]]:
    """Read rows and the names of their columns. Raises what `domain_of` does, but for too few rows."""
    known = _columns(inputs)
    if known is not None:
        chosen = _picked(known, names)
        columns = [numbers(inputs[name], f"column {name!r}") for name in chosen]
        if any(column.shape != columns[0].shape or column.ndim != 1 for column in columns):
            shapes = ", ".join(f"{name} {column.shape}" for name, column in zip(chosen, columns, strict=True))
            raise BadInput(f"the columns do not fit together: {shapes[:200]}", hint="give columns of one length")
        rows = np.column_stack(columns)
    else:
        rows = numbers(inputs, "inputs")
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2:
            raise BadInput(f"inputs of shape {rows.shape} are no rows of variables", hint=HINT)
        chosen = tuple(names) if names is not None else tuple(f"x{place}" for place in range(rows.shape[1]))
    _check_names(chosen, rows.shape[1])
    wrong = int((~np.isfinite(rows)).any(axis=1).sum())
    if wrong:
        raise BadInput(f"inputs are NaN or infinite in {wrong} of {len(rows)} rows", hint="leave those rows out")
    return rows, chosen


def _columns(inputs: Any) -> list[str] | None:
    """Name the columns of a dict or a frame, None for what has no names."""
    if isinstance(inputs, Mapping):
        return [*inputs]
    columns = getattr(inputs, "columns", None)
    return None if columns is None else [*columns]


def _picked(known: Sequence[str], names: Sequence[str] | None) -> tuple[str, ...]:
    if not known:
        raise BadInput("inputs without a single variable", hint=HINT)
    missing = [name for name in names or () if name not in known]
    if missing:
        raise BadInput(f"inputs have no column {missing[0]!r}", hint=f"they have {', '.join(map(str, known[:20]))}")
    return tuple(known) if names is None else tuple(names)


def _check_names(names: Sequence[str], width: int) -> None:
    """Demand as many names as columns, all different, that can stand in a formula."""
    if len(names) != width:
        raise BadInput(f"{len(names)} names for {width} columns: {', '.join(map(str, names))}", hint="name each column")
    if len(set(names)) < len(names):
        raise BadInput(f"a name stands twice in {', '.join(map(str, names))}", hint="name each column once")
    for name in names:
        check_name(str(name))


def check_name(name: str) -> str:
    """Give a name back that can stand in a formula. Raises BadFormula, and BadInput for that of a function."""
    if name in FUNCTIONS:
        raise BadInput(f"{name!r} is a function and cannot name a variable", hint="give it another name")
    return Variable(name).name


def _is_box(inputs: Any) -> bool:
    return (
        isinstance(inputs, Mapping)
        and bool(inputs)
        and all(
            isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(end, Real) for end in value)
            for value in inputs.values()
        )
    )


def _of_box(ranges: Mapping[str, Sequence[float]]) -> Domain:
    _check_names([*ranges], len(ranges))
    for name, (low, high) in ranges.items():
        if not (np.isfinite([low, high]).all() and low < high):
            raise BadInput(f"{name} from {low:g} to {high:g} is no range", hint="give (low, high) with low < high")
    variables = tuple(InputVariable(name, float(low), float(high), "") for name, (low, high) in ranges.items())
    probe = Probe(np.zeros((0, len(variables))), variables, True, "")

    def draw(samples: int, seed: int) -> Rows:
        return probe.draw(samples, seed=seed)

    return Domain(
        names=tuple(ranges),
        draw=draw,
        halves=lambda samples, seed: (draw(samples, seed), draw(samples, seed + 1)),
        outside=lambda samples, seed: probe.draw_outside(samples, seed=seed),
        free=True,
    )


def _of_rows(rows: Rows, names: tuple[str, ...]) -> Domain:
    if len(rows) < FEWEST:
        raise BadInput(f"{len(rows)} rows are too few", hint=f"give at least {FEWEST}, better some hundreds")

    def draw(samples: int, seed: int) -> Rows:
        return rows[np.random.default_rng(seed).permutation(len(rows))[:samples]]

    def halves(samples: int, seed: int) -> tuple[Rows, Rows]:
        one, other = split(len(rows), samples, seed)
        return rows[one], rows[other]

    return Domain(names, draw, halves, lambda samples, seed: None, free=False, rows=rows)


def split(rows: int, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows to fit to and as many others to judge by."""
    order = np.random.default_rng(seed).permutation(rows)[: 2 * samples]
    return order[: len(order) // 2], order[len(order) // 2 :]


def _of_sampler(sampler: Callable[[int, np.random.Generator], Any], names: Sequence[str] | None) -> Domain:
    _, known = rows_of(sampler(FEWEST, np.random.default_rng(0)), names)

    def draw(samples: int, seed: int) -> Rows:
        rows, _ = rows_of(sampler(samples, np.random.default_rng(seed)), names)
        if rows.shape != (samples, len(known)):
            raise BadInput(
                f"the sampler gives shape {rows.shape} where {samples} rows of {len(known)} variables were asked for",
                hint="sampler(n, rng) gives n rows drawn with rng",
            )
        return rows

    return Domain(
        names=known,
        draw=draw,
        halves=lambda samples, seed: (draw(samples, seed), draw(samples, seed + 1)),
        outside=lambda samples, seed: None,
        free=False,
    )
