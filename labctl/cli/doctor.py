"""labctl doctor."""

from __future__ import annotations

import click

from labctl import doctor
from labctl.cli.options import output_option, print_json
from labctl.errors import PrerequisiteError


@click.command("doctor")
@output_option
def command(output: str) -> int:
    """Say whether this machine can run a lab, and what mends it.

    Changes nothing. Exit code 4: something is missing.

    \b
    Examples:
      labctl doctor
      labctl doctor --output json
    """
    findings = doctor.examine()
    bad = [finding for finding in findings if not finding.is_ok]
    if output == "json":
        checks = [{"name": f.name, "ok": f.is_ok, "seen": f.seen, "fix": f.fix} for f in findings]
        print_json({"schema": "labctl.doctor/v1", "ok": not bad, "checks": checks})
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.is_ok else 'FIX '} {finding.name:<17} {finding.seen}")
            if finding.fix:
                click.echo(f"     {'':<17} → {finding.fix}")
        click.echo("\nThis machine can run a lab: labctl up" if not bad else f"\n{len(bad)} to mend.")
    return PrerequisiteError.exit_code if bad else 0
