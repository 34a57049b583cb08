from __future__ import annotations

import threading
import time
from pathlib import Path

from labctl.drill.history import Entry, History, read


def nothing(_: Entry) -> None:
    pass


def test_time_counts_from_the_start(tmp_path: Path) -> None:
    now = [100.0]
    history = History(tmp_path / "h", lambda: now[0], nothing)
    now[0] = 103.5
    history.record("phase", name="inject")
    history.record("watch", at=102.25)
    history.close()
    entries = list(read(tmp_path / "h"))
    assert [(e["t"], e["kind"]) for e in entries] == [(0.0, "run"), (3.5, "phase"), (2.25, "watch")]
    assert entries[0]["schema"] == "labctl.history/v1"


def test_the_listener_sees_what_the_file_has(tmp_path: Path) -> None:
    seen: list[Entry] = []
    history = History(tmp_path / "h", time.monotonic, seen.append)

    def write(number: int) -> None:
        for index in range(200):
            history.record("x", n=number, i=index)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.close()
    assert list(read(tmp_path / "h")) == seen
    assert len(seen) == 801


def test_a_late_thread_does_no_harm(tmp_path: Path) -> None:
    history = History(tmp_path / "h", time.monotonic, nothing)
    history.close()
    history.record("request")
    history.close()
    assert len(list(read(tmp_path / "h"))) == 1


def test_sync_puts_it_on_disk(tmp_path: Path) -> None:
    history = History(tmp_path / "h", time.monotonic, nothing)
    history.record("phase", name="inject")
    history.sync()
    assert "inject" in (tmp_path / "h").read_text()


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "h", time.monotonic, nothing)
    history.close()
    with (tmp_path / "h").open("a") as file:
        file.write('{"t":1,"ki')
    assert [entry["kind"] for entry in read(tmp_path / "h")] == ["run"]
