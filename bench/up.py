"""Times `labctl up` with a cached node image, a second `up`, and `down`: n runs, min, median, max in seconds."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABCTL = Path(sys.executable).parent / "labctl"


def timed(*words: str, home: str) -> float:
    start = time.monotonic()
    subprocess.run(
        [str(LABCTL), *words, "--lab", "bench"],
        env={**os.environ, "LABCTL_HOME": home},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="runs (default: 5)")
    count = parser.parse_args().n
    seconds: dict[str, list[float]] = {"up": [], "second up": [], "down": []}
    with tempfile.TemporaryDirectory() as home:
        timed("up", home=home)  # bakes the node image if it must
        timed("down", home=home)
        for _ in range(count):
            seconds["up"].append(timed("up", home=home))
            seconds["second up"].append(timed("up", home=home))
            seconds["down"].append(timed("down", home=home))
    print(f"{'1 control plane, 2 workers':<28} {'n':>3} {'min':>7} {'median':>7} {'max':>7}")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:<28} {count:>3} {min(values):>7.1f} {middle:>7.1f} {max(values):>7.1f}")


if __name__ == "__main__":
    main()
