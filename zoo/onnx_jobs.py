"""What is done with ONNX graphs in the children of a sandbox: put them in order, try them, run them.

A graph is put into a folder as GRAPH, with its weights as plain numbers in WEIGHTS beside it. Rows come in files
of plain numbers, and so do results leave; JSON says what is in them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from .errors import Refused
from .onnx_axes import RowsAt, join, rows_at, scaled
from .onnx_folder import GRAPH, WEIGHTS
from .onnx_graph import Graph, read_graph
from .onnx_names import Names
from .onnx_run import LARGEST_INDEX, Run, Seen, to_measure
from .onnx_steps import calls
from .onnx_tensor import NUMBERS, Constant
from .onnx_uses import Uses
from .weights import KINDS

INLINE = 1 << 16
_ALIGNED = 4096
_VERSION = 8
"""Of the file: new enough for constants that are no inputs, old enough for every onnxruntime."""
_AT_ONCE = 8
"""How many of the largest values are thought to be in memory together."""
_CODES = {kind: code for code, kind in NUMBERS.items()}
_HINT = 'see whether onnxruntime runs it, or take it as weights only: architecture = "weights"'


def prepare(file: str, beside: Mapping[str, str], folder: str) -> dict[str, Any]:
    """Check a graph and put it into a folder; say what it takes and gives, and where its weights are.

    Weights are (offset, bytes of one number, count), for those that training made.
    """
    graph = read_graph(Path(file), {name: Path(path) for name, path in beside.items()})
    trained = Names(Uses(graph)).weights
    model = onnx.ModelProto(ir_version=_VERSION)
    model.opset_import.extend(graph.model.opset_import)
    model.graph.name = "graph"
    model.graph.node.extend(graph.nodes)
    model.graph.input.extend(given for given in graph.model.graph.input if given.name == graph.feed.name)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in graph.outputs)
    weights = []
    with (Path(folder) / WEIGHTS).open("wb") as outer:
        for name, found in graph.constants.items():
            inline = name not in trained and found.length <= INLINE
            tensor = _tensor(name, found)
            model.graph.initializer.append(tensor)
            if inline:
                model.graph.initializer[-1].raw_data = found.raw()
                continue
            outer.seek(-(-outer.tell() // _ALIGNED) * _ALIGNED)
            _place_outside(model.graph.initializer[-1], outer.tell(), found.length)
            if name in trained and found.kind in ("f8", "f4", "f2", "bf2"):
                weights.append([outer.tell(), KINDS[found.kind], found.size])
            outer.write(found.raw())
        outer.truncate(max(outer.tell(), 1))
    (Path(folder) / GRAPH).write_bytes(model.SerializeToString())
    return {"feed": asdict(graph.feed), "outputs": list(graph.outputs), "weights": weights}


def measure(folder: str, kind: str, shape: Sequence[int], group: int, bare: bool, output: str) -> dict[str, Any]:
    """Try a graph: whether it takes several rows at once or one after the other, how long and how large it is.

    A group of 0 asks for that; else rows are run so many at a time. Bare ones are run without a first axis.
    """
    rows = _trial_rows(kind, (max(group, 2), *shape))
    values, _ = to_measure(_read(folder))
    session = _Session(folder, [output], measured=values, bare=bare)
    begin = time.monotonic()
    if group == 0:
        together = _unless_refused(session, rows, 0)
        apart = _unless_refused(session, rows, 1)
        if together is None and apart is None:
            session.run(rows, 0)
        group = 0 if _agree(together, apart) else 1
    else:
        session.run(rows, group)
    counts = sorted(float(np.prod(lengths, dtype=np.float64)) for lengths in session.lengths)
    used = 8 * sum(counts[-_AT_ONCE:]) / session.rows + rows[0].nbytes
    return {"group": group, "seconds": (time.monotonic() - begin) / len(rows), "bytes": used}


def run(
    folder: str, rows: Mapping[str, Any], group: int, bare: bool, place: str, wanted: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """Run a graph on rows and write what some of its values are; `wanted` are names and where their rows lie."""
    session = _Session(folder, [name for name, *_ in wanted], bare=bare)
    found = session.run(_load(rows), group, [RowsAt(*at) for _, *at in wanted])
    return [_save(Path(place) / f"{number}.out", array) for number, array in enumerate(found)]


def follow(folder: str, rows: Mapping[str, Any], group: int, bare: bool, place: str, output: str) -> dict[str, Any]:
    """Run a graph on rows and tell the run as calls of torch functions.

    Every call comes with the shape and kind of what it gives, and the axis along which rows lie there.
    """
    graph, array = _read(folder), _load(rows)
    shapes, numbers = to_measure(graph)
    session = _Session(folder, [output, *numbers], measured=shapes, bare=bare)
    first, *others = session.feed(array, group)
    result, *found = session.once(first)
    lengths = zip(shapes, found[len(numbers) :], strict=True)
    seen = Seen(
        {graph.feed.name: first.shape, **{name: tuple(map(int, length)) for name, length in lengths}},
        {name: found[place].tolist() for place, name in enumerate(numbers) if _is_index(found[place])},
    )
    parts = [result, *(session.once(part)[0] for part in others)]
    size = group or len(array)
    whole = np.stack(parts) if bare else join(parts, RowsAt(0), rows=len(array), group=size)
    steps = _steps(graph, seen, bare=bare, rows=len(array), group=size)
    return {"steps": steps, "output": _save(Path(place) / "0.out", whole)}


def _steps(graph: Graph, seen: Seen, *, bare: bool, rows: int, group: int) -> list[dict[str, Any]]:
    """Tell the steps of a run on all rows by those of a run on some of them."""
    at, kinds = rows_at(graph, seen, group=group), Run(graph, seen).kinds
    found = []
    for call in calls(graph, seen):
        shape, there = seen.shapes[call.value], at.get(call.value, RowsAt(0))
        whole = (rows, *shape) if bare else scaled(shape, there, rows=rows, group=group)
        found.append({**asdict(call), "shape": whole, "kind": kinds[call.value], "rows": there})
    return found


class _Session:
    """A graph in onnxruntime, with chosen values as its outputs, and behind them shapes of others.

    `lengths` are those shapes as the latest run had them, `rows` how many rows that had.
    """

    def __init__(self, folder: str, wanted: Sequence[str], *, measured: Sequence[str] = (), bare: bool) -> None:
        self._bare, self.rows = bare, 1
        self.lengths: list[np.ndarray] = []
        model = onnx.ModelProto.FromString((Path(folder) / GRAPH).read_bytes())
        del model.graph.output[:]
        names = [*dict.fromkeys(wanted)]
        for place, value in enumerate(measured):
            names.append(f"(shape of value {place})")
            model.graph.node.append(onnx.helper.make_node("Shape", [value], [names[-1]]))
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        self._wanted = len(wanted)
        self._names = [*wanted, *names[len(dict.fromkeys(wanted)) :]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.log_severity_level = 4
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        with _worded():
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        self._feed = self._session.get_inputs()[0].name

    def feed(self, rows: np.ndarray, group: int) -> list[np.ndarray]:
        """Cut rows into what is run at once; the last row fills up the last group."""
        if self._bare:
            return list(rows)
        size = group or len(rows)
        missing = -len(rows) % size
        whole = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
        return [whole[start : start + size] for start in range(0, len(whole), size)]

    def once(self, rows: np.ndarray) -> list[np.ndarray]:
        """Run what can be run at once."""
        with _worded():
            found = self._session.run(self._names, {self._feed: rows})
        if not all(isinstance(array, np.ndarray) and array.dtype.str[1:] in KINDS for array in found):
            raise Refused("output-shape", "gives what is no tensor of numbers", hint=_HINT)
        self.lengths, self.rows = list(found[self._wanted :]), 1 if self._bare else len(rows)
        return list(found)

    def run(self, rows: np.ndarray, group: int, at: Sequence[RowsAt] = (RowsAt(0),)) -> list[np.ndarray]:
        """Run all rows and put together what belongs together; values beyond those of `at` are left out."""
        parts = [self.once(part)[: len(at)] for part in self.feed(rows, group)]
        columns = zip(zip(*parts, strict=True), at, strict=True)
        if self._bare:
            return [np.stack(column) for column, _ in columns]
        return [join(column, place, rows=len(rows), group=group or len(rows)) for column, place in columns]


@contextmanager
def _worded() -> Iterator[None]:
    """Say in our words what onnxruntime cannot do."""
    try:
        yield
    except (MemoryError, Refused):
        raise
    except Exception as error:  # onnxruntime has a dozen kinds of its own
        text = " ".join(str(error).split())
        if "bad_alloc" in text or "Failed to allocate" in text or "bad allocation" in text:
            raise MemoryError from None
        reason = text.split(" : ")[-1][-160:]
        code = "input-shape" if "Got invalid dimensions" in text else "forward"
        raise Refused(code, f"cannot be run by onnxruntime: {reason}", hint=_HINT) from None


def _read(folder: str) -> Graph:
    return read_graph(Path(folder) / GRAPH, {WEIGHTS: Path(folder) / WEIGHTS})


def _tensor(name: str, found: Constant) -> onnx.TensorProto:
    return onnx.TensorProto(name=name, dims=found.shape, data_type=_CODES[found.kind])


def _place_outside(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _trial_rows(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    draw = np.random.default_rng(0)
    if kind.startswith("f"):
        return draw.standard_normal(shape).astype(kind)
    return draw.integers(0, 256 if kind == "u1" else 2, shape).astype(kind)


def _unless_refused(session: _Session, rows: np.ndarray, group: int) -> np.ndarray | None:
    try:
        return session.run(rows, group)[0]
    except Refused:
        return None


def _agree(together: np.ndarray | None, apart: np.ndarray | None) -> bool:
    """Tell whether rows together give what they give apart; also where only together they give anything."""
    if together is None or apart is None:
        return together is not None
    if together.shape != apart.shape:
        return False
    scale = float(np.abs(np.nan_to_num(apart.astype(np.float64))).max(initial=0))
    return bool(np.allclose(together, apart, rtol=1e-3, atol=1e-4 * scale, equal_nan=True))


def _is_index(array: np.ndarray) -> bool:
    return array.size <= LARGEST_INDEX and array.dtype.kind in "iu"


def _load(rows: Mapping[str, Any]) -> np.ndarray:
    return np.fromfile(rows["file"], rows["kind"]).reshape(rows["shape"])


def _save(path: Path, array: np.ndarray) -> dict[str, Any]:
    np.ascontiguousarray(array).tofile(path)
    return {"file": path.name, "kind": array.dtype.str[1:], "shape": list(array.shape)}
