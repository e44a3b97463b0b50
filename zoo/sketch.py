"""Write down what is known of a zoo as a zoo.toml that a newcomer can read and complete."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from .architecture import ACTIVATIONS

WIDTH = 100
MANY = 32
"""From so many variables on, they stand in one list instead of a table each."""
_FILL_IN = "could not tell: set the range and a name with a meaning"


@dataclass(frozen=True, slots=True)
class Group:
    """Networks of which the same has to be said: patterns that match them, each with a name or none.

    `kind` is the architecture that would run them, "" where the files do not show one. `doubt` tells what
    they do not show: the activation, or the architecture.
    """

    kind: str
    doubt: str
    outputs: tuple[int, ...]
    activations: tuple[str, ...]
    networks: int
    patterns: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of rows that fits the networks' inputs; `named` tells whether its columns have names."""

    file: str
    variables: tuple[str, ...]
    named: bool


@dataclass(frozen=True, slots=True)
class Sketch:
    """What a folder shows: networks, number of inputs where one could be told, those left out, rows."""

    name: str
    inputs: int | None
    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    rows: RowsFile | None
    notes: tuple[str, ...]
    said: tuple[tuple[str, str], ...] = ()
    image: bool = False

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers of outputs that occur."""
        return tuple(sorted({count for group in self.groups for count in group.outputs}))


def sketch(zoo: Sketch) -> str:
    """Write a zoo.toml that parses, with a comment at everything that the files do not tell."""
    parts = [
        _head(zoo),
        *(_networks(group, zoo) for group in zoo.groups),
        [line for text in zoo.left_out for line in _comment(f"Left out: {text}.")],
        _outputs(zoo.outputs),
        _rows(zoo.rows) if zoo.rows else _photos() if zoo.image else _box(zoo.inputs),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Show text that strangers chose on one line: what cannot be printed is escaped."""
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def quoted(text: str) -> str:
    r"""Write text as a basic string of TOML.

    >>> print(quoted('a "b"'))
    "a \"b\""
    """
    return '"' + plain(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def counted(count: int, noun: str) -> str:
    """Count things: "1 input", "3 inputs"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04X}" if ord(sign) < 1 << 16 else f"\\U{ord(sign):08X}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(plain(text), WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _head(zoo: Sketch) -> list[str]:
    return [
        *_comment(
            "A first draft by consilience init. Lines marked with “could not tell” wait "
            "for somebody who knows these networks."
        ),
        "#   consilience run zoo.toml",
        f"name = {quoted(zoo.name)}",
        'about = ""  # one sentence for readers: what the networks were trained on',
        "seed = 0",
    ]


def _networks(group: Group, zoo: Sketch) -> list[str]:
    lines = _comment(_introduced(group, zoo.inputs))
    for number, (pattern, name) in enumerate(group.patterns):
        lines += ["", "[[networks]]"] if number else ["[[networks]]"]
        lines.append(f"path = {quoted(pattern)}")
        lines += [f"name = {quoted(name)}"] if name else []
        lines += [f"{key} = {quoted(value)}" for key, value in zoo.said]
        lines += [_unsaid(group)] if group.doubt else []
    if group is zoo.groups[0]:
        lines += _image_preprocessing() if zoo.image else _preprocessing()
    return lines


def _introduced(group: Group, inputs: int | None) -> str:
    if not group.kind:
        return (
            f"{counted(group.networks, 'network')} of another kind than an MLP. To run such a network, name its "
            "architecture: timm:NAME, torchvision:NAME, transformers:, or write beside this file a module with a "
            "function factory(tensors, **options) that returns the torch.nn.Module with its weights in it, and name "
            "both here; naming it means trusting it. To compare its weights alone: weights."
        )
    ends = f"{counted(inputs or 0, 'input')} and {alternatives(group.outputs)}"
    if group.kind not in ("mlp", "cnn"):
        return f"{counted(group.networks, 'network')} with {ends}, run as {group.kind}."
    text = f"{counted(group.networks, group.kind.upper())} with {ends}; widths and depths are read off the weights"
    if group.doubt:
        return f"{text}. The activation between layers must be said: one of {', '.join(ACTIVATIONS)}."
    return f"{text}, the activation off the files' own metadata." if group.activations else f"{text}."


def alternatives(outputs: tuple[int, ...]) -> str:
    """Name the numbers of outputs that occur: "1 output", "1 or 2 outputs"."""
    return " or ".join(map(str, outputs)) + (" output" if outputs == (1,) else " outputs")


def _unsaid(group: Group) -> str:
    said = 'activation = "relu"' if group.kind else 'architecture = "python:my_module:factory"'
    return f"# {said}  # could not tell: {plain(group.doubt)[:200]}"


def _preprocessing() -> list[str]:
    text = "Could not tell: whether inputs were scaled in training. If so (one number stands for all):"
    example = "input_shift = [0.0], input_scale = [1.0], output_shift = [0.0], output_scale = [1.0]"
    return [*_comment(text), f"# scaling = {{ {example} }}"]


def _image_preprocessing() -> list[str]:
    text = "Could not tell: how photos were prepared in training. If not just scaled to 0..1, for example:"
    example = 'mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225], interpolation = "bicubic"'
    return [*_comment(text), f"# preprocessing = {{ {example} }}"]


def _outputs(counts: tuple[int, ...]) -> list[str]:
    if len(counts) != 1:
        return []
    lines = _comment(
        "Could not tell: whether an output means the same in every network. If so, name it here"
        + (f", one table for each of the {counts[0]} outputs in their order" if counts[0] > 1 else "")
        + ": its equation then keeps the name and the unit. If not, leave this out: which outputs belong "
        "together is then found."
    )
    return [*lines, "# [[outputs]]", '# name = "y1"', '# unit = ""']


def _rows(rows: RowsFile) -> list[str]:
    columns = counted(len(rows.variables), "column")
    lines = _comment(f"What all networks are shown: rows of a file, {columns} for as many inputs.")
    lines += ["[probe]", f"rows = {quoted(rows.file)}"]
    if len(rows.variables) > MANY:
        return lines
    for name in rows.variables:
        hint = "" if rows.named else "  # could not tell: set a name with a meaning"
        lines += ["", "[[probe.variables]]", f"name = {quoted(name)}{hint}", '# unit = ""']
    return lines


def _photos() -> list[str]:
    lines = _comment("What all networks are shown: photos. Could not tell: which ones.")
    return [*lines, "# [probe]", '# images = ["photos/*.jpg"]']


def _box(inputs: int | None) -> list[str]:
    lines = _comment(
        "What all networks are shown: points spread evenly (Sobol) over the box of the variables' ranges. "
        'Or the rows of a file: rows = "FILE.csv" (or .parquet, .npy); or photos: images = ["photos/*.jpg"].'
    )
    names = [f"x{number}" for number in range(1, (inputs or 1) + 1)]
    box = ["[probe]", "samples = 2048", *(_list(names) if len(names) > MANY else _tables(names))]
    if inputs is not None:
        return [*lines, *box]
    lines += _comment("Could not tell: how many inputs there are; each needs a variable here.")
    return [*lines, *(f"# {line}" if line else "#" for line in box)]


def _tables(names: list[str]) -> Iterator[str]:
    for name in names:
        yield from ("", "[[probe.variables]]", f'name = "{name}"')
        yield from (f"low = -1.0  # {_FILL_IN}", "high = 1.0", '# unit = ""')


def _list(names: list[str]) -> Iterator[str]:
    yield f"variables = [  # {_FILL_IN}"
    yield from (f'    {{ name = "{name}", low = -1.0, high = 1.0 }},' for name in names)
    yield "]"
