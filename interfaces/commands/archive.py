"""Archives: past months of executions move to files, and back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from domain.months import Month
from interfaces import bootstrap
from interfaces.commands.common import settings

if TYPE_CHECKING:
    from interfaces.bootstrap import Archive


class _MonthType(click.ParamType[Month]):
    name = "YYYY-MM"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Month:
        if isinstance(value, Month):
            return value
        try:
            return Month.read(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


_MONTH = _MonthType()


@click.group(invoke_without_command=True)
@click.option("--before", type=_MONTH, help="Archive every month before this one, such as 2026-01.")
@click.pass_context
def archive(context: click.Context, before: Month | None) -> None:
    """Move past months of executions from the log to files in ARCHIVE_DIR, and back.

    What is archived stays in the ledger, and explanations and rebuilds read it from its file.
    Ends with 1 when a month has to stay.
    """
    if context.invoked_subcommand is not None:
        if before is not None:
            raise click.UsageError("--before is for `chronoledger archive` alone.")
        return
    if before is None:
        click.echo(context.get_help())
        return
    if before > Month.of(datetime.now(UTC)):
        raise click.UsageError("--before must be no later than this month: only months that are over can go.")
    with bootstrap.database(settings("archive")) as found:
        bootstrap.prepare_database(found)
        kept = moved = 0
        for outcome in bootstrap.archive_before(found, before.start):
            if isinstance(outcome, bootstrap.Kept):
                kept += 1
                click.echo(outcome.reason, err=True)
            else:
                moved += 1
                click.echo(_line(outcome))
        if not kept and not moved:
            click.echo("nothing to archive")
    sys.exit(1 if kept else 0)


@archive.command("list")
def list_command() -> None:
    """Show every month that was ever archived."""
    with bootstrap.database(settings("archive")) as found:
        bootstrap.check_database(found)
        known = bootstrap.list_archives(found)
    for each in known:
        click.echo(_line(each))
    if not known:
        click.echo("nothing is archived")


@archive.command("verify")
@click.argument("months", nargs=-1, type=_MONTH)
def verify_command(months: tuple[Month, ...]) -> None:
    """Read archives whole and compare them with their hashes; by default all whose months are not restored.

    Ends with 1 when one is damaged or away.
    """
    failed = False
    with bootstrap.database(settings("archive")) as found:
        bootstrap.check_database(found)
        known = bootstrap.list_archives(found, months)
        # The copy of a month that is in the log may be gone: nothing needs it.
        for each in known if months else [one for one in known if one.away]:
            try:
                bootstrap.verify_archive(found, each)
            except bootstrap.ArchiveAway as error:
                failed = True
                click.echo(str(error), err=True)
            else:
                click.echo(f"{each.month}  {each.name} is whole")
    sys.exit(1 if failed else 0)


@archive.command("restore")
@click.argument("month", type=_MONTH)
def restore_command(month: Month) -> None:
    """Put a month back into the log; the file stays, as a copy."""
    with bootstrap.database(settings("archive")) as found:
        bootstrap.prepare_database(found)
        [known] = bootstrap.list_archives(found, (month,))
        if not known.away:
            click.echo(f"{month} is in the log already: nothing was done")
            return
        click.echo(_line(bootstrap.restore_archive(found, month)))


def _line(known: Archive) -> str:
    return (
        f"{known.month}  {known.state:8}  {known.executions:,} executions, {known.events:,} events, "
        f"{known.size:,} bytes  {known.name}"
    )
