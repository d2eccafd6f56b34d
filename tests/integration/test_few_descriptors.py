"""More calls due than a process may open connections: none fails for that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import pytest

from infrastructure.settings import Settings
from interfaces.bootstrap.services import possible_concurrency
from tests.support.receiver import Receiver

DESCRIPTORS = 256
CALLS = 600


@pytest.mark.parametrize(
    ("at_once", "runs_out"), [(possible_concurrency(Settings(), DESCRIPTORS), False), (4_000, True)]
)
async def test_no_call_fails_for_want_of_descriptors(at_once: int, *, runs_out: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(Receiver(host=f"127.0.0.{n}")) for n in range(2, 8)]
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.few_descriptors", f"{DESCRIPTORS}", f"{at_once}"),
            *(f"{CALLS}", *[host.url("/slow/0.5") for host in hosts]),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await program.communicate()
        told = json.loads(output)
        assert told["brought"] == {"200": CALLS}
        assert (told["no_room"] > 0) is runs_out
        assert sum(len(host.calls) for host in hosts) == CALLS, "each was sent once"
