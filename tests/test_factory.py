"""The user's own factory is called, and two zoos with modules of one name do not mix."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from consilience.zoo.errors import Refused
from consilience.zoo.factory import call_factory

TENSORS = {"w": np.array([[2.0]], dtype=np.float32)}


def module_text(factor: float) -> str:
    return (
        "import torch\n"
        "from helper import FACTOR\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, weight, power=1):\n"
        "        super().__init__(); self.weight, self.power = torch.from_numpy(weight), power\n"
        "    def forward(self, x): return (FACTOR * x @ self.weight) ** self.power\n"
        "def make(tensors, **options): return Net(tensors['w'], **options)\n"
        "def late(tensors):\n    import more\n    return make(tensors)\n"
        "def broken(tensors): return Net(tensors['missing'])\n"
        "def wrong(tensors): return 3\n"
        "number = 4\n"
    )


def write_zoo(folder: Path, factor: float) -> Path:
    folder.mkdir()
    (folder / "models.py").write_text(module_text(factor))
    (folder / "helper.py").write_text(f"FACTOR = {factor}\n")
    (folder / "more.py").write_text("")
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from .sibling import make\n")
    (package / "sibling.py").write_text("from models import make\n")
    return folder


def value(folder: Path, target: str = "models:make", **options: object) -> float:
    module = call_factory(target, TENSORS, options=options, search_path=folder)
    return float(module(torch.ones(1, 1)))


@pytest.mark.parametrize("target", ["models:make", "models:late", "package.inner:make"])
def test_two_zoos_do_not_mix(tmp_path: Path, target: str) -> None:
    first, second = write_zoo(tmp_path / "one", 3.0), write_zoo(tmp_path / "two", 5.0)
    modules, path = dict(sys.modules), list(sys.path)
    assert value(first, target) == 6.0
    assert value(second, target) == 10.0
    assert value(first, target) == 6.0
    assert sys.path == path
    assert not {"models", "helper", "more", "package"} & (sys.modules.keys() - modules.keys())


def test_a_module_of_the_same_name_elsewhere_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = type(sys)("models")
    monkeypatch.setitem(sys.modules, "models", elsewhere)
    assert value(write_zoo(tmp_path / "one", 3.0)) == 6.0
    assert sys.modules["models"] is elsewhere


def test_an_environment_below_the_zoo_stays_imported(tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path / "one", 3.0)
    site = zoo / ".venv" / "lib" / "site-packages"
    site.mkdir(parents=True)
    (site / "installed_here.py").write_text("")
    (zoo / "more.py").write_text(f"import sys\nsys.path.append({str(site)!r})\nimport installed_here\n")
    try:
        assert value(zoo, "models:late") == 6.0
        assert "installed_here" in sys.modules
    finally:
        sys.path.remove(str(site))
        del sys.modules["installed_here"]


def test_options_and_fresh_copies_reach_the_factory(tmp_path: Path) -> None:
    zoo = write_zoo(tmp_path / "one", 3.0)
    assert value(zoo, power=2) == 36.0
    frozen = TENSORS["w"].copy()
    frozen.setflags(write=False)
    module = call_factory("models:make", {"w": frozen}, options={}, search_path=zoo)
    module.weight += 1.0
    assert frozen.item() == 2.0


def test_installed_code_is_found_too(tmp_path: Path) -> None:
    module = call_factory("torch.nn:Identity", TENSORS, options={}, search_path=tmp_path)
    assert isinstance(module, torch.nn.Identity)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("models", "names no factory"),
        (":make", "names no factory"),
        ("models:ma ke", "names no factory"),
        ("absent:make", "absent: no module 'absent', neither in .* nor installed"),
        ("models:absent", "models has no function 'absent'"),
        ("models:number", "models has no function 'number'"),
        ("models:broken", "models:broken fails: KeyError: 'missing'"),
        ("models:wrong", r"models:wrong returns int, not a torch\.nn\.Module"),
        ("bad:make", r"bad fails: ZeroDivisionError: division by zero"),
        ("syntax:make", r"syntax fails: SyntaxError"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, target: str, match: str) -> None:
    zoo = write_zoo(tmp_path / "one", 3.0)
    (zoo / "bad.py").write_text("1 / 0\n")
    (zoo / "syntax.py").write_text("def make(:\n")
    with pytest.raises(Refused, match=match) as caught:
        call_factory(target, TENSORS, options={}, search_path=zoo)
    assert caught.value.code == "factory"
    assert caught.value.hint
    assert "\n" not in str(caught.value)
