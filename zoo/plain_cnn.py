"""Plain convolutional stacks: what names and shapes tell of them, and what may stand where they tell nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from .blueprint import NAME_IT
from .errors import Refused
from .order import NoOrder, Weighted, by_kind, numbers, orders

Shape = tuple[int, ...]

POOLS = ("max2", "avg2")
_ROLES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
_ROLES |= {"moving_variance": "running_var"}
_NORM = {"weight", "bias", "running_mean", "running_var"}


@dataclass(frozen=True, slots=True)
class Part(Weighted):
    """A layer as it stands in a checkpoint, with the names of its tensors by role."""

    tensors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch normalisation, and whether the activation comes before it."""

    part: Part
    after_activation: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers in their order; norms by the name of the layer before them.

    `gaps` says for each convolution how many modules without weights follow besides its activation; None where
    names do not say.
    """

    convolutions: tuple[Part, ...]
    dense: tuple[Part, ...]
    norms: Mapping[str, Norm] = field(default_factory=dict)
    gaps: tuple[int | None, ...] = ()


def find_stack(floats: Mapping[str, Shape], *, turned: bool = False) -> Stack:
    """Read the layers off names and shapes; in Keras' files shapes are turned.

    Raises Refused (no-architecture).
    """
    parts = _parts(floats, turned=turned)
    convolutions = _ordered([part for part in parts if len(part.shape) > 2])
    dense = _ordered([part for part in parts if len(part.shape) == 2])
    if not convolutions:
        raise unrecognised("it has no convolution over one axis or two")
    if len({len(part.shape) for part in convolutions}) > 1:
        raise unrecognised("its convolutions have one axis and two")
    if dense and dense[0].shape[1] % convolutions[-1].shape[0]:
        given, taken = convolutions[-1].shape[0], dense[0].shape[1]
        raise unrecognised(f"{convolutions[-1].name[:80]} gives {given} maps, {dense[0].name[:80]} takes {taken}")
    norms = _norms([part for part in parts if len(part.shape) == 1], convolutions, dense)
    nexts = (*convolutions[1:], dense[0] if dense else None)
    gaps = tuple(_gap(here, after, norms) for here, after in zip(convolutions, nexts, strict=True))
    return Stack(tuple(convolutions), tuple(dense), norms, _believed(gaps))


def unrecognised(why: str) -> Refused:
    """Word the refusal of what is no plain stack."""
    return Refused("no-architecture", f"is not recognised as a plain CNN: {why}", hint=NAME_IT)


def _parts(floats: Mapping[str, Shape], *, turned: bool) -> list[Part]:
    stems: dict[str, dict[str, str]] = {}
    for name in floats:
        last = re.split(r"[./]", name)[-1]
        stems.setdefault(name.removesuffix(last).rstrip("./"), {})[_ROLES.get(last, last)] = name
    return [_part(stem, tensors, floats, turned=turned) for stem, tensors in stems.items()]


def _part(stem: str, tensors: Mapping[str, str], floats: Mapping[str, Shape], *, turned: bool) -> Part:
    shapes = {role: floats[name] for role, name in tensors.items()}
    if "running_mean" in shapes and shapes.keys() <= _NORM and len(set(shapes.values())) == 1:
        return Part(stem, shapes["running_mean"], tensors)
    first = next(iter(tensors.values()))
    stem = stem or first  # a module of one layer alone
    weight = shapes.get("weight", ())
    if turned and len(weight) > 1:
        weight = (weight[-1], weight[-2], *weight[:-2])
    if shapes.keys() - {"weight", "bias"} or len(weight) not in (2, 3, 4) or not prod(weight):
        raise unrecognised(f"{first[:80]} of shape {floats[first]} belongs to no layer that it has")
    if shapes.get("bias", weight[:1]) != weight[:1]:
        raise unrecognised(f"{tensors['bias'][:80]} of shape {shapes['bias']} belongs to no layer that it has")
    return Part(stem, weight, tensors)


def _ordered(parts: list[Part]) -> list[Part]:
    if not parts:
        return []
    families = {stem: family for stem, family in by_kind(parts).items() if len(family) > 1}
    counted = [zip(*(numbers(part.name) for part in family), strict=True) for family in families.values()]
    twice = any(sum(len(set(column)) > 1 for column in columns) > 1 for columns in counted)
    if twice or len({stem.partition("#")[0] for stem in families}) < len(families):
        raise unrecognised("its layers stand in blocks, which may have shortcuts")
    try:
        chains = orders(parts)
    except NoOrder as reason:
        raise unrecognised(str(reason)) from None
    if len(chains) > 1:
        raise unrecognised("its layers fit together in more than one order")
    return chains[0]


def _norms(found: list[Part], convolutions: Sequence[Part], dense: Sequence[Part]) -> dict[str, Norm]:
    """Say after which layer each normalisation stands: by number in one sequence, else one for each layer."""
    layers = [*convolutions, *dense]
    sequence = {_place(part): part for part in layers if _place(part)}
    norms = {}
    for part in found:
        for back in (1, 2):
            place = _place(part)
            layer = sequence.get((place[0], place[1] - back)) if place else None
            if layer is not None and layer.shape[0] == part.shape[0] and layer.name not in norms:
                norms[layer.name] = Norm(part, after_activation=back == 2)
                break
    if len(norms) == len(found):
        return norms
    ordered = sorted(found, key=lambda part: numbers(part.name))
    for followed in (convolutions, layers[:-1], layers):
        if [part.shape for part in ordered] == [layer.shape[:1] for layer in followed]:
            return {layer.name: Norm(part) for layer, part in zip(followed, ordered, strict=True)}
    raise unrecognised("where its normalisations stand cannot be told")


def _place(part: Part | None) -> tuple[str, int] | None:
    """Tell the sequence that a layer stands in and its number there, as in features.3."""
    match = re.fullmatch(r"(|.*[./])(\d+)", part.name) if part else None
    return (match[1], int(match[2])) if match else None


def _gap(part: Part, after: Part | None, norms: Mapping[str, Norm]) -> int | None:
    here, there = _place(part), _place(after)
    if here is None or there is None or here[0] != there[0]:
        return None
    between = there[1] - here[1] - 1 - (part.name in norms)
    if after is not None and len(after.shape) == 2 and between > 0:  # one of them may make rows of maps
        return 0 if between < 3 else None
    return between - 1


def _believed(gaps: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Take numbers for places in a sequence only where they leave room for activations."""
    known = [gap for gap in gaps if gap is not None]
    if known and all(gap < 0 for gap in known):
        return (None,) * len(gaps)
    if any(gap < 0 for gap in known):
        raise unrecognised("it has layers without an activation between them")
    return gaps


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run a stack: padding, stride and pooling of every convolution, and what makes rows of maps."""

    paddings: tuple[Shape, ...]
    strides: tuple[int, ...]
    pools: tuple[str, ...]
    head: str
    input_shape: Shape

    def words(self, stack: Stack, *, size: bool) -> str:
        """Write the plan as zoo.toml takes it, with the size of the input where it is not known."""
        same = self.paddings == _same(stack)
        padding = '"same"' if same else _listed([padding[0] for padding in self.paddings])
        pools = '"none"' if set(self.pools) == {"none"} else "[" + ", ".join(f'"{pool}"' for pool in self.pools) + "]"
        said = [f"padding = {padding}", f"stride = {_listed(self.strides)}", f"pool = {pools}"]
        said += [f'head = "{self.head}"'] if self.head else []
        said += [f"input = {list(self.input_shape)}"] if size else []
        return f"options = {{ {', '.join(said)} }}"


def plans(stack: Stack, shape: Shape, options: Mapping[str, object]) -> list[Plan]:
    """List every plain way to run a stack on an input that gives what its dense layers take.

    Raises Refused (options) for options that do not fit its convolutions.
    """
    found: dict[Plan, None] = {}
    ways = product(_paddings(stack, options), _strides(stack, options), _pools(stack, options))
    for paddings, strides, pools in ways:
        sides = _sides(stack, shape[1:], paddings, strides, pools)
        head = _head(stack, sides, options) if sides else None
        if head is not None:
            found[Plan(paddings, strides, pools, head, shape)] = None
    return list(found)


def _sides(
    stack: Stack, sides: Shape, paddings: tuple[Shape, ...], strides: tuple[int, ...], pools: tuple[str, ...]
) -> Shape | None:
    for part, padding, stride, pool in zip(stack.convolutions, paddings, strides, pools, strict=True):
        kernel = part.shape[2:]
        sides = tuple((s + 2 * p - k) // stride + 1 for s, p, k in zip(sides, padding, kernel, strict=True))
        sides = sides if pool == "none" else tuple(side // 2 for side in sides)
        if min(sides) < 1:
            return None
    return sides


def _head(stack: Stack, sides: Shape, options: Mapping[str, object]) -> str | None:
    told, maps = options.get("head"), stack.convolutions[-1].shape[0]
    if told not in (None, "flatten", "mean", "max"):
        raise Refused("options", f"options.head is {told!r}", hint='write "flatten", "mean" or "max"')
    if not stack.dense:
        return str(told or "")
    taken = stack.dense[0].shape[1]
    fits = {"flatten": taken == maps * prod(sides), "mean": taken == maps, "max": taken == maps}
    if told is not None:
        return str(told) if fits[str(told)] else None
    return next((head for head in ("flatten", "mean") if fits[head]), None)


def _paddings(stack: Stack, options: Mapping[str, object]) -> list[tuple[Shape, ...]]:
    told, count = options.get("padding"), len(stack.convolutions)
    none, same = tuple((0,) * (len(part.shape) - 2) for part in stack.convolutions), _same(stack)
    if told is None:
        return list(dict.fromkeys([none, same] if same else [none]))
    if told == "same":
        if same is None:
            raise Refused("options", 'cannot have padding = "same": a kernel has an even side', hint="write a number")
        return [same]
    axes = len(stack.convolutions[0].shape) - 2
    return [tuple((number,) * axes for number in _each(told, count, "padding", lowest=0))]


def _same(stack: Stack) -> tuple[Shape, ...] | None:
    kernels = [part.shape[2:] for part in stack.convolutions]
    odd = all(side % 2 for kernel in kernels for side in kernel)
    return tuple(tuple(side // 2 for side in kernel) for kernel in kernels) if odd else None


def _strides(stack: Stack, options: Mapping[str, object]) -> list[tuple[int, ...]]:
    count = len(stack.convolutions)
    if options.get("stride") is None:
        return [(1,) * count, (2,) * count]
    return [_each(options["stride"], count, "stride", lowest=1)]


def _each(told: object, count: int, key: str, *, lowest: int) -> tuple[int, ...]:
    many = told if isinstance(told, list | tuple) else [told] * count
    if len(many) != count or not all(isinstance(n, int) and lowest <= n <= 64 for n in many):
        raise Refused("options", f"options.{key} is {told!r}", hint=f"write a number, or one for each of {count}")
    return tuple(many)


def _pools(stack: Stack, options: Mapping[str, object]) -> list[tuple[str, ...]]:
    told, count = options.get("pool"), len(stack.convolutions)
    if isinstance(told, list | tuple) and len(told) == count and set(told) <= {*POOLS, "none"}:
        return [tuple(told)]
    if told not in (None, "none", *POOLS):
        hint = f'write "max2", "avg2" or "none", or one for each of {count} in a list'
        raise Refused("options", f"options.pool is {told!r}", hint=hint)
    kinds = [pool for pool in POOLS if told in (None, pool)]
    ways = product(kinds, _places(stack))
    found = [tuple(pool if number in places else "none" for number in range(count)) for pool, places in ways]
    return [*found, *([("none",) * count] if told in (None, "none") else [])]


def _places(stack: Stack) -> list[set[int]]:
    """List the sets of convolutions after which pooling may stand."""
    count = len(stack.convolutions)
    if all(gap is None for gap in stack.gaps):
        return [set(range(n)) for n in dict.fromkeys((count, count - 1)) if n and (stack.dense or n < count)]
    sure = {n for n, gap in enumerate(stack.gaps) if gap}
    free = [{n} for n, gap in enumerate(stack.gaps) if gap is None and (stack.dense or n < count - 1)]
    sets = [sure, *(sure | extra for extra in free), *free]
    return [places for index, places in enumerate(sets) if places and places not in sets[:index]]


def _listed(many: Sequence[int]) -> str:
    return str(many[0]) if len(set(many)) == 1 else str(list(many))
