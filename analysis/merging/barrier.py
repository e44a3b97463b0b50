"""How far the loss rises on the straight line between the weights of two networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from ...zoo.network import Network, predict
from .averaging import average, reset_statistics
from .loss import Loss, loss_against, loss_beside

POINTS = 11


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """The loss of (1 - t) left + t right, for t evenly from 0 to 1, and what loss it is."""

    loss: str
    t: Float[np.ndarray, " points"]
    losses: Float[np.ndarray, " points"]

    @property
    def rise(self) -> Float[np.ndarray, " points"]:
        """How far each loss lies above the line between the two ends."""
        rise: Float[np.ndarray, " points"] = self.losses - ((1.0 - self.t) * self.losses[0] + self.t * self.losses[-1])
        return rise

    @property
    def height(self) -> float:
        """The highest rise, at least 0: the barrier of Frankle et al. 2020 in the form of Entezari et al. 2022.

        Ainsworth et al. 2023 (definition 2.2) take the ends' mean in the place of the line: the same where
        both ends lose the same.
        """
        return float(self.rise.max())


def barrier(
    left: Network,
    right: Network,
    inputs: Num[np.ndarray, "samples ..."],
    targets: Num[np.ndarray, "samples ..."] | None = None,
    *,
    points: int = POINTS,
    reset: bool = False,
    device: str = "cpu",
) -> Barrier:
    """Take the loss along the line between two networks of one architecture, of all floating numbers they hold.

    Without targets it is the distance from the mean prediction of the two: see `loss_beside`. `reset` gathers the
    statistics of batch norms anew on the inputs, between the ends. Raises what `same_architecture` and
    `loss_against` raise.
    """
    ends = [predict(network, inputs, device=device) for network in (left, right)]
    loss = loss_beside(np.stack(ends)) if targets is None else loss_against(targets, outputs=ends[0].shape[1])
    t = np.linspace(0.0, 1.0, points)
    inner = [_lost(average([left, right], [1.0 - at, at]), inputs, loss, reset, device) for at in t[1:-1].tolist()]
    return Barrier(loss.name, t, np.array([loss.of(ends[0]), *inner, loss.of(ends[1])]))


def _lost(network: Network, inputs: Num[np.ndarray, "samples ..."], loss: Loss, reset: bool, device: str) -> float:
    run = reset_statistics(network, inputs, device=device) if reset else network
    return loss.of(predict(run, inputs, device=device))
