"""Train a network on its own rows with Adam, and stop by rows that it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

UNSEEN = 0.1
"""Share of a network's own rows that tell when to stop."""

Rows = Float[Tensor, "samples variables"]
Values = Float[Tensor, " samples"]
Trained = TypeVar("Trained", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to train, on how many rows at a time, how fast at most, and how strongly weights decay."""

    epochs: int
    batch: int
    rate: float
    decay: float


def train_early(
    network: Trained,
    inputs: Rows,
    targets: Values,
    *,
    loss: Callable[[Values, Values], Tensor],
    schedule: Schedule,
    after_step: Callable[[Trained, int], None] = lambda network, step: None,
    settled: float = 0.0,
) -> Trained:
    """Train; of all epochs past the share `settled` that one counts which lost least on the unseen rows."""
    held = int(UNSEEN * len(inputs))
    unseen, inputs, targets = (inputs[:held], targets[:held]), inputs[held:], targets[held:]
    steps = len(inputs) // schedule.batch
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=schedule.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=schedule.epochs * steps)
    best, least = network, np.inf
    for epoch in range(schedule.epochs):
        for place, batch in enumerate(torch.randperm(len(inputs))[: steps * schedule.batch].split(schedule.batch)):
            lost = loss(network(inputs[batch])[:, 0], targets[batch])
            optimiser.zero_grad()
            lost.backward()
            optimiser.step()
            rates.step()
            after_step(network, epoch * steps + place)
        with torch.no_grad():
            lost = loss(network(unseen[0])[:, 0], unseen[1])
        if epoch >= settled * schedule.epochs and float(lost) < least:
            best, least = copy.deepcopy(network), float(lost)
    return best
