"""Matched units side by side: what is drawn of which network, what chance gives, and what is left out."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from consilience.analysis.pictures.plot import Panel, Strip, matches, save
from consilience.analysis.pictures.plot_matches import COLUMNS, ROWS
from consilience.analysis.stages.plot_rows import best, central, chances
from consilience.analysis.stages.run import cluster
from consilience.analysis.stages.stage_cluster import Feature
from consilience.analysis.stages.stage_plot import plot
from consilience.zoo.errors import BadInput

SAMPLES = 60


def panel(sign: int = 1, noise: float = 0.1, *, above: bool = True, seed: int = 0) -> Panel:
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=SAMPLES)
    values = sign * (shared + noise * generator.normal(size=SAMPLES))
    return Panel("#7", values, shared, float(np.corrcoef(values, shared)[0, 1]), sign, above)


def strips(rows: int, networks: list[str]) -> list[Strip]:
    return [Strip(f"F{row}", "hidden 1", {name: panel(seed=row) for name in networks}, 0.6) for row in range(rows)]


def words(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join(found)


def caption(figure: Figure) -> str:
    return words(figure).replace("\n", " ")


def frames(figure: Figure) -> int:
    """Cells of the picture, with a unit or empty."""
    (cells,) = figure.axes[0].findobj(PolyCollection)
    return len(cells.get_paths())


def dots(figure: Figure) -> np.ndarray:
    found = [np.asarray(one.get_offsets()) for one in figure.axes[0].collections if isinstance(one, PathCollection)]
    return np.concatenate(found) if found else np.zeros((0, 2))


@pytest.mark.parametrize(("rows", "networks"), [(1, 2), (3, 5), (1, 50), (100, 2), (30, 50)])
def test_a_cell_for_each_feature_and_network_up_to_what_fits(rows: int, networks: int, tmp_path: Path) -> None:
    names = [f"net{place}" for place in range(networks)]
    figure = matches(strips(rows, names), networks=names, finding="x")
    down, across = min(rows, ROWS), min(networks, COLUMNS)
    assert frames(figure) == down * across
    assert words(figure).count("\n#7\n") == down * across
    assert len(dots(figure)) == down * across * SAMPLES
    assert (f"{ROWS} of {rows} rows are drawn." in caption(figure)) == (rows > ROWS)
    assert (f"{COLUMNS} of {networks} networks are drawn." in caption(figure)) == (networks > COLUMNS)
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert (shown[0], shown[-1]) == (names[0], names[-1])
    save(figure, tmp_path / "matches.png")


def test_rows_say_what_they_are_and_what_chance_gives() -> None:
    row = Strip("F1 force", "output, 2 of 2 lineages", {"a": panel(), "b": panel()}, 0.8125)
    figure = matches([row], networks=["a", "b"], finding="what they share")
    assert "F1 force\noutput, 2 of 2 lineages\nchance r 0.81" in words(figure)
    assert "exceeds this r where there is nothing to match" in caption(figure)
    assert "mean of the other lineages [standard deviations]" in words(figure)
    without = matches([Strip("F1", "", row.panels)], networks=["a", "b"], finding="what they share")
    assert "hance" not in words(without)


def test_a_turned_unit_is_drawn_as_its_negative_and_marked() -> None:
    plain = matches([Strip("F1", "", {"a": panel(1)})], networks=["a"], finding="x")
    turned = matches([Strip("F1", "", {"a": panel(-1)})], networks=["a"], finding="x")
    assert np.allclose(dots(plain), dots(turned))
    minus = "\N{MINUS SIGN}"
    assert f"{minus}#7" in words(turned)
    assert f"{minus}0.99" not in words(turned)
    assert "sign turned" in caption(turned)
    assert "sign turned" not in caption(plain)


def test_equal_units_lie_on_the_line_whatever_their_scale() -> None:
    shared = np.random.default_rng(0).normal(size=SAMPLES)
    figure = matches([Strip("F1", "", {"a": Panel("#1", 5 * shared + 3, shared, 1.0)})], networks=["a"], finding="x")
    across, down = dots(figure).T
    assert np.allclose(across + down, 0.92)  # the diagonal of a cell whose panel fills 0.92 of it
    assert across.min() >= 0
    assert across.max() <= 0.92


def test_r_is_written_to_the_digits_that_tell_it_from_one() -> None:
    rows = [Strip("F1", "", {"a": Panel("#1", np.arange(9.0), np.arange(9.0), r)}) for r in (0.9997, 0.98, -0.2, 1.0)]
    found = words(matches(rows, networks=["a"], finding="x")).split("\n")
    assert {"0.9997", "0.98", "\N{MINUS SIGN}0.20", "1.00"} <= set(found)


def test_what_is_empty_weak_or_the_reference_is_said() -> None:
    nothing = np.zeros(0)
    row = Strip("#3", "", {"a": Panel("#3", nothing, nothing), "b": panel(above=False)})
    figure = matches([row], networks=["a", "b", "c"], finding="x")
    assert "Grey dots: no closer than chance." in caption(figure)
    assert "Empty: no such unit in that network." in caption(figure)
    assert len(dots(figure)) == SAMPLES


@pytest.mark.parametrize("networks", [[], ["a", "b"]])
def test_nothing_to_draw_is_said(networks: list[str], tmp_path: Path) -> None:
    figure = matches([], networks=networks, finding="no match")
    assert "nothing matched" in words(figure)
    save(figure, tmp_path / "empty.svg")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_and_constants_do_no_harm(bad: float, tmp_path: Path) -> None:
    values, constant = np.arange(9.0), np.ones(9)
    values[3] = bad
    row = Strip("F1", "", {"a": Panel("#1", values, np.arange(9.0), 0.5), "b": Panel("#2", constant, constant, 0.0)})
    figure = matches([row], networks=["a", "b"], finding="x")
    assert len(dots(figure)) == 8 + 9
    assert np.isfinite(dots(figure)).all()
    save(figure, tmp_path / "matches.png")


def test_panels_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(BadInput, match="no network 'b' is drawn"):
        matches([Strip("F1", "", {"b": panel()})], networks=["a"], finding="x")
    short = Panel("#1", np.zeros(5), np.zeros(6), 0.0)
    with pytest.raises(BadInput, match="a has 5 samples, its partner 6"):
        matches([Strip("F1", "", {"a": short})], networks=["a"], finding="x")


# What is read off a study


def feature(number: int, *, role: str = "hidden", above: bool = True, lineages: int = 2) -> Feature:
    return Feature(
        number=number,
        kind="unit",
        level="hidden 1",
        role=role,
        positions=1,
        name="",
        unit="",
        members=(),
        lineages=lineages,
        universality=1.0,
        agreement=1.0,
        support=1 / (1 + number),
        reliability=1.0,
        lift=1.0,
        p=0.01,
        q=0.01,
        above_null=above,
    )


def test_outputs_leave_room_for_hidden_features() -> None:
    outputs = [feature(number, role="output") for number in range(20)]
    hidden = [feature(number) for number in range(20, 23)]
    rows = best([*outputs, *hidden])[:ROWS]
    assert [one.role for one in rows].count("hidden") == 3
    assert [one.id for one in rows[:9]] == [f"F{number}" for number in range(9)]
    assert len(best(outputs)) == 20


def test_features_of_one_lineage_and_below_the_nulls_come_last_or_not_at_all() -> None:
    weak, alone = [feature(1, above=False), feature(0, above=False)], feature(2, lineages=1)
    assert [one.id for one in best([*weak, alone])] == ["F0", "F1"]
    assert [one.id for one in best([*weak, feature(3)])] == ["F3"]
    assert best([alone]) == []


def test_chance_is_the_strongest_null_of_a_level() -> None:
    rows = [("hidden 1", 0.4), ("hidden 1", 0.7), ("hidden 1", None), ("output", 0.2), ("hidden 2", None)]
    assert chances([{"level": level, "r95": r95} for level, r95 in rows]) == {"hidden 1": 0.7, "output": 0.2}


def test_the_reference_is_the_layer_most_like_the_others() -> None:
    names = [("a", "0"), ("b", "0"), ("c", "0")]
    pairs = [("a", "b", 0.9), ("b", "c", 0.8), ("a", "c", 0.1), ("a", "z", 9.0)]
    rows = [
        {"left_network": left, "left_layer": "0", "right_network": right, "right_layer": "0", "cka": cka}
        for left, right, cka in pairs
    ]
    assert central(names, rows) == "b"


def test_plot_draws_features_and_the_best_matches_of_every_level(tiny: Path) -> None:
    study = cluster(tiny)
    paths = plot(study, pictures=["matches"])
    assert [path.name for path in paths] == [
        f"{name}{suffix}" for name in ("matches", "matches-hidden-1", "matches-output") for suffix in (".png", ".svg")
    ]
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert plot(study, pictures=["matches"]) == paths
    assert [path.stat().st_mtime_ns for path in paths] == stamps
