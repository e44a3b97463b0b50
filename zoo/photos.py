"""Read photos as the probe shows them: squares of one size, each photo whole and in pieces."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from .errors import BadInput, BadProbe, Refused, one_line
from .manifest import ProbeTable
from .store import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

    from .inspection import Located

KINDS = ("PNG", "JPEG")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
SMALLEST = 8
"""Pixels along an edge: of less nothing can be seen."""
MOST_PIXELS = 64_000_000
"""The largest photo, as its header says before anything is decompressed."""
MOST_FILE = 256 << 20
MOST_BYTES = 4 << 30
"""What all squares together may fill."""
_SIGNS = "*?["


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """Squares to show, and one line for each photo that cannot be: what is wrong with it, and what to do."""

    squares: UInt8[np.ndarray, "samples side side 3"]
    left_out: tuple[str, ...] = ()


def read_photos(table: ProbeTable, *, folder: Path, seed: int) -> Photos:
    """Show photos as squares in RGB: first the middle of every photo, then a piece of each, another of each, ...

    Pieces are squares drawn at random, no smaller than they are shown unless the photo is: their size
    and place follow from the seed and the photo's bytes, not from what lies beside it. Photos are turned
    as their camera says, and what is transparent is white. Those that cannot be shown are left out. Raises
    BadProbe where none is left.
    """
    found, bad = _found(table, folder), dict[Path, BadProbe]()
    order = np.random.default_rng(seed).permutation(len(found))
    while True:
        good = [at for at in order if found[at].file not in bad][: table.samples]
        places = [found[at] for at in sorted(good)]
        squares, broken = _squares(places, table, seed)
        bad |= broken
        if len(bad) == len(found):
            raise _none(list(bad.values()))
        if not broken:
            return Photos(squares, tuple(f"{error.what}; hint: {error.hint}" for error in bad.values()))


def _squares(places: Sequence[Located], table: ProbeTable, seed: int) -> tuple[np.ndarray, dict[Path, BadProbe]]:
    """Show every photo and its pieces, or tell all that cannot be shown."""
    side, count = table.side, min(table.samples, len(places) * (1 + table.crops))
    if count * side * side * 3 > MOST_BYTES:
        what = f"probe.images: {count:,} squares of {side} pixels fill more than {MOST_BYTES >> 30} GiB"
        raise BadProbe(what, hint="lower side, crops or samples")
    squares = np.empty((count, side, side, 3), dtype=np.uint8)
    broken: dict[Path, BadProbe] = {}
    for number, place in enumerate(places):
        try:
            data = _bytes(place)
            photo, random = _decoded(place.file, data), _random(seed, data)
        except BadProbe as error:
            broken[place.file] = error
            continue
        for slot in range(number, count, len(places)):
            squares[slot] = _square(photo, side, None if slot == number else random)
    return squares, broken


def _none(errors: Sequence[BadProbe]) -> BadProbe:
    first = errors[0]
    if len(errors) == 1:
        return first
    return BadProbe(f"probe.images: none of {len(errors)} photos can be shown: {first.what}", hint=first.hint)


def _found(table: ProbeTable, folder: Path) -> list[Located]:
    """Find all photos, each once, in the order of the patterns and of their names."""
    found: dict[Path, Located] = {}
    for pattern in table.images:
        places = _matching(pattern, folder)
        if not places:
            raise BadProbe(f"probe.images: nothing matches {pattern!r}", hint="paths begin at the folder of zoo.toml")
        found.update((place.file, place) for place in places)
    return list(found.values())


def _matching(pattern: str, folder: Path) -> list[Located]:
    from .locate import locate  # which knows of checkpoints, and nothing else here does

    if Path(pattern).is_absolute():
        parts = Path(pattern).parts
        fixed = next((n for n, part in enumerate(parts) if any(sign in part for sign in _SIGNS)), len(parts) - 1)
        folder, pattern = Path(*parts[:fixed]), str(Path(*parts[fixed:]))
    try:
        places = locate(pattern, folder=folder)
    except BadInput as error:
        raise BadProbe(f"probe.images: {error.what}", hint=error.hint) from None
    if not any(sign in pattern for sign in _SIGNS):
        return places
    return [place for place in places if place.file.suffix.lower() in SUFFIXES]


def _bytes(place: Located) -> bytes:
    path, root = place.file, place.inside.resolve()
    if not (path.parent.resolve() / path.name).is_relative_to(root):
        raise _unfit(path, f"lies outside {root}", hint="copy the photo beside zoo.toml, or give its whole path")
    try:
        with open_regular(path) as file:
            data = file.read(MOST_FILE + 1)
    except Refused as refusal:
        raise _unfit(path, refusal.what, hint="correct probe.images in zoo.toml") from None
    except OSError as error:
        raise _unfit(path, str(error.strerror)) from None
    if len(data) > MOST_FILE:
        raise _unfit(path, f"is larger than {MOST_FILE >> 20} MiB", hint="save it smaller")
    if not data:
        raise _unfit(path, "is empty", hint="get it again, or take it out of probe.images")
    return data


def _decoded(path: Path, data: bytes) -> Image:
    """Decode a photo, turned upright, in RGB. Raises BadProbe."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore"):
            photo = Image.open(io.BytesIO(data), formats=KINDS)
            unfit = _size_unfit(path, photo)
            if unfit is None:
                return _in_colour(ImageOps.exif_transpose(photo))
    except UnidentifiedImageError:
        raise _unfit(path, "is no PNG or JPEG", hint="save it as one, or take it out of probe.images") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _unfit(path, f"is damaged: {reason}", hint="get it again, or take it out of probe.images") from None
    raise unfit


def _size_unfit(path: Path, photo: Image) -> BadProbe | None:
    """Tell what its header says against a photo, before anything is decompressed."""
    if photo.width * photo.height > MOST_PIXELS:
        return _too_large(path)
    if min(photo.size) < SMALLEST:
        what = f"is too small: {photo.width} × {photo.height} pixels"
        return _unfit(path, what, hint=f"show photos of at least {SMALLEST} × {SMALLEST}")
    return None


def _too_large(path: Path) -> BadProbe:
    return _unfit(path, f"has more than {MOST_PIXELS // 10**6} million pixels", hint="save it smaller")


def _unfit(path: Path, what: str, *, hint: str = "take this photo out of probe.images") -> BadProbe:
    return BadProbe(f"{one_line(str(path))}: {one_line(what)}", hint=hint)


def _in_colour(photo: Image) -> Image:
    from PIL import Image

    if photo.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip them
        return Image.fromarray((np.asarray(photo).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if not photo.has_transparency_data:
        return photo.convert("RGB")
    white = Image.new("RGBA", photo.size, "white")
    return Image.alpha_composite(white, photo.convert("RGBA")).convert("RGB")


def _random(seed: int, data: bytes) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(data).digest()[:8], "big")])


def _square(photo: Image, side: int, random: np.random.Generator | None) -> UInt8[np.ndarray, "side side 3"]:
    """Cut out a square, the middle one or one at random, and bring it to its size."""
    from PIL.Image import Resampling

    whole = edge = min(photo.size)
    spare = np.array(photo.size) - whole
    left, top = spare / 2
    if random is not None:
        smallest = min(side, whole)
        edge = round(float(smallest * (whole / smallest) ** random.random()))
        left, top = random.integers(0, spare + whole - edge, endpoint=True)
    return np.asarray(photo.resize((side, side), Resampling.BICUBIC, box=(left, top, left + edge, top + edge)))
