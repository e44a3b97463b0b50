"""Read the weights of ONNX graphs, which run elsewhere: see onnx_module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .checkpoint import Checkpoint
from .errors import Refused
from .held import Packed, hold
from .onnx_graph import Graph, read_graph
from .onnx_names import Names, Weight, weights_of
from .onnx_tensor import Constant
from .onnx_uses import Uses
from .weights import Place

MOST_WORDS, LONGEST_WORD = 256, 4096


def read_onnx(path: Path, beside: Mapping[str, Path]) -> Checkpoint:
    """Read an ONNX graph's weights under the names of the layers that use them, as (outputs, inputs).

    Numbers stay where they lie until they are asked for. Raises Wanted for the files beside that hold weights,
    and Refused with the codes of onnx_graph.
    """
    graph = read_graph(path, beside)
    found = {
        weight.name: _stored(graph.constants[weight.constant], weight) for weight in weights_of(Names(Uses(graph)))
    }
    if not found:
        raise Refused("no-tensors", "holds no weights", hint="export a trained network")
    return Checkpoint("onnx", hold(found), _metadata(graph))


def _stored(constant: Constant, weight: Weight) -> Place | Packed:
    """Tell where the numbers of a constant lie as a weight of a layer, or how they are made of it."""
    shape = constant.shape[::-1] if weight.swapped else (constant.size,) if weight.flat else constant.shape
    stored = constant.stored
    if not isinstance(stored, Place) or weight.factor != 1.0:
        return Packed(shape, lambda: _made(constant, weight))
    strides = (1, constant.shape[1]) if weight.swapped else None
    return Place(stored.file, stored.offset, stored.kind, shape, strides)


def _made(constant: Constant, weight: Weight) -> np.ndarray:
    values = constant.read()
    values = values.T if weight.swapped else values.reshape(-1) if weight.flat else values
    return np.ascontiguousarray(values if weight.factor == 1.0 else (values * weight.factor).astype(values.dtype))


def _metadata(graph: Graph) -> dict[str, str]:
    said = {entry.key: entry.value for entry in graph.model.metadata_props[:MOST_WORDS]}
    own = {"producer": f"{graph.model.producer_name} {graph.model.producer_version}".strip(), "opset": str(graph.opset)}
    return {key[:LONGEST_WORD]: value[:LONGEST_WORD] for key, value in (said | own).items() if value}
