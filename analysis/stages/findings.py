"""What was found in vision networks, looked up once for all pictures of it: opening a zoo takes a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..project.study import Study
from .families import Family
from .stage_kernels import Described, describe_kernels
from .stage_maps import match_photos
from .stage_tuning import Tuning, tune


@dataclass(frozen=True)
class Findings:
    """The findings of a study, each looked up when it is first asked for."""

    study: Study

    @cached_property
    def kernels(self) -> Described:
        """What kernels are. Raises what `describe_kernels` raises."""
        return describe_kernels(self.study)

    @cached_property
    def tuning(self) -> Tuning:
        """What units are tuned to. Raises what `tune` raises."""
        return tune(self.study)

    @cached_property
    def matched(self) -> Sequence[Family]:
        """Features of maps, if photos were matched before: a picture does not start that work."""
        with self.study.reading() as catalogue:
            known = any(row["kind"] == "map" for row in catalogue.select("features"))
        return match_photos(self.study).families if known else ()
