"""Run an ONNX graph as a module. It runs in the children of a sandbox; this process never parses it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .blueprint import Blueprint
from .errors import Refused
from .onnx_folder import GRAPH, WEIGHTS
from .onnx_input import settle, shown
from .onnx_told import steps
from .sandbox import Limits, own_sandbox
from .scratch import Scratch
from .weights import KINDS

PRELOAD = ("onnx", "onnxruntime", "consilience.zoo.onnx_jobs")
OPTIONS = ("input_shape", "output", "batch")
_SECONDS_AT_ONCE, _BYTES_AT_ONCE, _MOST_AT_ONCE = 10.0, 1 << 30, 8192
_LARGEST_RESULT = 64 << 30
_LONGEST_TRIAL, _BYTES_A_SECOND = 8.0, 5e6
"""A small graph that is slow is none that anybody trained; a large one may take its time."""
_PATIENCE = {"follow": 10.0, "run": 60.0}
"""Seconds for what comes on top of what was measured: what was run before may wait for a machine under load."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a graph is run: what it is fed, by name and kind, the output that counts, how many rows at once.

    A group of 0 is any number of rows. Bare rows are fed without a first axis. `seconds` and `bytes` are what one
    row takes, `weights` the places of trained numbers: offset, bytes of one number, count.
    """

    feed: str
    kind: str
    output: str
    group: int
    bare: bool
    seconds: float
    bytes: float
    weights: tuple[tuple[int, int, int], ...]


class OnnxModule(nn.Module):
    """A graph as a module: rows in, its output out. It cannot be differentiated."""

    def __init__(self, folder: Scratch, manner: Manner, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self._folder, self._manner = folder, manner
        self._values: tuple[tuple[str, int, int], ...] = ()
        precision = torch.float64 if manner.kind == "f8" else torch.float32
        self.precision: torch.Tensor
        self.register_buffer("precision", torch.empty(0, dtype=precision), persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Run rows, as many at a time as time and memory allow."""
        step = self._at_once()
        parts = [
            self._run(rows[start : start + step], [(self._manner.output, 0, 1)])[0]
            for start in range(0, len(rows), step)
        ]
        return torch.cat(parts).to(rows.device)

    def follow(self, rows: torch.Tensor, only: Collection[int] | None = None) -> tuple[Any, torch.Tensor]:
        """Run rows and tell the steps of the run, or give what some of the steps give; see Followed.

        Tensors within steps have the shape that they had, and no numbers. Of results that lie in groups of rows
        apart, those of all rows are put together.
        """
        if only is None:
            told, output = self._tell(rows)
            self._values = tuple((step["value"], *step["rows"]) for step in told)
            return steps(told, {self._manner.feed: rows, self._manner.output: output}), output
        if not self._values:
            self.follow(rows[:2])
        places = sorted(set(only))
        wanted = [(self._manner.output, 0, 1), *(self._values[place] for place in places)]
        output, *found = (array.to(rows.device) for array in self._run(rows, wanted))
        return dict(zip(places, found, strict=True)), output

    def reset_parameters(self) -> None:
        """Shuffle the numbers of every weight among themselves, by torch's random state."""
        folder = Scratch()
        shutil.copyfile(self._folder.path / GRAPH, folder.path / GRAPH)
        shutil.copyfile(self._folder.path / WEIGHTS, folder.path / WEIGHTS)
        draw = np.random.default_rng(int(torch.randint(2**62, ())))
        for offset, size, count in self._manner.weights:
            numbers = np.fromfile(folder.path / WEIGHTS, f"u{size}", count, offset=offset)
            draw.shuffle(numbers)
            with (folder.path / WEIGHTS).open("r+b") as file:
                file.seek(offset)
                file.write(numbers.tobytes())
        self._folder = folder

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModule:
        twin = OnnxModule(self._folder, self._manner, self.input_shape)
        twin.precision = self.precision.clone()
        twin._values = self._values
        return twin.train(self.training)

    def _at_once(self) -> int:
        most = min(_SECONDS_AT_ONCE / max(self._manner.seconds, 1e-6), _BYTES_AT_ONCE / max(self._manner.bytes, 1.0))
        group = self._manner.group or 1
        return max(1, int(min(most, _MOST_AT_ONCE)) // group) * group

    def _run(self, rows: torch.Tensor, wanted: Sequence[tuple[str, int, int]]) -> list[torch.Tensor]:
        with tempfile.TemporaryDirectory(dir=self._folder.path) as place:
            found = self._ask("run", rows, place, wanted=[list(one) for one in wanted])
            return [_load(Path(place), said) for said in found]

    def _tell(self, rows: torch.Tensor) -> tuple[list[dict[str, Any]], torch.Tensor]:
        with tempfile.TemporaryDirectory(dir=self._folder.path) as place:
            found = self._ask("follow", rows, place, output=self._manner.output)
            return found["steps"], _load(Path(place), found["output"])

    def _ask(self, job: str, rows: torch.Tensor, place: str, **more: Any) -> Any:
        """Hand rows to a child that runs the graph; what it gives lies in the folder `place`."""
        array, manner = _fed(rows, self._manner.kind), self._manner
        array.tofile(Path(place) / "rows.in")
        given = {"file": f"{place}/rows.in", "kind": manner.kind, "shape": list(array.shape)}
        size = (self._folder.path / WEIGHTS).stat().st_size
        limits = Limits(
            seconds=_PATIENCE[job] + 20 * manner.seconds * len(rows) + size / _BYTES_A_SECOND,
            memory=(3 << 30) + 4 * size + int(4 * len(rows) * manner.bytes),
            file=_LARGEST_RESULT,
        )
        folder = str(self._folder.path)
        return own_sandbox().call(
            f"onnx_jobs:{job}",
            PRELOAD,
            limits,
            done="run",
            folder=folder,
            rows=given,
            group=manner.group,
            bare=manner.bare,
            place=place,
            **more,
        )


def build_onnx(blueprint: Blueprint) -> nn.Module:
    """Make a module of an ONNX checkpoint, which runs in a sandbox.

    Options: `input_shape` without the axis of rows, where the graph leaves it open; `output`, the name of the
    output that counts, else the first; `batch`, whether the first axis counts rows, where that is not plain.
    Raises Refused (options, input-shape, and what the graph or onnxruntime gives cause for).
    """
    checkpoint, options = blueprint.checkpoint, blueprint.options
    if checkpoint.format != "onnx" or checkpoint.file is None:
        raise Refused("no-architecture", "is no ONNX graph", hint="leave architecture out, or name another")
    if unknown := sorted(set(options) - set(OPTIONS)):
        what = f"options name {unknown[0]!r}, which ONNX graphs do not have"
        raise Refused("options", what, hint=f"one of {', '.join(OPTIONS)}")
    folder = Scratch()
    place = str(folder.path)
    beside = {name: str(path) for name, path in checkpoint.beside.items()}
    size = sum(path.stat().st_size for path in (checkpoint.file, *checkpoint.beside.values()))
    limits = Limits(_LONGEST_TRIAL + size / _BYTES_A_SECOND, memory=(1 << 30) + 6 * size, file=2 * size + (1 << 20))
    found = own_sandbox().call(
        "onnx_jobs:prepare", PRELOAD, limits, folder=place, file=str(checkpoint.file), beside=beside
    )
    takes = settle(found["feed"], blueprint)
    output = _output(found["outputs"], options.get("output"))
    kind = str(found["feed"]["kind"])
    settings = {"kind": kind, "shape": list(takes.shape), "group": takes.group, "bare": takes.bare, "output": output}
    seen = own_sandbox().call("onnx_jobs:measure", PRELOAD, limits, done="run", folder=place, **settings)
    weights = tuple((offset, width, count) for offset, width, count in found["weights"])
    spent = (seen["seconds"], seen["bytes"])
    manner = Manner(found["feed"]["name"], kind, output, seen["group"], takes.bare, *spent, weights)
    return OnnxModule(folder, manner, takes.shape)


def _output(names: Sequence[str], wanted: object) -> str:
    if wanted is None:
        return names[0]
    if wanted not in names:
        known = ", ".join(shown(name) for name in names[:10])
        raise Refused("options", f"has no output {wanted!r}: it gives {known}", hint="correct output in options")
    return str(wanted)


def _fed(rows: torch.Tensor, kind: str) -> np.ndarray:
    """Turn rows into the numbers that a graph takes; whole ones are rounded to."""
    array = rows.detach().cpu().numpy()
    if kind.startswith("f"):
        return np.ascontiguousarray(array, np.dtype(kind))
    whole = np.rint(np.nan_to_num(array.astype(np.float64)))
    return np.ascontiguousarray(np.clip(whole, 0, 255) if kind == "u1" else whole, np.dtype(kind))


def _load(place: Path, said: Mapping[str, Any]) -> torch.Tensor:
    """Read what a child left, without trust in what it says of it. Raises Refused (crashed)."""
    kind, shape, path = str(said["kind"]), tuple(map(int, said["shape"])), place / Path(str(said["file"])).name
    if path.stat().st_size != prod(shape) * KINDS.get(kind, 0):
        raise Refused("crashed", "gives numbers that are not what they are said to be", hint="leave it out")
    array = np.fromfile(path, np.bool_ if kind == "b1" else kind).reshape(shape)
    wide = {"u2": np.int32, "u4": np.int64, "u8": np.int64}.get(kind)
    return torch.from_numpy(array.astype(wide) if wide is not None else array)
