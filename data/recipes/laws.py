"""Laws that networks are trained on, in the program's own notation, with the box of their variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from consilience.analysis.formulas.expression import Expression, evaluate
from consilience.analysis.formulas.parsing import parse

Box = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Law:
    """A formula, what its value is called, and between which bounds each variable is drawn evenly.

    For a concept, `threshold` parts the two classes and networks learn on which side of it a point lies.
    """

    key: str
    formula: str
    output: str
    box: Box
    threshold: float | None = None

    @property
    def folder(self) -> str:
        """Name the folder of its zoo."""
        return self.key.lower().replace(".", "_")

    @property
    def names(self) -> tuple[str, ...]:
        """Name the variables, in the order of the networks' inputs."""
        return tuple(self.box)

    @cached_property
    def expression(self) -> Expression:
        """Read the formula."""
        return parse(self.formula)

    def draw(self, samples: int, *, seed: int | np.random.Generator) -> Float[np.ndarray, "samples variables"]:
        """Draw rows evenly from the box."""
        low, high = np.array(list(self.box.values())).T
        return np.random.default_rng(seed).uniform(low, high, (samples, len(low)))

    def __call__(self, rows: Float[np.ndarray, "samples variables"]) -> Float[np.ndarray, " samples"]:
        """Compute the law itself."""
        values = evaluate(self.expression, dict(zip(self.names, rows.T, strict=True)))
        return np.broadcast_to(np.asarray(values, np.float64), len(rows)).copy()


def law(key: str, formula: str, output: str, ranges: str, *, threshold: float | None = None) -> Law:
    """Make a law from text; `ranges` reads as `q B 1 5, theta 0 3`: names, then the bounds they share."""
    box: dict[str, tuple[float, float]] = {}
    for group in ranges.split(","):
        *names, low, high = group.split()
        box |= dict.fromkeys(names, (float(low), float(high)))
    return Law(key, formula, output, box, threshold)


def table(*laws: Law) -> dict[str, Law]:
    """Name laws by their keys."""
    return {one.key: one for one in laws}


FEYNMAN = table(
    law("I.8.14", "sqrt((x2 - x1)**2 + (y2 - y1)**2)", "distance", "x1 x2 y1 y2 1 5"),
    law("I.10.7", "m/sqrt(1 - v**2/c**2)", "mass", "m 1 5, v 1 2, c 3 10"),
    law("I.12.11", "q*(E + B*v*sin(theta))", "force", "q E B v theta 1 5"),
    law("I.13.4", "m*(v**2 + u**2 + w**2)/2", "energy", "m v u w 1 5"),
    law("I.15.10", "m*v/sqrt(1 - v**2/c**2)", "momentum", "m 1 5, v 1 2, c 3 10"),
    law("I.18.4", "(m1*r1 + m2*r2)/(m1 + m2)", "centre", "m1 m2 r1 r2 1 5"),
    law("I.24.6", "m*(w**2 + w0**2)*x**2/4", "energy", "m w w0 x 1 3"),
    law("I.29.16", "sqrt(x1**2 + x2**2 - 2*x1*x2*cos(theta1 - theta2))", "amplitude", "x1 x2 theta1 theta2 1 5"),
    law("I.34.8", "q*v*B/p", "frequency", "q v B p 1 5"),
    law("I.40.1", "n*exp(-m*g*x/(k*T))", "density", "n m g x k T 1 5"),
    law("I.44.4", "n*k*T*log(V2/V1)", "work", "n k T V1 V2 1 5"),
    law("III.17.37", "beta*(1 + alpha*cos(theta))", "intensity", "beta alpha theta 1 5"),
)
"""Laws of the Feynman Lectures on Physics (Udrescu & Tegmark 2020), ranges as theirs."""

FEYNMAN_MORE = table(
    law("I.6.2", "exp(-(theta/sigma)**2/2)/(sqrt(2*pi)*sigma)", "density", "sigma theta 1 3"),
    law(
        "I.9.18",
        "G*m1*m2/((x2 - x1)**2 + (y2 - y1)**2 + (z2 - z1)**2)",
        "force",
        "G m1 m2 1 2, x1 3 4, x2 1 2, y1 3 4, y2 1 2, z1 3 4, z2 1 2",
    ),
    law("I.11.19", "x1*y1 + x2*y2 + x3*y3", "product", "x1 y1 x2 y2 x3 y3 1 5"),
    law("I.12.2", "q1*q2/(4*pi*epsilon*r**2)", "force", "q1 q2 epsilon r 1 5"),
    law("I.15.3x", "(x - u*t)/sqrt(1 - u**2/c**2)", "moved", "x 5 10, u 1 2, c 3 20, t 1 2"),
    law("I.16.6", "(u + v)/(1 + u*v/c**2)", "speed", "u v c 1 5"),
    law("I.18.12", "r*F*sin(theta)", "torque", "r F 1 5, theta 0 5"),
    law("I.26.2", "asin(n*sin(theta))", "angle", "n 0 1, theta 1 5"),
    law("I.27.6", "1/(1/d1 + n/d2)", "focus", "d1 d2 n 1 5"),
    law("I.30.5", "asin(lam/(n*d))", "angle", "lam 1 2, d 2 5, n 1 5"),
    law("I.34.14", "w0*(1 + v/c)/sqrt(1 - v**2/c**2)", "frequency", "w0 1 5, v 1 2, c 3 10"),
    law("I.37.4", "I1 + I2 + 2*sqrt(I1*I2)*cos(delta)", "intensity", "I1 I2 delta 1 5"),
    law("I.43.43", "k*v/((gamma - 1)*A)", "conductivity", "gamma 2 5, k v A 1 5"),
    law("I.47.23", "sqrt(gamma*p/rho)", "speed", "gamma p rho 1 5"),
    law("I.48.2", "m*c**2/sqrt(1 - v**2/c**2)", "energy", "m 1 5, v 1 2, c 3 10"),
    law("I.50.26", "x1*(cos(w*t) + alpha*cos(w*t)**2)", "position", "x1 w t alpha 1 3"),
    law("II.6.15b", "3*p*cos(theta)*sin(theta)/(4*pi*epsilon*r**3)", "field", "epsilon p theta r 1 3"),
    law("II.11.3", "q*E/(m*(w0**2 - w**2))", "amplitude", "q E m 1 3, w0 3 5, w 1 2"),
    law("II.24.17", "sqrt(w**2/c**2 - pi**2/d**2)", "wavenumber", "w 4 6, c 1 2, d 2 4"),
    law("II.35.21", "n*mu*tanh(mu*B/(k*T))", "magnetisation", "n mu B k T 1 5"),
    law("III.10.19", "mu*sqrt(Bx**2 + By**2 + Bz**2)", "energy", "mu Bx By Bz 1 5"),
    law("III.15.12", "2*U*(1 - cos(k*d))", "energy", "U k d 1 5"),
)
"""More of them, to develop on; their networks regenerate and are not kept."""

CONCEPTS = table(
    law("A1", "x1**2 + 2*x2**2", "concept", "x1 x2 -1 1", threshold=1.0),
    law("A", "x1**2 + 3*x1*x2 + 2*x2**2", "concept", "x1 x2 -2 0", threshold=5.0),
    law("B", "x1**2 + sin(x2 + x3)", "concept", "x1 x2 x3 -2 0", threshold=1.0),
    law("C", "exp(x1 - x2) - pi*x3", "concept", "x1 x2 x3 -1 1", threshold=1.0),
    law("D", "x1*exp(-(x2**2 + x3**2)/2)", "concept", "x1 0 2, x2 x3 -2 2", threshold=0.2),
    law("E", "x1*x2/((x3 - x4)**2 + (x5 - x6)**2)", "concept", "x1 x2 x3 x4 x5 x6 0 2", threshold=1.0),
)
"""Concepts behind classes (Wetzel 2024, arXiv 2401.04978)."""

SYMTORCH = table(
    law("regression", "x0**2 + 3*sin(x4) - 4", "y", "x0 x1 x2 x3 x4 0 1"),
    law("mixtures", "2.5*x0**2 - 1.3*sin(x4)", "y", "x0 x1 x2 x3 x4 0 1"),
    law("heat", "exp(-0.2*pi**2*t)*sin(pi*x)", "u", "x t 0 1"),
)
"""What SymTorch (2026) shows in its notebooks."""

LAWS = FEYNMAN | FEYNMAN_MORE
