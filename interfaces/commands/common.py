"""What commands share: the settings in force, and how an error ends a command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from interfaces import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interfaces.bootstrap import Settings

DOTENV = Path(".env")

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
    """Those in force; unless told otherwise, logs begin by them, with a warning for what looks wrong."""
    found = bootstrap.load(os.environ, DOTENV)
    if logs:
        bootstrap.configure(found, role)
    for warning in found.warnings if logs and warn else ():
        log.warning(warning)
    return found
