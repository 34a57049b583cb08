import io
import json
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from labctl import ui
from labctl.events import Progress, StepFinished, StepStarted, TaskFinished, TaskStarted, Warned


def test_in_a_pipe_there_are_plain_lines_and_events_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ui.showing(tmp_path) as emit:
        emit(StepStarted("cluster", "kubeadm"))
        emit(TaskStarted("play", "Start the cluster"))
        emit(TaskFinished("Start the cluster", "cp-1", "ok"))
        emit(TaskFinished("Join", "worker-1", "failed", message="why"))
        emit(Warned("careful"))
        emit(StepFinished("cluster", 1.5, "changed=2"))
    out, err = capsys.readouterr()
    assert out == "", "stdout is for results"
    assert "\x1b" not in err, "no colour in a pipe"
    assert "cluster: done in 1.5 s (changed=2)" in err
    assert "worker-1: Join: failed" in err
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines][:3] == ["StepStarted", "TaskStarted", "TaskFinished"]
    assert all(line["t"] >= 0 for line in lines)


def test_on_a_terminal_finished_steps_stay_and_nothing_waits_for_itself() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    view = ui.LiveView(console)

    def work() -> None:
        with Live(view, console=console, refresh_per_second=50, transient=True):
            for number in range(200):
                view(StepStarted("cluster", "kubeadm"))
                view(TaskStarted("play", "Start the cluster"))
                view(TaskFinished("Start the cluster", "cp-1", "changed"))
                view(Progress(f"line {number}"))
                view(StepFinished("cluster", 1.5, "changed=2"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive(), "the view waits for its own lock"
    assert "line 199" in screen.getvalue()
    assert "changed=2" in screen.getvalue()
