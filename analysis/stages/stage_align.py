"""Align: put layers into correspondence, and match units across networks against what chance gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from ...zoo.network import Layer, record, untrained_twin
from ...zoo.store import content_key, write_atomically
from ..alignment.align import match
from ..alignment.correspond import Level, RecordedLayer, correspond
from ..alignment.similarity import Activations, activations, cka_table
from ..project.study import Study
from .stage_probe import Observed, probe

VERSION = "align-4"
MOST_UNITS = 16_384
"""Units of one layer that are matched with those of others."""
MATCH_COLUMNS = ("left_network", "left_unit", "right_network", "right_unit", "r", "p", "q")


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Networks that were probed, the levels of their layers, and the key of both."""

    observed: tuple[Observed, ...]
    levels: tuple[Level, ...]
    key: str

    def layer(self, place: tuple[int, int]) -> Layer:
        """Look up a layer of a level."""
        network, position = place
        return self.observed[network].network.layers[position]

    def activations(self, level: Level) -> list[Activations]:
        """Read what the networks of a level gave on the probe, before the nonlinearity."""
        return [
            activations(
                self.observed[place[0]].pre(self.layer(place)),
                odd=self.layer(place).odd,
                lineage=self.observed[place[0]].network.lineage,
                alive=self.observed[place[0]].alive(self.layer(place)),
                source=(self.observed[place[0]].network, self.layer(place).name),
            )
            for place in level.layers
        ]


class Twins:
    """Untrained twins of the networks on the probe, made on the fly; kept in memory within BUDGET bytes."""

    BUDGET = 2**30

    def __init__(self, study: Study, aligned: Aligned) -> None:
        self._study, self._aligned, self._kept, self._size = study, aligned, dict[tuple[int, int], Any](), 0

    def of(self, level: Level, draw: int) -> list[Float[np.ndarray, "samples units"]]:
        """Give the activations of one draw of twins for the layers of a level, in its order."""
        return [self._network(network, draw)[position] for network, position in level.layers]

    def _network(self, index: int, draw: int) -> list[Float[np.ndarray, "samples units"]]:
        if (index, draw) in self._kept:
            return self._kept[index, draw]  # type: ignore[no-any-return]
        network = self._aligned.observed[index].network
        twin = untrained_twin(network, seed=self._study.manifest.seed * 100_003 + draw)
        batches = list(record(twin, self._study.probe.inputs, device=self._study.device))
        arrays = [np.concatenate([batch[layer.name].pre for batch in batches]) for layer in twin.layers]
        size = sum(array.nbytes for array in arrays)
        if self._size + size <= self.BUDGET:
            self._kept[index, draw] = arrays
            self._size += size
        return arrays


def align(study: Study) -> Aligned:
    """Match the units of every two networks, level by level; what was matched before is kept.

    Raises what `probe` raises.
    """
    observed = probe(study)
    names = [(seen.key, seen.network.name, seen.network.lineage) for seen in observed]
    key = content_key(VERSION, names, study.manifest.seed, study.manifest.align.method, study.manifest.align.q)
    file = study.store.result_path("align", key, ".npz")
    if not file.exists():
        arrays = _work(study, observed, key)
        with write_atomically(file) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
    with np.load(file, allow_pickle=False) as arrays:
        levels = tuple(
            Level(name, role, kind, tuple(axes), positions, tuple((network, place) for network, place in layers))
            for name, role, kind, axes, positions, layers in json.loads(str(arrays["levels"]))
        )
        aligned = Aligned(observed, levels, key)
        _index(study, aligned, arrays)
    return aligned


def _within_reach(levels: Sequence[Level], observed: Sequence[Observed]) -> Iterator[Level]:
    """Leave out layers of so many units that matrices of unit by unit do not fit: maps as outputs, one unit a pixel."""
    for level in levels:
        kept = tuple(
            (network, place)
            for network, place in level.layers
            if observed[network].network.layers[place].units <= MOST_UNITS
        )
        if len(kept) > 1 or kept == level.layers:
            yield replace(level, layers=kept)


def _work(study: Study, observed: Sequence[Observed], key: str) -> dict[str, np.ndarray]:
    layers = [
        [RecordedLayer(at.role, at.kind, at.axes, at.positions, seen.pre(at)) for at in seen.network.layers]
        for seen in observed
    ]
    levels = tuple(_within_reach(correspond(layers), observed))
    aligned = Aligned(tuple(observed), levels, key)
    twins = Twins(study, aligned)
    plain = [(at.name, at.role, at.kind, at.axes, at.positions, at.layers) for at in levels]
    arrays: dict[str, np.ndarray] = {"levels": np.array(json.dumps(plain))}
    for number, level in enumerate(study.each("align", levels, name=lambda level: level.name)):
        found = match(
            aligned.activations(level),
            method=study.manifest.align.method,
            twins=lambda draw, level=level: twins.of(level, draw),  # type: ignore[misc]
            seed=study.manifest.seed,
            device=study.device,
        )
        arrays |= {f"{number}/{column}": getattr(found, column) for column in MATCH_COLUMNS}
        for name, null in found.null_r.items():
            arrays[f"{number}/null/{name}"] = null
            arrays[f"{number}/passed/{name}"] = np.array(found.passed(study.manifest.align.q)[name])
    return arrays | _similarities(layers)


def _similarities(layers: Sequence[Sequence[RecordedLayer]]) -> dict[str, np.ndarray]:
    """Compare all layers that can be compared: places, and CKA for every two of them."""
    groups: dict[tuple[str, str, tuple[str, ...], int], list[tuple[int, int]]] = {}
    for network, stack in enumerate(layers):
        for position, layer in enumerate(stack):
            key = (layer.role, layer.kind, layer.axes, layer.positions)
            groups.setdefault(key, []).append((network, position))
    pairs, values = [], []
    for places in groups.values():
        table = cka_table([layers[network][position].values for network, position in places])
        for left, right in combinations(range(len(places)), 2):
            pairs.append((*places[left], *places[right]))
            values.append(table[left, right])
    return {
        "cka/places": np.array(pairs, dtype=np.int64).reshape(-1, 4),
        "cka/values": np.array(values, dtype=np.float64),
    }


def _index(study: Study, aligned: Aligned, arrays: Mapping[str, np.ndarray]) -> None:
    with study.writing() as catalogue:
        if catalogue.indexed("align", "zoo") == aligned.key:
            return
        names = [seen.network.name for seen in aligned.observed]
        catalogue.replace(
            {},
            {
                "levels": [
                    {"level": level.name, "network": names[place[0]], "layer": aligned.layer(place).name}
                    for level in aligned.levels
                    for place in level.layers
                ],
                "nulls": _null_rows(aligned, arrays),
                "similarities": [
                    {
                        "left_network": names[left],
                        "left_layer": aligned.layer((left, at)).name,
                        "right_network": names[right],
                        "right_layer": aligned.layer((right, there)).name,
                        "cka": float(value),
                    }
                    for (left, at, right, there), value in zip(
                        arrays["cka/places"].tolist(), arrays["cka/values"], strict=True
                    )
                ],
            },
        )
        catalogue.keep_only("level", [level.name for level in aligned.levels], ("matches",))
        for number, level in enumerate(aligned.levels):
            catalogue.replace_arrow({"level": level.name}, "matches", _match_rows(aligned, level, number, arrays))
        settings = study.manifest.align.model_dump(mode="json", include={"q", "method"})
        catalogue.mark("align", "zoo", aligned.key, settings | {"seed": study.manifest.seed})


def _null_rows(aligned: Aligned, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Say of every null what it gave: how alike, and how many of its matches in a zoo would have passed as ours do."""
    rows = []
    for number, level in enumerate(aligned.levels):
        prefix = f"{number}/null/"
        for name in [name for name in arrays if name.startswith(prefix)]:
            values, null = arrays[name], name.removeprefix(prefix)
            some = len(values) > 0
            rows.append(
                {
                    "level": level.name,
                    "null_name": null,
                    "matches": len(values),
                    "median_r": float(np.median(values)) if some else None,
                    "r95": float(np.quantile(values, 0.95)) if some else None,
                    "passed": float(arrays[f"{number}/passed/{null}"]),
                }
            )
    return rows


def _match_rows(aligned: Aligned, level: Level, number: int, arrays: Mapping[str, np.ndarray]) -> pa.Table:
    columns = {name: arrays[f"{number}/{name}"] for name in MATCH_COLUMNS}
    networks = np.array([aligned.observed[place[0]].network.name for place in level.layers])
    layers = np.array([aligned.layer(place).name for place in level.layers])
    left, right = columns.pop("left_network"), columns.pop("right_network")
    return pa.table(
        {
            "level": pa.array([level.name] * len(left), pa.string()),
            "left_network": networks[left],
            "left_layer": layers[left],
            "right_network": networks[right],
            "right_layer": layers[right],
            **columns,
        }
    )
