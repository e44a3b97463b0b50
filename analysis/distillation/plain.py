"""Distil plain functions, or plain arrays of what they gave, for those without a zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from ...zoo.errors import BadInput
from ..formulas.expression import Expression, evaluate
from ..formulas.expression import variables as variables_of
from ..formulas.parsing import parse
from .callables import Voice, named, numbers, voices
from .consensus import consensus, disagreement, relevance
from .distil import distil as distil_target
from .distil_evidence import weigh
from .domain import FEWEST, Domain, check_name, domain_of, rows_of, split
from .law import Law, law_of
from .search import BUDGETS, resolve
from .target import Functions, Rows, Sample, Target

NOTHING = 1e-3
"""One function alone has no peers to differ from: effects below this share of its spread count as none."""


def distil(
    functions: Any,
    inputs: Any,
    *,
    names: Sequence[str] | None = None,
    name: str = "y",
    output: int | None = None,
    derived: Mapping[str, str | Expression] | None = None,
    variables: Sequence[str] | None = None,
    linked: bool = False,
    engine: str = "auto",
    budget: str = "normal",
    restarts: int = 6,
    evaluations: int = 400_000,
    samples: int = 512,
    outside: Any = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Law:
    """Find the simplest equation that is as good a witness of each function as the other functions are.

    `functions` are trained apart to do the same: PyTorch modules, functions of NumPy rows or fitted regressors, one
    or several; or an array of what they gave, functions × samples, at the rows of `inputs`. `inputs` are rows (an
    array, a frame, a dict of columns), ranges {name: (low, high)} in which any point may be asked, or
    sampler(n, rng). Equations may be written in `variables`: the inputs, called by `names`, and what is `derived`
    from them, {"r": "sqrt(x**2 + y**2)"}. Of several `output`s one is distilled. With `linked` each function gives
    the quantity up to a monotone function of its own, as classifiers and latents do. `outside` are rows beyond,
    where extrapolation is checked; for ranges they are drawn.

    Raises BadInput for what does not fit, with the remedy.
    """
    _check(samples=samples, restarts=restarts, evaluations=evaluations, budget=budget)
    searches, length = BUDGETS[budget]
    domain = domain_of(inputs, names)
    terms = _terms(domain.names, derived or {}, variables)
    asked = _of_values if _are_values(functions) else partial(_of_functions, output=output, linked=linked)
    tell, name = progress or (lambda step: None), check_name(name)
    with threadpool_limits(1):  # the searches fill the processors, and sums stay in one order
        target = asked(functions, domain, terms, name, outside, samples=samples, seed=seed)
        labels = _labels(functions, len(target.fit.values))
        target = replace(target, linked=linked, lineages=tuple(labels))
        result = distil_target(
            target,
            engine=resolve(engine),
            restarts=max(1, int(restarts * searches)),
            evaluations=max(1000, int(evaluations * length)),
            seed=seed,
            progress=tell,
        )
        result, support = weigh(result, target, seed=seed, progress=tell)
    wanted = "" if engine in ("auto", "none") else engine
    return law_of(result, support, target, functions=labels, inputs=domain.names, derived=terms.derived, asked=wanted)


def _check(*, samples: int, restarts: int, evaluations: int, budget: str) -> None:
    if budget not in BUDGETS:
        raise BadInput(f"there is no budget {budget!r}", hint=f"choose {', '.join(BUDGETS)}")
    least = {"samples": (samples, FEWEST), "restarts": (restarts, 1), "evaluations": (evaluations, 1000)}
    for what, (given, fewest) in least.items():
        if given < fewest:
            raise BadInput(f"{what} = {given} are too few", hint=f"give at least {fewest}")


@dataclass(frozen=True, slots=True)
class Terms:
    """The inputs, what is derived from them, and which of both equations may be written in."""

    names: tuple[str, ...]
    derived: Mapping[str, Expression]
    allowed: tuple[str, ...]

    def columns(self, rows: Rows) -> dict[str, Float[np.ndarray, " samples"]]:
        """Compute what equations may be written in. Raises BadInput where that is not finite."""
        inputs = dict(zip(self.names, rows.T, strict=True))
        columns = inputs | {name: evaluate(formula, inputs) for name, formula in self.derived.items()}
        for name in self.allowed:
            wrong = int((~np.isfinite(columns[name])).sum())
            if wrong:
                raise BadInput(
                    f"{name} = {self.derived[name]} is NaN or infinite at {wrong} of {len(rows)} rows",
                    hint="ask where it is defined, or write it in another way",
                )
        return {name: columns[name] for name in self.allowed}


def _terms(names: tuple[str, ...], derived: Mapping[str, str | Expression], chosen: Sequence[str] | None) -> Terms:
    formulas = {check_name(name): _formula(name, given, names) for name, given in derived.items()}
    known = (*names, *formulas)
    unknown = [name for name in chosen or () if name not in known]
    if unknown:
        raise BadInput(f"there is no variable {unknown[0]!r}", hint=f"there are {', '.join(known)}")
    return Terms(names, formulas, known if chosen is None else tuple(dict.fromkeys(chosen)))


def _formula(name: str, given: str | Expression, inputs: Sequence[str]) -> Expression:
    if name in inputs:
        raise BadInput(f"{name} is an input already", hint="call what is derived from inputs by another name")
    formula = parse(given) if isinstance(given, str) else given
    missing = [part for part in variables_of(formula) if part not in inputs]
    if missing:
        raise BadInput(f"{name} = {formula}: there is no input {missing[0]!r}", hint=f"there are {', '.join(inputs)}")
    return formula


def _are_values(given: Any) -> bool:
    """Tell arrays of values from functions."""
    if isinstance(given, list | tuple):
        return bool(given) and not any(_is_function(one) for one in given)
    return hasattr(given, "__array__") and not _is_function(given)


def _labels(given: Any, many: int) -> list[str]:
    """Say what functions, or those whose values were given, are called in messages."""
    if _are_values(given):
        return [f"function {number}" for number in range(1, many + 1)]
    return [label for label, _ in named(given)]


def _is_function(given: Any) -> bool:
    return callable(given) or callable(getattr(given, "predict", None))


def _of_values(given: Any, domain: Domain, terms: Terms, name: str, outside: Any, *, samples: int, seed: int) -> Target:
    """Divide rows and their values into those to fit to and those to judge by."""
    if domain.rows is None or outside is not None:
        raise BadInput(
            "values alone can be compared at their rows only",
            hint="give the rows as inputs and leave outside= out; or give functions, which can be asked anywhere",
        )
    values = np.atleast_2d(numbers(given if hasattr(given, "detach") else np.stack([*map(_array, given)]), "functions"))
    if values.ndim != 2 or values.shape[1] != len(domain.rows):
        raise BadInput(
            f"values of shape {values.shape} for {len(domain.rows)} rows",
            hint="give functions x samples, one value of each function for each row",
        )
    values = _sound(values, _labels(given, len(values)))
    halves = split(len(values.T), samples, seed + 1)
    fit, held_out = (Sample(domain.rows[one], terms.columns(domain.rows[one]), values[:, one]) for one in halves)
    return Target(name, fit, held_out, None)


def _array(one: Any) -> Any:
    return one.detach().cpu().numpy() if hasattr(one, "detach") else one


def _of_functions(
    given: Any,
    domain: Domain,
    terms: Terms,
    name: str,
    outside: Any,
    *,
    samples: int,
    seed: int,
    output: int | None,
    linked: bool,
) -> Target:
    """Ask functions at rows to fit to, at others to judge by, and beyond."""
    fitting, held_out = domain.halves(samples, seed + 1)
    said = voices(given, output=output, names=domain.names, rows=fitting)
    beyond = domain.outside(samples, seed + 3) if outside is None else rows_of(outside, domain.names)[0]
    values = [_sound(_asked(said, rows), [voice.name for voice in said]) for rows in (fitting, held_out)]
    if not linked:  # those have no common scale on which they could disagree
        terms = replace(terms, allowed=_moving(said, terms, domain.draw(samples, seed + 4), seed))
    return Target(
        name,
        Sample(fitting, terms.columns(fitting), values[0]),
        Sample(held_out, terms.columns(held_out), values[1]),
        None if beyond is None else _beyond(said, terms, beyond),
        Functions(domain.names, partial(_asked, said), _slopes(said), domain.draw, domain.free),
    )


def _asked(said: Sequence[Voice], rows: Rows) -> Float[np.ndarray, "lineages samples"]:
    return np.stack([voice.values(rows) for voice in said])


def _slopes(said: Sequence[Voice]) -> Callable[[Rows], Float[np.ndarray, "lineages samples inputs"]] | None:
    slopes = [voice.slopes for voice in said if voice.slopes is not None]
    return (lambda rows: np.stack([slope(rows) for slope in slopes])) if len(slopes) == len(said) else None


def _sound(
    values: Float[np.ndarray, "lineages samples"], names: Sequence[str]
) -> Float[np.ndarray, "lineages samples"]:
    """Demand finite values that vary."""
    for one, name in zip(values, names, strict=True):
        wrong = int((~np.isfinite(one)).sum())
        if wrong:
            raise BadInput(
                f"{name} is NaN or infinite at {wrong} of {len(one)} rows",
                hint="leave those rows out, or narrow the ranges to where it is defined",
            )
        if np.ptp(one) == 0:
            raise BadInput(f"{name} is {one[0]:g} at every row", hint="leave it out, or ask where it varies")
    return values


def _beyond(said: Sequence[Voice], terms: Terms, rows: Rows) -> Sample | None:
    """Ask beyond where the functions were to be asked, as far as they are defined there."""
    inputs = dict(zip(terms.names, rows.T, strict=True))
    columns = [evaluate(formula, inputs) for formula in terms.derived.values()]
    values = _asked(said, rows)
    sound = np.isfinite(np.vstack([values, *columns])).all(axis=0)
    return Sample(rows[sound], terms.columns(rows[sound]), values[:, sound]) if sound.sum() >= FEWEST else None


def _moving(said: Sequence[Voice], terms: Terms, rows: Rows, seed: int) -> tuple[str, ...]:
    """Screen the variables: one whose effect is below what the functions disagree by cannot be in a law.

    What is derived is in as far as one of the inputs that it is made of is.
    """
    values, random = _asked(said, rows), np.random.default_rng(seed)
    moved = []
    for column in range(rows.shape[1]):
        changed = rows.copy()
        changed[:, column] = random.permutation(rows[:, column])
        moved.append(consensus(_asked(said, changed)))
    sizes = relevance(consensus(values), np.stack(moved))
    noise = disagreement(values) if len(said) > 1 else NOTHING * float(consensus(values).std())
    kept = {name for name, size in zip(terms.names, sizes, strict=True) if not size <= noise}
    kept |= {name for name, formula in terms.derived.items() if kept.intersection(variables_of(formula))}
    return tuple(name for name in terms.allowed if name in kept)
