"""Stimuli are what their coordinates say: frequency, angle, phase, contrast, hue, place and size are measured."""

from __future__ import annotations

import json
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from consilience.analysis.pictures.plot import save
from consilience.analysis.vision.plot_stimuli import sheet, worded
from consilience.zoo.errors import BadInput, NotFound
from consilience.zoo.stimuli import STIMULI, find_stimulus, grid, render
from consilience.zoo.stimuli_colour import WEIGHTS

NAMES = sorted(STIMULI)
TURNING = ("angle", "angle1", "angle2", "centre_angle", "surround_angle")
ANGLES = st.floats(0, 2 * pi)


def show(stimulus: str, side: int = 63, **values: float) -> np.ndarray:
    """Draw one image, what is not named at its default."""
    found = STIMULI[stimulus]
    rows = grid(found, dict.fromkeys(set(found.names) - set(values), 1), values)
    return render(found, rows, side=side)[0]


def luminance(stimulus: str, side: int = 63, **values: float) -> np.ndarray:
    """Draw one image and give what it adds to grey, in -1..1."""
    return 2 * (show(stimulus, side, **values) @ np.array(WEIGHTS)) - 1


def ranges(count: int, **ends: tuple[float, float]) -> dict[str, np.ndarray]:
    """Draw values at random from ranges."""
    random = np.random.default_rng(0)
    return {name: random.uniform(low, high, count) for name, (low, high) in ends.items()}


def pictures(name: str, side: int, **values: np.ndarray) -> np.ndarray:
    """Draw images of which these coordinates vary and give what they add to grey."""
    found, count = STIMULI[name], len(next(iter(values.values())))
    columns = [values.get(one.name, np.full(count, one.default)) for one in found.coordinates]
    return 2.0 * render(found, np.stack(columns, axis=1), side=side)[..., 0].astype(float) - 1


def axes(side: int, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give u and v of every pixel for every angle."""
    place, turn = np.arange(side) - (side - 1) / 2, angles[:, None, None]
    x, y = place, place[:, None]
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def drawn(name: str, count: int, seed: int) -> np.ndarray:
    """Draw rows at random from all of the range of each coordinate."""
    random, found = np.random.default_rng(seed), STIMULI[name].coordinates
    return np.stack([random.uniform(one.low, one.high, count) for one in found], axis=1)


def turned(name: str, **values: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a stimulus, and the same with all its angles a quarter turn on."""
    angles = [angle for angle in TURNING if angle in STIMULI[name].names]
    start = {angle: values.pop("angle", 0.3) for angle in angles}
    on = {angle: value + pi / 2 for angle, value in start.items()}
    return show(name, **start, **values), show(name, **on, **values)


# --- every stimulus --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [1, 2, 31, 32])
def test_every_image_is_float32_in_range_whatever_is_asked(name, side):
    images = render(STIMULI[name], drawn(name, 40, side), side=side)
    assert images.shape == (40, side, side, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_of_every_range_can_be_drawn(name):
    found = STIMULI[name]
    for coordinate in found.coordinates:
        for value in (coordinate.low, coordinate.high):
            assert np.isfinite(show(name, 15, **{coordinate.name: value})).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_what_is_drawn_beside_it(name):
    rows = drawn(name, 300, 0)  # of 63 pixels more than are computed at a time
    together = render(STIMULI[name], rows, side=63)
    assert np.array_equal(together[[7, 299]], render(STIMULI[name], rows[[7, 299]], side=63))


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_image_has_the_same_middle(name):
    rows = drawn(name, 10, 1)
    large, small = (render(STIMULI[name], rows, side=side) for side in (41, 21))
    np.testing.assert_allclose(large[:, 10:31, 10:31], small, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_coordinate_changes_the_image(name):
    found = STIMULI[name]
    plain = {"edge": {"blur": 1.0}, "surround": {"phase": 1.0}}.get(name, {})
    for coordinate in found.coordinates:
        ends = coordinate.low + (coordinate.high - coordinate.low) * np.array([0.47, 0.56])
        if coordinate.unit == "px":
            ends = np.array([2.0, 5.0])
        one, other = (show(name, **plain | {coordinate.name: value}) for value in ends)
        assert np.abs(one - other).max() > 0.01, coordinate.name


@pytest.mark.parametrize(
    ("name", "sure"), [(name, one.name) for name in NAMES for one in STIMULI[name].coordinates if one.period]
)
def test_after_one_period_an_image_is_the_same(name, sure):
    period = next(one.period for one in STIMULI[name].coordinates if one.name == sure)
    np.testing.assert_allclose(show(name, **{sure: 0.7}), show(name, **{sure: 0.7 + period}), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if set(TURNING) & set(STIMULI[name].names)])
@given(angle=ANGLES)
@settings(max_examples=10, deadline=None)
def test_a_quarter_turn_of_the_angles_turns_the_image(name, angle):
    one, on = turned(name, angle=angle)
    np.testing.assert_allclose(on, np.rot90(one, -1), atol=1e-5)  # y points down: clockwise


@pytest.mark.parametrize("name", ["bar", "edge", "gabor", "spot"])
@given(x=st.integers(-9, 9), y=st.integers(-9, 9))
@settings(max_examples=10, deadline=None)
def test_place_shifts_the_image(name, x, y):
    middle, moved = show(name, 41), show(name, 41, x=float(x), y=float(y))
    np.testing.assert_allclose(np.roll(middle, (y, x), (0, 1))[10:-10, 10:-10], moved[10:-10, 10:-10], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if "contrast" in STIMULI[name].names])
@given(contrast=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_contrast_scales_what_differs_from_grey(name, contrast):
    full, part = show(name, 31), show(name, 31, contrast=contrast)
    np.testing.assert_allclose(part - 0.5, contrast * (full - 0.5), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("chromatic_grating", "colour")])
def test_what_has_no_hue_is_grey(name):
    images = render(STIMULI[name], drawn(name, 20, 2), side=21)
    assert np.array_equal(images, np.repeat(images[..., :1], 3, axis=-1))


# --- gratings --------------------------------------------------------------------------------------


@given(across=st.integers(-22, 22), down=st.integers(1, 22), phase=ANGLES)
@settings(max_examples=30, deadline=None)
def test_a_grating_has_the_frequency_and_angle_asked_for(across, down, phase):
    side = 64
    frequency, angle = np.hypot(across, down) / side, np.arctan2(down, across)
    image = luminance("grating", side, frequency=float(frequency), angle=float(angle), phase=phase)
    power = np.abs(np.fft.fft2(image)) ** 2
    assert power[down, across] + power[-down, -across] > (1 - 1e-6) * power.sum()


@given(frequency=st.floats(0.02, 0.4), angle=ANGLES, phase=ANGLES)
@settings(max_examples=20, deadline=None)
def test_phase_is_that_in_the_middle_and_moves_a_grating(frequency, angle, phase):
    image = luminance("grating", 31, frequency=frequency, angle=angle, phase=phase)
    assert image[15, 15] == pytest.approx(np.cos(phase), abs=1e-6)
    opposite = luminance("grating", 31, frequency=frequency, angle=angle, phase=phase + pi)
    np.testing.assert_allclose(opposite, -image, atol=1e-6)


def test_a_quarter_of_phase_moves_a_grating_by_a_quarter_of_its_period():
    one, on = (luminance("grating", 64, frequency=1 / 16, phase=phase) for phase in (0.0, pi / 2))
    np.testing.assert_allclose(on, np.roll(one, -4, axis=1), atol=1e-6)


@pytest.mark.parametrize("contrast", [0.0, 0.1, 0.5, 1.0])
def test_contrast_is_michelsons(contrast):
    image = show("grating", 65, frequency=1 / 8, contrast=contrast)
    assert (image.max() - image.min()) / (image.max() + image.min()) == pytest.approx(contrast, abs=1e-6)


def test_angle_and_turned_angle_differ_in_phase_alone():
    one, other = luminance("grating", angle=0.4, phase=1.0), luminance("grating", angle=0.4 + pi, phase=-1.0)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_width_of_a_gabor_is_the_deviation_of_its_window():
    image = luminance("gabor", 127, frequency=0.0, width=6.0)
    place = np.arange(127) - 63
    profile = image.sum(axis=0)
    assert np.sqrt((profile * place**2).sum() / profile.sum()) == pytest.approx(6.0, rel=1e-4)
    assert image.sum() == pytest.approx(2 * pi * 36, rel=1e-4)


def test_a_plaid_is_the_sum_of_its_gratings():
    both = luminance("plaid", angle1=0.2, angle2=1.1, contrast1=0.5, contrast2=0.3, phase2=0.4)
    first = luminance("grating", angle=0.2, contrast=0.5)
    np.testing.assert_allclose(both, first + luminance("grating", angle=1.1, contrast=0.3, phase=0.4), atol=1e-6)


def test_a_surround_is_one_grating_inside_and_another_outside():
    image = luminance("surround", centre_angle=0.3, surround_angle=1.2, centre_contrast=0.5, radius=12)
    place = np.arange(63) - 31
    radius = np.hypot(place[:, None], place)
    inside, outside = luminance("grating", angle=0.3, contrast=0.5), luminance("grating", angle=1.2)
    np.testing.assert_allclose(image[radius < 11], inside[radius < 11], atol=1e-6)
    np.testing.assert_allclose(image[radius > 13], outside[radius > 13], atol=1e-6)


@given(angle=ANGLES, turn=ANGLES)
@settings(max_examples=10, deadline=None)
def test_a_boundary_has_its_second_frequency_where_the_angle_points(angle, turn):
    image = luminance("boundary", angle=angle, turn=turn, f1=0.04, f2=0.21)
    place = np.arange(63) - 31
    u = place * np.cos(angle) + place[:, None] * np.sin(angle)
    behind, before = (luminance("grating", angle=angle + turn, frequency=f) for f in (0.04, 0.21))
    np.testing.assert_allclose(image[u < -0.75], behind[u < -0.75], atol=1e-6)
    np.testing.assert_allclose(image[u > 0.75], before[u > 0.75], atol=1e-6)


# --- shapes ----------------------------------------------------------------------------------------


def test_a_bar_keeps_its_area_and_place_however_it_lies():
    values = ranges(300, angle=(0, 2 * pi), x=(-9, 9), y=(-9, 9), width=(0.5, 12), length=(4, 30))
    images, place = pictures("bar", 65, **values), np.arange(65) - 32
    areas = images.sum(axis=(1, 2))
    np.testing.assert_allclose(areas, values["width"] * values["length"], rtol=0.015)
    np.testing.assert_allclose((images.sum(axis=1) * place).sum(axis=1) / areas, values["x"], atol=0.1)
    np.testing.assert_allclose((images.sum(axis=2) * place).sum(axis=1) / areas, values["y"], atol=0.1)


def test_the_width_of_a_bar_lies_along_the_angle():
    values = ranges(100, angle=(0, 2 * pi), width=(3, 8), length=(12, 30))
    images = pictures("bar", 65, **values)
    for along, size in zip(axes(65, values["angle"]), (values["width"], values["length"]), strict=True):
        variance = (images * along**2).sum(axis=(1, 2)) / images.sum(axis=(1, 2))
        np.testing.assert_allclose(variance, (size**2 + 1) / 12, rtol=0.01, atol=0.1)  # a box, by pixels of one


def test_a_spot_keeps_its_area():
    values = ranges(200, radius=(1, 20), x=(-8, 8), y=(-8, 8))
    areas = pictures("spot", 65, **values).sum(axis=(1, 2))
    np.testing.assert_allclose(areas, pi * values["radius"] ** 2, rtol=0.015)


def test_an_arc_keeps_its_area_and_bends_where_the_angle_points():
    values = ranges(200, angle=(0, 2 * pi), curvature=(0, 0.1), width=(1, 6), length=(10, 30))
    images = pictures("arc", 65, **values)
    areas, half = images.sum(axis=(1, 2)), np.minimum(values["length"], pi / values["curvature"]) / 2
    np.testing.assert_allclose(areas, 2 * half * values["width"], rtol=0.015)
    along, across = ((images * axis).sum(axis=(1, 2)) / areas for axis in axes(65, values["angle"]))
    bent = half * values["curvature"]
    thick = 1 + (values["width"] * values["curvature"]) ** 2 / 12
    expected = (1 - thick * np.sin(bent) / bent) / values["curvature"]  # centre of mass of a part of a ring
    np.testing.assert_allclose(along, expected, atol=0.05)
    np.testing.assert_allclose(across, 0.0, atol=0.05)


def test_an_arc_without_curvature_is_a_bar():
    for angle in (0.0, 0.4, 2.0):
        values = {"angle": angle, "width": 3.0, "length": 24.0}
        np.testing.assert_allclose(luminance("arc", curvature=0.0, **values), luminance("bar", **values), atol=1e-5)


@given(angle=ANGLES)
@settings(max_examples=10, deadline=None)
def test_an_edge_gives_each_pixel_the_mean_over_its_area(angle):
    fine = luminance("edge", 21 * 15, angle=angle).reshape(21, 15, 21, 15).mean(axis=(1, 3))
    np.testing.assert_allclose(luminance("edge", 21, angle=angle), fine, atol=0.01)


@given(angle=ANGLES, blur=st.floats(0, 6))
@settings(max_examples=30, deadline=None)
def test_an_edge_is_half_bright_and_bright_where_the_angle_points(angle, blur):
    image = luminance("edge", 41, angle=angle, blur=blur)
    np.testing.assert_allclose(image, -image[::-1, ::-1], atol=1e-6)
    away = round(20 + 18 * np.sin(angle)), round(20 + 18 * np.cos(angle))
    assert image[away] > 0.99


def test_blur_is_the_deviation_of_a_gaussian():
    from scipy.special import ndtr

    place = np.arange(63) - 31
    sharp, blurred = (luminance("edge", 63, angle=0.0, blur=blur)[0] for blur in (0.0, 5.0))
    np.testing.assert_array_equal(np.sign(place), np.round(sharp, 5))
    np.testing.assert_allclose(blurred, 2 * ndtr(place / np.hypot(5.0, np.sqrt(1 / 12))) - 1, atol=1e-4)


@given(angle=ANGLES, opening=st.floats(0.2, 2 * pi - 0.2), roundness=st.floats(0, 12))
@settings(max_examples=20, deadline=None)
def test_a_hollow_corner_is_a_corner_turned_over(angle, opening, roundness):
    image = luminance("corner", angle=angle, opening=opening, roundness=roundness)
    other = luminance("corner", angle=angle + pi, opening=2 * pi - opening, roundness=roundness)
    np.testing.assert_allclose(image, -other, atol=1e-5)


@given(angle=ANGLES, opening=st.floats(0.3, 2 * pi - 0.3))
@settings(max_examples=30, deadline=None)
def test_a_sharp_corner_fills_its_share_of_a_circle(angle, opening):
    image = luminance("corner", 101, angle=angle, opening=opening)
    place = np.arange(101) - 50
    inside = np.hypot(place, place[:, None]) <= 50
    assert ((1 + image[inside]) / 2).mean() == pytest.approx(opening / (2 * pi), abs=0.005)


@pytest.mark.parametrize("roundness", [0.0, 10.0])
def test_a_corner_of_half_a_turn_is_an_edge(roundness):
    for angle in (0.0, 0.7, 4.0):
        corner = luminance("corner", angle=angle, opening=pi, roundness=roundness)
        np.testing.assert_allclose(corner, luminance("edge", angle=angle), atol=1e-4)


def test_the_tip_of_a_rounded_corner_is_a_circle():
    image = luminance("corner", 63, angle=0.0, opening=pi / 2, roundness=16.0)
    tip = (image > 0)[31 - 11 : 31 + 12]  # before the sides begin, at 16/sqrt(2) from the axis
    first = tip.argmax(axis=1) - 31
    place = np.arange(23) - 11
    assert np.abs(first - (16 - np.sqrt(256 - place**2))).max() <= 1


# --- colour ----------------------------------------------------------------------------------------


@given(hue=ANGLES, contrast=st.floats(0, 1), phase=ANGLES, angle=ANGLES)
@settings(max_examples=30, deadline=None)
def test_a_chromatic_grating_is_of_one_luminance(hue, contrast, phase, angle):
    image = show("chromatic_grating", 31, hue=hue, contrast=contrast, phase=phase, angle=angle)
    np.testing.assert_allclose(image @ np.array(WEIGHTS), 0.5, atol=1e-6)


@given(hue=ANGLES)
@settings(max_examples=30, deadline=None)
def test_all_hues_lie_as_far_from_grey_and_opponents_opposite(hue):
    one, opponent = show("colour", 1, hue=hue)[0, 0], show("colour", 1, hue=hue + pi)[0, 0]
    assert np.linalg.norm(one - 0.5) == pytest.approx(0.5 * np.sqrt(1.5), abs=1e-6)
    np.testing.assert_allclose(one - 0.5, 0.5 - opponent, atol=1e-6)


def test_a_hue_later_by_half_a_turn_is_a_phase_later_by_half_a_turn():
    one = show("chromatic_grating", hue=0.4, phase=0.3)
    np.testing.assert_allclose(one, show("chromatic_grating", hue=0.4 + pi, phase=0.3 + pi), atol=1e-6)


@given(hue=ANGLES, saturation=st.floats(0, 1), level=st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_colour_has_the_luminance_and_the_hue_asked_for(hue, saturation, level):
    image = show("colour", 3, hue=hue, saturation=saturation, luminance=level)
    assert np.ptp(image, axis=(0, 1)).max() == 0
    red, green, blue = image[0, 0].astype(float)
    assert image[0, 0] @ np.array(WEIGHTS) == pytest.approx(level, abs=1e-6)
    across, along = np.sqrt(3) / 2 * (green - blue), red - (green + blue) / 2
    chroma = 1.5 * saturation * min(level, 1 - level)
    assert [along, across] == pytest.approx([chroma * np.cos(hue), chroma * np.sin(hue)], abs=1e-5)


@pytest.mark.parametrize(("hue", "channel"), [(0.0, 0), (2 * pi / 3, 1), (4 * pi / 3, 2)])
def test_red_green_and_blue_are_thirds_of_a_turn(hue, channel):
    assert show("colour", 1, hue=hue)[0, 0] == pytest.approx([1.0 if k == channel else 0.25 for k in range(3)])


# --- grids and what is refused ---------------------------------------------------------------------


def test_the_grid_of_gratings_is_that_of_the_plan():
    rows = grid(STIMULI["grating"])
    assert rows.shape == (2880, 4)
    angles, frequencies, phases, contrasts = (np.unique(column) for column in rows.T)
    np.testing.assert_allclose(angles, np.arange(36) * pi / 36)
    np.testing.assert_allclose(frequencies, np.geomspace(0.02, 0.35, 10))
    np.testing.assert_allclose(phases, np.arange(8) * pi / 4)
    assert contrasts.tolist() == [1.0]


@pytest.mark.parametrize("name", NAMES)
def test_every_grid_is_full_has_no_image_twice_and_is_of_moderate_size(name):
    found = STIMULI[name]
    rows = grid(found)
    assert 100 <= len(rows) <= 5000
    assert len(np.unique(rows, axis=0)) == len(rows) == np.prod([len(one.values()) for one in found.coordinates])
    shaped = rows.reshape(*(len(one.values()) for one in found.coordinates), -1)
    for place, one in enumerate(found.coordinates):
        np.testing.assert_array_equal(
            np.moveaxis(shaped[..., place], place, -1).reshape(-1, len(one.values()))[0], one.values()
        )


def test_counts_and_fixed_values_change_a_grid():
    rows = grid(STIMULI["grating"], {"contrast": 5, "angle": 1, "phase": 2}, {"frequency": 0.07})
    assert rows.shape == (10, 4)
    assert np.unique(rows[:, 3]).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(rows[:, 1]) == {0.07}
    assert set(rows[:, 0]) == {0.0}


@pytest.mark.parametrize(
    ("stimulus", "counts", "fixed", "said"),
    [
        ("grating", {"frequncy": 3}, {}, "grating has no coordinate 'frequncy'"),
        ("grating", {}, {"width": 3.0}, "grating has no coordinate 'width'"),
        ("grating", {"angle": 0}, {}, "from 1 on"),
        ("grating", {"angle": 3}, {"angle": 0.1}, "one value or a count"),
        ("grating", {"angle": 10_000, "phase": 10_000}, {}, "a grid of 1,000,000,000 images is too large"),
        ("grating", {}, {"frequency": 0.6}, "grating: frequency is 0.6, outside 0 to 0.5 cycles/px"),
        ("bar", {}, {"contrast": -1.2}, "bar: contrast is -1.2, outside -1 to 1$"),
        ("edge", {}, {"angle": np.nan}, "edge: angle is nan"),
        ("plaid", {}, {"contrast1": 0.6}, "contrast1 is 0.6, outside 0 to 0.5"),
    ],
)
def test_grids_that_cannot_be_are_refused(stimulus, counts, fixed, said):
    with pytest.raises(BadInput, match=said):
        grid(STIMULI[stimulus], counts, fixed)


def test_rows_that_cannot_be_drawn_are_refused():
    with pytest.raises(BadInput, match=r"grating has 4 coordinates, not 3"):
        render(STIMULI["grating"], np.zeros((2, 3)), side=9)
    with pytest.raises(BadInput, match=r"frequency is -0.1, outside 0 to"):
        render(STIMULI["grating"], np.array([[0, -0.1, 0, 1]]), side=9)
    with pytest.raises(BadInput, match="side of 0 pixels"):
        render(STIMULI["grating"], np.zeros((1, 4)), side=0)


def test_no_rows_are_no_images():
    assert render(STIMULI["colour"], np.zeros((0, 3)), side=9).shape == (0, 9, 9, 3)


def test_a_near_name_is_suggested():
    assert find_stimulus("gabor") is STIMULI["gabor"]
    with pytest.raises(NotFound, match="no stimulus 'gratings'") as caught:
        find_stimulus("gratings")
    assert caught.value.hint == "did you mean 'grating'?"
    with pytest.raises(NotFound) as caught:
        find_stimulus("xyz")
    assert "chromatic_grating" in caught.value.hint


# --- the sheet and the command ---------------------------------------------------------------------


def test_the_sheet_shows_the_pixels_themselves_and_names_all(tmp_path):
    chosen = [STIMULI["grating"], STIMULI["colour"]]
    figure = sheet(chosen, side=63)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"grating", "colour", "frequency [cycles/px]", "saturation", "2π/3"} <= set(words)
    save(figure, tmp_path / "sheet.png")
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    wanted = np.round(255 * show("grating", frequency=0.35)).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(page[:250, 450:750, 0], (5, 63))[..., :, 2:-2]
    assert np.abs(windows - wanted[:5, 2:-2, 0]).max(axis=(2, 3)).min() <= 1


@pytest.mark.parametrize("side", [15, 200])
def test_a_sheet_is_drawn_of_any_side_without_words_beyond_it(side):
    figure = sheet([STIMULI["chromatic_grating"]], side=side)
    assert isinstance(figure, Figure)
    wide, high = figure.get_size_inches() * figure.dpi
    figure.canvas.draw()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.x1 <= wide, text
        assert box.y0 >= 0, text
        assert box.y1 <= high, text


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0, "rad", "0"),
        (pi, "rad", "π"),
        (2 * pi / 3, "rad", "2π/3"),
        (pi / 36, "rad", "π/36"),
        (-8.0, "px", "−8"),
        (0.35, "", "0.35"),
    ],
)
def test_values_are_worded_short(value, unit, said):
    assert worded(value, unit) == said


def test_the_command_lists_and_draws(program, tmp_path):
    done = program("stimuli", "grating", "bar", folder=tmp_path)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0, done.err
    assert [row["coordinate"] for row in rows] == [*STIMULI["grating"].names, *STIMULI["bar"].names]
    assert rows[1] | {"about": ""} == {
        "stimulus": "grating",
        "coordinate": "frequency",
        "low": 0.0,
        "high": 0.5,
        "unit": "cycles/px",
        "period": None,
        "default": 0.1,
        "values": 10,
        "first": pytest.approx(0.02),
        "last": pytest.approx(0.35),
        "about": "",
    }
    done = program("stimuli", "colour", "--side", "31", "--out", "sheet.png", folder=tmp_path)
    assert (done.code, done.out) == (0, "sheet.png\n")
    with Image.open(tmp_path / "sheet.png") as written:
        assert written.format == "PNG"


def test_the_command_gives_names_and_says_what_is_wrong(warm, tmp_path):
    assert warm("stimuli", "--quiet", folder=tmp_path).out.split() == list(STIMULI)
    done = warm("stimuli", "gratting", folder=tmp_path)
    assert (done.code, done.out) == (4, "")
    assert "hint: did you mean 'grating'?" in done.err
    done = warm("stimuli", "--out", "sheet.gif", folder=tmp_path)
    assert done.code == 2
    assert "no picture format '.gif'" in done.err
