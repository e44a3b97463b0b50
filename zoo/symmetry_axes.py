"""Axes of tensors as sums of products of atoms: what is known of which values can change places together.

An axis is a sum of segments, one behind the other, each a product of atoms, the slowest first. Atoms are found to
be one and the same as a run is followed; one that turns out to be made of others gets parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod


class Atom:
    """So many things that may change places with one another, unless they are fixed."""

    __slots__ = ("fixed", "parts", "same", "size")

    def __init__(self, size: int, *, fixed: bool = False) -> None:
        self.size, self.fixed = size, fixed
        self.same: Atom | None = None
        self.parts: Axis | None = None

    @property
    def root(self) -> Atom:
        """The atom that stands for all that are the same."""
        found = self
        while found.same is not None:
            found = found.same
        return found


Segment = tuple[Atom, ...]
Axis = tuple[Segment, ...]
Axes = tuple[Axis, ...]


def fresh(size: int, *, fixed: bool = False) -> Axis:
    """Make an axis of which nothing is known yet."""
    return (_new(size, fixed),) if size else ()


def _new(size: int, fixed: bool) -> Segment:
    return (Atom(size, fixed=fixed),) if size > 1 else ()


def size_of(segment: Segment) -> int:
    """Count the values of a segment."""
    return prod(atom.size for atom in segment)


def length(axis: Axis) -> int:
    """Count the values of an axis."""
    return sum(map(size_of, axis))


def leaves(axis: Axis) -> Axis:
    """Write an axis in atoms that have no parts. A sum inside a product that it cannot leave is fixed."""
    if all(atom.same is None and atom.parts is None for segment in axis for atom in segment):
        return axis
    return tuple(found for segment in axis for found in _leaves(segment))


def _leaves(segment: Segment) -> Sequence[Segment]:
    found: list[Segment] = [()]
    for atom in segment:
        root = atom.root
        inner: Axis = ((root,),) if root.parts is None else leaves(root.parts)
        if len(inner) > 1 and any(found):
            fix(inner)
            inner = fresh(root.size, fixed=True)
        found = [(*outer, *more) for outer in found for more in inner]
    return found


def atoms(axis: Axis) -> Iterator[Atom]:
    """Walk through the atoms of an axis."""
    return (atom for segment in leaves(axis) for atom in segment)


def fix(*axes: Axis) -> None:
    """Let nothing on these axes change places."""
    for axis in axes:
        for atom in atoms(axis):
            atom.fixed = True


def unify(left: Axis, right: Axis) -> None:
    """Note that two axes count the same, value by value. Where their structures do not agree, they are fixed."""
    if length(left) != length(right) or _all_fixed(left) or _all_fixed(right):
        fix(left, right)
        return
    while left and right:
        left, right = leaves(left), leaves(right)
        shorter = min(size_of(left[0]), size_of(right[0]))
        (first, left), (second, right) = cut(left, shorter), cut(right, shorter)
        if len(first) == len(second) == 1:
            _join(first[0], second[0])
        else:  # the cut of one has cut the other too
            unify(first, second)


def _all_fixed(axis: Axis) -> bool:
    return all(atom.fixed for atom in atoms(axis))


def _join(left: Segment, right: Segment) -> None:
    """Make two products of one size the same, from the slowest atom on."""
    while left or right:
        (left, *more), (right, *others) = leaves((left,)), leaves((right,))
        if more or others or not left or not right:
            fix((left, *more), (right, *others))
            return
        one, other = left[0], right[0]
        if one is other or one.size == other.size:
            _merge(one, other)
            left, right = left[1:], right[1:]
        elif max(one.size, other.size) % min(one.size, other.size):
            fix((left,), (right,))
            return
        elif one.size > other.size:
            factor(one, other.size)
        else:
            factor(other, one.size)


def _merge(one: Atom, other: Atom) -> None:
    if one is not other:
        one.fixed |= other.fixed
        other.same = one


def factor(atom: Atom, outer: int) -> None:
    """Split an atom into a product, of which the slower has so many values."""
    atom.parts = ((*_new(outer, atom.fixed), *_new(atom.size // outer, atom.fixed)),)


def cut(axis: Axis, place: int) -> tuple[Axis, Axis]:
    """Cut an axis in two at a place; what is cut through in the middle of a product is fixed."""
    left: list[Segment] = []
    right = list(leaves(axis))
    while right and place >= size_of(right[0]):
        place -= size_of(right[0])
        left.append(right.pop(0))
    if not place:
        return tuple(left), tuple(right)
    head, rest = right[0][0], size_of(right[0][1:])
    if place % rest or (head.fixed and rest == 1):
        whole = size_of(right[0])
        fix((right[0],))
        return (*left, *fresh(place, fixed=True)), (*fresh(whole - place, fixed=True), *right[1:])
    sizes = (place // rest, head.size - place // rest)
    head.parts = tuple(_new(size, head.fixed) for size in sizes)
    halves = [(*segment, *right[0][1:]) for segment in head.parts]
    return (*left, halves[0]), (halves[1], *right[1:])


def merge(axes: Sequence[Axis]) -> Axis:
    """Flatten axes to one."""
    found: Axis = ((),)
    for axis in axes:
        inner = leaves(axis)
        if len(inner) > 1 and any(found):
            fix(inner)
            inner = fresh(length(axis), fixed=True)
        found = tuple((*outer, *more) for outer in found for more in inner)
    return found


def split(axis: Axis, sizes: Sequence[int]) -> Axes:
    """Unflatten an axis."""
    parts = iter(_split(axis, [size for size in sizes if size > 1]))
    return tuple(next(parts) if size > 1 else ((),) for size in sizes)


def _split(axis: Axis, sizes: Sequence[int]) -> Axes:
    if len(sizes) < 2:
        return (axis,)
    inner, rest = [fresh(size) for size in sizes[1:]], prod(sizes[1:])
    outer: list[Segment] = []
    for segment in leaves(axis):
        if size_of(segment) % rest:
            fix(axis, *inner)
            return tuple(fresh(size, fixed=True) for size in sizes)
        outer.append(_new(size_of(segment) // rest, False))
        unify(merge([(outer[-1],), *inner]), (segment,))
    return (tuple(outer), *inner)


def view(axes: Sequence[Axis], shape: Sequence[int]) -> Axes:
    """Reshape: axes that are neither split nor flattened with others stay as they are."""
    if 0 in shape:
        return tuple(fresh(size, fixed=True) for size in shape)
    found: list[Axis] = []
    given, wanted = [list(axes), list(shape)]
    while given or wanted:
        taken, sizes = given[:1], wanted[:1]
        del given[:1], wanted[:1]
        while prod(map(length, taken)) != prod(sizes):
            if prod(map(length, taken)) < prod(sizes):
                taken.append(given.pop(0))
            else:
                sizes.append(wanted.pop(0))
        found += split(merge(taken), sizes) if sizes else ()
    return tuple(found)
