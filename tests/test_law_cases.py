"""The oracles of the cases of distillation know a law when they see it; its zoos know it, and it comes out of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "data" / "recipes"))

from distil_cases import CACHE, CURVE, Group, Question, curve, curve_questions, feynman, notebooks  # noqa: E402
from law_cases import zoo_target  # noqa: E402
from laws import CONCEPTS, FEYNMAN, LAWS, SYMTORCH  # noqa: E402
from mixture_units import is_mixture, mixture_target  # noqa: E402
from oracle import directions, exact, exact_up_to_link  # noqa: E402
from recovered import Outcome  # noqa: E402

from consilience.analysis.formulas.parsing import parse  # noqa: E402

ALL = {**LAWS, **CONCEPTS, **SYMTORCH}
ZOOS = ROOT / "data"


@pytest.mark.parametrize("key", sorted(ALL))
def test_every_law_is_itself(key: str) -> None:
    law = ALL[key]
    assert exact(law.expression, law.expression, law.box)
    assert exact_up_to_link(law.expression, law.expression, law.box)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("I.8.14", "sqrt((x1 - x2)**2 + 1.001*(y1 - y2)**2)"),
        ("I.8.14", "sqrt(x1**2 + x2**2 - 2*x1*x2 + (y1 - y2)**2)"),
        ("I.10.7", "1.0004*m*c/sqrt(c**2 - 0.999*v**2)"),
        ("I.29.16", "sqrt((x1 - x2)**2 + 4.003*x1*x2*sin(0.4998*theta1 - theta2/2)**2)"),
        ("I.34.8", "1.0002*q*v*B*p**-0.998"),
        ("I.44.4", "k*T*n*(log(V2) - 1.001*log(V1))"),
        ("III.17.37", "beta + alpha*beta*sin(1.0005*theta + 1.5709)"),
        ("regression", "x0**2 + 2.996*sin(x4) - 3.999"),
        ("heat", "exp(-1.97297*t)*sin(pi*x)"),
        ("heat", "exp(-1.97297*t)*sin(3.1402*x)"),
    ],
)
def test_a_law_written_otherwise_is_the_law(key: str, found: str) -> None:
    assert exact(parse(found), ALL[key].expression, ALL[key].box)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("I.8.14", "sqrt((x1 - x2)**2 + 1.2*(y1 - y2)**2)"),  # the structure, but a number far off
        ("I.8.14", "abs(x1 - x2) + 0.45*abs(y1 - y2)"),
        ("I.10.7", "m*(1 + 0.5*v**2/c**2 + 0.44*v**4/c**4)"),  # a series
        ("I.10.7", "m*exp(0.54*v**2/c**2)"),
        ("I.34.8", "0.99*q*v*B/(p + 0.02)"),  # a number that the law does not have
        ("I.44.4", "n*k*T*((V2/V1)**0.001 - 1)/0.001"),  # a power that hides a logarithm
        ("III.17.37", "beta*(1 + alpha*(1 - theta**2/2))"),
        ("III.17.37", "beta*(1 + alpha*cos(theta)) + 0.003*alpha"),
        ("III.17.37", "beta + " + " + ".join(["alpha*beta*cos(theta)/4"] * 4)),  # too long
        ("regression", "x0*sin(x0) - 3.76 + 2.64*sin(x4)"),  # what SymTorch chose
        ("regression", "other**2 + 3*sin(x4) - 4"),
        ("heat", "exp(-2.2*t)*sin(pi*x)"),
        ("heat", "exp(-2*t)*sin(pi*x)"),  # snapped to what it is not
        ("heat", "4*x*(1 - x)*exp(-1.974*t)"),
    ],
)
def test_what_looks_like_a_law_is_not_the_law(key: str, found: str) -> None:
    assert not exact(parse(found), ALL[key].expression, ALL[key].box)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("A1", "x1**2 + 1.98*x2**2"),
        ("A1", "log(0.51*x1**2 + x2**2)"),
        ("A", "2.02*x1**2 + 6*x1*x2 + 4*x2**2 - 10.3"),
        ("A", "(x1 + x2)*(x1 + 2.01*x2)"),
        ("B", "exp(x1**2 + 1.01*sin(x2 + x3))"),
        ("C", "x3 - 0.3183*exp(x1 - x2)"),
        ("D", "log(x1) - (x2**2 + x3**2)/2"),
        ("D", "2*log(x1) - x2**2 - x3**2"),
        ("E", "((x3 - x4)**2 + (x5 - x6)**2)/(x1*x2)"),
        ("E", "log(x1*x2) - log((x3 - x4)**2 + 1.01*(x5 - x6)**2)"),
    ],
)
def test_a_concept_is_known_up_to_its_link(key: str, found: str) -> None:
    assert exact_up_to_link(parse(found), CONCEPTS[key].expression, CONCEPTS[key].box)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("A1", "x1**2 + 1.7*x2**2"),
        ("A1", "abs(x1) + 1.4*abs(x2)"),
        ("A", "x1 + 1.4*x2"),
        ("B", "x1**2 + x2 + x3"),
        ("B", "x1**2 + sin(x2)"),
        ("C", "x1 - x2 - pi*x3"),
        ("D", "x1 - 0.4*(x2**2 + x3**2)"),
        ("E", "x1 + x2 - (x3 - x4)**2 - (x5 - x6)**2"),
    ],
)
def test_another_concept_is_another(key: str, found: str) -> None:
    assert not exact_up_to_link(parse(found), CONCEPTS[key].expression, CONCEPTS[key].box)


def test_a_link_alone_makes_no_law() -> None:
    law = FEYNMAN["I.8.14"]
    found = parse("(x1 - x2)**2 + (y1 - y2)**2")
    assert exact_up_to_link(found, law.expression, law.box)
    assert not exact(found, law.expression, law.box)


@pytest.mark.parametrize("key", FEYNMAN)
def test_networks_of_a_zoo_know_their_law(key: str) -> None:
    law = FEYNMAN[key]
    target = zoo_target(ZOOS / "laws" / law.folder)
    truth = law(target.held_out.inputs)
    unexplained = ((target.held_out.values - truth) ** 2).mean(axis=1) / truth.var()
    assert len(unexplained) == 5
    assert unexplained.max() < 3e-5
    assert target.outside is not None


def test_a_zoo_answers_at_any_point_with_slopes() -> None:
    functions = zoo_target(ZOOS / "laws" / "i_24_6", networks=(0, 3)).functions
    assert functions is not None
    rows, step = functions.draw(16, 5), 1e-4 * np.eye(4)[1]
    differences = (functions.values(rows + step) - functions.values(rows - step)) / 2e-4
    assert functions.names == ("m", "w", "w0", "x")
    assert functions.values(rows).shape == (2, 16)
    np.testing.assert_allclose(functions.slopes(rows)[:, :, 1], differences, rtol=1e-6)  # type: ignore[misc]


@pytest.mark.parametrize(("key", "cosine"), [("A1", 0.999), ("A", 0.999), ("B", 0.999), ("D", 0.998), ("E", 0.98)])
def test_classifiers_slope_as_their_concept_where_they_are_in_doubt(key: str, cosine: float) -> None:
    concept = CONCEPTS[key]
    target = zoo_target(ZOOS / "concepts" / concept.folder, linked=True)
    assert target.linked
    assert target.functions is not None
    assert target.functions.slopes is not None
    rows = target.functions.draw(2048, 9)
    slopes = target.functions.slopes(rows)
    slopes /= np.linalg.norm(slopes, axis=2, keepdims=True)
    wanted = directions(concept.expression, dict(zip(concept.names, rows.T, strict=True)), concept.names)
    near = np.abs(target.functions.values(rows)) < 4
    assert np.abs((slopes * wanted).sum(axis=2))[near].mean() > cosine


def test_units_of_bottlenecks_are_mixtures() -> None:
    target = mixture_target(ZOOS / "symtorch" / "mixtures")
    assert target.fit.values.shape == (5, 512)
    assert np.corrcoef(target.fit.values).min() > 0.98
    assert is_mixture(parse("0.3 + 1.5*x0**2 - 1.1*sin(x4)"), target)
    assert is_mixture(parse("0.301 + 1.499*x0**1.999 - 1.101*sin(1.001*x4)"), target)
    assert not is_mixture(parse("0.3 + 1.5*x0**2 - 0.8*x4"), target)
    assert not is_mixture(parse("0.3 + 1.5*x0**2"), target)
    assert not is_mixture(parse("1.5*x0**2 - 1.1*sin(x4) + 0.1*x1"), target)


def test_a_section_tells_what_came_out() -> None:
    group = Group("B9", "Laws", "Two laws.", lambda cache: [], wanted=2)
    right = Outcome(True, "equation", "m*v", 3, 1.02, 4.0)
    wrong = Outcome(False, "no_equation", "m + v", 3, None, 9.0)
    questions = [Question("I.1", "m*v", lambda seed: right), Question("I.2", "m/v", lambda seed: wrong)]
    text = group.section(questions, [[right], [wrong]])
    assert "### B9. Laws: 1 of 2, 2 wanted: in part" in text
    assert "| I.1 | `m*v` | yes | `m*v` | 3 | 1.02 | 4 |" in text
    assert "| I.2 | `m/v` | **no** | no equation; nearest `m + v` | 3 |  | 9 |" in text


def test_a_curve_tells_how_many_laws_came_out() -> None:
    questions = curve_questions(CACHE)
    hit = Outcome(True, "equation", "m*v", 3, 1.0, 1.0)
    found = [[replace(hit, hit=number < len(CURVE) + 2)] for number in range(len(questions))]
    text = "\n".join(curve(questions, found))
    assert "| 1 − R² | 1 network | 2 networks | 5 networks | 10 networks | 20 networks |" in text
    assert "| 1e-03 | 6 | 2 | 0 | 0 | 0 |" in text
    assert "| 1e-05 | 0 | 0 | 0 | 0 | 0 |" in text


LOOK_ALIKE = pytest.mark.xfail(reason="over v/c up to 2/3 a series in v/c is as near as these networks' mistakes")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=LOOK_ALIKE if name == "I.10.7" else ())
        for name in ("regression", "mixtures", "heat", *FEYNMAN)
    ],
)
def test_laws_come_out_of_networks_on_a_fresh_seed(name: str) -> None:
    cases = [*notebooks(CACHE), *feynman(CACHE)]
    assert next(one for one in cases if one.name == name).ask(3).hit
