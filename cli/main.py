"""The command line: parse, call one verb, hand the result to `output`."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from ..zoo.errors import ConsilienceError
from . import exact, lists, stages, stimuli, weights
from .output import answer, say

app = typer.Typer(
    name="consilience",
    help="What did all these networks learn in common, and what is its formula?",
    epilog="Start with: consilience run data/gravity/zoo.toml · your own folder: consilience init FOLDER",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=True,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        answer(f"consilience {version('consilience')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (*stages.COMMANDS, *lists.COMMANDS, *weights.COMMANDS, *exact.COMMANDS, *stimuli.COMMANDS):
    app.command()(_command)


def main() -> NoReturn:
    """Run the program; every failure is one line, a hint and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of another alphabet shows ± as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends it will not wait for the current item
    try:
        code = app(standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error)
            sys.exit(2)
        if os.environ.get("CONSILIENCE_DEBUG") == "1":
            raise
        what, hint, code = _worded(error)
        if what:
            say(what)
        if hint:
            say(f"hint: {hint}")
    if code == 130:
        say("stopped; the same command goes on from here")
    sys.exit(code)


def _worded(error: Exception) -> tuple[str, str, int]:
    """Word an error: what happened, what to do about it, and the exit code."""
    if isinstance(error, ConsilienceError):
        return f"error: {error.what}", error.hint, error.exit_code
    if type(error).__name__ in ("Stopped", "Abort"):
        return "", "", 130
    if hasattr(error, "format_message"):  # typer's own, whose classes have moved between its versions
        command = getattr(getattr(error, "ctx", None), "command_path", app.info.name)
        return f"error: {error.format_message()}", f"{command} --help", 2
    if isinstance(error, OSError):
        what = f"error: {error.filename or 'the project folder'}: {error.strerror or error}"
        return what, "make room or correct the rights and run the same command again: nothing stored is lost", 2
    what = f"error: this is a bug of ours: {type(error).__name__}: {error}"
    return what, "run again with CONSILIENCE_DEBUG=1 and report what it prints", 1
