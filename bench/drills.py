"""Runs drills again and again on real labs and writes docs/drill-numbers.md: predicted bands beside measured spreads.

python bench/drills.py                              all of it, some two hours: see SUITES
python bench/drills.py --results FILE drill fast    these suites anew, the other figures from FILE, the page from both

Each suite has a lab of its own, so that several may run at once (they wait most of the time). Nothing is dropped: a run
that did not pass is in the table, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from labctl import paths

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "drill-numbers.md"
LABCTL = Path(sys.executable).parent / "labctl"
WORDS = {
    "not_ready": "node NotReady",
    "service_restored": "service whole again",
    "tainted": "node tainted",
    "evicted": "pods evicted",
    "replaced": "replacement Ready",
    "returned": "node Ready again",
}
MACHINES = "nums-"
TIMINGS = {"failover": "default"}
"""of suites that are not called by it"""
Json = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """A lab for one suite; it is taken down at the end."""

    name: str
    home: Path

    def __call__(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        argv = [str(LABCTL), *words, "--lab", self.name]
        env = {**os.environ, "LABCTL_HOME": str(self.home)}
        done = subprocess.run(argv, env=env, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode not in codes:
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def series(self, drill: str, runs: int) -> Json:
        """Runs of a drill as one; those that did not pass are in it."""
        found: Json = json.loads(self("drill", drill, "--runs", str(runs), "--output", "json", codes=(0, 1, 3)))
        return found if "runs" in found else series_of(found)

    def cpu_s(self, drill: str) -> tuple[Json, float, float]:
        """One run of a drill with the CPU seconds that labctl and its SSH used for it, and how long it took."""
        before, masters, start = psutil.Process().cpu_times(), self._masters(), time.monotonic()
        verdict = json.loads(self("drill", drill, "--output", "json", codes=(0, 1, 3)))
        after, took = psutil.Process().cpu_times(), time.monotonic() - start
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return verdict, used + sum(cpu - masters.get(pid, 0) for pid, cpu in self._masters().items()), took

    def _masters(self) -> dict[int, float]:
        """CPU seconds of the SSH connections that outlive a command (ControlPersist), by process."""
        folder = str(paths.ssh_control(self.home / "labs" / self.name))
        found = psutil.process_iter(["cmdline", "cpu_times"])
        return {
            one.pid: sum(one.info["cpu_times"][:2]) for one in found if folder in " ".join(one.info["cmdline"] or [])
        }


def series_of(verdict: Json) -> Json:
    """One run, as a series."""
    stages = [
        {**stage, "measured_s": [stage["measured_s"]], "outside": int(stage["in_band"] is False)}
        for stage in verdict["stages"]
    ]
    return {"wanted": 1, "runs": [verdict], "stages": stages}


def timing(name: str, runs: int, *more: str) -> Callable[[Lab], Json]:
    """worker-poweroff with that timing."""

    def measure(lab: Lab) -> Json:
        lab("up", "--timing", name, *more)
        return {"series": {"worker-poweroff": lab.series("worker-poweroff", runs)}}

    return measure


def failover(lab: Lab) -> Json:
    """Fast failover beside the ordinary way, with the timing that Kubernetes ships."""
    lab("up", "--timing", "default")
    drills = {"fast-failover": 5, "statefulset-poweroff": 1}
    return {"series": {drill: lab.series(drill, runs) for drill, runs in drills.items()}}


def noise(lab: Lab) -> Json:
    """The probe at 50 requests/s without a fault: what labctl itself needs, and the slowest answers."""
    lab("up", "--timing", "drill")
    file = lab.home / "noise.yml"
    file.write_text(
        "name: noise\ntext: The probe alone, at 50 requests/s\nhold_s: 60\nmain_stream: survivor\n"
        "streams: [{name: survivor, via: survivor, rate: 50}]\n"
        "expect: {node: stays, service: whole, pods: {deployment: stays, bare-pod: stays}}\n"
    )
    found = []
    for _ in range(5):
        verdict, used, took = lab.cpu_s(str(file))
        stream = verdict["requests"][0]
        found.append({**stream, "cpu_s": used, "took_s": took, "verdict": verdict["verdict"]})
    return {"noise": found}


def quiet_hour(name: str) -> Callable[[Lab], Json]:
    """An hour without a fault: how often a living node is called dead."""

    def measure(lab: Lab) -> Json:
        lab("up", "--timing", name)
        file = lab.home / "hour.yml"
        file.write_text(
            "name: quiet-hour\ntext: An hour without a fault\nhold_s: 3540\n"
            "streams: [{name: survivor, via: survivor, rate: 2}]\nmain_stream: survivor\n"
            "expect: {node: stays, service: whole, pods: {deployment: stays, bare-pod: stays}}\n"
        )
        verdict = json.loads(lab("drill", str(file), "--output", "json", codes=(0, 1, 3)))
        run = Path(verdict["run_dir"]) / "history.jsonl"
        alarms = sum(_is_alarm(json.loads(line)) for line in run.read_text().splitlines() if '"nodes"' in line)
        return {"hour": {"verdict": verdict["verdict"], "false_not_ready": alarms, "requests": verdict["requests"]}}

    return measure


def _is_alarm(entry: Json) -> bool:
    return entry["kind"] == "watch" and entry["what"] == "nodes" and entry["object"]["ready"] is not True


SUITES: dict[str, Callable[[Lab], Json]] = {
    "drill": timing("drill", 10),
    "fast": timing("fast", 10),
    "default": timing("default", 3),
    "drill-1.36": timing("drill", 10, "--kubernetes", "1.36.3"),
    "fast-1.36": timing("fast", 10, "--kubernetes", "1.36.3"),
    "default-1.36": timing("default", 3, "--kubernetes", "1.36.3"),
    "failover": failover,
    "noise": noise,
    "hour-fast": quiet_hour("fast"),
    "hour-drill": quiet_hour("drill"),
}


def main() -> None:
    """Measure, keep the results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all by default")
    parser.add_argument("--results", type=Path, help="where figures are kept, one file a suite; read before, too")
    options = parser.parse_args()
    folder = options.results or Path(tempfile.mkdtemp(prefix="labctl-drills-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.suites or SUITES:
        lab = Lab(f"{MACHINES}{name.replace('.', '-')}", folder / "home")
        try:
            (folder / f"{name}.json").write_text(json.dumps(SUITES[name](lab), indent=1))
        finally:
            lab("down", codes=(0, 1, 2, 5, 8))
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    PAGE.write_text(page(results, PAGE.read_text() if PAGE.exists() else ""))
    print(f"{PAGE}, from the figures in {folder}", file=sys.stderr)


def page(results: dict[str, Json], before: str) -> str:
    """`before` with the sections that `results` have measured anew."""
    kernel = platform.release().split("-")[0]
    system = f"{os.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {kernel}"
    head = (
        "# Drills in numbers\n\nWritten by `bench/drills.py` from real runs; seconds after the fault (node Ready "
        "again: after the heal).\nOne control plane and two workers, system containers.\n\n"
        f"Machine: {system}.\n"
    )
    sections = dict(_section(text) for text in before.split("\n## ")[1:])
    for name in [name for name in SUITES if name in results]:
        found = results[name]
        texts = [_series(name, drill, series) for drill, series in found.get("series", {}).items()]
        texts += [_noise(found.get("noise", [])), _hour(name, found.get("hour"))]
        sections |= dict(_section("\n".join(lines).removeprefix("## ")) for lines in texts if lines)
    return "\n".join([head, *(f"## {title}\n\n{text}\n" for title, text in sections.items())])


def _section(text: str) -> tuple[str, str]:
    title, _, rest = text.partition("\n")
    return title, rest.strip()


def _series(name: str, drill: str, series: Json) -> list[str]:
    verdicts = [run["verdict"] for run in series["runs"]]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
    lines = [f"## {drill}, {TIMINGS.get(name, name)}", "", f"{len(verdicts)} of {series['wanted']} runs: {counts}.", ""]
    lines += [
        "| stage | predicted | n | min | median | max | outside the band |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for stage in series["stages"]:
        seen = [value for value in stage["measured_s"] if value is not None]
        figures = [min(seen), statistics.median(seen), max(seen)] if seen else []
        band = "never" if stage["predicted_s"] is None else "{:.1f}-{:.1f}".format(*stage["predicted_s"])
        is_named = stage["subject"] and not stage["subject"].startswith(MACHINES)  # one machine is as good as another
        subject = f", {stage['subject']}" if is_named else ""
        cells = [f"{value:.1f}" for value in figures] or ["-"] * 3
        row = [f"{WORDS.get(stage['name'], stage['name'])}{subject}", band, len(seen), *cells, stage["outside"]]
        lines.append(f"| {' | '.join(map(str, row))} |")
    return [*lines, ""]


def _noise(runs: list[Json]) -> list[str]:
    if not runs:
        return []
    shares = sorted(100 * run["cpu_s"] / run["took_s"] for run in runs)
    slowest = sorted(run["latency_max_s"] for run in runs)
    middle = sorted(run["latency_p50_s"] for run in runs)
    failed = sum(run["sent"] - run["ok"] for run in runs)
    sent = sum(run["sent"] for run in runs)
    return [
        "## The probe itself, 50 requests/s, without a fault",
        "",
        (
            f"{len(runs)} runs, {sent} requests, {failed} failed. CPU of labctl and its SSH (whole command, % of one "
            "CPU): "
            f"{shares[0]:.0f} / {statistics.median(shares):.0f} / {shares[-1]:.0f} (min, median, max). "
            f"Latency: median {1000 * statistics.median(middle):.1f} ms, slowest of each run "
            f"{1000 * slowest[0]:.0f} / {1000 * statistics.median(slowest):.0f} / {1000 * slowest[-1]:.0f} ms."
        ),
        "",
    ]


def _hour(name: str, hour: Json | None) -> list[str]:
    if hour is None:
        return []
    stream = hour["requests"][0]
    text = f"{hour['false_not_ready']} times a living node was called dead; {stream['sent'] - stream['ok']} of "
    return [
        f"## An hour without a fault, {name.removeprefix('hour-')}",
        "",
        f"{text}{stream['sent']} requests failed.",
        "",
    ]


if __name__ == "__main__":
    main()
