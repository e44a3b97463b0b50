"""Pictures of vision: what they say, nothing on top of anything else, and whatever zoos may hold."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from consilience.analysis.pictures.plot import save
from consilience.analysis.pictures.plot_style import style
from consilience.analysis.vision import plot_sheet
from consilience.analysis.vision.plot_detectors import DetectorMember, draw_detector
from consilience.analysis.vision.plot_first_kernels import (
    BEST,
    NETWORKS,
    REST,
    FirstBand,
    FirstKernel,
    draw_first_kernels,
)
from consilience.analysis.vision.plot_kernels import COLUMNS, KernelCell, KernelRow, draw_kernels
from consilience.analysis.vision.plot_map_agreement import agreed, draw_agreement_map
from consilience.analysis.vision.plot_shares import LayerShare, draw_shares, shortened
from consilience.analysis.vision.plot_table import TILES, TableCell, arranged, draw_table
from consilience.analysis.vision.plot_tint import (
    KINDS,
    diverging,
    doubting,
    kernel_colours,
    kind_colours,
    laid_over,
    photo,
    reach,
)
from consilience.analysis.vision.plot_tuning import Scale, TuningCurve, TuningPanel, draw_tuning
from consilience.zoo.errors import BadInput

LONG = "a_network_with_a_very_long_name_indeed_of_2026_v"
HOSTILE = "$\\input{x}$ <b>&--> \x00\n\x1b[31m \u202e 力 \ud800" + "long" * 50
VON_MISES = "a*exp(kappa*(cos(2*(angle - preferred)) - 1)) + b"
GABOR = (
    "exp(-(x*cos(angle) + y*sin(angle))**2/(2*s**2) - (y*cos(angle) - x*sin(angle))**2/(2*t**2))"
    "*(a*cos(2*pi*f*(x*cos(angle) + y*sin(angle))) + b*sin(2*pi*f*(x*cos(angle) + y*sin(angle))) + d)"
)
NAN = math.nan


def zoo(count: int, name: str = LONG) -> list[str]:
    return [f"{name}{place}" for place in range(count)]


def gabor(angle: float, *, side: int = 5, channels: int = 1) -> np.ndarray:
    places = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(places, places)
    along = x * np.cos(angle) + y * np.sin(angle)
    one = np.exp(-(x**2 + y**2) / 4) * np.sin(2 * np.pi * 0.12 * along)
    return np.repeat(one[None], channels, axis=0)


def scene() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([(x > 30) * 200, (y > 20) * 150, (x + y) % 255], axis=-1).astype(np.uint8)


def a_map(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 8))


def kernels(count: int = 3, name: str = LONG, formula: str = GABOR, channels: int = 1, missing: bool = False) -> Figure:
    networks = zoo(count, name)
    form = gabor(0.3, channels=channels)
    cells = {one: KernelCell(form + 0.05 * a_map(1)[:5, :5], form, 0.953, "17°, 0.12 c/px") for one in networks}
    rows = [KernelRow(name, cells, formula, name), KernelRow("spot", dict(cells), "exp(-x**2/2)", "5 of 7")]
    if missing:
        rows[1] = KernelRow("spot", {networks[0]: KernelCell(gabor(0.0, channels=channels), None)}, "", "")
    return draw_kernels(rows, networks=networks, finding=f"families of {name}", note=name)


def detector(count: int = 3, name: str = LONG, formula: str = VON_MISES, missing: bool = False) -> Figure:
    networks = zoo(count, name)
    shown = [
        DetectorMember(name, kernel=gabor(0.1), response=a_map(), r=0.91),
        DetectorMember(name, crops=np.stack([scene()[:20, :20]] * 9), response=a_map(2), r=-0.4),
        DetectorMember("#3", crops=np.zeros((0, 4, 4, 3))),
    ]
    members = {one: shown[place % 3] for place, one in enumerate(networks)}
    if missing:
        members.pop(networks[-1])
    return draw_detector(
        members,
        networks=networks,
        name=name,
        detector="edge detector",
        lineages=5,
        of=7,
        formula=formula,
        image=scene(),
        note=name,
    )


def curve(network: str, places: np.ndarray, preferred: float = 0.0) -> TuningCurve:
    responses = np.exp(2 * (np.cos(2 * (places - preferred)) - 1))
    return TuningCurve(network, places, responses, np.arange(len(places)) % 2 == 1, preferred)


def tuning(
    count: int = 3, name: str = LONG, formula: str = VON_MISES, scales: tuple[Scale, ...] = ("orientation", "log")
) -> Figure:
    places = np.linspace(0.02, 3.0, 18)
    curves = [curve(one, places, 0.3 * at) for at, one in enumerate(zoo(count, name))]
    panels = [
        TuningPanel(name, scale, curves, places, np.exp(2 * (np.cos(2 * places) - 1)), formula, name, 0.941, "rad")
        for scale in scales
    ]
    return draw_tuning(panels, finding=f"tuning of {name}", note=name)


def table(count: int = 9, name: str = LONG, formula: str = GABOR) -> Figure:
    kinds = list(KINDS)
    cells = [
        TableCell(f"{name}{place}", kinds[place % 5], 1 + place % 7, 7, gabor(place), None, formula, 99.97)
        for place in range(count)
    ]
    cells += [TableCell(name, name, 1, 7, stimulus=scene()), TableCell("bare", "spot", 0, 0)] if count else []
    return draw_table(cells, finding=f"features of {name}", note=name)


def shares(count: int = 3, name: str = LONG, layers: int = 5) -> Figure:
    counts = {"oriented": 40, "colour": 20, "not reduced": 36}
    rows = [LayerShare(one, f"{name}.{layer}.conv", counts) for one in zoo(count, name) for layer in range(layers)]
    return draw_shares(rows, finding=f"layers of {name}", note=name)


def agreement(count: int = 3, name: str = LONG, missing: bool = False) -> Figure:
    networks = zoo(count, name)
    maps = {one: a_map(place) for place, one in enumerate(networks)}
    if missing:
        maps.pop(networks[-1])
    return draw_agreement_map(scene(), maps, networks=networks, name=name, note=name)


def first(count: int = 3, name: str = LONG) -> Figure:
    one = FirstKernel(3, gabor(0.2, channels=3), gabor(0.2, channels=3), "difference_of_gaussians", 0.91)
    bands = [
        FirstBand(network, name, 20, 384, [one] * 20, [one] * (place % 6))
        for place, network in enumerate(zoo(count, name))
    ]
    return draw_first_kernels(bands, finding=f"first layers of {name}", note=name)


PICTURES: dict[str, Callable[..., Figure]] = {
    "kernels": kernels,
    "first": first,
    "detector": detector,
    "tuning": tuning,
    "table": table,
    "shares": shares,
    "agreement": agreement,
}


def words(figure: Figure) -> str:
    return "\n".join(found.get_text() for found in figure.findobj(Text)).replace(r"\$", "$")


def shown(figure: Figure) -> list[Text]:
    """Texts that are drawn: those of ticks outside the axes are not."""
    figure.draw_without_rendering()
    beyond = {id(label) for axis in figure.findobj(Axis) for label in _beyond(axis)}
    return [
        found for found in figure.findobj(Text) if found.get_visible() and found.get_text() and id(found) not in beyond
    ]


def _beyond(axis: Axis) -> list[Text]:
    if not axis.axes.axison:
        return axis.get_ticklabels(which="both")
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [
        label
        for tick in ticks
        if not low - slack <= tick.get_loc() <= high + slack
        for label in (tick.label1, tick.label2)
    ]


def collisions(figure: Figure) -> list[str]:
    """Texts that touch one another or leave the figure, by more than a point."""
    with style():
        boxes = [(found.get_text(), found.get_window_extent().padded(-72 / figure.dpi)) for found in shown(figure)]
    page = figure.bbox.padded(2)
    found = [f"outside: {name}" for name, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]
    return found + [
        f"{one} | {two}" for (one, first), (two, second) in combinations(boxes, 2) if first.overlaps(second)
    ]


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("picture", PICTURES)
def test_no_words_on_top_of_others_however_many_networks_with_long_names(picture: str, count: int) -> None:
    assert collisions(PICTURES[picture](count)) == []


@pytest.mark.parametrize("picture", PICTURES)
def test_names_of_strangers_are_only_names(picture: str, tmp_path: Path) -> None:
    figure = PICTURES[picture](2, HOSTILE)
    assert collisions(figure) == []
    assert "input{x}" in words(figure)
    save(figure, tmp_path / "hostile.svg")
    assert ElementTree.parse(tmp_path / "hostile.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("picture", PICTURES)
def test_the_same_picture_has_the_same_bytes(picture: str, tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        save(PICTURES[picture](1), tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


@pytest.mark.parametrize(
    "formula", ["", "x", GABOR, " + ".join(f"{n}*speed{n}" for n in range(90)), "import os", "(" * 99]
)
@pytest.mark.parametrize("picture", ["kernels", "detector", "tuning", "table"])
def test_formulas_of_any_length_find_their_place(picture: str, formula: str) -> None:
    assert collisions(PICTURES[picture](2, "net", formula=formula)) == []


@pytest.mark.parametrize("picture", ["kernels", "detector", "agreement"])
def test_a_network_without_the_feature_says_none(picture: str) -> None:
    assert "\nnone\n" not in words(PICTURES[picture](3, "net"))
    figure = PICTURES[picture](3, "net", missing=True)
    assert "\nnone\n" in words(figure)
    assert "None: the f" in words(figure).replace("\n", " ")


# Kernels


def images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


@pytest.mark.parametrize("channels", [1, 3])
def test_kernel_form_and_residual_stand_on_one_scale(channels: int) -> None:
    form = gabor(0.7, channels=channels)
    row = KernelRow("edge", {"a": KernelCell(form, form, 1.0, "40°")}, "x*exp(-x**2)", "1 of 1")
    figure = draw_kernels([row], networks=["a"], finding="one edge")
    kernel, closed, residual = images(figure)[-3:]
    assert np.array_equal(kernel, closed)
    assert np.allclose(residual, residual[0, 0])  # nothing is left: all of it is the colour of zero
    for said in ("one edge", "edge", "1 of 1", "R² = 1.00", "40°", "kernel", "form", "residual"):
        assert said in words(figure).split("\n")
    assert ("+max" in words(figure)) == (channels == 1)


def test_a_kernel_without_a_form_is_not_reduced() -> None:
    figure = draw_kernels([KernelRow("?", {"a": KernelCell(gabor(0), None)})], networks=["a"], finding="x")
    assert "not reduced" in words(figure).split("\n")
    assert "R² = " not in words(figure)


def test_more_networks_than_fit_are_counted() -> None:
    figure = kernels(30, "net")
    assert f"{COLUMNS} of 30 networks are drawn." in words(figure).replace("\n", " ")
    assert "net29" in words(figure)


def test_kernels_that_do_not_belong_are_refused() -> None:
    with pytest.raises(BadInput, match="no network 'b' is drawn"):
        draw_kernels([KernelRow("x", {"b": KernelCell(gabor(0), None)})], networks=["a"], finding="x")
    with pytest.raises(BadInput, match="a kernel of 2 channels"):
        draw_kernels([KernelRow("x", {"a": KernelCell(gabor(0, channels=2), None)})], networks=["a"], finding="x")
    cell = KernelCell(gabor(0), gabor(0, side=7))
    with pytest.raises(BadInput, match=r"a kernel \(1, 5, 5\) and a form \(1, 7, 7\)"):
        draw_kernels([KernelRow("x", {"a": cell})], networks=["a"], finding="x")


def test_a_large_first_layer_fits_a_page_and_says_how_many_more_there_are() -> None:
    figure = first(1, "net")
    assert len(images(figure)) == 2 * BEST
    assert "20 of 384 have a" in words(figure)
    assert "DoG" in words(figure).split("\n")
    many = first(NETWORKS + 8, "net")
    assert f"{NETWORKS} of {NETWORKS + 8} networks are drawn." in words(many).replace("\n", " ")
    assert len(images(first(6, "net"))) == 2 * (6 * BEST + sum(min(place, REST) for place in range(6)))
    assert "no kernel" in words(draw_first_kernels([], finding="x"))


def test_long_formulas_have_named_parts_and_keep_their_signs() -> None:
    turned = "(-1*(x - 0.0273) + 0.002*(y + 0.0085))"
    formula = f"0.85*{turned}*exp(-{turned}**2/2.5)"
    row = KernelRow("edge", {"a": KernelCell(gabor(0), gabor(0), 1.0)}, formula)
    said = words(draw_kernels([row], networks=["a"], finding="x"))
    assert r"$u = -\left(x - 0.0273\right)$" in said or r"-\left(x - 0.0273\right)" in said
    assert said.count("0.0273") == 1


# Detectors


def test_a_detector_says_its_name_its_kind_how_many_have_it_and_its_law() -> None:
    figure = detector(3, "F12")
    assert "F12: edge detector, in 5 of 7 lineages" in words(figure)
    assert r"\mathrm{response} = a e^{" in words(figure)
    assert "r = 0.91" in words(figure)
    assert "r = \N{MINUS SIGN}0.40" in words(figure)
    assert "no crops" in words(figure)
    assert "no map" in words(figure)
    assert "no equation" in words(detector(1, "F12", formula=""))


def test_a_detector_without_an_image_has_no_maps() -> None:
    members = {"a": DetectorMember("#1", kernel=gabor(0), response=a_map())}
    figure = draw_detector(members, networks=["a"], name="F1", detector="edge", lineages=1, of=1)
    assert "the image" not in words(figure)
    assert len(images(figure)) == 1


def test_maps_of_nothing_are_striped() -> None:
    members = {"a": DetectorMember("#1", kernel=gabor(0), response=np.full((4, 4), NAN))}
    figure = draw_detector(members, networks=["a"], name="F1", detector="edge", lineages=1, of=1, image=scene())
    assert "Striped: no value there." in words(figure).replace("\n", " ")


def test_members_of_no_network_are_refused() -> None:
    with pytest.raises(BadInput, match="no network 'b' is drawn"):
        draw_detector({"b": DetectorMember("#1")}, networks=["a"], name="F", detector="edge", lineages=1, of=1)


# Tuning


def lines(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata()) for line in figure.axes[1].lines]


def test_curves_lie_on_their_law_whatever_their_preferred_angle() -> None:
    places = np.linspace(0, np.pi, 36, endpoint=False)
    curves = [curve("net", places, preferred) for preferred in (0.0, 5 * np.pi / 36, 3.0)]
    panel = TuningPanel("orientation", "orientation", curves, places, np.exp(2 * (np.cos(2 * places) - 1)))
    for found in lines(draw_tuning([panel], finding="x")):
        angles, values = found[:, 0], found[:, 1]
        assert np.allclose(values, np.exp(2 * (np.cos(2 * angles) - 1)))
        assert angles.max() > np.pi


def test_held_out_points_and_no_others_are_dots() -> None:
    places = np.linspace(0.02, 0.4, 10)
    panel = TuningPanel("frequency", "log", [curve("net", places)], places, np.ones(10), "x", "line", 0.5, "c/px")
    figure = draw_tuning([panel], finding="x")
    law, members, dots = lines(figure)
    assert (len(law), len(members), len(dots)) == (10, 10, 5)
    assert np.array_equal(dots[:, 0], places[1::2])
    assert figure.axes[1].get_xscale() == "log"
    assert figure.axes[1].get_xlabel() == "frequency [c/px]"
    assert "line, R² = 0.50 held out" in words(figure)


@pytest.mark.parametrize("scale", ["orientation", "direction", "log", "linear"])
def test_curves_with_gaps_negative_or_missing(scale: Scale, tmp_path: Path) -> None:
    places = np.linspace(-0.5, 3, 12)
    gaps = np.where(np.arange(12) % 3, -np.cos(places), NAN)
    held = np.zeros(12, dtype=bool)
    nothing = TuningCurve("b", places, np.full(12, NAN), held)
    panels = [
        TuningPanel("gaps", scale, [TuningCurve("a", places, gaps, held), nothing], places, gaps),
        TuningPanel("missing", scale, [nothing], places, gaps),
        TuningPanel("empty", scale, [], np.zeros(0), np.zeros(0)),
        TuningPanel("flat", scale, [TuningCurve("a", places, np.zeros(12), held)], places, np.zeros(12)),
    ]
    figure = draw_tuning(panels, finding="x")
    assert words(figure).split("\n").count("none") == 2
    save(figure, tmp_path / "gaps.png")


def test_the_law_lies_over_its_curves_and_many_curves_have_no_dots() -> None:
    places = np.linspace(0, np.pi, 36, endpoint=False)
    curves = [curve(f"net{place}", places) for place in range(9)]
    panel = TuningPanel("T2", "direction", curves, places, np.ones(36), "x", around="hue")
    figure = draw_tuning([panel], finding="x", response="response")
    drawn = figure.axes[1].lines
    assert len(drawn) == 1 + len(curves)
    assert drawn[0].get_zorder() > max(line.get_zorder() for line in drawn[1:])
    for said in ("hue from the preferred one", "law"):
        assert said in words(figure).split("\n")
    assert "Open dots" not in words(figure)
    assert "From the centre out: response." in words(figure).replace("\n", " ")


# Table


def test_a_tile_says_what_where_and_how_sure() -> None:
    cell = TableCell("F7", "spot", 5, 7, gabor(0), None, "exp(-r**2/2)", 99.97)
    figure = draw_table([cell], finding="one feature")
    for said in ("one feature", "spot", "F7", "5 of 7", "99.97 %"):
        assert said in words(figure).split("\n")
    assert r"\exp\left(" in words(figure)
    assert "above all" in words(draw_table([TableCell("F7", "spot", 5, 7, percentile=100.0)], finding="x"))


def test_tiles_stand_by_kind_and_each_stands_once() -> None:
    cells = [TableCell(f"F{place}", ("edge", "spot")[place % 2], 1, 7) for place in range(9)]
    runs = arranged(cells, ["edge", "spot"], across=4)
    assert [(run.kind, run.row, run.column, len(run.cells)) for run in runs] == [
        ("edge", 0, 0, 4),
        ("edge", 1, 0, 1),
        ("spot", 1, 1, 3),
        ("spot", 2, 0, 1),
    ]
    assert sorted(cell.name for run in runs for cell in run.cells) == [cell.name for cell in cells]


def test_features_in_most_lineages_are_kept() -> None:
    cells = [TableCell(f"F{place}.", "edge", place, 99) for place in range(TILES + 5)]
    found = words(draw_table(cells, finding="x"))
    assert f"{TILES} of {TILES + 5} features are drawn." in found.replace("\n", " ")
    assert f"F{TILES + 4}." in found
    assert "F4." not in found.split("\n")


# Shares


def test_bars_add_up_and_count_their_units() -> None:
    rows = [LayerShare("net", f"block.{at}.dw", {"not reduced": 30, "oriented": 60 + at}) for at in range(3)]
    figure = draw_shares([*rows, LayerShare("net", "block.3.dw", {})], finding="x")
    bars = [(patch.get_x(), patch.get_width()) for patch in figure.axes[1].patches]
    assert np.allclose([wide for _, wide in bars[:3]], [100 * (60 + at) / (90 + at) for at in range(3)])
    assert np.allclose([start + wide for start, wide in bars[4:7]], 100)
    assert "Silent" not in words(figure)
    silent = words(draw_shares([LayerShare("net", "a", {"silent": 3})], finding="x"))
    assert "Silent: the unit never varies." in silent.replace("\n", " ")
    for said in ("oriented", "not reduced", "net", "layers block.*.dw", "0", "90", "92", "none"):
        assert said in words(figure).split("\n")


def test_untrained_twins_are_thin_bars_beneath() -> None:
    rows = [LayerShare("net", "a", {"edge": 30, "not reduced": 10}, {"edge": 8, "not reduced": 72})]
    figure = draw_shares(rows, finding="x")
    trained, twins = ([patch for patch in figure.axes[1].patches if patch.get_height() == high] for high in (0.58, 0.2))
    assert [patch.get_width() for patch in trained] == [75.0, 25.0]
    assert [patch.get_width() for patch in twins] == [10.0, 90.0]
    assert "untrained twins" in words(figure).replace("\n", " ")
    assert "untrained twins" not in words(shares(1, "net"))


@pytest.mark.parametrize(
    ("layers", "pattern", "shorts"),
    [
        (["a.0.c", "a.1.c"], "layers a.*.c", ["0", "1"]),
        (["a.0", "a.0.c"], "layers a.*", ["0", "0.c"]),
        (["a", "b"], "", ["a", "b"]),
        (["a.b"], "", ["a.b"]),
        (["a.b", "a.b"], "layers a.*", ["b", "b"]),
        ([], "", []),
    ],
)
def test_names_of_layers_lose_what_they_share(layers: list[str], pattern: str, shorts: list[str]) -> None:
    assert shortened(layers) == (pattern, shorts)


# Agreement


def test_agreement_is_mean_and_spread_of_what_is_known() -> None:
    maps = np.array([[[1.0, NAN, NAN]], [[3.0, 5.0, NAN]]])
    found = agreed(maps)
    assert np.allclose(found.mean, [[2.0, 5.0, NAN]], equal_nan=True)
    assert np.allclose(found.spread, [[math.sqrt(2), NAN, NAN]], equal_nan=True)


def test_equal_maps_do_not_disagree_and_one_map_cannot() -> None:
    same = {"a": a_map(), "b": a_map()}
    assert "disagreement (standard deviation)" in words(
        draw_agreement_map(scene(), same, networks=["a", "b"], name="F")
    )
    alone = words(draw_agreement_map(scene(), {"a": a_map()}, networks=["a"], name="F"))
    assert "F: where 1 network agrees" in alone
    assert "one network: none to differ from" in alone
    assert "F: where no network agree" in words(draw_agreement_map(scene(), {}, networks=["a"], name="F"))


def test_maps_on_different_grids_are_refused() -> None:
    with pytest.raises(BadInput, match="maps of"):
        draw_agreement_map(scene(), {"a": a_map(), "b": np.zeros((2, 2))}, networks=["a", "b"], name="F")
    with pytest.raises(BadInput, match="no network 'c' is drawn"):
        draw_agreement_map(scene(), {"c": a_map()}, networks=["a"], name="F")


# Colours


def test_signs_are_told_apart_and_zero_is_grey() -> None:
    colours = kernel_colours(np.array([[[-1.0, 0.0, 1.0, NAN]]]), reach=1.0)[0]
    assert colours[0, 2] > colours[0, 0]
    assert colours[2, 0] > colours[2, 2]
    assert np.ptp(colours[1]) < 0.02
    assert np.array_equal(colours[3], np.ones(3))


def test_every_kind_has_its_own_colour() -> None:
    found = kind_colours(["not reduced", *KINDS, "new kind", "another"])
    assert len(set(found.values())) == len(found)
    assert list(found)[-2:] == ["not reduced", "silent"]
    assert kind_colours(["oriented"])["oriented"] == KINDS["oriented"]


def test_a_map_of_zeros_leaves_the_photo_in_grey() -> None:
    laid = laid_over(scene(), np.zeros((3, 4)), full=1.0, colours=diverging())
    assert laid.shape == (48, 64, 3)
    assert np.allclose(np.ptp(laid, axis=-1), 0)
    strong = laid_over(scene(), np.ones((3, 4)), full=1.0, colours=doubting())
    assert (np.ptp(strong, axis=-1) > 0.1).all()


def test_photos_of_whole_numbers_and_of_shares_look_alike() -> None:
    assert np.allclose(photo(scene()), photo(scene() / 255.0))
    assert max(photo(np.zeros((2000, 10, 3))).shape) <= 320


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.full((2, 2), NAN), np.zeros((0, 3))])
def test_reach_of_nothing_is_one(values: np.ndarray) -> None:
    assert reach(values) == 1.0


# Words


@pytest.mark.parametrize("name", [LONG + "1", "$" * 80, "W" * 60, "x"])
def test_names_keep_to_their_place_and_their_ends(name: str) -> None:
    with style():
        found = plot_sheet.line(name, width=0.8)
        assert found.wide <= 0.8
        assert found.text[0] in (name[0], "\\")
        assert found.text[-1] == name[-1]
        assert plot_sheet.stacked(name, width=0.8).wide <= 0.8
        assert plot_sheet.paragraph(f"{name} " * 20, width=2.0).wide <= 2.0


def test_rows_are_about_equally_long() -> None:
    assert [plot_sheet.abreast(count, most=6) for count in (0, 1, 6, 7, 12, 13)] == [1, 1, 6, 4, 6, 5]
