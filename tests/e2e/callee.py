"""The server that tasks call: the recording receiver in a process that outlives every service."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from tests.support.misbehaviour import Call
from tests.support.service import until

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


class Callee:
    """Paths are the receiver's; a query (`/ok?test=1`) tells the calls of one test from those of another."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "calls.jsonl"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.receiver", "--port", "0", "--log", str(self._log)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self._port}{path}"

    def calls(self, path: str) -> list[Call]:
        """What has arrived for paths that begin like this, in order."""
        lines = self._log.read_bytes().split(b"\n")[:-1]
        return [
            call for line in lines if (call := msgspec.json.decode(line, type=Call)).path.startswith(path)
        ]

    def wait_for(self, path: str, count: int = 1, *, seconds: float = 60) -> list[Call]:
        """The calls for a path once there are so many."""
        until(lambda: len(self.calls(path)) >= count, f"{count} calls of {path} arrive", seconds=seconds)
        return self.calls(path)


def attempts(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
    """How often each attempt of each execution arrived."""
    return Counter(
        (call.headers["idempotency-key"], call.headers["x-chronoledger-attempt"]) for call in calls
    )


def executions(calls: Sequence[Call]) -> Counter[str]:
    """How often each execution called."""
    return Counter(call.headers["idempotency-key"] for call in calls)
