"""Units made by hand get their laws of contrast, plaids and sizes from the gratings that `tune` finds they prefer."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted_vision import gabor, photo

from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.project.study import open_study
from consilience.analysis.stages.set_aside import set_aside
from consilience.analysis.stages.stage_present import present
from consilience.analysis.stages.stage_second import present_second
from consilience.analysis.vision.preferred import AT_ALL, AT_PREFERRED, Grating, Seen, preferred_gratings
from consilience.analysis.vision.shown import Shown
from consilience.analysis.vision.tuning_indices import suppression
from consilience.analysis.vision.window import Window
from consilience.zoo.stimuli import find_stimulus, grid, render

SIZE, FREQUENCY, ANGLE = 15, 0.2, np.pi / 6
HALF, OTHERS, THRESHOLD = 0.3, 2.0, 0.3
"""Contrast of half the response, weight of the other orientation, and the contrast that a rectified unit needs."""
ENERGY, DIVISIVE, RECTIFIED, SUPPRESSED = range(4)
FACTORY = '''
import torch
from torch import nn


class Planted(nn.Module):
    """Units of simple cells: an energy, one divided by two energies, a rectified line, one divided by its surround."""

    input_shape = (3, 48, 48)

    def __init__(self):
        super().__init__()
        self.simple = nn.Conv2d(1, 5, 15, padding=7, bias=False)
        self.around = nn.Conv2d(1, 1, 15, padding=7, bias=False)
        self.units = nn.Conv2d(4, 4, 1, bias=False)
        self.last = nn.Linear(4, 4)
        self.level = nn.Parameter(torch.zeros(3))

    def forward(self, images):
        grey = images.mean(dim=1, keepdim=True)
        even, odd, even2, odd2, small = self.simple(grey).unbind(dim=1)
        one, two = even**2 + odd**2, even2**2 + odd2**2
        half, others, threshold = self.level.unbind()
        divided = one / (half + one + others * two)
        kept = torch.relu(small) / (1 + self.around(grey**2)[:, 0])
        made = torch.stack([one, divided, torch.relu(even - threshold), kept], dim=1)
        return self.last(torch.relu(self.units(made)).mean(dim=(2, 3)))


def build(tensors):
    module = Planted()
    module.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return module
'''


def weights() -> dict[str, np.ndarray]:
    """Gabors at an angle and across it, a small one, and a ring."""
    pairs = [
        gabor(angle, FREQUENCY, phase, size=SIZE, sigma=2.5)
        for angle in (ANGLE, ANGLE + np.pi / 2)
        for phase in (0.0, np.pi / 2)
    ]
    small = gabor(ANGLE, FREQUENCY, 0.0, size=SIZE, sigma=1.5)
    places = np.arange(SIZE) - (SIZE - 1) / 2
    radius = np.hypot(*np.meshgrid(places, places))
    ring = np.where((radius > 4) & (radius < 7.5), 1.0, 0.0)
    drive = float((pairs[0] * gabor(ANGLE, FREQUENCY, 0.0, size=SIZE, sigma=1e3)).sum()) * 2  # grey has a spread of .25
    return {
        "simple.weight": np.stack([*pairs, small])[:, None],
        "around.weight": 1.5 * (ring / ring.sum())[None, None],
        "units.weight": np.eye(4)[:, :, None, None],
        "last.weight": np.eye(4),
        "last.bias": np.zeros(4),
        "level": np.array([(HALF * drive) ** 2, OTHERS, THRESHOLD * drive]),
    }


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, warm) -> Path:
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("second") / "zoo"
    folder.mkdir()
    (folder / "planted.py").write_text(FACTORY)
    tensors = {key: values.astype(np.float32) for key, values in weights().items()}
    save_file(tensors, folder / "planted.safetensors")
    table = (
        '[[networks]]\npath = "planted.safetensors"\narchitecture = "python:planted:build"\nlayers = ["units"]\n'
        "preprocessing = { size = [48, 48], mean = [0.5], std = [0.25] }\n"
    )
    photo(0).save(folder / "photo.png")
    (folder / "zoo.toml").write_text(f'name = "second"\n{table}[probe]\nimages = ["photo.png"]\nside = 48\ncrops = 8\n')
    done = warm("tune", folder, folder=folder)
    assert done.code == 0, done.err
    (folder / "tune.txt").write_text(done.out)
    return folder


def law(folder: Path, unit: int, coordinate: str) -> dict[str, object]:
    with open_study(folder).reading() as catalogue:
        rows = catalogue.select("laws", network="planted", layer="units", coordinate=coordinate)
    return next(row for row in rows if row["unit"] == unit)


@pytest.mark.parametrize(
    ("unit", "contrast", "plaid"),
    [
        (ENERGY, "power", "power sum"),
        (DIVISIVE, "hyperbolic ratio", "divisive"),
        (RECTIFIED, "rectified line", "rectified sum"),
    ],
)
def test_planted_units_get_their_laws_of_contrast(tuned: Path, unit: int, contrast: str, plaid: str) -> None:
    one, two = law(tuned, unit, "contrast"), law(tuned, unit, "contrast contrast")
    assert (one["law"], one["stimulus"], one["reduced"]) == (contrast, "grating", True)
    assert (two["law"], two["stimulus"], two["reduced"]) == (plaid, "plaid", True)


def test_the_equations_say_what_was_planted(tuned: Path) -> None:
    contrast = np.array([0.1, HALF, 0.9])
    squares = evaluate(parse(str(law(tuned, ENERGY, "contrast")["expression"])), {"contrast": contrast})
    assert squares / squares[-1] == pytest.approx((contrast / 0.9) ** 2, abs=0.01)
    divided = evaluate(parse(str(law(tuned, DIVISIVE, "contrast")["expression"])), {"contrast": contrast})
    assert divided == pytest.approx(contrast**2 / (HALF**2 + contrast**2), rel=0.05)
    both = {"contrast1": np.array([0.3, 0.3]), "contrast2": np.array([0.0, 0.4])}
    crossed = evaluate(parse(str(law(tuned, DIVISIVE, "contrast contrast")["expression"])), both)
    assert crossed == pytest.approx([0.5, 0.09 / (0.18 + OTHERS * 0.16)], rel=0.05)


def test_what_is_suppressed_is_called_so(tuned: Path) -> None:
    for coordinate in ("size", "length"):
        row = law(tuned, SUPPRESSED, coordinate)
        assert float(str(row["suppression"])) > 0.15
        assert row["law"] in ("difference of Gaussians", "ratio of Gaussians")
        assert row["reduced"]
        assert all(float(str(law(tuned, unit, coordinate)["suppression"])) < 0.1 for unit in (ENERGY, RECTIFIED))
    assert re.search(
        r"planted: contrast .*; of 4 units 1 surround-suppressed, 1 end-stopped", (tuned / "tune.txt").read_text()
    )


def test_units_answer_to_what_is_made_for_them_as_they_did_to_the_same_grating(tuned: Path) -> None:
    study = open_study(tuned)
    (presented,) = present(study)
    second, grey = present_second(study, presented), presented.blank("units")[:, None].astype(np.float64)
    assert second is not None
    made, gratings = second.shown("units", grey), presented.responses("units", "grating") - grey
    best, whole = gratings.max(axis=1), made["contrast"].values[:, -1]
    assert whole == pytest.approx(best, rel=0.01)  # the phase counts last
    assert np.abs(gratings - whole[:, None]).min(axis=1) == pytest.approx(0, abs=1e-5 * best.max())
    assert made["size"].values[:, -1] == pytest.approx(whole, rel=1e-5)
    assert made["plaid"].values[:, 0] == pytest.approx(0, abs=1e-5 * best.max())
    assert {*made} == {*AT_PREFERRED, *AT_ALL}


def test_a_network_that_fails_is_named_and_has_no_curves_of_the_second_pass(tuned: Path) -> None:
    study = open_study(tuned)
    (presented,) = present(study)
    module = deepcopy(presented.network.module)
    for weight in module.parameters():
        weight.data.fill_(float("nan"))
    failing = replace(presented, network=replace(presented.network, module=module), key="failing")
    assert present_second(study, failing) is None
    (line,) = set_aside(study)
    assert re.search("planted, in its second pass, gives NaN or infinity in units", line)


# What is drawn


@pytest.mark.parametrize(
    ("side", "size", "stride", "middle", "count"),
    [
        (27, 3.0, 2.0, 1.0, 6),
        (27, 11.0, 4.0, 1.0, 1),
        (23, 14.0, 2.0, -0.5, 1),
        (224, 14.0, 14.0, 7.0, 16),
        (31, 40.0, 4.0, 0.0, 1),
    ],
)
def test_squares_lie_where_units_see_them(side: int, size: float, stride: float, middle: float, count: int) -> None:
    window = Window.of(side, size=size, stride=stride, middle=middle)
    assert len(window.starts) == len(window.beside) == count
    assert window.size == min(size, side)
    spot = find_stimulus("spot")
    rows = grid(spot, {"x": 1, "y": 1, "radius": 30})
    images = np.concatenate([*window.images(spot, rows, at_once=2)])
    alone = render(spot, rows, side=window.size)
    for number, expected in enumerate(alone):
        image, place = divmod(number, count**2)
        down, across = (window.starts[at] for at in divmod(place, count))
        assert (images[image, down : down + window.size, across : across + window.size] == expected).all()
    for start, beside in zip(window.starts, window.beside, strict=True):
        assert start + (window.size - side) / 2 == window.middle + beside * stride


def test_a_preferred_grating_is_the_same_image_about_the_middle_of_the_field() -> None:
    stimulus, middle, size, side = find_stimulus("grating"), 1.0, 7, 27
    rows = grid(stimulus, {"angle": 6, "frequency": 4})
    for place in (17, 77, 150):
        values = np.eye(len(rows))[place][None]
        (found,) = preferred_gratings(Shown(stimulus.names, rows, values), lattice=1.0, middle=middle)
        start = round(middle + (side - size) / 2)
        whole = render(stimulus, rows[place][None], side=side)[:, start : start + size, start : start + size]
        series = AT_PREFERRED["contrast"].whole(found, Seen(float(size), 1.0))[-1:]
        assert render(stimulus, series, side=size) == pytest.approx(whole, abs=1e-5)


def test_many_units_share_few_gratings_that_drive_them_nearly_as_much() -> None:
    stimulus = find_stimulus("grating")
    rows, random = grid(stimulus), np.random.default_rng(0)
    angle, frequency, phase = random.uniform(0, np.pi, (3, 200, 1)) * [[[1]], [[0.1]], [[2]]]
    tuned = np.exp(2 * np.cos(2 * (rows[:, 0] - angle)) - np.log(rows[:, 1] / (0.03 + frequency)) ** 2)
    shown = Shown(stimulus.names, rows, tuned * np.maximum(np.cos(rows[:, 2] - phase), 0.0))
    at = {tuple(row[:3]): place for place, row in enumerate(rows.round(9).tolist())}
    driven = {}
    for most in (20, 80, 200):
        own = preferred_gratings(shown, lattice=1.0, middle=0.0, most=most)
        assert len(set(own)) == min(most, len(set(preferred_gratings(shown, lattice=1.0, middle=0.0, most=200))))
        places = [at[round(one.angle, 9), round(one.frequency, 9), round(one.phase, 9)] for one in own]
        driven[most] = shown.values[np.arange(200), places] / shown.values.max(axis=1)
    assert driven[200] == pytest.approx(1)
    assert driven[80].mean() > 0.9
    some = shown.values[:, places[:20]].max(axis=1) / shown.values.max(axis=1)  # those of twenty units, as they come
    assert driven[20].mean() > some.mean()


def test_a_bar_is_a_stripe_of_the_preferred_grating() -> None:
    bar, seen = find_stimulus("bar"), Seen(31.0, 1.0)
    for phase in (0.0, 1.0, np.pi, 4.0):
        own = Grating(0.7, 0.1, phase)
        longest = render(bar, AT_PREFERRED["length"].whole(own, seen)[-1:], side=31)[0, :, :, 0] - 0.5
        stripes = render(find_stimulus("grating"), AT_PREFERRED["contrast"].whole(own, seen)[-1:], side=31)[0, :, :, 0]
        assert (np.sign(stripes - 0.5) == np.sign(longest))[np.abs(longest) == 0.5].all()


def test_frequencies_of_boundaries_are_within_the_lattice_and_sizes_cover_the_field() -> None:
    for size in (3.0, 14.0, 127.0):
        for lattice in (1.0, 2.0, 4.0):
            seen = Seen(size, lattice)
            frequencies = AT_ALL["boundary"].values(seen)[1]
            assert (frequencies > 0).all()
            assert (frequencies <= 0.5 / lattice + 1e-12).all()
            assert len(np.unique(frequencies)) == len(frequencies)
            assert AT_PREFERRED["size"].rows(seen).max() >= size / np.sqrt(2)
            assert AT_PREFERRED["length"].rows(seen).max() >= size * np.sqrt(2)


@pytest.mark.parametrize(
    ("curve", "index"), [([1.0, 2.0, 2.0], 0.0), ([1.0, 2.0, 0.5], 0.75), ([1.0, 1.0, -1.0], 2.0), ([-1.0, -2.0], 0.0)]
)
def test_the_suppression_index_is_that_of_the_literature(curve: list[float], index: float) -> None:
    assert suppression(np.array(curve)) == pytest.approx(index)
