"""Archives that two readers read in two ways, and archives that are larger inside than outside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from hostile_case import ANY, Case, Place
from hostile_npy import npy
from hostile_pickles import FLOATS, START, call, state, tensor, word, zipped

GOOD = state(tensor())
ZEROS = bytes(1 << 20)


def stored(members: Sequence[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, raw in members:
            archive.writestr(_info(name, kind), raw)
    return file.getvalue()


def _info(name: str, kind: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename, info.compress_type = name, kind  # as it is: the constructor tidies names
    return info


def torch_members(content: bytes = GOOD) -> list[tuple[str, bytes]]:
    return [
        ("archive/data.pkl", content),
        ("archive/byteorder", b"little"),
        ("archive/data/0", FLOATS),
        ("archive/version", b"3\n"),
    ]


def patched(raw: bytes, old: bytes, new: bytes, *, last: bool = False) -> bytes:
    """Put other bytes in the place of the first or the last that are as given."""
    assert len(old) == len(new)
    position = raw.rfind(old) if last else raw.find(old)
    assert position >= 0
    return raw[:position] + new + raw[position + len(old) :]


def twice_cases(place: Place) -> Iterator[Case]:
    """Make torch's reader and ours see different members."""
    evil = START + call("posix.system", word(place.shell("twice"))) + b"."
    good = stored(torch_members())
    names = {
        "two-pickles": [("archive/data.pkl", evil)],
        "two-pickles-case": [("archive/DATA.PKL", evil)],
        "two-tops": [("other/data.pkl", evil)],
        "nul-name": [("archive/data.pkl\0.txt", evil)],
        "slashes": [("archive//data.pkl", evil)],
        "dots": [("archive/./data.pkl", evil), ("archive/x/../data.pkl", evil)],
        "backslash": [("archive\\data.pkl", evil)],
        "absolute": [("/archive/data.pkl", evil)],
        "up": [("../../../../tmp/evil.pkl", evil)],
        "composed": [(f"archive/data/{unicodedata.normalize(form, 'é')}", FLOATS) for form in ("NFC", "NFD")],
    }
    for trick, extra in names.items():
        becomes = ANY if trick in ("composed", "slashes", "dots", "backslash", "absolute", "up") else ("refused",)
        for order in ("after", "before"):
            members = [*torch_members(), *extra] if order == "after" else [*extra, *torch_members()]
            yield Case(
                f"zip/{trick}-{order}.pt", f"members {', '.join(n for n, _ in extra)!r}", stored(members), becomes
            )
    hidden = good.replace(b"archive/data.pkl", b"archive/dato.pkl", 1)
    yield Case("zip/local-name.pt", "a member is called otherwise in front of its bytes", hidden)
    swapped = stored([("archive/dato.pkl", evil), *torch_members()])
    yield Case("zip/local-swap.pt", "two members have changed names in front of their bytes", swap(swapped))
    yield Case("zip/local-size.pt", "a member is of another size in front of its bytes", local_size(good), ANY)
    yield Case("zip/in-front.pt", "something in front of the archive", b"\x7fELF" + good)
    yield Case("zip/pickle-in-front.pt", "a pickle in front of the archive", evil + good)
    yield Case("zip/behind.pt", "something behind the archive", good + evil)
    yield Case("zip/comment.pt", "a comment that is an archive", commented(good, stored(torch_members(evil))))
    yield Case("zip/two-archives.pt", "two archives one behind the other", good + stored(torch_members(evil)))
    yield Case("zip/header-in-front.pt", "a header of safetensors in front", b"\x02" + bytes(7) + b"{}" + good)


def swap(raw: bytes) -> bytes:
    directory = raw.index(b"PK\x01\x02")
    front = raw[:directory].replace(b"dato.pkl", b"XXXX.pkl").replace(b"data.pkl", b"dato.pkl")
    return front.replace(b"XXXX.pkl", b"data.pkl") + raw[directory:]


def local_size(raw: bytes) -> bytes:
    return raw[:18] + struct.pack("<II", 7, 7) + raw[26:]


def commented(raw: bytes, comment: bytes) -> bytes:
    return raw[:-2] + struct.pack("<H", len(comment)) + comment


def broken_cases() -> Iterator[Case]:
    """Break what a reader trusts."""
    good = zipped(GOOD)
    directory, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")
    yield Case("zip/encrypted.pt", "a member marked as encrypted", flagged(good, 1))
    yield Case("zip/strong.pt", "a member marked as strongly encrypted", flagged(good, 0x41))
    yield Case("zip/patch.pt", "a member marked as a patch", flagged(good, 0x20), ANY)
    yield Case("zip/descriptor.pt", "a member that says its size comes later", flagged(good, 8), ANY)
    yield Case("zip/crc.pt", "a member with a wrong check sum", patched(good, FLOATS, FLOATS[:-1] + b"\x00"))
    yield Case("zip/method.pt", "a member packed in a way that there is not", methods(good, 99))
    for kind, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        yield Case(f"zip/{name}.pt", f"members packed by {name}", stored(torch_members(), kind))
    yield Case("zip/cut.pt", "cut in half", good[: len(good) // 2])
    yield Case("zip/no-directory.pt", "without its directory", good[:directory])
    yield Case("zip/only-end.pt", "a directory of nothing", good[end:])
    yield Case("zip/empty.npz", "an archive of nothing", stored([]))
    yield Case("zip/folder.pt", "an archive of a folder", stored([("archive/", b"")]))
    yield Case("zip/count.pt", "a directory that declares other members than it has", counted(good, end, 60_000), ANY)
    yield Case(
        "zip/negative.pt", "a directory that begins before the file", good[: end + 16] + b"\xff" * 4 + good[end + 20 :]
    )
    yield Case("zip/zip64.pt", "a second directory for large archives that says otherwise", zip64(good, end))
    yield Case("zip/zip64-extra.pt", "a member whose large size says otherwise", stored_extra())
    yield Case("zip/zip64-end.pt", "a directory declared at the end of the universe", zip64_far(good, end))
    yield Case(
        "zip/disk.pt",
        "an archive that goes on on another disk",
        good[: end + 4] + b"\x01\0\x01\0" + good[end + 8 :],
        ANY,
    )
    yield Case("zip/link.pt", "a member that is a link", linked())
    yield Case("zip/letters.zip", "an archive of letters", stored([("letter.txt", b"hello")]))
    yield Case("zip/bad-name.npz", "a member whose name is no Unicode", named(b"\xff\xfe\x80x.npy"), ANY)
    yield Case("zip/office.bin", "an office document", stored([("[Content_Types].xml", b"<x/>"), ("word/a.xml", b"")]))


def flagged(raw: bytes, flags: int) -> bytes:
    position = raw.index(b"PK\x01\x02")
    return raw[:6] + struct.pack("<H", flags) + raw[8 : position + 8] + struct.pack("<H", flags) + raw[position + 10 :]


def methods(raw: bytes, method: int) -> bytes:
    position = raw.index(b"PK\x01\x02")
    return (
        raw[:8] + struct.pack("<H", method) + raw[10 : position + 10] + struct.pack("<H", method) + raw[position + 12 :]
    )


def counted(raw: bytes, end: int, count: int) -> bytes:
    return raw[: end + 8] + struct.pack("<HH", count, count) + raw[end + 12 :]


def zip64(raw: bytes, end: int) -> bytes:
    """Add the record of large archives, which points to an empty directory while the old one is full."""
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 0, 0, 0, end)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    return raw[:end] + record + locator + raw[end:]


def zip64_far(raw: bytes, end: int) -> bytes:
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, (1 << 64) - 1, 1)
    return raw[:end] + locator + raw[end:]


def stored_extra() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in torch_members():
            info = _info(name)
            info.extra = struct.pack("<HHQQ", 1, 16, 1 << 60, 1 << 60)
            archive.writestr(info, content)
    raw = file.getvalue()
    position = raw.index(b"PK\x01\x02")
    return raw[: position + 20] + b"\xff" * 8 + raw[position + 28 :]


def linked() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in torch_members():
            info = _info(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, b"/etc/passwd" if name.endswith("data/0") else content)
    return file.getvalue()


def named(name: bytes) -> bytes:
    return stored([("AAAA.npy"[: len(name)].ljust(len(name), "A"), npy())]).replace(b"AAAA.npy"[: len(name)], name)


def bomb_cases() -> Iterator[Case]:
    """Unpack to more than anyone has."""
    pickle = [(name, raw) for name, raw in torch_members() if not name.endswith("data/0")]
    yield Case("bombs/zip.pt", "4 GB of zeros in 4 MB", deflated([*pickle, ("archive/data/0", b"")], 4096))
    yield Case("bombs/zip.npz", "4 GB of zeros in 4 MB", deflated([("w.npy", npy((1 << 29,), data=b""))], 4096))
    lying = deflated([("w.npy", npy((2, 3), data=FLOATS))], 1024, declared=128 + 24)
    yield Case("bombs/lying.npz", "1 GB of zeros in a member that declares 152 bytes", lying)
    lying = deflated([("archive/data.pkl", GOOD), *torch_members()[1:]], 1024, declared=len(GOOD), member=0)
    yield Case("bombs/lying.pt", "1 GB of zeros behind a pickle that declares some bytes", lying)
    yield Case("bombs/overlap.npz", "members that share their bytes", overlapping())
    yield Case("bombs/many.npz", "70,000 members", stored([(f"{n}.npy", b"") for n in range(70_000)]))
    yield Case("bombs/many.pt", "70,000 members beside the weights", crowded(), ANY)
    yield Case(
        "bombs/long-names.npz", "names of 65,000 letters", stored([(f"{'n' * 65_000}{n}.npy", npy()) for n in range(9)])
    )
    inner = stored([("w.npy", npy((1 << 20,), data=ZEROS * 8))], zipfile.ZIP_DEFLATED)
    for number in range(5):
        inner = stored([(f"{number}.npz", inner)], zipfile.ZIP_DEFLATED)
    yield Case("bombs/nested.npz", "archives in archives", inner)
    for suffix, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        yield Case(f"bombs/packed.pt.{suffix}", f"16 MB of zeros packed by {suffix}", pack(ZEROS * 16))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        header = tarfile.TarInfo("../../evil.safetensors")
        header.size = 0
        archive.addfile(header)
        link = tarfile.TarInfo("w")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    yield Case("zip/up.tar", "a tar with a link and a path that lead outside", file.getvalue())


def deflated(
    members: list[tuple[str, bytes]], megabytes: int, *, declared: int | None = None, member: int = -1
) -> bytes:
    """Write an archive by hand, one member of which goes on with megabytes of zeros, packed as one block each."""
    out, directory = b"", b""
    for number, (name, raw) in enumerate(members):
        packed, size, total = raw, len(raw), zlib.crc32(raw)
        bomb = number == member % len(members)
        if bomb:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH)
            block = packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
            packed += block * megabytes + packer.flush()
            size = len(raw) + (megabytes << 20) if declared is None else declared
            if megabytes == 1:  # of the others nobody gets to the end
                total = zlib.crc32(ZEROS, total)
        fields = (20, 0, 8 if bomb else 0, 0, 0, total, len(packed), min(size, 0xFFFFFFFE), len(name), 0)
        local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name.encode() + packed
        central = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, len(out))
        directory += central + name.encode()
        out += local
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(out), 0)
    return out + directory + end


def overlapping() -> bytes:
    """Let a thousand members of a directory point to the same bytes."""
    raw = npy((1 << 14,), data=bytes(8 << 14))
    one = stored([("000.npy", raw)], zipfile.ZIP_DEFLATED)
    start, end = one.index(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    directory = b"".join(one[start:end].replace(b"000.npy", b"%03d.npy" % n) for n in range(1000))
    return one[:start] + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(directory), start, 0)


def crowded() -> bytes:
    return stored([*torch_members(), *((f"archive/extra/{n}", b"") for n in range(70_000))])


def bases() -> Iterator[Case]:
    """Give what the hostile archives are made from."""
    why = "what the hostile ones are made from"
    yield Case("base/stored.pt", why, stored(torch_members()), ANY, reads=True)
    yield Case("base/deflated.npz", why, deflated([("w.npy", npy((1 << 17,), data=b""))], 1), ANY, reads=True)
    yield Case("base/deflated.pt", why, stored(torch_members(), zipfile.ZIP_DEFLATED), ANY)


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from bases()
    yield from twice_cases(place)
    yield from broken_cases()
    yield from bomb_cases()
