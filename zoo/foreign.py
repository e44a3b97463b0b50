"""Say of a file that carries code what it is, and how to get its weights out where it is trusted."""

from __future__ import annotations

import pickletools
from itertools import islice

from .errors import Refused, one_line

MOST_OPCODES = 1_000_000

_DANGEROUS = frozenset(
    {"os", "posix", "nt", "subprocess", "builtins", "__builtin__", "sys", "runpy", "shutil", "socket", "pty"}
    | {"importlib", "ctypes", "pickle", "_pickle", "webbrowser", "operator", "functools", "io", "_io", "pip"}
    | {"code", "codecs", "_codecs", "platform", "timeit", "pdb", "asyncio", "multiprocessing", "types"}
)
_MODULE = "import sys, torch; m = torch.load(sys.argv[1], weights_only=False); torch.save(m.state_dict(), sys.argv[2])"
_PROGRAMS = {
    "TorchScript": "import sys, torch; m = torch.jit.load(sys.argv[1], 'cpu'); torch.save(m.state_dict(), sys.argv[2])",
    "an exported torch program": "import sys, torch; p = torch.export.load(sys.argv[1]); "
    "torch.save(dict(p.state_dict), sys.argv[2])",
    "a torch package": "import sys, torch.package; p = torch.package.PackageImporter(sys.argv[1]); "
    "torch.save(p.load_pickle('model', 'model.pkl').state_dict(), sys.argv[2])",
}


def named_code(content: bytes) -> str | None:
    """Tell the first function or class that a pickle names, or None where there is none, or no pickle.

    Content without the modern mark must parse to its end, since any text begins like an old pickle.
    """
    modern = content[:1] == b"\x80"
    strings: list[str] = []
    found = None
    try:
        for opcode, argument, _ in islice(pickletools.genops(content), MOST_OPCODES):
            if opcode.name == "STACK_GLOBAL":
                found = found or ".".join(strings[-2:])
            elif opcode.name in ("GLOBAL", "INST"):
                found = found or str(argument).replace(" ", ".", 1)
            elif isinstance(argument, str):
                strings = [*strings[-1:], argument]
            if modern and found:
                return found
    except Exception:  # any bytes may stand here: what fails to parse is no pickle
        return None
    return found


def refuse_code(name: str) -> Refused:
    """Word the refusal of a pickle that names a function or class."""
    shown = one_line(name[:80])
    if name.partition(".")[0] in _DANGEROUS:
        remedy = "do not open it with pickle or torch.load; ask its author for a safetensors file"
        return Refused("pickle-code", f"is a pickle that would run {shown}", hint=remedy)
    return Refused("pickle-code", f"is a pickle that needs the code of {shown}", hint=_convert(_MODULE))


def refuse_program(what: str) -> Refused:
    """Word the refusal of a format that carries a program: one of the kinds in this module's table."""
    return Refused("program", f"is {what}, which carries code", hint=_convert(_PROGRAMS[what]))


def _convert(code: str) -> str:
    return f'if you trust its author, convert it where it runs: python -c "{code}" FILE NEW.pt'
