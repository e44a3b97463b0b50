"""Fork the program from a process that has its imports behind it; see `WarmProgram` in conftest.

Reads one request a line: start a command and answer its process id, or ask for the exit code of one.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import umap  # noqa: F401

import consilience.analysis.reports.records
import consilience.analysis.stages.run
import consilience.analysis.stages.stage_distil
import consilience.analysis.stages.stage_plot
import consilience.zoo.draft  # noqa: F401
from consilience.cli.main import main


def become(request: dict[str, Any]) -> None:
    """Turn this process into the command, with files for stdout and stderr."""
    scratch = Path(request["scratch"])
    for number, name in ((1, "out"), (2, "err")):
        descriptor = os.open(scratch / name, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["folder"])
    sys.argv = ["consilience", *request["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)  # taking the modules down takes longer than most commands


def serve() -> None:
    """Answer requests until there are no more."""
    gc.collect()
    ended: dict[int, int] = {}
    gc.freeze()  # a collection in a child would touch, and so copy, every page
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "wait" in request:
            if request["wait"] not in ended:
                pid, status = os.waitpid(request["wait"], 0 if request["patient"] else os.WNOHANG)
                ended |= {pid: os.waitstatus_to_exitcode(status)} if pid else {}
            print(json.dumps(ended.get(request["wait"])), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            become(request)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()
