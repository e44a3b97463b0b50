"""Whether a network computes the same after its units were reordered."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from .errors import Refused
from .follow import first_tensor
from .permute import permute_state
from .symmetry_groups import Group, Symmetry

TOLERANCE = 1e-4
"""Of the outputs' spread: what rounding may change."""
NOISE = 0.1
"""Of the size of the numbers in a tensor: what is added to each before the trial."""
LARGEST = 1e6
"""Larger numbers are no weights: what masks attention."""
MOST_DOUBLE = 1 << 26


def holding(module: nn.Module, rows: torch.Tensor, groups: Sequence[Group]) -> tuple[Group, ...]:
    """Keep the groups that can be reordered at random, all at once, without any change of the outputs.

    The trial is of the module with noise on its weights: numbers that are zero at the start of training, or all
    the same, would hide what depends on them. Raises Refused (no-symmetry) if nothing can be told from outputs.
    """
    trial = _Trial(module, rows)
    if trial.keeps(groups):
        return tuple(groups)
    kept: list[Group] = []
    for group in groups:
        if trial.keeps([*kept, group]):
            kept.append(group)
    return tuple(kept)


class _Trial:
    """A noisy copy of a module, and what it gives."""

    def __init__(self, module: nn.Module, rows: torch.Tensor) -> None:
        self._module, self._rows, self._draw = copy.deepcopy(module), rows, np.random.default_rng(0)
        if sum(part.numel() for part in module.parameters()) <= MOST_DOUBLE:
            self._in_double()
        plain = {name: tensor.clone() for name, tensor in self._module.state_dict().items()}
        if not (self._takes(_noisy(plain)) or self._takes(plain)):
            what = "gives outputs on random numbers that do not vary, or are not finite"
            raise Refused("no-symmetry", what, hint="check the weights, and input_shape")

    def _takes(self, state: dict[str, torch.Tensor]) -> bool:
        """Try out on these weights, if outputs tell anything."""
        self._state, self._expected = state, self._run(state)
        self._spread = float(self._expected.std())
        return 0.0 < self._spread < float("inf")

    def keeps(self, groups: Sequence[Group]) -> bool:
        """Tell whether the outputs stay the same."""
        orders = [self._order(group.size) for group in groups]
        found = self._run(permute_state(self._state, Symmetry(tuple(groups)), orders))
        return bool((found - self._expected).abs().max() <= TOLERANCE * self._spread)

    def _order(self, size: int) -> np.ndarray:
        """Draw an order in which no unit stays where it is."""
        order = self._draw.permutation(size)
        return np.asarray(order[(np.argsort(order) + 1) % size])

    def _run(self, state: dict[str, torch.Tensor]) -> torch.Tensor:
        self._module.load_state_dict(state)
        self._module.train().eval()  # which makes modules forget what they keep computed from their weights
        with torch.no_grad():
            return first_tensor(self._module(self._rows), len(self._rows)).double()

    def _in_double(self) -> None:
        single, rows = copy.deepcopy(self._module), self._rows
        try:
            self._module, self._rows = self._module.double(), rows.double()
            self._run(self._module.state_dict())
        except (RuntimeError, TypeError):  # numbers of single precision are written into its code
            self._module, self._rows = single, rows


def _noisy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {name: _with_noise(tensor, draw) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _with_noise(tensor: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    size = float(tensor.double().square().mean().sqrt()) if tensor.numel() else 0.0
    if not size < LARGEST:
        return tensor
    noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64).to(tensor)
    found = tensor + NOISE * (size or 1.0) * noise
    return found.abs() if bool((tensor >= 0).all() and tensor.any()) else found  # variances stay positive
