"""One call of a function in the run of a module."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

RESHAPES = frozenset(
    ["view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel", "view_as", "reshape_as"]
)
MOVES = frozenset(
    ["transpose", "permute", "swapaxes", "swapdims", "movedim", "moveaxis", "T", "t", "mT", "mH", "adjoint"]
)
NORMS = frozenset(["batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"])
PASSED = frozenset(["dropout", "alpha_dropout", "feature_dropout", "contiguous", "to", "float", "clone"])
CONVOLUTIONS = frozenset(f"conv{kind}{sides}d" for kind in ("", "_transpose") for sides in (1, 2, 3))
STATES = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])
CELLS = frozenset(["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"])


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a function that gave a tensor, in the order of a run.

    The function goes by torch's name of it without underscores around it, and `sources` are its arguments in
    torch's order; a tensor among them that an earlier step gave is that step's `result` itself. What a layer's
    own weights do is "linear" (inputs, weight, bias) over the last axis, or "conv2d" and the like; the module
    is then the layer. For all other functions it is the block in which the call stands, "" at the top.
    """

    function: str
    module: str
    sources: tuple[Any, ...]
    result: torch.Tensor


@runtime_checkable
class Followed(Protocol):
    """A module that torch functions cannot follow, and that follows itself.

    `follow(rows)` gives all steps of a run and the output; `follow(rows, only=places)` gives what the steps at
    these places of that list give for other rows, by place, and the output.
    """

    def follow(self, rows: torch.Tensor, only: Collection[int] | None = None) -> tuple[Any, torch.Tensor]:
        """Run on rows: steps in order and the output, or the results of the steps in `only` and the output."""
        ...


def numbers(values: Sequence[Any]) -> list[int]:
    """List whole numbers that were given one by one, or as one sequence."""
    given = values[0] if values and isinstance(values[0], list | tuple | torch.Size) else values
    return [int(value) for value in given if isinstance(value, int) and not isinstance(value, bool)]
