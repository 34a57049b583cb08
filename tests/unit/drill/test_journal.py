from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labctl.drill.journal import Journal
from labctl.errors import StateError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "lab" / "journal.jsonl", "two")


def test_an_intent_is_open_until_it_is_closed(journal: Journal) -> None:
    first = journal.intend("worker-poweroff", "workload")
    second = journal.intend("worker-poweroff", "power-off", machine="w1", restore=("default/hello-world",))
    assert journal.open_intents() == [first, second]
    journal.close(first)
    assert journal.open_intents() == [second]
    journal.close(second)
    assert journal.open_intents() == []


def test_no_journal_is_an_empty_one(journal: Journal) -> None:
    assert journal.open_intents() == []


@pytest.mark.parametrize("torn", [b'{"id":"x","dri', b"{", b"\x00\x00\xff", b'"text"', b'{"id":"x","drill":"d"'])
def test_a_torn_last_line_is_passed_over(journal: Journal, torn: bytes) -> None:
    first = journal.intend("worker-poweroff", "workload")
    with journal.path.open("ab") as file:
        file.write(torn)
    assert journal.open_intents() == [first]


def test_writing_goes_on_after_a_torn_line(journal: Journal) -> None:
    first = journal.intend("worker-poweroff", "workload")
    with journal.path.open("ab") as file:
        file.write(b'{"id":"x","dri')
    second = journal.intend("worker-poweroff", "power-off", machine="w1")
    journal.close(first)
    assert journal.open_intents() == [second]


def test_a_newer_labctl_may_have_written_more(journal: Journal) -> None:
    intent = journal.intend("worker-poweroff", "workload")
    text = journal.path.read_text().replace('"drill":', '"colour": "blue", "drill":')
    journal.path.write_text(text)
    assert journal.open_intents() == [intent]


def test_an_intent_is_synced_with_its_folder(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("labctl.drill.journal.os.fsync", synced.append)
    journal.intend("worker-poweroff", "workload")
    assert len(synced) == 2


SLASHLESS = {"id": "x", "drill": "d", "fault": "f", "intended_at": "t", "restore": ["noslash"]}


@pytest.mark.parametrize("line", [{}, SLASHLESS, {**SLASHLESS, "restore": ["a/b/c"]}, {**SLASHLESS, "restore": 1}])
def test_a_damaged_journal_is_named_with_the_way_out(journal: Journal, line: dict[str, Any]) -> None:
    journal.path.parent.mkdir()
    journal.path.write_text(json.dumps(line) + "\n")
    with pytest.raises(StateError) as caught:
        journal.open_intents()
    assert str(journal.path) in caught.value.message
    assert "labctl recover --lab two" in caught.value.hint
