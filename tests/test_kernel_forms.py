"""Kernels of known form give their form and numbers back; kernels without shape stay not reduced."""

from __future__ import annotations

import math

import numpy as np
import pytest

from consilience.analysis.formulas.expression import complexity
from consilience.analysis.formulas.printing import to_text
from consilience.analysis.vision.kernel_forms import TOLD, KernelFit, fit_form, patch_metric, raced_forms
from consilience.analysis.vision.kernel_race import Evidence, fidelity, kernel_nulls, race, shape_evidence
from consilience.analysis.vision.kernel_shapes import Grid
from consilience.analysis.vision.kernel_short import drawn_r2, short_expression
from consilience.zoo.errors import BadInput

LUMINANCE = np.array([1.0, 1.0, 1.0]) / math.sqrt(3)
OPPONENT = {
    "red-green": np.array([1.0, -1.0, 0.0]) / math.sqrt(2),
    "blue-yellow": np.array([-1.0, -1.0, 2.0]) / math.sqrt(6),
}


def grid(side: int, *, x0: float = 0.0, y0: float = 0.0, angle: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw u and v of a grid, in the coordinates that all share: x to the right, y down, from the centre."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    right, down = x - x0, y - y0
    return right * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - right * math.sin(angle)


def gabor(side: int, angle: float, frequency: float, phase: float = 0.4, **middle: float) -> np.ndarray:
    u, v = grid(side, angle=angle, **middle)
    width = 0.42 / frequency
    return np.exp(-(u**2) / (2 * width**2) - v**2 / (2 * width**2)) * np.cos(2 * np.pi * frequency * u + phase)


def noisy(image: np.ndarray, colour: np.ndarray, seed: int, *, noise: float = 0.1) -> np.ndarray:
    """Give an image a colour, and noise of so much of its norm."""
    kernel = colour[:, None, None] * image / np.linalg.norm(image)
    return kernel + np.random.default_rng(seed).normal(size=kernel.shape) * noise / math.sqrt(kernel.size)


def turn(left: float, right: float) -> float:
    return abs(math.remainder(left - right, math.pi))


def of_form(form: str) -> np.ndarray:
    """Draw one 9x9 example of each form that stands for one image."""
    u, v = grid(9, x0=0.3, y0=-0.4, angle=0.6)
    radius, oval = u**2 + v**2, np.exp(-(u**2) / (2 * 1.2**2) - v**2 / (2 * 2.0**2))
    return {
        "gaussian": np.exp(-radius / (2 * 1.4**2)),
        "elongated_gaussian": oval,
        "difference_of_gaussians": np.exp(-radius / 2) - 0.3 * np.exp(-radius / (2 * 2.2**2)),
        "sum_of_gaussians": np.exp(-radius / (2 * 0.7**2)) + 0.3 * np.exp(-radius / (2 * 2.5**2)),
        "first_derivative": u * oval,
        "second_derivative": (1 - u**2 / 1.2**2) * oval,
    }[form]


SINGLE = (
    "gaussian",
    "elongated_gaussian",
    "difference_of_gaussians",
    "sum_of_gaussians",
    "first_derivative",
    "second_derivative",
)


@pytest.mark.parametrize(
    ("side", "angle", "frequency"), [(7, 0.5, 0.22), (7, 2.5, 0.3), (11, 1.2, 0.15), (11, 3.1, 0.3)]
)
def test_a_gabor_gives_its_angle_and_frequency_back(side: int, angle: float, frequency: float) -> None:
    fit = race(noisy(gabor(side, angle, frequency, x0=0.4, y0=-0.3), LUMINANCE, seed=side))[0]
    assert fit.form == "axis_gabor"
    assert turn(fit.numbers["angle"], angle) < math.radians(2)
    assert fit.numbers["frequency"] == pytest.approx(frequency, rel=0.03)
    assert fit.colour_name == "luminance"
    assert fit.r2 > 0.97


def test_channels_of_different_phase_take_the_full_gabor() -> None:
    phases = [gabor(9, 0.8, 0.2, phase) for phase in (0.0, 1.2, 2.4)]
    kernel = np.stack(phases) + np.random.default_rng(0).normal(size=(3, 9, 9)) * 0.02
    fit = race(kernel)[0]
    assert fit.form == "gabor"
    assert turn(fit.numbers["angle"], 0.8) < math.radians(2)
    assert fit.numbers["frequency"] == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("name", OPPONENT)
def test_an_opponent_blob_is_a_gaussian_on_its_colour_axis(name: str) -> None:
    u, v = grid(7, x0=0.5, y0=0.2)
    fit = race(noisy(np.exp(-(u**2 + v**2) / (2 * 1.3**2)), OPPONENT[name], seed=1))[0]
    assert (fit.form, fit.colour_name) == ("gaussian", name)
    assert fit.numbers["sigma"] == pytest.approx(1.3, rel=0.05)
    assert (fit.numbers["x0"], fit.numbers["y0"]) == pytest.approx((0.5, 0.2), abs=0.1)


@pytest.mark.parametrize("form", SINGLE)
def test_forms_are_told_apart(form: str) -> None:
    assert race(noisy(of_form(form), np.ones(1), seed=2, noise=0.05))[0].form == form


def test_two_derivatives_of_a_gaussian_are_fitted_to_the_last_digit() -> None:
    fit = fit_form(of_form("second_derivative")[None], "second_derivative")
    found = {name: fit.numbers[name] for name in ("x0", "y0", "angle", "sigma_u", "sigma_v", "amplitude")}
    assert found == pytest.approx(
        {"x0": 0.3, "y0": -0.4, "angle": 0.6, "sigma_u": 1.2, "sigma_v": 2.0, "amplitude": 1.0}, rel=1e-3
    )
    assert fit.r2 > 1 - 1e-6


@pytest.mark.parametrize("form", raced_forms((3, 9, 9)))
def test_the_expression_is_what_was_fitted(form: str) -> None:
    fit = fit_form(noisy(gabor(9, 1.9, 0.2), OPPONENT["red-green"], seed=3, noise=0.6), form)
    y, x = np.mgrid[:9, :9] - 4.0
    drawn = np.stack([channel.numpy(["x", "y"])(x.ravel(), y.ravel()).reshape(9, 9) for channel in fit.channels])
    np.testing.assert_allclose(drawn, fit.modelled, atol=1e-9)
    assert sum(weight**2 for weight in fit.colour) == pytest.approx(1)


# As few words as are true


@pytest.mark.parametrize("form", raced_forms((1, 9, 9)))
@pytest.mark.parametrize("seed", range(3))
def test_a_short_expression_draws_the_same_kernel(form: str, seed: int) -> None:
    fit = fit_form(noisy(gabor(9, 1.9 * seed, 0.2), np.ones(1), seed=seed, noise=0.6), form)
    short = short_expression(form, fit.numbers, Grid(9, 9))
    assert drawn_r2(short, fit.modelled[0]) > 1 - TOLD
    assert complexity(short) <= complexity(fit.expression)


@pytest.mark.parametrize(
    ("form", "numbers", "said"),
    [
        ("gaussian", {"x0": 0.01, "y0": -0.02, "sigma": 1.2345, "amplitude": 0.5}, "0.5*exp(-(x**2 + y**2)/3.05)"),
        (
            "first_derivative",
            {"x0": 0.0, "y0": 0.01, "angle": 3.14, "sigma_u": 1.0, "sigma_v": 0.7, "amplitude": -0.8},
            "0.8*x*exp(-x**2/2 - y**2/0.98)",
        ),
        (
            "axis_gabor",
            {"x0": 0.0, "y0": 0.0, "angle": 1.57, "sigma_u": 2.0, "sigma_v": 2.01, "frequency": 0.2, "phase": 1.57}
            | {"amplitude": 2.0},
            "-2*sin(1.26*y)*exp(-(y**2 + x**2)/8.04)",
        ),
        ("gaussian", {"x0": 1.0, "y0": 0.0, "sigma": 1.0, "amplitude": 3.0}, "3*exp(-((x - 1)**2 + y**2)/2)"),
    ],
)
def test_what_cannot_be_told_is_left_out(form: str, numbers: dict[str, float], said: str) -> None:
    assert to_text(short_expression(form, numbers, Grid(9, 9))) == said


# What is done to a kernel shows in its numbers and nowhere else


@pytest.fixture(scope="module")
def kernel() -> np.ndarray:
    return noisy(gabor(9, 0.7, 0.2), np.array([0.8, -0.6, 0.1]), seed=4)


@pytest.fixture(scope="module")
def fit(kernel: np.ndarray) -> KernelFit:
    return race(kernel)[0]


def test_the_sign_shows_in_the_amplitude_alone(kernel: np.ndarray, fit: KernelFit) -> None:
    other = race(-2 * kernel)[0]
    assert (other.form, other.colour) == (fit.form, pytest.approx(fit.colour))
    assert other.numbers == pytest.approx(dict(fit.numbers) | {"amplitude": -2 * fit.numbers["amplitude"]}, rel=1e-4)


def test_a_quarter_turn_of_the_kernel_turns_the_angle(kernel: np.ndarray, fit: KernelFit) -> None:
    other = race(np.rot90(kernel, axes=(2, 1)))[0]  # from x towards y, which points down
    assert other.form == fit.form
    assert turn(other.numbers["angle"], fit.numbers["angle"] + math.pi / 2) < 1e-3
    assert other.r2 == pytest.approx(fit.r2, abs=1e-6)


def test_a_shift_moves_the_centre() -> None:
    middle, moved = (race(noisy(gabor(11, 0.7, 0.25, x0=x0), np.ones(1), seed=5, noise=0.02))[0] for x0 in (0.0, 1.0))
    assert moved.form == middle.form
    assert moved.numbers["frequency"] == pytest.approx(middle.numbers["frequency"], rel=0.02)
    assert moved.numbers["x0"] - middle.numbers["x0"] == pytest.approx(1.0, abs=0.1)


def test_channels_in_another_order_change_the_colour_alone(kernel: np.ndarray, fit: KernelFit) -> None:
    other = race(kernel[::-1])[0]
    assert other.form == fit.form
    assert np.abs(other.colour[::-1]) == pytest.approx(np.abs(fit.colour), abs=1e-4)
    assert other.numbers["angle"] == pytest.approx(fit.numbers["angle"], abs=1e-3)


@pytest.mark.parametrize("form", raced_forms((3, 7, 7)))
def test_angle_and_phase_lie_within_half_a_turn(form: str) -> None:
    fit = fit_form(np.random.default_rng(6).normal(size=(3, 7, 7)), form)
    assert all(0 <= fit.numbers[name] < math.pi for name in ("angle", "phase") if name in fit.numbers)


# Chance, and what a kernel does


def test_noise_stays_not_reduced_and_gabors_do_not() -> None:
    generator = np.random.default_rng(7)
    gabors = [noisy(gabor(7, angle, 0.2), LUMINANCE, seed=8) for angle in (0.3, 1.4)]
    kernels = np.stack([*gabors, *generator.normal(size=(2, 3, 7, 7))])
    evidence = shape_evidence(kernels, tuple(race(kernel)[0] for kernel in kernels), seed=0, nulls=3)
    assert [each.explained for each in evidence] == [True] * 2 + [False] * 2
    assert evidence[0].percentile == 100
    assert set(evidence[0].null_95) == {"random", "shuffled", "smooth"}


@pytest.mark.slow
def test_a_trace_of_a_form_is_not_the_form() -> None:
    kernels = np.stack([noisy(gabor(14, 0.8, 0.15), LUMINANCE, seed=15, noise=noise) for noise in (0.5, 1.7)])
    evidence = shape_evidence(kernels, tuple(race(kernel)[0] for kernel in kernels), seed=0, nulls=3)
    assert evidence[1].r2 > evidence[1].null_95["random"]
    assert [each.explained for each in evidence] == [True, False]


@pytest.mark.slow
def test_an_untrained_first_layer_is_not_reduced() -> None:
    kernels = np.random.default_rng(9).normal(size=(40, 3, 7, 7))
    evidence = shape_evidence(kernels, tuple(race(kernel)[0] for kernel in kernels), seed=0)
    assert np.mean([each.explained for each in evidence]) <= 0.05


def test_more_than_every_null_is_not_enough_on_a_small_grid() -> None:
    nulls = {"random": 0.2, "smooth": 0.7}
    assert not Evidence(r2=0.8, null_95=nulls, percentile=99.0, floor=0.9).explained
    assert Evidence(r2=0.8, null_95=nulls, percentile=99.0, floor=0.0).explained
    assert not Evidence(r2=0.6, null_95=nulls, percentile=60.0, floor=0.0).explained


def test_nulls_keep_what_they_say() -> None:
    kernels = np.stack([noisy(gabor(7, angle, 0.2), LUMINANCE, seed=9) for angle in np.linspace(0, 3, 400)])
    nulls = kernel_nulls(kernels, seed=0)
    assert {name: null.shape for name, null in nulls.items()} == dict.fromkeys(nulls, kernels.shape)
    np.testing.assert_allclose(np.sort(nulls["shuffled"].ravel()), np.sort(kernels.ravel()))
    steps = [float(np.mean(k[..., 1:] * k[..., :-1]) / np.mean(k**2)) for k in (kernels, nulls["smooth"])]
    assert steps[0] == pytest.approx(steps[1], abs=0.1)
    again = kernel_nulls(kernels, seed=0)
    assert all((again[name] == null).all() for name, null in nulls.items())


def patches(side: int) -> np.ndarray:
    """Make images whose power falls with the square of frequency, as in photos."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(4 * side), np.fft.fftfreq(4 * side)))
    white = np.fft.fft2(np.random.default_rng(10).normal(size=(600, 3, 4 * side, 4 * side)))
    return np.fft.ifft2(white / np.maximum(frequency, 0.5 / side)).real[:, :, :side, :side]


def test_a_fit_in_the_metric_of_patches_answers_to_them_better() -> None:
    shown = patches(7)
    metric = patch_metric(shown)
    kernel = np.random.default_rng(11).normal(size=(3, 7, 7))
    plain, responsive = (fit_form(kernel, "gabor", metric=each) for each in (None, metric))
    assert fidelity(kernel, responsive.modelled, metric) > fidelity(kernel, plain.modelled, metric)
    assert plain.r2 > responsive.r2
    wanted, given = (np.tensordot(shown, each, 3) for each in (kernel, responsive.modelled))
    measured = 1 - np.sum((wanted - given) ** 2) / np.sum(wanted**2)
    assert fidelity(kernel, responsive.modelled, metric) == pytest.approx(measured)


def test_the_metric_of_white_patches_is_that_of_pixels() -> None:
    white = np.linalg.qr(np.random.default_rng(12).normal(size=(75, 75)))[0].reshape(75, 3, 5, 5)
    kernel = noisy(gabor(5, 0.9, 0.2), LUMINANCE, seed=13)
    plain, white_fit = (fit_form(kernel, "first_derivative", metric=each) for each in (None, patch_metric(white)))
    assert dict(white_fit.numbers) == pytest.approx(dict(plain.numbers), rel=1e-3)


# What cannot be fitted


def test_small_kernels_race_what_they_can_tell_apart() -> None:
    assert "gabor" not in raced_forms((1, 3, 3))
    assert raced_forms((1, 1, 1)) == ()
    u, v = grid(3, x0=0.2)
    spot = np.exp(-(u**2 + v**2) / 2)
    assert race(noisy(spot, np.ones(1), seed=14, noise=0.05))[0].form == "gaussian"


@pytest.mark.parametrize(
    ("kernel", "form", "said"),
    [
        (np.ones((1, 5, 5)), "sombrero", "is no form of a kernel"),
        (np.ones((1, 3, 3)), "gabor", "has as many numbers as a kernel of 1x3x3 has values"),
        (np.ones((1, 1, 1)), "constant", "has as many numbers"),
        (np.zeros((1, 5, 5)), "gaussian", "zero or not finite"),
        (np.full((1, 5, 5), np.nan), "gaussian", "zero or not finite"),
    ],
)
def test_what_cannot_be_fitted_is_said(kernel: np.ndarray, form: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        fit_form(kernel, form)


def test_a_metric_of_other_patches_is_refused() -> None:
    with pytest.raises(BadInput, match="the metric is of 27 values, the kernel has 75"):
        fit_form(np.ones((3, 5, 5)), "gaussian", metric=patch_metric(np.ones((2, 3, 3, 3))))
