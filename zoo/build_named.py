"""Build the architectures that timm and torchvision know by name, around the weights of a checkpoint.

Nothing is ever downloaded. options in zoo.toml go to the library, but for `match` (see `keys.fit`). With
num_classes = 0 the last layer is cut off, and what the checkpoint has of it is left out.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import nn

from .blueprint import Blueprint, image_shape
from .errors import Refused
from .frame import Unfilled, allowance, attempted, counted, fill, imported, shown
from .keys import fit
from .trial import try_apart

FETCHING = frozenset(
    {"pretrained", "weights", "weights_backbone", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"}
)
"""Settings by which a library would put other weights into the module."""
OURS = frozenset({"match"})
USUAL_SIDE = 224
LARGEST_SIDE = 1024
MOST_CLASSES = 1 << 20
LARGEST_SETTING = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9_]{1,80}(\.[A-Za-z0-9_]{1,80})?")
_CORRECT = "correct options in zoo.toml"


def build_timm(blueprint: Blueprint) -> nn.Module:
    """Build "timm:NAME". A config.json of timm's beside the weights speaks where options do not; it is tried first.

    Raises Refused (missing-package, no-architecture, options, config, keys, shapes, dtype, crashed, timed-out,
    memory).
    """
    if timm_name(blueprint.checkpoint.config) is not None:
        try_apart("build_named:assemble_timm", blueprint, package="timm", preload=(__name__,))
    return assemble_timm(blueprint)


def assemble_timm(blueprint: Blueprint) -> nn.Module:
    """Do what `build_timm` does, in this process alone."""
    timm = imported("timm")
    name = _known(blueprint.detail, timm.list_models(), library="timm", base=blueprint.detail.partition(".")[0])
    config = blueprint.checkpoint.config if timm_name(blueprint.checkpoint.config) == name else {}
    said = _settings(config)
    options = {**said, **_options(blueprint)}

    def make() -> nn.Module:
        module: nn.Module = timm.create_model(name, pretrained=False, **options)
        return module

    if said:  # what a stranger wrote is first built of shapes alone, and counted
        with torch.device("meta"), counted(allowance(blueprint.checkpoint.shapes)):
            _made(make, name=f"timm:{name}")
    module = _made(make, name=f"timm:{name}")
    own: dict[str, Any] = getattr(module, "pretrained_cfg", {})
    head = own.get("classifier") or ()
    spare = () if options.get("num_classes") != 0 else (head,) if isinstance(head, str) else tuple(head)
    module = _filled(module, blueprint, name=f"timm:{name}", spare=spare)
    return shown(module, image_shape(blueprint, _usual_shape(own | _sane_size(config), options)))


def build_torchvision(blueprint: Blueprint) -> nn.Module:
    """Build "torchvision:NAME".

    Raises Refused (missing-package, no-architecture, options, keys, shapes, dtype).
    """
    models = imported("torchvision").models
    name = _known(blueprint.detail, models.list_models(), library="torchvision", base=blueprint.detail)
    options, title = _options(blueprint), f"torchvision:{name}"
    headless = options.get("num_classes") == 0
    if headless:
        del options["num_classes"]
    if "weights_backbone" in _parameters(models.get_model_builder(name)):
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", False)  # else minutes of drawing at random

    module = _made(lambda: models.get_model(name, weights=None, **options), name=title)
    spare = (_behead(module),) if headless else ()
    module = _filled(module, blueprint, name=title, spare=spare)
    side = getattr(module, "image_size", None) or _usual_side(models, name)
    return shown(module, image_shape(blueprint, (3, side, side)))


def timm_name(config: Mapping[str, Any]) -> str | None:
    """Tell the architecture that a config.json of timm's names, if it is one."""
    name = config.get("architecture")
    known = isinstance(name, str) and "pretrained_cfg" in config and _NAME.fullmatch(name)
    return str(name).partition(".")[0] if known else None


def _known(detail: str, names: Collection[str], *, library: str, base: str) -> str:
    if base in names:
        return base
    near = difflib.get_close_matches(detail[:80], names, n=3)
    what = f"architecture '{library}:{detail[:80]}' is none that this {library} knows"
    raise Refused(
        "no-architecture", what, hint=f"near are {', '.join(near)}" if near else f"see the list of {library}'s models"
    )


def _options(blueprint: Blueprint) -> dict[str, Any]:
    fetching = sorted(FETCHING & set(blueprint.options))
    if fetching:
        what = f"is to be built with options.{fetching[0]}, which would put other weights in place of its own"
        raise Refused("options", what, hint="take that out of zoo.toml")
    return {key: value for key, value in blueprint.options.items() if key not in OURS}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a config.json what says how the module is built, as far as it is plain and small."""
    more = config.get("model_args")
    found = {**(more if isinstance(more, dict) else {}), **{key: config.get(key) for key in ("global_pool",)}}
    kept = {key: value for key, value in found.items() if key.isidentifier() and key not in FETCHING and _plain(value)}
    classes = config.get("num_classes")
    if isinstance(classes, int) and 0 <= classes <= MOST_CLASSES:
        kept["num_classes"] = int(classes)
    return kept


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= 16 and all(_plain(item) and not isinstance(item, list) for item in value)
    if isinstance(value, str):
        return len(value) <= 40
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= LARGEST_SETTING


def _made(make: Callable[[], nn.Module], *, name: str) -> nn.Module:
    def build() -> nn.Module:
        with Unfilled():
            return make()

    return attempted(build, name=name, code="options", hint=_CORRECT)


def _filled(module: nn.Module, blueprint: Blueprint, *, name: str, spare: Collection[str]) -> nn.Module:
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    return fill(module, fit(blueprint, wanted, name=name, spare=spare), name=name)


def _usual_shape(own: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[int, int, int]:
    channels, height, width = own.get("input_size") or (3, USUAL_SIDE, USUAL_SIDE)
    size = options.get("img_size") or (height, width)
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return options.get("in_chans", channels), height, width


def _sane_size(config: Mapping[str, Any]) -> dict[str, Any]:
    own = config.get("pretrained_cfg")
    size = own.get("input_size") if isinstance(own, dict) else None
    sane = isinstance(size, list) and len(size) == 3 and all(isinstance(n, int) and 0 < n <= LARGEST_SIDE for n in size)
    return {"input_size": size} if sane else {}


def _behead(module: nn.Module) -> str:
    """Put nothing in the place of the last dense layer, or of the last convolution where there is none."""
    last: list[str] = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    last = last or [name for name, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    name = last[-1]
    parent, _, child = name.rpartition(".")
    module.get_submodule(parent)._modules[child] = nn.Identity()
    return name


def _usual_side(models: Any, name: str) -> int:
    """Tell the side of the photos that torchvision's own weights of this name were trained on."""
    try:
        size = models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"]
    except (AttributeError, KeyError, ValueError):
        return USUAL_SIDE
    return size if isinstance(size, int) else USUAL_SIDE


def _parameters(function: Callable[..., Any]) -> Collection[str]:
    import inspect

    return inspect.signature(function).parameters
