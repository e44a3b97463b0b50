"""How often and how fast laws are found behind trained networks, beside peers from PyPI in the same run.

    python benchmarks/distil.py [--only B4 B5 random] [--budget 100] [--programs consilience pyoperon …] [--full]

Ours asks the networks; peers, which cannot, get the networks' mean at as many points, and all are judged by the
oracle of data/recipes. Each search is a process of its own on one thread; seconds are the processor's, without
imports. Peers search for `--budget` seconds and give the formula that they would choose themselves. They live in an
environment of their own, in the cache folder, which the first run makes (needs pip to reach an index). `--full` takes
three seeds; `--results FILE` keeps what was measured, and goes on from there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from distil_bench import OURS, Bench, Outcome, keep, kept, summary
from distil_environment import PEERS, prepare
from distil_sets import GROUPS, Case, cases

WIDTH = 16


def main() -> None:
    chosen = _arguments()
    peers = prepare(chosen.environment)
    for name, reason in peers.failed.items():
        print(f"{name} cannot be installed: {reason}")
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores, load {load:.1f}; {chosen.budget:.0f} s for a search, {chosen.rows} points")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            Path(scratch), peers, chosen.budget, chosen.rows, chosen.seed, chosen.restarts, chosen.evaluations
        )
        found = [one for group in chosen.only for one in compare(bench, group, chosen)]
    print("\nall sets", *summary(found, chosen.programs), f"load {os.getloadavg()[0]:.1f} at the end", sep="\n")


def compare(bench: Bench, group: str, chosen: argparse.Namespace) -> list[Outcome]:
    """Measure all programs on one set, and print a table."""
    print(f"\n{group}\n{'':12}" + "".join(f"{name:{WIDTH}}" for name in chosen.programs))
    found = []
    for case in cases([group]):
        if not case.trained:
            print(f"{case.key:12}no networks: {case.folder} has no zoo.toml")
            continue
        for seed in range(bench.seed, bench.seed + (3 if chosen.full else 1)):
            found += _row(replace(bench, seed=seed), case, chosen)
    print(*summary(found, chosen.programs), sep="\n", flush=True)
    return found


def _row(bench: Bench, case: Case, chosen: argparse.Namespace) -> list[Outcome]:
    earlier = {one.asked: one for one in kept(chosen.results)}
    row = []
    print(f"{case.key:12}", end="", flush=True)
    for program in chosen.programs:
        one = earlier.get(bench.asked(case, program))
        if one is None:
            one = bench.measure(case, program)
            keep(one, chosen.results)
        print(f"{'exact' if one.exact else '-':6}{one.cpu:4.0f} s".ljust(WIDTH), end="", flush=True)
        row.append(one)
    print()
    for one in row if chosen.verbose else ():
        print(f"    {one.program}: {one.formula or 'none'} {one.note}"[:400], flush=True)
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = (OURS, *PEERS)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="which sets")
    parser.add_argument("--programs", nargs="+", choices=programs, default=programs, help="which programs")
    parser.add_argument("--budget", type=float, default=100.0, help="seconds of the processor for a peer's search")
    parser.add_argument("--rows", type=int, default=1000, help="points")
    parser.add_argument("--restarts", type=int, default=6, help="our searches at most, as zoo.toml has it")
    parser.add_argument("--evaluations", type=int, default=400_000, help="of each of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="three seeds")
    parser.add_argument("--verbose", action="store_true", help="print formulas")
    parser.add_argument("--results", type=Path, help="keep what was measured in this file, and go on from it")
    parser.add_argument("--environment", type=Path, help="where to keep the peers' environment")
    return parser.parse_args()


if __name__ == "__main__":
    main()
