"""labctl doctor."""

from __future__ import annotations

from itertools import groupby

import click

from labctl import doctor
from labctl.cli.options import output_option, print_json
from labctl.doctor import Check, Kind
from labctl.errors import PrerequisiteError

_TITLES: dict[Kind, str] = {
    "": "Every lab",
    "containers": "\nMachines in containers (provider: podman or docker)",
    "hosts": "\nMachines that you have (provider: hosts)",
}


@click.command("doctor")
@output_option
def command(output: str) -> int:
    """Say whether this machine can run a lab, and what mends it.

    What every lab needs, then what each kind of machines does. Changes nothing. Exit code 4: something is missing for
    the kind that labctl.yml asks for, or for containers if it says nothing.

    \b
    Examples:
      labctl doctor
      labctl doctor --output json
    """
    findings, asked = doctor.examine(), doctor.asked_for()
    bad = [finding for finding in findings if not finding.is_ok and finding.needed_by in ("", asked)]
    if output == "json":
        checks = [
            {"name": f.name, "ok": f.is_ok, "seen": f.seen, "fix": f.fix, "needed_by": f.needed_by} for f in findings
        ]
        print_json({"schema": "labctl.doctor/v1", "ok": not bad, "asked_for": asked, "checks": checks})
    else:
        _tell(findings)
        click.echo("\nThis machine can run a lab: labctl up" if not bad else f"\n{len(bad)} to mend.")
        if bad and all(finding.needed_by == "containers" for finding in bad):
            click.echo("Labs on machines that you have (provider: hosts) need nothing of it.")
    return PrerequisiteError.exit_code if bad else 0


def _tell(findings: list[Check]) -> None:
    for kind, findings_of in groupby(findings, lambda finding: finding.needed_by):
        click.echo(_TITLES[kind])
        for finding in findings_of:
            click.echo(f"{'ok  ' if finding.is_ok else 'FIX '} {finding.name:<17} {finding.seen}")
            if finding.fix:
                click.echo(f"     {'':<17} → {finding.fix}")
