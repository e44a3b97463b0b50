"""The functions and classes that a pickled state dict may name. None of them is ever called."""

from __future__ import annotations

STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
DICTS = {"collections.OrderedDict", "collections.defaultdict"}
PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
CALLS = {"torch.Size", "torch.device"} | DICTS | PARAMETERS | TENSORS
UNREAD = {
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(
        f"{home}.{name}"
        for home in ("builtins", "__builtin__")
        for name in ("set", "dict", "list", "int", "long", "float")
    ),
    *("numpy.dtype", "numpy.ndarray", "_codecs.encode", "argparse.Namespace", "datetime.datetime"),
    *("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib._local.PosixPath"),
}
"""Called in what training leaves beside the weights. Here nothing is called: their results are blanks."""
_DTYPES = {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}
NAMES = CALLS | {f"torch.{name}" for name in (*STORAGES, *_DTYPES)} | UNREAD
