"""Tensors of which some lie in files as plain numbers, and others must be unpacked or computed first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .weights import Place, Weights, read_place


@dataclass(frozen=True, slots=True)
class Packed:
    """A tensor of a known shape that has to be made when it is asked for."""

    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Held(Mapping[str, np.ndarray]):
    """Tensors by name; each access reads or makes one, names and shapes are free."""

    parts: Mapping[str, Place | Packed]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, without reading one."""
        return {name: part.shape for name, part in self.parts.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        part = self.parts[name]
        return read_place(part) if isinstance(part, Place) else part.make()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def hold(parts: Mapping[str, Place | Packed]) -> Weights | Held:
    """Give tensors by name: as Weights where all of them lie in files."""
    places = {name: part for name, part in parts.items() if isinstance(part, Place)}
    return Weights(places) if len(places) == len(parts) else Held(parts)
