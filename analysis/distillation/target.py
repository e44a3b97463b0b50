"""What is distilled: one quantity of every lineage, at fixed points, and where it can be had as a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Expression

Columns = Mapping[str, Float[np.ndarray, " samples"]]
Rows = Float[np.ndarray, "samples inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Functions:
    """The lineages' functions of the same inputs, free to be asked at any point.

    `names` are those of the inputs, the columns of rows. `values` gives lineages × samples, `slopes` lineages ×
    samples × inputs (None: no gradients; differences of values serve). `draw(samples, seed)` gives rows
    spread as the probe's are. With `free` inputs may be set one by one (a box); otherwise only rows that were drawn
    lie where the networks were trained. `derived` says what further variables are, in the inputs.
    """

    names: tuple[str, ...]
    values: Callable[[Rows], Float[np.ndarray, "lineages samples"]]
    slopes: Callable[[Rows], Float[np.ndarray, "lineages samples inputs"]] | None
    draw: Callable[[int, int], Rows]
    free: bool = True
    derived: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One quantity of every lineage at the same points.

    `inputs` are the points in the networks' own coordinates; `columns` what equations may be written in.
    """

    inputs: Rows
    columns: Columns
    values: Float[np.ndarray, "lineages samples"]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is distilled: one sample to fit on, one held out, and one outside the probe's range, if it has any.

    With `functions` structure is looked for by asking them (see `reduce`). With `linked` every lineage has the
    quantity up to a monotone function of its own, as the logit of a classifier or a latent, and only that is
    distilled on which they agree: an equation up to such a link. `lineages` names the rows of values, if they
    have names.
    """

    name: str
    fit: Sample
    held_out: Sample
    outside: Sample | None
    functions: Functions | None = None
    linked: bool = False
    lineages: tuple[str, ...] = ()
