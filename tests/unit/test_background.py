"""What runs in the background ends with the foreground, or is told to have ended before."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from interfaces.bootstrap.services import background


async def test_what_fails_in_the_background_is_told_when_it_does() -> None:
    failing = asyncio.Event()

    async def work() -> None:
        await failing.wait()
        raise LookupError("broken")

    with capture_logs() as logs, contextlib.suppress(LookupError):
        async with background(work()):
            assert logs == []
            failing.set()
            async with asyncio.timeout(10):
                while not logs:
                    await asyncio.sleep(0)
            assert isinstance(logs[0]["exc_info"], LookupError)


@pytest.mark.parametrize("forever", [True, False])
async def test_what_ends_in_time_is_not_told(*, forever: bool) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        if forever:
            await asyncio.Event().wait()

    with capture_logs() as logs:
        async with background(work()):
            await begun.wait()
    assert logs == []
