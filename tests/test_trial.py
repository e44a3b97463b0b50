"""What a stranger describes is built in a process apart first, of zeros, and its limits are the sandbox's."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consilience.zoo import trial
from consilience.zoo.blueprint import Blueprint
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.trial import build_hollow, try_apart
from consilience.zoo.weights import keep

MLP = {"0.weight": np.ones((4, 2), np.float16), "0.bias": np.ones(4, np.float16)}


def blueprint(tensors: Any = MLP, **more: Any) -> Blueprint:
    source = Checkpoint("safetensors", tensors, {}, config={"model_type": "none"})
    return Blueprint(
        source, **{"detail": "", "activation": "relu", "options": {}, "inputs": 2, "search_path": Path(), **more}
    )


def attempt(given: Blueprint, package: str = "torch") -> None:
    try_apart("build_mlp:build_mlp", given, package=package, preload=())


def test_what_fits_passes_whatever_it_is_read_from(tmp_path: Path) -> None:
    attempt(blueprint())
    attempt(blueprint(options={"when": datetime.date(2026, 1, 1)}))
    attempt(blueprint(keep(tmp_path / "kept", MLP), shape=(2,)))


def test_what_does_not_fit_is_refused_in_the_words_of_its_builder() -> None:
    with pytest.raises(Refused, match="takes 2 inputs, the probe has 3") as caught:
        attempt(blueprint(inputs=3))
    assert caught.value.code == "input-shape"
    assert caught.value.hint


def test_a_missing_package_is_told_before_a_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "own_sandbox", None)
    with pytest.raises(Refused, match="needs the package nowhere_to_be_found, which is not installed") as caught:
        attempt(blueprint(), package="nowhere_to_be_found")
    assert caught.value.code == "missing-package"


def test_limits_are_those_of_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_SECONDS", 0.0)
    monkeypatch.setattr(trial, "_NUMBERS_A_SECOND", 1e12)
    with pytest.raises(Refused, match="is not built after 0 seconds") as caught:
        attempt(blueprint())
    assert caught.value.code == "timed-out"


def test_zeros_cost_nothing_and_have_the_kinds_that_weights_become(tmp_path: Path) -> None:
    for tensors in (MLP | {"n": np.array(3)}, keep(tmp_path / "kept", MLP | {"n": np.array(3)})):
        assert trial._kinds(Checkpoint("torch", tensors, {})) == {"0.weight": "f4", "0.bias": "f4", "n": "i8"}
    hollow = trial.Hollow({"a": "f4", "b": "i8"}, {"a": (1 << 20, 1 << 10), "b": (3,)})
    assert hollow["a"].shape == (1 << 20, 1 << 10)  # 4 GB that are never written to
    assert hollow["b"].dtype == np.int64
    assert not hollow["b"].any()


def test_only_what_was_given_is_built() -> None:
    with pytest.raises(ModuleNotFoundError):
        build_hollow("none:none", {}, {}, {}, {"detail": "", "activation": None, "options": {}, "inputs": None}, None)
