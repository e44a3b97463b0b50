"""What the axes of a tensor count: rows, places, units. Followed from call to call, whatever is reshaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest


@dataclass(frozen=True, slots=True, eq=False)
class Root:
    """Something that is counted: row, unit, y, x, z, token, step, edge, or something else.

    Of an input it is not known what it counts, and flat is one that is a row of numbers; lost is what was not
    understood on the way, mixed what has lost its order.

    A sequence that holds the places of an image, (height, width) behind `before` others, says so in `image`.
    What was rolled is `shift` further than it belongs. Edges are `of` nodes.
    """

    label: str
    size: int
    image: tuple[int, int, int] | None = None
    shift: int = 0
    of: Root | None = None


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece of an axis: `size` values of what a root counts, `stride` apart."""

    root: Root
    size: int
    stride: int = 1


Axis = tuple[Atom, ...]
"""The atoms of an axis, the slowest first; none where it has length one."""
Layout = tuple[Axis, ...]

_VAGUE = ("flat", "input", "lost")
"""What says nothing of what is counted."""


def axis(label: str, size: int, of: Root | None = None) -> Axis:
    """Make an axis that counts something new."""
    return (Atom(Root(label, size, of=of), size),) if size > 1 else ()


def length(pieces: Axis) -> int:
    """Multiply the sizes of the atoms."""
    found = 1
    for atom in pieces:
        found *= atom.size
    return found


def has(pieces: Axis, label: str) -> bool:
    """Tell whether an axis counts something of this name."""
    return any(atom.root.label == label for atom in pieces)


def shape_of(layout: Layout) -> tuple[int, ...]:
    """Tell the shape of a tensor that is laid out so."""
    return tuple(map(length, layout))


def input_layout(shape: Sequence[int]) -> Layout:
    """Lay out what a module is given: rows first."""
    label = "flat" if len(shape) == 2 else "input"
    return (axis("row", shape[0]), *(axis(label, size) for size in shape[1:]))


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Lay out what keeps the order of its elements in a new shape; None where pieces do not fit."""
    rest = [atom for pieces in layout for atom in pieces][::-1]
    found: list[Axis] = []
    for size in shape:
        pieces: list[Atom] = []
        while size > 1:
            if not rest:
                return None
            atom = rest.pop()
            if size % atom.size:
                parts = _split(atom, size)
                if parts is None:
                    return None
                atom = parts[0]
                rest.append(parts[1])
            pieces.append(atom)
            size //= atom.size
        found.append(_fused(pieces))
    cut = sum(has(pieces, "flat") for pieces in found) > 1
    return None if rest else tuple(map(_apart, found)) if cut else tuple(found)


def _fused(pieces: Sequence[Atom]) -> Axis:
    """Join atoms that were one and stand side by side again."""
    found: list[Atom] = []
    for atom in pieces:
        if found and found[-1].root is atom.root and found[-1].stride == atom.size * atom.stride:
            atom = Atom(atom.root, found.pop().size * atom.size, atom.stride)
        found.append(atom)
    return tuple(found)


def _apart(pieces: Axis) -> Axis:
    """Let the pieces of a row of numbers count apart: it is no sequence."""
    return tuple(axis("input", atom.size)[0] if atom.root.label == "flat" else atom for atom in pieces)


def _split(atom: Atom, size: int) -> tuple[Atom, Atom] | None:
    """Split an atom into an outer one of this size and an inner one."""
    if atom.size % size or atom.root.label == "row":
        return None
    inner = atom.size // size
    return Atom(atom.root, size, atom.stride * inner), Atom(atom.root, inner, atom.stride)


def merged(layouts: Sequence[Layout], shape: Sequence[int]) -> Layout | None:
    """Lay out what has this shape by broadcasting: every axis is that of the first tensor that spans it.

    None where no tensor among them knows of rows, or where two hold them on different axes.
    """
    columns = list(zip_longest(*(layout[::-1] for layout in layouts), fillvalue=()))[: len(shape)]
    found: list[Axis] = []
    for size, candidates in zip(reversed(shape), _padded(columns, len(shape)), strict=True):
        fitting = [pieces for pieces in candidates if pieces and length(pieces) == size]
        known = [pieces for pieces in fitting if not any(has(pieces, label) for label in _VAGUE)]
        found.append((known or fitting or [axis("token", size)])[0])
    return checked(tuple(found[::-1]))


def _padded(columns: Sequence[Sequence[Axis]], count: int) -> Iterator[Sequence[Axis]]:
    yield from columns
    for _ in range(count - len(columns)):
        yield ()


def checked(layout: Layout) -> Layout | None:
    """Let the same piece stand on one axis only, another that has it counts anew; None if rows do not stand once."""
    seen: set[Atom] = set()
    found: list[Axis] = []
    for pieces in layout:
        again = any(atom in seen for atom in pieces)
        if again and has(pieces, "row"):
            return None
        found.append(axis(_label(pieces), length(pieces)) if again else pieces)
        seen.update(pieces)
    return tuple(found) if any(atom.root.label == "row" for atom in seen) else None


def resized(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Lay out what has as many axes, those of another length being counted anew; None if rows are among them."""
    found = []
    for pieces, size in zip(layout, shape, strict=True):
        if length(pieces) != size and has(pieces, "row"):
            return None
        found.append(pieces if length(pieces) == size else axis(_label(pieces), size))
    return tuple(found)


def _label(pieces: Axis) -> str:
    return pieces[0].root.label if len({atom.root.label for atom in pieces}) == 1 else "token"


def sliced(pieces: Axis, start: int, size: int, step: int = 1) -> Axis | None:
    """Take every `step`-th of the values of an axis from `start` on."""
    if size == length(pieces) and step == 1:
        return pieces
    if has(pieces, "row"):
        return None
    image = image_of(pieces)
    inside = image is not None and step == 1 and start <= image[0] and start + size >= image[0] + image[1] * image[2]
    found = axis(_label(pieces), size)
    if not inside or image is None or not found:
        return found
    before, height, width = image
    return (replace(found[0], root=replace(found[0].root, image=(before - start, height, width))),)


def image_of(pieces: Axis) -> tuple[int, int, int] | None:
    """Tell which image a sequence holds: how many others come before, height, width."""
    if len(pieces) == 1 and pieces[0].size == pieces[0].root.size:
        return pieces[0].root.image
    roots = list(dict.fromkeys(atom.root for atom in pieces))
    sides = [[atom for atom in pieces if atom.root is root] for root in roots]
    if not is_grid(roots, [length(tuple(side)) for side in sides]) or any(root.shift for root in roots):
        return None
    in_order = [sorted(side, key=lambda atom: -atom.stride) for side in sides]
    if [atom for side in in_order for atom in side] != list(pieces):
        return None
    return 0, length(tuple(sides[0])), length(tuple(sides[1]))


def is_grid(roots: Sequence[Root], sizes: Sequence[int]) -> bool:
    """Tell whether two things that are counted are the sides of an image: of maps, or of patches of an input."""
    labels = [root.label for root in roots]
    patches = all(size < root.size for root, size in zip(roots, sizes, strict=True))
    return labels == ["y", "x"] or (labels == ["input", "input"] and patches)


def joined(parts: Sequence[Axis | int]) -> Axis | None:
    """Put axes one behind the other; of those of which nothing is known the length is given."""
    known = [pieces for pieces in parts if not isinstance(pieces, int)]
    if any(has(pieces, "row") for pieces in known):
        return None
    sizes = [part if isinstance(part, int) else length(part) for part in parts]
    found = axis(_label(next((pieces for pieces in known if pieces), ())) if any(known) else "token", sum(sizes))
    images = [(at, image_of(part)) for at, part in enumerate(parts) if not isinstance(part, int) and image_of(part)]
    if len(images) != 1 or not found:
        return found
    at, image = images[0]
    assert image is not None
    root = replace(found[0].root, label="token", image=(image[0] + sum(sizes[:at]), image[1], image[2]))
    return (Atom(root, root.size),)


def rolled(pieces: Axis, shift: int) -> Axis | None:
    """Turn an axis round: mixed, where it is not one thing that is counted as a whole."""
    if has(pieces, "row"):
        return None
    if len(pieces) != 1 or (pieces[0].root.shift and pieces[0].size != pieces[0].root.size):
        return axis("mixed", length(pieces))
    root, size = pieces[0].root, pieces[0].size
    return (Atom(replace(root, size=size, shift=(root.shift + shift) % size), size),)
