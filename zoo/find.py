"""Find the layers of a network in the graph of its run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .blocks import CORES, Attention, attentions, blocks, weighted, writes
from .graph import Node, Run
from .layout import Root, has
from .nonlinearity import SCATTERS, nonlinearity, nonlinearity_of_tokens
from .sample import MOST_POSITIONS, View, view_last, view_map, view_rows
from .step import CELLS, CONVOLUTIONS, STATES

MOST_CALLS = 16
"""What runs more often than this is a loop written by hand, of which the layers are not understood."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where values stand: the steps that give them (several: calls of one cell, step by step), and how to read."""

    steps: tuple[int, ...]
    view: View


@dataclass(frozen=True, slots=True)
class Found:
    """A layer: its own step, what it is, and where its values before and after the nonlinearity are read."""

    step: int
    name: str
    kind: str
    activation: str
    axes: tuple[str, ...]
    pre: Reading
    post: Reading


def find(run: Run, rows: int) -> list[Found]:
    """Find all hidden layers and the output's, in the order in which they run.

    Left out are projections to queries, keys and values, and what only writes into a residual stream: the
    stream itself and what the heads give are layers.
    """
    heads = [one for one in attentions(run) if _is_clear(run, one)]
    attended = [_places(run.nodes[one.value]) for one in heads]
    found = [
        *_weighted(run, rows, {index for one in heads for index in one.projections} | writes(run), attended),
        *_attentions(run, heads),
        *_blocks(run, heads, attended),
        *_recurrent(run, rows),
    ]
    found.sort(key=lambda layer: layer.step)
    return _numbered(_apart(_of_nodes(run, found)))


def lost(node: Node, rows: int) -> bool:
    """Tell whether a step should be a layer, but nothing is known of its axes."""
    counts = weighted(node) and node.function == "linear"
    return node.layout is None and node.fed and (counts or node.function in CORES | STATES) and not _plain(node, rows)


def _weighted(run: Run, rows: int, outside: set[int], attended: Sequence[list[Root]]) -> Iterator[Found]:
    for index, node in enumerate(run.nodes):
        if not weighted(node):
            continue
        if node.function == "linear" and index in outside:
            continue
        if _plain(node, rows):
            yield _row_layer(run, index)
        elif node.function == "linear":
            yield from _token_layer(run, index, attended)


def _plain(node: Node, rows: int) -> bool:
    """Tell whether a layer gives one vector, or one map per channel, for each row."""
    axes = int(node.function[-2]) + 2 if node.function in CONVOLUTIONS else 2
    if len(node.shape) != axes or node.shape[0] != rows:
        return False
    return node.layout is None or (has(node.layout[0], "row") and len(node.layout[0]) == 1)


def _row_layer(run: Run, index: int) -> Found:
    node = run.nodes[index]
    pre, post, activation = nonlinearity(run.nodes, index)
    is_map = node.function in CONVOLUTIONS
    view = view_map(node.shape) if is_map else view_rows(node.shape)
    kind = "convolution" if is_map else "dense"
    return Found(index, node.module, kind, activation, view.axes, Reading((pre,), view), Reading((post,), view))


def _token_layer(run: Run, index: int, attended: Sequence[list[Root]]) -> Iterator[Found]:
    """Describe a dense layer that gives a vector for every place of a row; nothing if places are not understood."""
    node = run.nodes[index]
    view = _view(node)
    if view is None:
        return
    pre, post, activation = nonlinearity_of_tokens(run.nodes, index, sums=run.stream)
    before, after = _alike(_view(run.nodes[pre]), view), _alike(_view(run.nodes[post]), view)
    if before is None or after is None:
        pre = post = index
        before = after = view
        activation = "other"
    axes = view.axes
    if len(axes) == 3 and _places(node) not in attended:
        axes = ("row", "node", "neighbour")
    elif axes == ("row", "token") and _is_scattered(run, post):
        axes = ("row", "edge")
    kind = "message" if axes[-1] in ("edge", "neighbour") else "dense"
    yield Found(index, node.module, kind, activation, axes, Reading((pre,), before), Reading((post,), after))


def _view(node: Node) -> View | None:
    return view_last(node.layout) if node.layout is not None else None


def _alike(view: View | None, other: View) -> View | None:
    return view if view is not None and (view.units, view.positions) == (other.units, other.positions) else None


def _is_scattered(run: Run, index: int) -> bool:
    """Tell whether what a layer gives is summed over edges, before another layer with weights takes it."""
    carried, layout = {index}, run.nodes[index].layout
    for at, node in enumerate(run.nodes[index + 1 :], start=index + 1):
        if weighted(node) or not carried & set(node.sources):
            continue
        if node.function in SCATTERS and len(node.sources) > 3 and node.sources[3] in carried:
            return True
        if node.layout is not None and layout is not None and node.layout[:-1] == layout[:-1]:
            carried.add(at)
    return False


def _nodes(run: Run, found: Sequence[Found]) -> set[Root]:
    """List what the nodes of graphs are counted by: the first place of messages, or where their edges end."""
    roots: set[Root] = set()
    for layer in found:
        if layer.kind == "message":
            first = _places(run.nodes[layer.step])[0]
            roots.add(first.of or first)
    return roots


def _places(node: Node) -> list[Root]:
    """List what is counted beside rows and units."""
    pieces = [atom for pieces in (node.layout or ())[:-1] for atom in pieces]
    return list(dict.fromkeys(atom.root for atom in pieces if atom.root.label != "row"))


def _of_nodes(run: Run, found: Sequence[Found]) -> list[Found]:
    """Say of vectors for the nodes of a graph that they are: nothing else tells nodes from tokens."""
    nodes = _nodes(run, found)
    named = []
    for layer in found:
        if layer.axes == ("row", "token") and set(_places(run.nodes[layer.step])) <= nodes:
            layer = replace(layer, axes=("row", "node"))
        named.append(layer)
    return named


def _is_clear(run: Run, one: Attention) -> bool:
    """Tell whether it is clear what the heads give, and that it is attention: a weighted mean alone is none."""
    view, core = _view(run.nodes[one.value]), run.nodes[one.core]
    heads = sum(has(pieces, "unit") for pieces in core.layout or ())
    return view is not None and (core.function in CORES or view.positions > 1 or heads > 1)


def _attentions(run: Run, heads: Sequence[Attention]) -> Iterator[Found]:
    for one in heads:
        view = _view(run.nodes[one.value])
        assert view is not None
        reading = Reading((one.value,), view)
        activation = "identity" if one.plain else "other"
        yield Found(one.value, one.name or "attention", "attention", activation, view.axes, reading, reading)


def _blocks(run: Run, heads: Sequence[Attention], attended: Sequence[list[Root]]) -> Iterator[Found]:
    """Describe what blocks leave, for tokens and for the nodes of graphs, not for what these tell one another."""
    sums = [
        index
        for index in run.stream
        if (view := _view(run.nodes[index])) is not None
        and (len(view.axes) < 3 or _places(run.nodes[index]) in attended)
    ]
    for block in blocks(run, sums, heads):
        view = _view(run.nodes[block.value])
        if view is not None:
            reading = Reading((block.value,), view)
            yield Found(block.value, block.name or "block", "residual", "identity", view.axes, reading, reading)


def _recurrent(run: Run, rows: int) -> Iterator[Found]:
    """Describe recurrent layers, and cells that run step by step."""
    cells: dict[tuple[str, str], list[int]] = {}
    for index, node in enumerate(run.nodes):
        view = _view(node) if node.function in STATES else None
        if view is not None:
            reading = Reading((index,), view)
            yield Found(index, node.module or "states", "recurrent", _cell(node), view.axes, reading, reading)
        if node.function in CELLS and _plain(node, rows):
            cells.setdefault((node.module, node.function), []).append(index)
    for (module, _), steps in cells.items():
        node = run.nodes[steps[0]]
        view = view_rows(node.shape)
        if len(steps) > 1:
            picked = (min(MOST_POSITIONS, len(steps)),)
            view = replace(view, split=(-1, len(steps), view.units), order=(0, 1, 2), places=(len(steps),))
            view = replace(view, shifts=(0,), axes=("row", "step"), picked=picked)
        reading = Reading(tuple(steps), view)
        yield Found(steps[0], module or "states", "recurrent", _cell(node), view.axes, reading, reading)


def _cell(node: Node) -> str:
    """Name the nonlinearity of states: LSTM and GRU have a tanh that may be turned over, as a tanh network has."""
    return "relu" if "relu" in node.function else "tanh"


def _apart(found: Iterable[Found]) -> list[Found]:
    """Tell an attention that stands right in its block from the block."""
    layers = list(found)
    taken = {layer.name for layer in layers if layer.kind == "residual"}
    return [
        replace(layer, name=f"{layer.name}.attention") if layer.kind == "attention" and layer.name in taken else layer
        for layer in layers
    ]


def _numbered(found: Iterable[Found]) -> list[Found]:
    """Tell the calls of a module that runs more than once apart: name, name#2, ...; loops are left out."""
    layers = list(found)
    whole, calls = Counter(layer.name for layer in layers), Counter[str]()
    named = []
    for layer in layers:
        calls[layer.name] += 1
        name = layer.name if calls[layer.name] == 1 else f"{layer.name}#{calls[layer.name]}"
        if whole[layer.name] <= MOST_CALLS:
            named.append(replace(layer, name=name))
    return named
