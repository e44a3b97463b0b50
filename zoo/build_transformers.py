"""Build a Hugging Face model from its config.json and its weights, by transformers' own code and no other.

config.json comes from a stranger. What it says that is not a model's description (code of its own, names of
other models, kernels, quantisation) is left out or refused; its numbers are bounded by what the checkpoint
holds; the model is first built of shapes alone, and counted; and all of that is first done in a process apart.

Rows are token ids, or images. Of what a model gives one tensor is taken: its logits, else its pooled output,
else its last hidden state. Where that has positions, their mean is taken; of a causal language model the last
position, and of an encoder and a decoder the encoder alone runs. options in zoo.toml change that:

    head = false            the model without what stands on top of it, whose weights are left out
    part = "vision_model"   only this part of it runs
    output = "NAME"         another of its outputs
    positions = "last"      or "first", "mean", "all"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn

from .blueprint import Blueprint, image_shape
from .chain import tensor
from .errors import Refused
from .frame import allowance, attempted, counted, imported, quiet, shown
from .keys import BOOKKEEPING, Renamed, refuse_others, renamed, wrong_shape
from .model_config import AGAIN, model_config
from .trial import try_apart

OPTIONS = ("head", "part", "output", "positions")
POSITIONS = ("mean", "last", "first", "all")
USUAL_SIDE = 224
USUAL_TOKENS = 16
_PRELOAD = ("transformers.modeling_utils", "transformers.models.auto.modeling_auto", __name__)
_FIELDS = ("logits", "pooler_output", "last_hidden_state")
_LAST = ("ForCausalLM", "LMHeadModel")
_POOLER = "pooler."
COMPUTED = (*BOOKKEEPING, "position_ids", "token_type_ids", "inv_freq", "attn.bias", "attn.masked_bias", "masked_bias")
"""Ends of names of what older versions wrote into checkpoints though the model computes it."""


def build_transformers(blueprint: Blueprint) -> nn.Module:
    """Build "transformers:" from the config.json beside the weights, after a trial in a sandbox.

    Raises Refused (missing-package, no-config, config, options, keys, shapes, crashed, timed-out, memory).
    """
    try_apart("build_transformers:assemble", blueprint, package="transformers", preload=_PRELOAD)
    return assemble(blueprint)


def assemble(blueprint: Blueprint) -> nn.Module:
    """Do what `build_transformers` does, in this process."""
    options = _options(blueprint)
    transformers = imported("transformers")
    imported("transformers.modeling_utils")  # which may fail where the package itself does not
    with _silent(transformers):
        config = model_config(transformers, blueprint)
        name = _class_name(transformers, config, head=options["head"])
        kind = attempted(lambda: getattr(transformers, name), name=name, code="config", hint=AGAIN)
        model = _loaded(kind, config, blueprint)

    def wrapped() -> Rows:
        return Rows(model, part=options["part"], output=options["output"], positions=options["positions"])

    found = attempted(wrapped, name=name, code="options", hint="correct options.part in zoo.toml")
    return shown(found, _input_shape(found, blueprint))


class Rows(nn.Module):
    """A model that takes rows and gives one tensor; its layers keep the names that they have in the model."""

    def __init__(self, model: nn.Module, *, part: str, output: str, positions: str) -> None:
        super().__init__()
        self._modules, self._parameters, self._buffers = model._modules, model._parameters, model._buffers
        runs = model.get_submodule(part) if part else _encoder(model)
        self.runs = (runs,)  # in a tuple: not a module of this one, whose modules are the model's already
        self.takes = str(getattr(runs, "main_input_name", "input_ids"))
        self.output = output
        self.positions = positions or ("last" if type(runs).__name__.endswith(_LAST) else "mean")
        self.training = False

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Run the model on token ids or images."""
        given = rows.round().long() if self.takes == "input_ids" else rows
        with _silent(imported("transformers")):
            found = self.runs[0](**{self.takes: given}, return_dict=True)
        values = self._chosen(found)
        if values.ndim != 3:
            return values
        if self.positions == "mean":
            return values.mean(1)
        return values if self.positions == "all" else values[:, -1 if self.positions == "last" else 0]

    def _chosen(self, found: Mapping[str, Any]) -> torch.Tensor:
        for name in (self.output,) if self.output else _FIELDS:
            if isinstance(found.get(name), torch.Tensor):
                value: torch.Tensor = found[name]
                return value.flatten(1) if name == "pooler_output" else value
        there = [name for name, value in found.items() if isinstance(value, torch.Tensor)]
        what = f"gives no {self.output or 'logits or hidden state'}"
        raise Refused("options", what, hint=f'say options = {{ output = "{there[0] if there else "NAME"}" }}')


class _Slice:
    """A tensor that is read when transformers takes it."""

    def __init__(self, tensors: Renamed, name: str) -> None:
        self._tensors, self._name = tensors, name

    def __getitem__(self, _: object) -> torch.Tensor:
        return tensor(self._tensors[self._name])


def _options(blueprint: Blueprint) -> dict[str, Any]:
    options = {"head": True, "part": "", "output": "", "positions": "", **blueprint.options}
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise Refused("options", f"options.{unknown[0]} is not known", hint=f"there are {', '.join(OPTIONS)}")
    if options["positions"] not in ("", *POSITIONS):
        raise Refused(
            "options", f"options.positions is {options['positions']!r}", hint=f"one of {', '.join(POSITIONS)}"
        )
    return options


def _class_name(transformers: Any, config: Any, *, head: bool) -> str:
    """Find the class of transformers' own that the config names, else the model without a head."""
    tables = transformers.models.auto.modeling_auto
    mapped = [getattr(tables, name) for name in dir(tables) if name.startswith("MODEL_") and name.endswith("_NAMES")]
    kind = config.model_type
    known = {name for table in mapped if kind in table for name in _names(table[kind])}
    base = next(iter(_names(tables.MODEL_MAPPING_NAMES.get(kind, ()))), None)
    named = (config.architectures or [None])[0]
    found = named if head and isinstance(named, str) and named in known else base
    if found is None:
        raise Refused("config", f"is of a model type ({kind[:40]}) that has no model", hint=AGAIN)
    return str(found)


def _names(entry: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry)


def _loaded(kind: Any, config: Any, blueprint: Blueprint) -> nn.Module:
    """Build a model of shapes, count it, and let transformers bring the weights in as `from_pretrained` does."""
    name = f"transformers:{config.model_type}"
    given = renamed(blueprint)
    allowed = allowance(blueprint.checkpoint.shapes)

    def rehearse() -> None:
        with counted(allowed), torch.device("meta"):
            kind(config)

    attempted(rehearse, name=name, code="config", hint=AGAIN)
    state = {key: _Slice(given, key) for key in given}
    model, told = attempted(lambda: _load(kind, config, state), name=name, code="config", hint=AGAIN)
    missing = told["missing_keys"]
    if missing and all(_POOLER in key for key in missing):
        bare = {"add_pooling_layer": False}
        model, told = attempted(lambda: _load(kind, config, state, **bare), name=name, code="keys", hint=AGAIN)
    _refuse_misfits(kind, told, blueprint, name=name)
    for setting in ("use_cache", "output_attentions", "output_hidden_states"):
        setattr(model.config, setting, False)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = -1  # no row is padded
    module: nn.Module = model
    return module


def _load(kind: Any, config: Any, state: Mapping[str, _Slice], **more: Any) -> tuple[Any, Mapping[str, Any]]:
    found: tuple[Any, Mapping[str, Any]] = kind.from_pretrained(
        None,
        config=config,
        state_dict=dict(state),
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # they are refused below, in our words
        output_loading_info=True,
        local_files_only=True,
        **more,
    )
    return found


def _refuse_misfits(kind: Any, told: Mapping[str, Any], blueprint: Blueprint, *, name: str) -> None:
    for key, has, wants in sorted(told["mismatched_keys"]):
        raise wrong_shape(key, has, wants, name=name)
    extra = [key for key in sorted(told["unexpected_keys"]) if not key.endswith(COMPUTED)]
    if blueprint.options.get("head") is False:
        extra = [key for key in extra if key.startswith(f"{kind.base_model_prefix}.")]
    missing = sorted(told["missing_keys"])
    hint = "options = { head = false } runs the model without its head, " + AGAIN
    refuse_others(dict.fromkeys(extra, ()), dict.fromkeys(missing, ()), name=name, remedy=hint)


def _encoder(model: Any) -> nn.Module:
    """Take of a model with an encoder and a decoder the encoder: a decoder would need a text to go on with."""
    found: nn.Module = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
    return found


def _input_shape(model: Rows, blueprint: Blueprint) -> tuple[int, ...]:
    config: Any = getattr(model.runs[0], "config", None)
    if model.takes == "pixel_values":
        size = getattr(config, "image_size", None) or USUAL_SIDE
        height, width = (size, size) if isinstance(size, int) else (*size, *size)[:2]
        return image_shape(blueprint, (getattr(config, "num_channels", 3), height, width))
    if blueprint.shape is not None:
        return blueprint.shape
    return (min(USUAL_TOKENS, getattr(config, "max_position_embeddings", None) or USUAL_TOKENS),)


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """Keep what transformers would say from the user, and its hands from the network."""
    constants: Any = import_module("huggingface_hub.constants")
    logging = transformers.utils.logging
    level, bars, offline = logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        with quiet():
            yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
