import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from infrastructure.task_log import FILE_NAME, MAX_WAITING, RotatedFile, TaskLog
from tests.support.project_files import ROOT

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
EXECUTION: dict[str, Any] = {
    "at": NOON + timedelta(milliseconds=250),
    "task_id": UUID(int=7),
    "task_name": "Website Health Check",
    "execution_time": NOON,
    "duration_ms": 250,
    "status_code": 200,
    "success": True,
}


def record(log: TaskLog, **changes: Any) -> None:
    log.record(**{**EXECUTION, **changes})


def lines(log_dir: Path) -> list[str]:
    path = log_dir / FILE_NAME
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            '{"timestamp":"2025-01-01T12:00:00.250000Z","level":"INFO",'
            '"task_id":"00000000-0000-0000-0000-000000000007","task_name":"Website Health Check",'
            '"execution_time":"2025-01-01T12:00:00Z","duration_ms":250,"status_code":200,"success":true}',
        ),
        (
            {
                "at": NOON.astimezone(timezone(timedelta(hours=5))),
                "task_name": 'a\n"b"\udc80\x00',
                "success": False,
                "status_code": None,
                "duration_ms": None,
            },
            '{"timestamp":"2025-01-01T12:00:00Z","level":"ERROR",'
            '"task_id":"00000000-0000-0000-0000-000000000007","task_name":"a\\n\\"b\\"?\\u0000",'
            '"execution_time":"2025-01-01T12:00:00Z","duration_ms":null,"status_code":null,"success":false}',
        ),
    ],
    ids=["a success", "a failure in another zone with a strange name"],
)
def test_a_line_has_the_specifications_keys_in_its_order(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    with TaskLog(tmp_path / "made" / "on demand") as log:
        record(log, **changes)
    assert lines(tmp_path / "made" / "on demand") == [line]


def test_lines_are_written_in_order_while_the_log_is_open_and_as_it_closes(tmp_path: Path) -> None:
    with TaskLog(tmp_path) as log:
        record(log, duration_ms=0)
        eventually(lambda: len(lines(tmp_path)) == 1)
        (tmp_path / FILE_NAME).rename(tmp_path / "moved away")
        for number in range(5_000):
            record(log, duration_ms=number)
    assert [json.loads(line)["duration_ms"] for line in lines(tmp_path)] == list(range(5_000))
    assert log.dropped == 0
    record(log)
    assert log.dropped == 1


def test_a_line_that_cannot_be_encoded_is_dropped_alone(tmp_path: Path) -> None:
    with capture_logs() as said, TaskLog(tmp_path) as log:
        record(log, task_name=object())
        record(log)
    assert (len(lines(tmp_path)), log.dropped) == (1, 1)
    assert [entry["log_level"] for entry in said] == ["error"]


def test_what_waits_is_written_when_the_directory_is_writable_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("")
    with capture_logs() as said, TaskLog(in_the_way) as log:
        record(log)
        eventually(lambda: said)
        in_the_way.unlink()
        eventually(lambda: lines(in_the_way))
        eventually(lambda: len(said) == 2)
    assert [entry["log_level"] for entry in said] == ["error", "warning"]
    assert log.dropped == 0


def test_what_cannot_be_written_stops_nothing_and_is_dropped_beyond_a_bound(tmp_path: Path) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("a file where the directory should be")
    dropped: list[int] = []
    with capture_logs() as said:
        log = TaskLog(in_the_way, on_dropped=dropped.append)
        record(log)
        eventually(lambda: said)  # one line is in the writer's hands now
        for _ in range(MAX_WAITING + 5):
            record(log)
        assert log.dropped == 5
        log.close()
    assert log.dropped == sum(dropped) == MAX_WAITING + 6
    [complaint] = said
    assert (complaint["log_level"], complaint["path"]) == ("error", str(in_the_way / FILE_NAME))
    assert complaint["error"]


def test_a_full_file_is_rotated_and_old_ones_are_removed(tmp_path: Path) -> None:
    file = RotatedFile(tmp_path / "x.log", max_bytes=10, backups=2)
    for chunk in (b"1234567\n", b"a\n", b"b\n", b"longer than the limit\n", b"c\n"):
        file.append(chunk)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "x.log": b"c\n",
        "x.log.1": b"longer than the limit\n",
        "x.log.2": b"b\n",
    }


WRITER = """
import sys
from pathlib import Path
from infrastructure.task_log import RotatedFile
file = RotatedFile(Path(sys.argv[1]) / "x.log", max_bytes=20_000, backups=1_000)
for number in range(400):
    file.append(f"{sys.argv[2]} {number} {'x' * 100}\\n".encode() * 3)
"""


def test_processes_that_share_a_file_lose_and_mix_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=ROOT) for name in "abc"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    files = list(tmp_path.iterdir())
    written = [line for file in files for line in file.read_text().splitlines()]
    expected = [f"{name} {number} {'x' * 100}" for name in "abc" for number in range(400) for _ in range(3)]
    assert sorted(written) == sorted(expected)
    assert len(files) > 10


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from infrastructure.task_log import RotatedFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (15, resource.RLIM_INFINITY))
file = RotatedFile(Path(sys.argv[1]), max_bytes=1_000, backups=1)
file.append(b"one line\\n")
try:
    file.append(b"another line\\n")
except OSError:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    file.append(b"a third\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stands in for a full disk by a limit that Linux has")
def test_a_disk_that_fills_up_in_the_middle_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], cwd=ROOT, check=True, timeout=60)
    assert path.read_bytes() == b"one line\na third\n"
