"""`chronoledger simulate`: what would have happened, or will, if tasks were defined otherwise."""

from __future__ import annotations

from typing import BinaryIO

import click

from interfaces import bootstrap
from interfaces.commands.common import settings


@click.command("simulate")
@click.argument("question", type=click.File("rb"), default="-")
@click.option("--json", "as_json", is_flag=True, help="The whole answer as data, as POST /simulate gives it.")
@click.option("--differences", "most", type=click.IntRange(min=0), default=20, help="So many are shown.")
def simulate_command(question: BinaryIO, most: int, *, as_json: bool) -> None:
    """Simulate a change over a window of the past, of the future, or both; nothing is stored.

    QUESTION is a file with the JSON body of POST /api/v1/simulate; standard input when left out.
    """
    from interfaces import simulated_text  # noqa: PLC0415 - only this command pays for it
    from interfaces.roles import run  # noqa: PLC0415

    asked = simulated_text.question(question.read())
    with bootstrap.database(settings("simulate")) as found:
        bootstrap.check_database(found)
        answer = run(bootstrap.simulated(found, asked))
    click.echo(simulated_text.as_json(answer) if as_json else simulated_text.as_text(answer, most))
