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
    from .analysis.check import check
    from .analysis.equation import EquationRecord
    from .analysis.exact import exact
    from .analysis.expression import Expression
    from .analysis.law import Law
    from .analysis.parsing import parse
    from .analysis.records import equations, export_equations, features, networks, query
    from .analysis.run import align, cluster, distil, ingest, probe, run
    from .analysis.show import describe
    from .analysis.stage_merge import barrier, merge
    from .analysis.stage_plot import plot
    from .analysis.study import Study, open_study
    from .zoo.errors import ConsilienceError

_HOMES = {
    "ConsilienceError": "zoo.errors",
    "EquationRecord": "analysis.equation",
    "Expression": "analysis.expression",
    "Law": "analysis.law",
    "Study": "analysis.study",
    "align": "analysis.run",
    "barrier": "analysis.stage_merge",
    "check": "analysis.check",
    "cluster": "analysis.run",
    "describe": "analysis.show",
    "distil": "analysis.run",
    "equations": "analysis.records",
    "exact": "analysis.exact",
    "export_equations": "analysis.records",
    "features": "analysis.records",
    "ingest": "analysis.run",
    "merge": "analysis.stage_merge",
    "networks": "analysis.records",
    "open_study": "analysis.study",
    "parse": "analysis.parsing",
    "plot": "analysis.stage_plot",
    "probe": "analysis.run",
    "query": "analysis.records",
    "run": "analysis.run",
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
