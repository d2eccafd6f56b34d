"""Archives: past months of executions move to files, and back."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from domain.identity import Month
from infrastructure.archive.catalog import Archive
from infrastructure.settings import Settings
from infrastructure.transfer.format import Manifest
from interfaces import bootstrap
from interfaces.bootstrap.transfer import LogPlace
from interfaces.cli import common
from interfaces.cli.common import settings
from interfaces.cli.render import shown_progress
from interfaces.roles import run


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
def verify_archive_command(months: tuple[Month, ...]) -> None:
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


class Place(click.ParamType[Any]):
    """A position of the log, or an instant with its offset."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LogPlace:
        """The position or the instant. Fails with what to change."""
        if re.fullmatch(r"[1-9][0-9]{0,17}", value):
            return int(value)
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            self.fail(
                f"{value!r} is neither a position of the log, such as 1200, nor an instant with its offset, "
                "such as 2030-01-01T12:00:00Z",
                param,
                ctx,
            )
        return instant


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("export")
@click.option("--out", "path", type=_FILE, required=True, help="The file to write, such as log.ndjson.zst.")
@click.option("--namespace", help="Only what belongs to this namespace.")
@click.option("--task", "task_id", type=click.UUID, help="Only a task and what became of it.")
@click.option("--from", "first", type=Place(), help="From a position, or an instant, on.")
@click.option("--to", "last", type=Place(), help="Up to a position, or an instant, and including it.")
def export_command(
    path: Path, namespace: str | None, task_id: UUID | None, first: LogPlace | None, last: LogPlace | None
) -> None:
    """Write the log to a file: every event as a line of JSON, compressed by zstd, with a manifest.

    The service may run meanwhile. An export that was killed goes on when it is started again.
    """
    if not _in_order(first, last):
        raise click.UsageError("--from lies behind --to: give an earlier --from, or a later --to.")
    with bootstrap.database(common.settings("export")) as settings:
        bootstrap.prepare_database(settings)
        wanted = run(bootstrap.selection(settings, namespace, task_id, first, last))
        with shown_progress() as progress:
            begun: list[int] = []
            manifest = bootstrap.export_events(settings, path, wanted, progress.at_stage, begun.append)
    for head in begun:
        click.echo(f"went on with an export begun at event {head}")
    click.echo(f"{_events(manifest)} in {path}")
    if not manifest.whole:
        click.echo(f"This is a part of a log ({manifest.selection.described()}): import it with --partial.")


@click.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--partial", is_flag=True, help="Take a part of a log for a log of its own.")
def import_command(path: Path, *, partial: bool) -> None:
    """Store an exported log in an empty database, at the positions that it had, and build the read models.

    An import that was killed goes on when it is started again. No service may run on the database meanwhile.
    """
    with bootstrap.database(common.settings("import")) as settings:
        bootstrap.prepare_database(settings)
        with shown_progress() as progress:
            done = bootstrap.import_events(
                settings.direct_dsn(), path, partial=partial, report=progress.at_stage
            )
        earlier = done.manifest.events - done.stored
        click.echo(
            f"{_events(done.manifest)} as in {path}" + (f"; {earlier:,} were there" if earlier else "")
        )
        click.echo(common.rebuilt(settings))
        if done.fenced:
            click.echo(common.NO_SCHEDULER_BEGINS)


def _in_order(first: LogPlace | None, last: LogPlace | None) -> bool:
    """Of a position and an instant only the log can tell."""
    if isinstance(first, int) and isinstance(last, int):
        return first <= last
    if isinstance(first, datetime) and isinstance(last, datetime):
        return first <= last
    return True


def _events(manifest: Manifest) -> str:
    if not manifest.events:
        return "no events"
    events = "1 event" if manifest.events == 1 else f"{manifest.events:,} events"
    return f"{events}, from {manifest.first} to {manifest.last}"


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
    from interfaces.cli import render  # noqa: PLC0415 - only this command pays for it

    if bundle is not None and heads:
        raise click.UsageError("--heads is for the log: leave it out, or --bundle.")
    report = render.verify_report(as_json=as_json)
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


_WANTED = (
    "give a PROJECTION to try its parked events again; or --until or --until-position, and --to, for the "
    "state of that moment in another database; or --release"
)


@click.command("replay")
@click.argument("projection", required=False)
@click.option(
    "--until", type=Place(), metavar="INSTANT", help="Up to the last event recorded by this instant."
)
@click.option("--until-position", type=click.IntRange(1), help="Up to this position of the log.")
@click.option("--to", "target", metavar="DSN", help="The empty database that gets the state of that moment.")
@click.option("--release", is_flag=True, help="Let schedulers begin on the configured, replayed database.")
def replay_command(
    projection: str | None,
    until: LogPlace | None,
    until_position: int | None,
    target: str | None,
    *,
    release: bool,
) -> None:
    """Try the parked events of a projection again; or give a second database the state of an earlier moment.

    The second database, named by --to, must be empty; its read models are built, and no scheduler begins on
    it: it would call what was due then. A replay that was killed goes on when it is started again.
    """
    place = until if until_position is None else until_position
    asked = [projection is not None, until is not None, until_position is not None, release]
    if until is not None and until_position is not None:
        raise click.UsageError("--until and --until-position both name the moment: give one of them")
    if sum(asked) != 1 or (place is None) != (target is None):
        raise click.UsageError(_WANTED)
    if projection is not None:
        _replay_quarantined(projection)
    elif place is not None and target is not None:
        _replay_to(place, target)
    else:
        _release()


def _replay_quarantined(projection: str) -> None:
    with bootstrap.database(common.settings("replay")) as settings:
        bootstrap.prepare_database(settings)
        click.echo(run(bootstrap.replay(settings, projection)))


def _replay_to(place: LogPlace, dsn: str) -> None:
    with bootstrap.database(common.settings("replay")) as settings:
        bootstrap.prepare_database(settings)
        position = run(bootstrap.position_of(settings, place))
        target = _prepared(settings, dsn)
        with shown_progress() as progress:
            copied = bootstrap.replay_events(settings, target, position, progress.at_stage)
        earlier = copied.events - copied.stored
        click.echo(
            f"{copied.events:,} events, up to {position}" + (f"; {earlier:,} were there" if earlier else "")
        )
        click.echo(common.rebuilt(target))
        click.echo(common.NO_SCHEDULER_BEGINS)


def _prepared(settings: Settings, dsn: str) -> Settings:
    target = bootstrap.elsewhere(settings, dsn)
    try:
        bootstrap.prepare_database(target)
    except (bootstrap.DatabaseUnusable, bootstrap.MigrationRefused) as error:
        raise click.ClickException(f"--to cannot be used: {error}") from None
    return target


def _release() -> None:
    with bootstrap.database(common.settings("replay")) as settings:
        bootstrap.prepare_database(settings)
        released = bootstrap.remove_fence(settings.direct_dsn())
    click.echo("Schedulers begin here from now on." if released else "Nothing kept schedulers away.")
