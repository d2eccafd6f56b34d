"""Keeping trouble with one task apart from all the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from application.ports import LogUnavailable, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from uuid import UUID

log = logging.getLogger(__name__)


async def apart(what: str, subject: UUID, work: Awaitable[object]) -> bool:
    """Whether the work on one task or execution went well; what was unexpected about it is logged.

    An outage concerns all of them: its `LogUnavailable` goes through.
    """
    try:
        await work
    except Unreadable as error:
        log.error("%s %s: %s", what, subject, error)  # noqa: TRY400  # the sentence says it all
    except LogUnavailable:
        raise
    except Exception:
        log.exception("%s %s", what, subject)
    else:
        return True
    return False
