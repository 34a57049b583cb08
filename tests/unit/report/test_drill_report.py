"""The page, the Markdown and the JUnit XML of a run that fakes made; and what they are drawn from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import junitparser
import pytest

from labctl.cli import main
from labctl.drill import drills, run
from labctl.drill.aftermath import fates
from labctl.drill.judge import CHECKS, judge, read_run
from labctl.drill.model import StageName
from labctl.drill.timeline import Timeline
from labctl.drill.verdict import Verdict
from labctl.report import drill
from labctl.report.chart import Box, Row, Scale, chart
from labctl.report.words import WORDS
from tests.fakes import World, drill_lab

OF_NOBODY = "nobody made it again"
STAGES: tuple[StageName, StageName] = ("not_ready", "returned")
REQUESTS = ("requests, survivor", "20/s, new connections through the survivor")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("lab") / "run"
    run_dir.mkdir()
    run(drills()["worker-poweroff"], drill_lab(World.make(), run_dir.parent), run_dir, lambda _: None, seed=1)
    return run_dir


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "20260101T000000.000Z-drill-lab"))


def test_the_report_is_made_from_the_runs_files_alone(run_dir: Path, tmp_path: Path) -> None:
    into = tmp_path / "elsewhere"
    into.mkdir()
    verdict = drill.write(run_dir, into)
    assert sorted(path.name for path in into.iterdir()) == ["junit.xml", "report.html", "report.md", "verdict.json"]
    assert Verdict.model_validate_json((into / "verdict.json").read_text()) == verdict
    page = (into / "report.html").read_text()
    assert "//" not in page.replace("</", ""), "the page needs a network"
    for word in ("PASS", "node NotReady", "labctl-drill/hello-world", OF_NOBODY, "--node-monitor-grace-period"):
        assert word in page
    text = (into / "report.md").read_text()
    assert "| node NotReady | 9.0\N{EN DASH}11.5 s | 9.8 | yes |" in text
    assert junitparser.JUnitXml.fromfile(str(into / "junit.xml")).failures == 0


def test_a_failure_is_one_in_every_form(run_dir: Path) -> None:
    history = run_dir / "history.jsonl"
    kept = [line for line in history.read_text().splitlines() if '"hello-0-new"' not in line]
    history.write_text("\n".join(kept) + "\n")
    assert drill.write(run_dir).verdict == "fail"
    assert '<span class="badge fail">' in (run_dir / "report.html").read_text()
    assert "**fail** pods: deployment: the lost pods did not come back" in (run_dir / "report.md").read_text()
    suite = junitparser.JUnitXml.fromfile(str(run_dir / "junit.xml"))
    assert (suite.tests, suite.failures) == (len(CHECKS), 1)


@pytest.mark.parametrize("cut_before", ['"name":"baseline"', '"step":"call"', '"step":"proof"'])
def test_a_run_that_was_cut_off_has_a_report_too(run_dir: Path, cut_before: str) -> None:
    history = run_dir / "history.jsonl"
    history.write_text(history.read_text().partition(cut_before)[0])
    assert drill.write(run_dir).verdict in ("inconclusive", "not-injected")
    assert (
        "INCONCLUSIVE" in (run_dir / "report.html").read_text() or "NOT-INJECTED" in (run_dir / "report.md").read_text()
    )


def box(row: Row, kind: str) -> Box:
    return next(box for box in row.boxes if box.kind == kind)


def test_marks_and_bands_are_on_one_scale(run_dir: Path) -> None:
    timeline = read_run(run_dir)
    verdict = judge(timeline, run_dir)
    drawn = chart(verdict, timeline)
    assert drawn is not None
    assert drawn.off
    not_ready, returned = (next(r for (n, _), r in drawn.rows.items() if n == WORDS[s]) for s in STAGES)
    predicted, mark = box(not_ready, "band"), box(not_ready, "mark")
    assert predicted.left <= mark.left <= predicted.left + predicted.width
    # It is counted from the heal, and drawn where it was.
    (back,) = [stage.measured_s for stage in verdict.stages if stage.name == "returned"]
    assert back
    heal = drawn.off.left + drawn.off.width
    assert box(returned, "mark").left == pytest.approx(heal + drawn.scale.width(0, back), abs=0.02)
    failed = [b.left for b in drawn.rows[REQUESTS].boxes if b.kind == "bad"]
    assert min(failed) == pytest.approx(drawn.off.left, abs=100 / 240)
    assert max(failed) <= mark.left


def test_a_scale_has_round_ticks_and_keeps_to_its_edges() -> None:
    scale = Scale(-5, 361)
    assert scale.ticks == [0, 60, 120, 180, 240, 300, 360]
    assert (scale.at(-100), scale.at(-5), scale.at(178), scale.at(999)) == (0, 0, 50, 100)
    assert Scale(-5, 31).ticks[:3] == [-5, 0, 5]


def pod(name: str, owner: str = "ReplicaSet hello", node: str = "w1", **more: object) -> dict[str, Any]:
    kind, _, made_by = owner.partition(" ")
    base = {"namespace": "d", "name": name, "uid": name, "node": node, "phase": "Running", "deletion_timestamp": ""}
    return {**base, "owner_kind": kind, "owner_name": made_by, "restarts": 0, **more}


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (pod("a"), [pod("b", node="w2")], "evicted after 20.0 s; its owner made b on w2"),
        (pod("a"), [pod("b", node="")], "evicted after 20.0 s; its owner made b on no node"),
        (pod("a"), [pod("b", "ReplicaSet other")], "evicted after 20.0 s; nobody made it again"),
        (pod("bare", ""), [], OF_NOBODY),
        (pod("restored", ""), [], "evicted; labctl puts it back when the drill ends"),
        (pod("proxy", "DaemonSet proxy"), [pod("proxy", "DaemonSet proxy", restarts=1)], "restarted once"),
        (pod("proxy", "DaemonSet proxy"), [pod("proxy", "DaemonSet proxy", restarts=2)], "restarted 2 times"),
        (pod("etcd", "Node w1"), [pod("etcd", "Node w1")], "stayed: a static pod"),
        (pod("a"), [pod("a")], "stayed: never evicted"),
        (pod("a"), [pod("a", deletion_timestamp="now")], OF_NOBODY),
    ],
)
def test_the_fate_of_a_pod(before: dict[str, Any], after: list[dict[str, Any]], text: str) -> None:
    plan = SimpleNamespace(victim_names={"w1"}, restore=(SimpleNamespace(uid="restored"),))
    elsewhere = pod("elsewhere", node="w2")
    found = SimpleNamespace(
        plan=plan,
        fault=10.0,
        evicted={"a": 30.0},
        snapshots={"before": [before, elsewhere], "after": [*after, elsewhere]},
    )
    (fate,) = fates(cast("Timeline", found))
    assert text in fate.text
    assert fate.is_lost is (OF_NOBODY in text or "nobody" in text)


def test_the_newest_run_is_judged_again(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    assert main.run(["report"]) == 2
    assert "no drill was run yet" in capsys.readouterr().err
    runs = tmp_path / "home" / "runs"
    runs.mkdir(parents=True)
    run_dir.rename(runs / run_dir.name)
    assert main.run(["report", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "pass"
    assert main.run(["report", run_dir.name, "--into", str(tmp_path / "new")]) == 0
    assert str(tmp_path / "new" / "report.html") in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(("plan", "code"), [("{}", 8), ("not JSON", 8), (None, 2)])
def test_what_is_no_run_is_refused(
    run_dir: Path, plan: str | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if plan is None:
        (run_dir / "plan.json").unlink()
    else:
        (run_dir / "plan.json").write_text(plan)
    assert main.run(["report", str(run_dir)]) == code
    assert str(run_dir) in capsys.readouterr().err


def test_two_runs_beside_each_other(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))
    other = Path(shutil.copytree(run_dir, tmp_path / "other"))
    plan = json.loads((other / "plan.json").read_text())
    plan["settings"]["lease_s"] = 8
    (other / "plan.json").write_text(json.dumps(plan))
    history = (other / "history.jsonl").read_text().splitlines()
    (other / "history.jsonl").write_text("\n".join(line for line in history if '"phase":"Succeeded"' not in line))
    words = ["report", "--compare", str(run_dir), str(other)]
    assert main.run([*words, "--into", str(tmp_path / "page")]) == 0
    text = capsys.readouterr().out
    assert "lease_s: 4 in A, 8 in B" in text
    row = next(line for line in text.splitlines() if line.startswith("node NotReady"))
    assert row.split()[2:] == ["9.0-11.5", "9.8", "9.0-11.5", "9.8", "+0.0"]
    page = (tmp_path / "page" / "report.html").read_text()
    assert "<td>lease_s</td>" in page
    assert main.run([*words, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["second"]["settings"]["lease_s"] == "8"
    assert main.run(["report", "--compare", str(run_dir), "nowhere"]) == 2
