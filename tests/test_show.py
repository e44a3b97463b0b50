"""What the catalogue knows, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from consilience.analysis.project.catalogue import Catalogue, writing
from consilience.analysis.reports.show import law, law_lines, rounded, show
from consilience.zoo.errors import NotFound

NAN = float("nan")
NETWORK = {
    "network": "a",
    "status": "ok",
    "file": "networks/a.safetensors",
    "format": "safetensors",
    "digest": "0" * 64,
    "architecture": "mlp",
    "activation": "tanh",
    "parameters": 12345,
    "lineage": "a",
    "warnings": [],
    "metadata": '{"author": "me"}',
}
FEATURE = {
    "feature": "F1",
    "number": 1,
    "level": "output",
    "role": "output",
    "name": "force",
    "unit": "N",
    "members": 2,
    "networks": 2,
    "lineages": 2,
    "universality": 1.0,
    "agreement": 0.99,
    "support": 0.99,
    "reliability": 0.98,
    "lift": 3.0,
    "p": 0.01,
    "q": 0.02,
    "above_null": True,
}
EQUATION = {
    "equation": "E1",
    "number": 1,
    "feature": "F1",
    "target": "force",
    "unit": "N",
    "status": "equation",
    "reason": "",
    "expression": "m1*m2/r**2",
    "skeleton": "c1*m1*m2/r**2",
    "complexity": 9,
    "fidelity": 0.99999,
    "peer_ratio": 1.034,
    "peer_ratio_error": 0.05,
    "peer_agreement": 0.9999,
    "extrapolation": NAN,
    "peer_extrapolation": None,
    "networks": 2,
    "lineages": 2,
    "engine": "operon",
    "terms": None,
    "linked": False,
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with writing(tmp_path / "catalogue.duckdb") as opened:
        opened.replace({}, {"networks": [NETWORK], "features": [FEATURE], "equations": [EQUATION]})
        yield opened


def change(catalogue: Catalogue, table: str, row: Mapping[str, Any], **changes: Any) -> None:
    catalogue.replace({}, {table: [{**row, **changes}]})


def test_a_network(catalogue):
    layer = {"network": "a", "layer": "net.0", "position": 1, "kind": "dense", "role": "hidden", "activation": "tanh"}
    members = [{"feature": "F1", "network": "a", "layer": "net.0", "unit": k, "sign": 1, "r": 0.9} for k in range(2)]
    catalogue.replace(
        {},
        {
            "layers": [layer | {"units": 8, "dead": 1, "positions": 1, "axes": ["row"], "depth": 0.5}],
            "members": members,
        },
    )
    assert show(catalogue, "a") == (
        "network a: ok, networks/a.safetensors",
        "  safetensors, 12,345 parameters, mlp, tanh",
        f"  lineage a; sha256 {'0' * 64}",
        "  author: me",
        "  layer net.0: 8 dense hidden units, tanh, 1 dead",
        "  2 of its units belong to features, 2 to features above the nulls",
    )


def test_a_network_with_a_warning_and_without_an_activation(catalogue):
    change(catalogue, "networks", NETWORK, status="warned", activation=None, warnings=["copy: of b"], metadata=None)
    told = show(catalogue, "a")
    assert told[1] == "  safetensors, 12,345 parameters, mlp"
    assert told[3] == "  flag: copy: of b"


@pytest.mark.parametrize("hint", ["get it again", ""])
def test_a_refused_network(catalogue, hint):
    change(catalogue, "networks", NETWORK, status="refused", code="truncated", message="is cut short", hint=hint)
    told = show(catalogue, "a")
    assert told[:2] == ("network a: refused, networks/a.safetensors", "  is cut short [truncated]")
    assert told[2:] == ((f"  hint: {hint}",) if hint else ())


def test_a_feature(catalogue):
    member = {"feature": "F1", "layer": "2", "unit": 0}
    catalogue.replace(
        {},
        {
            "members": [
                member | {"network": "b", "sign": -1, "r": 0.5},
                member | {"network": "c", "sign": 1, "r": NAN},
                member | {"network": "a", "sign": 1, "r": 0.75},
            ]
        },
    )
    assert show(catalogue, "F1") == (
        "feature F1 force: output units at level output, above the nulls (q = 0.02)",
        "  in 2 lineages, universality 100%; 2 units of 2 networks",
        "  agreement 0.990 (mean r of a member with the others), support 0.990, lift over untrained networks 3.00, "
        "reliability 0.98",
        "  + a 2[0]  r = 0.750",
        "  - b 2[0]  r = 0.500",
        "  + c 2[0]",
        "force [N] = m1*m2/r**2   (E1: peer ratio 1.03 ± 0.05, 9 nodes, 2 lineages)",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"above_null": False, "q": 0.4}, "not above the nulls: chance gives as much (q = 0.4)"),
        ({"above_null": False, "lineages": 1, "q": NAN}, "in one lineage only: there is nothing to compare it with"),
        ({"above_null": False, "q": None}, "not above the nulls: chance gives as much"),
    ],
)
def test_what_speaks_against_a_feature(catalogue, changes, said):
    change(catalogue, "features", FEATURE, lift=NAN, agreement=NAN, reliability=None, **changes)
    first, _, strengths, *_ = show(catalogue, "F1")
    assert first.endswith(f"level output, {said}")
    assert strengths == "  support 0.990"


def test_an_equation(catalogue):
    constant = {"equation": "E1", "spread": 0.01}
    front = {"equation": "E1", "error": 0.1}
    catalogue.replace(
        {},
        {
            "constants": [
                constant | {"position": 2, "name": "c2", "value": 9.806, "low": NAN, "high": NAN, "exact": None},
                constant | {"position": 1, "name": "c1", "value": 1.001, "low": 0.99, "high": 1.01, "exact": 1.0},
            ],
            "agreements": [{"equation": "E1", "lineage": "a", "fidelity": 0.999, "peer_ratio": 1.1}],
            "relevances": [
                {"equation": "E1", "variable": name, "effect": effect, "kept": effect > 0}
                for name, effect in [("m1", 1.0), ("r", 2.0), *((f"z{k}", 0.0) for k in range(22))]
            ],
            "fronts": [
                front
                | {"complexity": 9, "expression": "m1*m2/r**2", "chosen": True}
                | {"peer_ratio": 1.03, "peer_ratio_error": 0.05},
                front
                | {"complexity": 1, "expression": "2.0", "chosen": False}
                | {"peer_ratio": NAN, "peer_ratio_error": NAN},
            ],
        },
    )
    told = "\n".join(show(catalogue, "E1"))
    for line in (
        "force [N] = m1*m2/r**2   (E1: peer ratio 1.03 ± 0.05, 9 nodes, 2 lineages)",
        "  with its numbers set free: force = c1*m1*m2/r**2",
        "    c1 = 1.001   another network would say 0.99 to 1.01; stands as exactly 1",
        "    c2 = 9.806\n",
        "R² = 0.999990",
        "  feature F1, in 2 networks, engine operon",
        "redrawn: r 2, m1 1\n",
        " and 2 more\n",
        "    a  0.999000  1.10\n",
    ):
        assert line in told
    assert "outside the probe's range" not in told
    one, nine = told.splitlines()[-2:]
    assert one.split() == ["1", "2"]
    assert nine.split() == ["*", "9", "1.03", "±", "0.05", "m1*m2/r**2"]


@pytest.mark.parametrize(
    ("engine", "searched", "said"),
    [
        ("ladder", None, "found by the ladder, without a search"),
        ("reducer", "operon", "found by the reducer, which a search with operon did not better"),
        ("operon", "operon", "found by operon"),
        ("operon", None, "engine operon"),
    ],
)
def test_what_found_an_equation(catalogue, engine, searched, said):
    change(catalogue, "equations", EQUATION, engine=engine, searched=searched)
    assert f"  feature F1, in 2 networks, {said}" in show(catalogue, "E1")


def test_no_equation_is_said_with_the_reason(catalogue):
    change(catalogue, "equations", EQUATION, status="no_equation", reason="the best is 7 times worse than the peers")
    first, *rest = show(catalogue, "E1")
    assert first == "force [N]: no equation   (E1: the best is 7 times worse than the peers)"
    assert "  the best that was found: m1*m2/r**2" in rest


def test_an_equation_without_peers_says_why(catalogue):
    row = EQUATION | {"peer_ratio": NAN, "peer_ratio_error": NAN, "reason": "one lineage has no peers", "unit": None}
    assert law_lines(catalogue, row, whole=False) == ["force = m1*m2/r**2   (E1: one lineage has no peers; 9 nodes)"]
    assert law(row) == "force = m1*m2/r**2"


def test_an_equation_of_one_network_counts_in_the_singular(catalogue):
    alone = {"feature": "a/0:3", "networks": 1, "lineages": 1, "complexity": 1, "extrapolation": 0.5}
    change(catalogue, "equations", EQUATION, **alone)
    told = "\n".join(show(catalogue, "E1"))
    for words in (", 1 node, 1 lineage)", "on the network R² = 0.999990", "unit a/0:3, in 1 network, "):
        assert words in told
    assert "consensus" not in told.split("variables, by how far")[0]


def test_numbers_are_rounded_for_the_eye():
    assert rounded("3.00000001*x + 9.80665432*y") == "3*x + 9.8067*y"


def test_nobody_of_that_name(catalogue):
    with pytest.raises(NotFound, match="the catalogue has no 'x; DROP TABLE networks'") as caught:
        show(catalogue, "x; DROP TABLE networks")
    assert "consilience networks" in caught.value.hint


def test_what_else_speaks_for_and_against_an_equation(catalogue):
    change(
        catalogue,
        "equations",
        EQUATION,
        status="ambiguous",
        reason="1 other formula of the front fits as well",
        stability=0.85,
        gradient_agreement=0.9912,
        terms="F2, F3",
    )
    link = {"equation": "E1", "kind": "affine"}
    rival = {"equation": "E1", "complexity": 11, "ratio": 1.01}
    number = {"equation": "E1", "spread": 0.1, "low": 0.5, "high": 1.5, "exact": None}
    own = {"equation": "E1", "position": 1, "name": "c1"}
    losses = {"loss": "distance from others", "loss_before": 0.001, "loss_mean": 0.0015, "loss_ablated": 1.0}
    catalogue.replace(
        {},
        {
            "constants": [number | {"position": 1, "name": "c1", "value": 1.0, "shared": False}],
            "own_constants": [own | {"lineage": "a", "value": 0.9}, own | {"lineage": "b", "value": 1.1}],
            "rivals": [
                rival | {"expression": "m1*m2/r**2.5", "status": "dropped", "inputs": "[]"},
                rival | {"expression": "m1*m2*exp(-r)", "status": "ambiguous", "inputs": '[{"m1": 1.0, "r": 3.0}]'},
            ],
            "dissenters": [{"equation": "E1", "lineage": "b", "ratio": 3.2, "p": 0.004}],
            "links": [
                link | {"lineage": "a", "parameters": [1.0, 0.0]},
                link | {"lineage": "b", "parameters": [1.5, -2.0]},
            ],
            "substitutions": [
                {"equation": "E1", "network": "a", "loss_with": 0.002, "note": "", **losses},
                {"equation": "E1", "network": "b", "loss_with": NAN, "note": "is not finite", **losses},
            ],
        },
    )
    told = "\n".join(show(catalogue, "E1"))
    for line in (
        "(E1: peer ratio 1.03 ± 0.05, 9 nodes, 2 lineages, ambiguous)",
        "  in terms of F2, F3\n",
        "  ambiguous: 1 other formula of the front fits as well\n",
        "every lineage has its own, 0.9 to 1.1\n",
        "mean cosine 0.9912\n",
        "  of other draws of networks and points 85% choose the same form\n",
        "  fits as well: m1*m2*exp(-r) (11 nodes, peer ratio 1.01)\n",
        "  lost to it where the two differ most: m1*m2/r**2.5 (11 nodes",
        "  measure there to tell them apart:\n    m1 = 1, r = 3\n",
        "  b dissents: it lies 3.2 times as far from the equation as the others (p = 0.004)\n",
        "factor and an offset of its own: a 1, +0; b 1.5, -2\n",
        "in the place of the units, distance from others: as it is, equation, consensus, each unit's mean\n",
        "    a  0.001  0.002  0.0015  1\n",
        "    b  0.001  -  0.0015  1  (is not finite)\n",
    ):
        assert line in told


def test_an_equation_up_to_a_link(catalogue):
    change(catalogue, "equations", EQUATION, linked=True)
    rows = [("a", "rising"), ("b", "falling")]
    links = [{"equation": "E1", "lineage": name, "kind": kind, "parameters": [0.0, 1.0]} for name, kind in rows]
    catalogue.replace({}, {"links": links})
    told = show(catalogue, "E1")
    assert told[0].startswith("force [N] = L(m1*m2/r**2)   (E1: ")
    assert "  up to a monotone function L of each lineage's own: rising in a; falling in b" in told


def test_an_equation_in_terms_of_features_about_a_single_unit(catalogue):
    change(catalogue, "equations", EQUATION, feature="a/0:3", target="a/0:3")
    rows = [{"equation": "E1", "variable": name, "effect": NAN, "kept": True} for name in ("F2", "F3")]
    catalogue.replace({}, {"relevances": rows})
    told = show(catalogue, "E1")
    assert "  unit a/0:3, in 2 networks, engine operon" in told
    assert "  features that it may be written in: F2, F3" in told
    assert not any("redrawn" in line for line in told)
