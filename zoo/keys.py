"""Match the names in a checkpoint with those that an architecture gives its weights, and explain where they differ."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .blueprint import Blueprint
from .errors import Refused

Shapes = Mapping[str, tuple[int, ...]]

BOOKKEEPING = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Counters that training and profilers leave behind; no result depends on them."""
LEFT_OUT = "-"
"""What a name becomes, in `rename`, whose tensor is not wanted."""
ORDER = "order"
MOST_NEAR = 400
FEW = 3
_ROLES = {"gamma": "weight", "beta": "bias", "kernel": "weight", "moving_mean": "running_mean"}
_ROLES |= {"moving_variance": "running_var"}


@dataclass(frozen=True, slots=True, eq=False)
class Renamed(Mapping[str, np.ndarray]):
    """The tensors of a checkpoint under other names, each still read only when it is asked for."""

    tensors: Mapping[str, np.ndarray]
    names: Mapping[str, str]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.tensors[self.names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def renamed(blueprint: Blueprint) -> Renamed:
    """Take prefixes off and names over as zoo.toml says.

    `rename` has old = new for whole names and for whole beginnings of them; a * in both stands for what is
    there up to the next dot or slash; the longest old that fits is taken, and "-" leaves the tensor out. Raises
    Refused (keys) where two tensors come to one name, and where an entry fits none.
    """
    tensors = blueprint.checkpoint.tensors
    entries = dict(blueprint.rename)
    rules = [(old, *_rule(old, new)) for old, new in sorted(entries.items(), key=_literals)]
    prefix, idle = blueprint.strip_prefix, set(entries)
    names: dict[str, str] = {}
    for name in tensors:
        bare = name.removeprefix(prefix).lstrip("./") if prefix and name.startswith(prefix) else name
        for old, pattern, rewrite in rules:
            if (match := pattern.match(bare)) is not None:
                idle.discard(old)
                bare = LEFT_OUT if entries[old] == LEFT_OUT else rewrite(match) + bare[match.end() :]
                break
        if bare in names:
            raise _wrong(f"has two tensors for {bare[:80]!r}: {names[bare][:80]!r} and {name[:80]!r}")
        if bare != LEFT_OUT:
            names[bare] = name
    if idle:
        raise _wrong(f"has no key that begins with {min(idle)[:80]!r}, which rename says")
    if prefix and not any(name.startswith(prefix) for name in tensors):
        raise _wrong(f"has no key that begins with {prefix[:80]!r}, which strip_prefix says")
    return Renamed(tensors, names)


def fit(blueprint: Blueprint, wanted: Shapes, *, name: str, spare: Collection[str] = ()) -> Renamed:
    """Find for every name that an architecture wants the tensor of its shape in the checkpoint.

    `spare` are beginnings of names that may be left over, as those of a head that is cut off. With
    options = { match = "order" } names do not count, but roles (weight, bias, ...), shapes and order do. Raises
    Refused (keys, shapes), naming what is nearest and what to write in zoo.toml.
    """
    found = renamed(blueprint)
    sizes = blueprint.checkpoint.shapes
    shapes = {new: sizes[old] for new, old in found.names.items() if not new.endswith(BOOKKEEPING)}
    shapes = {key: shape for key, shape in shapes.items() if key in wanted or not _begins(key, spare)}
    needed = {key: shape for key, shape in wanted.items() if not key.endswith(BOOKKEEPING)}
    if blueprint.options.get("match") == ORDER:
        return Renamed(found.tensors, {new: found.names[old] for new, old in _in_order(shapes, needed, name)})
    refuse_others(shapes, needed, name=name)
    for key, shape in needed.items():
        if shapes[key] != shape:
            raise wrong_shape(key, shapes[key], shape, name=name)
    return Renamed(found.tensors, {key: found.names[key] for key in needed})


def refuse_others(has: Shapes, wants: Shapes, *, name: str, remedy: str = "") -> None:
    """Refuse names that are not those wanted, and say which are near. Raises Refused (keys)."""
    extra = [key for key in has if key not in wants]
    lacking = [key for key in wants if key not in has]
    if not extra and not lacking:
        return
    parts = []
    if extra:
        near = _nearest(extra[0], lacking, has[extra[0]], wants)
        parts.append(f"has {_keys(extra)} that {name} lacks, first {extra[0][:80]!r}{near}")
    if lacking:
        near = "" if extra else _nearest(lacking[0], list(has), wants[lacking[0]], has)
        parts.append(f"lacks {_keys(lacking)} that {name} needs, first {lacking[0][:80]!r}{near}")
    raise Refused("keys", ", and ".join(parts), hint=remedy or _remedy(has, wants, extra, lacking))


def wrong_shape(key: str, has: Sequence[int], wants: Sequence[int], *, name: str) -> Refused:
    """Word the refusal of a tensor of another shape; where only the number of outputs differs it is a head."""
    head = len(has) == len(wants) and tuple(has[1:]) == tuple(wants[1:])
    remedy = "correct options in zoo.toml, or name the architecture that it is"
    if head:
        remedy = f"if that is its last layer: options = {{ num_classes = {has[0]} }} in zoo.toml"
    return Refused("shapes", f"has {key[:80]} of shape {tuple(has)}, {name} takes {tuple(wants)}", hint=remedy)


def _literals(entry: tuple[str, str]) -> int:
    return entry[0].count("*") - len(entry[0])


def _rule(old: str, new: str) -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    """Compile one entry of `rename`; stars are possessive, so that no name takes long."""
    if new != LEFT_OUT and new.count("*") != old.count("*"):
        hint = "write as many * in the new name as in the old one"
        raise Refused("keys", f"is to be renamed by {old!r} = {new!r}, of which only one has a *", hint=hint)
    whole = "([^./]++)".join(map(re.escape, old.split("*")))
    pattern = re.compile(whole if not old or old.endswith((".", "/")) else rf"{whole}(?=[./]|\Z)")
    pieces = new.split("*")

    def rewrite(match: re.Match[str]) -> str:
        filled = zip(pieces, (*match.groups(), ""), strict=True)
        return "".join(piece + text for piece, text in filled)

    return pattern, rewrite


def _in_order(has: Shapes, wants: Shapes, name: str) -> Iterator[tuple[str, str]]:
    """Pair names by their places. Raises Refused (keys) at the first pair that cannot be one."""
    if len(has) != len(wants):
        what = f"has {len(has)} tensors, {name} takes {len(wants)}: they cannot be matched in their order"
        raise Refused("keys", what, hint=f'leave out what is too much: rename = {{ "NAME" = "{LEFT_OUT}" }}')
    for (old, shape), (new, wanted) in zip(has.items(), wants.items(), strict=True):
        if shape != wanted or _role(old) != _role(new):
            here = f"where it has {old[:80]!r} of shape {shape}, {name} has {new[:80]!r} of shape {wanted}"
            raise _wrong(f"cannot be matched in its order: {here}")
        yield new, old


def _role(key: str) -> str:
    last = re.split(r"[./]", key)[-1]
    return _ROLES.get(last, last)


def _begins(key: str, beginnings: Collection[str]) -> bool:
    return any(key == start or key.startswith(f"{start}.") for start in beginnings)


def _nearest(key: str, others: Sequence[str], shape: Sequence[int], shapes: Shapes) -> str:
    """Name what is most like a key, among those of its shape first. Long lists are cut: this only explains."""
    alike = [other for other in others if tuple(shapes[other]) == tuple(shape)] or others
    short = {other[:160]: other for other in alike[:MOST_NEAR]}
    found = difflib.get_close_matches(key[:160], short, n=1, cutoff=0.3)
    return f" (nearest: {short[found[0]][:80]!r})" if found else ""


def _remedy(has: Shapes, wants: Shapes, extra: Sequence[str], lacking: Sequence[str]) -> str:
    for key in lacking[:MOST_NEAR]:
        if extra and extra[0].endswith(f".{key}"):
            prefix = extra[0].removesuffix(key)
            if all(other.removeprefix(prefix) in wants for other in extra):
                return f"strip_prefix = {json.dumps(prefix)} in zoo.toml takes it off"
    try:
        pairs = list(_in_order(has, wants, "")) if extra else []
    except Refused:
        pairs = []
    moved = {old.rpartition(".")[0]: new.rpartition(".")[0] for new, old in pairs if old != new}
    if 0 < len(moved) <= FEW:
        entries = ", ".join(f"{json.dumps(old)} = {json.dumps(new)}" for old, new in moved.items())
        return f"rename = {{ {entries} }} in zoo.toml takes them over, if that is what they are"
    if pairs:
        return 'the same shapes come in the same order: options = { match = "order" } in zoo.toml takes them so'
    return 'say how names differ in zoo.toml: strip_prefix = "model.", rename = { "old.name" = "new.name" }'


def _keys(keys: Sequence[str]) -> str:
    return f"{len(keys)} key{'s' * (len(keys) != 1)}"


def _wrong(what: str) -> Refused:
    return Refused("keys", what, hint="correct strip_prefix and rename in zoo.toml")
