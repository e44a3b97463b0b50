"""Order layers: numbers order those that share a name, shapes order the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import TypeVar

MOST_STEMS = 5
MOST_LAYERS = 1000


@dataclass(frozen=True, slots=True)
class Weighted:
    """A layer by its name in the checkpoint and the shape of its weights: outputs, inputs, and what else there is."""

    name: str
    shape: tuple[int, ...]


Layer = TypeVar("Layer", bound=Weighted)


class NoOrder(Exception):
    """Layers that are no chain, and why."""


def orders(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Give every order in which each layer takes what the one before gives. Raises NoOrder where there is none."""
    if len(layers) > MOST_LAYERS:
        raise NoOrder(f"it has {len(layers)} layers")
    groups = list(by_kind(layers).values())
    if len(groups) > MOST_STEMS:
        raise NoOrder(f"its {len(layers)} weights have {len(groups)} kinds of names")
    found = [[layer for group in order for layer in group] for order in permutations(groups)]
    fitting = [chain for chain in found if _break(chain) is None]
    if not fitting:
        raise NoOrder(str(_break(found[0])))
    return fitting


def by_kind(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """Group layers by their names without the numbers, in the order of these."""
    groups: dict[str, list[Layer]] = {}
    for layer in sorted(layers, key=lambda layer: numbers(layer.name)):
        groups.setdefault(kind(layer.name), []).append(layer)
    return groups


def kind(name: str) -> str:
    """Put a # for every number in a name."""
    return re.sub(r"\d+", "#", name)


def numbers(name: str) -> list[int]:
    """List the numbers in a name."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _break(chain: Sequence[Weighted]) -> str | None:
    for left, right in pairwise(chain):
        given, taken = left.shape[0], right.shape[1]
        if given != taken:
            return f"{left.name[:80]} gives {given}, {right.name[:80]} takes {taken}"
    return None
