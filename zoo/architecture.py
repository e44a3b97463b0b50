"""Build a network that can be run from a checkpoint that holds only weights.

Refusals:

    no-architecture                     not recognised, or no such architecture: name one
    no-activation                       it does not say, and it is never guessed
    keys, shapes, dtype                 the weights are of another network than the one that is named
    no-config, config                   a Hugging Face model needs a config.json, and one that can be
    options                             zoo.toml says what the architecture does not take
    missing-package                     the library that would build it is not installed
    factory                             the user's own code fails
    layers                              it has none of a name that zoo.toml wants
    input-shape, output-shape, forward, scaling, preprocessing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import nn

from .blueprint import NAME_IT, Blueprint
from .build_cnn import build_cnn
from .build_mlp import build_mlp
from .build_named import build_timm, build_torchvision, timm_name
from .build_transformers import build_transformers
from .chain import ACTIVATIONS
from .checkpoint import Checkpoint
from .errors import Refused
from .factory import call_factory
from .keys import renamed
from .layer import choose
from .network import Network, Scaling, precision, predict, to_module
from .preprocess import Preprocessing, shape_shown
from .record import Trace, trace

__all__ = ["ACTIVATIONS", "BUILDERS", "Blueprint", "build_network", "infer"]

USUAL_SIDE = 224
LARGEST_INPUT = 1 << 22
"""Numbers in one row: more are no photo that anybody shows."""


def build_network(
    checkpoint: Checkpoint,
    *,
    name: str,
    digest: str,
    lineage: str,
    architecture: str | None = None,
    activation: str | None = None,
    options: Mapping[str, object] | None = None,
    outputs: Sequence[str] = (),
    scaling: Scaling | None = None,
    preprocessing: Preprocessing | None = None,
    strip_prefix: str = "",
    rename: Mapping[str, str] | None = None,
    layers: Sequence[str] = (),
    example: Shaped[np.ndarray, "*samples variables"] | None,
    search_path: Path,
) -> Network:
    """Build a network, run it on an example and find its layers.

    The example is one row of the probe or several, in physical units, or photos (uint8, samples x height x
    width x 3); without one, zeros in the shape that the module takes are run. Without an architecture one is
    inferred. A module may say what shape it takes by an attribute `input_shape`; else it takes rows, or
    photos as preprocessing makes them. Of `layers`, names or patterns, only those are known, beside the output.
    Raises Refused, see the codes above.
    """
    rows = None if example is None else np.atleast_2d(example)[:1]
    image = rows is not None and rows.dtype == np.uint8 and rows.ndim == 4
    kind, _, detail = (architecture or infer(checkpoint)).partition(":")
    if kind not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise Refused("no-architecture", f"architecture {kind[:80]!r} is none of {known}", hint=NAME_IT)
    blueprint = Blueprint(
        checkpoint,
        detail,
        activation,
        options or {},
        None if rows is None or image else prod(rows.shape[1:]),
        search_path,
        strip_prefix,
        rename or {},
        image,
        _shape_given(rows, preprocessing, image=image),
    )
    module = _settled(BUILDERS[kind](blueprint))
    shown = shape_shown(preprocessing, rows.shape[1]) if rows is not None and image else None
    shape = _input_shape(module, blueprint.shape or shown)
    rows = np.zeros((1, *shape)) if rows is None else rows
    bare = Network(name, digest, lineage, module, (), shape, tuple(outputs), scaling, preprocessing)
    found = _trace(bare, np.repeat(rows, 2, axis=0))
    if outputs and len(outputs) != found.layers[-1].units:
        units = found.layers[-1].units
        raise Refused(
            "output-shape",
            f"gives {units} outputs, zoo.toml names {len(outputs)}",
            hint="correct outputs there",
        )
    network = replace(bare, layers=choose(found.layers, layers))
    predict(network, rows)  # so that scaling which does not fit is refused here, not in the middle of a run
    return network


def infer(checkpoint: Checkpoint) -> str:
    """Tell which architecture a checkpoint would run as when none is named; it may still not fit it."""
    if checkpoint.format == "onnx":
        return "onnx"
    if isinstance(checkpoint.config.get("model_type"), str):
        return "transformers:"
    if (named := timm_name(checkpoint.config)) is not None:
        return f"timm:{named}"
    convolutional = any(len(shape) in (3, 4) for shape in checkpoint.shapes.values())
    return "cnn" if convolutional else "mlp"


def build_from_factory(blueprint: Blueprint) -> nn.Module:
    """Let the user's factory build the module. Raises Refused (factory, keys)."""
    return call_factory(
        blueprint.detail,
        renamed(blueprint),
        options=blueprint.options,
        search_path=blueprint.search_path,
    )


def build_from_onnx(blueprint: Blueprint) -> nn.Module:
    """Run the graph that came with the weights; what that needs is imported only here."""
    found: nn.Module = import_module(".onnx_module", __package__).build_onnx(blueprint)
    return found


BUILDERS: dict[str, Callable[[Blueprint], nn.Module]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
    "timm": build_timm,
    "torchvision": build_torchvision,
    "transformers": build_transformers,
    "onnx": build_from_onnx,
    "python": build_from_factory,
}


def _shape_given(
    rows: np.ndarray | None, preprocessing: Preprocessing | None, *, image: bool
) -> tuple[int, ...] | None:
    """Tell the shape of one sample as zoo.toml and the probe alone fix it."""
    if rows is not None and not image:
        return rows.shape[1:]
    sized = preprocessing is not None and preprocessing.size is not None
    return shape_shown(preprocessing, USUAL_SIDE) if sized else None


def _input_shape(module: nn.Module, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Tell the shape of one sample: as the module says, else as it is given, else as its first layer takes it."""
    said = getattr(module, "input_shape", None) or given
    shape = tuple(int(length) for length in said) if said is not None else _first_taken(module)
    if prod(shape) > LARGEST_INPUT:
        raise Refused("input-shape", f"takes {prod(shape):,} numbers a row", hint="say a smaller size in zoo.toml")
    return shape


def _first_taken(module: nn.Module) -> tuple[int, ...]:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            return (part.in_features,)
        if isinstance(part, nn.Conv2d):
            return (part.in_channels, USUAL_SIDE, USUAL_SIDE)
    hint = "give zoo.toml a probe, or the factory's module an attribute input_shape"
    raise Refused("input-shape", "does not say what it takes", hint=hint)


def _settled(module: nn.Module) -> nn.Module:
    """Bring a module to rest: no training, no gradients of weights, no half precision on the CPU."""
    if precision(module) in (torch.float16, torch.bfloat16):
        module = module.float()
    return module.cpu().eval().requires_grad_(False)


def _trace(network: Network, rows: np.ndarray) -> Trace:
    def run() -> Trace:
        return trace(
            module,
            to_module(
                rows,
                module=module,
                input_shape=network.input_shape,
                scaling=network.scaling,
                preprocessing=network.preprocessing,
            ),
        )

    module = network.module
    parts = (*module.parameters(), *module.buffers())
    if len({part.dtype for part in parts if part.is_floating_point()}) < 2:
        return run()
    try:
        return run()
    except Refused:  # weights and constants of two precisions that do not meet: bring all to the weights'
        module.to(precision(module))
        return run()
