"""What many networks learned in common, and its formula.

>>> import consilience                                     # doctest: +SKIP
>>> study = consilience.run("data/gravity/zoo.toml")       # doctest: +SKIP
>>> law = consilience.equations(study)[0]                  # doctest: +SKIP
>>> law.expression.sympy(), law.peer_ratio                 # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.distillation.law import Law
    from .analysis.formulas.equation import EquationRecord
    from .analysis.formulas.expression import Expression
    from .analysis.formulas.parsing import parse
    from .analysis.project.study import Study, open_study
    from .analysis.reports.records import equations, features, networks, query
    from .analysis.reports.show import describe
    from .analysis.stages.check import check
    from .analysis.stages.exact import exact
    from .analysis.stages.run import align, cluster, distil, ingest, probe, run
    from .analysis.stages.stage_export import export_equations
    from .analysis.stages.stage_merge import barrier, merge
    from .analysis.stages.stage_plot import plot
    from .zoo.errors import ConsilienceError

_HOMES = {
    "ConsilienceError": "zoo.errors",
    "EquationRecord": "analysis.formulas.equation",
    "Expression": "analysis.formulas.expression",
    "Law": "analysis.distillation.law",
    "Study": "analysis.project.study",
    "align": "analysis.stages.run",
    "barrier": "analysis.stages.stage_merge",
    "check": "analysis.stages.check",
    "cluster": "analysis.stages.run",
    "describe": "analysis.reports.show",
    "distil": "analysis.stages.run",
    "equations": "analysis.reports.records",
    "exact": "analysis.stages.exact",
    "export_equations": "analysis.stages.stage_export",
    "features": "analysis.reports.records",
    "ingest": "analysis.stages.run",
    "merge": "analysis.stages.stage_merge",
    "networks": "analysis.reports.records",
    "open_study": "analysis.project.study",
    "parse": "analysis.formulas.parsing",
    "plot": "analysis.stages.stage_plot",
    "probe": "analysis.stages.run",
    "query": "analysis.reports.records",
    "run": "analysis.stages.run",
}

__all__ = [
    "ConsilienceError",
    "EquationRecord",
    "Expression",
    "Law",
    "Study",
    "align",
    "barrier",
    "check",
    "cluster",
    "describe",
    "distil",
    "equations",
    "exact",
    "export_equations",
    "features",
    "ingest",
    "merge",
    "networks",
    "open_study",
    "parse",
    "plot",
    "probe",
    "query",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import consilience` alone loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'consilience' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
