"""Put an equation in the place of a feature's units, inside every network, and tell what the task loses by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Num

from ...zoo.errors import Refused
from ...zoo.network import Layer, Network, predict, record
from ...zoo.substitute import Place, predict_with
from ..distillation.consensus import consensus
from ..distillation.target import Columns
from ..formulas.expression import Expression, evaluate
from ..merging.loss import Loss, Outputs, loss_against, loss_beside
from .stage_cluster import Feature, Member
from .stage_probe import Observed

Inputs = Num[np.ndarray, "rows ..."]
Values = Float[np.ndarray, " values"]


@dataclass(frozen=True, slots=True)
class Substitution:
    """What one network loses as it is, and with something else in the place of its members of a feature.

    `loss` names what is measured. `loss_with` is with the equation, `loss_mean` with the consensus of the
    lineages, `loss_ablated` with each unit's mean: what the feature is worth to the network. NaN with a note
    where nothing can be put into the network, or the equation is not finite.
    """

    network: str
    loss: str
    loss_before: float
    loss_with: float
    loss_mean: float
    loss_ablated: float
    note: str = ""


def substitute(
    feature: Feature,
    networks: Mapping[str, Observed],
    inputs: Inputs,
    *,
    expression: Expression,
    columns: Columns,
    values: Float[np.ndarray, "lineages samples"],
    targets: Num[np.ndarray, "rows ..."] | None = None,
    linked: bool = False,
    device: str = "cpu",
) -> tuple[Substitution, ...]:
    """Put the equation, the consensus and the mean in the place of a feature's members, network by network.

    `columns` are what the equation is written in and `values` what every lineage gives at these inputs, both as in
    the target that was distilled: outputs that zoo.toml names in their unit, all else standardised, which is
    turned back to each member's own scale. If `linked`, each member gets what a monotone function of its
    own, fitted on the other half of the samples, makes of the equation. `networks` are those of the zoo, by name.

    The loss is that against the targets. Without any it is the distance from what networks of other lineages
    predict on average, where zoo.toml names the outputs, else from what the network predicts as it is; both
    as a share of the variance: an output's own consensus is then near 0 by construction, and only targets tell
    whether the equation is the better of the two. Raises BadInput for targets that do not fit.
    """
    names = dict.fromkeys(member.network for member in feature.members)
    asked = names if targets is not None else networks
    predicted = {name: predict(networks[name].network, inputs, device=device) for name in asked}
    losses = {name: _loss(networks[name].network, networks, predicted, targets) for name in names}
    given = (evaluate(expression, columns or {"": values[0]}), consensus(values))
    return tuple(
        _lose(Inside(feature, networks[name], inputs, linked, device), losses[name], predicted[name], *given)
        for name in names
    )


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """The members that one network has of a feature, and the inputs for which other values take their place."""

    feature: Feature
    seen: Observed
    inputs: Inputs
    linked: bool
    device: str

    def predict(self, own: Callable[[Member], Values]) -> Outputs:
        """Predict with what `own` gives, on a member's own scale, in the place of every member."""
        network, put = self.seen.network, dict[str, dict[Place, np.ndarray]]()
        for member in self.feature.members:
            if member.network == network.name:
                values = own(member).reshape(len(self.inputs), -1)
                put.setdefault(member.layer, {})[member.weights or member.unit] = values
        return predict_with(network, self.inputs, put, device=self.device)

    def scaled(self, member: Member, given: Values) -> Values:
        """Turn values of the feature to a member's own scale: its unit's and sign, or through its link."""
        if self.linked:
            return through_link(given, self._asked(member))
        if self.feature.name:
            return given
        if member.weights:
            return given + self.mean(member)
        deviation = float(self.seen.moments(self._layer(member))[1, member.unit]) or 1.0
        return self.mean(member) + member.sign * deviation * given

    def mean(self, member: Member) -> float:
        """Give a member's mean on the probe."""
        layer = self._layer(member)
        if member.weights:
            return float(self.seen.pre(layer).mean(axis=0, dtype=np.float64) @ np.array(member.weights))
        return float(self.seen.moments(layer)[0, member.unit])

    def _asked(self, member: Member) -> Values:
        batches = [batch[member.layer] for batch in record(self.seen.network, self.inputs, device=self.device)]
        if member.weights:
            return np.concatenate([batch.pre @ np.array(member.weights) for batch in batches])
        return np.concatenate([batch.post[:, member.unit] for batch in batches]).astype(np.float64)

    def _layer(self, member: Member) -> Layer:
        return next(layer for layer in self.seen.network.layers if layer.name == member.layer)


def through_link(given: Values, own: Values) -> Values:
    """Give what a monotone function of `given` says of `own`, fitted for each half of the samples on the other.

    Up or down, as the ranks of the two go together: an isotonic regression, flat outside what it was fitted on.
    """
    from scipy.stats import spearmanr
    from sklearn.isotonic import IsotonicRegression

    half = np.random.default_rng(0).permutation(len(given)) % 2 == 0
    told = np.empty(len(given))
    rising = bool(np.ptp(given) == 0 or np.ptp(own) == 0 or spearmanr(given, own).statistic >= 0)
    for fitted in (half, ~half):
        link = IsotonicRegression(increasing=rising, out_of_bounds="clip").fit(given[fitted], own[fitted])
        told[~fitted] = link.predict(given[~fitted])
    return told


def _lose(inside: Inside, loss: Loss, predicted: Outputs, equation: Values, mean: Values) -> Substitution:
    name, before = inside.seen.network.name, loss.of(predicted)
    try:
        ablated = inside.predict(lambda member: np.full(len(mean), inside.mean(member)))
        averaged = inside.predict(lambda member: inside.scaled(member, mean))
        if not np.isfinite(equation).all():
            note = f"the equation is not finite on {(~np.isfinite(equation)).sum()} of {len(equation)} samples"
            return Substitution(name, loss.name, before, math.nan, loss.of(averaged), loss.of(ablated), note)
        replaced = inside.predict(lambda member: inside.scaled(member, equation))
    except Refused as refusal:
        return Substitution(name, loss.name, before, math.nan, math.nan, math.nan, refusal.what)
    return Substitution(name, loss.name, before, loss.of(replaced), loss.of(averaged), loss.of(ablated))


def _loss(
    network: Network,
    networks: Mapping[str, Observed],
    predicted: Mapping[str, Outputs],
    targets: Num[np.ndarray, "rows ..."] | None,
) -> Loss:
    """Choose what a network is held against: targets, others that predict the same, or itself."""
    own = predicted[network.name]
    if targets is not None:
        return loss_against(targets, outputs=own.shape[1])
    others: dict[str, list[Outputs]] = {}
    for name, outputs in predicted.items():
        other = networks[name].network
        if network.outputs and other.outputs == network.outputs and other.lineage != network.lineage:
            others.setdefault(other.lineage, []).append(outputs)
    if not others:
        return replace(loss_beside(own[None]), name="distance from itself")
    means = np.stack([np.mean(outputs, axis=0) for outputs in others.values()])
    return replace(loss_beside(means), name="distance from others")
