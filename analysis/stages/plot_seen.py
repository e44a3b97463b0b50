"""Pictures of what was seen in vision networks, by what they show, and those of each family by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .drawing import Drawing
from .findings import Findings
from .plot_seen_detectors import detector_family_pictures, detector_pictures
from .plot_seen_kernels import kernel_family_pictures, kernel_pictures
from .plot_seen_table import table_pictures
from .plot_seen_tuning import share_pictures, tuning_family_pictures, tuning_pictures

SEEN: dict[str, Callable[[Findings], Iterator[Drawing]]] = {
    "kernels": kernel_pictures,
    "tuning": tuning_pictures,
    "shares": share_pictures,
    "table": table_pictures,
    "detectors": detector_pictures,
}
"""Pictures of vision networks."""
OF_FAMILIES: dict[str, tuple[Callable[[Findings], Iterator[tuple[str, str, Drawing]]], ...]] = {
    "kernels": (kernel_family_pictures,),
    "tuning": (tuning_family_pictures, detector_family_pictures),
}
"""By stage, pictures of one family each: its name, a caption, and how it is drawn."""
