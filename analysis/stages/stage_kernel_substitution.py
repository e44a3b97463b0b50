"""Put the forms of kernel families in the place of depthwise kernels, in each network that has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Int, Num
from threadpoolctl import threadpool_limits

from ...zoo.kernels import convolutions
from ...zoo.network import Network
from ...zoo.store import content_key, write_atomically
from ..formulas.parsing import parse
from ..project.study import Study
from ..vision.kernel_family_substitution import substitute_families, watch
from ..vision.kernel_substitution import KernelSubstitution
from .families import Family
from .set_aside import setting_aside
from .stage_ingest import Ingested

VERSION = "kernel-substitution-1"
WATCHED, MEASURED, SHOWN = 32, 16, 40
"""So many photos tell what units see, others how far responses agree, and on so many a network is compared."""


def level_of(size: tuple[int, int]) -> str:
    """Name the depthwise layers whose kernels have so many rows and columns."""
    return f"depthwise {size[0]}×{size[1]}"


def substitutions(
    study: Study, held: Mapping[str, tuple[Ingested, Network]], families: Sequence[Family]
) -> dict[str, list[dict[str, Any]]]:
    """Give rows of `kernel_substitutions` by network: for the layer with most members, and for all at once.

    Only families above chance count. Nothing where photos are not the probe; what was found before is kept.
    """
    shared = [family for family in families if family.above_null and family.level.startswith("depthwise ")]
    names = [name for name in held if any(member.network == name for family in shared for member in family.members)]
    if not names or not study.probe.image:
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for name in study.each("kernels into networks", names, name=str):
        with setting_aside(study, name):
            found[name] = _kept(study, *held[name], shared)
    return found


def _kept(study: Study, item: Ingested, network: Network, shared: Sequence[Family]) -> list[dict[str, Any]]:
    told = [(family.level, family.expression, _places(family, network.name)) for family in shared]
    file = study.store.result_path(
        "kernels", content_key(VERSION, item.key, study.probe.key, study.manifest.seed, told), ".json"
    )
    if not file.exists():
        with threadpool_limits(1):
            made = [
                row
                for level in dict.fromkeys(level for level, *_ in told)
                for row in _rows(study, network, level, shared)
            ]
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(made))
    return list(json.loads(file.read_text()))


def _rows(study: Study, network: Network, level: str, shared: Sequence[Family]) -> list[dict[str, Any]]:
    """Replace the kernels of one size: fitted on photos of one half, compared on photos of the other."""
    own = [family for family in shared if family.level == level]
    layers = {
        name: one.shape[0]
        for name, one in convolutions(network).items()
        if one.depthwise and one.weight and level_of((one.shape[2], one.shape[3])) == level
    }
    members = _members(own, network.name, layers)
    most = max(layers, key=lambda layer: int((members[layer] >= 0).sum()))
    photos, seed = study.probe.inputs, study.manifest.seed
    first, second = photos[: len(photos) // 2], photos[len(photos) // 2 :]
    watched = watch(network, list(layers), _spread(first, WATCHED), _spread(second, MEASURED), seed=seed)
    found = substitute_families(
        network,
        watched,
        [parse(family.expression) for family in own],
        members,
        _spread(second, SHOWN),
        places={most: [most], level: list(layers)},
        seed=seed,
        device=study.device,
    )
    return [row for one in found for row in _written(one)]


def _written(one: KernelSubstitution) -> list[dict[str, Any]]:
    told = {name: getattr(one, name) for name in ("layer", "images", "sure", "units", "numbers")}
    return [{**asdict(row), **told} for row in one.rows]


def _members(
    families: Sequence[Family], network: str, layers: Mapping[str, int]
) -> dict[str, Int[np.ndarray, " units"]]:
    """Say of each kernel which of the families it belongs to, or -1."""
    found = {layer: np.full(units, -1) for layer, units in layers.items()}
    for number, family in enumerate(families):
        for layer, unit in _places(family, network):
            found[layer][unit] = number
    return found


def _places(family: Family, network: str) -> list[tuple[str, int]]:
    return [(member.layer, member.unit) for member in family.members if member.network == network]


def _spread(photos: Num[np.ndarray, "photos ..."], count: int) -> Num[np.ndarray, "some ..."]:
    """Take so many photos at even distances: pieces of one photo follow one another."""
    return np.asarray(photos[np.unique(np.linspace(0, len(photos) - 1, min(count, len(photos))).round().astype(int))])
