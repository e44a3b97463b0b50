"""Turn the config.json of a Hugging Face folder, which a stranger wrote, into a configuration of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .blueprint import Blueprint
from .errors import Refused
from .frame import attempted

AGAIN = 'get the folder again, or write architecture = "weights" in zoo.toml to compare its weights alone'
SLACK_LAYERS = 1024
LARGEST_SIZE = 1 << 17
LARGEST_POSITION = 1 << 24
LARGEST_LABEL = 1 << 40
_UNUSED = frozenset(
    {"auto_map", "custom_pipelines", "trust_remote_code", "transformers_weights", "use_pretrained_backbone"}
    | {"attn_implementation", "attn_implementation_internal", "experts_implementation", "fusion_config"}
    | {"experts_implementation_internal", "kernel_config", "use_kernels", "distributed_config", "tp_plan"}
    | {"name_or_path", "commit_hash", "dtype", "torch_dtype"}
    | {"output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "use_cache"}
)
"""What describes no model but code and weights from elsewhere, how to run it and what to give. Left out."""
_LABEL = re.compile(r"(_ids?|_token|theta|base|seed|params|flops|version)\Z")
_LAYERS = re.compile(r"layer|depth|block|stage|recur|iter|cycle|loop")
_POSITION = re.compile(r"position|length|window|context|seq")
_ANY = re.compile("")


def model_config(transformers: Any, blueprint: Blueprint) -> Any:
    """Make the configuration of the model type that config.json, or else zoo.toml, names.

    Numbers larger than what the weights can need are refused before anything is done so many times. Raises
    Refused (no-config, config).
    """
    said, shapes = blueprint.checkpoint.config, blueprint.checkpoint.shapes
    kind = said.get("model_type") or blueprint.detail
    if not said or not isinstance(kind, str) or not kind:
        hint = "give the folder that save_pretrained wrote, with config.json beside the weights"
        raise Refused("no-config", "has no config.json that says of what model it is", hint=hint)
    known = transformers.models.auto.configuration_auto
    if kind not in known.CONFIG_MAPPING_NAMES:
        what = f"is of a model type that transformers {transformers.__version__} does not know: {kind[:80]!r}"
        raise Refused("config", what, hint=AGAIN)
    if said.get("quantization_config"):
        raise Refused("config", "holds quantised weights", hint="get the checkpoint before it was quantised")
    longest = max((max(shape, default=0) for shape in shapes.values()), default=0)
    layers = 4 * len(shapes) + SLACK_LAYERS

    def make() -> Any:
        table = known.CONFIG_MAPPING[kind]
        size = max(2 * longest, LARGEST_SIZE)
        position = LARGEST_POSITION if hasattr(table, "rope_parameters") else size
        _refuse_vast(said, "", {_LABEL: LARGEST_LABEL, _LAYERS: layers, _POSITION: position, _ANY: size})
        return table(
            **{key: value for key, value in _described(said).items() if not callable(getattr(table, key, None))}
        )

    return attempted(make, name=f"transformers:{kind}", code="config", hint=AGAIN)


def _refuse_vast(value: object, key: str, limits: Mapping[re.Pattern[str], int]) -> None:
    """Refuse whole numbers beyond the limit of the first pattern that their key shows."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_vast(inner, name, limits)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_vast(inner, key, limits)
    elif isinstance(value, int) and abs(value) > next(limit for shown, limit in limits.items() if shown.search(key)):
        what = f"has a config.json with {key[:40]} = {value if abs(value) < 1 << 64 else 'a number of many digits'}"
        raise Refused("config", f"{what}, far beyond its weights", hint=AGAIN)


def _described(said: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what describes no model, and names that are not a field's."""
    kept = {}
    for key, value in said.items():
        if key.lstrip("_") not in _UNUSED and key.isidentifier() and not key.startswith("__"):
            kept[key] = _described(value) if isinstance(value, dict) and _is_config(value) else value
    return kept


def _is_config(value: Mapping[str, Any]) -> bool:
    """Tell a configuration within a configuration from a table, whose keys may be anything."""
    return all(isinstance(key, str) and key.isidentifier() for key in value)
