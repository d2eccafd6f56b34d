"""`chronoledger tasks` on a real log: what is exported can be imported, here and elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from uuid_utils.compat import uuid7

from infrastructure.event_store import log as task_streams
from infrastructure.event_store.log import PostgresTaskStreams, recorded
from infrastructure.event_store.mapper import encode
from infrastructure.postgres import pool
from tests.support.entries import META
from tests.support.given import created
from tests.support.service import PROGRAM
from tests.support.transfers import events, fill

type Run = Callable[..., subprocess.CompletedProcess[str]]


FILE = """
tasks:
  - name: Nightly report
    trigger: {type: cron, cron: 0 3 * * *, timezone: Europe/Berlin}
    action: {method: POST, url: http://127.0.0.1:9/report, payload: {kind: full}}
  - name: Ping
    trigger: {type: interval, every_seconds: 90}
    action: {method: GET, url: http://127.0.0.1:9/ping}
    paused: true
"""


@pytest.fixture
def run(database: str, tmp_path: Path) -> Run:
    """A command on the database of the test, in a folder of its own."""

    def command(*arguments: str, stdin: str = "", dsn: str = database) -> subprocess.CompletedProcess[str]:
        environment = {
            "DATABASE_URL": dsn,
            "VISIBILITY_TIMEOUT_SECONDS": "0.1",
            "LOG_DIR": str(tmp_path / "logs"),
        }
        return subprocess.run(
            [PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env=environment,
        )

    return command


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return path.name


def test_what_is_exported_changes_nothing_and_makes_the_same_elsewhere(
    run: Run, database: str, other_database: str, tmp_path: Path
) -> None:
    created = run("tasks", "import", written(tmp_path / "tasks.yaml", FILE))
    assert created.returncode == 0, created.stderr
    assert created.stdout.splitlines() == [
        "+ Nightly report",
        "+ Ping",
        "2 to create",
        "Done: 2 created.",
        "Lists show it once a projector has caught up.",
    ]
    before = events(database)
    for options in ([], ["--json"]):
        exported = run("tasks", "export", *options)
        name = written(tmp_path / ("again.json" if options else "again.yaml"), exported.stdout)
        assert run("tasks", "import", name, "--prune").stdout == "2 unchanged\n"
        assert run("tasks", "import", "-", stdin=exported.stdout).stdout == "2 unchanged\n"
    assert events(database) == before
    assert run("tasks", "import", "again.yaml", dsn=other_database).returncode == 0
    assert run("tasks", "export", dsn=other_database).stdout == run("tasks", "export").stdout


def test_a_wrong_entry_is_told_and_nothing_done_unless_that_is_asked_for(
    run: Run, database: str, tmp_path: Path
) -> None:
    name = written(tmp_path / "tasks.yaml", FILE.replace("every_seconds: 90", "every_seconds: 0"))
    refused = run("tasks", "import", name)
    assert refused.returncode == 1
    assert "line 7, /trigger/every_seconds:" in refused.stdout
    assert refused.stdout.endswith("1 to create, 1 wrong\nNothing was done.\n")
    assert events(database) == []
    assert run("tasks", "import", name, "--keep-going").returncode == 1
    assert [row[2] for row in events(database)] == ["task.created.v1"]


def test_a_dry_run_says_what_would_be_done(run: Run, database: str, tmp_path: Path) -> None:
    shown = run("tasks", "import", written(tmp_path / "tasks.yaml", FILE), "--dry-run")
    assert (shown.returncode, shown.stdout) == (
        0,
        "+ Nightly report\n+ Ping\n2 to create\nNothing was done.\n",
    )
    assert events(database) == []


def test_pruning_asks_first(run: Run, database: str, tmp_path: Path) -> None:
    run("tasks", "import", written(tmp_path / "tasks.yaml", FILE))
    fewer = written(tmp_path / "fewer.yaml", FILE.partition("  - name: Ping")[0])
    before = events(database)
    asked = run("tasks", "import", fewer, "--prune", stdin="n\n")
    assert asked.returncode == 1
    assert "- Ping (" in asked.stdout
    assert events(database) == before
    assert run("tasks", "import", fewer, "--prune", "--yes", "--reason", "Ticket 7").returncode == 0
    [cancelled] = events(database)[len(before) :]
    assert cancelled[2] == "task.cancelled.v1"
    assert b'"reason":"Ticket 7"' in cancelled[3]


def test_a_file_that_names_a_task_twice_or_holds_none_is_refused(run: Run, tmp_path: Path) -> None:
    none = run("tasks", "import", written(tmp_path / "none.yaml", "tasks: 1"))
    assert none.returncode == 1
    assert "none.yaml: there is no list of tasks" in none.stderr
    twice = run("tasks", "import", written(tmp_path / "twice.yaml", FILE.replace("Ping", "Nightly report")))
    assert twice.returncode == 1
    assert "is declared at tasks[0] (line 3), too" in twice.stdout


def test_pruning_says_when_it_cannot_ask_and_when_it_prunes_nothing(run: Run, database: str) -> None:
    assert run("tasks", "import", "-", stdin=FILE).returncode == 0
    one = FILE.replace("Ping", "Pong")
    unasked = run("tasks", "import", "-", "--prune", stdin=one)
    assert unasked.returncode == 1
    assert "nobody there can be asked: add --yes" in unasked.stderr
    before = len(events(database))
    wrong = run("tasks", "import", "-", "--prune", "--keep-going", "--yes", stdin=f"{FILE}  - name: Bad\n")
    assert wrong.returncode == 1
    assert "Nothing is pruned while an entry is wrong." in wrong.stdout
    assert len(events(database)) == before


CRONTAB = """CRON_TZ=Europe/Berlin
*/5 * * * * curl -fsS -m 10 http://127.0.0.1:9/ping?key=1 >/dev/null 2>&1
@reboot curl http://127.0.0.1:9/up
"""


def test_a_crontab_is_taken_over_once(run: Run, database: str, tmp_path: Path) -> None:
    name = written(tmp_path / "crontab", CRONTAB)
    left_out = "? line 3 is left out: @reboot is no schedule that a task could have\n"
    first = run("tasks", "import", "--crontab", name)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{left_out}+ 127.0.0.1:9/ping\n1 to create\nDone: 1 created.\n")
    assert run("tasks", "import", "--crontab", name).stdout == f"{left_out}1 unchanged\n"
    assert len(events(database)) == 1
    doubled = CRONTAB + CRONTAB.splitlines()[1].replace("ping", "ping?twice") + "\n"
    beside = run("tasks", "import", "--crontab", written(tmp_path / "doubled", doubled))
    assert "1 to create, 1 unchanged\n" in beside.stdout
    alone = run("tasks", "import", "--crontab", "--dry-run", name)
    assert "stands for no line, and goes on: cancel it" in alone.stdout
    assert "1 unchanged\nNothing was done.\n" in alone.stdout
    unzoned = run("tasks", "import", "--crontab", written(tmp_path / "unzoned", CRONTAB.split("\n", 1)[1]))
    assert "1 line without CRON_TZ: taken in UTC (DEFAULT_TIMEZONE)\n" in unzoned.stdout
    assert run("tasks", "import", "--crontab", "--prune", name).returncode == 2
    latin = tmp_path / "latin"
    latin.write_bytes(b"# \xe4")
    refused = run("tasks", "import", "--crontab", "latin")
    assert refused.returncode == 1
    assert "byte 2 is not UTF-8" in refused.stderr


def test_an_export_names_the_tasks_that_share_a_name(run: Run, database: str) -> None:
    state = encode(created(), META)
    with psycopg.connect(database) as connection:
        for _ in range(2):
            connection.execute(
                "INSERT INTO events (originator_id, originator_version, topic, state) VALUES (%s, 1, %s, %s)",
                (uuid7(), "task.created.v1", state),
            )
    refused = run("tasks", "export")
    assert refused.returncode == 1
    ids = [str(row[0]) for row in events(database)]
    assert f'are called "report" ({", ".join(sorted(ids))}): rename all but one' in refused.stderr


async def test_streams_of_tasks_come_whole_whatever_falls_on_the_border_of_a_page(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, 300)
    rows = [(row[4], *row[:4], row[5]) for row in sorted(events(database), key=lambda row: (row[0], row[1]))]
    of_tasks = [recorded(row) for row in rows if 1 << 80 <= row[1].int < 1 << 127]
    assert of_tasks
    for page in (1, 2, 7, 1_000):
        monkeypatch.setattr(task_streams, "PAGE_EVENTS", page)
        async with pool(database, 1) as connections:
            found = [stream async for stream in PostgresTaskStreams(connections).tasks()]
        assert [event for stream in found for event in stream] == of_tasks
        assert all(len({event.stream for event in stream}) == 1 for stream in found)
        assert len({stream[0].stream for stream in found}) == len(found)
