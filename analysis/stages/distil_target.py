"""Make the target that is distilled: samples of what is asked, in the variables that may stand in an equation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...zoo.errors import BadInput, NotFound
from ...zoo.manifest import DistilTable
from ..distillation.consensus import consensus, disagreement, relevance
from ..distillation.target import Functions, Rows, Sample, Target
from ..formulas.expression import variables
from ..project.study import Study
from .distil_choice import Asked, feature_named, near, unknown_term
from .ground import Ground
from .stage_cluster import Feature
from .witness import Witness, witness

NOTHING = 1e-3
"""One network alone has no peers to differ from: effects below this share of its spread count as none."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How far the consensus moves when a variable alone is redrawn, and whether equations may be written in it.

    That they may where it exceeds disagreement and is wanted. NaN for another feature, which cannot be redrawn alone;
    it is not `askable`, and neither is an input that counts and is not wanted, nor any variable made of it.
    """

    effect: float
    kept: bool
    askable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What equations may be written in: variables of the ground, and the consensus of other features."""

    variables: tuple[str, ...]
    features: Mapping[str, Witness]
    key: object


def terms_of(study: Study, feature: Feature, features: Sequence[Feature], ground: Ground, asked: Asked) -> Terms:
    """Find the variables and features by their names; without names all variables that zoo.toml allows.

    Raises BadInput and NotFound for a name that is neither, and for the feature itself.
    """
    known = (*ground.names, *ground.derived)
    wanted = asked.terms or (() if asked.inner else study.manifest.distil.variables) or known
    others = {name: feature_named(name, features) for name in wanted if name not in known}
    for name, other in others.items():
        if other is None:
            raise _unknown(study, name, known, features, asked)
        if other.id == feature.id:
            raise BadInput(f"{name} in terms of itself", hint="name other features or variables")
    found = {name: other for name, other in others.items() if other is not None}
    return Terms(
        tuple(name for name in known if name in wanted),
        {name: witness(other, ground, device=study.device) for name, other in found.items()},
        [
            (name, [(m.network, m.layer, m.unit, m.sign, m.weights) for m in other.members])
            for name, other in found.items()
        ],
    )


def _unknown(
    study: Study, name: str, known: Sequence[str], features: Sequence[Feature], asked: Asked
) -> BadInput | NotFound:
    if asked.terms:
        return unknown_term(name, known, asked, features)
    hint = near(name, known)
    return BadInput(f"{study.path}: distil.variables: {name!r} is not a variable of the probe", hint=hint)


def make_target(
    study: Study, name: str, said: Witness, ground: Ground, terms: Terms, settings: DistilTable, *, linked: bool
) -> tuple[Target, dict[str, Effect]]:
    """Ask for two samples in the ground and one beyond it; drop variables on which the target does not depend.

    The target comes with the functions themselves, unless it depends on inputs that equations may not be written in.
    """
    seed, samples = study.manifest.seed, settings.samples
    fitting, held_out = ground.halves(samples, seed)
    outside = ground.outside(samples, seed + 3)
    effects = _relevance(study, said, ground, terms, ground.draw(samples, seed + 4))
    names = [name for name, effect in effects.items() if effect.kept]

    def sample(rows: Rows) -> Sample:
        columns = ground.columns(rows) | {name: consensus(other(rows)) for name, other in terms.features.items()}
        return Sample(rows, {name: columns[name] for name in names}, said(rows))

    target = Target(
        name,
        sample(fitting),
        sample(held_out),
        None if outside is None else sample(outside),
        functions=functions_of(said, ground) if all(effect.askable for effect in effects.values()) else None,
        linked=linked,
        lineages=said.lineages,
    )
    return target, effects


def functions_of(said: Witness, ground: Ground) -> Functions:
    """Give the members' functions of the ground's inputs, free to be asked; without slopes where one has none."""
    return Functions(
        names=ground.names,
        values=said,
        slopes=said.slopes if said.differentiable(ground.reference) else None,
        draw=ground.draw,
        free=ground.free,
        derived=ground.derived,
    )


def _relevance(study: Study, said: Witness, ground: Ground, terms: Terms, rows: Rows) -> dict[str, Effect]:
    """Screen the variables: one whose effect is below what the networks disagree by cannot be in a law.

    A derived variable is in as far as one of the inputs that it is made of is.
    """
    values = said(rows)
    random = np.random.default_rng(study.manifest.seed)
    moved = []
    for column in range(rows.shape[1]):
        changed = rows.copy()
        changed[:, column] = random.permutation(rows[:, column])
        moved.append(consensus(said(changed)))
    sizes = relevance(consensus(values), np.stack(moved))
    noise = disagreement(values) if len(values) > 1 else NOTHING * float(consensus(values).std())
    inputs = dict(zip(ground.names, map(float, sizes), strict=True))
    derived = {
        name: max((inputs.get(part, 0.0) for part in variables(formula)), default=0.0)
        for name, formula in ground.derived.items()
    }
    effects = inputs | derived
    wanted = {name for name in effects if name in terms.variables}
    within = {part for name in wanted & {*derived} for part in variables(ground.derived[name])}
    screened = {
        name: Effect(size, name in wanted and size > noise, name in {*wanted, *within, *derived} or size <= noise)
        for name, size in effects.items()
    }
    return screened | {name: Effect(float("nan"), True, False) for name in terms.features}
