"""Times labctl beside a bare shell script that does the same, interleaved, and writes docs/benchmarks.md.

python bench/run.py              all of it, about an hour: see SUITES
python bench/run.py -n 3 up      one suite, three runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from labctl import paths, process

HERE = Path(__file__).parent
REPORT = HERE.parent / "docs" / "benchmarks.md"
LABCTL = Path(sys.executable).parent / "labctl"
BARE = HERE / "bare.sh"
LAB = "bench"
SIZES = (1, 2, 3, 6, 10)
FIRST, AGAIN = "labctl up", "labctl up again"
IDLE_S = 60
LIMIT_S = 900


@dataclass
class Bench:
    """Seconds (or what the name says) by name, in the order in which the names first came."""

    count: int
    folder: Path
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def labctl(self, name: str, *words: str) -> None:
        home = self.folder / "home"
        self._time(name, [str(LABCTL), *words, "--lab", LAB], {**os.environ, "LABCTL_HOME": str(home)})
        if name in (FIRST, AGAIN):
            # The bare script does not look whether the lab is what it should be: like is compared with like.
            checks = step_seconds(home / "runs" / "latest" / "events.jsonl", "verify")
            self.values[f"{name}, without its checks"].append(self.values[name][-1] - checks)

    def bare(self, name: str, *words: str | Path) -> None:
        self._time(name, [str(BARE), *map(str, words)], dict(os.environ))

    def _time(self, name: str, argv: list[str], env: dict[str, str]) -> None:
        start = time.monotonic()
        done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=LIMIT_S)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        if name:
            self.values[name].append(seconds)
            print(f"{name:<28} {seconds:7.1f}", file=sys.stderr, flush=True)


def step_seconds(events: Path, step: str) -> float:
    """How long a step of the run took that wrote `events`."""
    found = map(json.loads, events.read_text().splitlines())
    return next(float(e["seconds"]) for e in found if e["event"] == "StepFinished" and e["step"] == step)


def node_image() -> str:
    """The key of the node image from which the lab's machines run."""
    label = '{{index .Labels "labctl.node"}}'
    return process.run(["podman", "ps", "--filter", f"label=labctl.lab={LAB}", "--format", label]).stdout.split()[0]


def up(bench: Bench) -> None:
    """`up` beside the bare script, then a second `up`, `stop`, `start`, `down`: interleaved."""
    bench.labctl("", "up")  # bakes the node image if it must
    image = node_image()
    bench.labctl("", "down")
    for _ in range(bench.count):
        bench.bare("bare script", "up", 2, bench.folder / "bare", image)
        bench.bare("bare script, down", "down", bench.folder / "bare")
        bench.labctl(FIRST, "up")
        bench.labctl(AGAIN, "up")
        bench.labctl("labctl stop", "stop")
        bench.labctl("labctl start", "start")
        bench.labctl("labctl down", "down")


def sizes(bench: Bench) -> None:
    """One lab of each size."""
    for _ in range(max(1, bench.count // 5)):
        for workers in SIZES:
            bench.labctl(f"labctl up, {workers} workers", "up", "--workers", str(workers))
            bench.labctl("", "down")


def idle(bench: Bench) -> None:
    """Memory and CPU that an idle lab takes on the host."""
    before = psutil.virtual_memory().available
    bench.labctl("", "up")
    time.sleep(IDLE_S)  # what is measured is an idle minute, after one that lets the start's work end
    bench.values["idle lab, GB"].append((before - psutil.virtual_memory().available) / 1e9)
    busy = psutil.cpu_percent(interval=IDLE_S)
    bench.values["idle lab, % of the host's CPUs"].append(busy)
    bench.labctl("", "down")


def bake(bench: Bench) -> None:
    """A node image from nothing but the bundle."""
    bench.labctl("", "up")
    image = node_image()
    bench.labctl("", "down")
    for _ in range(max(1, bench.count // 5)):
        process.run(["podman", "rmi", "--force", f"localhost/labctl/node:{image}"])
        bench.labctl("labctl up, node image baked", "up")
        bench.labctl("", "down")


SUITES: dict[str, Callable[[Bench], None]] = {"up": up, "sizes": sizes, "idle": idle, "bake": bake}


def table(values: dict[str, list[float]]) -> str:
    lines = ["| what | n | min | median | max |", "|---|---:|---:|---:|---:|"]
    for name, seen in values.items():
        figures = (min(seen), statistics.median(seen), max(seen))
        lines.append(f"| {name} | {len(seen)} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    return "\n".join(lines)


def ratios(values: dict[str, list[float]]) -> list[str]:
    middle = {name: statistics.median(seen) for name, seen in values.items()}
    pairs = [
        (f"{FIRST}, without its checks", "bare script"),
        (FIRST, "bare script"),
        (f"{AGAIN}, without its checks", f"{FIRST}, without its checks"),
        (AGAIN, FIRST),
        (f"labctl up, {SIZES[-1]} workers", "labctl up, 2 workers"),
    ]
    return [f"- {a} / {b}: **{middle[a] / middle[b]:.2f}** (medians)" for a, b in pairs if a in middle and b in middle]


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {kernel}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10, help="runs (default: 10)")
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help=", ".join(SUITES))
    parser.add_argument("--results", type=Path, help="keep the figures in this file too, as JSON")
    given = parser.parse_args()
    folder = paths.cache() / f"bench-{os.getpid()}"
    folder.mkdir(parents=True)
    bench = Bench(given.n, folder)
    try:
        for name in given.suites or SUITES:
            SUITES[name](bench)
    finally:
        bench.bare("", "down", folder / "bare")
        bench.labctl("", "down")
        shutil.rmtree(folder)
    if given.results:
        given.results.write_text(json.dumps(bench.values, indent=1) + "\n")
    print(table(bench.values), *ratios(bench.values), sep="\n")
    if not given.suites:
        REPORT.write_text(page(bench.values))


def page(values: dict[str, list[float]]) -> str:
    head = (
        "# Benchmarks\n\nWritten by `make bench`; seconds unless a line says otherwise. "
        f"1 control plane and 2 workers unless a line says otherwise.\n\nMachine: {machine()}.\n"
    )
    note = (
        "The bare script is [bench/bare.sh](../bench/bare.sh): what an expert would type, from the same node image. "
        "Runs are interleaved. `up` ends when all nodes are Ready, DNS is available and the page answers; "
        "its checks, the quick set of `labctl verify`, are something that the bare script does not do.\n\n"
        "Beside kind: measured earlier on a machine like this one, n = 3, kind 0.33 with three nodes took 44.5 s until "
        "nodes and DNS were ready (median), where a bare script took 31.6 s (25.4 to 39.5).\n"
    )
    return "\n".join([head, table(values), "", *ratios(values), "", note])


if __name__ == "__main__":
    main()
