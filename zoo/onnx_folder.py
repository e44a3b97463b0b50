"""A folder in which an ONNX graph that was put in order lies: the graph, and its weights beside it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

GRAPH, WEIGHTS = "graph.onnx", "weights.bin"


class OnnxFolder:
    """A folder that is gone with the last module that uses it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="consilience-onnx-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
