"""Times labctl beside a bare shell script that does the same, interleaved, and writes docs/benchmarks.md.

python bench/run.py                        all of it, more than half an hour on a quiet machine: see SUITES
python bench/run.py -n 3 up                one suite, three runs
python bench/run.py --results FILE bake    one suite anew, the other figures from FILE, docs/benchmarks.md from both
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
FIRST, AGAIN, BAKED = "labctl up", "labctl up again", "labctl up, node image baked"
BARE_UP, BARE_DOWN, DOWN = "bare script", "bare script, down", "labctl down"
OWN, ALL = "idle {}, GB", "idle {}, GB with the programs' files in the page cache"
CPU = "idle lab, % of the host's CPUs"
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
        if name == FIRST:
            # The bare script does not look whether the lab is what it should be. (A second `up` does while it looks.)
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

    def memory(self, name: str, there: list[psutil.Process]) -> None:
        """What the processes hold that the kernel cannot take back, and that with what it could read again from disk.

        Proportional shares (PSS: https://docs.kernel.org/filesystems/proc.html).
        """
        shares = [share for one in there if (share := memory_share(one.pid))]
        self.values[OWN.format(name)].append(sum(one["Pss_Anon"] + one["Pss_Shmem"] for one in shares) / 1e9)
        self.values[ALL.format(name)].append(sum(one["Pss"] for one in shares) / 1e9)


def memory_share(pid: int) -> dict[str, int]:
    """/proc/PID/smaps_rollup in bytes; nothing if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {key: int(size.split()[0]) * 1024 for key, size in (line.split(":") for line in lines)}


def step_seconds(events: Path, step: str) -> float:
    """How long a step of the run took that wrote `events`."""
    found = map(json.loads, events.read_text().splitlines())
    return next(float(e["seconds"]) for e in found if e["event"] == "StepFinished" and e["step"] == step)


def node_image() -> str:
    """The key of the node image from which the lab's machines run."""
    label = '{{index .Labels "labctl.node"}}'
    return process.run(["podman", "ps", "--filter", f"label=labctl.lab={LAB}", "--format", label]).stdout.split()[0]


def up(bench: Bench) -> None:
    """`up` beside the bare script, then a second `up`, `verify`, `stop`, `start`, `down`: interleaved."""
    bench.labctl("", "up")  # bakes the node image if it must
    image = node_image()
    bench.labctl("", "down")
    for _ in range(bench.count):
        bench.bare(BARE_UP, "up", 2, bench.folder / "bare", image)
        bench.bare(BARE_DOWN, "down", bench.folder / "bare")
        bench.labctl(FIRST, "up")
        bench.labctl(AGAIN, "up")
        bench.labctl("labctl verify", "verify")
        bench.labctl("labctl stop", "stop")
        bench.labctl("labctl start", "start")
        bench.labctl(DOWN, "down")


def sizes(bench: Bench) -> None:
    """One lab of each size, in turns."""
    for _ in range(max(1, bench.count // 3)):
        for workers in SIZES:
            bench.labctl(f"labctl up, {workers} workers", "up", "--workers", str(workers))
            bench.labctl("", "down")


def idle(bench: Bench) -> None:
    """Memory and CPU of all processes in an idle lab's machines."""
    for _ in range(max(1, bench.count // 5)):
        bench.labctl("", "up")
        time.sleep(IDLE_S)  # what is measured is an idle minute, after one that lets the start's work end
        before = cpu_seconds(inhabitants())
        time.sleep(IDLE_S)
        there = inhabitants()
        busy = (cpu_seconds(there) - before) / IDLE_S / (os.cpu_count() or 1)
        bench.values[CPU].append(100 * busy)
        bench.memory("lab", there)
        image = node_image()
        bench.labctl("", "down")
        bench.bare("", "up", 2, bench.folder / "bare", image)
        time.sleep(2 * IDLE_S)
        bench.memory("bare lab", inhabitants("labctl.bench=bare"))
        bench.bare("", "down", bench.folder / "bare")


def inhabitants(label: str = f"labctl.lab={LAB}") -> list[psutil.Process]:
    """All processes of the machines with `label`."""
    names = process.run(["podman", "ps", "--quiet", "--filter", f"label={label}"]).stdout.split()
    told = process.run(["podman", "inspect", "--format", "{{.State.Pid}}", *names]).stdout.split()
    first = [psutil.Process(int(pid)) for pid in told]
    return [*first, *(one for init in first for one in init.children(recursive=True))]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """What they took since they were started, and those that they started and that have ended."""
    return sum(sum(one.cpu_times()[:4]) for one in processes)


def bake(bench: Bench) -> None:
    """A node image from nothing but the bundle."""
    bench.labctl("", "up")
    image = node_image()
    bench.labctl("", "down")
    for _ in range(max(1, bench.count // 3)):
        process.run(["podman", "rmi", "--force", f"localhost/labctl/node:{image}"])
        bench.labctl(BAKED, "up")
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
        (FIRST, BARE_UP),
        (f"{FIRST}, without its checks", BARE_UP),
        (AGAIN, FIRST),
        (DOWN, BARE_DOWN),
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
    parser.add_argument("--results", type=Path, help="figures as JSON: read first if they are there, then written")
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
    values = dict(bench.values)
    if given.results:
        known = json.loads(given.results.read_text()) if given.results.exists() else {}
        values = known | values
        given.results.write_text(json.dumps(values, indent=1) + "\n")
    print(table(values), *ratios(values), sep="\n")
    if given.results or not given.suites:
        REPORT.write_text(page(values))


def page(values: dict[str, list[float]]) -> str:
    head = (
        "# Benchmarks\n\nWritten by `make bench`; seconds unless a line says otherwise. "
        f"1 control plane and 2 workers unless a line says otherwise.\n\nMachine: {machine()}.\n"
    )
    note = (
        "The bare script is [bench/bare.sh](../bench/bare.sh): what an expert would type, from the same node image. "
        "Runs are interleaved. `up` ends when all nodes are Ready, DNS is available, the page answers and the quick "
        "set of `labctl verify`, some 300 results, has passed: something that the bare script does not do. "
        "Memory is each process's proportional share (PSS), summed over all machines, a minute and more after the "
        "start: first what is its own, then with the pages of program files, which the kernel keeps only as long as "
        "nothing else wants the room; CPU is the machines' too.\n\n"
        "Beside kind: measured earlier on a machine like this one, n = 3, kind 0.33 with three nodes took 44.5 s until "
        "nodes and DNS were ready (median), where a bare script took 31.6 s (25.4 to 39.5).\n"
    )
    return "\n".join([head, table(values), "", *ratios(values), "", note])


if __name__ == "__main__":
    main()
