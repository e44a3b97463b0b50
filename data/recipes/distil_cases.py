"""Published cases of distillation: the law that networks learned, and what came out of them.

B1, B4 and B5 run on the zoos in this folder; B6 trains twenty networks a law and level first, and keeps them in
--cache. A seed is that of the rows and the searches; the networks stay.

Run as: python data/recipes/distil_cases.py [B5 B1 ...] [--seeds 1] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import law_networks
from cases import RESULTS, written
from joblib import Parallel, delayed
from law_cases import zoo_target
from laws import CONCEPTS, FEYNMAN, SYMTORCH, Law
from mixture_units import is_mixture, mixture_target
from oracle import exact, exact_up_to_link
from recovered import Outcome, recover

DATA = Path(__file__).resolve().parent.parent
CACHE = DATA / "laws" / ".cache"
COUNTS, LEVELS = (1, 2, 5, 10, 20), (1e-3, 1e-4, 1e-5)
CURVE = ("I.8.14", "I.10.7", "I.24.6", "I.34.8", "I.44.4", "III.17.37")


@dataclass(frozen=True, slots=True)
class Question:
    """A law to be found, how it reads, and how to look for it with a seed."""

    name: str
    truth: str
    ask: Callable[[int], Outcome]


@dataclass(frozen=True, slots=True)
class Group:
    """Questions of one case, how many of them its oracle wants answered, and how what came out is told."""

    name: str
    title: str
    about: str
    questions: Callable[[Path], Sequence[Question]]
    wanted: int | None
    comment: str = ""
    table: Callable[[Sequence[Question], Sequence[Sequence[Outcome]]], list[str]] | None = None
    prepare: Callable[[Path, int], None] | None = None

    def section(self, questions: Sequence[Question], found: Sequence[Sequence[Outcome]]) -> str:
        """Word what came out, each question's outcomes on all seeds, in Markdown."""
        hits = [sum(outcome.hit for outcome in outcomes) for outcomes in zip(*found, strict=True)]
        heading = f"### {self.name}. {self.title}"
        if self.wanted is not None:
            verdict = "hit" if min(hits) >= self.wanted else "missed" if max(hits) == 0 else "in part"
            least = f"{min(hits)}" if min(hits) == max(hits) else f"{min(hits)} to {max(hits)}"
            heading += f": {least} of {len(questions)}, {self.wanted} wanted: {verdict}"
        said = f"{self.about} {len(hits)} {'seeds' if len(hits) > 1 else 'seed'} of rows and searches."
        lines = (self.table or each_law)(questions, found)
        return "\n\n".join([heading, said, "\n".join(lines), *filter(None, [self.comment])])


def each_law(questions: Sequence[Question], found: Sequence[Sequence[Outcome]]) -> list[str]:
    """Lay out a row for every law; where a seed missed, what came out there is shown."""
    rows = [
        "| | law | recovered | what came out | nodes | peer ratio | CPU-seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for question, outcomes in zip(questions, found, strict=True):
        shown = next((outcome for outcome in outcomes if not outcome.hit), outcomes[0])
        hits = sum(outcome.hit for outcome in outcomes)
        verdict = ("yes" if hits else "**no**") if len(outcomes) == 1 else f"{hits} of {len(outcomes)}"
        offered = f"`{shown.formula}`" if shown.status == "equation" else f"no equation; nearest `{shown.formula}`"
        ratio = "" if shown.ratio is None else f"{shown.ratio:.2f}"
        seconds = max(outcome.seconds for outcome in outcomes)
        law = f"`{question.truth}`"
        rows.append(f"| {question.name} | {law} | {verdict} | {offered} | {shown.nodes} | {ratio} | {seconds:.0f} |")
    return rows


def curve(questions: Sequence[Question], found: Sequence[Sequence[Outcome]]) -> list[str]:
    """Lay out how many laws came out, levels of error by numbers of networks, in the order of `curve_questions`."""
    hits = [sum(outcome.hit for outcome in outcomes) / len(outcomes) for outcomes in found]
    rows = [
        f"| 1 − R² | {' | '.join(f'{count} networks' if count > 1 else '1 network' for count in COUNTS)} |",
        "|---" * (1 + len(COUNTS)) + "|",
    ]
    for place, level in enumerate(LEVELS):
        start = place * len(COUNTS) * len(CURVE)
        sums = [sum(hits[start + k * len(CURVE) : start + (k + 1) * len(CURVE)]) for k in range(len(COUNTS))]
        rows.append(f"| {level:.0e} | {' | '.join(f'{one:g}' for one in sums)} |")
    return rows


def law_question(law: Law, folder: Path, *, networks: Sequence[int] | None = None, linked: bool = False) -> Question:
    """Ask for the law of a zoo."""
    return Question(law.key, law.formula, partial(ask_law, law, folder, networks, linked))


def ask_law(law: Law, folder: Path, networks: Sequence[int] | None, linked: bool, seed: int) -> Outcome:
    """Distil the output of a zoo."""
    truth = exact_up_to_link if linked else exact
    target = zoo_target(folder, networks=networks, seed=seed, linked=linked)
    return recover(target, lambda found: truth(found, law.expression, law.box), seed=seed)


def ask_mixture(folder: Path, seed: int) -> Outcome:
    """Distil a unit of every bottleneck."""
    target = mixture_target(folder, seed=seed)
    return recover(target, lambda found: is_mixture(found, target), seed=seed)


def concepts(cache: Path) -> list[Question]:
    """Ask for what six kinds of classifiers learned."""
    return [law_question(law, DATA / "concepts" / law.folder, linked=True) for law in CONCEPTS.values()]


def notebooks(cache: Path) -> list[Question]:
    """Ask for what the networks of SymTorch's notebooks learned."""
    zoos = DATA / "symtorch"
    mixtures = Question("mixtures", "a + b*x0**2 + c*sin(x4)", partial(ask_mixture, zoos / "mixtures"))
    whole = {name: law_question(SYMTORCH[name], zoos / name) for name in ("regression", "heat")}
    return [whole["regression"], mixtures, whole["heat"]]


def feynman(cache: Path) -> list[Question]:
    """Ask for twelve Feynman laws."""
    return [law_question(law, DATA / "laws" / law.folder) for law in FEYNMAN.values()]


def curve_questions(cache: Path) -> list[Question]:
    """Ask for laws at every level of error and from every number of networks."""
    return [
        law_question(FEYNMAN[key], cache / f"{level:.0e}" / FEYNMAN[key].folder, networks=range(count))
        for level in LEVELS
        for count in COUNTS
        for key in CURVE
    ]


def train_curve(cache: Path, jobs: int) -> None:
    """Train the networks of B6 that are not there yet."""
    missing = [
        key
        for key in CURVE
        if not all((cache / f"{level:.0e}" / FEYNMAN[key].folder / "zoo.toml").exists() for level in LEVELS)
    ]
    errors = [f"{level:g}" for level in LEVELS]
    Parallel(n_jobs=jobs)(
        delayed(law_networks.main)([key, "--error", *errors, "--networks", str(max(COUNTS)), "--out", str(cache)])
        for key in missing
    )


GROUPS = (
    Group(
        "B1",
        "Concepts of classifiers",
        "Six concepts (Wetzel 2024); five classifiers each, d–96–96–1 ELU, on 10,000 points with noise of 1 % on the "
        "concept. Their logits are distilled up to a monotone link, on rows where most logits are within 6 of the "
        "threshold; right is what has the concept's level sets.",
        concepts,
        wanted=6,
    ),
    Group(
        "B4",
        "What SymTorch shows",
        "Five networks each. Regression: 10,000 rows with noise of 5 %. Mixtures: the stronger unit of each bottleneck "
        "pruned from 16 to 2, a mixture of its own. Heat: physics-informed networks with ten values.",
        notebooks,
        wanted=3,
        comment="SymTorch's own notebooks choose x0·sin(x0) − 3.76 + 2.64·sin(x4) for the first, and a form with a "
        "spurious t³ for the third.",
    ),
    Group(
        "B5",
        "Feynman laws from networks",
        "Five MLPs a law, 1 − R² of about 1e-5, activations and widths mixed. Right is the law's own structure, its "
        "numbers within 3 %, at most twice as long and six nodes more.",
        feynman,
        wanted=11,
        comment="On clean data SRBench has Operon at 16.6 % and AI Feynman at 55.8 % exact; I.8.14, I.15.10 and "
        "I.29.16 are 0 % for all its main methods.",
    ),
    Group(
        "B6",
        "More networks, more law",
        f"How many of {len(CURVE)} laws ({', '.join(CURVE)}) come out exactly, by how many networks there are and how "
        "good each of them is.",
        curve_questions,
        wanted=None,
        table=curve,
        prepare=train_curve,
        comment="One network has no peers: there the knee of the front is offered.",
    ),
)


def told(group: Group, question: Question, seed: int) -> Outcome:
    """Ask, and print what came out."""
    outcome = question.ask(seed)
    verdict = "yes" if outcome.hit else f"NO ({outcome.status})"
    ratio = "" if outcome.ratio is None else f" ratio {outcome.ratio:.2f}"
    said = f"{verdict} {outcome.formula}{ratio} ({outcome.seconds:.0f} s)"
    print(f"{group.name} {question.name} seed {seed}: {said}", flush=True)
    return outcome


def main(groups: Sequence[Group], *, about: str | None) -> None:
    """Ask the questions of the cases that the command line names, or of all, and write their sections."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help=", ".join(group.name for group in groups))
    parser.add_argument("--seeds", type=int, default=1, help="seeds of rows and searches")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file whose sections are rewritten")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the networks of B6")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    chosen = [group for group in groups if not options.names or group.name in options.names]
    for group in chosen:
        if group.prepare:
            group.prepare(options.cache, options.jobs)
        questions = group.questions(options.cache)
        jobs = [(question, seed) for question in questions for seed in range(options.seeds)]
        each = iter(Parallel(n_jobs=options.jobs)(delayed(told)(group, question, seed) for question, seed in jobs))
        section = group.section(questions, [list(islice(each, options.seeds)) for _ in questions])
        text = options.out.read_text("utf-8") if options.out.exists() else "# Results\n"
        options.out.write_text(written(text, group.name, section), "utf-8")


if __name__ == "__main__":
    main(GROUPS, about=__doc__)
