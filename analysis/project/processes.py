"""Work on many things at once, each in a process of its own; what comes out does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from threadpoolctl import threadpool_limits

Given = TypeVar("Given")
Made = TypeVar("Made")
IDLE = 30
"""Seconds after which a process that nobody asks ends by itself."""


def apart(function: Callable[[Given], Made], items: Iterable[Given], *, least: int = 2) -> Iterator[Made]:
    """Give what a function makes of each item, in their order, with as many processes as there are processors.

    Each computes with one thread. Fewer items than `least`, or one processor, are worked on here. The function must
    be one of a module, and depend on nothing but the item. Raises what the function raises; to stop early, close the
    iterator.
    """
    from joblib import Parallel, delayed, effective_n_jobs, parallel_config

    known = list(items)
    processes = effective_n_jobs(-1) if len(known) >= least else 1
    if processes == 1:
        with threadpool_limits(1):
            yield from map(function, known)
        return
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1, idle_worker_timeout=IDLE):
        yield from Parallel(return_as="generator", max_nbytes=None)(delayed(function)(item) for item in known)
