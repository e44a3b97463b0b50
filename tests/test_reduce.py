"""Laws come out of functions that may be asked, from lineages that each know them with mistakes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.distil import Distillation, distil
from consilience.analysis.distillation.link import canonical, fit_link, scored
from consilience.analysis.distillation.reduce import bare, reduce, rounded
from consilience.analysis.distillation.target import Sample, Target
from consilience.analysis.formulas.expression import Expression, evaluate, variables
from consilience.analysis.formulas.fit import fit
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import equivalent

WIDE = dict.fromkeys(("u", "v", "w", "x", "y"), (1.0, 5.0))
SIGNED = dict.fromkeys(("u", "v", "w", "x", "y"), (-2.0, 2.0))

LAWS = {
    "a distance": ("sqrt((u - v)**2 + (x - y)**2)", WIDE),
    "a sum in a product": ("u*(v + w*x*sin(y))", WIDE),
    "a quotient of sums": ("(u*v + w*x)/(u + w)", {name: WIDE[name] for name in "uvwx"}),
    "a square root of a split": ("sqrt(u**2 + v**2 - 2*u*v*cos(x - y))", {name: WIDE[name] for name in "uvxy"}),
    "an exponential": ("u*exp(-v*w/x)", dict.fromkeys("uvwx", (1.0, 3.0))),
    "an offset": ("u*(1 + v*cos(w))", {name: WIDE[name] for name in "uvw"}),
    "a sum of powers": ("u*(v**2 + w**2)*x**2/4", dict.fromkeys("uvwx", (1.0, 3.0))),
}


def box_of(law: str, box: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {name: box[name] for name in sorted(variables(parse(law)))}


def is_exact(found: Expression, law: str, box: Mapping[str, tuple[float, float]]) -> bool:
    """Whether the numbers of what was found can be set so that it is the law, near where they are."""
    random = np.random.default_rng(7)
    columns = {name: random.uniform(*ends, 800) for name, ends in box.items()}
    truth = evaluate(parse(law), columns)
    return fit(found, columns, truth, steps=80).error < 1e-6 * truth.std()


def asked(law: str, box: Mapping[str, tuple[float, float]], *, seed: int = 0, mistake: float = 0.003) -> Distillation:
    target = planted([law] * 5, seed=seed, mistake=mistake, box=box_of(law, box), rows=300, asked=True)
    return distil(target, engine=None, restarts=0, evaluations=0, seed=seed)


QUICK = ("a distance", "an exponential", "a sum of powers")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LAWS])
def test_laws_are_recovered_by_asking(name: str) -> None:
    law, box = LAWS[name]
    found = asked(law, box)
    assert found.status == "equation"
    assert is_exact(found.chosen.expression, law, box_of(law, box))


def test_variables_that_do_not_matter_are_left_out() -> None:
    target = planted(["u*v + 0*w"] * 5, seed=1, mistake=0.003, box={n: WIDE[n] for n in "uvw"}, asked=True)
    assert all(variables(one) == ("u", "v") for one in reduce(target, seed=0)[:3])


def test_what_cannot_be_asked_is_not_reduced() -> None:
    assert reduce(planted(["u*v"] * 3, seed=0, box={n: WIDE[n] for n in "uv"}), seed=0) == []


def test_the_same_seed_gives_the_same_formulas() -> None:
    target = planted(["u/(v + w)"] * 4, seed=2, mistake=0.003, box={n: WIDE[n] for n in "uvw"}, asked=True)
    assert reduce(target, seed=5) == reduce(target, seed=5)


def linked(law: str, box: Mapping[str, tuple[float, float]], *, seed: int = 0) -> Target:
    """Lineages that know a law up to a monotone function each, some of them falling."""
    target = planted([law] * 4, seed=seed, mistake=0.003, box=box_of(law, box), rows=400, asked=True)
    assert target.functions is not None
    scale = target.fit.values.std()
    steepness, signs = np.array([0.5, 1.0, 1.5, 0.8])[:, None], np.array([1.0, -1.0, 1.0, -1.0])[:, None]
    known = target.functions.values

    def hidden(values: np.ndarray) -> np.ndarray:
        return np.asarray(signs * (np.tanh(steepness * values / scale) * 3 + values / scale))

    def on(sample: Sample) -> Sample:
        return replace(sample, values=hidden(sample.values))

    functions = replace(target.functions, values=lambda rows: hidden(known(rows)))
    return replace(target, fit=on(target.fit), held_out=on(target.held_out), functions=functions, linked=True)


@pytest.mark.parametrize(
    "law",
    [
        "x**2 + 2*y**2",
        "u*v - x*y",
        *(
            pytest.param(law, marks=pytest.mark.slow)
            for law in ("y**2/2 + sin(x)", "x**2 + sin(u + v)", "exp(u - v) - 3*x")
        ),
    ],
)
def test_laws_are_recovered_up_to_a_link(law: str) -> None:
    target = linked(law, SIGNED)
    found = distil(target, engine=None, restarts=0, evaluations=0, seed=0)
    assert found.status == "equation"
    random = np.random.default_rng(3)
    columns = {name: random.uniform(*SIGNED[name], 800) for name in target.fit.columns}
    truth, told = (evaluate(one, columns) for one in (parse(law), found.chosen.expression))
    assert abs(np.corrcoef(np.argsort(np.argsort(truth)), np.argsort(np.argsort(told)))[0, 1]) > 0.999


def test_links_leave_the_lineages_on_one_scale() -> None:
    target = linked("u*v - x*y", SIGNED)
    values = scored(target).fit.values
    assert np.corrcoef(values).min() > 0.999
    assert np.abs(values - values.mean(axis=0)).max() < 0.2


def test_a_link_is_monotone_and_goes_on_beyond_its_ends() -> None:
    x = np.linspace(-2.0, 2.0, 300)
    link = fit_link(x, np.tanh(x) + 0.05 * np.sin(40 * x))
    told = link(np.linspace(-2.3, 2.3, 500))
    assert np.all(np.diff(told) >= 0)
    assert np.abs(link(x) - np.tanh(x)).max() < 0.06
    assert fit_link(np.zeros(300), x)(np.zeros(2)) == pytest.approx(x.mean())


@pytest.mark.parametrize(
    ("formula", "without"),
    [("3*exp(x + 2*y) - 1", "x + 2*y"), ("2*x**2 + 4*y", "x**2 + 2*y"), ("log(5 - x*y)", "x*y"), ("sqrt(x)/7", "x")],
)
def test_what_a_link_makes_up_for_is_left_out(formula: str, without: str) -> None:
    assert equivalent(canonical(parse(formula)), parse(without))


def test_offset_and_factor_are_stripped() -> None:
    assert bare(parse("3*sin(x) + 2")) == parse("sin(x)")
    assert bare(parse("x/(x + 1)")) == parse("x/(x + 1)")


def test_numbers_are_rounded_to_simple_ones_only_when_near() -> None:
    assert rounded(parse("2.0004*x - 0.73*y")) == parse("2*x - 0.73*y")
