"""What comes out of distilling plain functions: the law with its evidence, to read, to run and to show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...zoo.errors import NotFound
from ..formulas.equation import (
    DIGITS,
    EquationRecord,
    Interval,
    Range,
    constants_in_words,
    evidence,
    formula,
    formula_latex,
    found_by,
)
from ..formulas.expression import Expression, evaluate, substitute
from ..formulas.expression import variables as variables_of
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from .distil import Distillation
from .distil_evidence import Link, Support
from .domain import rows_of
from .judge import Candidate, Estimate, Evidence
from .target import Target

if TYPE_CHECKING:
    import sympy
    from matplotlib.figure import Figure

    from ..formulas.formula import Formula
    from ..formulas.torch_formula import TorchFormula

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
    numbers set free, which are called as in `skeleton`; `evidence` and `support` are what speaks for it, and what
    against it. `functions` names those that were asked, `inputs` what they take, from which `derived` variables are
    computed. With `linked` the law holds up to a monotone function L of each function's own. `engine` is what found it:
    ladder, reducer, or the engine that searched; `unused` an engine that was asked for by name and did not.
    """

    name: str
    status: str
    reason: str
    equation: Expression | None
    skeleton: Expression
    constants: tuple[Estimate, ...]
    front: tuple[FrontMember, ...]
    evidence: Evidence
    support: Support
    functions: tuple[str, ...]
    inputs: tuple[str, ...]
    derived: Mapping[str, Expression]
    record: EquationRecord
    linked: bool = False
    engine: str = ""
    searched: str = ""
    unused: str = ""

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
        from ..pictures.plot_front import FrontPoint, front

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
        lines = [*self._words(), *constants_in_words(self.record)]
        return "\n".join([self._headline(), *(f"  {line}" for line in lines)])

    def _repr_latex_(self) -> str:
        return f"${self._mathematics()}$" if self.equation is not None else ""

    def _repr_html_(self) -> str:
        mathematics = f"<p>$\\displaystyle {escape(self._mathematics())}$</p>" if self.equation is not None else ""
        words = "".join(f"<li>{escape(line)}</li>" for line in self._words())
        return f"{mathematics}<p><code>{escape(self._headline())}</code></p><ul>{words}</ul>{self._table()}"

    def _mathematics(self) -> str:
        left, _, right = formula_latex(self.record).partition(" = ")
        return rf"{left} = L\left({right}\right)" if self.linked else f"{left} = {right}"

    def _headline(self) -> str:
        if self.equation is None:
            return f"{self.name}: no equation"
        right = formula(self.record, digits=DIGITS)
        return f"{self.name} = L({right})" if self.linked else f"{self.name} = {right}"

    def _words(self) -> list[str]:
        link = "L is monotone, another one for each function" if self.linked and self.equation is not None else ""
        doubt = f"ambiguous: {self.reason}" if self.status == "ambiguous" else self.reason
        told = [*evidence(self.record), *_said(self.support, self.functions), self._finder()]
        return [*filter(None, (doubt, link, *told))]

    def _finder(self) -> str:
        if self.equation is not None:
            return found_by(self.engine, self.searched, unused=self.unused)
        return f"{self.unused} did not search" if self.unused else ""

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


def _said(support: Support, functions: Sequence[str]) -> Iterator[str]:
    """Say what else speaks for the equation, and what against it."""
    if math.isfinite(support.gradient_agreement):
        yield f"its gradient points as the functions' do: mean cosine {support.gradient_agreement:.4f}"
    if math.isfinite(support.stability):
        yield f"of other draws of functions and points {support.stability:.0%} choose the same form"
    for one in support.dissenters:
        yield f"{functions[one.lineage]} lies {one.ratio:.2g} times as far from it as the others do (p = {one.p:.2g})"
    for rival in support.rivals:
        if rival.status == "ambiguous":
            yield f"{to_text(parse(rival.expression), digits=4)} fits as well"
    yield from (_link(link, functions) for link in support.links if link.kind == "affine")


def _link(link: Link, functions: Sequence[str]) -> str:
    factor, offset = link.parameters
    return f"{functions[link.lineage]} says {factor:.5g} times that, and {offset:.5g}"


def law_of(
    result: Distillation,
    support: Support,
    target: Target,
    *,
    functions: Sequence[str],
    inputs: Sequence[str],
    derived: Mapping[str, Expression],
    asked: str = "",
) -> Law:
    """Say what a distillation found in a form that people use; `asked` is the engine that was named."""
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
        support=support,
        functions=tuple(functions),
        inputs=tuple(inputs),
        derived=derived,
        record=_record(result, target),
        linked=target.linked,
        engine=result.chosen.source if found else "",
        searched=result.searched,
        unused="" if result.searched else asked,
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
        skeleton=str(result.skeleton),
        variables=tuple(
            Range(name, "", float(columns[name].min()), float(columns[name].max()))
            for name in variables_of(chosen.expression)
        ),
        constants=tuple(Interval(e.value, e.low, e.high, e.exact is not None, e.name) for e in result.estimates),
    )
