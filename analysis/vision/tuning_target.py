"""Hand a unit's tuning to symbolic regression, in the coordinates in which laws of angles are short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..distillation.target import Sample, Target
from ..formulas.expression import Apply, Constant, Expression, Variable, evaluate, substitute
from .tuning import alternate
from .tuning_fit import bind, fit_law, named
from .tuning_laws import laws_of

TIMES = {"orientation": 2.0, "direction": 1.0, "hue": 1.0}
"""How often a response repeats within a full turn of the coordinate, for kinds of angles."""


@dataclass(frozen=True, slots=True, eq=False)
class TuningTarget:
    """What `distil` takes, and what its variables are in the coordinates of the stimulus."""

    target: Target
    variables: Mapping[str, Expression]

    def in_coordinates(self, found: Expression) -> Expression:
        """Write an equation that was found in the coordinates of the stimulus."""
        return substitute(found, self.variables)


def as_target(
    values: Float[np.ndarray, "*lineages samples"],
    rows: Float[np.ndarray, "samples coordinates"],
    names: Sequence[str],
    kinds: Sequence[str],
    *,
    name: str = "response",
    lineages: Sequence[str] = (),
    held_out: Bool[np.ndarray, " samples"] | None = None,
) -> TuningTarget:
    """Make a target of responses, for `distil` where no law of the library is good enough: one unit's, or lineages'.

    An angle becomes cos_NAME and sin_NAME of the distance from the preferred one (of twice that for an orientation),
    a frequency log_NAME; other coordinates stay. Given the distance itself, a search finds a Gaussian; given its
    cosine, the von Mises law. The preferred angle is that of a von Mises law (for a hue a cosine) fitted to the mean
    at the stimuli that are not held out. `lineages` names the rows of values.
    """
    curves, points = np.atleast_2d(np.asarray(values, dtype=np.float64)), np.asarray(rows, dtype=np.float64)
    out = alternate(points) if held_out is None else held_out
    variables: dict[str, Expression] = {}
    for place, (coordinate, kind) in enumerate(zip(names, kinds, strict=True)):
        variables |= _written(coordinate, kind, points[~out, place], curves.mean(axis=0)[~out])
    stimuli = dict(zip(names, points.T, strict=True))
    columns = {key: evaluate(expression, stimuli) for key, expression in variables.items()}

    def sample(chosen: Bool[np.ndarray, " samples"]) -> Sample:
        return Sample(points[chosen], {key: one[chosen] for key, one in columns.items()}, curves[:, chosen])

    return TuningTarget(Target(name, sample(~out), sample(out), None, lineages=tuple(lineages)), variables)


def _written(
    coordinate: str, kind: str, column: Float[np.ndarray, " samples"], curve: Float[np.ndarray, " samples"]
) -> dict[str, Expression]:
    """Say which variables stand for a coordinate."""
    plain: Expression = Variable(coordinate)
    if kind == "frequency" and (column > 0).all():
        return {f"log_{coordinate}": Apply("log", (plain,))}
    if kind not in TIMES:
        return {coordinate: plain}
    apart = plain - preferred(curve, column, kind)
    apart = apart if TIMES[kind] == 1 else Constant(TIMES[kind]) * apart
    return {f"{function}_{coordinate}": Apply(function, (apart,)) for function in ("cos", "sin")}


def preferred(curve: Float[np.ndarray, " samples"], column: Float[np.ndarray, " samples"], kind: str) -> float:
    """Find the preferred angle of one unit by the law of this kind that has one; 0 where too few stimuli tell."""
    laws = {law.name: law for law in laws_of(kind)}
    law = laws.get("von Mises") or laws["cosine"]
    theta = fit_law(law, column[:, None], curve[None], ("angle",))
    if theta is None:
        return 0.0
    return next(v for key, v in named(bind(law, ("angle",)), theta[0]).items() if key.endswith("0"))
