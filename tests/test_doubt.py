"""Classifiers are asked where they are in doubt, and only what looks like a classifier is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from planted import planted

from consilience.analysis.distillation.doubt import DOUBT, FEWEST, in_doubt
from consilience.analysis.distillation.target import Target

BOX = {"x": (-2.0, 2.0), "y": (-2.0, 2.0)}


def classifier(steepness: float) -> Target:
    """Lineages whose logits cross zero where x² + 2y² is 1."""
    return replace(planted([f"{steepness}*(x**2 + 2*y**2 - 1)"] * 3, seed=0, box=BOX, asked=True), linked=True)


def test_rows_are_those_in_doubt() -> None:
    near = in_doubt(classifier(20.0), seed=0)
    assert near is not None
    assert near.functions is not None
    for rows, values in (
        (near.fit.inputs, near.fit.values),
        (near.held_out.inputs, near.held_out.values),
        (drawn := near.functions.draw(50, 3), near.functions.values(drawn)),
    ):
        assert np.abs(values.mean(axis=0)).max() < DOUBT
        assert np.abs(rows[:, 0] ** 2 + 2 * rows[:, 1] ** 2 - 1).max() < 1.0
    assert len(near.fit.inputs) >= FEWEST
    assert near.outside is None
    assert not np.array_equal(near.fit.inputs, near.held_out.inputs)


def test_what_is_in_doubt_nearly_everywhere_is_no_classifier() -> None:
    assert in_doubt(classifier(0.1), seed=0) is None


def test_what_is_never_in_doubt_has_no_threshold() -> None:
    far = planted(["50 + x + y"] * 3, seed=0, box=BOX, asked=True)
    assert in_doubt(far, seed=0) is None


def test_without_functions_no_more_rows_can_be_had() -> None:
    assert in_doubt(replace(classifier(20.0), functions=None), seed=0) is None
