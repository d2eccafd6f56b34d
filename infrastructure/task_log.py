"""`LOG_DIR/tasks.log`: one JSON line an execution, written beside the hot path and never in its way.

Who records makes the lines: the writer's thread, making a hundred of them at a time, would keep the event
loop from the interpreter's lock for a millisecond, and whatever is due then would be late.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from infrastructure.rotated_file import RotatedFile

log = structlog.get_logger(__name__)

FILE_NAME = "tasks.log"
MAX_WAITING = 20_000

_MAX_BYTES = 50 * 1024 * 1024
_BACKUPS = 5
_BATCH = 2_000
_GATHER_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_COMPLAINT_SECONDS = 60.0
_ENCODER = msgspec.json.Encoder()


class Line(Struct, frozen=True, kw_only=True):
    """One line: exactly the specification's keys, in its order."""

    timestamp: datetime
    level: Literal["INFO", "ERROR"]
    task_id: UUID
    task_name: str
    execution_time: datetime
    duration_ms: int | None
    status_code: int | None
    success: bool


class TaskLog:
    """Takes executions from the hot path; a thread writes them within 200 ms. Processes may share a file.

    What a full disk or an unwritable directory refuses is tried again every second while there is room to
    keep it (`MAX_WAITING` lines), then dropped: `on_dropped` gets the count, the console's log the reason,
    once a minute.
    """

    def __init__(self, log_dir: Path, *, on_dropped: Callable[[int], object] = lambda _count: None) -> None:
        self._path = log_dir / FILE_NAME
        self._file = RotatedFile(self._path, max_bytes=_MAX_BYTES, backups=_BACKUPS)
        self._on_dropped = on_dropped
        self._waiting: deque[bytes] = deque()
        self._batch: list[bytes] = []
        self._filled = threading.Event()
        self._closing = threading.Event()
        self._dropped = 0
        self._counting = threading.Lock()
        self._trouble = _Trouble(self._path)
        self._writer = threading.Thread(target=self._write_until_closed, name="task-log", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dropped(self) -> int:
        """How many executions are missing in the file."""
        return self._dropped

    def record(
        self,
        *,
        at: datetime,
        task_id: UUID,
        task_name: str,
        execution_time: datetime,
        duration_ms: int | None,
        status_code: int | None,
        success: bool,
    ) -> None:
        """Have an execution written that began at `execution_time` and was over `at`. Never waits."""
        if self._closing.is_set() or len(self._waiting) >= MAX_WAITING:
            self._drop(1)
            return
        line = Line(
            timestamp=at,
            level="INFO" if success else "ERROR",
            task_id=task_id,
            task_name=task_name,
            execution_time=execution_time,
            duration_ms=duration_ms,
            status_code=status_code,
            success=success,
        )
        try:
            self._waiting.append(encoded(line))
        except Exception:  # whatever one line holds, the others are written
            log.exception("an execution cannot be written to the task log")
            self._drop(1)
        else:
            if not self._filled.is_set():
                self._filled.set()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, and stop; what cannot be written in time is dropped."""
        self._closing.set()
        self._filled.set()
        self._writer.join(timeout_seconds)
        if self._writer.is_alive():  # stuck in a write, as on a dead network disk
            self._drop(len(self._batch) + len(self._waiting))

    def _write_until_closed(self) -> None:
        while not self._closing.is_set():
            self._filled.wait()
            self._closing.wait(_GATHER_SECONDS)  # one write for many executions
            self._filled.clear()
            while not self._write_waiting() and not self._closing.wait(_RETRY_SECONDS):
                pass
        if not self._write_waiting():
            self._drop(len(self._batch) + len(self._waiting))

    def _write_waiting(self) -> bool:
        while batch := self._batch or self._next_batch():
            try:
                self._file.append(b"".join(batch))
            except OSError as error:
                self._batch = batch
                self._trouble.arose(error, self._dropped)
                return False
            self._batch = []
        self._trouble.is_over(self._dropped)
        return True

    def _next_batch(self) -> list[bytes]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]

    def _drop(self, count: int) -> None:
        with self._counting:
            self._dropped += count
        self._on_dropped(count)


def encoded(line: Line) -> bytes:
    """The line as JSON with its newline; instants in UTC, text that is not Unicode made so."""
    if not (line.timestamp.tzinfo is line.execution_time.tzinfo is UTC and line.task_name.isascii()):
        line = replace(
            line,
            task_name=line.task_name.encode(errors="replace").decode(),
            timestamp=line.timestamp.astimezone(UTC),
            execution_time=line.execution_time.astimezone(UTC),
        )
    return _ENCODER.encode(line) + b"\n"


class _Trouble:
    """Says on the console that the file cannot be written, at most once a minute, and when it can again."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._told_at = float("-inf")
        self._told = False

    def arose(self, error: OSError, dropped: int) -> None:
        if time.monotonic() < self._told_at + _COMPLAINT_SECONDS:
            return
        self._told, self._told_at = True, time.monotonic()
        log.error(
            "the task log cannot be written; check the disk and the permissions",
            path=self._path,
            error=error.strerror or str(error),
            dropped=dropped,
        )

    def is_over(self, dropped: int) -> None:
        if self._told:
            self._told = False
            log.warning("the task log is written again", path=self._path, dropped=dropped)
