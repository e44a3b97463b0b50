"""Read and check `zoo.toml`: which networks, which probe, how far to go."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import BadManifest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Name = Annotated[str, Field(min_length=1, max_length=200)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=4096)]


class Part(BaseModel):
    """A table of zoo.toml: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _unique(names: list[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the name {twice[0]!r} stands twice")


class ScalingTable(Part):
    """Known preprocessing: the module sees (x - input_shift) / input_scale and its output is scaled back."""

    input_shift: tuple[Finite, ...] = ()
    input_scale: tuple[Finite, ...] = ()
    output_shift: tuple[Finite, ...] = ()
    output_scale: tuple[Finite, ...] = ()


class PreprocessingTable(Part):
    """How a photo becomes what a network was trained on; see `preprocess.Preprocessing`."""

    size: tuple[Side, Side] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    mean: tuple[Finite, ...] = ()
    std: tuple[Positive, ...] = ()
    layout: Literal["nchw", "nhwc"] = "nchw"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class NetworksTable(Part):
    """One checkpoint, or a glob of checkpoints that differ in nothing said here.

    Of `layers`, names in which * stands for anything, only those are recorded, beside the output; else all.
    """

    path: Annotated[str, Field(min_length=1)]
    name: Name | None = None
    architecture: str | None = None
    activation: str | None = None
    options: dict[str, Any] = {}
    strip_prefix: str = ""
    rename: dict[str, str] = {}
    lineage: Name | None = None
    outputs: tuple[Name, ...] | None = None
    scaling: ScalingTable | None = None
    preprocessing: PreprocessingTable | None = None
    layers: tuple[Name, ...] = ()
    metadata: dict[str, str] = {}


class OutputTable(Part):
    """An output that means the same in every network, in its physical unit.

    With `linked` it is known up to a monotone function of its own in every network, as a logit or a latent.
    """

    name: Identifier
    unit: str = ""
    linked: bool = False


class VariableTable(Part):
    """A named coordinate of the probe, its range and its unit."""

    name: Identifier
    low: Finite | None = None
    high: Finite | None = None
    unit: str = ""

    @model_validator(mode="after")
    def ordered(self) -> VariableTable:
        """Refuse an empty range."""
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if not math.isfinite((self.high or 0.0) - (self.low or 0.0)):
            raise ValueError("the range is too wide for numbers of double precision")
        return self


class DerivedTable(Part):
    """A variable computed from the inputs, in which a law may be simpler."""

    name: Identifier
    formula: Annotated[str, Field(min_length=1, max_length=1000)]
    unit: str = ""


class ProbeTable(Part):
    """What is presented to all networks: Sobol points in a box, rows of a file, or photos.

    Every photo is brought to a square of `side` pixels, whole (its middle) and in `crops` further pieces. With
    `whiten` above 0 their power spectrum is flattened, wholly at 1; see `whitening.whiten`.
    """

    variables: tuple[VariableTable, ...] = ()
    derived: tuple[DerivedTable, ...] = ()
    rows: str | None = None
    images: tuple[str, ...] = ()
    side: Annotated[int, Field(ge=8, le=1024)] = 256
    crops: Annotated[int, Field(ge=0, le=1000)] = 0
    whiten: Annotated[float, Field(ge=0, le=1)] = 0.0
    samples: Annotated[int, Field(ge=8, le=1_000_000)] = 2048

    @model_validator(mode="after")
    def presentable(self) -> ProbeTable:
        """Demand photos, rows or a full box, not two of them, and names that are unique."""
        if self.images and (self.rows or self.variables or self.derived):
            raise ValueError("images stand alone: they have no rows and no variables")
        if self.whiten and not self.images:
            raise ValueError("whiten is for images")
        if self.rows is None and not self.images:
            if not self.variables:
                raise ValueError('needs [[probe.variables]] with ranges, rows = "FILE" or images = ["*.png"]')
            for variable in self.variables:
                if variable.low is None or variable.high is None:
                    raise ValueError(f"variable {variable.name!r} needs low and high (there are no rows)")
        _unique(self.names)
        if "pi" in self.names:
            raise ValueError("no variable can be called 'pi': it is a number")
        return self

    @property
    def names(self) -> list[str]:
        """The names of all variables, the inputs' first."""
        return [*(variable.name for variable in self.variables), *(part.name for part in self.derived)]


class AlignTable(Part):
    """How units are matched, and what counts as a match above chance."""

    q: Annotated[float, Field(gt=0, lt=1)] = 0.05
    null_draws: Annotated[int, Field(ge=1, le=1000)] = 20
    method: Literal["mutual", "assignment", "partial", "universe", "weights"] = "mutual"


class InnerTable(Part):
    """What the inputs of a module inside the networks are called, in the order in which it takes them.

    Inputs that are not named are i0, i1, …
    """

    module: Name
    variables: tuple[Identifier, ...] = ()
    derived: tuple[DerivedTable, ...] = ()

    @model_validator(mode="after")
    def apart(self) -> InnerTable:
        """Demand names that are unique, and formulas of the module's inputs."""
        _unique([*self.variables, *(part.name for part in self.derived)])
        return self


class DistilTable(Part):
    """What is distilled, in which variables, and how long the search may be.

    A quick budget is a fourth, a thorough one four times of what `restarts` and `evaluations` allow.
    """

    variables: tuple[Identifier, ...] = ()
    outputs: tuple[Identifier, ...] | None = None
    inner: tuple[InnerTable, ...] = ()
    engine: Literal["operon", "pysr", "auto", "none"] = "operon"
    budget: Literal["quick", "normal", "thorough"] = "normal"
    restarts: Annotated[int, Field(ge=1, le=1000)] = 6
    evaluations: Annotated[int, Field(ge=1_000)] = 400_000
    samples: Annotated[int, Field(ge=32, le=100_000)] = 512
    features: Annotated[int, Field(ge=0)] = 20


class Manifest(Part):
    """A whole zoo.toml."""

    name: Name
    about: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    networks: Annotated[tuple[NetworksTable, ...], Field(min_length=1)]
    outputs: tuple[OutputTable, ...] = ()
    probe: ProbeTable | None = None
    align: AlignTable = AlignTable()
    distil: DistilTable = DistilTable()

    @model_validator(mode="after")
    def consistent(self) -> Manifest:
        """Demand that names used in one table are declared in another."""
        declared = self.probe.names if self.probe else []
        for name in self.distil.variables if self.probe and self.probe.variables else ():
            if name not in declared:
                raise ValueError(f"distil.variables: {name!r} is not one of {', '.join(declared)}")
        outputs = [output.name for output in self.outputs]
        _unique(outputs)
        for table in self.networks:
            for name in table.outputs or ():
                if name not in outputs:
                    raise ValueError(f"networks.outputs: {name!r} has no [[outputs]] table")
        for name in self.distil.outputs or ():
            if name not in outputs:
                raise ValueError(f"distil.outputs: {name!r} has no [[outputs]] table")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read and check a zoo.toml.

    Raises BadManifest, naming the file, the key, what was found and what was expected.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise BadManifest(f"{path}: no such file", hint="consilience init FOLDER writes one") from None
    except OSError as error:
        raise BadManifest(f"{path}: {error.strerror}", hint="give the path of a zoo.toml") from None
    except RecursionError:
        raise BadManifest(f"{path}: not TOML: nested too deep", hint="see consilience init --help") from None
    except UnicodeDecodeError:
        raise BadManifest(
            f"{path}: not TOML: this is no text",
            hint="give a zoo.toml, not a checkpoint; consilience init FOLDER writes one",
        ) from None
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise BadManifest(f"{path}: not TOML: {error}", hint="see consilience init --help") from None
    return check_manifest(content, path=path)


def check_manifest(content: Mapping[str, Any], *, path: Path) -> Manifest:
    """Check the content of a zoo.toml. Raises BadManifest for the first thing that is wrong."""
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problem = _first(error)
        raise BadManifest(f"{path}: {_said(problem)}", hint=_remedy(problem)) from None


def _first(error: ValidationError) -> ErrorDetails:
    """Choose what to tell first: a key that is misspelt, rather than that the right one is missing."""
    problems = error.errors()
    return next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])


def _said(problem: ErrorDetails) -> str:
    key = _key(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    expected = message.removeprefix("Input should be ")
    return f"{key}: found {_shown(problem['input'])}, expected: {expected}"


def _remedy(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return f"add {problem['loc'][-1]}; consilience init FOLDER shows how it looks"
    if problem["type"] != "extra_forbidden":
        return "correct that line and run the same command again"
    *tables, wrong = [part for part in problem["loc"] if isinstance(part, str)]
    known = _fields(tables)
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known)}"


def _fields(tables: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Manifest
    for table in tables:
        (model,) = _models(model.model_fields[table].annotation)
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models(part)]


def _key(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part if re.fullmatch(r'[A-Za-z0-9_-]{1,60}', part) else _shown(part)}"
    return text.removeprefix(".")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out a number of thousands of digits
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "…"
