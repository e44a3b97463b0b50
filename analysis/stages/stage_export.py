"""Export: write the equations of a study to a file; as LaTeX, those of vision networks with all their evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ...zoo.errors import BadInput
from ...zoo.store import write_atomically
from ..project.study import Study
from ..reports import records
from ..reports.latex_parts import Figure
from ..reports.vision_latex import to_vision_document
from ..reports.vision_report import vision_report
from .drawing import Drawing
from .families import is_family

PICTURES = {
    "table": ("summary", "What the networks share, at a glance."),
    "kernels-first": ("first layers", "Kernels of first layers over their closed forms."),
    "shares": ("not reduced", "What the units of each layer detect."),
}
"""By file name: under which heading of the document they stand, and their captions."""
DONE = ("kernels", "tuning")
"""Stages whose findings are drawn."""
WHOLE = {"table": {"kernels", "tuning"}, "kernels": {"kernels"}, "shares": {"tuning"}}
"""Pictures of the whole catalogue, and the stages without which they are not drawn."""
SUFFIX = ".pdf"
FOLDER = re.compile(r"[A-Za-z0-9_-]+")
"""Names of folders that LaTeX takes as they are."""


def export_equations(study: Study, path: str | Path, *, format: str | None = None, figures: bool = True) -> int:
    """Write the equations to a file and return how many; the suffix tells the format unless it is named.

    Of vision networks LaTeX is an article with everything that is known of each family; its `figures` are drawn into
    a folder beside it, NAME-figures. Raises BadInput for an unknown format or suffix, NotFound where there are no
    equations.
    """
    path = Path(path)
    known = records.equations(study)
    if records.format_of(path, format) != "latex" or not any(is_family(record.feature) for record in known):
        return records.export_equations(study, path, format=format)
    with study.reading() as catalogue:
        report = vision_report(catalogue)
    drawn = _drawn(study, path) if figures else {}
    others = [record for record in known if not is_family(record.feature)]
    _write(path, to_vision_document(report, figures=drawn, others=others))
    return len(known)


def _write(path: Path, text: str) -> None:
    try:
        with write_atomically(path) as temporary:
            temporary.write_text(text)
    except OSError as error:
        hint = "name a file in a folder that you can write to"
        raise BadInput(f"cannot write {path}: {error.strerror}", hint=hint) from None


def figure_folder(path: Path) -> Path:
    """Tell where the figures of a document are drawn: beside it, under a name that LaTeX takes as it is."""
    return path.parent / (f"{path.stem}-figures" if FOLDER.fullmatch(path.stem) else "figures")


def _drawn(study: Study, path: Path) -> dict[str, list[Figure]]:
    """Draw all pictures that the document shows, by the heading or family under which they stand."""
    from .stage_plot import draw_all

    folder, asked = figure_folder(path), _asked(study)
    files = draw_all(study, [drawing for _, _, drawing in asked], folder, suffixes=(SUFFIX,))
    found: dict[str, list[Figure]] = {}
    for (heading, caption, _), file in zip(asked, files, strict=True):
        found.setdefault(heading, []).append(Figure(f"{folder.name}/{file.name}", caption))
    return found


def _asked(study: Study) -> Sequence[tuple[str, str, Drawing]]:
    """List what is drawn of what was done: under which heading, its caption, and how."""
    from .findings import Findings
    from .plot_seen import OF_FAMILIES, SEEN

    with study.reading() as catalogue:
        done = {verb for verb in DONE if catalogue.indexed(verb, "zoo") is not None}
    findings = Findings(study)
    whole = [
        (*PICTURES[drawing[0]], drawing)
        for name, needed in WHOLE.items()
        if needed <= done
        for drawing in SEEN[name](findings)
        if drawing[0] in PICTURES
    ]
    return [*whole, *(told for verb in DONE if verb in done for draw in OF_FAMILIES[verb] for told in draw(findings))]
