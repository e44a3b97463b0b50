"""What is measured of others, for benchmarks/distil.py: one search of one of them in a process of its own.

Each takes points, values and a budget in seconds of the processor, and gives the formula that it would choose itself.
Those that count the seconds of a clock get as many as the processor's take on this machine now.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Search = Callable[[np.ndarray, np.ndarray, float, int], str]


def spent() -> float:
    """Give the seconds of the processor that this process and its children have taken."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def stretched(budget: float) -> int:
    """Turn seconds of the processor into seconds of the clock, while others use the machine too."""
    clock, processor = time.perf_counter(), time.process_time()
    while time.process_time() - processor < 0.5:
        sum(range(1000))
    return max(1, round(budget * (time.perf_counter() - clock) / (time.process_time() - processor)))


def pyoperon(inputs: np.ndarray, values: np.ndarray, budget: float, seed: int) -> str:
    """Search for so long; the choice is the regressor's own, by minimum description length."""
    from pyoperon import InfixFormatter
    from pyoperon.sklearn import SymbolicRegressor

    regressor = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,square,sqrt,exp,log,sin,cos,constant,variable",
        objectives=["r2", "length"],
        optimizer_iterations=5,
        max_evaluations=10**9,
        generations=10**6,
        max_time=stretched(budget),
        random_state=seed,
    ).fit(inputs, values)
    names = dict(zip(regressor.variables_, _names(inputs), strict=True))
    return str(InfixFormatter.Format(regressor.model_, names, 12))


def gplearn(inputs: np.ndarray, values: np.ndarray, budget: float, seed: int) -> str:
    """Breed generation after generation until the time is used up."""
    from gplearn.functions import make_function
    from gplearn.genetic import SymbolicRegressor

    exp = make_function(function=lambda x: np.exp(np.clip(x, -50, 50)), name="exp", arity=1)
    functions = ("add", "sub", "mul", "div", "sqrt", "log", "sin", "cos", exp)
    regressor = SymbolicRegressor(
        population_size=2000, generations=1, function_set=functions, warm_start=True, metric="rmse",
        const_range=(-5.0, 5.0), random_state=seed,
    )  # fmt: skip
    start = spent()
    while spent() - start < budget:
        regressor.fit(inputs, values)
        regressor.set_params(generations=regressor.generations + 1)
    return _infix(iter(regressor._program.program), _names(inputs))


def _infix(program: Any, names: list[str]) -> str:
    """Write gplearn's prefix order; its division, root and logarithm are guarded, which no law needs."""
    node = next(program)
    if isinstance(node, (int, np.integer)):
        return names[node]
    if isinstance(node, (float, np.floating)):
        return f"({float(node)!r})"
    arguments = [_infix(program, names) for _ in range(node.arity)]
    sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}.get(node.name)
    return f"({sign.join(arguments)})" if sign else f"{node.name}({arguments[0]})"


def rils_rols(inputs: np.ndarray, values: np.ndarray, budget: float, seed: int) -> str:
    """Search until the time is used up; the choice is its own, simplified as it does."""
    from rils_rols.rils_rols import RILSROLSRegressor

    with contextlib.redirect_stdout(sys.stderr):
        regressor = RILSROLSRegressor(max_fit_calls=10**9, max_time=stretched(budget), random_state=seed)
        regressor.fit(inputs, values)
        return str(regressor.model_string())


def pykan(inputs: np.ndarray, values: np.ndarray, budget: float, seed: int) -> str:
    """Train, prune, train again, put known functions in the place of splines, and train these: as its guide does."""
    import torch
    from kan import KAN

    torch.set_default_dtype(torch.float64)
    points, goal = torch.from_numpy(inputs), torch.from_numpy(values[:, None])
    data = {"train_input": points, "train_label": goal, "test_input": points[:50], "test_label": goal[:50]}
    library = ["x", "x^2", "x^3", "1/x", "sqrt", "log", "exp", "sin", "cos", "0"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        width = inputs.shape[1]
        model = KAN(width=[width, width + 1, 1], grid=3, k=3, seed=seed, ckpt_path=folder)
        model.fit(data, opt="LBFGS", steps=50, lamb=0.001)
        model = model.prune()
        model.fit(data, opt="LBFGS", steps=50)
        model.auto_symbolic(lib=library)
        model.fit(data, opt="LBFGS", steps=50)
        return str(model.symbolic_formula(var=_names(inputs))[0][0])


def psrn(inputs: np.ndarray, values: np.ndarray, budget: float, seed: int) -> str:
    """Enumerate for so long on the processor; the choice is the best reward, which weighs length against error."""
    import torch
    from psrn import PSRN_Regressor

    torch.manual_seed(seed)
    operators = ["Add", "Mul", "SemiSub", "SemiDiv", "Identity", "Sin", "Cos", "Exp", "Log", "Sqrt"]
    stage = {"operators": operators, "time_limit": stretched(budget), "n_psrn_inputs": 10, "n_sample_variables": 3}
    with contextlib.redirect_stdout(sys.stderr):
        regressor = PSRN_Regressor(
            variables=_names(inputs), use_const=True, device=torch.device("cpu"), n_symbol_layers=2,
            token_generator_config={"base": {"has_const": True, "tokens": operators}},
            stage_config={"default": stage, "stages": [{}]},
        )  # fmt: skip
        regressor.fit(inputs, values[:, None], n_down_sample=100, use_threshold=False, prun_const=True, top_k=10)
        return str(regressor.display_expr_table(sort_by="reward")[0][0])


def _names(inputs: np.ndarray) -> list[str]:
    return [f"x{place}" for place in range(inputs.shape[1])]


WORKS: dict[str, Search] = {
    "pyoperon": pyoperon,
    "gplearn": gplearn,
    "rils-rols": rils_rols,
    "pykan": pykan,
    "psrn": psrn,
}


def main() -> None:
    """Do `WORK BUDGET SEED FILE`; tell the formula and the seconds, imports included."""
    work, budget, seed, file = sys.argv[1:]
    hard = int(3 * float(budget)) + 120
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard + 5))
    data = np.load(file)
    start = spent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = WORKS[work](data["inputs"], data["values"], float(budget), int(seed))
    print(json.dumps({"text": text, "cpu": spent() - start, "note": ""}))


if __name__ == "__main__":
    main()
