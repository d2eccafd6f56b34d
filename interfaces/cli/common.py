"""What commands have in common: their settings, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import structlog

from infrastructure.settings import Settings
from interfaces import bootstrap
from interfaces.roles import run

DOTENV = Path(".env")
NO_SCHEDULER_BEGINS = (
    "NO SCHEDULER BEGINS on that database: it would call what was due then. Look at it with "
    "`chronoledger api`; `chronoledger replay --release` on it would let schedulers go on from there."
)

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def failing_with(code: int) -> Iterator[None]:
    """End with this code on any error: another one means something else to who asked."""
    try:
        yield
    except bootstrap.USER_ERRORS as error:
        click.echo(str(error), err=True)
    except Exception:
        log.exception("the command ended with an error")
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    else:
        return
    sys.exit(code)


def settings(role: str, *, logs: bool = True, warn: bool = True) -> Settings:
    """The settings in force; with `logs`, the logs of the role go where they say, and `warn` tells of doubts.

    Raises `WrongSetting`.
    """
    found = bootstrap.load(os.environ, DOTENV)
    if logs:
        bootstrap.configure(found, role)
    for warning in found.warnings if logs and warn else ():
        log.warning(warning)
    return found


def rebuilt(
    settings: Settings, projections: Sequence[str] = (), *, anew: bool = False, processes: int | None = None
) -> str:
    """Build read models (all for none) anew, with progress on stderr; what came out.

    Raises as `bootstrap.rebuild` does.
    """
    from interfaces.cli import render  # noqa: PLC0415 - few commands pay for it

    report = render.rebuild_report()
    names, done = run(bootstrap.rebuild(settings, projections, report, anew=anew, processes=processes))
    return report.ended(names, done)


SECTIONS = {
    "Run": ("serve", "api", "projector", "scheduler"),
    "Ask and change": ("explain", "tasks", "simulate", "seed"),
    "Check and mend": ("check", "rebuild", "replay", "verify"),
    "Keep and move": ("archive", "export", "import"),
    "Set up": ("migrate", "config", "openapi"),
}
OTHERS = "Others"
# As long as the first sentence of a command may be: wrapped, and not cut off.
SENTENCE = 200


class Sections(click.Group):
    """A group that shows its commands under headings; those of no section come last."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group`."""
        for title, names in self._sections():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, self.commands[name].get_short_help_str(SENTENCE)) for name in names]
                )

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        known = {name for names in SECTIONS.values() for name in names}
        for title, wanted in {**SECTIONS, OTHERS: sorted(self.commands.keys() - known)}.items():
            if names := [name for name in wanted if name in self.commands]:
                yield title, names
