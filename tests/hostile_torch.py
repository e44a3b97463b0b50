"""Torch files whose tensors are not what they say, and pickles that cost more than they weigh."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator

import torch
from hostile_case import ANY, READ, Case, Place
from hostile_pickles import FLOATS, START, call, legacy, pack, saved, state, storage, tensor, whole, word, zipped


def tensor_cases(place: Place) -> Iterator[Case]:
    """Lie about storages and views."""
    bad = {
        "expanded": ("a stride of nothing shows one number a million times", tensor((1 << 10, 1 << 10), (0, 0))),
        "terabytes": ("a stride of nothing shows terabytes", tensor((1 << 20, 1 << 20), (0, 0))),
        "beyond": ("a view that ends behind its storage", tensor((2, 4), (4, 1))),
        "offset": ("a view that begins behind its storage", tensor((1, 1), (1, 1), 1 << 40)),
        "negative-offset": ("a view that begins before its storage", tensor((1, 1), (1, 1), -4)),
        "negative-stride": ("a view that runs backwards", tensor((2, 3), (-3, 1))),
        "negative-shape": ("lengths whose product is right though they are negative", tensor((-2, -3), (3, 1))),
        "other-axes": ("more lengths than strides", tensor((2, 3, 1), (3, 1))),
        "many-axes": ("more axes than numpy knows", tensor((1,) * 100, (1,) * 100)),
        "overflow-product": ("lengths whose product overflows to the right number", tensor((1 << 33, 1 << 33), (1, 1))),
        "wide": ("a storage that declares terabytes", tensor((2, 3), (3, 1), held=storage("0", 1 << 40))),
        "missing-storage": ("a storage that is not there", tensor(held=storage("7"))),
        "traversal": ("a storage whose name leads outside", tensor(held=storage(place.up("t", "secret.bin")))),
        "pickle-as-storage": ("a storage that is the pickle itself", tensor(held=storage("../data.pkl"))),
        "two-kinds": ("one storage read as two kinds of number", tensor(held=storage("0", 3, "DoubleStorage"))),
        "quantised": ("a quantised tensor", call("torch._utils._rebuild_qtensor", storage(), whole(0))),
        "sparse": ("a sparse tensor with indices out of range", sparse()),
        "meta": ("a tensor without numbers", call("torch._utils._rebuild_meta_tensor_no_storage", b"N")),
        "complex": ("complex numbers", tensor(held=storage("0", 3, "ComplexFloatStorage"))),
        "float8": ("eight-bit floats", tensor(held=storage("0", 24, "Float8_e4m3fnStorage"))),
        "bytearray": ("asks for a terabyte of nothing", call("builtins.bytearray", whole(1 << 40))),
        "bytes-call": ("asks a storage of a size of the file's choice", call("torch.FloatStorage", whole(1 << 40))),
    }
    for trick, (why, part) in bad.items():
        yield Case(f"torch/{trick}.pt", why, zipped(state(part)))
    odd = {
        "overflow-stride": ("a stride that overflows where one row is", tensor((1, 3), (1 << 62, 1))),
        "giant-stride": ("a stride beyond all machine numbers where one row is", tensor((1, 3), (1 << 200, 1))),
        "empty-giant": ("no numbers, but lengths that overflow", tensor((1 << 60, 1 << 60, 0), (1, 1, 1))),
        "empty-offset": ("no numbers, from far behind the storage", tensor((0, 3), (3, 1), 1 << 60)),
        "huge-int": ("a whole number of a million digits beside the weights", whole(1 << 3_000_000)),
        "huge-text": ("a text of 8 MB beside the weights", word("x" * (8 << 20))),
        "surrogates": ("a text that is no Unicode beside the weights", word("\ud800\udfff")),
        "odd-floats": ("not-a-number beside the weights", b"G\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        "location": ("a storage on a device that is not here", tensor(held=storage("0").replace(b"cpu", b"tpu"))),
        "cyclic": ("a state dict that holds itself", b"}q\x01" + word("again") + b"h\x01s"),
    }
    for trick, (why, part) in odd.items():
        yield Case(f"torch/{trick}.pt", why, zipped(state(part)), ANY)
    yield from key_cases()
    yield Case("torch/shared.pt", "the same numbers as 300 tensors", zipped(many_views(), {"0": bytes(400_000)}))
    yield Case("torch/list.pt", "a list of tensors", zipped(START + b"]" + tensor() + b"a."))
    yield Case("torch/optimizer.pt", "an optimizer's state alone", saved({"state": {}, "param_groups": [{"lr": 0.1}]}))
    yield Case("torch/empty.pt", "a state dict of nothing", saved({}))
    yield Case(
        "torch/byteorder.pt", "a byte order that there is not", zipped(state(tensor()), more={"byteorder": b"?"})
    )
    big = zipped(state(tensor()), more={"byteorder": b"big"}, storages={"0": struct.pack(">6f", *range(6))})
    yield Case("torch/big-endian.pt", "numbers of a machine of the other byte order", big, ANY)
    yield Case("torch/short-storage.pt", "a storage shorter than declared", zipped(state(tensor()), {"0": FLOATS[:8]}))
    yield Case("torch/long-storage.pt", "a storage longer than declared", zipped(state(tensor()), {"0": FLOATS * 2}))
    yield Case("torch/legacy-cut.pth", "an old file cut short", legacy(state(tensor()))[:-5])
    yield Case("torch/legacy-long.pth", "an old file with something behind it", legacy(state(tensor()), after=b"1234"))
    yield Case(
        "torch/legacy-keys.pth", "other storages than the tensors name", legacy(state(tensor()), pickle.dumps(["9"], 2))
    )
    yield Case(
        "torch/legacy-not-keys.pth",
        "a number in place of the storages' names",
        legacy(state(tensor()), b"\x80\x02K\x01."),
    )


def sparse() -> bytes:
    layout = call("torch.serialization._get_layout", word("torch.sparse_coo"))
    return call("torch._utils._rebuild_sparse_tensor", layout, pack(tensor(), tensor(), pack(whole(1)), b"\x88"))


def many_views() -> bytes:
    view = tensor((200, 500), (500, 1), held=storage("0", 100_000))
    body = b"".join(word(f"w{number}") + view for number in range(300))
    return START + b"}(" + body + b"u."


def key_cases() -> Iterator[Case]:
    """Name tensors by what is no name."""
    keys = {
        "number-key": ("a number as a name", whole(5)),
        "tuple-key": ("a tuple as a name", pack(whole(1))),
        "deep-key": ("a nest of 100,000 tuples as a name", b")" + b"\x85" * 100_000),
        "bytes-key": ("bytes as a name", b"C\x04\xff\xfe\x00\n"),
        "long-key": ("a name of a million letters", word("w" * 1_000_000)),
    }
    for trick, (why, key) in keys.items():
        yield Case(f"torch/{trick}.pt", why, zipped(state(tensor(), key=key)))
    odd = {
        "surrogate-key": ("a name that is no Unicode", word("\ud800.weight")),
        "escape-key": ("a name that would move the cursor", word("\x1b[2J\x1b]0;owned\x07.weight")),
        "newline-key": ("a name of several lines", word("a\nerror: all is lost\nhint: run this")),
        "empty-key": ("a name of nothing", word("")),
        "nul-key": ("a name with a NUL", word("w\0eight")),
        "path-key": ("a name that is a path", word("../../../../etc/passwd")),
        "sql-key": ("a name that is SQL", word("'); DROP TABLE networks; --")),
        "dots-key": ("a name of dots alone", word("." * 500)),
    }
    for trick, (why, key) in odd.items():
        yield Case(f"torch/{trick}.pt", why, zipped(state(tensor(), key=key)), ANY)


def costly_cases() -> Iterator[Case]:
    """Take more time or memory than the file weighs."""
    laughs = START + b"]q\x00" + b"".join(b"](" + b"h%c" % n * 10 + b"eq" + bytes([n + 1]) for n in range(40)) + b"."
    yield Case("bombs/laughs.pt", "lists of lists that share, ten to the fortieth in all", zipped(laughs))
    yield Case("bombs/deep.pt", "a million lists in one another", zipped(state(b"]" * 1_000_000 + b"a" * 999_999)))
    yield Case(
        "bombs/deep-bare.pkl", "a million lists in one another", START + b"]" * 1_000_000 + b"a" * 999_999 + b"."
    )
    yield Case("bombs/deep-tuples.pt", "a million tuples in one another", zipped(state(b")" + b"\x85" * 1_000_000)))
    yield Case("bombs/steps.pt", "six million steps", zipped(state(b"]" + b"Na" * 3_000_000)))
    yield Case("bombs/marks.pt", "two million marks", zipped(state(b"(" * 2_000_000 + b"N")))
    yield Case("bombs/memo.pt", "a memo far away", zipped(state(b"}r\xff\xff\xff\x7f")), ANY)
    yield Case("bombs/memo-many.pt", "a million memos", zipped(state(b"N" + b"\x94" * 1_000_000)), ANY)
    collide = b"".join(whole(k * ((1 << 61) - 1)) + b"N" for k in range(1, 60_000))
    yield Case("bombs/hashes.pt", "60,000 numbers of one hash as names", zipped(state(b"}(" + collide + b"u")))
    for trick, size in (("unicode", b"\x8d"), ("bytes", b"\x8e"), ("array", b"\x96")):
        part = size + struct.pack("<Q", (1 << 63) - 1)
        yield Case(f"bombs/{trick}8.pt", "a text that declares exabytes", zipped(b"\x80\x05}" + part + b"."))
        yield Case(f"bombs/{trick}8.pkl", "a text that declares exabytes", b"\x80\x05}" + part + b".")
    yield Case("bombs/frame.pkl", "a frame that declares exabytes", b"\x80\x04\x95" + b"\xff" * 8 + b"}.")
    yield Case("bombs/long4.pkl", "a number of a negative length", START + b"\x8b\xff\xff\xff\xff.")
    yield Case("bombs/digits.pkl", "a number of ten million digits", b"L" + b"9" * 10_000_000 + b"L\n.")
    yield Case("bombs/line.pkl", "a name that never ends", b"c" + b"a" * 10_000_000)


def honest_torch() -> Iterator[Case]:
    """Save what users save."""
    for kind, settings in (("mlp.pt", {}), ("legacy.pth", {"_use_new_zipfile_serialization": False})):
        file = io.BytesIO()
        torch.save(mlp().state_dict(), file, **settings)
        yield Case(f"honest/{kind}", "a state dict", file.getvalue(), READ)
    yield Case("base/by-hand.pt", "what the hostile ones are made from", zipped(state(tensor())), ANY, reads=True)
    yield Case("base/by-hand.pth", "what the hostile ones are made from", legacy(state(tensor())), ANY, reads=True)
    module = mlp()
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    weights = {f"module.{key}": value for key, value in module.state_dict().items()}
    content = {"epoch": 3, "state_dict": weights, "optimizer": optimizer.state_dict(), "loss": 0.5}
    yield Case("honest/training.ckpt", "a training checkpoint", saved(content), READ)
    half = {key: value.bfloat16() for key, value in mlp().state_dict().items()}
    yield Case("honest/brain-floats.pt", "half-width brain floats", saved(half), READ)
    spoilt = mlp().state_dict()
    spoilt["0.weight"][0, 0] = float("nan")
    yield Case("warned/nan.pt", "one number that is none", saved(spoilt), ("warned",))
    dull = mlp().state_dict()
    dull["2.weight"].fill_(0.25)
    yield Case("warned/constant.pt", "a weight that is the same everywhere", saved(dull), ("warned",))


def mlp() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest_torch()
    yield from tensor_cases(place)
    yield from costly_cases()
