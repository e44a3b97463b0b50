"""One call of an elementary function of torch, and what is known of the axes that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from .symmetry_axes import Axes, Axis, cut, fix, fresh, length, unify


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the arguments by their names in torch's schema, and the axes of the tensors among them."""

    name: str
    given: Mapping[str, Any]
    result: Any
    known: Callable[[torch.Tensor], Axes]

    def axes(self, name: str) -> Axes:
        """Tell the axes of an argument."""
        return self.known(self.given[name])

    @property
    def results(self) -> list[torch.Tensor]:
        """All tensors that the call gives."""
        return [part for part in listed(self.result) if isinstance(part, torch.Tensor)]

    @property
    def first(self) -> Axes:
        """The axes of the first tensor."""
        return self.known(self.tensors[0])

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors that are given, those in lists one by one."""
        parts = chain.from_iterable(
            part if isinstance(part, list | tuple) else [part] for part in self.given.values() if part is not None
        )
        return [part for part in parts if isinstance(part, torch.Tensor)]


Rule = Callable[[Call], Axes | Sequence[Axes]]
"""Gives the axes of the result, or a list of those of several results."""


def unknown(call: Call) -> Axes:
    """Fix everything that a call is given and gives."""
    for tensor in call.tensors:
        fix(*call.known(tensor))
    return fixed(call.results[0].shape if call.results else ())


def broadcast(shape: Sequence[int], several: Sequence[Axes]) -> Axes:
    """Unify what is laid over one another, from the last axis on."""
    found: list[Axis] = []
    for place, size in enumerate(reversed(shape), start=1):
        here = [axes[-place] for axes in several if len(axes) >= place and length(axes[-place]) == size]
        here = here or [fresh(size)]
        for other in here[1:]:
            unify(here[0], other)
        found.append(here[0])
    return tuple(reversed(found))


def put(axes: Sequence[Axis], place: int, *axis: Axis) -> Axes:
    """Put other axes in the place of one."""
    place %= len(axes)
    return (*axes[:place], *axis, *axes[place + 1 :])


def pieces(axis: Axis, sizes: Sequence[int]) -> Sequence[Axis]:
    """Cut an axis into pieces."""
    found = []
    for size in sizes:
        part, axis = cut(axis, size)
        found.append(part)
    return found


def fixed(shape: Sequence[int]) -> Axes:
    """Make axes of which nothing may change places."""
    return tuple(fresh(size, fixed=True) for size in shape)


def listed(value: Any) -> Sequence[Any]:
    """Take a value as one of several."""
    return value if isinstance(value, list | tuple) else [value]


def each(rule: Rule, names: str) -> dict[str, Rule]:
    """Give several functions one rule."""
    return dict.fromkeys(names.split(), rule)
