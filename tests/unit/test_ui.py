import json
from pathlib import Path

import pytest

from labctl import ui
from labctl.events import StepFinished, StepStarted, TaskFinished, TaskStarted, Warned


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
