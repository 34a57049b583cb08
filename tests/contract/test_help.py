"""--help of every command: an example each, and every example (of the documents too) is a command that labctl takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from labctl.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand as (words, command)."""
    context = click.Context(main.cli, info_name="labctl")
    for name in main.cli.list_commands(context):
        command = main.cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {word}", inner) for word, inner in command.commands.items())


COMMANDS = dict(commands())


def examples(text: str) -> list[list[str]]:
    """The words after `labctl` of each line or substitution that begins with it; comments and pipes are cut off."""
    found = re.findall(r"(?:^\s*|\$\()labctl +(.*)", text, re.MULTILINE)
    return [shlex.split(re.split(r"   +|  *#| [|>]|&&|\)", line)[0]) for line in found]


def parse(words: list[str]) -> None:
    """Raises `click.UsageError` for what labctl does not take. Nothing is run."""
    command: click.Command = main.cli
    context = command.make_context("labctl", list(words))
    while isinstance(command, click.Group):
        _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        command, context = inner, inner.make_context(inner.name or "", rest, parent=context)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_labctl_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    section = re.search(r"^  Examples:\n((?:    .+\n)+)", shown, re.MULTILINE)
    assert section, shown
    found = examples(section[1])
    assert any(words[: len(name.split())] == name.split() for words in found), section[1]
    for words in found:
        parse(words)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_whole_sentences(name: str) -> None:
    assert not COMMANDS[name].get_short_help_str(64).endswith("...")


def test_every_command_stands_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "\nCommands:" not in out, "labctl.cli.main._HEADINGS lacks a command"
    listed = re.findall(r"^  ([a-z]+) ", out.split("Options:")[1], re.MULTILINE)
    assert sorted(listed) == sorted(main.COMMANDS)


def test_up_lists_each_option_once_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["up", "--help"]) == 0
    out = capsys.readouterr().out
    sections = dict(re.findall(r"^(\w+):\n((?:  .*\n)+)", out, re.MULTILINE))
    assert "--workers" in sections["Machines"]
    assert "--timing" in sections["Kubernetes"]
    for option in COMMANDS["up"].params:
        assert len(re.findall(rf"^  .*{option.opts[0]} ", "".join(sections.values()), re.MULTILINE)) == 1, option.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_documents_tell_to_type_is_taken(page: Path) -> None:
    for block in re.findall(r"^```(?:console|sh)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for words in examples(block):
            parse(words)


def test_an_example_that_labctl_does_not_take_is_noticed() -> None:
    for wrong in (["up", "--no-such-option"], ["no-such-command"], ["bundle", "no-such-command"], ["up", "surplus"]):
        with pytest.raises(click.UsageError):
            parse(wrong)
