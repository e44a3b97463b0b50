"""Open a zoo of edge models as what is distilled: the directions that the messages of all its networks share.

Messages of networks trained apart are different mixtures of the same force. Of every network the two principal
directions of its messages count; those of all networks are brought together by generalised canonical
correlation, on pairs of bodies as the networks met them. Each configuration is shown in four orientations, all as
likely, so that what messages have of no direction (a constant that the node model takes off again) falls out of
their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from latents import with_derived
from law_cases import BATCH, FITTING, HELD_OUT, OUTSIDE, SAMPLES, Rowed, open_networks
from messages import DIMENSIONS, LAWS, draw_bodies, pair_up

from consilience import open_study
from consilience.analysis.alignment.shared import shared_directions
from consilience.analysis.alignment.similarity import activations
from consilience.analysis.distillation.target import Functions, Target
from consilience.zoo.network import Network, gradients, predict

GRAPHS, SEED = 100, 77
MIRRORED = 0.2
"""How far what mirroring does may be from keeping one axis and turning the other, for the axes to be taken from it."""

Rows = Float[np.ndarray, "samples inputs"]
Weights = Float[np.ndarray, "components directions"]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """One direction of the messages of every network, as functions of what edge models are given."""

    networks: tuple[Network, ...]
    weights: tuple[Float[np.ndarray, " components"], ...]
    shifts: tuple[float, ...]

    def values(self, rows: Rows) -> Float[np.ndarray, "lineages samples"]:
        """Ask every network for what its messages say along the direction."""
        told = zip(self.networks, self.weights, self.shifts, strict=True)
        return np.stack([predict(one, rows, batch=BATCH) @ weights - shift for one, weights, shift in told])

    def slopes(self, rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        """Differentiate that."""
        both = zip(self.networks, self.weights, strict=True)
        return np.stack([gradients(one, rows, tuple(weights.tolist()), batch=BATCH) for one, weights in both])


def message_targets(folder: Path, *, samples: int = SAMPLES, seed: int = 0) -> list[Target]:
    """Open a zoo's shared directions as targets, of unit variance on pairs of bodies as the networks met them."""
    study = open_study(folder)
    targets = []
    for number, direction in enumerate(directions(folder), 1):
        rows = Rowed(study, direction.values)
        target = Target(
            name=f"{folder.name} {number}",
            fit=rows.drawn(samples, seed=seed + FITTING),
            held_out=rows.drawn(samples, seed=seed + HELD_OUT),
            outside=rows.outside(samples, seed=seed + OUTSIDE),
            functions=Functions(rows.names, direction.values, direction.slopes, rows.draw),
        )
        targets.append(with_derived(target, folder))
    return targets


def directions(folder: Path) -> list[Direction]:
    """Find the directions, at most two, that the messages of all networks of a zoo share."""
    networks = open_networks(open_study(folder))
    rows = met(LAWS[folder.name.rpartition("_")[0]].range)
    said = [predict(network, rows, batch=BATCH) for network in networks]
    weights = turned([predict(one, mirrored(rows), batch=BATCH) for one in networks], said, shared(said))
    return [
        Direction(
            networks,
            tuple(mine[:, place] for mine in weights),
            tuple(float(one.mean(axis=0) @ mine[:, place]) for one, mine in zip(said, weights, strict=True)),
        )
        for place in range(weights[0].shape[1])
    ]


def met(charges: tuple[float, float]) -> Rows:
    """Draw pairs of bodies as networks met them, each configuration turned by four right angles."""
    places, attributes = draw_bodies(charges, GRAPHS, seed=SEED)
    edges = pair_up(places, attributes).flatten(0, 2).double().numpy()
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([np.concatenate([edges[:, :2] @ turn, edges[:, 2:]], axis=1) for turn in turns])


def mirrored(rows: Rows) -> Rows:
    """Mirror pairs of bodies in the x axis."""
    return rows * np.array([1.0, -1.0, *np.ones(rows.shape[1] - 2)])


def shared(said: Sequence[Float[np.ndarray, "samples _components"]]) -> list[Weights]:
    """Weigh every network's message components so that all networks say the same: one column a direction."""
    principal = [_principal(messages) for messages in said]
    reduced = [messages @ axes for messages, axes in zip(said, principal, strict=True)]
    found = shared_directions([activations(one, lineage=str(place)) for place, one in enumerate(reduced)])
    deviations = [one.std(axis=0)[:, None] for one in reduced]
    return [axes @ (mine / spread) for axes, mine, spread in zip(principal, found.weights, deviations, strict=True)]


def _principal(messages: Float[np.ndarray, "samples components"]) -> Weights:
    _, vectors = np.linalg.eigh(np.cov(messages.T))
    return np.asarray(vectors[:, ::-1][:, :DIMENSIONS])


def turned(
    mirror: Sequence[Float[np.ndarray, "samples _components"]],
    said: Sequence[Float[np.ndarray, "samples _components"]],
    weights: Sequence[Weights],
) -> list[Weights]:
    """Choose axes in the shared plane, where all are as good: one that mirroring keeps, and one that it turns.

    Where mirroring does something else to it, the axes stay.
    """
    if weights[0].shape[1] != DIMENSIONS:
        return list(weights)
    before, after = (
        np.mean([(one - mine.mean(axis=0)) @ w for one, mine, w in zip(shown, said, weights, strict=True)], axis=0)
        for shown in (said, mirror)
    )
    values, axes = np.linalg.eig(np.linalg.lstsq(before, after, rcond=None)[0])
    order = np.argsort(-values.real)
    if np.abs(values[order] - np.array([1.0, -1.0])).max() > MIRRORED:
        return list(weights)
    axes = axes[:, order].real
    axes = axes / (before @ axes).std(axis=0)
    return [mine @ axes for mine in weights]
