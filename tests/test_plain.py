"""Laws of plain functions and arrays, as a user without a zoo meets them; what does not fit gets a clear word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from torch import nn

import consilience
from consilience.analysis.distillation.callables import voices
from consilience.analysis.distillation.law import Law
from consilience.analysis.distillation.plain import distil
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import compare
from consilience.analysis.reports.export import export
from consilience.zoo.errors import BadFormula, BadInput, NotFound

BOX = {"m1": (1.0, 4.0), "m2": (1.0, 4.0), "r": (1.0, 3.0)}
FORCE = parse("m1*m2/r**2")
Function = Callable[[np.ndarray], np.ndarray]


def smooth(seed: int, *, size: float = 0.01) -> Function:
    """A mistake as networks make them."""
    random = np.random.default_rng(seed)
    directions, phases = random.normal(size=(30, 3)), random.uniform(0, 2 * np.pi, 30)
    return lambda rows: size * np.sqrt(2 / 30) * np.cos(rows @ directions.T + phases).sum(axis=1)


def witness(seed: int) -> Function:
    mistake = smooth(seed)
    return lambda rows: rows[:, 0] * rows[:, 1] / rows[:, 2] ** 2 + mistake(rows)


class Module(nn.Module):
    """The law as a module with a mistake of its own, and dropout that only training switches on."""

    def __init__(self, seed: int, *, dtype: torch.dtype = torch.float32, wide: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.mistake = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).to(dtype)
        self.wide = wide

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        m1, m2, r = rows.unbind(1)
        force = (m1 * m2 / r**2)[:, None] + 0.001 * self.mistake(rows)
        return torch.cat([torch.zeros_like(force), force], dim=1) if self.wide else force


def rows_of(samples: int = 600, seed: int = 0) -> np.ndarray:
    low, high = np.array([*BOX.values()]).T
    return np.random.default_rng(seed).uniform(low, high, (samples, 3))


def ladder(functions: Any, inputs: Any, **settings: Any) -> Law:
    """Distil without a search, which these laws do not need."""
    return distil(functions, inputs, **{"engine": "none", "samples": 256, "name": "force", **settings})


def is_force(law: Law) -> bool:
    return law.equation is not None and compare(law.equation, FORCE) == "proved"


def near_force(law: Law) -> bool:
    """Whether it is the law but for numbers that the modules' common mistakes move."""
    rows = rows_of(100)
    expected = rows[:, 0] * rows[:, 1] / rows[:, 2] ** 2
    return law.record.complexity <= 9 and np.allclose(law.predict(rows), expected, rtol=0.01)


@pytest.fixture(scope="module")
def law() -> Law:
    return ladder([witness(seed) for seed in range(6)], BOX)


def test_numpy_functions_in_a_box(law: Law) -> None:
    assert is_force(law)
    said = str(law).splitlines()
    free = said.index(f"  with its numbers set free: force = {law.skeleton}")
    assert said[free + 1].startswith("  constant c1 = ")
    assert 0.7 < law.peer_ratio < 1.3
    assert law.evidence.extrapolation > 0.999
    assert [member.chosen for member in law.front].count(True) == 1
    factor, exponent = law.constants
    assert factor.low < 1 < factor.high
    assert exponent.low < 2 < exponent.high


def test_an_engine_that_was_not_needed_is_no_label(law: Law) -> None:
    rows = rows_of()
    asked = ladder(np.stack([witness(seed)(rows) for seed in range(6)]), rows, names=list(BOX), engine="pysr")
    assert is_force(asked)
    assert (asked.engine, asked.searched, asked.unused) == ("ladder", "", "pysr")
    assert "found by the ladder; pysr was not needed" in str(asked)
    assert f"found by the {law.engine}, without a search" in str(law)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_modules_answer_in_their_own_precision_and_with_gradients(dtype: torch.dtype) -> None:
    modules = [Module(seed, dtype=dtype) for seed in range(5)]
    (voice, *_) = voices(modules, output=None, names=list(BOX), rows=rows_of(4))
    assert voice.slopes is not None
    rows, step = rows_of(50), np.array([0, 0, 1e-3])
    slopes = (voice.values(rows + step) - voice.values(rows - step)) / 2e-3
    np.testing.assert_allclose(voice.slopes(rows)[:, 2], slopes, rtol=0.01, atol=0.01)
    assert near_force(ladder(modules, BOX))
    assert all(part.training for module in modules for part in module.modules())
    assert all(parameter.grad is None for module in modules for parameter in module.parameters())


def test_one_of_several_outputs() -> None:
    modules = [Module(seed, wide=True) for seed in range(4)]
    assert near_force(ladder(modules, BOX, output=1))
    with pytest.raises(BadInput, match="function 1 gives 2 values for each row") as error:
        ladder(modules, BOX)
    assert error.value.hint == "say which with output=0, 1, …"
    with pytest.raises(BadInput, match="has no output 2"):
        ladder(modules, BOX, output=2)
    with pytest.raises(BadInput, match="function 1 is 0 at every row"):
        ladder(modules, BOX, output=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_regressors_that_were_trained_recover_the_law() -> None:
    rows = np.random.default_rng(0).uniform(1, 3, (200, 2))
    networks = [
        MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs", max_iter=400, random_state=seed)
        for seed in range(5)
    ]
    for network in networks:
        network.fit(rows, rows[:, 0] * rows[:, 1] ** 2)
    law = ladder(networks, rows, names=["a", "b"])
    assert law.equation is not None
    assert compare(law.equation, parse("a*b**2")) == "proved"
    assert law.record.lineages == 5


def test_regressors_fitted_to_named_columns_get_them_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows_of(), columns=list(BOX))
    law = ladder(LinearRegression().fit(frame, 2 * frame["m1"] - frame["r"]), frame)
    np.testing.assert_allclose(law.predict(frame), 2 * frame["m1"] - frame["r"], atol=0.01)


def test_values_alone_at_their_rows() -> None:
    rows = rows_of()
    values = np.stack([witness(seed)(rows) for seed in range(6)])
    assert is_force(ladder(values, rows, names=list(BOX)))
    assert is_force(ladder([*torch.tensor(values)], dict(zip(BOX, rows.T, strict=True))))


@pytest.mark.slow
def test_rows_frames_columns_and_samplers_are_inputs() -> None:
    pandas = pytest.importorskip("pandas")
    rows, said = rows_of(), {f"seed-{seed}": witness(seed) for seed in range(6)}
    frame = pandas.DataFrame(rows, columns=list(BOX)).assign(when="today")
    assert is_force(ladder(said, frame, names=list(BOX)))
    assert is_force(ladder(said, dict(zip(BOX, rows.T, strict=True)), outside=rows_of(256) + 0.5))
    assert is_force(ladder(said, lambda n, rng: rng.uniform(1, 3, (n, 3)), names=list(BOX)))
    law = ladder(said, rows)
    assert law.inputs == ("x0", "x1", "x2")
    assert law.equation is not None
    assert compare(law.equation, parse("x0*x1/x2**2")) == "proved"


def test_one_function_has_no_peers_and_says_so() -> None:
    law = ladder(lambda rows: rows[:, 0] * rows[:, 1] / rows[:, 2] ** 2, BOX)
    assert is_force(law)
    assert "one lineage only" in str(law)
    assert np.isnan(law.peer_ratio)


def test_equations_in_derived_variables() -> None:
    def distant(seed: int) -> Function:
        return lambda rows: 3 / (rows[:, 0] ** 2 + rows[:, 1] ** 2) + smooth(seed, size=1e-3)(rows)

    law = ladder(
        [distant(seed) for seed in range(5)],
        {"x": (1, 3), "y": (1, 3), "z": (1, 3)},
        derived={"d": "sqrt(x**2 + y**2)"},
        variables=["d", "z"],
    )
    assert law.equation is not None
    assert compare(law.equation, parse("3/d**2")) == "proved"
    np.testing.assert_allclose(law.predict([[1, 1, 7], [3, 4, 7]]), [1.5, 0.12], rtol=1e-6)


@pytest.mark.slow
def test_a_law_up_to_a_link_of_each_functions_own() -> None:
    def through(link: Function, seed: int) -> Function:
        mistake = smooth(seed, size=0.003)
        return lambda rows: link(0.1 + rows[:, 0] ** 2 + 2 * rows[:, 1] ** 2 + mistake(rows))

    links = (np.exp, np.log, lambda q: np.tanh(q / 3), lambda q: -(q**1.5))
    box = {"x1": (-1, 1), "x2": (-1, 1), "x3": (-1, 1)}
    law = ladder([through(link, seed) for seed, link in enumerate(links)], box, linked=True, name="logit")
    assert law.equation is not None
    assert compare(law.equation, parse("x1**2 + 2*x2**2")) == "proved"
    assert str(law).startswith("logit = L(x1**2 + 2*x2**2)")
    assert law._repr_latex_() == r"$\mathrm{logit} = L\left(x_{1}^{2} + 2 x_{2}^{2}\right)$"


def test_a_law_runs_and_prints_everywhere(law: Law, tmp_path: Any) -> None:
    rows = rows_of(9)
    expected = rows[:, 0] * rows[:, 1] / rows[:, 2] ** 2
    np.testing.assert_allclose(law.predict(rows), expected, rtol=1e-12)
    np.testing.assert_allclose(law.numpy(list(BOX))(*rows.T), expected, rtol=1e-12)
    np.testing.assert_allclose(law.torch(list(BOX))(*torch.tensor(rows.T)), expected, rtol=1e-12)
    assert law.latex() == r"\frac{m_{1} m_{2}}{r^{2}}"
    assert str(law.sympy()) == "m1*m2/r**2"
    assert "double force(double m1, double m2, double r)" in law.c()
    assert "def force(m1, m2, r):" in law.python()
    assert repr(law) == "<Law force = m1*m2/r**2>"
    assert str(law).splitlines()[0] == "force = m1*m2/r**2"
    assert "peer ratio" in str(law)
    assert law.plot().get_axes()
    export([law.record], format="markdown", path=tmp_path / "law.md")
    assert "m1*m2/r**2" in (tmp_path / "law.md").read_text()


def test_notebooks_show_the_formula_the_evidence_and_the_front(law: Law) -> None:
    page = law._repr_html_()
    assert r"$\displaystyle \mathrm{force} = \frac{m_{1} m_{2}}{r^{2}}$" in page
    assert "<li>peer ratio" in page
    assert page.count("<tr>") == 1 + len(law.front)
    assert "<b><code>m1*m2/r**2</code></b>" in page
    assert law._repr_latex_() == r"$\mathrm{force} = \frac{m_{1} m_{2}}{r^{2}}$"


def test_without_agreement_there_is_no_equation() -> None:
    law = ladder([smooth(seed, size=1.0) for seed in range(6)], BOX)
    assert (law.status, law.equation, law.constants) == ("no_equation", None, ())
    assert law.reason
    assert law.front
    assert not any(member.chosen for member in law.front)
    assert "no equation" in law._repr_html_()
    assert law._repr_latex_() == ""
    for use in (law.latex, law.sympy, law.numpy, law.torch, law.c, lambda: law.predict(rows_of(3))):
        with pytest.raises(NotFound, match="there is no equation for force"):
            use()


HOLES = {"derived": {"d": "log(m1 - 2)"}}


@pytest.mark.parametrize(
    ("functions", "inputs", "settings", "match"),
    [
        (7, BOX, {}, "the function is no function but int"),
        ([], BOX, {}, "no functions"),
        ([witness(0), "net"], BOX, {}, "function 2 is no function but str"),
        (lambda row: row[0] * row[1], BOX, {}, r"gives shape \(3,\) for 2 rows"),
        (lambda row: row[5], BOX, {}, r"the function fails on an array of shape \(2, 3\): index 5"),
        (witness(0), {"m1": (1, 4), "r": (1, 3)}, {}, r"the function fails on an array of shape \(2, 2\): index 2"),
        (witness(0), {"m1": (1, 4), "sin": (1, 2), "r": (1, 3)}, {}, "'sin' is a function and cannot name a variable"),
        (witness(0), BOX, {"name": "exp"}, "'exp' is a function and cannot name"),
        (witness(0), BOX, {"derived": {"sqrt": "m1*2"}}, "'sqrt' is a function and cannot name"),
        (lambda rows: ["a"] * len(rows), BOX, {}, "gives no array of real numbers"),
        (lambda rows: rows[:, 0] + 1j, BOX, {}, "complex numbers"),
        (nn.Linear(5, 1), BOX, {}, r"the function fails on a tensor of shape \(2, 3\)"),
        ({"a": witness(0), "b": lambda rows: np.log(rows[:, 0] - 2.5)}, BOX, {}, "function 'b' is NaN .* of 256 rows"),
        ([witness(0), lambda rows: np.ones(len(rows))], BOX, {}, "function 2 is 1 at every row"),
        (np.ones((2, 30)), rows_of(40), {}, r"values of shape \(2, 30\) for 40 rows"),
        (np.ones((2, 40)), BOX, {}, "values alone can be compared at their rows only"),
        (np.ones((2, 40)), rows_of(40), {"outside": rows_of(40)}, "values alone"),
        (witness(0), rows_of(9), {}, "9 rows are too few"),
        (witness(0), np.full((40, 3), np.nan), {}, "NaN or infinite in 40 of 40 rows"),
        (witness(0), np.ones((4, 4, 4)), {}, r"inputs of shape \(4, 4, 4\)"),
        (witness(0), {"m1": (1, 4), "m2": (4, 1), "r": (1, 3)}, {}, "m2 from 4 to 1 is no range"),
        (witness(0), {"m1": [1.0] * 20, "m2": [1.0] * 20, "r": [1.0] * 9}, {}, "columns do not fit together"),
        (witness(0), {}, {}, "without a single variable"),
        (witness(0), lambda n, rng: rng.random((5, 3)), {}, r"the sampler gives shape \(5, 3\) where 256 rows"),
        (witness(0), rows_of(), {"names": ["a", "b"]}, "2 names for 3 columns"),
        (witness(0), rows_of(), {"names": ["a", "b", "b"]}, "a name stands twice"),
        (witness(0), rows_of(), {"names": ["a", "b", "c d"]}, "'c d' cannot name a variable"),
        (witness(0), BOX, {"names": ["m1", "m3"]}, "inputs have no column 'm3'"),
        (witness(0), BOX, {"name": "the force"}, "'the force' cannot name a variable"),
        (witness(0), BOX, {"variables": ["q"]}, "there is no variable 'q'"),
        (witness(0), BOX, {"derived": {"d": "q*2"}}, "d = q\\*2: there is no input 'q'"),
        (witness(0), BOX, {"derived": {"r": "m1*2"}}, "r is an input already"),
        (
            witness(0),
            BOX,
            {"derived": {"d": "log(m1 - 2)"}},
            r"d = log\(m1 - 2\) is NaN or infinite at \d+ of 256 rows",
        ),
        (witness(0), BOX, {"samples": 3}, "samples = 3 are too few"),
        (witness(0), BOX, {"budget": "huge"}, "there is no budget 'huge'"),
        (witness(0), BOX, {"engine": "magic"}, "there is no engine 'magic'"),
    ],
)
def test_what_does_not_fit_is_told_with_the_remedy(functions: Any, inputs: Any, settings: Any, match: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(BadInput, match=match) as error:
        ladder(functions, inputs, **settings)
    assert error.value.hint
    assert "index 2" not in match or error.value.hint.endswith("inputs have 2, a range or column each")
    assert isinstance(error.value, BadFormula) or "  " not in error.value.what


def test_the_public_verb_takes_functions_or_a_zoo() -> None:
    law = consilience.distil([witness(seed) for seed in range(4)], BOX, engine="none", samples=64)
    assert isinstance(law, consilience.Law)
    with pytest.raises(BadInput, match="functions without inputs"):
        consilience.distil([witness(0)])  # type: ignore[call-overload]
    for wrong in ((["zoo.toml"], {}), ([witness(0), BOX], {"samples": 64})):
        with pytest.raises(BadInput, match="distil has no setting 'engin'") as error:
            consilience.distil(*wrong[0], engin="none", **wrong[1])
        assert error.value.hint == "did you mean 'engine'?"
    with pytest.raises(BadInput, match="a zoo is asked at its own probe"):
        consilience.distil("zoo.toml", rows_of(20))
