"""Show units more of what they like: contrasts, sizes, lengths, plaids and surrounds at the grating each prefers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...zoo.stimuli import find_stimulus
from ...zoo.store import content_key, write_atomically
from ..project.study import Study
from ..vision.preferred import AT_ALL, AT_PREFERRED, Seen, preferred_gratings
from ..vision.shown import Shown
from ..vision.window import Window
from .set_aside import setting_aside
from .stage_present import AT_ONCE, Presented, middles, shown

VERSION = "second-1"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """The file that keeps what the units of a network gave in their second pass, and its name."""

    key: str
    file: Path

    def shown(self, layer: str, grey: Float[np.ndarray, "units one"]) -> Mapping[str, Shown]:
        """Give what the units of a layer gave, less that to grey, by the name of the series."""
        with np.load(self.file, allow_pickle=False) as arrays:
            return {
                name: Shown(series.names, arrays[f"{layer}/{name}/rows"], arrays[f"{layer}/{name}"] - grey)
                for name, series in {**AT_PREFERRED, **AT_ALL}.items()
            }

    def rows(self, layer: str) -> Mapping[str, list[list[float]]]:
        """Give the values of the coordinates of each series."""
        with np.load(self.file, allow_pickle=False) as arrays:
            return {name: arrays[f"{layer}/{name}/rows"].tolist() for name in {**AT_PREFERRED, **AT_ALL}}


def present_second(study: Study, presented: Presented) -> Second | None:
    """Show a network's units what is made for each; what was shown before is kept. None where that fails, with a note.

    Units of a layer that prefer the same of the gratings that were shown share images.
    """
    with setting_aside(study, f"{presented.network.name}, in its second pass,"):
        return _second(study, presented)
    return None


def _second(study: Study, presented: Presented) -> Second:
    key = content_key(VERSION, presented.key)
    file = study.store.result_path("second", key, ".npz")
    if not file.exists():
        arrays: Arrays = {}
        for layer in presented.layers:
            arrays |= _of_layer(presented, layer.name, device=study.device)
        with write_atomically(file) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
    return Second(key, file)


def _of_layer(presented: Presented, layer: str, *, device: str) -> Arrays:
    field = presented.field(layer)
    window = Window.of(presented.side, size=field.size, stride=field.stride, middle=field.middle)
    seen = Seen(float(window.size), field.lattice)
    grey = presented.blank(layer)[:, None].astype(np.float64)
    first = Shown(find_stimulus("grating").names, shown("grating"), presented.responses(layer, "grating") - grey)
    each = preferred_gratings(first, lattice=field.lattice, middle=window.middle)
    gratings = list(dict.fromkeys(each))
    own = np.array([gratings.index(one) for one in each])
    arrays: Arrays = {}
    for name, series in {**AT_PREFERRED, **AT_ALL}.items():
        alike = name in AT_ALL
        known, whose = (gratings[:1], np.zeros_like(own)) if alike else (gratings, own)
        rows = np.concatenate([series.whole(grating, seen) for grating in known])
        images = window.images(find_stimulus(series.stimulus), rows, at_once=AT_ONCE)
        given = middles(presented.network, images, [layer], device=device, beside=window.beside)[layer]
        by_grating = given[:, : len(rows)].reshape(len(given), len(known), -1)
        arrays[f"{layer}/{name}/rows"] = series.rows(seen)
        arrays[f"{layer}/{name}"] = np.ascontiguousarray(by_grating[np.arange(len(given)), whose])
    return arrays
