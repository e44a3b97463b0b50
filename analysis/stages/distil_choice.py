"""Choose what to distil: by default, or by the names of features, outputs and single units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import get_args

from ...zoo.errors import BadInput, NotFound
from ...zoo.inner import inner, modules
from ...zoo.layer import Layer
from ...zoo.manifest import DistilTable
from ...zoo.network import Network
from ..distillation.search import BUDGETS
from ..project.study import Study
from .inner import end_of
from .stage_cluster import Feature, Member

NUMBERED = re.compile(r"[Ff]\d+")
"""A feature by its number: which there are is known when units have been grouped."""
UNNAMED = re.compile(r"i\d+")
"""An input of a module inside the networks that zoo.toml gives no name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user wants distilled, and in terms of what; empty: as zoo.toml says.

    `only` names features, outputs and units (NETWORK/LAYER:UNIT), `output` one output, `terms` variables and features
    to write equations in, `inner` a module inside the networks whose inputs are the variables. `linked` says that
    targets are known up to a monotone function of each network's own.
    """

    only: tuple[str, ...] = ()
    output: str = ""
    inner: str = ""
    terms: tuple[str, ...] = ()
    linked: bool = False

    @property
    def named(self) -> bool:
        """Whether what is wanted is named."""
        return bool(self.only or self.output)

    @property
    def terms_told(self) -> str:
        """Say in terms of what, where that is not what zoo.toml says."""
        within = [f"inputs of {self.inner}"] if self.inner else []
        return ": ".join([*within, *([", ".join(self.terms)] if self.terms else [])])


def with_settings(study: Study, *, engine: str | None = None, budget: str | None = None) -> Study:
    """Change what zoo.toml says of the search, for one run. Raises BadInput for no such engine or budget."""
    said = {"engine": engine, "budget": budget}
    table = study.manifest.distil
    for key, value in said.items():
        if value is None:
            continue
        known = get_args(DistilTable.model_fields[key].annotation)
        if value not in known:
            raise BadInput(f"{key} {value[:80]!r} is not one of {', '.join(known)}", hint=near(value, known))
        table = table.model_copy(update={key: value})
    return replace(study, manifest=study.manifest.model_copy(update={"distil": table}))


def budgeted(settings: DistilTable, budget: str) -> DistilTable:
    """Turn a budget into numbers of searches and evaluations."""
    restarts, evaluations = BUDGETS[budget]
    return settings.model_copy(
        update={
            "budget": "normal",
            "restarts": max(1, int(settings.restarts * restarts)),
            "evaluations": max(1000, int(settings.evaluations * evaluations)),
        }
    )


def choose(
    study: Study, features: Sequence[Feature], networks: Mapping[str, Network], asked: Asked
) -> tuple[Feature, ...]:
    """Choose the features named; without names the outputs and the hidden features above the nulls.

    With an inner module those are meant with which it ends. Raises NotFound for what is not there.
    """
    if asked.named:
        outputs = [_output(features, asked.output)] if asked.output else []
        named = [_named(name, features, networks, asked.inner) for name in asked.only]
        return tuple(dict.fromkeys([*outputs, *named]))
    if study.probe.image:  # photos have no variables in which a formula could be written
        return ()
    if asked.inner:
        return _at_the_end(study, features, networks, asked.inner)
    settings = study.manifest.distil
    outputs = [f for f in features if f.role == "output" and (settings.outputs is None or f.name in settings.outputs)]
    hidden = [f for f in features if f.role == "hidden" and f.above_null and f.positions == 1]
    return (*outputs, *hidden[: settings.features])


def feature_named(name: str, features: Sequence[Feature]) -> Feature | None:
    """Find a feature by its number or name."""
    known = {feature.name: feature for feature in features if feature.name} | {f.id: f for f in features}
    return known.get(name) or known.get(name.upper())


def identifier(feature: Feature) -> str:
    """Give F and the number of a feature, or the name of a single unit."""
    return feature.id if feature.number else feature.name


def near(name: str, known: Iterable[str]) -> str:
    """Say what a name that is not there may have been meant for."""
    names = list(known)
    if not names:
        return "there is none"
    found = get_close_matches(name[:80], names, n=1)
    return f"did you mean {found[0]!r}?" if found else f"there are {', '.join(names[:20])}"


def unknown_term(name: str, known: Sequence[str], asked: Asked, features: Sequence[Feature] = ()) -> NotFound:
    """Word that equations cannot be written in something, with the names in which they can."""
    close = get_close_matches(name[:80], [*known, *(feature.id for feature in features)], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known[:20])}"
    hint = hint if known else "its inputs are i0, i1 and so on, unless [[distil.inner]] in zoo.toml names them"
    hint = _numbered(features) if features and NUMBERED.fullmatch(name) else hint
    return NotFound(f"{name[:80]!r} is neither a variable of {asked.inner or 'the probe'} nor a feature", hint=hint)


def _output(features: Sequence[Feature], name: str) -> Feature:
    outputs = {feature.name or feature.id: feature for feature in features if feature.role == "output"}
    found = outputs.get(name) or feature_named(name, list(outputs.values()))
    if found is None:
        raise NotFound(f"no output {name[:80]!r}", hint=near(name, outputs))
    return found


def _named(name: str, features: Sequence[Feature], networks: Mapping[str, Network], module: str) -> Feature:
    found = feature_named(name, features)
    if found is not None:
        return found
    if ":" in name:
        return _unit(name, networks, module)
    known = [*(f.name for f in features if f.name), *(f.id for f in features)]
    if NUMBERED.fullmatch(name):
        raise NotFound(f"no feature {name[:80]!r}", hint=_numbered(features))
    close = get_close_matches(name[:80], known, n=1)
    hint = "consilience features lists them; a single unit is NETWORK/LAYER:UNIT"
    raise NotFound(f"no feature {name[:80]!r}", hint=f"did you mean {close[0]!r}? {hint}" if close else hint)


def _numbered(features: Sequence[Feature]) -> str:
    """Say how many features there are."""
    return f"there are F1 to F{len(features)}; consilience features lists them" if features else "there is none"


def _unit(name: str, networks: Mapping[str, Network], module: str) -> Feature:
    """Take a single unit for a feature, which one lineage alone has; its values stay as they are.

    Of the inner module itself, units are what it gives, whatever layers lie in it.
    """
    place, _, number = name.rpartition(":")
    fitting = [network for network in networks if place.startswith(f"{network}/")]
    if not fitting:
        known = get_close_matches(place[:80].split("/")[0], networks, n=1) or list(networks)[:1]
        raise NotFound(f"no network that {name[:80]!r} is a unit of", hint=f"units are called {known[0]}/LAYER:UNIT")
    network = networks[max(fitting, key=len)]
    wanted = place.removeprefix(f"{network.name}/")
    layers = {layer.name: layer for layer in network.layers}
    if wanted not in layers and not (module and wanted == module):
        raise NotFound(f"{network.name} has no layer {wanted[:80]!r}", hint=near(wanted, layers))
    layer = layers.get(wanted)
    if not number.isdecimal() or (layer is not None and int(number) >= layer.units):
        known_units = f"its units are 0 to {layer.units - 1}" if layer else "units are counted from 0"
        raise NotFound(f"layer {wanted} of {network.name} has no unit {number[:80]!r}", hint=known_units)
    return _single(network.name, wanted, int(number), layer)


def _single(network: str, layer: str, unit: int, found: Layer | None) -> Feature:
    return Feature(
        number=0,
        kind="unit",
        level="",
        role=found.role if found else "hidden",
        positions=found.positions if found else 1,
        name=f"{network}/{layer}:{unit}",
        unit="",
        members=(Member(network, layer, unit, 1, math.nan),),
        lineages=1,
        universality=math.nan,
        agreement=math.nan,
        support=math.nan,
        reliability=math.nan,
        lift=math.nan,
        p=math.nan,
        q=math.nan,
        above_null=False,
    )


def _at_the_end(
    study: Study, features: Sequence[Feature], networks: Mapping[str, Network], module: str
) -> tuple[Feature, ...]:
    """Choose what several lineages share of the layer with which a module ends; of one lineage, all that it gives."""
    having = [name for name, network in networks.items() if module in modules(network)]
    if not having:
        known = sorted({name for network in networks.values() for name in modules(network)})
        raise NotFound(f"no network has a module {module[:80]!r}", hint=near(module, known))
    ends = {name: end_of(networks[name], module) for name in having}
    there = [f for f in features if all(ends.get(member.network) == member.layer for member in f.members)]
    shared = tuple(feature for feature in there if feature.above_null or feature.role == "output")
    if shared:
        return shared
    if len({networks[name].lineage for name in having}) > 1:
        names = ", ".join(feature.id for feature in there[:10]) or f"{having[0]}/{module}:0"
        raise BadInput(
            f"no feature above the nulls is at the end of {module}", hint=f"name what to distil, such as {names}"
        )
    part = inner(networks[having[0]], module, study.probe.inputs)
    return tuple(_single(having[0], module, unit, None) for unit in range(part.layers[-1].units))
