"""Call the user's own code to build a module: code that is trusted because the user named it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from .errors import Refused

_FORM = 'architecture = "python:package.module:factory"'


def call_factory(
    target: str, tensors: Mapping[str, np.ndarray], *, options: Mapping[str, object], search_path: Path
) -> nn.Module:
    """Import "package.module:factory", searching a folder first, and call it as factory(tensors, **options).

    What is imported from the folder is forgotten again, so that two zoos may use the same module names.
    Raises Refused (factory), naming the factory and its error.
    """
    path, _, name = target.partition(":")
    if not path or not name.isidentifier():
        raise Refused("factory", f"architecture 'python:{target}' names no factory", hint=_FORM)
    with _importing(search_path, path.partition(".")[0]):
        factory = _find(path, name, search_path)
        try:
            # Fresh copies: a factory may keep what it is given, and what it is given may be read-only.
            module = factory({key: array.copy() for key, array in tensors.items()}, **options)
        except Exception as error:
            raise _failed(f"{path}:{name}", error, "correct the factory, or options in zoo.toml") from None
    if not isinstance(module, nn.Module):
        found = type(module).__name__
        raise Refused("factory", f"{path}:{name} returns {found}, not a torch.nn.Module", hint="return the module")
    return module


def _find(path: str, name: str, folder: Path) -> Callable[..., Any]:
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        where = f"neither in {folder} nor installed"
        raise Refused("factory", f"{path}: no module {error.name!r}, {where}", hint=_FORM) from None
    except Exception as error:
        raise _failed(path, error, "correct the module: import it by hand to see more") from None
    factory = getattr(module, name, None)
    if not callable(factory):
        raise Refused("factory", f"{path} has no function {name!r}", hint=_FORM)
    found: Callable[..., Any] = factory
    return found


def _failed(where: str, error: Exception, hint: str) -> Refused:
    reason = " ".join(str(error).split())
    return Refused("factory", f"{where} fails: {type(error).__name__}: {reason}"[:300], hint=hint)


@contextmanager
def _importing(folder: Path, top: str) -> Iterator[None]:
    """Search a folder first for a while, then forget what came from it."""
    root = folder.resolve()
    before = dict(sys.modules)
    local = (root / top).is_dir() or (root / f"{top}.py").is_file()
    for name in [name for name in before if local and name.partition(".")[0] == top]:
        del sys.modules[name]
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(root))
        for name, module in list(sys.modules.items()):
            if before.get(name) is not module and _stands_in(root, name, module):
                del sys.modules[name]
        for name in before.keys() - sys.modules.keys():
            sys.modules[name] = before[name]


def _stands_in(root: Path, name: str, module: ModuleType | None) -> bool:
    """Tell whether a module is a file or package right in a folder, not in an environment somewhere below."""
    top = name.partition(".")[0]
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
    return any(Path(place).is_relative_to(root / part) for place in places for part in (top, f"{top}.py"))
