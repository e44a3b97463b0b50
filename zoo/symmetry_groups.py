"""Units of a network that can be reordered, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where the units of a group stand in one tensor of the state dict.

    Along the axis, unit by unit from `start` on: index = start + (b * size + unit) * after + a, where b counts
    to `before` and a to `after`.
    """

    tensor: str
    axis: int
    before: int
    after: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Units that can be reordered together; `layers` are those of the network whose units they are, in their order."""

    size: int
    places: tuple[Place, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Symmetry:
    """All groups of a network. Each can be reordered by itself."""

    groups: tuple[Group, ...]
