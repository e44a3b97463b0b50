"""The oracles of the cases of distillation know a law when they see it, and what only looks like it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "data" / "recipes"))

from laws import CONCEPTS, FEYNMAN, LAWS, SYMTORCH  # noqa: E402
from oracle import exact, exact_up_to_link  # noqa: E402

from consilience.analysis.parsing import parse  # noqa: E402

ALL = {**LAWS, **CONCEPTS, **SYMTORCH}
HEAT = SYMTORCH["heat"]


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
