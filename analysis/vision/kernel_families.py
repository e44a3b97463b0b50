"""Families of kernels across networks: the same few forms, found in each network alone, matched one to one.

Thousands of depthwise kernels are never fitted one by one: k-means centres stand for them, in each
network by itself; a closed form is raced for what the networks' matched centres have in common.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from jaxtyping import Bool, Float, Int

from ...zoo.errors import BadInput
from .kernel_canonical import beside
from .kernel_centres import CENTRES, Centres, Image, Images, canonicalise, find_centres, laid, likeness, live
from .kernel_forms import KernelFit, fit_form
from .kernel_race import kernel_nulls, race

COVERED = math.sqrt(0.5)
"""The least |cos| at which a centre covers a kernel: it gives half of the kernel's squares."""
ERRORS = 3.0
"""A family has more members than its null by so many standard errors of the counts."""

Networks = Mapping[str, Float[np.ndarray, "_ rows columns"]]
Group = Mapping[str, Image]


@dataclass(frozen=True, slots=True, eq=False)
class KernelFamily:
    """One form that networks may share.

    `centre` is the mean of the networks' matched `centres`, norm 1; `matches` holds the |cos| of each two
    of these, `null_match` the mean of what the same pipeline finds in kernels without shape (the
    hardest null). `members` are each network's kernels, by their places in what was given, that the
    *other* networks' centres cover better than those of any other family do; `coverage` is their share
    of the live kernels, `null_coverage` the same share of the hardest null's. `fit` is the closed form of
    the centre, `spread` by how much fits of the networks' own centres differ from its numbers (root mean
    square).
    """

    centre: Image
    centres: Group
    members: Mapping[str, Int[np.ndarray, " members"]]
    matches: Mapping[tuple[str, str], float]
    null_match: float
    coverage: Mapping[str, float]
    null_coverage: Mapping[str, float]
    fit: KernelFit
    spread: Mapping[str, float]

    @property
    def above_null(self) -> bool:
        """Tell whether each two networks agree better, and each network has more members, than chance gives."""
        return min(self.matches.values(), default=0.0) > self.null_match and all(
            _more(share, self.null_coverage[name], len(self.members[name])) for name, share in self.coverage.items()
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """How well the centres of one network stand for the kernels of another.

    `share` is the part of the kernels with a |cos| of at least COVERED to some centre, `cosine` the mean
    of the largest |cos|. `null_share` and `null_cosine` are what the same gives for each null: centres
    found in the one network's null kernels, tried on the other's.
    """

    centres_of: str
    kernels_of: str
    share: float
    cosine: float
    null_share: Mapping[str, float]
    null_cosine: Mapping[str, float]


def cover(kernels_by_network: Networks, *, seed: int, count: int = CENTRES) -> tuple[Coverage, ...]:
    """Measure for every two networks how well the centres of one stand for the kernels of the other.

    Raises BadInput where a network has no live kernel, or the kernels' sizes differ.
    """
    studied = _studied(kernels_by_network, seed, count)
    return tuple(_coverage(studied, left, right) for left, right in permutations(kernels_by_network, 2))


def families(kernels_by_network: Networks, *, seed: int, count: int = CENTRES) -> tuple[KernelFamily, ...]:
    """Find the families of kernels of one size, the one with most members first.

    `count` centres are found in each network; where that is more than it has forms, a form is split.
    Centres are matched with those of the network that is most like the others. Raises BadInput where a
    network has no live kernel, or the kernels' sizes differ.
    """
    studied = _studied(kernels_by_network, seed, count)
    groups = _matched({name: own["given"].centres for name, own in studied.items()})
    nulls = [kind for kind in next(iter(studied.values())) if kind != "given"]
    null_match = max(_typical(_matched({name: own[kind].centres for name, own in studied.items()})) for kind in nulls)
    nearest = {kind: _members(studied, groups, kind) for kind in ("given", *nulls)}
    found = [_family(studied, groups, place, nearest, null_match) for place in range(len(groups))]
    return tuple(sorted(found, key=lambda family: -sum(family.coverage.values())))


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """What one network has: its canonical kernels, where they stood, and their centres."""

    kernels: Images
    places: Int[np.ndarray, " kernels"]
    centres: Centres


def _studied(kernels_by_network: Networks, seed: int, count: int) -> dict[str, dict[str, _Own]]:
    """Find the centres of every network, and those of its nulls."""
    sizes = sorted({"x".join(map(str, kernels.shape[1:])) for kernels in kernels_by_network.values()})
    if len(sizes) != 1:
        raise BadInput(
            f"families are of kernels of one size: found {', '.join(sizes) or 'none'}",
            hint="compare one size at a time",
        )
    studied: dict[str, dict[str, _Own]] = {}
    for number, (name, kernels) in enumerate(kernels_by_network.items()):
        alive = _live(name, kernels)
        nulls = kernel_nulls(kernels[alive][:, None].astype(float), seed + number)
        given = {"given": kernels[alive]} | {kind: null[:, 0] for kind, null in nulls.items()}
        studied[name] = {kind: _own(images, np.flatnonzero(alive), seed, count) for kind, images in given.items()}
    return studied


def _live(name: str, kernels: Images) -> Bool[np.ndarray, " kernels"]:
    try:
        return live(kernels)
    except BadInput as wrong:
        raise BadInput(f"{name}: {wrong.what}", hint="leave the network out, or mend it") from None


def _own(images: Images, places: Int[np.ndarray, " kernels"], seed: int, count: int) -> _Own:
    kernels = canonicalise(images)
    return _Own(kernels, places, find_centres(kernels, seed=seed, count=count))


def _matched(centres: Mapping[str, Centres]) -> list[Group]:
    """Match centres one to one with those of the network that is most like all others."""
    from scipy.optimize import linear_sum_assignment

    pairs = {(a, b): linear_sum_assignment(-likeness(centres[a], centres[b])) for a, b in permutations(centres, 2)}
    total = dict.fromkeys(centres, 0.0)
    for (left, right), pair in pairs.items():
        total[left] += float(likeness(centres[left], centres[right])[pair].sum())
    hub = max(total, key=total.__getitem__)
    partners = {name: dict(zip(*pairs[hub, name], strict=True)) for name in centres if name != hub}
    return [
        {hub: centre}
        | {name: laid(centres[name][own[place]], centre) for name, own in partners.items() if place in own}
        for place, centre in enumerate(centres[hub])
    ]


def _mean(images: Sequence[Image]) -> Image:
    total = np.sum(list(images), axis=0)
    return np.asarray(total / np.linalg.norm(total))


def _cosines(group: Group) -> dict[tuple[str, str], float]:
    return {(a, b): abs(float(np.sum(group[a] * group[b]))) for a, b in combinations(group, 2)}


def _typical(groups: Sequence[Group]) -> float:
    cosines = [cosine for group in groups for cosine in _cosines(group).values()]
    return float(np.mean(cosines)) if cosines else 0.0


def _members(
    studied: Mapping[str, Mapping[str, _Own]], groups: Sequence[Group], kind: str
) -> dict[str, Int[np.ndarray, " _"]]:
    """Say for each kernel which family the other networks put it in, or -1."""
    nearest = {}
    for name, own in studied.items():
        foreign = [[image for other, image in group.items() if other != name] or [*group.values()] for group in groups]
        cosines = np.abs(_flat(own[kind].kernels) @ _flat(np.stack([_mean(images) for images in foreign])).T)
        nearest[name] = np.where(cosines.max(axis=1) >= COVERED, cosines.argmax(axis=1), -1)
    return nearest


def _family(
    studied: Mapping[str, Mapping[str, _Own]],
    groups: Sequence[Group],
    place: int,
    nearest: Mapping[str, Mapping[str, Int[np.ndarray, " _"]]],
    null_match: float,
) -> KernelFamily:
    group = groups[place]
    centre = _mean([*group.values()])
    fit = race(centre[None])[0]
    shares = {kind: {name: float(np.mean(of == place)) for name, of in by.items()} for kind, by in nearest.items()}
    given = shares.pop("given")
    return KernelFamily(
        centre=centre,
        centres=group,
        members={name: own["given"].places[nearest["given"][name] == place] for name, own in studied.items()},
        matches=_cosines(group),
        null_match=null_match,
        coverage=given,
        null_coverage={name: max(by[name] for by in shares.values()) for name in given},
        fit=fit,
        spread=_spread(fit, group),
    )


def _spread(consensus: KernelFit, group: Group) -> dict[str, float]:
    form, numbers = consensus.form, consensus.numbers
    own = [beside(form, fit_form(image[None], form).numbers, numbers) for image in group.values()]
    return {
        name: math.sqrt(sum((each[name] - value) ** 2 for each in own) / len(own)) for name, value in numbers.items()
    }


def _coverage(studied: Mapping[str, Mapping[str, _Own]], left: str, right: str) -> Coverage:
    best = {kind: _best(studied[right][kind].kernels, own.centres) for kind, own in studied[left].items()}
    share = {kind: float(np.mean(cosines >= COVERED)) for kind, cosines in best.items()}
    cosine = {kind: float(cosines.mean()) for kind, cosines in best.items()}
    return Coverage(left, right, share.pop("given"), cosine.pop("given"), share, cosine)


def _best(kernels: Images, centres: Centres) -> Float[np.ndarray, " kernels"]:
    return np.asarray(np.abs(_flat(kernels) @ _flat(centres).T).max(axis=1))


def _flat(images: Float[np.ndarray, "some rows columns"]) -> Float[np.ndarray, "some values"]:
    return images.reshape(len(images), -1)


def _more(share: float, null: float, members: int) -> bool:
    """Tell whether a share is beyond the null's, in standard errors of the two counts."""
    if not members:
        return False
    whole = members / share
    return (share - null) * whole > ERRORS * math.sqrt((share + null) * whole)
