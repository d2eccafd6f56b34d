"""The receiver as a process of its own, as tests that kill the service use it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from uuid import uuid4

from infrastructure.http_caller.caller import AiohttpCaller
from tests.support.attempts import DEADLINE_SECONDS, StoppedClock, answered, get, making
from tests.support.exchanging import called

ROOT = Path(__file__).parents[2]


async def test_a_receiver_of_its_own_process_counts_what_arrived(tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "tests.support.receiver", "--port", "0", "--log", str(log)],
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            port = int(await process.stdout.readline())
        key, action = uuid4(), get(f"http://127.0.0.1:{port}/flaky/2")
        async with AiohttpCaller(clock=StoppedClock()) as caller:
            statuses = [answered(await called(caller, making(action, n, key))).status_code for n in (1, 2, 3)]
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
    assert statuses == [503, 503, 200]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["headers"]["x-chronoledger-attempt"] for line in lines] == ["1", "2", "3"]
    assert {line["headers"]["idempotency-key"] for line in lines} == {str(key)}
