"""Read the kernels of a convolution, put others in their place, and show what they see of images.

A layer is found by running the network, as all layers are, so that its kernels are those that it really
convolves with: also where a module has padded its map before, or is no nn.Conv2d at all.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import nn

from .errors import BadInput, Refused
from .follow import follow
from .network import FEW, Network, batches, feed, precision
from .record import astray, follow_until
from .step import Followed, Step
from .store import content_key

_ELSE = "take a layer that zoo.kernels.convolutions lists"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A layer that convolves maps: where its kernels stand in the module, and how they are laid over a map.

    `step` is the number of its first step in a run, `shape` units, channels that each unit sees, rows, columns.
    `weight` is empty where a module computes its kernels while it runs (weight standardisation, parametrisations):
    they can be neither read nor replaced. `padding` is left, right, above, below, of zeros, beside what the
    module pads before.
    """

    layer: str
    weight: str
    step: int
    shape: tuple[int, int, int, int]
    groups: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @property
    def depthwise(self) -> bool:
        """Tell whether every unit sees one channel of several."""
        return self.shape[1] == 1 and self.groups > 1

    @property
    def seen(self) -> Int[np.ndarray, "units channels"]:
        """Tell which channels of the layer's input each unit sees: those of its group."""
        units, channels = self.shape[:2]
        group = np.arange(units) // (units // self.groups)
        return np.asarray(group[:, None] * channels + np.arange(channels))


def convolutions(network: Network) -> dict[str, Convolution]:
    """List the layers with kernels of rows and columns, by name, in the order in which they run.

    The name is the module's path, as in `Network.layers`; for a call of torch's function it is the path of the
    weight, which is only listed if it gives all arguments by place. A module that runs more than once is listed
    once: the layers name#2, ... have the same kernels.
    Raises Refused (no-kernels) for an ONNX graph, and what following a run raises.
    """
    if isinstance(network.module, Followed):
        what = "runs as an ONNX graph, whose kernels cannot be reached"
        raise Refused("no-kernels", what, hint="give its weights and an architecture instead of the graph")
    found, numbers = dict[str, Convolution](), count()

    def observe(step: Step) -> None:
        number = next(numbers)
        if step.function == "conv2d" and step.module not in found and len(step.sources) == 7:
            found[step.module] = _convolution(network.module, step, number)

    follow(network.module, torch.zeros(2, *network.input_shape, dtype=precision(network.module)), observe)
    return found


def kernels(network: Network, layer: str) -> Float[np.ndarray, "units channels rows columns"]:
    """Read a layer's kernels, in double precision, whatever the network computes in.

    Of a depthwise or grouped layer the channels are those that a unit sees. Raises BadInput for a layer that
    is not there, and Refused (no-kernels) for one that has none that could be replaced.
    """
    return kernels_of(network, _held(network, layer))


def kernels_of(network: Network, held: Convolution) -> Float[np.ndarray, "units channels rows columns"]:
    """Read the kernels of a layer that `convolutions` lists and has a weight for, without another run."""
    owner, attribute = _owner(network.module, held.weight)
    return np.asarray(getattr(owner, attribute).double().numpy(force=True))


def with_kernels(network: Network, layer: str, given: Float[np.ndarray, "units channels rows columns"]) -> Network:
    """Copy a network with other kernels in a layer; bias and normalisation behind them stay as they are.

    They are rounded to the precision of the network's own. A module that runs more than once has the new
    kernels each time; another module that shares its weights keeps the old. Raises as `kernels`, and BadInput
    for kernels of another shape or that are not finite.
    """
    return with_all_kernels(network, {layer: given})


def with_all_kernels(network: Network, given: Mapping[str, Float[np.ndarray, "_ _ _ _"]]) -> Network:
    """Copy a network with other kernels in several layers, by name. Raises as `with_kernels`."""
    found = convolutions(network)
    module, digest = copy.deepcopy(network.module), network.digest
    for layer, values in given.items():
        held = _one_of(found, network, layer)
        _check(layer, held, values)
        _put(*_owner(module, held.weight), torch.from_numpy(np.ascontiguousarray(values)))
        digest = content_key("kernels", digest, layer, hashlib.sha256(np.float64(values).tobytes()).hexdigest())
    module.train()  # which makes modules forget what they keep computed from their weights
    what = next(iter(given)) if len(given) == 1 else f"{len(given)} layers"
    name = f"{network.name} ({what} replaced)"
    return replace(network, name=name, digest=digest, module=module.eval().requires_grad_(False))


def natural_patches(
    network: Network, images: Num[np.ndarray, "images ..."], layer: str, *, count: int, seed: int
) -> Float[np.ndarray, "patches channels rows columns"]:
    """Cut what a layer's kernels see out of the maps that images make of its input.

    In the network's own numbers: of a first layer the image after preprocessing, of a deeper one its input map,
    zeros of the padding included. Places are drawn at random from those where the kernels stand, as many of each
    image; patches come in the order of the images. The channels are all of the input map's: a unit sees those in
    `Convolution.seen`, and its response is the sum of products with its kernel, plus bias. Raises as `kernels`.
    """
    parts = [shown[layer] for shown in patches_by_image(network, images, [layer], count=count, seed=seed)]
    return np.concatenate(parts)


def patches_by_image(
    network: Network, images: Num[np.ndarray, "images ..."], layers: Sequence[str], *, count: int, seed: int
) -> Iterator[dict[str, Float[np.ndarray, "patches _ rows _"]]]:
    """Give what `natural_patches` cuts for several layers, image by image: each image is shown once.

    `count` is for each layer. Raises as `natural_patches`.
    """
    known, shares = convolutions(network), _shares(count, len(images))
    held = [_one_of(known, network, layer) for layer in layers]
    if not shares:
        raise BadInput(f"{count} patches of {len(images)} images", hint="give images, and a count above 0")
    for number, (maps, share) in enumerate(zip(_maps(network, images[: len(shares)], held), shares, strict=True)):
        yield {
            one.layer: _cut(padded, one, np.random.default_rng([seed, number]), share)
            for one, padded in zip(held, maps, strict=True)
        }


def _convolution(module: nn.Module, step: Step, number: int) -> Convolution:
    weight, _, stride, padding, dilation, groups = step.sources[1:]
    units, channels, rows, columns = weight.shape
    return Convolution(
        layer=step.module,
        weight=_name(module, step.module, weight),
        step=number,
        shape=(units, channels, rows, columns),
        groups=groups,
        stride=_both(stride),
        dilation=_both(dilation),
        padding=_padding(padding, (rows, columns), _both(dilation)),
    )


def _name(module: nn.Module, layer: str, weight: torch.Tensor) -> str:
    """Name a weight as its own layer does: modules may share one."""
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    names = [name for name, part in held if part is weight]
    return next((name for name in names if name.startswith(f"{layer}.")), names[0] if names else "")


def _both(sides: int | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(sides, int):
        return sides, sides
    return sides[0], sides[-1]


def _padding(
    given: int | str | tuple[int, ...], sides: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Tell what is added left, right, above and below; an odd number of "same" has one more right and below."""
    if not isinstance(given, str):
        rows, columns = _both(given)
        return columns, columns, rows, rows
    high, wide = (step * (side - 1) * (given == "same") for side, step in zip(sides, dilation, strict=True))
    return wide // 2, wide - wide // 2, high // 2, high - high // 2


def _held(network: Network, layer: str) -> Convolution:
    return _one_of(convolutions(network), network, layer)


def _one_of(found: Mapping[str, Convolution], network: Network, layer: str) -> Convolution:
    if layer in found and found[layer].weight:
        return found[layer]
    if layer in found:
        raise Refused("no-kernels", f"{layer} computes its kernels while it runs", hint=_ELSE)
    first, _, call = layer.rpartition("#")
    if first in found and call.isdigit():
        raise Refused("no-kernels", f"{layer} is a further run of {first}, with its kernels", hint=f"take {first}")
    if layer in {known.name for known in network.layers}:
        raise Refused("no-kernels", f"{layer} is no convolution over rows and columns", hint=_ELSE)
    names = ", ".join(list(found)[:10]) or "no convolutions"
    raise BadInput(f"there is no layer {layer[:80]!r}", hint=f"there are {names}")


def _check(layer: str, held: Convolution, given: np.ndarray) -> None:
    if given.shape != held.shape:
        raise BadInput(f"kernels of shape {given.shape} for layer {layer}", hint=f"give {held.shape}")
    if not np.isfinite(given).all():
        raise BadInput(f"kernels for layer {layer} are not finite", hint="leave the units out that have no equation")


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute


def _put(owner: nn.Module, attribute: str, values: torch.Tensor) -> None:
    """Give a module a weight of its own, so that one that shares the old keeps it."""
    old = getattr(owner, attribute)
    new = values.to(old.dtype)
    setattr(owner, attribute, nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new)


def _shares(count: int, images: int) -> list[int]:
    """Divide patches among images; the first have one more where they do not divide evenly."""
    return [count // images + (number < count % images) for number in range(min(count, images))]


def _maps(
    network: Network, images: np.ndarray, held: Sequence[Convolution]
) -> Iterator[tuple[Float[np.ndarray, "_ _ _"], ...]]:
    """Give the input maps of layers for one image after the other, with their padding."""
    wanted = {one.layer: one for one in held}
    for part in batches(images, FEW):
        seen: dict[str, torch.Tensor] = {}

        def observe(step: Step, seen: dict[str, torch.Tensor] = seen) -> None:
            if step.function == "conv2d" and step.module in wanted and step.module not in seen:
                seen[step.module] = nn.functional.pad(step.sources[0], wanted[step.module].padding)

        follow_until(network.module, feed(network, part), observe, last=max(one.step for one in held))
        if len(seen) < len(wanted):
            raise astray()
        yield from zip(*(seen[one.layer].numpy() for one in held), strict=True)


def _cut(
    padded: Float[np.ndarray, "channels height width"],
    convolution: Convolution,
    random: np.random.Generator,
    count: int,
) -> Float[np.ndarray, "patches channels rows columns"]:
    """Cut patches out of a map at places of the layer's lattice."""
    places = []
    for axis, side in enumerate(padded.shape[1:]):
        reach = convolution.dilation[axis] * np.arange(convolution.shape[2 + axis])
        starts = random.integers(0, (side - 1 - reach[-1]) // convolution.stride[axis], size=count, endpoint=True)
        places.append(starts[:, None] * convolution.stride[axis] + reach)
    rows, columns = places
    return np.asarray(padded[:, rows[:, :, None], columns[:, None, :]].swapaxes(0, 1))
