"""The appendix of vision equations: all evidence, sound LaTeX whatever names there are, formulas that can be set."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from consilience.analysis.formulas.parsing import parse
from consilience.analysis.reports.latex_parts import Figure, chance, with_spread
from consilience.analysis.reports.vision_latex import to_vision_document
from consilience.analysis.reports.vision_report import (
    FamilyReport,
    FirstLayer,
    LayerReport,
    Members,
    Replaced,
    SharedNumber,
    VisionReport,
    Witnessed,
)
from consilience.analysis.vision.written_law import written_law

EDGE = FamilyReport(
    id="T1",
    kind="tuning",
    detector="edge",
    form="von Mises",
    level="orientation tuning",
    lineages=5,
    of_lineages=7,
    networks=5,
    above_null=True,
    p=0.0069,
    agreement=0.92,
    members=(Members("net_a", "conv.1", (3, 5)), Members("net_b", "conv.2", tuple(range(40)))),
    law=written_law(parse("a*exp(0.958*(cos(2*(angle - angle0)) - 1)) + b")),
    own=("a", "angle0", "b"),
    shared=(SharedNumber("kappa", 0.9578, 0.0887),),
    r2=0.922,
    peer_ratio=1.38,
    peer_ratio_error=0.13,
    by_lineage=(Witnessed("net_a", 0.91, 1.37),),
)
TURNED = "(0.01*(x + 0.04) + 0.9*(y + 1.1))"
LINE = replace(
    EDGE,
    id="K1",
    kind="kernel",
    detector="line",
    form="second derivative",
    p=math.nan,
    law=written_law(parse(f"0.7*(1 - {TURNED}**2/1.5)*exp(-{TURNED}**2/3)")),
    own=(),
    shared=(SharedNumber("sigma_u", 1.24, 0.0), SharedNumber("x0", 2e-7, 1e-9)),
    coverage={"net_a": (0.2, 0.01)},
    note="describes more than it explains",
)
WAVE = replace(
    LINE,
    id="K3",
    form="axis Gabor",
    law=written_law(parse("cos(2*pi*u + phase)*exp(-u**2/0.3 - v**2/0.2)")),
    own=("phase",),
    coverage={},
)
BLANK = replace(LINE, id="K2", detector="blank", above_null=False, law=None, shared=(), coverage={}, note="chance")
MATCHED = replace(EDGE, id="M1", kind="map", law=None, own=(), shared=(), by_lineage=(), r2=math.nan)
REPORT = VisionReport(
    {"net_a": "net_a", "net_b": "net_b", "child": "net_b"},
    (EDGE, LINE, WAVE, BLANK, MATCHED),
    (LayerReport("net_a", "conv.1", 32, 10, 2, 0.5), LayerReport("net_b", "conv.2", 64, 0, 0, math.nan)),
    (FirstLayer("net_a", "conv.1", 32, {"Gabor": 3}),),
    (Replaced("net_a", "conv.1", True, {"equations": 0.9, "PCA": 0.6}),),
)
HOSTILE = (
    r"\input{/etc/passwd}",
    "$x$ % & # _ ^ ~",
    "}\\end{document}",
    "\udc80\u202e\x00\x1b[31m",
    "",
    "力 ü µ",
    "{{{",
)


def sound(page: str) -> None:
    """Check what a LaTeX engine would stumble over: braces, environments, columns of tables, formulas."""
    bare = re.sub(r"\\[{}]", "", page)
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    body = page.split("\\begin{document}\n")[1]
    opened: list[str] = ["document"]
    for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if verb == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    tables = re.findall(r"\\begin\{longtable\}\{([^\n]*)\}\n(.*?)\\end\{longtable\}", page, flags=re.DOTALL)
    for columns, rows in tables:
        count = len(re.sub(r"\{.*?\}", "", columns))
        for row in re.findall(r"^(.*) \\\\$", rows, flags=re.MULTILINE):
            assert len(re.findall(r"(?<!\\)&", row)) == count - 1, row
    parser = MathTextParser("path")
    formulas = [*re.findall(r"^\\law\{(.*)\}$", page, flags=re.MULTILINE), *re.findall(r"(?<!\\)\$([^$#]+)\$", body)]
    assert formulas
    for formula in formulas:
        parser.parse(f"${formula}$", 72, FontProperties(size=9))


def test_all_evidence_is_told() -> None:
    page = to_vision_document(REPORT, figures={"T1": [Figure("laws-figures/tuning-T1.pdf", "curves & law")]})
    sound(page)
    for words in (
        r"\mathrm{T1}\left(\theta\right) = a \exp\left(0.958",
        r"Shared by all: $\kappa = 0.958 \pm 0.089$",
        r"Each unit's own: $a$, $\theta_{0}$, $b$.",
        r"In 5 of 7 lineages (71\%), above chance ($p$: 0.0069); 42 units of 5 networks; $R^2 = 0.922$; peer",
        r"net\_a & conv.\allowbreak{}1 & 2 & 3, 5 \\",
        r"net\_b & conv.\allowbreak{}2 & 40 &  \\",
        r"{laws-figures/tuning-T1.pdf}",
        r"\caption{curves \& law}",
        r"\law{u = ",
        "Describes more than it explains.",
        r"\mathrm{K1}\left(x, y\right) = ",
        r"\mathrm{K3}\left(u, v\right) = ",
        "Each kernel's own: $\\mathrm{phase}$.",
        "$u$ and $v$ are along and across each kernel's own angle",
        r"net\_a & 1 & 2 & 20\% & 1\% \\",
        "12 are not reduced to any law, 2 of them silent",
        r"net\_a & conv.\allowbreak{}1 & 32 & 20 & 10 & 2 & 38\% & 50\% \\",
        r"3 of 32 & 3 Gabor \\",
        r"same class & equations 0.900, PCA 0.600 \\",
        r"net\_a, net\_b with child; 2 lineages",
    ):
        assert words in page, words
    assert not re.search(r"\bnan\b", page)
    assert page.index("T1 & edge") < page.index("K1 & line") < page.index("K2 & blank")


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_strangers_are_only_names(text: str) -> None:
    members = (Members(text, text, (1,)),)
    family = replace(
        EDGE, detector=text, form=text, members=members, note=text, by_lineage=(Witnessed(text, 1.0, 1.0),)
    )
    layers = (replace(REPORT.layers[0], network=text, layer=text),)
    page = to_vision_document(
        VisionReport({text: text}, (family, replace(family, kind="map", law=None)), layers, ()),
        figures={"T1": [Figure("f/a.pdf", text)]},
    )
    sound(page)
    assert "\\input" not in page
    assert page.count("\\end{document}") == 1


def test_nothing_is_a_document_too() -> None:
    sound(to_vision_document(VisionReport({}, (), (), ()), figures={}))


@pytest.mark.parametrize(
    ("value", "spread", "words"),
    [
        (0.9578, 0.887, r"0.96 \pm 0.89"),
        (6.0, 1e-14, "6"),
        (6.0, math.nan, "6"),
        (-0.01391, 0.0084, r"-0.0139 \pm 0.0084"),
        (2e-7, 1e-9, r"2 \times 10^{-7} \pm 1 \times 10^{-9}"),
        (1234.5, 300.0, r"1.23 \times 10^{3} \pm 3 \times 10^{2}"),
    ],
)
def test_numbers_have_the_digits_that_their_spread_leaves(value: float, spread: float, words: str) -> None:
    assert with_spread(value, spread) == words


def test_chance_is_told_short() -> None:
    assert [chance(p) for p in (0.0048, 1e-9, math.nan)] == ["0.0048", "$<$ 0.0001", "--"]
