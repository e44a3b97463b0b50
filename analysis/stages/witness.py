"""The functions of a feature's members, lineage by lineage: what is distilled is asked here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import Refused
from ...zoo.response import Response, respond
from ..distillation.target import Rows
from .ground import Ground
from .stage_cluster import Feature, Member


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """One member of a feature as a function of the inputs: what its network gives, less `shift`, times `scale`."""

    lineage: str
    response: Response
    shift: float
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """The functions of a feature's members, one for each lineage: rows in, lineages × samples out.

    Members of one lineage are averaged. What zoo.toml names keeps its physical unit, and so does a single unit.
    Everything else, of which each network may have a scale of its own, is standardised by its moments on the
    probe and turned to the feature's sign.
    """

    voices: tuple[Voice, ...]

    @property
    def lineages(self) -> tuple[str, ...]:
        """The lineages that have the feature, in the order of their networks."""
        return tuple(dict.fromkeys(voice.lineage for voice in self.voices))

    def __call__(self, rows: Rows) -> Float[np.ndarray, "lineages samples"]:
        """Ask for the values."""
        return self._mean(lambda voice: (voice.response.values(rows) - voice.shift) * voice.scale)

    def slopes(self, rows: Rows) -> Float[np.ndarray, "lineages samples inputs"]:
        """Ask for the gradients with respect to the inputs. Raises Refused (not-differentiable)."""
        return self._mean(lambda voice: voice.response.slopes(rows) * voice.scale)

    def _mean(self, ask: Callable[[Voice], np.ndarray]) -> np.ndarray:
        votes: dict[str, list[np.ndarray]] = {lineage: [] for lineage in self.lineages}
        for voice in self.voices:
            votes[voice.lineage].append(ask(voice))
        return np.stack([np.mean(values, axis=0) for values in votes.values()])

    def differentiable(self, rows: Rows) -> bool:
        """Tell whether all members have gradients."""
        try:
            self.slopes(rows[:2])
        except Refused:
            return False
        return True


def witness(feature: Feature, ground: Ground, *, device: str = "cpu") -> Witness:
    """Gather the functions of a feature's members. Raises BadInput for a member that lies elsewhere."""
    return Witness(tuple(_voice(feature, member, ground, device) for member in feature.members))


def _voice(feature: Feature, member: Member, ground: Ground, device: str) -> Voice:
    network, layer = ground.place(member)
    response = respond(network, member.weights or member.unit, layer=layer, device=device)
    if feature.name:
        return Voice(network.lineage, response, 0.0, 1.0)
    seen = response.values(ground.reference)
    spread = 1.0 if member.weights else float(seen.std()) or 1.0
    return Voice(network.lineage, response, float(seen.mean()), member.sign / spread)
