"""`chronoledger simulate`: what would have happened, or will, if tasks were defined otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from application.declared import Done, Step
from infrastructure.settings import Settings
from interfaces import bootstrap
from interfaces.cli import common
from interfaces.cli.common import settings
from interfaces.roles import run
from interfaces.task_files.files import TaskFile


@click.command("simulate")
@click.argument("question", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="The whole answer as data, as POST /simulate gives it.")
@click.option("--differences", "most", type=click.IntRange(min=0), default=20, help="So many are shown.")
def simulate_command(question: BinaryIO, most: int, *, as_json: bool) -> None:
    """Simulate a change over a window of the past, of the future, or both; nothing is stored.

    QUESTION is a file with the JSON body of POST /api/v1/simulate; standard input when left out.
    """
    from interfaces.cli import render  # noqa: PLC0415 - only this command pays for it
    from interfaces.roles import run  # noqa: PLC0415

    asked = render.simulation_question(question.read())
    with bootstrap.database(settings("simulate")) as found:
        bootstrap.check_database(found)
        answer = run(bootstrap.simulated(found, asked))
    click.echo(render.simulation_json(answer) if as_json else render.simulation_text(answer, most))


_FILE = click.Path(path_type=Path, dir_okay=False, exists=True, readable=True, allow_dash=True)


@click.group("tasks")
def tasks_group() -> None:
    """Definitions of tasks as a file that people read, compare and keep."""


@tasks_group.command("export")
@click.option("--namespace", help="Only tasks of this namespace.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
def export_command(namespace: str | None, *, as_json: bool) -> None:
    """Print the tasks that have not ended, sorted by name, without what is a default anyway."""
    from interfaces.task_files import files  # noqa: PLC0415 - only this command pays for it

    with bootstrap.database(common.settings("tasks")) as settings:
        bootstrap.prepare_database(settings)
        tasks = run(bootstrap.live_tasks(settings, namespace))
    file = files.file_of(tasks, settings.default_timezone)
    as_text = (
        msgspec.json.format(msgspec.json.encode(file)).decode() + "\n" if as_json else files.dumped(file)
    )
    click.echo(as_text, nl=False)


@tasks_group.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--prune", is_flag=True, help="Cancel the tasks of these namespaces that the file does not name."
)
@click.option("--yes", is_flag=True, help="Do not ask before tasks are cancelled.")
@click.option("--keep-going", is_flag=True, help="Do what can be done though some entries are wrong.")
@click.option(
    "--crontab", is_flag=True, help="FILE is a crontab: take over its lines that call curl or wget."
)
@click.option("--system", is_flag=True, help="With --crontab: its lines name a user, as /etc/crontab has it.")
@click.option("--reason", help="Why, for whoever looks at the history later.")
def import_command(
    path: Path,
    *,
    dry_run: bool,
    prune: bool,
    yes: bool,
    keep_going: bool,
    crontab: bool,
    system: bool,
    reason: str | None,
) -> None:
    """Make the tasks those of a file: YAML, or JSON if it is called .json.

    A task is known by its namespace and name. What is missing is created, what differs is changed, and what
    is as declared is left alone. Ends with 1 when an entry is wrong or refused.
    """
    if (prune and crontab) or (system and not crontab):
        raise click.UsageError(
            "--prune is not for crontabs, which hold some tasks of many; --system is for them alone"
        )
    with bootstrap.database(common.settings("tasks")) as settings:
        text = _text(path)
        declared = None if crontab else _read(path, text, settings.default_timezone)
        bootstrap.prepare_database(settings)
        file = declared or _crontab(text, settings, system=system)
        steps = run(bootstrap.plan_tasks(settings, file.declarations, prune=prune))
        _tell(steps, file)
        wrong = any(isinstance(step, bootstrap.Bad) for step in steps)
        if dry_run or (wrong and not keep_going):
            click.echo("Nothing was done.")
            sys.exit(wrong)
        if prune and wrong:
            click.echo("Nothing is pruned while an entry is wrong.")
        if any(isinstance(step, bootstrap.Cancel) for step in steps) and not yes:
            if str(path) == "-":
                raise click.ClickException("stdin gave the tasks, so nobody there can be asked: add --yes")
            click.confirm("Cancel the tasks with a minus for good?", abort=True)
        refused = _apply(settings, steps, reason)
    sys.exit(wrong or refused)


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{path}: byte {error.start} is not UTF-8: save the file in UTF-8"
        ) from None


def _read(path: Path, text: str, timezone: str) -> TaskFile:
    from interfaces.task_files import files  # noqa: PLC0415 - only these commands pay for it

    as_json = path.suffix == ".json" or (str(path) == "-" and text.lstrip().startswith("{"))
    try:
        return (files.read_json if as_json else files.read_yaml)(text, timezone)
    except files.TaskFileUnreadable as error:
        raise click.ClickException(f"{path}: {error}") from None


def _crontab(text: str, settings: Settings, *, system: bool) -> TaskFile:
    """The tasks of a crontab; what is left out of it, and which tasks it has left, is told at once."""
    from interfaces.task_files import crontab  # noqa: PLC0415 - only this command pays for it

    timezone, standing = settings.default_timezone, run(bootstrap.live_definitions(settings))
    found = crontab.read_crontab(text, timezone, standing, system=system)
    for line in found.left_out:
        click.echo(f"? line {line.number} is left out: {line.why}")
    if found.without_zone:
        lines = "1 line" if found.without_zone == 1 else f"{found.without_zone:,} lines"
        click.echo(f"{lines} without CRON_TZ: taken in {timezone} (DEFAULT_TIMEZONE)")
    for name in found.left:
        click.echo(f"? {name} stands for no line, and goes on: cancel it if its line was removed or changed")
    return found.file


def _tell(steps: Sequence[Step], file: TaskFile) -> None:
    from interfaces.task_files import files  # noqa: PLC0415 - only this command pays for it

    for step in steps:
        for line in files.told(step, file):
            click.echo(line)
    click.echo(files.summary(steps))


def _apply(settings: Settings, steps: Sequence[Step], reason: str | None) -> bool:
    """Whether some step was refused after all."""
    from interfaces.task_files import files  # noqa: PLC0415 - only this command pays for it

    refusals, applied = [], []

    def report(done: Done) -> None:
        if done.refusal is None:
            applied.append(done.step)
        else:
            refusals.append(done)
            click.echo(f"! {done.refusal}")

    shown = run(bootstrap.apply_tasks(settings, steps, reason, report))
    if counts := files.accomplished(applied):
        click.echo(f"Done: {counts}.")
    if refusals:
        click.echo(f"{len(refusals):,} refused; import the file again for what is left to do.")
    if not shown:
        click.echo("Lists show it once a projector has caught up.")
    return bool(refusals)
