"""`chronoledger replay`: parked events again, or the whole log up to an earlier moment elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from interfaces import bootstrap
from interfaces.commands import common
from interfaces.commands.carry import Place
from interfaces.progress import shown
from interfaces.roles import run

if TYPE_CHECKING:
    from interfaces.bootstrap import LogPlace, Settings

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
        _replay_parked(projection)
    elif place is not None and target is not None:
        _replay_to(place, target)
    else:
        _release()


def _replay_parked(projection: str) -> None:
    with bootstrap.database(common.settings("replay")) as settings:
        bootstrap.prepare_database(settings)
        click.echo(run(bootstrap.replay(settings, projection)))


def _replay_to(place: LogPlace, dsn: str) -> None:
    with bootstrap.database(common.settings("replay")) as settings:
        bootstrap.prepare_database(settings)
        position = run(bootstrap.position_of(settings, place))
        target = _prepared(settings, dsn)
        with shown() as progress:
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
        released = bootstrap.end_standstill(settings.direct_dsn())
    click.echo("Schedulers begin here from now on." if released else "Nothing kept schedulers away.")
