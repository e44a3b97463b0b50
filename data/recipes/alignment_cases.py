"""Published cases of alignment, each on five fresh seeds: what was to be found, and what came out.

Run as: python data/recipes/alignment_cases.py [A4 A5 ...]
"""

from __future__ import annotations

import alignment_planted as planted
import alignment_trained as trained
import alignment_weights as weights
from cases import Case, Figure, main

WHOLE = {"at_least": 1.0, "at_most": 1.0}
NONE = {"at_least": 0.0, "at_most": 0.0}

CASES = (
    Case(
        "A1",
        "A permutation planted in an MLP",
        "MLPs 784–w³–10, w 64 to 512, trained on digits; a copy in another order, with noise on its weights in "
        "standard deviations of each tensor. Of the live units, which share is found again?",
        weights.planted_permutation,
        (
            *(Figure(f"by weights, noise {noise:g} σ", **WHOLE) for noise in weights.WEIGHT_NOISES),
            Figure("by activations before ReLU, live units", **WHOLE),
            Figure("by activations before ReLU, all units"),
            Figure("by activations after ReLU, live units"),
            Figure("by activations after ReLU, all units"),
            Figure("dead units"),
        ),
        tests="`tests/test_weight_matching.py` and `tests/test_align.py`",
        comment="Activations are those without noise. A unit is dead if it is 0 on the whole probe after ReLU; before "
        "it, it still varies, which is why the program matches there.",
    ),
    Case(
        "A2",
        "Linear mode connectivity",
        "Two MLPs trained apart on digits: how far the cross-entropy on unseen digits rises at 11 points between "
        "them, as they are and in one order of units. Git Re-Basin as published (weights: algorithm 1; activations: "
        "products after ReLU), in the same run.",
        weights.connectivity,
        (
            *(
                Figure(f"{name} {how}", form=".3f")
                for name in weights.INTERPOLATED
                for how in ("as they are", "by weights", "by activations")
            ),
            *(
                Figure(f"{name} by {how}, above Git Re-Basin's", at_most=0.0, form=".3f", mean=True)
                for name in weights.INTERPOLATED
                for how in ("weights", "activations")
            ),
            Figure("change of the function by permuting", at_most=1e-4, form=".0e"),
        ),
        tests="`tests/test_barrier.py` and `tests/test_merge.py`",
    ),
    Case(
        "A3",
        "Which layer is which",
        "Ten networks of seven convolutions trained apart on digits; every layer looks for itself in every other "
        "network (Kornblith et al. 2019, table 2). Chance is 14.3 %.",
        trained.same_layer,
        (
            *(Figure(measure) for measure in trained.MEASURES),
            *(Figure(name, at_least=0.0) for name in trained.RIVALS),
            Figure("svcca above pwcca", at_least=0.0, mean=True),
            Figure("digits read"),
        ),
        tests="`tests/test_layer_similarity.py`",
        comment="The paper, on CIFAR and ten layers: CKA 99.3 %, SVCCA 15.1 %, PWCCA 11.1 %. Procrustes, "
        "which it does not have, tells these layers better than CKA.",
    ),
    Case(
        "A4",
        "Pure noise",
        f"{planted.NOISE_UNITS} units a network, {planted.NOISE_SAMPLES} samples. Which share of units is matched "
        "at q = 0.05 (of directions for methods that align those), and what peers without a null accept.",
        planted.noise,
        (
            *(Figure(f"`{method}`", at_most=0.05) for method in planted.OF_ARRAYS),
            Figure("features of five networks that pass", form=".1f", **NONE),
            Figure("mutual nearest neighbours, no null"),
            Figure("Rosetta rule, no null"),
            Figure("Rosetta rule over five networks"),
        ),
        tests="`tests/test_align.py` and `tests/test_alignment_cases.py`",
        comment="Rosetta rule: a unit is kept if it is among the five nearest of its own nearest unit. `weights` "
        "matches networks, not arrays; see A1.",
    ),
    Case(
        "A5",
        "Cycles over independent networks",
        "Five MLPs 64–128–128–10 trained apart on digits. Walking from one to a second, a third and back: which "
        "share of units comes home as another unit? Mean |r| is over all units, matched or not.",
        trained.independent_cycles,
        tuple(
            figure
            for layer in ("hidden 1", "hidden 2")
            for figure in (
                Figure(f"units lost by `assignment`, {layer}"),
                Figure(f"units lost by `universe`, {layer}", **NONE),
                Figure(f"walks broken off by `universe`, {layer}"),
                Figure(f"mean r by `assignment`, {layer}", form=".3f"),
                Figure(f"mean r given up by a universe, {layer}", at_most=0.08, form=".3f"),
            )
        ),
        tests="`tests/test_align.py` and `tests/test_alignment_cases.py`",
        comment="Broken off: two units share a slot for the sake of other networks' units and correlate below 0, which "
        "ReLU layers do not allow as a match; such a walk ends, and none comes home as another unit.",
    ),
    Case(
        "A6",
        "A planted zoo of different networks",
        "Widths 34 to 94, signs, scales, units twice, noise; 40 functions of three inputs in common, each in half of "
        "the networks, among private ones: single sines, sums of eight, small networks. Adjusted Rand index of the "
        "features, private units included.",
        planted.heterogeneous,
        (
            *(
                Figure(f"{kind}, {size} networks, noise {noise}", at_least=0.97, form=".3f")
                for kind in planted.KINDS
                for size in planted.SIZES
                for noise in planted.NOISES
            ),
            *(Figure(f"{size} networks at the best cut", form=".3f") for size in planted.LINKED),
        ),
        tests="`tests/test_cluster.py`",
        comment="Single sines with noise 0.8 are the hard corner: some that have nothing in common are nearly as alike "
        "as noisy copies. The last rows say what average linkage reaches there at the cut that knows the truth.",
    ),
    Case(
        "A7",
        "Trained against untrained",
        "Twelve MLPs of six architectures trained apart on digits, and untrained twins in their places, held against "
        "the same chance: the larger of the 99 % points of rotated axes and of other untrained twins, pooled over the "
        "level. Mutual matches of all pairs, both hidden levels.",
        trained.trained_and_not,
        (
            Figure("trained: matches", form=".0f"),
            Figure("trained: share above both 99 % points", at_least=0.02),
            Figure("trained: matches above both 99 % points", form=".0f"),
            Figure("untrained: matches", form=".0f"),
            Figure("untrained: matches above both 99 % points", at_most=0.0, form=".0f"),
            Figure("trained: matches at q ≤ 0.05", form=".0f"),
            Figure("untrained: matches at q ≤ 0.05", at_most=0.1, form=".1f", mean=True),
            Figure("trained: features at q ≤ 0.05", form=".0f"),
            Figure("untrained: features at q ≤ 0.05", at_most=0.1, form=".1f", mean=True),
        ),
        tests="`tests/test_alignment_cases.py`",
        comment="At q = 0.05 one level in twenty may show something where there is nothing; a seed has two.",
    ),
    Case(
        "A8",
        "What must not matter",
        "Order, sign and scale of units, order of samples, units twice, constant units, batches; on planted pairs.",
        planted.invariances,
        (
            *(Figure(f"partners changed, `{method}`", **NONE) for method in planted.MATCHING),
            Figure("change of r", at_most=1e-6, form=".0e"),
            Figure("units whose twin is missed", form=".0f", **NONE),
            Figure("NaN from constant units", form=".0f", **NONE),
            Figure("streamed r from two-pass r", at_most=1e-6, form=".0e"),
            Figure("unbiased CKA of noise, 128 × 128", at_least=-0.02, at_most=0.02, form=".3f"),
            Figure("biased CKA of it", form=".3f"),
        ),
        tests="`tests/test_align.py`, `test_cluster.py`, `test_moments.py`, `test_nearest.py` and `test_similarity.py`",
        comment="Streamed: batches of 1 to hundreds of samples, sorted by a unit, 100 away from zero.",
    ),
    Case(
        "A9",
        "Lineage",
        "Six MLPs trained apart on digits, three of them with descendants of seven kinds; lineages from weights alone.",
        trained.families,
        (
            Figure("adjusted Rand index of lineages", form=".3f", **WHOLE),
            *(Figure(f"{made} found", **WHOLE) for made in trained.DESCENDANTS),
            Figure("independent networks joined", form=".0f", **NONE),
        ),
        tests="`tests/test_lineage.py`",
    ),
    Case(
        "A10",
        "Ten digits named without labels",
        "Eight classifiers, CNNs and MLPs with ReLU, tanh and GELU, trained apart; their logits in random order. A "
        "digit is found if one feature holds its logit of all eight networks and nothing else.",
        trained.named_outputs,
        (
            Figure("least accurate network"),
            Figure("digits found", at_least=10.0, form=".1f"),
            Figure("digits found in data/digits", at_least=10.0, form=".1f"),
            Figure("features at q ≤ 0.05", at_least=10.0, form=".1f"),
            Figure("hidden units among outputs", form=".0f", **NONE),
            Figure("least r of a digit", form=".2f"),
            Figure("median r of a digit", form=".2f"),
            Figure("largest r of two digits", form=".2f"),
        ),
        tests="`tests/test_cluster.py` and `tests/test_alignment_cases.py`",
    ),
)

if __name__ == "__main__":
    main(CASES, about=__doc__)
