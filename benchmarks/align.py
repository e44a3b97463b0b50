"""How fast, small and right units, layers and weights are aligned, beside peers from PyPI in the same run.

    python benchmarks/align.py [--full] [--large] [--widths 128 512] [--networks 8 24] [--only units weights]

Peers live in an environment of their own, in the cache folder, which the first run makes (needs pip to reach an
index). Every measurement is a process of its own: the least of up to nine runs in it, without imports, by the clock
and of the processor (which other programs disturb less), and the peak of its resident memory, with imports, and
what the work added to that. All data are planted, so what is right is known. Ratios are peer / ours: above 1 the
peer takes more. `--full` takes widths to 4,096 and 64 networks; `--large` two networks of 36,864 units.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from align_bench import Answers, Bench, Judge, bound
from align_environment import prepare
from align_planted import plant_large, plant_layers, plant_similar, plant_weights, plant_zoo, recovered
from sklearn.metrics import adjusted_rand_score

SAMPLES, NOISES = 2000, (0.3, 0.8)
"""Noise is relative to a unit's own spread."""
THREE_LAYERS, EXPONENT, MEMORY = 0.2, 1.2, 2.0
"""Asked for: seconds for three layers of 512 units, exponent of time over networks, gigabytes for 36,864 units."""
NETREP = 0.26
"""Seconds that netrep's permutation distance is said to take for three such layers."""
PARTS = ("units", "similarity", "weights", "three", "growth", "zoo")


def units(bench: Bench, networks: int, width: int) -> None:
    """Match the units of every two networks."""
    planted = [plant_layers(networks, width, samples=SAMPLES, noise=noise, seed=0) for noise in NOISES]
    files = [bench.write(f"units{number}", layers) for number, (layers, _) in enumerate(planted)]

    def judge(answers: Answers) -> str:
        found = zip(planted, answers, strict=True)
        shares = [recovered(orders, answer["pairs"], answer["partners"]) for (_, orders), answer in found]
        return ", ".join(f"{share:.4f}" for share in shares)

    works: dict[str, str | None] = {"assignment": None, "scipy": "assignment", "mutual": None, "universe": None}
    works |= {"partial": None, "soft": None, "pot": "soft"} if networks == 2 else {}
    title = f"units of {networks} networks of {width}, {SAMPLES} samples; right: pairs recovered at noise {NOISES}"
    bench.compare(title, files, works, judge)


def similarity(bench: Bench, layers: int, width: int, *, samples: int, table: bool) -> None:
    """Compare every two layers: all but the first and the last have nothing in common."""
    file = bench.write("similar", plant_similar(width, samples=samples, layers=layers, seed=0))

    def judge(answers: Answers) -> str:
        found = answers[0]["table"]
        return f"noise {found[0, 1]:+.4f}, same {found[0, -1]:.4f}"

    ours = "cka_table" if table else "cka"
    title = f"all pairs of {layers} layers of {width}, {samples} samples; right: CKA 0 for noise, 1 for the same"
    bench.compare(title, [file], {ours: None, "ckatorch": ours, "torch_cka": ours}, judge)


def weights(bench: Bench) -> None:
    """Match two MLPs by their weights."""
    planted = [plant_weights(noise=noise, seed=0) for noise in NOISES]
    files = [bench.write(f"weights{number}", tensors) for number, (tensors, _) in enumerate(planted)]

    def judge(answers: Answers) -> str:
        shares = []
        for (_, orders), answer in zip(planted, answers, strict=True):
            hits = [order[answer[f"order{number}"]] == np.arange(order.size) for number, order in enumerate(orders)]
            shares.append(np.concatenate(hits).mean())
        return ", ".join(f"{share:.4f}" for share in shares)

    title = f"weights of MLPs of 3 x 512; right: units recovered at noise {NOISES}"
    bench.compare(title, files, {"weights": None, "rebasin": "weights", "sinkhorn_rebasin": "weights"}, judge)


def three_layers(bench: Bench) -> list[str]:
    """Hold three layers of 512 units, on one thread, against the time asked for."""
    planted = [plant_layers(2, 512, samples=SAMPLES, noise=0.5, seed=seed) for seed in range(3)]
    file = bench.write("three", [layer for layers, _ in planted for layer in layers])

    def judge(answers: Answers) -> str:
        parts = zip(planted, answers[0]["partners"], strict=True)
        share = np.mean([recovered(orders, np.array([[0, 1]]), partner[None]) for (_, orders), partner in parts])
        passed = f", q < 0.05: {np.mean(answers[0]['q'] < 0.05):.3f}" if "q" in answers[0] else ""
        return f"{share:.4f}{passed}"

    title = f"three layers of two networks of 512, {SAMPLES} samples, noise 0.5, one thread; right: pairs recovered"
    works = {"three_layers": None, "scipy_layers": "three_layers", "three_with_nulls": None}
    found = replace(bench, threads=1).compare(title, [file], works, judge).get("three_layers")
    reason = bench.peers.failed.get("netrep", "it has no such release")
    print(f"  netrep (permutation)    {NETREP:8.3f} s as published, not measured: {reason}")
    what = (
        f"three layers of 512, one thread, without nulls (of the processor {found.figures[1]:.3f} s)" if found else ""
    )
    return [bound(what or "three layers of 512", found and found.figures[0], THREE_LAYERS, "s")]


def growth(bench: Bench, networks: int) -> list[str]:
    """Fit the time over the number of networks that joined one by one."""
    zoo, truth = plant_zoo(networks, 60, samples=1024, noise=0.3, seed=0)
    title = f"{networks} networks of 60 units join one by one; right: adjusted Rand index"
    found = bench.compare(title, [bench.write("growth", zoo)], {"one_by_one": None}, _rand(truth)).get("one_by_one")
    if found is None:
        return [bound("exponent of time over networks", None, EXPONENT, "")]
    each = found.answers[0]["seconds"]
    counts = np.unique(np.geomspace(8, len(each), 12).round().astype(int))
    logs = np.log(counts), np.log(np.cumsum(each)[counts - 1])
    late = counts >= 50
    slope, last = (float(np.polyfit(logs[0][part], logs[1][part], 1)[0]) for part in (counts > 0, late))
    print(f"  the first of them take {1e3 * each[:8].min():.1f} ms, the last {1e3 * each[-8:].min():.1f} ms")
    what = f"exponent of processor time over {counts[0]} to {counts[-1]} added networks (from 50 on {last:.2f})"
    return [bound(what, slope, EXPONENT, "")]


def zoo(bench: Bench, networks: int) -> list[str]:
    """Find the features of a large zoo."""
    told = []
    for noise in NOISES:
        layers, truth = plant_zoo(networks, 60, samples=1024, noise=noise, seed=1)
        title = f"features of {networks} networks of 60 units, noise {noise}; right: adjusted Rand index"
        works = {"zoo": None, "one_by_one": None}
        found = bench.compare(title, [bench.write("zoo", layers)], works, _rand(truth)).get("zoo")
        told.append(f"{found.figures[0]:.1f} s, index {_rand(truth)(found.answers)}" if found else "not measured")
    return [f"features of {networks} networks of 60 units, noise {NOISES}: {'; '.join(told)}"]


def _rand(truth: Sequence[np.ndarray]) -> Judge:
    return lambda answers: f"{adjusted_rand_score(np.concatenate(truth), answers[0]['groups']):.4f}"


def large(bench: Bench, width: int, samples: int) -> list[str]:
    """Hold two wide layers on disk against the memory asked for."""
    folder = bench.scratch / "large"
    folder.mkdir()
    order = plant_large(folder, width, samples=samples, noise=0.5, seed=0)

    def judge(answers: Answers) -> str:
        return f"{np.sum(order[answers[0]['right']] == answers[0]['left']) / width:.4f}"

    cores = os.cpu_count() or 1
    title = f"two networks of {width:,} units, {samples:,} samples on disk, {cores} threads; right: pairs recovered"
    patient = replace(bench, threads=cores, limit=36_000)
    found = patient.compare(title, [folder], {"nearest": None}, judge).get("nearest")
    print(f"  numpy.corrcoef          not measured: needs {8e-9 * (2 * width) ** 2:.0f} GB for its answer alone")
    return [bound(f"memory for {width:,} units and {samples:,} samples", found and found.peak / 1e9, MEMORY, "GB")]


def main() -> None:
    chosen = _arguments()
    peers = prepare(chosen.environment)
    for name, reason in peers.failed.items():
        print(f"{name} cannot be installed: {reason}")
    print(f"{os.cpu_count()} cores, {chosen.threads} thread(s) each, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        bounds = run(Bench(Path(scratch), peers, chosen.threads, 1800 if chosen.full else 60), chosen)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end", *bounds, sep="\n")


def run(bench: Bench, chosen: argparse.Namespace) -> list[str]:
    full, bounds = chosen.full, list[str]()
    if "units" in chosen.only:
        for width in chosen.widths or ([128, 256, 512, 1024, 2048, 4096] if full else [128, 512, 1024]):
            units(bench, 2, width)
        for count in chosen.networks or ([4, 8, 16, 32, 64] if full else [8, 24]):
            units(bench, count, 128)
    if "similarity" in chosen.only:
        for width in (512, 4096 if full else 1024):
            similarity(bench, 3, width, samples=SAMPLES, table=False)
        similarity(bench, 64 if full else 12, 512, samples=512, table=True)
    if "weights" in chosen.only:
        weights(bench)
    if "three" in chosen.only:
        bounds += three_layers(bench)
    if "growth" in chosen.only:
        bounds += growth(bench, 1008 if full else 408)
    if "zoo" in chosen.only:
        bounds += zoo(bench, 200)
    if chosen.large:
        bounds += large(bench, chosen.large_units, chosen.large_samples)
    return bounds


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="widths to 4,096, 64 networks, 1,000 that join")
    parser.add_argument("--widths", type=int, nargs="+", help="of two networks")
    parser.add_argument("--networks", type=int, nargs="+", help="how many of 128 units")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="which parts; none for --large alone")
    parser.add_argument("--large", action="store_true", help="two networks of 36,864 units as well: many minutes")
    parser.add_argument("--large-units", type=int, default=36_864)
    parser.add_argument("--large-samples", type=int, default=20_000, help="0.3 MB of disk each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--environment", type=Path, help="where to keep the peers' environment")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
