"""A network that can be run: what it predicts, what its units do, how its output moves with its inputs.

Inputs are rows in physical units, or photos in RGB, and predictions are in physical units: known scaling
happens here, in double precision, around a module that computes in the precision of its own weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from .errors import BadInput, Refused
from .follow import first_tensor
from .layer import Layer, LayerRecord
from .record import capture, narrow, trace
from .store import content_key

if TYPE_CHECKING:
    from .preprocess import Preprocessing

LARGEST_BATCH = 4096
BATCH_BYTES = 2**29
"""What a batch may need at a time, by estimate."""
FEW = 8
"""So many rows are run at once without an estimate."""
Place = int | tuple[float, ...]
"""A unit by its number, after the nonlinearity; or a direction by the weights of all units, before it."""

__all__ = ["Layer", "LayerRecord", "Network", "Scaling", "gradients", "predict", "record", "untrained_twin"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Known preprocessing, not learned: the module sees (x - input_shift) / input_scale, and its output is
    multiplied by output_scale, then shifted by output_shift. Empty means none; one number serves all.
    """

    input_shift: tuple[float, ...] = ()
    input_scale: tuple[float, ...] = ()
    output_shift: tuple[float, ...] = ()
    output_scale: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A checkpoint and how to run it. The module is in eval mode, on the CPU, and is never changed."""

    name: str
    digest: str
    lineage: str
    module: nn.Module
    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...] = ()
    scaling: Scaling | None = None
    preprocessing: Preprocessing | None = None


def predict(
    network: Network, inputs: Num[np.ndarray, "samples ..."], *, batch: int | None = None, device: str = "cpu"
) -> Float[np.ndarray, "samples outputs"]:
    """Run a network on rows in physical units, or photos; of several tensors that it gives, the first counts.

    Outputs that are not finite are returned as they are. Without a batch it is as large as memory allows.
    Raises Refused (input-shape) for rows of another width and BadInput for a device that is not there.
    """
    module = placed(network.module, device)
    if batch is None and len(inputs) > FEW:
        batch = fitting(trace(module, feed(network, inputs[:2]).to(device)).live)
    parts = [_physical(network, _run(network, module, rows, device)) for rows in batches(inputs, batch or FEW)]
    return np.concatenate(parts) if parts else np.empty((0, network.layers[-1].units))


def record(
    network: Network, inputs: Num[np.ndarray, "samples ..."], *, batch: int | None = None, device: str = "cpu"
) -> Iterator[dict[str, LayerRecord]]:
    """Run a network on rows or photos and give, batch by batch, what its layers did, by layer name.

    Only the layers that the network lists are kept. The output layer's record is the prediction, before and after
    alike. A layer gives as many samples for each row as it has positions. Raises as `predict` does, and Refused
    (forward) if the module computes in another way than on the first rows.
    """
    if not len(inputs):
        return
    module = placed(network.module, device)
    plan = narrow(trace(module, feed(network, two(inputs)).to(device)), {layer.name for layer in network.layers})
    kept = sum(2 * 4 * layer.units * layer.positions for layer in plan.layers)
    for rows in batches(inputs, batch or fitting(plan.live + kept)):
        found, output = capture(module, feed(network, rows).to(device), plan=plan)
        values = _physical(network, output).astype(np.float32)
        yield {**found, plan.layers[-1].name: LayerRecord(values, values)}


def gradients(
    network: Network,
    inputs: Num[np.ndarray, "samples ..."],
    place: Place,
    *,
    layer: str | None = None,
    batch: int | None = None,
    device: str = "cpu",
) -> Float[np.ndarray, "samples variables"]:
    """Differentiate a unit, or a direction, with respect to the inputs at every row; of the outputs by default.

    Outputs and inputs count in physical units; for photos inputs are what the module is given. Raises Refused
    (not-differentiable) where the module cuts the gradient, and IndexError for no such unit. See `Response`.
    """
    from .response import respond  # which is about networks

    return respond(network, place, layer=layer, device=device).slopes(inputs, batch=batch)


def untrained_twin(network: Network, *, seed: int) -> Network:
    """Copy a network as if it had never been trained: the same architecture and scaling, fresh weights.

    Modules that know how to initialise themselves do; numbers held by others are shuffled. The draw depends
    on the seed and on the network, so that twins of different networks share no rows. The global random
    state stays as it was.
    """
    digest = content_key("untrained", network.digest, seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(int(digest[:15], 16))
        module = copy.deepcopy(network.module)
        for part in module.modules():
            _forget(part)
        module.train()  # which makes modules forget also what they keep computed from their weights
    name = f"{network.name} (untrained {seed})"
    return replace(network, name=name, digest=digest, lineage=name, module=module.eval().requires_grad_(False))


def to_module(
    rows: Num[np.ndarray, "samples ..."],
    *,
    module: nn.Module,
    input_shape: tuple[int, ...],
    scaling: Scaling | None,
    preprocessing: Preprocessing | None = None,
) -> torch.Tensor:
    """Turn rows in physical units, photos or images into what a module takes.

    Photos are whole numbers from 0 to 255 of one byte, in RGB: samples, height, width, 3. Images are the same in
    single precision, from 0 to 1, and are shown pixel for pixel at their own size. Raises Refused (input-shape,
    scaling) and what `preprocess` raises.
    """
    if _is_photos(rows):
        from .preprocess import preprocess  # Pillow is for photos only

        rows = preprocess(rows, preprocessing, input_shape)
    elif is_images(rows):
        from .preprocess import pixel_for_pixel

        rows = pixel_for_pixel(rows, preprocessing, input_shape)
        input_shape = rows.shape[1:]
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    if flat.shape[1] != prod(input_shape):
        raise Refused(
            "input-shape",
            f"takes {prod(input_shape)} inputs, the probe has {flat.shape[1]}",
            hint="give the probe the network's variables, or leave this network out of the zoo",
        )
    if scaling is not None:
        shift = spread(scaling.input_shift, 0.0, flat.shape[1], "input_shift")
        flat = (flat - shift) / spread(scaling.input_scale, 1.0, flat.shape[1], "input_scale")
    return torch.from_numpy(flat).to(precision(module)).reshape(-1, *input_shape)


def _is_photos(rows: np.ndarray) -> bool:
    return rows.dtype == np.uint8 and rows.ndim == 4 and rows.shape[3] == 3


def is_images(rows: np.ndarray) -> bool:
    """Tell images that are shown pixel for pixel, in RGB from 0 to 1."""
    return rows.dtype == np.float32 and rows.ndim == 4 and rows.shape[3] == 3


def precision(module: nn.Module) -> torch.dtype:
    """Tell the floating type that a module computes in: that of its first weight."""
    floats = (part.dtype for part in (*module.parameters(), *module.buffers()) if part.is_floating_point())
    return next(floats, torch.float32)


def feed(network: Network, rows: np.ndarray) -> torch.Tensor:
    """Turn rows in physical units, or photos, into what a network's module takes. Raises as `to_module`."""
    return to_module(
        rows,
        module=network.module,
        input_shape=network.input_shape,
        scaling=network.scaling,
        preprocessing=network.preprocessing,
    )


def _run(network: Network, module: nn.Module, rows: np.ndarray, device: str) -> torch.Tensor:
    with torch.no_grad():
        return first_tensor(module(feed(network, rows).to(device)), len(rows))


def fitting(bytes_a_row: int) -> int:
    """Choose how many rows to run at once."""
    return int(np.clip(BATCH_BYTES // max(bytes_a_row, 1), 1, LARGEST_BATCH))


def _physical(network: Network, output: torch.Tensor) -> np.ndarray:
    values = output.detach().cpu().reshape(len(output), -1).double().numpy()
    if network.scaling is None:
        return values
    scale = spread(network.scaling.output_scale, 1.0, values.shape[1], "output_scale")
    scaled: np.ndarray = values * scale + spread(network.scaling.output_shift, 0.0, values.shape[1], "output_shift")
    return scaled


def spread(numbers: tuple[float, ...], default: float, width: int, key: str) -> np.ndarray:
    """Give a number of `scaling` for each value. Raises Refused (scaling) where there are as many as do not fit."""
    if len(numbers) not in (0, 1, width):
        raise Refused("scaling", f"scaling.{key} has {len(numbers)} numbers for {width}", hint="correct it in zoo.toml")
    if key.endswith("scale") and not all(numbers):
        raise Refused("scaling", f"scaling.{key} has a zero", hint="correct it in zoo.toml")
    return np.full(width, numbers or default, dtype=np.float64)


def _forget(part: nn.Module) -> None:
    reset = getattr(part, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    for weights in part.parameters(recurse=False):
        shuffled = weights.data.flatten()[torch.randperm(weights.numel())]
        weights.data = shuffled.reshape(weights.shape)


def batches(inputs: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Cut rows into batches."""
    return (inputs[start : start + batch] for start in range(0, len(inputs), batch))


def two(inputs: np.ndarray) -> np.ndarray:
    """Take two rows, the same one twice if need be: one row alone cannot tell rows from units."""
    return inputs[:2] if len(inputs) > 1 else np.repeat(inputs, 2, axis=0)


def placed(module: nn.Module, device: str) -> nn.Module:
    """Copy a module to a device. Raises BadInput for one that is not there."""
    if device == "cpu":
        return module
    try:
        return copy.deepcopy(module).to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise BadInput(f"device {device!r} cannot be used: {reason}", hint="take --device cpu") from None
