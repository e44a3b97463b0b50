"""Present: show vision networks stimuli with named coordinates and keep what units at the middle of their maps gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from ...zoo.errors import BadInput, Refused
from ...zoo.kernels import convolutions
from ...zoo.layer import Layer
from ...zoo.maps import Maps, layers_with_maps, record_maps, side_of
from ...zoo.network import Network, untrained_twin
from ...zoo.receptive import ReceptiveField, receptive_field
from ...zoo.step import Followed
from ...zoo.stimuli import find_stimulus, grid, render
from ...zoo.store import content_key, write_atomically
from ..project.study import Study
from .set_aside import none_left, setting_aside
from .stage_ingest import Ingested, ingest

VERSION = "present-2"
EARLY = 8
"""So many of a network's first maps are watched where zoo.toml names no layers."""
SIDE = 127
"""The largest side of the images, in pixels; an odd one has a pixel in its middle."""
AT_ONCE = 256
BLANK = "blank"
"""A field of plain grey, which is shown beside all stimuli."""
STIMULI: Mapping[str, Mapping[str, int]] = {
    "grating": {},
    "chromatic_grating": {"phase": 8, "hue": 6},
    "colour": {},
    "arc": {"width": 1},
    "spot": {},
}
"""What is shown, and how many values coordinates have there, if not as many as the table of stimuli says."""


@dataclass(frozen=True, slots=True)
class Field:
    """What the unit in the middle of a map sees, in pixels: size of a square, its middle, and stride of the map.

    `middle` counts from that of the image, along both axes; `lattice` is the stride of the map that the layer reads,
    beyond half of whose inverse a frequency is taken for a lower one.
    """

    size: float
    stride: float
    middle: float
    lattice: float


@dataclass(frozen=True, slots=True, eq=False)
class Presented:
    """A network, the layers that were watched, and the file that keeps what they gave.

    `side` is that of the images, in pixels; `key` names network, layers and stimuli.
    """

    network: Network
    layers: tuple[Layer, ...]
    side: int
    key: str
    file: Path

    def responses(self, layer: str, stimulus: str) -> Float32[np.ndarray, "units samples"]:
        """Give what the units gave after their nonlinearity, at the middle of their map, for each row of `shown`."""
        return self._load(f"{layer}/{stimulus}")

    def blank(self, layer: str) -> Float32[np.ndarray, " units"]:
        """Give what the units gave to plain grey."""
        return self._load(f"{layer}/{BLANK}")[:, 0]

    def field(self, layer: str) -> Field:
        """Give what the unit in the middle of a layer's map sees."""
        return Field(*self._load(f"{layer}/field").tolist())

    def _load(self, name: str) -> np.ndarray:
        with np.load(self.file, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])


def shown(stimulus: str) -> Float[np.ndarray, "samples coordinates"]:
    """Give the rows of coordinates at which a stimulus is shown."""
    return grid(find_stimulus(stimulus), STIMULI[stimulus])


def watched(network: Network) -> tuple[Layer, ...]:
    """Choose the layers that are watched: the maps that zoo.toml asks for, or the first EARLY ones."""
    maps, known = layers_with_maps(network), {layer.name for layer in network.layers}
    asked = tuple(layer for layer in maps if layer.name in known)
    return asked if len(asked) < len(maps) else asked[:EARLY]


def present(study: Study) -> tuple[Presented, ...]:
    """Show all networks that have maps every stimulus; what was shown before is kept.

    Networks that cannot be shown images are left out, and ONNX graphs, of which all would be run for every one of
    thousands of stimuli. One that fails is set aside. Raises BadInput where none is left.
    """
    usable = _seeing(study)
    if not usable:
        raise BadInput(f"{study.path}: no network has maps over an image", hint="stimuli are for vision networks")
    found = []
    for item in study.each("present", usable, name=lambda item: item.source.name):
        assert item.network is not None
        with setting_aside(study, item.source.name):
            found.append(_presented(study, item.network, item.key))
    if not found:
        raise none_left(study, "shown stimuli")
    return tuple(found)


def can_see(study: Study) -> bool:
    """Tell whether any network of the zoo can be shown stimuli."""
    return bool(_seeing(study))


def _seeing(study: Study) -> list[Ingested]:
    return [item for item in ingest(study) if item.network is not None and _sees(item.network)]


def present_twin(study: Study, presented: Presented, draw: int) -> Presented:
    """Show an untrained twin of a network what the network was shown."""
    twin = untrained_twin(presented.network, seed=study.manifest.seed * 100_003 + draw)
    return _presented(study, twin, f"{presented.key} twin {draw}")


def _sees(network: Network) -> bool:
    try:
        return not isinstance(network.module, Followed) and bool(watched(network))
    except Refused:
        return False


def _presented(study: Study, network: Network, name: str) -> Presented:
    layers = watched(network)
    key = content_key(VERSION, name, [layer.name for layer in layers], SIDE, [(s, shown(s).tolist()) for s in STIMULI])
    file = study.store.result_path("present", key, ".npz")
    if not file.exists():
        arrays = _work(study, network, [layer.name for layer in layers])
        with write_atomically(file) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
    with np.load(file, allow_pickle=False) as arrays:
        side = int(arrays["side"])
    return Presented(network, layers, side, key, file)


def _work(study: Study, network: Network, layers: Sequence[str]) -> dict[str, np.ndarray]:
    fixed = side_of(network, layers)
    fields = {layer: receptive_field(network, layer, side=fixed or SIDE) for layer in layers}
    side = fixed or _smallest(fields)
    arrays: dict[str, np.ndarray] = {"side": np.array(side)}
    grey = np.full((1, side, side, 3), 0.5, dtype=np.float32)
    for layer, middle in middles(network, [grey], layers, device=study.device).items():
        arrays[f"{layer}/{BLANK}"] = middle
    steps = {name: one.stride[0] for name, one in convolutions(network).items()}
    for layer in layers:
        arrays[f"{layer}/field"] = _field(network, layer, fields[layer], side, steps.get(layer, 1))
    for stimulus in STIMULI:
        for layer, middle in middles(network, _images(stimulus, side), layers, device=study.device).items():
            arrays[f"{layer}/{stimulus}"] = middle
    return arrays


def _smallest(fields: Mapping[str, ReceptiveField | None]) -> int:
    """Choose the side of images that hold what a unit in their middle sees, and a few of its neighbours."""
    known = [field for field in fields.values() if field is not None and not field.whole]
    if len(known) < len(fields):
        return SIDE
    needed = max(field.size + 4 * ceil(field.stride) for field in known)
    return min(needed + 1 - needed % 2, SIDE)


def _images(stimulus: str, side: int) -> Iterator[Float32[np.ndarray, "samples side side 3"]]:
    rows, drawn = shown(stimulus), find_stimulus(stimulus)
    return (render(drawn, rows[start : start + AT_ONCE], side=side) for start in range(0, len(rows), AT_ONCE))


def middles(
    network: Network,
    images: Sequence[np.ndarray] | Iterator[np.ndarray],
    layers: Sequence[str],
    *,
    device: str,
    beside: Sequence[int] = (0,),
) -> dict[str, Float32[np.ndarray, "units samples"]]:
    """Give what the units in the middle of layers' maps give to images, after their nonlinearity.

    With `beside` all places so many rows and columns from the middle are read, those of one image after another.
    Raises as `record_maps` does, and Refused (not-finite).
    """
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    for some in images:
        for batch in record_maps(network, some, layers, device=device):
            for layer in layers:
                found[layer].append(_middle(batch[layer], beside))
    whole = {layer: np.concatenate(parts, axis=1) for layer, parts in found.items()}
    for layer, values in whole.items():
        if not np.isfinite(values).all():
            raise Refused("not-finite", f"gives NaN or infinity in {layer}", hint="leave it out, or mend it")
    return whole


def _middle(maps: Maps, beside: Sequence[int]) -> Float32[np.ndarray, "units samples"]:
    rows, columns = ([length // 2 + step for step in beside] for length in maps.post.shape[2:])
    read = np.moveaxis(maps.post[:, :, rows][:, :, :, columns], 1, 0)
    return np.ascontiguousarray(read.reshape(len(read), -1))


def _field(
    network: Network, layer: str, field: ReceptiveField | None, side: int, by: int
) -> Float[np.ndarray, " four"]:
    """Measure what is seen in the middle of a map of a layer that moves `by` places; all of the image where unknown."""
    blank = np.full((1, side, side, 3), 0.5, dtype=np.float32)
    places = next(iter(record_maps(network, blank, [layer])))[layer].pre.shape[2]
    if field is None:
        return np.array([side, side / places, 0.0, side / places / by])
    middle = receptive_field(network, layer, side=side) or field
    return np.array([middle.size, middle.stride, middle.coordinates(places)[places // 2], middle.stride / by])
