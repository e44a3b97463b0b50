"""Cases with an oracle: run each on fresh seeds, say what came out, and write it to docs/results.md."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.md"
SEEDS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a case gives, and the bounds in which its oracle asks it to lie; without any it is told only.

    Every seed is held to the bounds; or, with `mean`, the mean over the seeds, give or take two of its errors.
    """

    name: str
    at_least: float | None = None
    at_most: float | None = None
    form: str = ".1%"
    mean: bool = False

    def holds(self, values: Sequence[float]) -> bool:
        """Tell whether the oracle is met."""
        slack = 2.0 * _spread(values) / len(values) ** 0.5 if self.mean else 0.0
        judged = [float(np.mean(values))] if self.mean else list(values)
        low = -np.inf if self.at_least is None else self.at_least - slack
        high = np.inf if self.at_most is None else self.at_most + slack
        return all(low <= value <= high for value in judged)

    @property
    def judged(self) -> bool:
        """Tell whether there is an oracle."""
        return self.at_least is not None or self.at_most is not None

    @property
    def oracle(self) -> str:
        """Word the bounds."""
        least, most = (None if one is None else f"{one:{self.form}}" for one in (self.at_least, self.at_most))
        if least is None or most is None:
            said = f"≥ {least}" if least else f"≤ {most}" if most else ""
        else:
            said = least if least == most else f"{least} … {most}"
        return f"{said}, mean" if self.mean else said

    def row(self, values: Sequence[float]) -> str:
        """Word what came out, as a row of a table."""
        verdict = ("hit" if self.holds(values) else "**miss**") if self.judged else ""
        shown = float(np.mean(values)), _spread(values), min(values), max(values)
        mean, spread, least, most = (f"{value:{self.form}}" for value in shown)
        return f"| {self.name} | {self.oracle} | {mean} | {spread} | {least} … {most} | {verdict} |"


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """A case: what it is, the numbers that it gives on a seed, and where tests assert it."""

    name: str
    title: str
    about: str
    run: Callable[[int], Mapping[str, float]]
    figures: tuple[Figure, ...]
    tests: str = ""
    comment: str = ""

    def section(self, found: Sequence[Mapping[str, float]]) -> str:
        """Word what came out on all seeds, in Markdown."""
        values = {figure: [one[figure.name] for one in found] for figure in self.figures}
        missed = [figure for figure in self.figures if figure.judged and not figure.holds(values[figure])]
        heading = f"### {self.name}. {self.title}: {'in part' if missed else 'hit'}"
        if missed and len(missed) == sum(figure.judged for figure in self.figures):
            heading = f"### {self.name}. {self.title}: missed"
        table = ["| | oracle | mean | spread | range | |", "|---|---|---|---|---|---|"]
        table += [figure.row(values[figure]) for figure in self.figures]
        said = [self.about, f"{len(found)} seeds." + (f" Asserted in {self.tests}." if self.tests else "")]
        return "\n\n".join([heading, " ".join(said), "\n".join(table), *filter(None, [self.comment])])


def measured(case: Case, seed: int) -> Mapping[str, float]:
    """Run a case on one seed, on one thread."""
    import torch

    torch.set_num_threads(1)  # sums in one order: the same figures on any number of cores
    start = time.process_time()
    found = case.run(seed)
    told = ", ".join(f"{figure.name} {found[figure.name]:{figure.form}}" for figure in case.figures)
    print(f"{case.name} seed {seed} ({time.process_time() - start:.0f} s): {told}", flush=True)
    return found


def written(text: str, name: str, section: str) -> str:
    """Put a section between its marks, where they stand or, if there are none, at the end."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{section}\n{end}"
    old = re.compile(rf"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if old.search(text):
        return old.sub(lambda _: block, text)
    return f"{text.rstrip()}\n\n{block}\n"


def main(cases: Sequence[Case], *, about: str | None) -> None:
    """Run the cases that the command line names, or all, and write their sections, leaving all others alone."""
    from joblib import Parallel, delayed

    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("names", nargs="*", metavar="CASE", help=", ".join(case.name for case in cases))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fresh seeds of each case")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file whose sections are rewritten")
    options = parser.parse_args()
    chosen = [case for case in cases if not options.names or case.name in options.names]
    jobs = [(case, seed) for case in chosen for seed in range(options.seeds)]
    found = Parallel(n_jobs=os.cpu_count(), return_as="generator")(delayed(measured)(case, seed) for case, seed in jobs)
    for case in chosen:
        section = case.section(list(islice(found, options.seeds)))
        text = options.out.read_text("utf-8") if options.out.exists() else "# Results\n"
        options.out.write_text(written(text, case.name, section), "utf-8")
