"""Probe: show every network the same inputs and keep what its units did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from ...zoo.errors import BadInput, Refused
from ...zoo.network import Layer, Network, record
from ...zoo.store import content_key, write_atomically
from ..alignment.moments import Moments, measure, update
from ..project.study import Study
from .sources import shown
from .stage_ingest import Ingested, ingest, layer_rows

VERSION = "probe-2"


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """A network, and the file that keeps what its units did on the probe."""

    network: Network
    key: str
    file: Path

    def pre(self, layer: Layer) -> Float[np.ndarray, "samples units"]:
        """Values before the nonlinearity; for the output layer, the outputs in physical units."""
        return self._load(f"pre/{self._place(layer)}")

    def alive(self, layer: Layer) -> Bool[np.ndarray, " units"]:
        """Which units vary on the probe, before and after the nonlinearity."""
        return self._load(f"alive/{self._place(layer)}")

    def moments(self, layer: Layer) -> Float[np.ndarray, "two units"]:
        """Mean and standard deviation after the nonlinearity."""
        return self._load(f"moments/{self._place(layer)}")

    def _place(self, layer: Layer) -> int:
        return self.network.layers.index(layer)

    def _load(self, name: str) -> np.ndarray:
        with np.load(self.file, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])


def probe(study: Study) -> tuple[Observed, ...]:
    """Record every usable network of the zoo on the probe; what was recorded before is kept.

    A network whose output is not finite on the probe is refused, and the others go on. Raises BadInput
    where none is left.
    """
    usable = [item for item in ingest(study) if item.network is not None]
    if not usable:
        raise BadInput(
            f"{study.path}: holds weights alone: no network can be run",
            hint="name an architecture; consilience networks lists what is there",
        )
    observed, refusals = [], []
    for item in study.each("probe", usable, name=lambda item: item.source.name):
        try:
            observed.append(_observe(study, item))
        except Refused as refusal:
            refusals.append((item, refusal))
    _index(study, observed, refusals)
    if not observed:
        why = ", ".join(f"{shown(item.source.place.file.name)} {refusal.what}" for item, refusal in refusals[:3])
        raise BadInput(f"{study.path}: no network can be probed: {why}", hint="consilience networks lists all")
    return tuple(observed)


def _observe(study: Study, item: Ingested) -> Observed:
    network = item.network
    assert network is not None
    key = content_key(VERSION, item.key, study.probe.key)
    file = study.store.result_path("probe", key, ".npz")
    if not file.exists():
        arrays = observe(network, study.probe.inputs, device=study.device)
        with write_atomically(file) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
    return Observed(network, key, file)


def observe(network: Network, inputs: Num[np.ndarray, "samples ..."], *, device: str) -> Mapping[str, np.ndarray]:
    """Run a network on the probe and gather, for each layer, values, moments and which units live.

    Raises Refused (not-finite) where its output is NaN or infinite anywhere on the probe.
    """
    pre: list[list[np.ndarray]] = [[] for _ in network.layers]
    before: list[Moments | None] = [None for _ in network.layers]
    after: list[Moments | None] = [None for _ in network.layers]
    for batch in record(network, inputs, device=device):
        for place, layer in enumerate(network.layers):
            values = batch[layer.name]
            pre[place].append(values.pre)
            before[place] = _updated(before[place], values.pre)
            after[place] = _updated(after[place], values.post)
    if not np.isfinite(np.concatenate(pre[-1])).all():
        raise Refused("not-finite", "gives NaN or infinite outputs on the probe", hint="leave it out, or mend it")
    arrays: dict[str, np.ndarray] = {}
    for place, (entering, leaving) in enumerate(zip(before, after, strict=True)):
        assert entering is not None  # the probe has at least eight samples
        assert leaving is not None
        arrays[f"pre/{place}"] = np.concatenate(pre[place])
        arrays[f"alive/{place}"] = entering.alive & leaving.alive
        arrays[f"moments/{place}"] = np.stack([leaving.mean, np.sqrt(leaving.variance)])
    return arrays


def _updated(moments: Moments | None, batch: Float[np.ndarray, "samples units"]) -> Moments:
    return update(moments, batch) if moments else measure(batch)


def _index(study: Study, observed: list[Observed], refusals: list[tuple[Ingested, Refused]]) -> None:
    with study.writing() as catalogue:
        catalogue.replace({}, {"variables": _variable_rows(study)})
        for item, refusal in refusals:
            changed = catalogue.select("networks", network=item.source.name)[0]
            changed |= {"status": "refused", "code": refusal.code, "message": refusal.what, "hint": refusal.hint}
            catalogue.replace({"network": item.source.name}, {"networks": [changed], "layers": [], "units": []})
            catalogue.mark("ingest", item.source.name, "refused by the probe", {})
        for seen in observed:
            if catalogue.indexed("probe", seen.network.name) == seen.key:
                continue
            layers, units = _rows(seen)
            catalogue.replace({"network": seen.network.name}, {"layers": layers, "units": units})
            catalogue.mark("probe", seen.network.name, seen.key, {"probe": study.probe.key})


def _rows(seen: Observed) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    layers = layer_rows(seen.network)
    units: list[dict[str, Any]] = []
    for row, layer in zip(layers, seen.network.layers, strict=True):
        alive, (mean, deviation) = seen.alive(layer), seen.moments(layer)
        row["dead"] = int((~alive).sum())
        units += [
            {
                "network": seen.network.name,
                "layer": layer.name,
                "unit": unit,
                "mean": float(mean[unit]),
                "deviation": float(deviation[unit]),
                "dead": bool(~alive[unit]),
            }
            for unit in range(layer.units)
        ]
    return layers, units


def _variable_rows(study: Study) -> list[dict[str, Any]]:
    given: list[dict[str, Any]] = [
        {"variable": v.name, "role": "input", "low": v.low, "high": v.high, "unit": v.unit, "formula": None}
        for v in study.probe.variables
    ]
    derived = [
        {"variable": d.name, "role": "derived", "low": None, "high": None, "unit": d.unit, "formula": d.formula}
        for d in study.probe_table.derived
    ]
    return [{"position": position, **row} for position, row in enumerate([*given, *derived], 1)]
