"""Hold findings of a level against what the same procedure finds in null zoos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from .align import Given, described
from .cluster import chance_cut, cluster, cluster_outputs
from .feature import Features
from .null import UNTRAINED, Kinds, Twins, exceedance, null_zoos, q_values, worst
from .similarity import Activations

DRAWS = 20
# Once every feature has such a q, more draws change nothing that anyone would act on.
HOPELESS = 0.5
FEWEST_DRAWS = 5
CUT_DRAWS = 2

Finder = Callable[[Sequence[Activations]], Features]


@dataclass(frozen=True, slots=True, eq=False)
class NullFeatures:
    """What the procedure found in the zoos of one null: how many were drawn, and all features in them."""

    draws: int
    agreement: Float[np.ndarray, " features"]
    support: Float[np.ndarray, " features"]


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Features of a level with p, q and lift, and what chance gave.

    p and q are 1 for a feature of one lineage: it is not tested. `lift` is the agreement over the median
    agreement of features of untrained zoos, NaN where there are none.
    """

    features: Features
    p: Float[np.ndarray, " features"]
    q: Float[np.ndarray, " features"]
    lift: Float[np.ndarray, " features"]
    nulls: Mapping[str, NullFeatures]


def group(networks: Sequence[Given], *, odd: bool = False, seed: int = 0, draws: int = DRAWS) -> Judgement:
    """Find what several networks have in common among their units, and how far above chance it is.

    Takes plain arrays, samples x units, one a network, of any widths, recorded on the same samples; each
    counts as a lineage of its own. `odd` says that units may be met with their signs flipped. Held against
    rotated axes and shuffled samples. Raises BadInput for fewer than two networks, networks recorded on
    different samples or on fewer than four.
    """
    level = [described(one, odd=odd, name=f"network {number}") for number, one in enumerate(networks, 1)]
    if len(level) < 2:
        raise BadInput(
            f"{len(level)} network{'s have' if not level else ' has'} nothing in common with others",
            hint="give two networks or more, trained apart",
        )
    return discover(level, seed=seed, draws=draws)


def discover(
    level: Sequence[Activations],
    *,
    outputs: bool = False,
    twins: Twins | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Judgement:
    """Find the features of a level and judge them, with a cut that chance supplies where none is natural."""
    if outputs:
        return judge(level, find=cluster_outputs, twins=twins, seed=seed, draws=draws)
    drawn = [null_zoos(level, draw=draws + number, seed=seed, twins=twins) for number in range(CUT_DRAWS)]
    zoos = [zoo for zoos in drawn for zoo in zoos.values()]
    find = partial(cluster, fallback=chance_cut(zoos, seed=seed))
    return judge(level, find=find, twins=twins, seed=seed, draws=draws)


def judge(
    level: Sequence[Activations],
    *,
    find: Finder,
    twins: Kinds | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Judgement:
    """Run a whole procedure on the level and on null zoos, and compare the support of what it finds.

    A feature's p is the number of null features with at least its support per zoo, over the number of
    features tested: both the choice of clusters and chance correlation are in it. The largest p over the
    nulls counts, and q is over the features of the level. Drawing stops early where chance does as well
    as every feature.
    """
    features = find(level)
    tested = features.universality * len({one.lineage for one in level}) > 1.5
    found: dict[str, list[Features]] = {}
    p, q, nulls = np.ones(len(features)), np.ones(len(features)), dict[str, NullFeatures]()
    for draw in range(draws):
        for name, zoo in null_zoos(level, draw=draw, seed=seed, twins=twins).items():
            found.setdefault(name, []).append(find(zoo))
        nulls = {name: _pooled(parts) for name, parts in found.items()}
        p[tested] = _chances(features.support[tested], nulls)
        q[tested] = q_values(p[tested])
        if draw + 1 >= FEWEST_DRAWS and np.all(q >= HOPELESS):
            break
    return Judgement(features, p, q, _lift(features, nulls), nulls)


def _zoo_p(support: Float[np.ndarray, " features"], null: NullFeatures) -> Float[np.ndarray, " features"]:
    # Per zoo, not per null feature: a null that breaks into many small features must not look harmless.
    return exceedance(support, null.support, trials=null.draws * len(support))


def _chances(
    support: Float[np.ndarray, " features"], nulls: Mapping[str, NullFeatures]
) -> Float[np.ndarray, " features"]:
    return worst({name: _zoo_p(support, null) for name, null in nulls.items()}, len(support))


def _pooled(parts: Sequence[Features]) -> NullFeatures:
    tested = [np.isfinite(one.agreement) for one in parts]
    return NullFeatures(
        len(parts),
        np.concatenate([one.agreement[kept] for one, kept in zip(parts, tested, strict=True)]),
        np.concatenate([one.support[kept] for one, kept in zip(parts, tested, strict=True)]),
    )


def _lift(features: Features, nulls: Mapping[str, NullFeatures]) -> Float[np.ndarray, " features"]:
    null = nulls.get(UNTRAINED)
    if null is None or not null.agreement.size:
        return np.full(len(features), np.nan)
    usual = float(np.median(null.agreement))
    return features.agreement / usual if usual > 0.0 else np.full(len(features), np.nan)
