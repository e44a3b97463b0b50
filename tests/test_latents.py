"""Siamese networks: pairs share the invariant, and the committed latents are parallel to it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "data" / "recipes"))

import latents  # noqa: E402
from latent_pairs import CONCEPTS, Concept, boost  # noqa: E402

EVERY = pytest.mark.parametrize("concept", CONCEPTS.values(), ids=CONCEPTS)


@EVERY
def test_positives_keep_the_invariant_and_little_else(concept: Concept) -> None:
    anchors, positives = concept.pairs(400, np.random.default_rng(3))
    assert len(anchors) == 400
    kept = concept.invariant(anchors)
    assert np.abs(concept.invariant(positives) - kept).max() < 1e-6
    assert np.median(np.linalg.norm(positives - anchors, axis=1) / np.linalg.norm(concept.scale)) > 0.2
    assert kept.std() > 0.1 * np.abs(kept).mean()


def test_fields_keep_no_second_invariant() -> None:
    rows = CONCEPTS["fields"].sample(400, np.random.default_rng(4))
    moved = boost(rows, np.random.default_rng(5))
    before, after = (np.square(one[:, :3]).sum(1) - np.square(one[:, 3:]).sum(1) for one in (rows, moved))
    assert np.median(np.abs(after - before)) > 1.0


@EVERY
def test_gradients_of_invariants_are_their_slopes(concept: Concept) -> None:
    rows = concept.sample(50, np.random.default_rng(6))
    step = 1e-6 * np.eye(len(concept.inputs))
    found = [(concept.invariant(rows + one) - concept.invariant(rows - one)) / 2e-6 for one in step]
    np.testing.assert_allclose(np.stack(found, axis=1), concept.gradient(rows), rtol=1e-5, atol=1e-6)


@EVERY
def test_a_committed_zoo_opens_as_what_its_concept_says(concept: Concept) -> None:
    target = latents.latent_target(latents.ZOOS / concept.key, samples=64)
    assert target.linked
    assert target.functions is not None
    assert target.functions.names == tuple(concept.inputs)
    assert tuple(target.fit.columns) == (*concept.inputs, *concept.derived)
    assert target.fit.values.shape == (len(latents.NETWORKS), 64)
    for name, formula in concept.derived.items():
        np.testing.assert_allclose(target.fit.columns[name], evaluate(parse(formula), target.fit.columns))


@EVERY
def test_committed_latents_are_as_parallel_to_the_invariant_as_their_files_say(concept: Concept) -> None:
    target = latents.latent_target(latents.ZOOS / concept.key, samples=64)
    assert target.functions is not None
    assert target.functions.slopes is not None
    rows = concept.sample(latents.TEST_ROWS, np.random.default_rng(latents.TEST_SEED))
    learned, truth = target.functions.slopes(rows), concept.gradient(rows) * concept.scale
    found = [np.abs(latents.cosines(one * concept.scale, truth)).mean() for one in learned]
    np.testing.assert_allclose(found, latents.told(latents.ZOOS / concept.key), atol=2e-4)
    assert min(found) > 0.98


def test_a_few_steps_of_training_turn_the_latent_towards_the_invariant() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    concept = CONCEPTS["trace"]
    network = latents.train(concept, "tanh", 16, seed=1, steps=150)
    torch.set_num_threads(threads)
    assert latents.alignment(concept, network) > 0.8
