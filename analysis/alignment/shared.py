"""Directions that many networks share, whatever the axes of their units: generalised canonical correlation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment

from ...zoo.errors import BadInput
from .similarity import Activations, same_samples, standardise
from .subspace import ROUNDING, SHRINKAGES, Directions, Principal, basis, halves, principal

DEVIATIONS = 4.0
"""What counts as shared stands so many standard deviations above what shuffled samples give."""
SHUFFLES = 50
MOST = 256
"""No more directions are looked for."""

Layers = Sequence[Float[np.ndarray, "samples _units"]]
Weights = list[Float[np.ndarray, "_units directions"]]
Said = Float[np.ndarray, "networks samples directions"]
Frame = Float[np.ndarray, "samples directions"]


@dataclass(frozen=True, slots=True, eq=False)
class SharedDirections:
    """Directions that networks share, those first that most lineages agree on most; their signs are free.

    `held` marks the networks that have a direction, `lineages` counts theirs. `weights` are a network's,
    over standardised units (dead ones 0), so that its direction has unit variance, or 0 where it has none.
    `prototypes` are what those networks say together, of unit variance. On samples to which weights were
    not fitted, `r` is what a network correlates with the other lineages' prototype, `pairs` what with each
    network; `agreement` is the mean r over the lineages that have the direction.
    """

    weights: tuple[Float[np.ndarray, "_units directions"], ...]
    prototypes: Float[np.ndarray, "samples directions"]
    r: Float[np.ndarray, "networks directions"]
    pairs: Float[np.ndarray, "networks networks directions"]
    held: Bool[np.ndarray, "networks directions"]
    lineages: Int[np.ndarray, " directions"]
    agreement: Float[np.ndarray, " directions"]

    def __len__(self) -> int:
        return len(self.agreement)

    def between(self, left: int, right: int) -> Directions:
        """Map the directions that both networks have; all maps go through what is shared, so they close cycles."""
        both = np.flatnonzero(self.held[left] & self.held[right])
        order = both[np.argsort(-self.pairs[left, right, both], kind="stable")]
        return Directions(self.weights[left][:, order], self.weights[right][:, order], self.pairs[left, right, order])


@dataclass(frozen=True, slots=True, eq=False)
class _Zoo:
    layers: Layers
    lineage: Int[np.ndarray, " networks"]
    votes: Float[np.ndarray, " networks"]
    principals: Sequence[Principal]


def shared_directions(
    networks: Sequence[Activations], *, ranks: Bool[np.ndarray, " ranks"] | None = None, seed: int = 0
) -> SharedDirections:
    """Find the directions that networks share up to any invertible map of their units.

    MAX-VAR of Carroll 1968 and Kettenring 1971, one vote a lineage, covariances shrunk as far as serves
    unseen samples. What is fitted on one half of the samples is judged on the other, a network against the
    other lineages; directions count as long as their mean r there stands above that of shuffled samples.
    Within the space they span, the axes are the independent components (FastICA, Hyvärinen 1999) or the
    canonical ones, whichever both halves find again better. `ranks` leaves canonical directions out: see
    `profile`. Raises BadInput without networks and for networks recorded on different samples.
    """
    zoo, parted = _halved(networks)
    rng = np.random.default_rng(seed)
    unseen = _agreements(zoo, parted)
    shrinkage, count = unseen.shrinkage, _count(zoo, unseen, rng)
    kept = np.arange(count) if ranks is None else np.flatnonzero(ranks[:count])
    fitted = [[one[:, kept] for one in _fit(half, shrinkage, count)] for half in parted]
    weights = _turned(zoo, [one[:, kept] for one in _fit(zoo, shrinkage, count)], parted, fitted)
    return _described(networks, zoo, weights, _unseen(zoo, weights, fitted), rng)


def profile(networks: Sequence[Activations]) -> Float[np.ndarray, " ranks"]:
    """Tell how much networks agree on their first canonical direction, their second and so on, on unseen samples.

    Zoos of chance have such a profile too, since all their networks see the same inputs. Raises what
    `shared_directions` raises.
    """
    return _agreements(*_halved(networks)).agreement


def _halved(networks: Sequence[Activations]) -> tuple[_Zoo, list[_Zoo]]:
    if not networks:
        raise BadInput("no networks to find shared directions in", hint="give at least two, trained apart")
    same_samples(networks)
    zoo = _zoo(networks)
    return zoo, [_part(zoo, rows) for rows, _ in halves(len(zoo.layers[0]))]


def _zoo(networks: Sequence[Activations]) -> _Zoo:
    names = [one.lineage for one in networks]
    lineage = np.array([names.index(name) for name in names])
    votes = 1.0 / np.bincount(lineage)[lineage]
    layers = [standardise(one.values, alive=one.alive)[:, one.alive] for one in networks]
    return _Zoo(layers, lineage, votes, [principal(layer) for layer in layers])


def _part(zoo: _Zoo, rows: Bool[np.ndarray, " samples"]) -> _Zoo:
    layers = [_centred(layer[rows]) for layer in zoo.layers]
    return _Zoo(layers, zoo.lineage, zoo.votes, [principal(layer) for layer in layers])


@dataclass(frozen=True, slots=True, eq=False)
class _Agreements:
    """What each half's canonical directions say on the other half, how far that agrees, and with which shrinkage."""

    shrinkage: float
    said: Sequence[Float[np.ndarray, "networks _samples ranks"]]
    agreement: Float[np.ndarray, " ranks"]


def _agreements(zoo: _Zoo, parted: Sequence[_Zoo]) -> _Agreements:
    """Choose the shrinkage that serves unseen samples best."""
    tried = (_tried(zoo, parted, shrinkage) for shrinkage in SHRINKAGES)
    return max(tried, key=lambda one: float(np.sum(one.agreement * np.abs(one.agreement))))


def _tried(zoo: _Zoo, parted: Sequence[_Zoo], shrinkage: float) -> _Agreements:
    widest = max(layer.shape[1] for layer in zoo.layers)
    fitted = [_fit(half, shrinkage, min(widest, MOST)) for half in parted]
    common = min(weights[0].shape[1] for weights in fitted)
    said = [_said(half.layers, mine)[:, :, :common] for half, mine in zip(parted[::-1], fitted, strict=True)]
    agreement = np.mean([_agreed(zoo, _left_out(zoo, one)) for one in said], axis=0)
    return _Agreements(shrinkage, said, agreement)


def _count(zoo: _Zoo, unseen: _Agreements, rng: np.random.Generator) -> int:
    """Count the directions that agree above chance."""
    leading = _leading(unseen.agreement > 0.0)
    said = [one[:, :, :leading] for one in unseen.said]
    null = np.mean([[_agreed(zoo, r) for r in _shuffled(zoo, one, rng)] for one in said], axis=0)
    return _leading(unseen.agreement[:leading] > _chance(null))


def _fit(zoo: _Zoo, shrinkage: float, count: int) -> Weights:
    """Weigh units so that what networks say together has most of every network's variance in it."""
    bases = [one.whiten(shrinkage=shrinkage) for one in zoo.principals]
    parts = [layer @ one for layer, one in zip(zoo.layers, bases, strict=True)]
    joint = np.concatenate([np.sqrt(vote) * part for vote, part in zip(zoo.votes, parts, strict=True)], axis=1)
    shared = _leading_left(joint, count)
    return [one @ (part.T @ shared) for one, part in zip(bases, parts, strict=True)]


def _leading_left(joint: Float[np.ndarray, "samples columns"], count: int) -> Frame:
    """Give the leading left singular vectors, through the smaller Gram matrix; centring costs one sample."""
    samples, columns = joint.shape
    count = min(count, samples - 1, columns)
    if not count:
        return np.zeros((samples, 0))
    gram = joint @ joint.T if samples <= columns else joint.T @ joint
    values, vectors = eigh(gram, subset_by_index=(len(gram) - count, len(gram) - 1))
    kept = values > ROUNDING * values.max()
    values, vectors = values[kept][::-1], vectors[:, kept][:, ::-1]
    leading: Frame = vectors if samples <= columns else joint @ vectors / np.sqrt(values)
    return leading


def _turned(zoo: _Zoo, weights: Weights, parted: Sequence[_Zoo], fitted: Sequence[Weights]) -> Weights:
    """Turn the axes within the shared space to those which both halves of the samples find again better."""
    if weights[0].shape[1] < 2:
        return weights
    canonical = [_together(zoo, _said(zoo.layers, mine)) for mine in fitted]
    own = [_together(half, _said(half.layers, mine)) for half, mine in zip(parted, fitted, strict=True)]
    independent = [frame @ _independent(seen) for frame, seen in zip(canonical, own, strict=True)]
    if _found_again(*canonical) >= _found_again(*independent):
        return weights
    turn = _independent(_together(zoo, _said(zoo.layers, weights)))
    return [one @ turn for one in weights]


def _independent(frame: Frame) -> Float[np.ndarray, "directions directions"]:
    """Find the weights that make directions as independent as they can be."""
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    whiten = basis(_centred(frame)) * np.sqrt(len(frame))
    with warnings.catch_warnings():
        # Where nothing but chance tells axes apart it does not settle; the other axes are taken then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        turn = FastICA(whiten=False, random_state=0, max_iter=1000).fit(frame @ whiten).components_.T
    return np.asarray(whiten @ turn)


def _found_again(first: Frame, second: Frame) -> float:
    """Match two sets of directions one to one: their mean correlation, whatever their signs."""
    r = np.abs(_lengthened(first).T @ _lengthened(second))
    rows, columns = linear_sum_assignment(r, maximize=True)
    return float(r[rows, columns].mean())


def _unseen(zoo: _Zoo, weights: Weights, fitted: Sequence[Weights]) -> Said:
    """Let the weights fitted on each half of the samples speak on the other, turned to the axes of all."""
    said = _said(zoo.layers, weights)
    axes = _lengthened(_together(zoo, said))
    for (_, held), mine in zip(halves(len(axes)), fitted, strict=True):
        parts = _said([_centred(layer[held]) for layer in zoo.layers], mine)
        ours, _, theirs = np.linalg.svd(_together(zoo, parts).T @ axes[held], full_matrices=False)
        said[:, held] = parts @ (ours @ theirs)
    return said


def _described(
    networks: Sequence[Activations], zoo: _Zoo, weights: Weights, unseen: Said, rng: np.random.Generator
) -> SharedDirections:
    held = _left_out(zoo, unseen) > _chance(np.stack(_shuffled(zoo, unseen, rng)))
    r = _left_out(zoo, unseen, heard=held)
    own = zoo.lineage[:, None] == np.unique(zoo.lineage)
    lineages = (own.T.astype(int) @ held > 0).sum(axis=0)
    votes = held * zoo.votes[:, None]
    agreement = np.sum(votes * r, axis=0) / np.maximum(votes.sum(axis=0), 1e-12)
    order = np.argsort(-lineages * agreement, kind="stable")
    order = order[lineages[order] > 1]
    weights = [mine * keeps for mine, keeps in zip(weights, held, strict=True)]
    sign = np.where(np.sum([mine.sum(axis=0) for mine in weights], axis=0) < 0.0, -1.0, 1.0)
    prototypes = _lengthened(_together(zoo, _said(zoo.layers, weights))) * np.sqrt(len(unseen[0]))
    full = [_over_all(*each) for each in zip(networks, zoo.layers, weights, strict=True)]
    return SharedDirections(
        tuple((mine * sign)[:, order] for mine in full),
        (prototypes * sign)[:, order],
        r[:, order],
        _pairs(unseen[:, :, order]),
        held[:, order],
        lineages[order],
        agreement[order],
    )


def _over_all(
    network: Activations, layer: Float[np.ndarray, "samples live"], weights: Float[np.ndarray, "live directions"]
) -> Float[np.ndarray, "units directions"]:
    length = np.linalg.norm(layer @ weights, axis=0)
    full = np.zeros((network.alive.size, weights.shape[1]))
    full[network.alive] = weights / np.where(length > 0.0, length, np.inf)
    return full


def _said(layers: Layers, weights: Weights) -> Said:
    return np.stack([layer @ mine for layer, mine in zip(layers, weights, strict=True)])


def _together(zoo: _Zoo, said: Said) -> Frame:
    return np.asarray(np.einsum("k,ksd->sd", zoo.votes, said))


def _left_out(
    zoo: _Zoo, said: Said, heard: Bool[np.ndarray, "networks directions"] | None = None
) -> Float[np.ndarray, "networks directions"]:
    """Correlate what each network says with what the other lineages that are heard say together."""
    said = said - said.mean(axis=1, keepdims=True)
    voices = said if heard is None else said * heard[:, None, :]
    total, r = _together(zoo, voices), np.zeros((said.shape[0], said.shape[2]))
    for lineage in np.unique(zoo.lineage):
        mine = np.flatnonzero(zoo.lineage == lineage)
        rest = total - np.einsum("k,ksd->sd", zoo.votes[mine], voices[mine])
        length = np.linalg.norm(said[mine], axis=1) * np.linalg.norm(rest, axis=0)
        # A single lineage leaves nothing but rounding.
        known = length > 1e-12 * np.linalg.norm(total, axis=0) ** 2
        r[mine] = np.where(known, np.einsum("ksd,sd->kd", said[mine], rest) / np.where(known, length, 1.0), 0.0)
    return r


def _shuffled(zoo: _Zoo, said: Said, rng: np.random.Generator) -> list[Float[np.ndarray, "networks directions"]]:
    """Do so again with the samples of each lineage in an order of its own."""
    found = []
    for _ in range(SHUFFLES):
        orders = {lineage: rng.permutation(said.shape[1]) for lineage in np.unique(zoo.lineage).tolist()}
        mixed = np.stack([one[orders[lineage]] for one, lineage in zip(said, zoo.lineage.tolist(), strict=True)])
        found.append(_left_out(zoo, mixed))
    return found


def _agreed(zoo: _Zoo, r: Float[np.ndarray, "networks directions"]) -> Float[np.ndarray, " directions"]:
    return np.asarray(zoo.votes @ r / zoo.votes.sum())


def _chance(null: Float[np.ndarray, "*shuffles directions"]) -> Float[np.ndarray, "*networks directions"]:
    return np.asarray(null.mean(axis=0) + DEVIATIONS * null.std(axis=0))


def _leading(passed: Bool[np.ndarray, " directions"]) -> int:
    """Count those before the first that does not pass."""
    return int(np.argmin(np.append(passed, False)))


def _pairs(said: Said) -> Float[np.ndarray, "networks networks directions"]:
    unit = np.stack([_lengthened(one) for one in said])
    return np.asarray(np.clip(np.einsum("ksd,lsd->kld", unit, unit, optimize=True), -1.0, 1.0))


def _centred(layer: Float[np.ndarray, "samples columns"]) -> Float[np.ndarray, "samples columns"]:
    return np.asarray(layer - layer.mean(axis=0))


def _lengthened(frame: Frame) -> Frame:
    """Centre directions and bring them to length one."""
    centred = _centred(frame)
    length = np.linalg.norm(centred, axis=0)
    return centred / np.where(length > 0.0, length, np.inf)
