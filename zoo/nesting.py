"""Find the state dict in what training leaves: bare, one or two levels down, raw beside averaged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .checkpoint import MOST_TENSORS
from .errors import Refused
from .rehearsal import View

RAW = (
    *("state_dict", "model_state_dict", "model_state", "model", "module", "net_state_dict", "net"),
    *("network_state_dict", "network", "params", "parameters", "weights"),
)
AVERAGED = (
    *("ema", "ema_state_dict", "model_ema", "state_dict_ema", "model_ema_state_dict", "ema_model"),
    *("params_ema", "ema_params", "ema_weights"),
)
DEEPEST = 3
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|\bamp\b|rng|callback|loops|grad", re.IGNORECASE)
"""Keys of what also holds tensors in a training checkpoint, but no weights."""
_LIGHTNING, _LIGHTNING_PREFIX = "pytorch-lightning_version", "model."
LONGEST_TEXT = 4096
MOST_SAID = 1000
_Known: TypeAlias = dict[tuple[int, int], bool]
_HINT = "save model.state_dict()"


@dataclass(slots=True)
class StateDict:
    """Tensors by name, what is said beside them, and what had to be left out or chosen."""

    tensors: dict[str, View] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def unpack(content: object) -> StateDict:
    """Find the weights in what a torch file holds.

    Where raw and averaged (EMA) weights are both there, the raw ones are taken; where several networks are,
    each gives its key to its tensors. Text and numbers of the levels that are passed become metadata. Raises
    Refused (no-tensors, keys, bomb).
    """
    if not isinstance(content, dict):
        raise Refused("no-tensors", "is not a state dict", hint=_HINT)
    found = StateDict()
    _unpack(content, found, {}, prefix="", deepest=DEEPEST)
    names = list(found.tensors)
    if _LIGHTNING in content and all(name.startswith(_LIGHTNING_PREFIX) for name in names):
        found.tensors = {name.removeprefix(_LIGHTNING_PREFIX): found.tensors[name] for name in names}
    return found


def _unpack(content: Mapping[object, object], found: StateDict, known: _Known, *, prefix: str, deepest: int) -> None:
    _note(content, found)
    here = {name: value for name, value in content.items() if isinstance(value, View)}
    below = {name: value for name, value in content.items() if _holds_weights(name, value, deepest - 1, known)}
    chosen = next((nest for nest in (*RAW, *AVERAGED) if nest in below), None)
    if chosen is None and here:
        if not all(isinstance(name, str) for name in content):
            raise Refused("keys", "has tensors without a name", hint=_HINT)
        found.tensors.update({f"{prefix}{name}": view for name, view in here.items()})
        if len(found.tensors) > MOST_TENSORS:
            raise Refused("bomb", "holds far too many tensors", hint=_HINT)
        _warn_left_out(found, {}, below)
    elif chosen is not None:
        _warn_averaged(found, chosen, below)
        _warn_left_out(found, here, {name: below[name] for name in below if name not in (*RAW, *AVERAGED)})
        _unpack(_mapping(below[chosen]), found, known, prefix=prefix, deepest=deepest - 1)
    else:
        for name, value in below.items():
            inner = f"{prefix}{name}." if len(below) > 1 else prefix
            _unpack(_mapping(value), found, known, prefix=inner, deepest=deepest - 1)


def _mapping(value: object) -> Mapping[object, object]:
    assert isinstance(value, dict)
    return value


def _holds_weights(name: object, value: object, deepest: int, known: _Known) -> bool:
    """Tell whether there are weights at some level below; what stands in many places is looked at once."""
    if not isinstance(value, dict) or deepest < 0 or _NO_WEIGHTS.search(str(name)):
        return False
    key = (id(value), deepest)
    if key not in known:
        known[key] = any(
            isinstance(part, View) or _holds_weights(inner, part, deepest - 1, known) for inner, part in value.items()
        )
    return known[key]


def _note(content: Mapping[object, object], found: StateDict) -> None:
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float) or len(found.metadata) >= MOST_SAID:
            continue
        long = len(value) > LONGEST_TEXT if isinstance(value, str) else isinstance(value, int) and abs(value) >> 63
        if not long and len(name) <= LONGEST_TEXT:
            found.metadata.setdefault(name, str(value))


def _warn_averaged(found: StateDict, chosen: str, below: Mapping[object, object]) -> None:
    averaged = next((nest for nest in AVERAGED if nest in below and nest != chosen), None)
    if chosen in AVERAGED:
        found.metadata.setdefault("averaged", chosen)
    elif averaged is not None:
        found.metadata.setdefault("raw", chosen)
        found.warnings.append(f"averaged: {averaged} is there too, {chosen} is taken")


def _warn_left_out(found: StateDict, here: Mapping[object, object], below: Mapping[object, object]) -> None:
    left = [str(name)[:80] for name in (*here, *below)]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        found.warnings.append(f"left-out: {left[0]}{more}, beside the weights that are taken")
