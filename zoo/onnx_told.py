"""Make steps of what the child of a sandbox told of the run of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .step import Step

_KINDS = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "b1": torch.bool,
    "i4": torch.int32,
}


def steps(told: Sequence[Mapping[str, Any]], known: Mapping[str, torch.Tensor]) -> list[Step]:
    """Make steps of what a child told of one run; every tensor is one object wherever it stands.

    `known` are the rows and the output under their names; other tensors have a shape and no numbers.
    """
    values = dict(known)
    found = []
    for step in told:
        result = values.setdefault(step["value"], _hollow(step["shape"], step["kind"]))
        sources = tuple(_argument(source, values, result) for source in step["sources"])
        found.append(Step(step["function"], step["module"], sources, result))
    return found


def _argument(source: Any, values: Mapping[str, torch.Tensor], result: torch.Tensor) -> Any:
    if not isinstance(source, list):
        return source
    what, *parts = source
    if what == "value":
        return values[parts[0]] if parts[0] in values else torch.zeros(())
    if what == "constant":
        return _hollow(*parts)
    if what == "index":
        return torch.tensor(parts[0])
    if what == "slice":
        return slice(*parts)
    if what == "shape":
        return tuple(result.shape)
    inner = [_argument(part, values, result) for part in parts]
    return tuple(inner) if what == "tuple" else inner


def _hollow(shape: Sequence[int], kind: str) -> torch.Tensor:
    """Make a tensor of a shape that takes no memory."""
    return torch.zeros((), dtype=_KINDS.get(kind, torch.float32 if kind == "bf2" else torch.int64)).expand(tuple(shape))
