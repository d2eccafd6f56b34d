"""`chronoledger export` and `import` on the command line: what is meant by places, and what is said."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from infrastructure.transfer.format import Manifest, frames
from tests.support.service import PROGRAM
from tests.support.transfers import events, fill

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def log(database: str) -> str:
    """The DSN of a database with some 300 events."""
    asyncio.run(fill(database, 300))
    return database


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command, in a folder of its own."""

    def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={"DATABASE_URL": dsn, "LOG_DIR": str(tmp_path / "logs")},
        )

    return command


def held(path: Path) -> tuple[int | None, int | None]:
    """The first and the last position of an archive."""
    with path.open("rb") as file:
        *_, end = frames(path, file)
    assert isinstance(end.record, Manifest)
    return end.record.first, end.record.last


def test_a_log_is_exported_and_imported_in_two_commands(
    log: str, other_database: str, run: Run, tmp_path: Path
) -> None:
    rows = events(log)
    what = f"{len(rows)} events, from {rows[0][4]} to {rows[-1][4]}"
    exported = run(log, "export", "--out", "log.zst")
    assert (exported.returncode, exported.stdout) == (0, f"{what} in log.zst\n"), exported.stderr
    imported = run(other_database, "import", "log.zst")
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.splitlines()[0] == f"{what} as in log.zst"
    assert imported.stdout.splitlines()[1].startswith("rebuilt tasks, task_results, statistics up to event ")
    assert events(other_database) == rows
    again = run(other_database, "import", "log.zst")
    assert again.stdout.splitlines()[0] == f"{what} as in log.zst; {len(rows)} were there"


def test_places_are_positions_or_instants_and_are_within(log: str, run: Run, tmp_path: Path) -> None:
    rows = events(log)
    instants = sorted({row[5] for row in rows})
    second, last = instants[1], instants[-2]
    first_of_second = next(row[4] for row in rows if row[5] == second)
    last_of_last = [row[4] for row in rows if row[5] == last][-1]
    for name, first, until, expected in (
        ("at", second.isoformat(), last.isoformat(), (first_of_second, last_of_last)),
        ("between", (second - timedelta(microseconds=1)).isoformat(), "250", (first_of_second, 250)),
        ("positions", "7", str(rows[-1][4]), (7, rows[-1][4])),
        ("ever", "0001-01-01T00:00:00Z", "1", (1, 1)),
    ):
        exported = run(log, "export", "--out", f"{name}.zst", "--from", first, "--to", until)
        assert exported.returncode == 0, exported.stderr
        assert "This is a part of a log (from event " in exported.stdout
        assert held(tmp_path / f"{name}.zst") == expected, name


def test_what_cannot_be_done_is_told(log: str, other_database: str, run: Run, tmp_path: Path) -> None:
    for place in ("yesterday", "-1", "0", "2026-01-01T00:00:00"):
        refused = run(log, "export", "--out", "a.zst", "--to", place)
        assert refused.returncode == 2
        assert "neither a position of the log" in refused.stderr
    late = run(log, "export", "--out", "a.zst", "--from", "2999-01-01T00:00:00Z")
    assert late.returncode == 1
    assert "give an earlier one" in late.stderr
    unknown = run(log, "export", "--out", "a.zst", "--task", "00000000-0000-0000-0000-000000000007")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "there is no task 00000000-0000-0000-0000-000000000007 in the log" in unknown.stderr
    for first, until in (("9", "3"), ("2026-01-02T00:00:00Z", "2026-01-02T00:00:00+01:00")):
        behind = run(log, "export", "--out", "a.zst", "--from", first, "--to", until)
        assert behind.returncode == 2
        assert "--from lies behind --to" in behind.stderr
    assert list(tmp_path.glob("a.zst*")) == []
    nobodys = run(log, "export", "--out", "a.zst", "--namespace", "nobody's")
    assert (nobodys.returncode, nobodys.stdout) == (1, "")
    assert 'there is no task of the namespace "nobody\'s" in the log' in nobodys.stderr
    assert list(tmp_path.glob("a.zst*")) == []
    latest = str(events(log, "topic = 'task.created.v1'")[-1][0])
    exported = run(log, "export", "--out", "part.zst", "--task", latest, "--to", "1")
    assert exported.stdout.splitlines()[0] == "no events in part.zst"
    partial = run(other_database, "import", "part.zst")
    assert partial.returncode == 1
    [sentence] = partial.stderr.splitlines()
    assert sentence.endswith(f"(task {latest}, to event 1): add --partial to make a log of that part alone")
    assert run(other_database, "import", "part.zst", "--partial").returncode == 0
    (tmp_path / "text.zst").write_text("text")
    damaged = run(other_database, "import", "text.zst")
    assert damaged.returncode == 1
    assert "text.zst is no zstd file" in damaged.stderr
