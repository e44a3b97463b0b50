"""How fast checkpoints are ingested, beside a bare read of the same files by safetensors.

    python benchmarks/ingest.py [--files 1000] [--bytes 2e9] [--folder FOLDER]

First many small MLPs, then one large checkpoint in shards. Both are written to a temporary folder (needs twice
the bytes on disk, since ingest keeps a copy of its own), ingested by the command as a user runs it, and removed.
Bare is `safetensors.numpy.load_file`, all files in one warm process: no copy, no check, no child, no catalogue.
Memory is the peak of resident memory: of the program, and of the largest of its children.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

WIDTHS = (2, 68, 68, 1)
"""An MLP of 20 kB."""
SHARDS, BLOCK = 4, 1 << 24
"""Files of the large checkpoint, numbers of each of its tensors."""
SMALL = """
name = "small"
networks = [{ path = "networks/*.safetensors" }]
outputs = [{ name = "y" }]
probe = { samples = 64, variables = [{ name = "a", low = -1, high = 1 }, { name = "b", low = -1, high = 1 }] }
"""
LARGE = """
name = "large"
[[networks]]
path = "networks/model.safetensors.index.json"
architecture = "weights"
"""


@dataclass(frozen=True)
class Measured:
    """Seconds and peaks of memory in bytes: of the program, of its largest child."""

    seconds: float
    program: int
    child: int


def write_small(folder: Path, count: int) -> list[Path]:
    """Write MLPs that differ in their numbers."""
    (folder / "networks").mkdir(parents=True)
    (folder / "zoo.toml").write_text(SMALL)
    draw = np.random.default_rng(0)
    files = []
    for number in range(count):
        tensors = {}
        for layer, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
            scale = np.float32(inputs**-0.5)
            tensors[f"{layer}.weight"] = scale * draw.standard_normal((outputs, inputs), np.float32)
            tensors[f"{layer}.bias"] = scale * draw.standard_normal(outputs, np.float32)
        files.append(folder / "networks" / f"mlp-{number:05}.safetensors")
        save_file(tensors, files[-1], metadata={"activation": "tanh"})
    return files


def write_large(folder: Path, size: int) -> list[Path]:
    """Write one checkpoint in shards of a few tensors each, about as large as asked for."""
    (folder / "networks").mkdir(parents=True)
    (folder / "zoo.toml").write_text(LARGE)
    block = np.random.default_rng(0).standard_normal((BLOCK // 4096, 4096), np.float32)
    each = max(1, round(size / SHARDS / block.nbytes))
    where, files = {}, []
    for shard in range(1, SHARDS + 1):
        names = [f"layers.{number}.weight" for number in range((shard - 1) * each, shard * each)]
        files.append(folder / "networks" / f"model-{shard:05}-of-{SHARDS:05}.safetensors")
        save_file({name: block * np.float32(1 + 0.01 * hash_of(name)) for name in names}, files[-1])
        where |= dict.fromkeys(names, files[-1].name)
    (folder / "networks" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return files


def hash_of(name: str) -> int:
    return sum(name.encode())


def ingest(folder: Path) -> Measured:
    """Run `consilience ingest FOLDER` and look at its memory meanwhile."""
    begin = time.perf_counter()
    script = Path(sys.executable).with_name("consilience")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([script, "ingest", folder], stdout=said, stderr=said, env=environment)
        peaks = {"program": 0, "child": 0}
        watcher = threading.Thread(target=watch, args=(process.pid, peaks), daemon=True)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - begin
        watcher.join()
        if code:
            said.seek(0)
            sys.exit(f"{said.read()}consilience ingest {folder} ended with {code}")
    return Measured(seconds, **peaks)


def watch(pid: int, peaks: dict[str, int]) -> None:
    """Note the peaks of a process and of those below it, until it is gone."""
    while own := peak_of(pid):
        peaks["program"] = max(peaks["program"], own)
        # A child that has not begun its own program yet still has the memory of its parent.
        children = [child for child in below(pid) if command_of(child) != command_of(pid)]
        peaks["child"] = max([peaks["child"], *map(peak_of, children)])
        time.sleep(0.02)


def peak_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def command_of(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def below(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with suppress(OSError):
            children += map(int, task.read_text().split())
    return [*children, *(grandchild for child in children for grandchild in below(child))]


def bare(files: Sequence[Path]) -> Measured:
    """Read the files by safetensors alone, in a process that has it imported, keeping all of one checkpoint."""
    ready, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        begin = time.perf_counter()
        kept = [load_file(file, backend="pread") for file in files]
        total = sum(float(array.ravel()[0]) for tensors in kept for array in tensors.values())
        seconds = time.perf_counter() - begin
        os.write(answer, json.dumps([seconds, peak_of(os.getpid()), total]).encode())
        os._exit(0)
    os.close(answer)
    with os.fdopen(ready, "rb") as pipe:
        seconds, peak, _ = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return Measured(seconds, peak, 0)


def tell(what: str, done: Measured, amount: float, unit: str, against: Measured | None = None) -> None:
    ratio = f"{done.seconds / against.seconds:8.1f} x" if against else " " * 10
    memory = f"{done.program / 1e6:8.0f} MB"
    children = f"{done.child / 1e6:8.0f} MB" if done.child else " " * 11
    print(f"{what:34}{done.seconds:9.2f} s{amount / done.seconds:10.1f} {unit}{ratio}{memory}{children}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many MLPs of 20 kB")
    parser.add_argument("--bytes", type=float, default=2e9, help="how large the checkpoint in shards is")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    chosen = parser.parse_args()
    print(f"{'':34}{'time':>11}{'speed':>17}{'/ bare':>10}{'program':>8}{'child':>11}")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        if chosen.files:
            folder = Path(scratch) / "small"
            files = write_small(folder, chosen.files)
            plain = bare(files)
            tell(f"{chosen.files} MLPs: safetensors alone", plain, chosen.files, "files/s")
            tell(f"{chosen.files} MLPs: consilience ingest", ingest(folder), chosen.files, "files/s", plain)
            tell(f"{chosen.files} MLPs: once more", ingest(folder), chosen.files, "files/s", plain)
        if chosen.bytes:
            folder = Path(scratch) / "large"
            files = write_large(folder, int(chosen.bytes))
            size = sum(file.stat().st_size for file in files) / 1e6
            plain = bare(files)
            tell(f"{size:,.0f} MB in shards: safetensors alone", plain, size, "MB/s")
            tell(f"{size:,.0f} MB in shards: ingest", ingest(folder), size, "MB/s", plain)
            tell(f"{size:,.0f} MB in shards: once more", ingest(folder), size, "MB/s", plain)


if __name__ == "__main__":
    main()
