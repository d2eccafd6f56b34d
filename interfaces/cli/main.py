"""The command line: one command a role, and the one-shot jobs."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from uuid import UUID

import click

from interfaces import bootstrap
from interfaces.cli import common, log, tasks
from interfaces.cli.common import Sections
from interfaces.cli.log import verify_command
from interfaces.cli.tasks import simulate_command
from interfaces.listening import AddressUnusable
from interfaces.roles import run, run_role, serve


@click.group(cls=Sections, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="chronoledger", prog_name="chronoledger")
def cli() -> None:
    """Chronoledger calls URLs on time and keeps books of it.

    Configuration comes from the environment and from .env; `chronoledger config` shows what is in force.
    """


@cli.command("serve")
def serve_command() -> None:
    """Run everything on this machine, with an embedded Postgres unless a database is configured."""
    sys.exit(serve(common.settings("serve")))


def _role_command(role: str, summary: str) -> None:
    @cli.command(role, help=summary)
    @click.option("--child", is_flag=True, hidden=True)
    def role_command(*, child: bool) -> None:
        settings = common.settings(role, warn=not child)
        with contextlib.ExitStack() as stack:
            if role == "api" and bootstrap.has_embedded(settings):
                # To look at what stands still: `serve` refuses that.
                settings = stack.enter_context(bootstrap.database(settings))
            if not child:
                bootstrap.prepare_database(settings)
                if role == "scheduler":
                    bootstrap.check_fence(settings.direct_dsn())
            sys.exit(run_role(settings, role, child=child))  # type: ignore[arg-type]


_role_command("api", "Run the REST API alone.")
_role_command("projector", "Run the projector alone: it keeps the read models.")
_role_command("scheduler", "Run the scheduler alone: it makes the calls.")


@cli.command("migrate")
@click.option("--down", is_flag=True, help="Roll everything back: all data is deleted.")
@click.option("--yes", is_flag=True, help="Do not ask before data is deleted.")
def migrate_command(*, down: bool, yes: bool) -> None:
    """Apply the database migrations that are missing."""
    with bootstrap.database(common.settings("migrate")) as settings:
        if not down:
            _name("applied", bootstrap.prepare_database(settings))
            return
        stored = bootstrap.events_stored(settings.direct_dsn())
        if stored and not yes:
            months = bootstrap.months_archived(settings.direct_dsn())
            files = f"; {months} archived months are forgotten, their files stay" if months else ""
            click.confirm(
                f"This deletes {stored} events and all that was built from them{files}. Go on?", abort=True
            )
        if bootstrap.services_connected(settings.direct_dsn()):
            # They would go on from a position that the new, shorter log takes long to reach.
            raise click.ClickException("services are still connected to this database: stop them first")
        _name("rolled back", bootstrap.migrate_down(settings.direct_dsn()))


@cli.command("rebuild")
@click.argument("projections", nargs=-1)
@click.option("--anew", is_flag=True, help="Begin at the first event, also where an interrupted one is left.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Fold the log with so many at a time. [default: as many as there are cores and memory for, four at "
    "most; one for a small log]",
)
def rebuild_command(projections: tuple[str, ...], *, anew: bool, processes: int | None) -> None:
    """Build read models anew from the log, beside the live ones, and swap them in; all of them by default.

    One that was interrupted is gone on with where it was.
    """
    with bootstrap.database(common.settings("rebuild")) as settings:
        bootstrap.prepare_database(settings)
        click.echo(common.rebuilt(settings, projections, anew=anew, processes=processes))


@cli.command("check")
@click.argument("projections", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line: each difference, then the sum.")
def check_command(projections: tuple[str, ...], *, as_json: bool) -> None:
    """Compare read models with the log, beside the running service; all of them by default.

    Ends with 0 when nothing differs, with 1 when something does, and with 2 when that cannot be told.
    """
    from interfaces.cli import render  # noqa: PLC0415 - only this command pays for it

    report = render.check_report(as_json=as_json)
    with common.failing_with(2), bootstrap.database(common.settings("check")) as settings:
        bootstrap.prepare_database(settings)
        checked = run(bootstrap.check(settings, projections, report))
    report.ended(checked)
    sys.exit(1 if checked.differences or checked.refused else 0)


@cli.command("config")
def config_command() -> None:
    """Show the configuration in force, secrets masked, and where each value comes from."""
    settings = common.settings("config", logs=False)
    in_use = settings if settings.database_configured else bootstrap.beside_embedded(settings)
    rows = bootstrap.in_force(in_use)
    width = max(len(f"{name}={value}") for name, value, _ in rows)
    for name, value, source in rows:
        click.echo(f"{f'{name}={value}'.ljust(width)}  # {source}")
    if not settings.database_configured:
        click.echo("# No database is configured: `chronoledger serve` brings its own, in DATA_DIR.")
    for warning in settings.warnings:
        click.echo(f"# {warning}")


@cli.command("seed")
def seed_command() -> None:
    """Create a handful of example tasks; running it again changes nothing."""
    with bootstrap.database(common.settings("seed")) as settings:
        bootstrap.prepare_database(settings)
        for name in run(bootstrap.seed(settings)):
            click.echo(name)


@cli.command("explain")
@click.argument("task_id", type=click.UUID, required=False)
@click.option("--at", metavar="INSTANT", help="The instant to explain, such as 2030-01-01T12:00:00Z.")
@click.option("--execution", "execution_id", type=click.UUID, help="Explain an execution by its id instead.")
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
def explain_command(
    task_id: UUID | None, at: str | None, execution_id: UUID | None, *, as_json: bool
) -> None:
    """Say why a task ran, was late, was skipped, has not run yet or never will; or where it stands."""
    from interfaces.cli import render  # noqa: PLC0415 - only this command pays for it

    question = render.explanation_question(task_id, at, execution_id)
    with bootstrap.database(common.settings("explain")) as settings:
        bootstrap.prepare_database(settings)
        if isinstance(question, render.OfExecution):
            found = run(bootstrap.explain_execution(settings, question.execution_id))
        else:
            found = run(bootstrap.explain_task(settings, question.task_id, question.at))
    click.echo(render.explanation_json(found) if as_json else render.explanation_text(found))


@cli.command("openapi")
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write the files here."
)
def openapi_command(folder: Path | None) -> None:
    """Print the OpenAPI document as YAML, or write it and the Postman collection to a folder."""
    from interfaces import openapi_files  # noqa: PLC0415 - only this command pays for it

    if folder is None:
        click.echo(openapi_files.swagger_yaml(), nl=False)
        return
    try:
        written = openapi_files.write(folder)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be written ({error.strerror}): choose another folder"
        ) from None
    for path in written:
        click.echo(path)


cli.add_command(verify_command)
cli.add_command(simulate_command)
cli.add_command(log.export_command)
cli.add_command(log.import_command)
cli.add_command(log.replay_command)
cli.add_command(tasks.tasks_group)
cli.add_command(log.archive)


def _name(verb: str, migrations: list[str]) -> None:
    for migration in migrations:
        click.echo(f"{verb} {migration}")
    if not migrations:
        click.echo("nothing to do")


def main() -> None:
    """Run a command; what the user can put right is told in plain lines on stderr."""
    # Until a role handles it itself: what was started is ended, and the first process of a container, which
    # the system's default spares, ends at all.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        cli()
    except (*bootstrap.USER_ERRORS, AddressUnusable) as error:
        click.echo(str(error), err=True)
        sys.exit(2 if isinstance(error, bootstrap.WrongSetting) else 1)


if __name__ == "__main__":
    main()
