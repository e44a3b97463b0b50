"""Symbolic regression engines: columns and values in, a front of our own expressions out.

An engine is one function and one line in ENGINES; what it found bears its name, and nothing else depends on it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from ..formulas.expression import Expression
from .engine_operon import operon, operon_at_hand
from .engine_pysr import Settings, julia_at_hand, pysr

Columns = Mapping[str, Float[np.ndarray, " samples"]]

ALPHABETS = (("sqrt", "square"), ("sqrt", "square", "exp", "log"), ("square", "sin", "cos", "exp"))
"""Functions beside + - * / that restarts use in turn: small alphabets search deeper."""
BUDGETS = {"quick": (1 / 3, 1 / 4), "normal": (1, 1), "thorough": (3, 4)}
"""By how much `restarts`, and the `evaluations` of each, are multiplied."""


@runtime_checkable
class Search(Protocol):
    """Find expressions that fit the values, of many complexities, with the same seed the same ones."""

    def __call__(
        self,
        columns: Columns,
        values: Float[np.ndarray, " samples"],
        *,
        alphabet: Sequence[str],
        evaluations: int,
        seed: int,
        guesses: Sequence[Expression] = (),
    ) -> list[Expression]:
        """Search once, from the guesses on, with so many evaluations of candidates at most.

        The guesses are among what comes back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A search by its name, and whether several of them may run in threads beside each other."""

    name: str
    search: Search
    parallel: bool


ENGINES: dict[str, Engine] = {
    "operon": Engine("operon", operon, True),
    "pysr": Engine("pysr", partial(pysr, settings=Settings(fetch=True)), False),  # who names it lets it fetch Julia
}


def resolve(name: str) -> Engine | None:
    """Give the engine of that name; auto is Operon where it has a wheel, else PySR where Julia is at hand, else none.

    Warns where auto finds neither. Raises BadInput for a name that no engine has.
    """
    if name == "none":
        return None
    if name == "auto":
        found = "operon" if operon_at_hand() else "pysr" if julia_at_hand() else None
        if found is None:
            warnings.warn("no engine here, neither pyoperon nor Julia: the ladder stands alone", stacklevel=2)
        return ENGINES[found] if found else None
    if name not in ENGINES:
        raise BadInput(f"there is no engine {name!r}", hint=f"use auto, none, {' or '.join(ENGINES)}")
    return ENGINES[name]


def restart(
    engine: Engine,
    columns: Columns,
    values: Float[np.ndarray, " samples"],
    *,
    restarts: int,
    evaluations: int,
    seed: int,
    guesses: Sequence[Expression] = (),
    workers: int | None = None,
) -> Iterator[list[Expression]]:
    """Search again and again, each time with the next alphabet and seed; results come in their order.

    While one result is looked at the next searches run already, as many as there are workers (processors,
    where not said). What comes out does not depend on how many that is; to stop early, close the iterator.
    """

    def search(number: int) -> list[Expression]:
        return engine.search(
            columns,
            values,
            alphabet=ALPHABETS[number % len(ALPHABETS)],
            evaluations=evaluations,
            seed=seed * 1000 + number,
            guesses=guesses,
        )

    if not engine.parallel:
        # In the thread that asks: Julia answers only to the one that has started it.
        yield from map(search, range(restarts))
        return
    ahead = workers or _processors()
    executor = ThreadPoolExecutor(ahead)
    try:
        waiting: list[Future[list[Expression]]] = [executor.submit(search, n) for n in range(min(ahead, restarts))]
        for number in range(restarts):
            result = waiting.pop(0).result()
            if number + ahead < restarts:
                waiting.append(executor.submit(search, number + ahead))
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
