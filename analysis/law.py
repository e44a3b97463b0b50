"""What comes out of distilling plain functions: the law with its evidence, to read, to run and to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..zoo.errors import NotFound
from .distil import Distillation
from .domain import rows_of
from .equation import DIGITS, EquationRecord, Interval, Range, constant_in_words, evidence, formula, formula_latex
from .expression import Expression, evaluate, substitute
from .expression import variables as variables_of
from .judge import Candidate, Estimate, Evidence
from .printing import to_text
from .target import Target

if TYPE_CHECKING:
    import sympy
    from matplotlib.figure import Figure

    from .formula import Formula
    from .torch_formula import TorchFormula

SHOWN = 12
"""So many formulas of the front stand in a notebook."""


class FrontMember(NamedTuple):
    """The best formula of its size; the peer ratio and its standard error are NaN where there are no peers."""

    expression: Expression
    complexity: int
    error: float
    peer_ratio: float
    peer_ratio_error: float
    chosen: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Law:
    """What functions agree on, as an equation, with the evidence for it.

    `equation` is None where no formula is as good a witness as the functions' peers are; `reason` says why, or what
    to be careful about. `front` holds the best formula of each size, the chosen one marked. `constants` are its
    numbers set free, which are called as in `skeleton`. `inputs` are the functions' own, from which `derived`
    variables are computed. With `linked` the law holds up to a monotone function of each function's own.
    """

    name: str
    status: str
    reason: str
    equation: Expression | None
    skeleton: Expression
    constants: tuple[Estimate, ...]
    front: tuple[FrontMember, ...]
    evidence: Evidence
    inputs: tuple[str, ...]
    derived: Mapping[str, Expression]
    record: EquationRecord
    linked: bool = False

    @property
    def peer_ratio(self) -> float:
        """How much the equation errs on a function left out, over what the others' mean errs; NaN for one alone."""
        return self.record.peer_ratio

    def latex(self, *, digits: int | None = None) -> str:
        """Write the right-hand side as LaTeX. Raises NotFound without an equation, as all below do."""
        return self._found().latex(digits=digits)

    def sympy(self) -> sympy.Expr:
        """Give the right-hand side as a SymPy object."""
        return self._found().sympy()

    def numpy(self, arguments: Sequence[str] | None = None) -> Formula:
        """Make a function of NumPy arrays; `arguments` are by default the variables in the equation."""
        return self._found().numpy(arguments)

    def torch(self, arguments: Sequence[str] | None = None) -> TorchFormula:
        """Make a PyTorch module whose parameters are the free numbers."""
        return self._found().torch(arguments)

    def jax(self, arguments: Sequence[str] | None = None) -> Formula:
        """Make a function of JAX arrays. Raises MissingExtra where JAX is not installed."""
        return self._found().jax(arguments)

    def python(self, name: str | None = None, arguments: Sequence[str] | None = None) -> str:
        """Write the source of a Python function, called as the law is."""
        return self._found().python(name or self.name, arguments)

    def c(self, name: str | None = None, arguments: Sequence[str] | None = None) -> str:
        """Write the source of a C99 function, called as the law is."""
        return self._found().c(name or self.name, arguments)

    def predict(self, inputs: Any) -> Float[np.ndarray, " samples"]:
        """Compute the equation for rows, as they were given to `distil`: an array, a frame, a dict of columns."""
        rows, _ = rows_of(inputs, self.inputs)
        whole = substitute(self._found(), self.derived)
        return evaluate(whole, dict(zip(self.inputs, rows.T, strict=True)))

    def plot(self) -> Figure:
        """Draw the front, the chosen formula marked."""
        from .plot_front import FrontPoint, front

        points = [
            FrontPoint(
                m.complexity, m.peer_ratio, m.peer_ratio_error, m.error, to_text(m.expression, digits=4), m.chosen
            )
            for m in self.front
        ]
        return front(points, target=self.name)

    def _found(self) -> Expression:
        if self.equation is None:
            raise NotFound(f"there is no equation for {self.name}: {self.reason}", hint="law.front has what came near")
        return self.equation

    def __repr__(self) -> str:
        return f"<Law {self._headline()}>"

    def __str__(self) -> str:
        lines = [*self._words(), *(f"constant {constant_in_words(constant)}" for constant in self.record.constants)]
        return "\n".join([self._headline(), *(f"  {line}" for line in lines)])

    def _repr_latex_(self) -> str:
        return f"${formula_latex(self.record)}$" if self.equation is not None else ""

    def _repr_html_(self) -> str:
        mathematics = (
            f"<p>$\\displaystyle {escape(formula_latex(self.record))}$</p>" if self.equation is not None else ""
        )
        words = "".join(f"<li>{escape(line)}</li>" for line in self._words())
        return f"{mathematics}<p><code>{escape(self._headline())}</code></p><ul>{words}</ul>{self._table()}"

    def _headline(self) -> str:
        if self.equation is None:
            return f"{self.name}: no equation"
        return f"{self.name} = {formula(self.record, digits=DIGITS)}"

    def _words(self) -> list[str]:
        link = "holds up to a monotone function of each network's own" if self.linked else ""
        doubt = "" if self.status in ("equation", "no_equation") else self.status
        return [*filter(None, (doubt, link, self.reason)), *evidence(self.record)]

    def _table(self) -> str:
        head = "<tr><th>nodes</th><th>formula</th><th>error</th><th>peer ratio</th></tr>"
        rows = "".join(map(_row, self.front[:SHOWN]))
        more = len(self.front) - SHOWN
        return f"<table>{head}{rows}</table>" + (f"<p>and {more} more in law.front</p>" if more > 0 else "")


def _row(member: FrontMember) -> str:
    ratio = f"{member.peer_ratio:.3g} ± {member.peer_ratio_error:.2g}" if math.isfinite(member.peer_ratio) else ""
    text = escape(to_text(member.expression, digits=4))
    shown = f"<b><code>{text}</code></b>" if member.chosen else f"<code>{text}</code>"
    return f"<tr><td>{member.complexity}</td><td>{shown}</td><td>{member.error:.3g}</td><td>{ratio}</td></tr>"


def law_of(result: Distillation, target: Target, *, inputs: Sequence[str], derived: Mapping[str, Expression]) -> Law:
    """Say what a distillation found in a form that people use."""
    found = result.status != "no_equation"
    return Law(
        name=target.name,
        status=result.status,
        reason=result.reason,
        equation=result.chosen.expression if found else None,
        skeleton=result.skeleton,
        constants=result.estimates if found else (),
        front=tuple(_member(candidate, chosen=found and candidate == result.chosen) for candidate in result.front),
        evidence=result.evidence,
        inputs=tuple(inputs),
        derived=derived,
        record=_record(result, target),
        linked=target.linked,
    )


def _member(candidate: Candidate, *, chosen: bool) -> FrontMember:
    ratio = candidate.ratio
    error = ratio.error if ratio else math.nan
    return FrontMember(
        candidate.expression, candidate.complexity, candidate.error, ratio.value if ratio else math.nan, error, chosen
    )


def _record(result: Distillation, target: Target) -> EquationRecord:
    """Write it down as a line of a catalogue, which knows how to say its evidence and how to export itself."""
    chosen, many = result.chosen, len(target.fit.values)
    record = EquationRecord(
        id=target.name,
        feature="",
        title=f"what {many} functions agree on" if many > 1 else "one function",
        status=result.status,
        target_name=target.name,
        fidelity=result.evidence.fidelity,
        peer_ratio=chosen.ratio.value if chosen.ratio else math.nan,
        peer_ratio_error=chosen.ratio.error if chosen.ratio else math.nan,
        peer_agreement=result.evidence.peer_agreement,
        extrapolation=result.evidence.extrapolation,
        networks=many,
        lineages=many,
        note=result.reason,
    )
    if result.status == "no_equation":
        return record
    columns = target.fit.columns
    return replace(
        record,
        expression=chosen.expression,
        complexity=chosen.complexity,
        variables=tuple(
            Range(name, "", float(columns[name].min()), float(columns[name].max()))
            for name in variables_of(chosen.expression)
        ),
        constants=tuple(Interval(e.value, e.low, e.high, e.exact is not None, e.name) for e in result.estimates),
    )
