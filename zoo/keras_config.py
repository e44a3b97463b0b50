"""What the description of a Keras model says of it. It is data here: nothing that it names is imported or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import one_line

MOST_NAMED = 20
_OWN = frozenset({"keras", "keras_core", "tf_keras", "tensorflow", "builtins"})
_HARMLESS = frozenset({"", "None", "__tuple__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__typespec__"})


def code_in(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List what a description names that is code and no part of Keras, as warnings."""
    found = dict.fromkeys(_worded(part) for part in _parts(config))
    return tuple(warning for warning in found if warning)[:MOST_NAMED]


def activation_of(config: Mapping[str, Any]) -> str | None:
    """Name the activation between the dense layers of a plain stack that ends in a linear one; else None."""
    layers = config.get("config", {}).get("layers") if isinstance(config.get("config"), dict) else None
    if config.get("class_name") != "Sequential" or not isinstance(layers, list):
        return None
    names = [_activation(layer) for layer in layers]
    dense = [name for name in names if name != ""]
    hidden = set(dense[:-1])
    plain = None not in names and len(hidden) == 1 and dense[-1] == "linear"
    return hidden.pop() if plain else None


def _activation(layer: Any) -> str | None:
    """Give the activation of a dense layer; "" where a layer has none and changes nothing of it, None for others."""
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
        return None
    kind, said = layer.get("class_name"), layer["config"].get("activation", "linear")
    if kind in ("InputLayer", "Dropout", "Flatten"):
        return ""
    return said if kind == "Dense" and isinstance(said, str) else None


def _worded(part: Mapping[str, Any]) -> str:
    kind, module = _text(part.get("class_name")), _text(part.get("module"))
    if kind == "Lambda":
        return "code: a Lambda layer, not run"
    if kind == "__lambda__":
        return "code: a function, not run"
    own = module.partition(".")[0] in {*_OWN, ""}
    if kind in _HARMLESS or (own and kind not in ("exec", "eval", "function")):
        return ""
    if own and kind == "function" and not _text(part.get("config")).isidentifier():
        return "code: a function, not run"
    return "" if own and kind == "function" else f"code: {module}.{kind}, not run"


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    """Walk through all objects of a description."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += list(part.values())[::-1]
        elif isinstance(part, list):
            waiting += part[::-1]


def _text(value: object) -> str:
    return one_line(value[:60]) if isinstance(value, str) else ""
