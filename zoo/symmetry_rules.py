"""What torch's elementary functions do to the axes of what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .symmetry_axes import Axes, fix, fresh, length
from .symmetry_call import Call, Rule, broadcast, each, fixed, listed, unknown
from .symmetry_layers import LAYERS
from .symmetry_shapes import SHAPES


def axes_of(call: Call, *, pointwise: bool) -> Sequence[Axes]:
    """Tell the axes of all tensors that a call gives; what is not understood is fixed."""
    results, rule = call.results, RULES.get(call.name, _pointwise if pointwise else unknown)
    try:
        found = rule(call)
    except (TypeError, ValueError, LookupError, AttributeError):  # a form that the rule does not know
        found = unknown(call)
    several = [found] if isinstance(found, tuple) else list(found)
    several += [fixed(result.shape) for result in results[len(several) :]]
    for at, result in enumerate(results):
        if tuple(map(length, several[at])) != tuple(result.shape):
            fix(*several[at])
            unknown(call)
            several[at] = fixed(result.shape)
    return several[: len(results)]


def _free(call: Call) -> Axes:
    return tuple(fresh(size) for size in call.result.shape)


def _pointwise(call: Call) -> Axes:
    return broadcast(call.result.shape, [call.known(tensor) for tensor in call.tensors])


def _same(call: Call) -> Axes:
    return call.first


def _reduce(call: Call) -> Axes | Sequence[Axes]:
    axes, dims, keep = call.first, call.given.get("dim"), call.given.get("keepdim", False)
    dims = range(len(axes)) if dims is None or dims == [] else dims if isinstance(dims, list | tuple) else [dims]
    gone = {place % len(axes) for place in dims} if axes else set()
    found = tuple(((),) if place in gone else axis for place, axis in enumerate(axes) if keep or place not in gone)
    return [found] * len(listed(call.result))


def _chosen(call: Call) -> Axes | Sequence[Axes]:
    """Give values beside their places: along the axis that is searched nothing may move."""
    if call.given.get("dim") is not None:
        fix(call.first[call.given["dim"]])
        return _reduce(call)
    return _reduce(call) if call.name in ("max", "min") else unknown(call)


def _ordered(call: Call) -> Axes | Sequence[Axes]:
    """Work along one or several axes in their order."""
    dims: Any = next((call.given[name] for name in ("dim", "dims") if call.given.get(name) is not None), [])
    dims = [dims] if isinstance(dims, int) else list(dims) or range(len(call.first))
    for place in dims:
        fix(call.first[place])
    return [call.first] * len(listed(call.result))


def _eye(call: Call) -> Axes:
    rows, columns = call.result.shape
    return (fresh(rows),) * 2 if rows == columns else fixed((rows, columns))


UNIFORM = frozenset(
    ["zeros", "ones", "full", "empty", "scalar_tensor", "empty_strided"]
    + [f"{name}_like" for name in ("zeros", "ones", "full", "empty")]
    + [f"new_{name}" for name in ("zeros", "ones", "full", "empty")]
)
"""Functions that give the same number everywhere, or none yet: no place differs from another."""

RULES: dict[str, Rule] = {
    **SHAPES,
    **LAYERS,
    **each(
        _pointwise,
        "_to_copy clone copy where masked_fill _prelu_kernel prelu lerp fill zero polar complex hardswish"
        " log_sigmoid_forward",
    ),
    **each(_same, "alias detach lift_fresh _softmax _log_softmax _safe_softmax native_dropout _conj"),
    **each(_reduce, "sum mean amax amin var std var_mean std_mean prod logsumexp linalg_vector_norm norm all any"),
    **each(_chosen, "max min"),
    **each(_ordered, "cumsum cumprod flip roll sort topk logcumsumexp cummax cummin"),
    **dict.fromkeys(UNIFORM, _free),
    **each(_eye, "eye"),
}
"""By torch's names of its functions, without the underscore of those that work in place."""
