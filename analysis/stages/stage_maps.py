"""Maps: find units of vision networks that answer alike to photos, up to a shift, and the equations of what they do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from threadpoolctl import threadpool_limits

from ...zoo.maps import record_maps
from ...zoo.network import Network, untrained_twin
from ...zoo.shuffle import shuffled_twin
from ...zoo.store import content_key, write_atomically
from ...zoo.whitening import whiten
from ..distillation.search import resolve
from ..project.study import Study
from ..vision.map_features import MapFeature, map_features
from ..vision.match_maps import MapUnits, Places, common_places, map_units, sample_shifts
from .families import Family, FamilyMember, index_families
from .map_equations import Told, Written, write_equation
from .map_votes import second_votes
from .stage_present import Presented
from .stage_tuning import Tuning, tune

VERSION = "maps-4"
CROPS, SIDE = 160, 128
"""So many pieces of photos are shown, of so many pixels a side, pixel for pixel."""
WHITE = 0.75
"""The power of partial whitening: without it shuffled kernels find partners too, photos being so alike."""
DRAWS = 3
COARSEST = 8.0
"""Maps with a larger stride, in pixels, are not compared: all finer ones would be shifted by as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What was found: features, and whether matched units prefer the same angle, hue, frequency more than by chance."""

    families: tuple[Family, ...]
    votes: Mapping[str, Mapping[str, float]]
    key: str


def match_photos(study: Study) -> Matched:
    """Find features of maps over photos, in all layers that are watched of each network; what was found is kept.

    Which layers of two architectures do the same nobody knows beforehand: units of all of them stand side by side.
    Networks without torch modules, and coarse maps, are left out. Raises what `tune` raises.
    """
    tuning = tune(study)
    seen = [one for one in tuning.presented if _fine(one)]
    settings = (study.manifest.seed, study.manifest.align.q, study.manifest.distil.engine)
    key = content_key(VERSION, tuning.key, study.probe.key, settings, CROPS, SIDE, WHITE, DRAWS)
    file = study.store.result_path("maps", key, ".json")
    if not file.exists():
        with threadpool_limits(1):
            found = _work(study, seen, tuning) if len({one.network.lineage for one in seen}) > 1 else _NOTHING
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(found))
    kept = json.loads(file.read_text())
    families = tuple(Family.read(row) for row in kept["families"])
    index_families(study, "M", key, families)
    with study.writing() as catalogue:
        catalogue.mark("maps", "zoo", key, kept["votes"])
    return Matched(families, kept["votes"], key)


_NOTHING: dict[str, Any] = {"families": [], "votes": {}}


def _fine(presented: Presented) -> list[str]:
    """Name the layers whose maps are fine enough to be compared."""
    return [layer.name for layer in presented.layers if presented.field(layer.name).stride <= COARSEST]


def _work(study: Study, seen: Sequence[Presented], tuning: Tuning) -> dict[str, Any]:
    crops = _crops(study)
    places = common_places(len(crops), seed=study.manifest.seed)
    step = max(one.field(layer).stride for one in seen for layer in _fine(one)) / crops.shape[1]

    def units(network: Network, one: Presented) -> MapUnits:
        values = _read(network, crops, _fine(one), places, step, device=study.device)
        return map_units(values, network=one.network.name, lineage=one.network.lineage, step=step)

    @lru_cache(maxsize=2)  # the first draw of both is asked for twice: where to cut, and then what chance gives
    def twins(make: Any, draw: int) -> list[Float[np.ndarray, "samples units"]]:
        made = [make(one.network, seed=study.manifest.seed * 100_003 + draw) for one in seen]
        return [units(twin, one).activations.values for twin, one in zip(made, seen, strict=True)]

    kinds = {
        "untrained": lambda draw: twins(untrained_twin, draw),
        "shuffled kernels": lambda draw: twins(shuffled_twin, draw),
    }
    level = [units(one.network, one) for one in study.each("maps", seen, name=lambda one: one.network.name)]
    found = map_features(level, twins=kinds, seed=study.manifest.seed, draws=DRAWS)
    told = {
        (name, layer, unit["unit"]): unit
        for name, layers in tuning.results.items()
        for layer, kept in layers.items()
        for unit in kept["units"]
    }
    whole = len({one.network.lineage for one in tuning.presented})
    passed = [feature for feature in found.features if feature.q <= study.manifest.align.q and feature.witnesses > 1]
    families = [_family(study, feature, told, whole).numbered(number) for number, feature in enumerate(passed, 1)]
    return {"families": [asdict(family) for family in families], "votes": second_votes(passed, told)}


def _crops(study: Study) -> Float32[np.ndarray, "crops side side 3"]:
    """Take the middle of every square of the probe, whitened in part."""
    squares = study.probe.inputs[:CROPS]
    edge = (squares.shape[1] - min(SIDE, squares.shape[1])) // 2
    middle = squares[:, edge : squares.shape[1] - edge, edge : squares.shape[2] - edge]
    return whiten(middle.astype(np.float32) / np.float32(255), WHITE).astype(np.float32)


def _read(
    network: Network, crops: np.ndarray, layers: Sequence[str], places: Places, step: float, *, device: str
) -> dict[str, Float32[np.ndarray, "shifts samples _units"]]:
    """Read what units get before their nonlinearity; those that nothing gets past it are 0, and match nothing.

    Before a rectifier that they never pass many units say the same: that there is some contrast.
    """
    spans: dict[str, np.ndarray] = dict.fromkeys(layers, np.zeros(()))

    def maps() -> Iterator[Mapping[str, Float32[np.ndarray, "_crops _units _rows _columns"]]]:
        for batch in record_maps(network, crops, layers, device=device):
            for name, both in batch.items():
                spans[name] = np.maximum(spans[name], np.ptp(both.post, axis=(0, 2, 3)))
            yield {name: both.pre for name, both in batch.items()}

    values = sample_shifts(maps(), places, step)
    return {name: read * (spans[name] > 0).astype(np.float32) for name, read in values.items()}


def _family(study: Study, feature: MapFeature, told: Told, whole: int) -> Family:
    """Tell a feature of maps by what most of its members are tuned to, and by the equation that they share."""
    units = [told.get((member.network, member.layer, member.unit), {}) for member in feature.members]
    named = [unit.get("detector", "not reduced") for unit in units]
    detector = Counter([one for one in named if one != "silent"] or named).most_common(1)[0][0]
    engine, seed = resolve(study.manifest.distil.engine), study.manifest.seed
    written = write_equation(detector, feature.members, told, engine=engine, seed=seed)
    return Family(
        number=0,
        kind="map",
        level="maps of photos",
        members=tuple(FamilyMember(one.network, one.layer, one.unit, one.sign, one.r) for one in feature.members),
        lineages=feature.witnesses,
        universality=feature.witnesses / whole,
        p=feature.p,
        agreement=feature.agreement,
        above_null=True,
        **{one.name: getattr(written, one.name) for one in fields(Written)},
    )
