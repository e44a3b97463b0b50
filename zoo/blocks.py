"""Find what makes a transformer block in the graph of a run: attention, and the residual stream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from .graph import CONSTANT, Node, Run
from .layer import ACTIVATIONS
from .layout import has
from .step import CELLS, CONVOLUTIONS, MOVES, NORMS, PASSED, RESHAPES, STATES

_PRODUCTS = frozenset({"matmul", "bmm", "einsum", "baddbmm"})
CORES = frozenset({"scaled_dot_product_attention", "multi_head_attention"})
_KEPT = PASSED | RESHAPES | MOVES | frozenset({"getitem", "expand", "roll", "nan_to_num", "type", "half", "bfloat16"})
_WEIGHED = _KEPT | frozenset({"mul", "add", "masked_fill", "where", "div", "truediv"})
_SENT = _KEPT | NORMS | frozenset({"mul", "add", "div", "truediv", "slice", "cat", "pad"})

_STOPS = ACTIVATIONS | STATES | CELLS


@dataclass(frozen=True, slots=True)
class Attention:
    """What the heads of one attention give: where that stands, and in which module."""

    name: str
    core: int
    value: int
    plain: bool
    projections: frozenset[int]


@dataclass(frozen=True, slots=True)
class Block:
    """What a block leaves in the residual stream."""

    name: str
    value: int


def weighted(node: Node) -> bool:
    """Tell whether a step applies a layer's own weights."""
    return bool(node.module) and (node.function == "linear" or node.function in CONVOLUTIONS)


def attentions(run: Run) -> list[Attention]:
    """Find every attention: weights that sum to one, times values, and on to a projection.

    What it gives is what goes into the projection: the heads side by side. The projections to queries, keys
    and values, and the one that follows, are its `projections`.
    """
    return [_attention(run, core) for core in _cores(run.nodes)]


def _cores(nodes: Sequence[Node]) -> list[int]:
    weights: set[int] = set()
    found = []
    for index, node in enumerate(nodes):
        given = node.sources if node.function in _WEIGHED else node.sources[:1] if _mixes(nodes, node) else ()
        if node.function == "softmax" or weights & set(given):
            weights.add(index)
        elif node.function in CORES or (node.function in _PRODUCTS and _weighs(node, weights)):
            found.append(index)
    return found


def _mixes(nodes: Sequence[Node], node: Node) -> bool:
    """Tell whether a step mixes heads: it stands between scores and values, but is none of their projections."""
    first = node.sources[0] if node.sources else CONSTANT
    return node.function == "linear" and len(node.shape) > 3 and first >= 0 and nodes[first].shape == node.shape


def _weighs(node: Node, weights: Collection[int]) -> bool:
    """Tell whether a product is of attention weights with values that were computed."""
    factors = [source for source in node.sources if source >= 0]
    return len(factors) >= 2 and any(factor in weights for factor in factors)


def _attention(run: Run, core: int) -> Attention:
    after, plain = run.nodes[core].module, True
    chain = {core}
    value = core
    projections = _projections(run, core)
    for index, node in enumerate(run.nodes[core + 1 :], start=core + 1):
        first = node.sources[0] if node.sources else -1
        if weighted(node) and first in chain:
            value, after = first, node.module
            projections |= {index}
            break
        if chain & set(node.sources):
            if node.function not in _SENT or index in run.stream:
                break
            chain.add(index)
            plain &= node.function in _KEPT | NORMS
            if node.function in _KEPT:
                value = index
    return Attention(shared(run.nodes[core].module, after), core, value, plain, frozenset(projections))


def _projections(run: Run, core: int) -> set[int]:
    """Go back from an attention to the weights that made its queries, keys and values."""
    found: set[int] = set()
    if run.nodes[core].function == "multi_head_attention":  # which has them inside
        return found
    ahead, seen = [core], {core}
    while ahead:
        for source in run.nodes[ahead.pop()].sources:
            if source < 0 or source in seen or source in run.stream or run.nodes[source].function in _STOPS:
                continue
            seen.add(source)
            node = run.nodes[source]
            if weighted(node) and node.function == "linear":
                found.add(source)
            if source not in found or _mixes(run.nodes, node):
                ahead.append(source)
    return found


def streams(nodes: Sequence[Node], ancestors: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Find the sums of a residual stream: for each the step that it goes on from, and what is added.

    One of the two terms is computed from the other by a layer with weights, or is such a sum whose other
    term is. Only streams of vectors for the places of a row count.
    """
    found: dict[int, tuple[int, int]] = {}
    layers = [index for index, node in enumerate(nodes) if weighted(node)]
    for index, node in enumerate(nodes):
        terms = [source for source in node.sources[:2] if source >= 0]
        if node.function != "add" or len(terms) < 2 or not _of_tokens(node):
            continue
        for kept, added in (terms, terms[::-1]):
            roots = {kept, found[kept][0]} if kept in found else {kept}
            if nodes[kept].shape == node.shape and any(_grew(root, added, ancestors, layers) for root in roots):
                found[index] = (kept, added)
                break
    return found


def _of_tokens(node: Node) -> bool:
    if node.layout is None or not has(node.layout[-1], "unit"):
        return False
    return len(node.shape) > 2 or any(atom.root.label != "row" for pieces in node.layout[:-1] for atom in pieces)


def _grew(root: int, added: int, ancestors: Sequence[int], layers: Sequence[int]) -> bool:
    """Tell whether a value was computed from another through weights."""
    return any(ancestors[added] >> at & 1 and ancestors[at] >> root & 1 for at in layers if at != root)


def writes(run: Run) -> set[int]:
    """List the layers that do nothing but write into the residual stream."""
    found: set[int] = set()
    for _, added in run.stream.values():
        ahead = [added]
        while ahead:
            index = ahead.pop()
            node = run.nodes[index]
            if weighted(node):
                found.add(index)
            elif node.function in _SENT and index not in run.stream:
                ahead += [source for source in node.sources if source >= 0]
    return found


def blocks(run: Run, sums: Iterable[int], found: Sequence[Attention]) -> list[Block]:
    """List what every block leaves in the stream: its last sum, or the norm after it that is the block's own.

    A block begins with a sum into which an attention goes; without attention it is the module of the sum.
    """
    groups: list[_Group] = []
    for index in sums:
        kept, added = run.stream[index]
        before = run.ancestors[kept]
        for earlier in run.stream:
            before |= run.ancestors[earlier] if run.ancestors[added] >> earlier & 1 else 0
        inside = [one for one in found if run.ancestors[added] & ~before & 1 << one.core]
        module = run.nodes[index].module
        name = shared(module, *(one.name for one in inside))
        group = _Group(name, index, frozenset(one.name for one in inside))
        if groups and groups[-1].goes_on(group, run):
            last = groups.pop()
            group = _Group(shared(last.name, name), index, last.attentions | group.attentions)
        groups.append(group)
    return [Block(group.name, _normed(run, group.last, group.name)) for group in groups]


@dataclass(frozen=True, slots=True)
class _Group:
    """Sums that make up a block so far: their last, and the attentions that go into them."""

    name: str
    last: int
    attentions: frozenset[str]

    def goes_on(self, other: _Group, run: Run) -> bool:
        """Tell whether a sum that comes later is of the same block."""
        if not run.ancestors[other.last] >> self.last & 1 or self.attentions & other.attentions:
            return False
        name = shared(self.name, other.name)
        numbered = any(one.removeprefix(name).lstrip(".")[:1].isdigit() for one in (self.name, other.name))
        if name.rpartition(".")[2].isdigit() and not numbered:  # within one member of a list of modules
            return True
        if other.attentions or not self.attentions:
            return False
        return name == self.name or name.rpartition(".")[2].isdigit()


def _normed(run: Run, index: int, block: str) -> int:
    """Take the norm after a sum, where it is in the block and all that follows goes through it."""
    at = index
    while True:
        users = [place for place, node in enumerate(run.nodes) if at in node.sources]
        if len(users) != 1:
            return index
        at, node = users[0], run.nodes[users[0]]
        if node.function in NORMS:
            return at if block and node.module.startswith(f"{block}.") else index
        if node.function not in PASSED | RESHAPES:
            return index


def shared(*names: str) -> str:
    """Take what module names have in common: "a.b" of "a.b.c" and "a.b.d"."""
    parts = [name.split(".") for name in names]
    return ".".join(column[0] for column in takewhile(_same, zip(*parts, strict=False)))


def _same(column: Iterable[str]) -> bool:
    return len(set(column)) == 1
