"""The run of a module as a graph of its steps, without their values."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch

from .lay import has_rule, lay
from .layout import Layout, axis, input_layout
from .step import PASSED, Step

CONSTANT, ROWS, NOTHING = -1, -2, -3
"""Where an argument is from that no step gave: a weight or constant, the module's input, no tensor at all."""


@dataclass(frozen=True, slots=True)
class Node:
    """One step: what it is, which steps gave what it takes, how its result is laid out, whether rows feed it."""

    function: str
    module: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    layout: Layout | None
    bytes: int
    fed: bool


@dataclass(frozen=True, slots=True)
class Run:
    """The steps of a run in order, and for each those it depends on, itself among them, as bits of a number.

    `stream` holds the sums of residual streams: what each goes on from, and what it adds.
    """

    nodes: Sequence[Node]
    ancestors: Sequence[int]
    stream: Mapping[int, tuple[int, int]]


class Recorder:
    """Turn the steps of one run into nodes, in their order."""

    def __init__(self, rows: torch.Tensor, anchors: Mapping[int, Layout]) -> None:
        self.nodes: list[Node] = []
        self.ancestors: list[int] = []
        self._anchors = anchors
        self._results: list[weakref.ref[torch.Tensor]] = []
        self._seen: dict[int, tuple[weakref.ref[torch.Tensor], int, Layout | None]] = {}
        self._note(rows, ROWS, input_layout(rows.shape))

    def __call__(self, step: Step) -> None:
        """Take a step."""
        index = len(self.nodes)
        idle = step.function in PASSED and any(step.result is part for part in step.sources)
        sources = () if idle else tuple(self.place(part) for part in flat(step.sources))  # idle: as if it were not
        layout = lay(step, self._layout) or self._anchored(index, step)
        size = step.result.numel() * step.result.element_size()
        fed = any(source == ROWS or (source >= 0 and self.nodes[source].fed) for source in sources)
        self.nodes.append(Node(step.function, step.module, sources, tuple(step.result.shape), layout, size, fed))
        self._results.append(weakref.ref(step.result))
        before = 1 << index
        for source in sources:
            before |= self.ancestors[source] if source >= 0 else 0
        self.ancestors.append(before)
        if not idle:
            self._note(step.result, index, layout)

    def place(self, value: Any) -> int:
        """Find the step that gave a value last."""
        if not isinstance(value, torch.Tensor):
            return NOTHING
        found = self._seen.get(id(value))
        return found[1] if found is not None and found[0]() is value else CONSTANT

    def gave(self, index: int, value: torch.Tensor) -> bool:
        """Tell whether it was this step that made a tensor."""
        return self._results[index]() is value

    def _layout(self, value: Any) -> Layout | None:
        found = self._seen.get(id(value))
        return found[2] if found is not None and found[0]() is value else None

    def _anchored(self, index: int, step: Step) -> Layout | None:
        found = self._anchors.get(index)
        if found is None or step.function != "linear":
            return found
        return (*found[:-1], axis("unit", step.result.shape[-1]))

    def _note(self, value: torch.Tensor, index: int, layout: Layout | None) -> None:
        self._seen[id(value)] = (weakref.ref(value), index, layout)


def flat(sources: Iterable[Any]) -> list[Any]:
    """List arguments, those in a list or tuple one by one if they are tensors."""
    return list(chain.from_iterable(_parts(source) for source in sources))


def _parts(source: Any) -> Sequence[Any]:
    inner = [part for part in source if isinstance(part, torch.Tensor)] if isinstance(source, list | tuple) else []
    return inner or [source]


def anchors(nodes: Sequence[Node], longer: Sequence[Node], rows: int) -> dict[int, Layout]:
    """Lay out what functions without a rule give, from two runs of which the second has one more row.

    An axis as long as the rows in both is that of the rows, if it is the only one that grew. What comes from
    something that is known to disturb the rows stays as it is.
    """
    found: dict[int, Layout] = {}
    if [node.function for node in nodes] != [node.function for node in longer]:
        return found
    disturbed: set[int] = set()
    for index, (node, other) in enumerate(zip(nodes, longer, strict=True)):
        fed = [source for source in node.sources if source >= 0 and nodes[source].fed]
        laid = all(nodes[source].layout is not None for source in fed)
        if disturbed & set(fed) or (laid and node.fed and node.layout is None and has_rule(node.function)):
            disturbed.add(index)
            continue
        grown = [place for place, sizes in enumerate(zip(node.shape, other.shape, strict=False)) if len(set(sizes)) > 1]
        if node.layout is None and node.fed and len(grown) == 1:
            place = grown[0]
            if (node.shape[place], other.shape[place]) == (rows, rows + 1):
                sizes = enumerate(node.shape)
                found[index] = tuple(axis("row" if at == place else "lost", size) for at, size in sizes)
    return found
