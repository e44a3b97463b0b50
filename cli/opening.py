"""Open what a command works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import Reporter, say

if TYPE_CHECKING:
    from ..analysis.project.catalogue import Catalogue
    from ..analysis.project.study import Study


def open_zoo(zoo: Path | None, **settings: Any) -> Study:
    """Open the zoo that is named, or the nearest one upward."""
    from ..analysis.project.study import find_study, open_study

    return find_study(Path.cwd(), **settings) if zoo is None else open_study(zoo, **settings)


@contextmanager
def reading(zoo: Path | None) -> Iterator[Catalogue]:
    """Open a catalogue to read, with a warning where the zoo.toml has changed since it was made."""
    study = open_zoo(zoo)
    with study.reading() as catalogue:
        made_with = catalogue.indexed("zoo", "whole")
        if made_with != study.key:
            changed = "zoo.toml has changed since this was made" if made_with else "the run has not finished yet"
            say(f"warning: {changed}; consilience run {study.path} brings it up to date")
        yield catalogue


@contextmanager
def progress() -> Iterator[dict[str, Any]]:
    """Settings of a study for long work: progress is shown, and the first Ctrl-C ends it after the current item."""
    import signal

    asked: list[int] = []

    def stop(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("stopping after the current item; press Ctrl-C again to stop at once")

    reporter = Reporter()
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield {"report": reporter, "stop": lambda: bool(asked)}
    finally:
        reporter.close()
        signal.signal(signal.SIGINT, before)
