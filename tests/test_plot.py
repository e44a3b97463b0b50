"""Pictures: drawn from anything, the same bytes twice, and strangers' names that stay names."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from consilience.analysis.pictures import plot_text
from consilience.analysis.pictures.plot import (
    FORMATS,
    PICTURES,
    FrontPoint,
    Panel,
    Strip,
    agreement,
    front,
    matches,
    save,
    similarity,
    units,
    universality,
)
from consilience.analysis.pictures.plot_front import spread
from consilience.analysis.pictures.plot_style import colours, style, thinned
from consilience.analysis.pictures.plot_units import layout
from consilience.zoo.errors import BadInput

HOSTILE = "$\\input{x}$ <b>&--> \x00\n\x1b[31m \u202e 力 \ud800" + "long" * 50
NAN = math.nan


def draw_front(name: str = "F", formula: str = "m1*m2/r**2") -> Figure:
    points = [FrontPoint(3, 410.0, 30.0, 4.1, "8.2/r"), FrontPoint(9, 1.05, 0.07, 0.01, formula, chosen=True)]
    return front(points, target=name, unit=name, note=name)


def draw_agreement(name: str = "F", lineages: int = 3) -> Figure:
    generator = np.random.default_rng(0)
    predicted = generator.uniform(1.0, 5.0, 200)
    values = predicted + 0.1 * generator.normal(size=(lineages, 200))
    return agreement(
        predicted,
        values,
        lineages=[name] * lineages,
        r2=[0.99] * lineages,
        formula="m1*m2/r**2",
        target=name,
        unit=name,
        note=name,
    )


def draw_units(name: str = "F1", count: int = 4) -> Figure:
    activations = np.random.default_rng(0).normal(size=(count, 50))
    labels = [name] * count
    return units(
        activations,
        networks=labels,
        levels=labels,
        features=["", *labels[1:]],
        universality=np.linspace(0.0, 1.0, count),
        note=name,
    )


def draw_similarity(name: str = "net", count: int = 4) -> Figure:
    matrix = np.full((count, count), 0.5)
    matrix[0, 1] = matrix[1, 0] = NAN
    groups = [f"{name}{place % 2}" for place in range(count)]
    return similarity(matrix, names=[name] * count, groups=groups, measure=name, of=name, note=name)


def draw_universality(name: str = "support") -> Figure:
    values = np.array([0.2, 0.9, NAN])
    return universality(values, np.array([0.1, 0.3]), above=values > 0.5, measure=name, note=name)


def draw_matches(name: str = "net", count: int = 3) -> Figure:
    generator = np.random.default_rng(0)
    shared = generator.normal(size=80)
    names = [name] if count == 1 else [f"{place}{name}" for place in range(count)]
    panels = {one: Panel(name, -shared + 0.1 * generator.normal(size=80), shared, -0.99, -1) for one in names}
    return matches([Strip(name, name, panels, 0.4)], networks=names, finding=name, partner=name, note=name)


EXAMPLES: dict[str, Callable[..., Figure]] = {
    "front": draw_front,
    "agreement": draw_agreement,
    "units": draw_units,
    "similarity": draw_similarity,
    "universality": draw_universality,
    "matches": draw_matches,
}


def words(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join(found)


def test_every_picture_has_an_example() -> None:
    assert EXAMPLES.keys() == PICTURES.keys()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("picture", PICTURES)
def test_the_same_picture_has_the_same_bytes(picture: str, suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{turn}{suffix}" for turn in ("first", "second")]
    for path in paths:
        save(EXAMPLES[picture](), path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert len(first) > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"first{suffix}", f"second{suffix}"]


@pytest.mark.parametrize("picture", PICTURES)
def test_names_of_strangers_are_only_names(picture: str, tmp_path: Path) -> None:
    figure = EXAMPLES[picture](HOSTILE)
    for suffix in FORMATS:
        save(figure, tmp_path / f"hostile{suffix}")
    root = ElementTree.parse(tmp_path / "hostile.svg").getroot()
    assert root.tag.endswith("svg")
    assert "input{x}" in words(figure)


@pytest.mark.parametrize("picture", PICTURES)
def test_settings_of_the_process_are_neither_used_nor_changed(picture: str, tmp_path: Path) -> None:
    save(EXAMPLES[picture](), tmp_path / "plain.svg")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 33.0, "svg.hashsalt": None}):
        before = dict(matplotlib.rcParams)
        save(EXAMPLES[picture](), tmp_path / "odd.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.svg").read_bytes() == (tmp_path / "odd.svg").read_bytes()


def test_png_has_160_dots_an_inch(tmp_path: Path) -> None:
    save(Figure(figsize=(2.0, 1.0)), tmp_path / "small.png")
    header = (tmp_path / "small.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (320, 160)


def test_save_refuses_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no picture format '\.bmp'"):
        save(Figure(), tmp_path / "picture.bmp")


def test_save_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput) as caught:
        save(Figure(), tmp_path / "file" / "picture.png")
    assert f"cannot write the picture into {tmp_path / 'file'}: " in caught.value.what
    assert caught.value.hint == "name a folder that you can write to: --out FOLDER"


# Names and formulas


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("net_1", "net_1"),
        ("$x$", r"\$x\$"),
        (r"a\$b$", r"a\\$b\$"),
        ("two\nlines\t\x00", "two lines"),
        ("x" * 50, "x" * 39 + "…"),
        ("$" * 50, r"\$" * 39 + "…"),
    ],
)
def test_plain_names(name: str, drawn: str) -> None:
    assert plot_text.plain(name) == drawn


@pytest.mark.parametrize("name", ["$x$", r"\$x\$", r"$\frac{$", "$", r"\\$a$", r"\$x$ $"])
def test_dollars_in_names_start_no_mathematics(name: str) -> None:
    assert not is_math_text(plot_text.plain(name))


@pytest.mark.parametrize(
    ("target", "formula", "drawn"),
    [
        ("F", "m1*m2/r**2", r"$F = \dfrac{m_{1} m_{2}}{r^{2}}$"),
        ("", "x + 1", "$x {} + 1$"),
        ("my force", "-x - y", "my force = $- x {} - y$"),
        ("F", "import os", "F = import os"),
        ("F$", "2**$x", r"F\$ = 2^\$x"),
        ("F", "2*sin(x)", r"$F = 2 \, \sin\left(x\right)$"),
    ],
)
def test_equations_are_mathematics_where_they_can_be_read(target: str, formula: str, drawn: str) -> None:
    assert plot_text.equation(target, formula, width=500.0, size=12.0) == drawn


def test_long_sums_are_broken_between_terms() -> None:
    formula = " + ".join(f"{place}.5*speed{place}" for place in range(12))
    lines = plot_text.equation("F", formula, width=300.0, size=12.0).split("\n")
    assert len(lines) == 4
    assert all(line.startswith("$") and line.endswith("$") for line in lines)
    assert all(plot_text.measure(line, size=12.0) <= 320 for line in lines)


def test_very_long_sums_end_in_dots() -> None:
    formula = " - ".join(f"{place}.5*speed{place}" for place in range(80))
    lines = plot_text.equation("F", formula, width=300.0, size=12.0).split("\n")
    assert len(lines) == 4
    assert lines[-1] == r"$\quad {} + \cdots$"


@pytest.mark.parametrize(
    "formula",
    [
        "*".join(f"speed{place}" for place in range(60)),
        "sin(" * 60 + "x" + ")" * 60,
        "1/(1 + " * 40 + "x" + ")" * 40,
        "abs(" * 100 + "x" + ")" * 100,
        "x" * 5000,
    ],
)
def test_what_cannot_be_broken_is_text(formula: str) -> None:
    drawn = plot_text.equation("F", formula, width=300.0, size=12.0)
    assert drawn.startswith("F = ")
    assert drawn.count("\n") <= 3
    assert not is_math_text(drawn)


# Style


@pytest.mark.parametrize("count", [0, 1, 2, 12, 13, 50])
def test_colours_are_distinct(count: int) -> None:
    assert len(set(colours(count))) == count


def test_labels_are_thinned_evenly() -> None:
    names = [str(place) for place in range(240)]
    assert thinned(names, most=100)[:3] == [(0, "0"), (3, "3"), (6, "6")]
    assert len(thinned(names, most=100)) == 80
    assert thinned([], most=3) == []


def test_style_gives_the_settings_back_after_an_error() -> None:
    before = dict(matplotlib.rcParams)
    with pytest.raises(ZeroDivisionError), style():
        raise ZeroDivisionError
    assert dict(matplotlib.rcParams) == before


# Front


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (1.0512, 0.07, "1.05 ± 0.07"),
        (812.3, 61.0, "812.3 ± 61.0"),
        (1.00012, 0.0003, "1.0001 ± 0.0003"),
        (2.0, NAN, "2"),
    ],
)
def test_values_keep_the_digits_that_their_errors_leave(value: float, error: float, written: str) -> None:
    assert spread(value, error) == written


def test_front_says_the_finding() -> None:
    figure = draw_front()
    assert r"$F = \dfrac{m_{1} m_{2}}{r^{2}}$" in words(figure)
    assert "peer ratio 1.05 ± 0.07 at 9 nodes" in words(figure)
    assert figure.axes[0].get_yscale() == "log"


def test_front_without_peers_shows_errors() -> None:
    figure = front([FrontPoint(3, NAN, NAN, 0.2, "x", chosen=True)], target="F", unit="N")
    assert figure.axes[0].get_ylabel() == "error [N]"
    assert "without peers to compare with" in words(figure)
    assert "as good as the peers" not in words(figure)


def test_front_counts_what_it_cannot_draw() -> None:
    points = [FrontPoint(1, 2.0, NAN, 1.0, "x"), FrontPoint(2, NAN, NAN, 1.0, "y"), FrontPoint(3, 0.0, 0.1, 0.0, "z")]
    assert "2 of 3 could not be scored" in words(front(points, target="F")).replace("\n", " ")


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_fronts_of_any_size_without_a_choice(count: int, tmp_path: Path) -> None:
    points = [FrontPoint(place + 1, 300.0 / (place + 1), 900.0, 1.0, "x") for place in range(count)]
    figure = front(points, target="logit 3")
    assert "logit 3: no equation" in words(figure)
    save(figure, tmp_path / "front.png")


# Agreement


@pytest.mark.parametrize("lineages", [1, 3, 12, 50, 90])
def test_agreement_of_any_number_of_lineages(lineages: int, tmp_path: Path) -> None:
    figure = draw_agreement("net", lineages)
    save(figure, tmp_path / "agreement.png")
    assert (len(figure.axes[1].patches) > lineages) == (lineages > 1)  # boxes, and the two bands of the peers


def test_agreement_puts_the_closest_at_the_top() -> None:
    predicted = np.linspace(-1.0, 1.0, 50)
    values = predicted + np.array([[0.3], [0.01], [5.0]])
    figure = agreement(
        predicted, values, lineages=["b", "a", "c"], r2=[0.9, 0.99, 0.0], formula="x", target="y", unit="m"
    )
    right = figure.axes[1]
    assert [label.get_text() for label in right.get_yticklabels()] == ["a", "b", "c"]
    assert right.get_xlabel() == "network \N{MINUS SIGN} equation [m]"


def test_agreement_leaves_out_what_is_not_finite() -> None:
    predicted = np.array([1.0, NAN, 3.0, 4.0])
    values = np.array([[1.0, 2.0, np.inf, 4.0], [1.0, 2.0, 3.0, 4.0]])
    figure = agreement(predicted, values, lineages=["a", "b"], r2=[NAN, 1.0], formula="x", target="y")
    (dots,) = figure.axes[0].collections
    assert len(dots.get_offsets()) == 4


@pytest.mark.parametrize("samples", [0, 1, 5])
def test_agreement_of_constants(samples: int, tmp_path: Path) -> None:
    figure = agreement(
        np.ones(samples), np.ones((2, samples)), lineages=["a", "b"], r2=[NAN, NAN], formula="1", target="y"
    )
    save(figure, tmp_path / "agreement.png")


# Units


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_units_are_placed_without_learning(count: int, tmp_path: Path) -> None:
    save(draw_units(count=count), tmp_path / "units.png")


def test_units_without_variation_are_left_out() -> None:
    activations = np.random.default_rng(0).normal(size=(5, 20))
    activations[1], activations[3, 2] = 7.0, NAN
    figure = units(activations, networks=list("aabbc"), levels=["1"] * 5, features=[""] * 5, universality=np.zeros(5))
    assert "3 units of 3 networks: no feature is above the nulls" in words(figure)
    assert "2 units without usable variation left out." in words(figure)


def test_no_unit_at_all_is_still_a_picture(tmp_path: Path) -> None:
    figure = units(np.zeros((2, 9)), networks=["a", "b"], levels=["1"] * 2, features=[""] * 2, universality=np.zeros(2))
    save(figure, tmp_path / "units.svg")


def test_units_are_coloured_by_universality_network_and_layer() -> None:
    activations = np.random.default_rng(0).normal(size=(4, 30))
    levels = ["hidden 2", "hidden 10", "output", "output"]
    figure = units(
        activations, networks=list("abab"), levels=levels, features=["", "F1", "F2", "F2"], universality=np.ones(4)
    )
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == ["by universality of the feature", "by network", "by layer, first to last"]
    legend = [label.get_text() for label in figure.axes[2].get_legend().get_texts()]
    assert legend == ["hidden 2", "hidden 10", "output"]  # in the order of depth, not of the alphabet


def test_signs_bring_a_unit_and_its_negative_together() -> None:
    wave = np.sin(np.arange(60.0))
    activations = np.stack([wave, -wave, np.cos(np.arange(60.0))])

    def first_two(signs: np.ndarray | None) -> float:
        figure = units(
            activations,
            networks=["a", "b", "c"],
            levels=["1"] * 3,
            features=["F1", "F1", ""],
            universality=np.ones(3),
            signs=signs,
        )
        dots = next(
            c for c in figure.axes[0].collections if isinstance(c, PathCollection) and len(c.get_offsets()) == 2
        )
        left, right = np.asarray(dots.get_offsets())
        return float(np.linalg.norm(left - right))

    assert first_two(np.array([1.0, -1.0, 1.0])) < 1e-9
    assert first_two(None) > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 60])
def test_the_map_keeps_clusters_together_and_repeats_itself(count: int) -> None:
    generator = np.random.default_rng(0)
    groups = np.arange(count) % 2
    activations = generator.normal(size=(2, 80))[groups] + 0.1 * generator.normal(size=(count, 80))
    positions = layout(activations, seed=3)
    assert np.array_equal(positions, layout(activations, seed=3))
    centres = np.stack([positions[groups == group].mean(axis=0) for group in (0, 1)])
    if count > 5:
        nearest = np.linalg.norm(positions[:, None] - centres[None], axis=2).argmin(axis=1)
        assert np.array_equal(nearest, groups)


# Similarity


def test_similarity_puts_groups_together() -> None:
    matrix = np.eye(4)
    matrix[0, 2] = matrix[2, 0] = 0.9
    figure = similarity(matrix, names=list("abcd"), groups=["u", "v", "u", "v"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "c", "b", "d"]
    assert "4 layers: median CKA 0.45 within blocks," in words(figure)


@pytest.mark.parametrize("count", [0, 1, 2, 100, 130])
def test_similarity_of_any_size(count: int, tmp_path: Path) -> None:
    figure = similarity(np.full((count, count), NAN), names=[f"n{place}" for place in range(count)], of="networks")
    assert f"{count} networks, no two comparable" in words(figure)
    assert len(figure.axes[0].get_yticks()) <= 100
    save(figure, tmp_path / "similarity.png")


def test_rows_beyond_a_hundred_are_not_all_named() -> None:
    figure = similarity(np.eye(130), names=[f"n{place}" for place in range(130)])
    assert "Not every one of 130 rows is named." in words(figure).replace("\n", " ")


# Universality


def heights(figure: Figure) -> list[list[float]]:
    """The bars of each kind: above the nulls, not above, and the nulls."""
    return [[bar.get_height() for bar in bars] for bars in figure.axes[0].containers]


def test_universality_counts_features_above_the_nulls() -> None:
    figure = draw_universality()
    assert "1 of 3 features is above the nulls" in words(figure)
    above, below, _ = heights(figure)
    assert (sum(above), sum(below)) == (1, 1)


def test_the_nulls_stand_beside_the_features_and_are_scaled_to_as_many() -> None:
    values = np.array([0.2, 0.9, 0.95])
    figure = universality(values, np.array([-0.4, 0.1, 0.1, 0.3]), above=values > 0.5)
    above, below, nulls = figure.axes[0].containers
    assert sum(heights(figure)[2]) == pytest.approx(3)
    assert all(one.get_x() + one.get_width() <= null.get_x() for one, null in zip(above, nulls, strict=True))
    assert [bar.get_y() for bar in below] == [bar.get_height() for bar in above]
    caption = words(figure).replace("\n", " ")
    assert "what the same search finds where there is nothing to find" in caption
    assert "What lies below 0 is counted at 0." in caption


def test_universality_without_anything(tmp_path: Path) -> None:
    figure = universality(np.zeros(0), np.zeros(0), above=np.zeros(0, dtype=bool))
    save(figure, tmp_path / "universality.svg")
