"""Photos become squares: each whole and in pieces, always the same ones, and none of them can do harm."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from consilience.analysis.project.study import open_study
from consilience.analysis.stages.run import left_out
from consilience.zoo.errors import BadProbe
from consilience.zoo.manifest import ProbeTable
from consilience.zoo.photos import MOST_PIXELS, read_photos
from consilience.zoo.probe import make_probe


def write(path: Path, seed: int = 0, size: tuple[int, int] = (60, 40), **how: object) -> Path:
    """Write a photo of size (width, height) that is smooth, as photos are."""
    small = np.random.default_rng(seed).integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, **how)
    return path


def table(*images: str, side: int = 20, crops: int = 0, samples: int = 2048) -> ProbeTable:
    return ProbeTable(images=images or ("*.png",), side=side, crops=crops, samples=samples)


def read(folder: Path, *images: str, seed: int = 0, **fields: int) -> np.ndarray:
    return read_photos(table(*images, **fields), folder=folder, seed=seed).squares


def middle(path: Path, side: int) -> np.ndarray:
    photo = Image.open(path).convert("RGB")
    edge = min(photo.size)
    left, top = (photo.width - edge) / 2, (photo.height - edge) / 2
    return np.asarray(photo.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + edge, top + edge)))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Nine photos, wide and high."""
    for number in range(9):
        write(tmp_path / f"{number}.png", number, (60, 40) if number % 2 else (30, 50))
    return tmp_path


def test_every_photo_is_shown_whole_in_the_order_of_the_names(album: Path) -> None:
    squares = read(album)
    assert squares.shape == (9, 20, 20, 3)
    assert squares.dtype == np.uint8
    for number, square in enumerate(squares):
        assert np.array_equal(square, middle(album / f"{number}.png", 20))


def test_pieces_come_after_the_whole_photos_one_of_each_at_a_time(album: Path) -> None:
    squares = read(album, crops=2)
    assert squares.shape == (27, 20, 20, 3)
    assert np.array_equal(squares[:9], read(album))
    assert np.array_equal(squares[:14], read(album, crops=2, samples=14))
    assert len({square.tobytes() for square in squares}) == 27
    for number in range(9):
        Image.new("RGB", (30, 50), (number, 0, 255)).save(album / f"{number}.png")
    assert [*read(album, crops=2)[:, 3, 4, 0]] == [*range(9)] * 3


def test_pieces_follow_from_the_seed_and_the_photo_alone(album: Path) -> None:
    squares = read(album, crops=2)
    assert np.array_equal(squares, read(album, crops=2))
    assert not np.array_equal(squares[9:], read(album, crops=2, seed=1)[9:])
    (album / "0.png").unlink()
    assert np.array_equal(np.delete(squares, [0, 9, 18], axis=0), read(album, crops=2))


def test_pieces_are_not_magnified_unless_the_photo_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    pieces = read(tmp_path, side=16, crops=40)[1:].astype(float)
    spread = pieces.std(axis=(1, 2, 3))  # noise grows smoother the more it is shrunk, and magnified
    assert spread.max() > 50
    assert spread.min() < 25
    assert read(tmp_path, side=128, crops=3).shape == (4, 128, 128, 3)


def test_more_photos_than_samples_are_drawn_from(album: Path) -> None:
    squares = read(album, samples=8)
    assert squares.shape == (8, 20, 20, 3)
    left = {square.tobytes() for square in read(album)} - {square.tobytes() for square in squares}
    assert len(left) == 1
    assert any(not np.array_equal(squares, read(album, samples=8, seed=seed)) for seed in (1, 2, 3))


def test_patterns_names_and_packages_each_photo_once(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.JPG", 1)
    write(tmp_path / "below" / "c.jpeg", 2)
    (tmp_path / "notes.txt").write_text("not a photo")
    assert len(read(tmp_path, "*", "a.png", "below/*.jpeg")) == 3
    assert np.array_equal(read(tmp_path, "below/c.jpeg")[0], middle(tmp_path / "below" / "c.jpeg", 20))
    assert np.array_equal(read(tmp_path / "below", str(tmp_path / "*.png")), read(tmp_path, "a.png"))
    assert np.array_equal(read(tmp_path / "below", str(tmp_path / "a.png")), read(tmp_path, "a.png"))
    assert read(tmp_path, "package:sklearn/datasets/images/*.jpg").shape == (2, 20, 20, 3)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    upright = write(tmp_path / "upright.jpg", size=(20, 20), quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    write(tmp_path / "turned.jpg", size=(20, 20), quality=95, exif=exif)
    turned = np.rot90(np.asarray(Image.open(upright)), k=-1)
    assert np.array_equal(read(tmp_path, "turned.jpg")[0], turned)


def test_transparent_is_white(tmp_path: Path) -> None:
    clear = np.zeros((20, 20, 4), dtype=np.uint8)
    clear[:10] = (200, 0, 0, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(clear).quantize(4).save(tmp_path / "palette.png")
    for square in read(tmp_path):
        assert (square[:10] == (200, 0, 0)).all()
        assert (square[10:] == 255).all()


def test_sixteen_bits_and_grey(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(20, dtype=np.uint8) * 12, (20, 1))
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    grey, deep = read(tmp_path, "grey.png", "deep.png")
    assert np.array_equal(grey, np.repeat(ramp[..., None], 3, axis=2))
    assert np.array_equal(deep, grey)


def refused(folder: Path, match: str, *images: str, **fields: int) -> str:
    with pytest.raises(BadProbe, match=match) as caught:
        read(folder, *images, **fields)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value.hint


def test_nothing_there(tmp_path: Path) -> None:
    assert "zoo.toml" in refused(tmp_path, r"probe.images: nothing matches '\*.png'")
    refused(tmp_path, r"a\.png: does not exist", "a.png")
    refused(tmp_path, "the package 'no_such_package' is not installed", "package:no_such_package/*.png")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path, "nothing matches|is a folder", "folder.png")


@pytest.mark.parametrize("content", [b" ", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"P6 10 10 255\n" + bytes(300)])
def test_no_photo(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path, r"a\.png: is (no PNG or JPEG|damaged)")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_damaged_photo_is_one_line(tmp_path: Path, name: str) -> None:
    data = write(tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    refused(tmp_path, f"{re.escape(name)}: is damaged", name)


def test_a_bomb_is_not_decompressed(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    (tmp_path / "bomb.png").write_bytes(bomb)
    refused(tmp_path, "is damaged|million pixels")
    wide = struct.pack(">IIBBBBB", MOST_PIXELS + 1, 1, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(bomb.replace(chunk(b"IHDR", header), chunk(b"IHDR", wide)))
    refused(tmp_path, "bomb.png: has more than 64 million pixels")


def test_a_link_or_another_place_is_not_read(tmp_path: Path) -> None:
    target = write(tmp_path / "outside" / "a.png")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "link.png").symlink_to(target)
    refused(tmp_path / "zoo", "is a symbolic link")
    refused(tmp_path / "zoo", "lies outside", "../outside/a.png")
    (tmp_path / "zoo" / "folder").symlink_to(tmp_path / "outside")
    refused(tmp_path / "zoo", "lies outside", "folder/*.png")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consilience.zoo.photos.MOST_FILE", 10)
    write(tmp_path / "a.png")
    assert refused(tmp_path, "a.png: is larger than") == "save it smaller"


def test_squares_that_fill_the_memory(album: Path) -> None:
    hint = refused(
        album, "probe.images: 9,009 squares of 1024 pixels fill more than", side=1024, crops=1000, samples=10**6
    )
    assert hint == "lower side, crops or samples"


def test_a_probe_of_photos(album: Path) -> None:
    probe = make_probe(table(crops=1), folder=album, seed=0)
    assert probe.image
    assert probe.inputs.shape == (18, 20, 20, 3)
    assert probe.variables == ()
    assert not probe.box
    assert probe.draw_outside(8, seed=0) is None
    assert probe.key == make_probe(table(crops=1), folder=album, seed=0).key
    assert probe.key != make_probe(table(crops=1, side=21), folder=album, seed=0).key
    drawn = probe.draw(5, seed=1)
    assert drawn.shape == (5, 20, 20, 3)
    assert {square.tobytes() for square in drawn} < {square.tobytes() for square in probe.inputs}


def test_a_probe_needs_some_photos(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(BadProbe, match=r"probe\.images: gives 1 squares") as caught:
        make_probe(table(), folder=tmp_path, seed=0)
    assert "crops = 20" in caught.value.hint
    assert make_probe(table(crops=7), folder=tmp_path, seed=0).inputs.shape == (8, 20, 20, 3)


def broken_album(folder: Path) -> list[str]:
    """Put photos of every kind that cannot be shown beside nine that can, and name them."""
    data = write(folder / "cut.jpg", size=(90, 60)).read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture at all")
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    return ["cut.jpg", "empty.png", "huge.png", "text.png", "tiny.png"]


def test_what_cannot_be_shown_is_one_line_and_the_others_are_shown(album: Path) -> None:
    whole = read(album, crops=2)
    names = broken_album(album)
    photos = read_photos(table("*", crops=2), folder=album, seed=0)
    assert np.array_equal(photos.squares, whole)
    assert [Path(line.partition(": ")[0]).name for line in photos.left_out] == names
    for line, reason in zip(
        photos.left_out,
        ("is damaged", "is empty", "more than 64 million", "is no PNG or JPEG", "is too small: 1 × 1 pixels"),
        strict=True,
    ):
        assert reason in line
        assert "; hint: " in line
        assert line.isprintable()
    assert make_probe(table("*", crops=2), folder=album, seed=0).left_out == photos.left_out


def test_others_are_drawn_in_the_place_of_what_cannot_be_shown(album: Path) -> None:
    broken_album(album)
    photos = read_photos(table("*", samples=8), folder=album, seed=0)
    assert len({square.tobytes() for square in photos.squares}) == 8
    assert {square.tobytes() for square in photos.squares} < {square.tobytes() for square in read(album, "?.png")}


def test_photos_that_cannot_be_shown_end_a_run_only_where_too_few_are_left(tmp_path: Path) -> None:
    names = broken_album(tmp_path)
    refused(tmp_path, f"none of {len(names)} photos can be shown: .*cut.jpg: is damaged", "*")
    write(tmp_path / "fine.png")
    with pytest.raises(BadProbe, match=r"gives 1 squares without 5 that cannot be shown, first .*cut\.jpg"):
        make_probe(table("*"), folder=tmp_path, seed=0)


def test_every_kind_of_colour_is_shown(tmp_path: Path) -> None:
    shades = np.tile(np.arange(20, dtype=np.uint8)[:, None] * 10, (1, 20))
    grey = Image.fromarray(shades)
    grey.convert("CMYK").save(tmp_path / "print.jpg", quality=100)
    grey.convert("1").save(tmp_path / "bits.png")
    Image.merge("LA", (grey, Image.new("L", (20, 20), 255))).save(tmp_path / "clear.png")
    grey.convert("P").save(tmp_path / "palette.png")
    (tmp_path / "deep.png").write_bytes(deep_colours(shades))
    found = read(tmp_path, "bits.png", "clear.png", "deep.png", "palette.png", "print.jpg")
    for square in found[1:]:
        assert abs(square.astype(int) - shades[..., None]).max() <= 6
    assert set(np.unique(found[0])) == {0, 255}


def deep_colours(shades: np.ndarray) -> bytes:
    """Write a PNG of 16 bits for each of red, green and blue, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.repeat(shades.astype(">u2")[..., None] * 257, 3, axis=2).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", *shades.shape[::-1], 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_run_says_which_photos_are_left_out(album: Path) -> None:
    names = broken_album(album)
    (album / "zoo.toml").write_text(
        'name = "seen"\n[[networks]]\npath = "a.pt"\n[probe]\nimages = ["*.png", "*.jpg"]\nside = 20\n'
    )
    lines = left_out(open_study(album))
    assert len(lines) == len(names)
    assert all(line.startswith("left out: ") for line in lines)
