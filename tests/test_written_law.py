"""Laws of vision on paper: short symbols, few digits, long parts under names, and the same values."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.analysis.formulas.expression import evaluate, substitute, variables
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.printing import to_latex, to_text
from consilience.analysis.vision.written_law import form_words, own_numbers, rounded, with_symbols, written_law

TURNED = "(-0.99999*(x - 0.02) + 0.002*(y + 0.008))"
DERIVATIVE = f"0.85*({TURNED}/1.125)*exp(-{TURNED}**2/2.5 - (-0.99999*(y + 0.008) - 0.002*(x - 0.02))**2/1.04)"
RECTIFIED = "0.5*((a*cos(hue - hue0) + b) + abs((a*cos(hue - hue0) + b)))"
VON_MISES = "a*exp(0.957792713*(cos(2*(angle - angle0)) - 1)) + b"


def test_long_parts_have_names_and_the_law_its_values() -> None:
    law = written_law(parse(DERIVATIVE))
    assert [name for name, _ in law.parts] == ["u", "v"]
    assert law.texts[0] == "0.85*(u/1.12)*exp(-u**2/2.5 - v**2/1.04)"
    whole = law.whole
    for name, part in reversed(law.parts):
        whole = substitute(whole, {name: part})
    places = np.meshgrid(np.arange(-2.0, 3.0), np.arange(-2.0, 3.0))
    given = {"x": places[0].ravel(), "y": places[1].ravel()}
    np.testing.assert_allclose(evaluate(whole, given), evaluate(parse(DERIVATIVE), given), atol=0.01)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (VON_MISES, "a*exp(0.958*(cos(2*(theta - theta0)) - 1)) + b"),
        ("exp(-(x + 0.234567)**2/2.6851)", "exp(-(x + 0.235)**2/2.69)"),
        ("0.99999*(x + 1.0001*y)", "x + y"),
        ("-1*(x + 2) + y/1", "-(x + 2) + y"),
        ("frequency + f", "frequency + f"),
        ("u*(x + y + 1)**2", "u*(x + y + 1)**2"),
        ("cos(2*pi*u + phase)", "cos(2*pi*u + phase)"),
        ("1", "1"),
    ],
)
def test_symbols_digits_and_ones(text: str, short: str) -> None:
    law = written_law(parse(text))
    assert law.texts == (short,)
    assert parse(short) == law.whole


def test_a_rectifier_is_a_maximum_on_paper() -> None:
    law = written_law(parse(RECTIFIED))
    assert law.latex == (r"\max\left(0, a \cos\left(h - h_{0}\right) + b\right)",)
    assert to_latex(parse("0.5*(x + abs(y))")) == r"0.5 \left(x + \left|y\right|\right)"


def test_what_is_each_unit_s_own() -> None:
    assert own_numbers(parse(VON_MISES)) == ("a", "angle0", "b")
    assert own_numbers(parse(DERIVATIVE)) == ()
    assert own_numbers(parse("cos(2*pi*u + phase)*exp(-v**2)"), of_kernels=True) == ("phase",)


def test_nothing_is_lost_without_long_parts() -> None:
    expression = parse("a*contrast1**2/(b + contrast2**2)")
    assert written_law(expression).parts == ()
    assert variables(with_symbols(expression)) == variables(expression)
    assert to_text(rounded(parse("0.123456*x"), digits=2)) == "0.12*x"


@pytest.mark.parametrize(
    ("form", "words"), [("difference_of_gaussians", "difference of Gaussians"), ("axis_gabor", "axis Gabor"), ("", "")]
)
def test_forms_are_called_what_people_call_them(form: str, words: str) -> None:
    assert form_words(form) == words
