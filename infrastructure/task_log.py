"""`LOG_DIR/tasks.log`: one JSON line an execution, written beside the hot path and never in its way.

Who records makes the lines: the writer's thread, making a hundred of them at a time, would keep the event
loop from the interpreter's lock for a millisecond, and whatever is due then would be late.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

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
        self._complained_at: float | None = None
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
                self._complain(error)
                return False
            self._batch = []
        if self._complained_at is not None:
            self._complained_at = None
            log.warning("the task log is written again", path=str(self._path), dropped=self._dropped)
        return True

    def _complain(self, error: OSError) -> None:
        if self._complained_at is not None and time.monotonic() < self._complained_at + _COMPLAINT_SECONDS:
            return
        self._complained_at = time.monotonic()
        log.error(
            "the task log cannot be written; check the disk and the permissions",
            path=str(self._path),
            error=error.strerror or str(error),
            dropped=self._dropped,
        )

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


class RotatedFile:
    """Appends under a lock on the file itself, so that chunks of several processes never mix.

    Over `max_bytes` it becomes `<name>.1`, the older ones move on, and the one past `backups` is removed.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        # Only its renaming is used: with `delay` it opens nothing, and its buffered stream would keep what a
        # full disk refused.
        self._names = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=backups, delay=True)

    def append(self, chunk: bytes) -> None:
        """Append all of the chunk or nothing of it; the directory is made if need be. Raises OSError."""
        descriptor = self._open_locked()
        try:
            size = os.fstat(descriptor).st_size
            if size == 0 or size + len(chunk) <= self._max_bytes:
                _write_whole(descriptor, chunk, size)
                return
            self._names.doRollover()
        finally:
            os.close(descriptor)
        self.append(chunk)

    def _open_locked(self) -> int:
        """Open and lock the file that has the name: another process may rotate it while this one waits."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o644)


def _write_whole(descriptor: int, chunk: bytes, size: int) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)  # no half lines, whatever a full disk let through
        raise
