"""python scripts/bench_scale.py <benchmark>: measures how the cost of ganlab grows.

  memory     resident memory of a run of 10,000 steps, early and late
  batches    images per second at batch sizes 64 to 512, relative to 64; the sizes alternate
  processes  images per second of two processes with one thread each, relative to one process with two
             threads; the two alternate
  streaming  a folder of 1,000,000 images: seconds to list them, and images per second of the stream,
             relative to decoding alone
  start      seconds from the command to the end of the first step, and of --help

Each run is a process `python -m ganlab.run`, as a user starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

QUIET = ("logger=csv", "metric=none", "sample_every=1000000", "checkpoint_every=1000000")


def start_run(directory: Path, *overrides: str, threads: int = 2) -> subprocess.Popen[str]:
    """Starts a run in a new process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "ganlab.run", f"run_dir={directory}", *QUIET, *overrides]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True, env=environment)


def speed(*overrides: str, threads: int = 2) -> float:
    """Images per second, as the run measures them."""
    directory = Path(tempfile.mkdtemp()) / "run"
    process = start_run(directory, *overrides, threads=threads)
    process.communicate()
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads((directory / "summary.json").read_text())["images_per_second"]


def resident_mib(pid: int | str) -> float:
    """The resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def memory(options: argparse.Namespace) -> None:
    directory = Path(tempfile.mkdtemp()) / "run"
    # More than 10,000 steps, because the checkpoint after the last step also takes memory.
    process = start_run(directory, "steps=10500", "log_every=10", *options.overrides)
    resident = {}  # the resident memory at each step, in MiB
    while process.poll() is None:
        with suppress(
            OSError, IndexError, ValueError
        ):  # there is no file, or no row yet, or the process ended
            last_row = (directory / "metrics.csv").read_text().splitlines()[-1]
            step = int(last_row.split(",")[0])
            resident[step] = resident_mib(process.pid)
        time.sleep(0.2)
    for target in (1000, 2000, 4000, 6000, 8000, 10_000):
        step = min(resident, key=lambda step: abs(step - target))
        print(f"step {step:6,}: {resident[step]:,.1f} MiB resident")


def batches(options: argparse.Namespace) -> None:
    sizes = (64, 128, 256, 512)
    speeds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(options.repetitions):
        for size in sizes:
            speeds[size].append(speed(f"data.batch_size={size}", "images=25600", *options.overrides))
    for size in sizes:
        ratio = median(of_size / of_64 for of_size, of_64 in zip(speeds[size], speeds[64], strict=True))
        print(f"batch {size:4}: {median(speeds[size]):10,.0f} images/s, {ratio:.2f} times that of 64")


def processes(options: argparse.Namespace) -> None:
    common = ("images=25600", *options.overrides)
    two_processes, one_process = [], []
    for _ in range(options.repetitions):
        two_processes.append(speed(*common, "trainer=ddp", threads=1))
        one_process.append(speed(*common, threads=2))
    print(f"images/s of two processes with one thread each: {median(two_processes):,.0f}")
    print(f"images/s of one process with two threads: {median(one_process):,.0f}")
    ratios = (two / one for two, one in zip(two_processes, one_process, strict=True))
    print(f"ratio {median(ratios):.2f}")


def streaming(options: argparse.Namespace) -> None:
    import torch

    from ganlab.config.build import build_data
    from ganlab.config.compose import compose
    from ganlab.data.image import decode_image

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    write_images(folder, options.images)
    began = time.perf_counter()
    cfg = compose("data=folder", f"data.root={folder}", "data.batch_size=256", *options.overrides)
    data: Any = build_data(cfg)
    print(f"listing {len(data):,} images: {time.perf_counter() - began:.1f} s")
    source = data.sources["train"]
    batches, ratios = iter(data.stream(0, lambda: 0, "cpu")), []
    for _ in islice(batches, 20):  # in which the workers start and fill their queues
        pass
    order = torch.randperm(len(data))
    for repetition in range(options.repetitions):
        began = time.perf_counter()
        for _ in islice(batches, 40):
            pass
        streamed = (time.perf_counter() - began) / (40 * 256)
        began = time.perf_counter()
        for i in order[repetition * 2560 : (repetition + 1) * 2560].tolist():
            decode_image(source.files[i], source.spec, {})
        decoded = (time.perf_counter() - began) / 2560
        ratios.append(decoded / streamed)
        print(f"{1 / streamed:,.0f} images/s streamed, {1 / decoded:,.0f} decoded by one thread")
    print(f"streamed / decoded by one thread: {median(ratios):.2f}; {resident_mib('self'):,.0f} MiB resident")


def write_images(folder: Path, count: int) -> None:
    """Writes `count` images of 64x64 pixels. Each hundred of them are hard links to one file."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (max(count // 100, 1), 8, 8, 3), dtype=np.uint8)
    for i, pixels in enumerate(coarse):
        subfolder = folder / f"{i // 1000:03d}"
        subfolder.mkdir(exist_ok=True)
        first = subfolder / f"{i:06d}_00.jpg"
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(first, quality=90)
        for link in range(1, 100):
            os.link(first, subfolder / f"{i:06d}_{link:02d}.jpg")


def start(options: argparse.Namespace) -> None:
    step_seconds, help_seconds = [], []
    for _ in range(options.repetitions):
        began = time.perf_counter()
        start_run(Path(tempfile.mkdtemp()) / "run", "steps=1", *options.overrides).communicate()
        step_seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ganlab.run", "--help"], stdout=subprocess.DEVNULL, check=True)
        help_seconds.append(time.perf_counter() - began)
    print(f"one step, whole process: {median(step_seconds):.1f} s; --help: {median(help_seconds):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = {
        "memory": memory,
        "batches": batches,
        "processes": processes,
        "streaming": streaming,
        "start": start,
    }
    parser.add_argument("benchmark", choices=benchmarks)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=1_000_000, help="number of image files for streaming")
    parser.add_argument("overrides", nargs="*", help="overrides of every run, such as model=dcgan")
    options = parser.parse_intermixed_args()
    benchmarks[options.benchmark](options)


if __name__ == "__main__":
    main()
