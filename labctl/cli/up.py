"""labctl up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from labctl import bootstrap, bundle, config, paths, state, ui
from labctl.bootstrap import UpResult
from labctl.cli import manual
from labctl.cli.options import completing, config_option, output_option, print_json
from labctl.errors import command_for
from labctl.report import profile


@click.command(
    "up",
    cls=manual.Command,
    headings={
        "Machines": ("control_planes", "workers", "provider"),
        "Kubernetes": ("kubernetes", "timing", "cni", "cni_manifest"),
    },
)
@config_option
@click.option("--lab", "name", help="Name of the lab (default: lab).")
@click.option(
    "--kubernetes",
    shell_complete=completing(lambda _: bundle.known_versions()),
    help=f"Version (default: {config.DEFAULT_KUBERNETES}).",
)
@click.option("--control-planes", type=int, help="How many (default: 1).")
@click.option("--workers", type=int, help="How many (default: 2); 0 makes one machine that is both.")
@click.option(
    "--provider",
    metavar="|".join(config.choices("provider")),
    shell_complete=completing(lambda _: config.choices("provider")),
    help="What the machines are (default: auto, containers of what works).",
)
@click.option(
    "--timing",
    metavar="|".join(config.choices("timing")),
    shell_complete=completing(lambda _: config.choices("timing")),
    help="How soon a dead machine is noticed: within about 50 s (default), 20 s or 10 s.",
)
@click.option(
    "--cni",
    metavar="|".join(config.choices("cni")),
    shell_complete=completing(lambda _: config.choices("cni")),
    help="Pod network; none leaves it to --cni-manifest (default: routed).",
)
@click.option("--cni-manifest", type=click.Path(), help="Manifest of a pod network of your own.")
@click.option("--profile", "is_profiled", is_flag=True, help="Show where the time went: critical path, and a chart.")
@output_option
def command(config_file: Path | None, output: str, *, is_profiled: bool, **flags: Any) -> None:
    """Bring the lab up, or whatever of it is missing. Safe to run again.

    Options go before labctl.yml, which goes before the defaults. `labctl config show` prints what is in force.
    Without a labctl.yml, a lab that exists stays as it is, but for the options that are given.

    \b
    Examples:
      labctl up                          one control plane, two workers
      labctl up --workers 0              one machine that is everything
      labctl up --timing drill           dead machines are noticed within 10 s
      labctl up --lab two --workers 3    a second lab beside the first
    """
    wanted = _wanted(config_file, flags)
    with state.lock(wanted.name):
        run_dir = state.new_run("up", wanted.name)
        with ui.showing(run_dir) as emit:
            result = bootstrap.up(wanted, run_dir, emit)
    if output == "json":
        print_json(_json(result))
    else:
        _tell(result, wanted)
    if is_profiled:
        _tell_profile(run_dir)


def _wanted(config_file: Path | None, flags: dict[str, Any]) -> config.LabConfig:
    name = flags.get("name") or config.LabConfig().name
    if config_file is None and config.present_file() is None and name in paths.lab_names():
        given = {key: value for key, value in flags.items() if value is not None}
        return config.load(None, state.get(name).config.model_dump(mode="json") | given)
    return config.load(config_file, flags)


def _tell_profile(run_dir: Path) -> None:
    found = profile.read(run_dir / "events.jsonl")
    chart = run_dir / "profile.html"
    profile.write_html(found, chart)
    console = Console(stderr=True)
    console.print()
    console.print(profile.table(found))
    console.print(f"chart: {chart}", highlight=False, soft_wrap=True)


def _json(result: UpResult) -> dict[str, Any]:
    ready = {node.name: node.ready for node in result.nodes}
    return {
        "schema": "labctl.up/v1",
        "lab": result.lab,
        "changed": result.changed,
        "seconds": result.seconds,
        "nodes": [
            {
                "name": machine.name,
                "role": machine.role,
                "address": str(machine.address),
                "ready": ready.get(machine.name),
            }
            for machine in result.machines
        ],
        "kubeconfig": str(result.kubeconfig),
    }


def _tell(result: UpResult, wanted: config.LabConfig) -> None:
    if result.page:
        click.echo("\nThe hello-world page says:\n")
        for line in result.page.splitlines():
            click.echo(f"    {line}")
    steps = [
        ("status", "", "nodes and their power"),
        ("kubectl", "-- get pods -o wide", "talk to the cluster"),
        ("kubeconfig", "--merge", "use your own kubectl"),
    ]
    is_own = wanted.provider != "hosts" or (wanted.consent.drills and all(map(wanted.switch_of, wanted.hosts)))
    if is_own and wanted.workers > 1 and all(node.ready for node in result.nodes):
        steps.append(("drill", "worker-poweroff", "kill a worker and see what happens"))
    steps.append(("down", "", "give the machines back" if wanted.provider == "hosts" else "remove the lab"))
    nodes = len(result.machines)
    click.echo(f"\nThe lab {result.lab} is up: {nodes} nodes in {result.seconds:.1f} s, changed={result.changed}.\n")
    commands = [command_for(result.lab, verb, rest) for verb, rest, _ in steps]
    width = max(map(len, commands))
    for line, (_, _, why) in zip(commands, steps, strict=True):
        click.echo(f"  {line:<{width}}   {why}")
