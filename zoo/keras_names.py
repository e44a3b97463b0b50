"""Call the weights of Keras files what Keras calls them: "dense_1/kernel"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]
_SILENT = frozenset({"layers", "vars", "_layer_checkpoint_dependencies"})
"""Groups of Keras 3 that say nothing of the model."""
_BESIDE = frozenset({"optimizer", "optimizer_weights", "metrics", "_metrics", "compile_metrics", "loss_tracker"})
_RANDOM = "seed_generator"
_LEGACY = "model_weights"


def is_beside(path: Sequence[str], top: frozenset[str]) -> bool:
    """Tell what is no weight of the model: the state of its optimizer, of its metrics, of random draws."""
    whole = _LEGACY in top or "layers" in top or "_layer_checkpoint_dependencies" in top
    return _RANDOM in path or (whole and path[0] in _BESIDE)


def names_of(
    shapes: Mapping[tuple[str, ...], Shape], called: Mapping[tuple[str, ...], str], listed: Sequence[str]
) -> dict[tuple[str, ...], str]:
    """Name datasets by their paths, in the model's order as far as it is known.

    `called` tells what layers are called in Keras 3, by the group of their variables; `listed` are the weights
    that older files list, in order.
    """
    if listed or any(path[0] == _LEGACY or re.search(r":\d+$", path[-1]) for path in shapes):
        found = _legacy(list(shapes), listed)
    else:
        found = _modern({path: shapes[path] for path in sorted(shapes, key=_natural)}, called)
    twice = Counter(found.values())
    return {path: name if twice[name] == 1 else "/".join(path) for path, name in found.items()}


def _legacy(paths: Sequence[tuple[str, ...]], listed: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Name weights of Keras 2: layer/layer/kernel:0, under model_weights where the whole model was saved."""
    order = {name: place for place, name in reversed(list(enumerate(listed)))}
    bare = {path: path[1:] if path[0] == _LEGACY else path for path in paths}
    inner = {path: "/".join(parts[1:]) for path, parts in bare.items()}
    ranked = sorted(paths, key=lambda path: (order.get(inner[path], len(order)), _natural(path)))
    return {path: re.sub(r":\d+$", "", inner[path] if "/" in inner[path] else "/".join(bare[path])) for path in ranked}


def _modern(
    shapes: Mapping[tuple[str, ...], Shape], called: Mapping[tuple[str, ...], str]
) -> dict[tuple[str, ...], str]:
    """Name variables of Keras 3, which numbers the variables of a layer."""
    found = {path: _parts(path, called) for path in shapes}
    layers: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in shapes:
        if len(path) > 1 and path[-2] == "vars":
            layers.setdefault(path[:-1], []).append(path)
    for paths in layers.values():
        layer = "/".join(found[paths[0]][-2:-1])
        for path, role in zip(paths, _roles(layer, [shapes[path] for path in paths]), strict=False):
            found[path][-1] = role
    return {path: "/".join(parts) for path, parts in found.items()}


def _parts(path: tuple[str, ...], called: Mapping[tuple[str, ...], str]) -> list[str]:
    """Say what stands on the way to a variable: what lies in "layers" goes by the name that it was given."""
    return [
        called.get((*path[: place + 1], "vars"), part) if place and path[place - 1] == "layers" else part
        for place, part in enumerate(path)
        if part not in _SILENT
    ]


def _roles(layer: str, shapes: Sequence[Shape]) -> tuple[str, ...]:
    """Tell from their shapes what the variables of a layer are; none where that is open."""
    axes = tuple(map(len, shapes))
    if len(axes) in (1, 2) and axes[0] > 1 and axes[1:] in ((), (1,)):
        return ("embeddings" if "embedding" in layer and len(axes) == 1 else "kernel", "bias")[: len(axes)]
    if len(set(shapes)) == 1 and axes[0] == 1:
        return {4: ("gamma", "beta", "moving_mean", "moving_variance"), 2: ("gamma", "beta")}.get(len(axes), ())
    if axes in ((2, 2, 1), (2, 2, 2)) and shapes[0][1] == shapes[1][1]:
        return ("kernel", "recurrent_kernel", "bias")
    if len(axes) == 3 and axes[0] == axes[1] > 2 and axes[2] == 1:
        return ("depthwise_kernel", "pointwise_kernel", "bias")
    return ()


def _natural(path: Sequence[str]) -> list[tuple[tuple[int, int | str], ...]]:
    """Order paths so that dense_2 comes before dense_10."""
    return [
        tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in re.split(r"(\d{1,18})", part) if piece)
        for part in path
    ]
