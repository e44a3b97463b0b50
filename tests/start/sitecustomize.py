"""What every Python that the tests start does first: make torchvision importable beside any torch."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path


class Operators(MetaPathFinder):
    """Declare two operators of torchvision before it is imported, where its own, compiled ones cannot load.

    That is so beside a torch for the CPU alone. Its import would fail for want of them, though no classifier
    uses them.
    """

    library = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name != "torchvision" or (spec := PathFinder.find_spec(name)) is None:
            return
        sys.meta_path.remove(self)
        import torch

        try:
            for compiled in Path(str(spec.origin)).parent.glob("_C.*"):
                torch.ops.load_library(compiled)
        except OSError:
            self.library = torch.library.Library(name, "DEF")
            self.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


OPERATORS = Operators()
if not any(type(finder).__name__ == "Operators" for finder in sys.meta_path):
    sys.meta_path.insert(0, OPERATORS)
