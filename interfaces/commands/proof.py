"""`chronoledger verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from interfaces import bootstrap
from interfaces.commands import common
from interfaces.roles import run

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("verify")
@click.option(
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    help="Believe only heads that this public key (PEM) has signed.",
)
@click.option(
    "--heads",
    type=FILE,
    multiple=True,
    help="Compare with these heads, too: a file that AUDIT_PUBLISH wrote, a JSON object a line.",
)
@click.option(
    "--bundle", type=FILE, help="Check this evidence of an execution instead; no database is needed."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line: each finding, then the sum.")
def verify_command(
    *, keys: tuple[Path, ...], heads: tuple[Path, ...], bundle: Path | None, as_json: bool
) -> None:
    """Compare every event with its seal and the signed heads, beside the running service.

    Ends with 0 when nothing was changed, with 1 when something was, and with 2 when that cannot be told.
    """
    from interfaces import verified_text  # noqa: PLC0415 - only this command pays for it

    if bundle is not None and heads:
        raise click.UsageError("--heads is for the log: leave it out, or --bundle.")
    report = verified_text.report(as_json=as_json)
    if bundle is not None:
        with common.failing_with(2):
            checked = bootstrap.verify_bundle(bundle, keys)
        report.bundle(checked)
        sys.exit(1 if checked.findings else 0)
    with common.failing_with(2), bootstrap.database(common.settings("verify")) as settings:
        bootstrap.check_database(settings)  # changes nothing: whoever audits may only read
        verified = run(bootstrap.verify(settings, report, keys, heads))
    report.ended(verified)
    if verified.findings:
        sys.exit(1)
    sys.exit(0 if verified.events else 2)
