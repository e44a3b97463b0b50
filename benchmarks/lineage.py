"""How fast relatives are found among many networks, beside comparing all pairs of them by their full tensors.

    python benchmarks/lineage.py [--networks 10 1000] [--naive 60]

The networks are MLPs of 20 kB: of each of several, copies, renamed, reordered, pruned, narrowed and trained-on
ones (random steps stand for training), and as many that stand alone. The naive comparison, of some of the same
networks, takes for each pair the cosine of all tensors and compares their sorted values: what finds no more than
copies, fine-tuned and reordered ones. Its time for all networks is that for a pair times the number of pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from consilience.zoo.fingerprint import fingerprint
from consilience.zoo.lineage import kinships, lineages

WIDTHS = (2, 68, 68, 1)
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Member:
    """A network and the number of the lineage that it was made to belong to."""

    lineage: int
    tensors: Tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--naive", type=int, default=60, help="networks that are compared pair by pair")
    arguments = parser.parse_args()
    for count in arguments.networks:
        measure(plant(count, np.random.default_rng(count)), naive=arguments.naive)


def measure(zoo: list[Member], *, naive: int) -> None:
    start = time.perf_counter()
    marks = [fingerprint(member.tensors) for member in zoo]
    marked = time.perf_counter()
    found = lineages(len(zoo), kinships(marks, lambda number: zoo[number].tensors))
    done = time.perf_counter()
    some = zoo[:naive]
    for left, right in combinations(some, 2):
        compare(left.tensors, right.tensors)
    pair = (time.perf_counter() - done) / max(len(some) * (len(some) - 1) / 2, 1)
    pairs = len(zoo) * (len(zoo) - 1) // 2
    print(
        f"{len(zoo):5} networks: fingerprints {marked - start:7.2f} s, kinships {done - marked:7.2f} s; "
        f"all {pairs:,} pairs of full tensors {pair * pairs:8.2f} s ({1e3 * pair:.2f} ms a pair, of {len(some)}); "
        f"ratio {pair * pairs / (done - start):.1f}; {score(zoo, found)}"
    )


def compare(left: Tensors, right: Tensors) -> list[tuple[float, bool]]:
    found = []
    for name in left.keys() & right.keys():
        first, second = left[name].ravel(), right[name].ravel()
        if first.shape == second.shape:
            cosine = first @ second / np.sqrt((first @ first) * (second @ second))
            found.append((float(cosine), np.array_equal(np.sort(first), np.sort(second))))
    return found


def score(zoo: list[Member], found: list[int]) -> str:
    made = np.array([member.lineage for member in zoo])
    same, together = made[:, None] == made, np.equal.outer(found, found)
    pairs = np.triu(np.ones_like(same), 1)
    right = (same & together & pairs).sum()
    precision, recall = right / max((together & pairs).sum(), 1), right / max((same & pairs).sum(), 1)
    return f"precision {precision:.4f}, recall {recall:.4f}"


def plant(count: int, rng: np.random.Generator) -> list[Member]:
    """Make so many networks: half of them alone, the others in families of eight."""
    zoo: list[Member] = []
    for family in range(count // 2 // len(KINDS) + 1):
        base = network(rng)
        zoo += [Member(family, make(base, rng)) for make in KINDS]
    while len(zoo) < count:
        zoo.append(Member(count + len(zoo), network(rng)))
    return [zoo[place] for place in rng.permutation(len(zoo))]


def network(rng: np.random.Generator) -> Tensors:
    tensors = {}
    for number, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        bound = inputs**-0.5
        tensors[f"{2 * number}.weight"] = rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
        tensors[f"{2 * number}.bias"] = rng.uniform(-bound, bound, outputs).astype(np.float32)
    return tensors


def copied(base: Tensors, rng: np.random.Generator) -> Tensors:
    return {name: array.copy() for name, array in base.items()}


def renamed(base: Tensors, rng: np.random.Generator) -> Tensors:
    return {f"layer{name}": array for name, array in base.items()}


def reordered(base: Tensors, rng: np.random.Generator) -> Tensors:
    first, second = rng.permutation(WIDTHS[1]), rng.permutation(WIDTHS[2])
    return {
        "0.weight": base["0.weight"][first],
        "0.bias": base["0.bias"][first],
        "2.weight": base["2.weight"][second][:, first],
        "2.bias": base["2.bias"][second],
        "4.weight": base["4.weight"][:, second],
        "4.bias": base["4.bias"],
    }


def narrowed(base: Tensors, rng: np.random.Generator) -> Tensors:
    first, second = (np.sort(rng.permutation(width)[: width // 2]) for width in WIDTHS[1:3])
    return {
        "0.weight": base["0.weight"][first],
        "0.bias": base["0.bias"][first],
        "2.weight": base["2.weight"][second][:, first],
        "2.bias": base["2.bias"][second],
        "4.weight": base["4.weight"][:, second],
        "4.bias": base["4.bias"],
    }


def pruned(base: Tensors, rng: np.random.Generator) -> Tensors:
    share = rng.uniform(0.3, 0.9)
    least = {name: np.quantile(np.abs(array), share) if array.ndim > 1 else 0 for name, array in base.items()}
    return {name: np.where(np.abs(array) >= least[name], array, np.float32(0)) for name, array in base.items()}


def tuned(base: Tensors, rng: np.random.Generator) -> Tensors:
    step = rng.uniform(0.01, 0.3)
    return {
        name: (array + step * array.std() * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in base.items()
    }


KINDS: tuple[Callable[[Tensors, np.random.Generator], Tensors], ...] = (
    *(copied, copied, renamed, reordered, narrowed, pruned, tuned, tuned),
)


if __name__ == "__main__":
    main()
