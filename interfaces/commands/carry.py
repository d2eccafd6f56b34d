"""`chronoledger export` and `import`: a log as a file, and back."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces import bootstrap
from interfaces.commands import common
from interfaces.progress import shown
from interfaces.roles import run

if TYPE_CHECKING:
    from uuid import UUID

    from interfaces.bootstrap import LogPlace, Manifest


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
        with shown() as progress:
            begun: list[int] = []
            manifest = bootstrap.export_events(settings, path, wanted, progress.at_stage, begun.append)
    for head in begun:
        click.echo(f"went on with an export begun at event {head}")
    click.echo(f"{_events(manifest)} in {path}")
    if not manifest.whole:
        click.echo(f"This is a part of a log ({manifest.selection.told()}): import it with --partial.")


@click.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--partial", is_flag=True, help="Take a part of a log for a log of its own.")
def import_command(path: Path, *, partial: bool) -> None:
    """Store an exported log in an empty database, at the positions that it had, and build the read models.

    An import that was killed goes on when it is started again. No service may run on the database meanwhile.
    """
    with bootstrap.database(common.settings("import")) as settings:
        bootstrap.prepare_database(settings)
        with shown() as progress:
            done = bootstrap.import_events(
                settings.direct_dsn(), path, partial=partial, told=progress.at_stage
            )
        earlier = done.manifest.events - done.stored
        click.echo(
            f"{_events(done.manifest)} as in {path}" + (f"; {earlier:,} were there" if earlier else "")
        )
        click.echo(common.rebuilt(settings))
        if done.stands_still:
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
