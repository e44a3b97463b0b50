"""Record what layers give at every place of an image, and run a network no further than that needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float32, Num
from torch import nn

from .errors import BadInput, NotFound, Refused
from .find import Reading
from .follow import ask
from .graph import Node
from .layer import Layer
from .network import Network, batches, feed, fitting, placed, precision
from .preprocess import image_sides
from .record import Trace, astray, follow_until, live_bytes, nodes_until, trace
from .sample import View, everywhere, view_last, view_map, view_rows
from .step import Followed, Step

_PLANS: WeakKeyDictionary[nn.Module, dict[object, MapPlan]] = WeakKeyDictionary()
_TRACES: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], Trace]] = WeakKeyDictionary()
"""What was planned for a module that is still there: networks are asked often, and never changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """What the units of one layer gave for one batch at every place, before and after the nonlinearity.

    Tokens lie as the grid that they are, those beside the image left out; what gives one vector for an image
    has one place.
    """

    pre: Float32[np.ndarray, "samples units rows columns"]
    post: Float32[np.ndarray, "samples units rows columns"]


@dataclass(frozen=True, slots=True)
class MapPlan:
    """Where in a run the maps of some layers stand, for images of one size; nothing after the last step is run.

    `bytes` is what one image needs, of steps that live at a time and of maps that are kept; `whole` is what all
    steps make.
    """

    functions: tuple[str, ...]
    readings: Mapping[str, tuple[Reading, Reading]]
    bytes: int
    whole: int

    @property
    def last(self) -> int:
        """The number of the last step that is needed."""
        return len(self.functions) - 1


def record_maps(
    network: Network,
    images: Num[np.ndarray, "samples height width 3"],
    layers: Sequence[str],
    *,
    batch: int | None = None,
    device: str = "cpu",
) -> Iterator[dict[str, Maps]]:
    """Run a network on images and give, batch by batch, the maps of some of its hidden layers, by name.

    Photos of one byte (0 to 255, RGB) go through the network's preprocessing; images of floating numbers (0 to
    1) are shown pixel for pixel at their own size. The run stops after the last layer that is asked for. Raises
    as `plan_maps` does, and Refused (forward) if the module computes in another way than on the first images.
    """
    if not len(images) or not layers:
        return
    shown = images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)
    plan = plan_maps(network, tuple(feed(network, shown[:1]).shape[1:]), layers)
    module = placed(network.module, device)
    for part in batches(shown, batch or fitting(plan.bytes)):
        with torch.no_grad():
            yield _maps(module, feed(network, part).to(device), plan)


def plan_maps(network: Network, shape: tuple[int, ...], layers: Sequence[str]) -> MapPlan:
    """Find where the maps of layers stand when a network is given inputs of this shape; kept for the next time.

    Raises NotFound for a layer that is not there, BadInput for one that has no maps, and Refused (input-shape)
    where the layers cannot be had for images of this size.
    """
    kept, key = _PLANS.setdefault(network.module, {}), (network.input_shape, shape, tuple(sorted(set(layers))))
    if key not in kept:
        kept[key] = _planned(network, shape, layers)
    return kept[key]


def layers_with_maps(network: Network) -> tuple[Layer, ...]:
    """List the hidden layers that give maps, or tokens that lie as a grid, in the order in which they run."""
    found = _traced(network)
    return tuple(layer for layer in found.layers[:-1] if _is_map(found.readings[layer.name]))


def side_of(network: Network, layers: Sequence[str] = ()) -> int | None:
    """Tell the one side of images for which layers can be had, by default all that have maps; None for any side.

    It is tried with images that are a little more than a fourth larger. Raises Refused (input-shape) where inputs
    are no images.
    """
    height, width = image_sides(network.preprocessing, network.input_shape)
    names = layers or [layer.name for layer in layers_with_maps(network)]
    larger = np.zeros((1, height + height // 4 + 1, width + width // 4 + 1, 3), dtype=np.float32)
    try:
        plan_maps(network, tuple(feed(network, larger).shape[1:]), names)
    except Refused:
        return height
    return None


def grid(values: torch.Tensor, view: View) -> torch.Tensor:
    """Bring what a layer gave to samples × units × rows × columns."""
    found = everywhere(values, view)
    return found.reshape(len(found), *(found.shape[1:-1] or (1, 1)), view.units).movedim(-1, 1)


def _maps(module: nn.Module, rows: torch.Tensor, plan: MapPlan) -> dict[str, Maps]:
    wanted = {reading.steps[0]: reading for both in plan.readings.values() for reading in both}
    if isinstance(module, Followed):
        found = {at: _copied(values, wanted[at]) for at, values in ask(module, rows, tuple(wanted))[0].items()}
    else:
        found = _watched(module, rows, plan, wanted)
    return {name: Maps(found[pre.steps[0]], found[post.steps[0]]) for name, (pre, post) in plan.readings.items()}


def _watched(
    module: nn.Module, rows: torch.Tensor, plan: MapPlan, wanted: Mapping[int, Reading]
) -> dict[int, np.ndarray]:
    """Copy values as they arise, before a nonlinearity that works in place overwrites them."""
    found: dict[int, np.ndarray] = {}
    numbers = count()

    def observe(step: Step) -> None:
        at = next(numbers)
        if plan.functions[at] != step.function:
            raise astray()
        if at in wanted:
            found[at] = _copied(step.result, wanted[at])

    follow_until(module, rows, observe, last=plan.last)
    return found


def _copied(values: torch.Tensor, reading: Reading) -> Float32[np.ndarray, "samples units rows columns"]:
    laid = grid(values.detach(), reading.view)
    return np.ascontiguousarray(laid.to("cpu", torch.float32, copy=True).numpy())


def _planned(network: Network, shape: tuple[int, ...], layers: Sequence[str]) -> MapPlan:
    whole = _traced(network)
    readings = {name: _reading(network, whole, name) for name in layers}
    last = max(reading.steps[0] for both in readings.values() for reading in both)
    live, all_made = whole.live, whole.whole
    if shape != network.input_shape:
        nodes = _nodes(network, shape, last)
        if tuple(node.function for node in nodes) != whole.functions[: last + 1]:
            raise _one_size(network, shape, "it computes in another way for other sizes")
        kinds = {layer.name: layer.kind for layer in whole.layers}
        readings = {name: _again(network, shape, nodes, both, kinds[name]) for name, both in readings.items()}
        live, all_made = live_bytes(nodes) // 2, sum(node.bytes for node in nodes) // 2
    kept = sum(8 * both[0].view.units * prod(_places(both[0].view)) for both in readings.values())
    return MapPlan(whole.functions[: last + 1], readings, live + kept, all_made)


def _traced(network: Network) -> Trace:
    """Run a whole network once, on an image of the size that it was made for, and find its layers."""
    kept = _TRACES.setdefault(network.module, {})
    if network.input_shape not in kept:
        kept[network.input_shape] = trace(network.module, _blank(network, network.input_shape))
    return kept[network.input_shape]


def _blank(network: Network, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros((2, *shape), dtype=precision(network.module))


def _reading(network: Network, whole: Trace, name: str) -> tuple[Reading, Reading]:
    found = whole.readings.get(name)
    if found is None:
        near = get_close_matches(name[:80], whole.readings, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its hidden layers are {', '.join([*whole.readings][:20])}"
        raise NotFound(f"{network.name} has no hidden layer {name[:80]!r}", hint=hint)
    if not _is_map(found) and found[0].view.axes != ("row",):
        what = f"{network.name}: layer {name} gives {' × '.join(found[0].view.axes)}, which is no map"
        raise BadInput(what, hint="ask layers whose samples are places of an image")
    return found


def _is_map(both: tuple[Reading, Reading]) -> bool:
    """Tell maps, and tokens that are the places of an image."""
    return all(len(one.steps) == 1 and (one.view.image is not None or len(one.view.pooled) == 2) for one in both)


def _places(view: View) -> tuple[int, ...]:
    return view.image[1:] if view.image is not None else view.places


def _nodes(network: Network, shape: tuple[int, ...], last: int) -> Sequence[Node]:
    if isinstance(network.module, Followed):
        raise _one_size(network, shape, "a graph that runs as a whole was made for one size")
    try:
        return nodes_until(network.module, _blank(network, shape), last=last)
    except Refused as refusal:
        raise _one_size(network, shape, refusal.what) from None


def _again(
    network: Network, shape: tuple[int, ...], nodes: Sequence[Node], both: tuple[Reading, Reading], kind: str
) -> tuple[Reading, Reading]:
    """Read the same steps where their maps have another size."""
    views = [_view(nodes[reading.steps[0]], reading.view, kind) for reading in both]
    if any(view is None or view.units != both[0].view.units for view in views):
        raise _one_size(network, shape, "its tokens do not lie as a grid then")
    pre, post = (Reading(one.steps, view) for one, view in zip(both, views, strict=True) if view is not None)
    return pre, post


def _view(node: Node, known: View, kind: str) -> View | None:
    if kind == "convolution":
        return view_map(node.shape)
    if known.axes == ("row",):
        return view_rows(node.shape)
    return view_last(node.layout) if node.layout is not None else None


def _one_size(network: Network, shape: tuple[int, ...], reason: str) -> Refused:
    height, width = image_sides(network.preprocessing, network.input_shape)
    given = " × ".join(map(str, image_sides(network.preprocessing, shape)))
    what = f"takes images of {height} × {width} pixels for these layers, is shown {given}: {reason}"
    return Refused("input-shape", what[:300], hint="show images of that size, or ask earlier layers")
