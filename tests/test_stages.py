"""The whole path on the zoos in data/: what the README promises."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from consilience.analysis.formulas.parsing import parse
from consilience.analysis.formulas.symbolic import compare
from consilience.analysis.project.catalogue import Rows
from consilience.analysis.project.study import Study, open_study
from consilience.analysis.reports.records import equations, features
from consilience.analysis.stages.run import cluster, run, summary
from consilience.analysis.stages.stage_cluster import cluster as clustered

DATA = Path(__file__).parents[1] / "data"


def copy_of(name: str, folder: Path) -> Path:
    """A zoo of data/ in a folder of its own, so that nothing is written beside the committed one."""
    shutil.copytree(DATA / name, folder / name, ignore=shutil.ignore_patterns(".consilience"))
    return folder / name


def only_outputs(zoo: Path) -> Path:
    """Let a zoo distil its outputs alone."""
    text = (zoo / "zoo.toml").read_text()
    table = "" if "[distil]" in text else "\n[distil]\n"
    text = (text + table).replace("[distil]", "[distil]\nfeatures = 0")
    (zoo / "zoo.toml").write_text(text)
    return zoo


def test_gravity_is_the_law_of_gravity(tmp_path: Path) -> None:
    study = run(only_outputs(copy_of("gravity", tmp_path)))
    (law,) = equations(study)
    assert str(law.expression) == "m1*m2/r**2"
    assert 0.8 < law.peer_ratio < 1.25
    factor, exponent = law.constants
    assert factor.low < 1 < factor.high
    assert exponent.low < 2 < exponent.high
    assert summary(study, "run")[0].startswith("force = m1*m2/r**2 ")


def test_ballistics_is_the_known_formula_with_g_inside_its_interval(tmp_path: Path) -> None:
    study = run(only_outputs(copy_of("ballistics", tmp_path)))
    (law,) = equations(study)
    assert law.target_unit == "m"
    assert 0.8 < law.peer_ratio < 1.25
    with study.reading() as catalogue:
        skeleton = parse(catalogue.select("equations")[0]["skeleton"])
        numbers = {row["name"]: row for row in catalogue.select("constants")}
    _is_projectile_range(skeleton, numbers)


def _is_projectile_range(skeleton, numbers) -> None:  # type: ignore[no-untyped-def]
    """Solve for the free numbers with SymPy: exact ones in their places, g = 9.81 must explain the others."""
    import sympy

    vx, vy, height = sympy.symbols("vx vy height", positive=True)
    known = {"vx": vx, "vy": vy, "height": height}
    ours = skeleton.sympy()
    ours = ours.subs({s: known[s.name] for s in ours.free_symbols if s.name in known})
    exact = {s: sympy.nsimplify(numbers[s.name]["exact"]) for s in ours.free_symbols if _exact(s, numbers)}
    ours = ours.subs(exact)
    free = [s for s in ours.free_symbols if s.name in numbers]
    g = sympy.Rational(981, 100)
    law = vx * (vy + sympy.sqrt(vy**2 + 2 * g * height)) / g
    points = [{vx: 3, vy: 4, height: 5}, {vx: 7, vy: 2, height: 3}, {vx: 5, vy: 9, height: 8}][: len(free)]
    start = [numbers[s.name]["value"] for s in free]
    solution = sympy.nsolve([(ours - law).subs(point) for point in points], free, start)
    for symbol, value in zip(free, list(solution), strict=True):
        assert numbers[symbol.name]["low"] < value < numbers[symbol.name]["high"]
    fitted = ours.subs(dict(zip(free, list(solution), strict=True)))
    elsewhere = [{vx: 2, vy: 6, height: 7}, {vx: 9, vy: 1, height: 2}, {vx: 4, vy: 12, height: 1}]
    assert all(abs(sympy.N((fitted - law).subs(point))) < 1e-6 for point in elsewhere)


def _exact(symbol, numbers) -> bool:  # type: ignore[no-untyped-def]
    return symbol.name in numbers and numbers[symbol.name]["exact"] is not None


def test_ten_digits_are_found_without_being_told_which_output_is_which(tmp_path: Path) -> None:
    zoo = copy_of("digits", tmp_path)
    found = clustered(open_study(zoo))
    outputs = [feature for feature in found.features if feature.role == "output"]
    assert len(outputs) == 10
    for feature in outputs:
        assert feature.networks == 8
        assert len({member.unit for member in feature.members}) == 1  # in data/, unit k is digit k
        assert feature.above_null
        assert feature.universality == 1


def untrained_zoo(folder: Path, seed: int, *, networks: int = 12) -> Study:
    """Networks as they are before training, each with its own seed."""
    kinds = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "silu": torch.nn.SiLU, "gelu": torch.nn.GELU}
    for number in range(networks):
        torch.manual_seed(1000 * seed + number)
        name = list(kinds)[number % 4]
        widths = [3, *[24 + 8 * (number % 5)] * (2 + number % 2), 1]
        layers: list[torch.nn.Module] = []
        for entering, leaving in itertools.pairwise(widths):
            layers += [torch.nn.Linear(entering, leaving), kinds[name]()]
        module = torch.nn.Sequential(*layers[:-1])
        (folder / "networks").mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), folder / "networks" / f"n{number}.safetensors", {"activation": name})
    (folder / "zoo.toml").write_text(
        f"""
        name = "untrained"
        seed = {seed}
        networks = [{{path = "networks/*.safetensors"}}]
        outputs = [{{name = "y"}}]
        [probe]
        samples = 1024
        variables = [{{name = "a", low = -2, high = 2}}, {{name = "b", low = -2, high = 2}},
                     {{name = "c", low = -2, high = 2}}]
        [distil]
        restarts = 1
        evaluations = 20000
        """
    )
    return open_study(folder)


def test_untrained_networks_have_no_more_in_common_than_chance_gives(tmp_path: Path) -> None:
    above, tested = 0, 0
    for seed in range(5):
        study = untrained_zoo(tmp_path / str(seed), seed)
        cluster(study)
        rows = features(study, where="lineages > 1")
        tested += len(rows)
        above += sum(row["above_null"] for row in rows)
    assert tested > 100
    assert above <= 0.05 * tested


def test_untrained_networks_have_no_law_and_it_is_said_in_words(tmp_path: Path) -> None:
    study = run(untrained_zoo(tmp_path, 7, networks=6))
    assert all(record.status == "no_equation" for record in equations(study))
    assert summary(study, "run")[0].startswith("no law")


def test_permuted_copies_are_matched_unit_by_unit_and_count_as_one_lineage(tmp_path: Path) -> None:
    """Planted positive control: the same network with its hidden units permuted, one of them dead."""
    torch.manual_seed(0)
    first, last = torch.nn.Linear(3, 20), torch.nn.Linear(20, 1)
    with torch.no_grad():
        first.bias[5] = -1e3
    order = torch.randperm(20)
    (tmp_path / "networks").mkdir()
    for name, rows in (("a", torch.arange(20)), ("b", order)):
        tensors = {
            "0.weight": first.weight.data[rows].contiguous(),
            "0.bias": first.bias.data[rows].contiguous(),
            "2.weight": last.weight.data[:, rows].contiguous(),
            "2.bias": last.bias.data,
        }
        save_file(tensors, tmp_path / "networks" / f"{name}.safetensors", {"activation": "relu"})
    (tmp_path / "zoo.toml").write_text(
        """
        name = "copies"
        networks = [{path = "networks/*.safetensors"}]
        [probe]
        samples = 512
        variables = [{name = "x", low = -1, high = 1}, {name = "y", low = -1, high = 1},
                     {name = "z", low = -1, high = 1}]
        """
    )
    study = cluster(tmp_path)
    with study.reading() as catalogue:
        dead = catalogue.query("SELECT network, unit FROM units WHERE dead ORDER BY network")
        matches: Rows = catalogue.query("SELECT left_unit, right_unit, r FROM matches WHERE level = 'hidden 1'")
    places = np.argsort(order.numpy())
    assert dead.rows == (("a", 5), ("b", int(places[5])))
    live = [unit for unit in range(20) if unit != 5]
    assert sorted((left, right) for left, right, _ in matches.rows) == [(unit, int(places[unit])) for unit in live]
    assert all(r > 0.999 for _, _, r in matches.rows)


def test_compare_is_what_the_tests_rely_on() -> None:
    assert compare(parse("x*(y + 1)"), parse("x*y + x")) == "proved"
