"""What `make benchmark` measures with: the sink, the lag of the read models, /proc, requests and tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import http_load, load, processes, usage
from benchmarks.lag import lags
from benchmarks.scenarios import SCENARIOS
from benchmarks.sink import Calls

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_an_event_lags_until_the_first_telling_that_covers_it() -> None:
    events = [(1, 10.0), (2, 10.0), (3, 10.5), (9, 11.0)]
    shown = [(10.02, 1), (10.1, 2), (10.6, 8)]

    assert lags(events, shown) == pytest.approx([20.0, 100.0, 100.0])


def test_the_sink_tells_lateness_and_what_came_twice() -> None:
    calls = Calls()
    due = load.microseconds(NOON)
    for late_ms, path, key in ((1, due, "a"), (3, due, "b"), (-2, due, "b"), (9, "cron", "c")):
        calls.at.append(NOON.timestamp() + late_ms / 1_000)
        calls.heads.append(f"GET /{path} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n\r\n".encode())

    told = calls.told()

    assert (told.calls, told.timed, told.executions, told.duplicates, told.early) == (4, 3, 2, 1, 1)
    assert told.p50_ms == pytest.approx(1.0, abs=0.01)
    assert told.max_ms == pytest.approx(3.0, abs=0.01)
    calls.forget()
    assert calls.told().calls == 0


def test_calls_without_a_key_repeat_nothing() -> None:
    calls = Calls()
    calls.at.extend((1.0, 2.0))
    calls.heads.extend([b"GET /1 HTTP/1.1\r\n\r\n"] * 2)

    assert (calls.told().executions, calls.told().duplicates) == (0, 0)


def test_a_request_goes_over_the_wire_with_its_length() -> None:
    wire = http_load.request("POST", "http://localhost:1/a/b?c=d", {"e": 1}, {"Prefer": "respond-async"})

    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /a/b?c=d HTTP/1.1"
    assert body == b'{"e":1}'
    fields = {b"Host: localhost:1", b"Content-Length: 7", b"Content-Type: application/json"}
    assert set(head.splitlines()[1:]) == fields | {b"Prefer: respond-async"}


def test_cpu_time_is_that_of_a_whole_tree_with_what_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "PROC", tmp_path)
    monkeypatch.setattr(usage, "TICKS_PER_SECOND", 100)
    # pid, name, parent; ticks of user and system, and of children that have ended.
    for pid, name, parent, ticks in (
        (10, "postgres", 1, "100 50 30 20"),
        (11, "a) S (b", 10, "7 0 0 0"),
        (12, "grandchild", 11, "0 3 0 0"),
        (13, "stranger", 1, "900 0 0 0"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {'0 ' * 9}{ticks} 20 0\n")
    (tmp_path / "self").mkdir()

    assert usage.cpu_seconds(10) == pytest.approx(2.1)
    assert usage.cpu_seconds(99) == 0.0
    assert usage.tree(10) == [10, 11, 12]
    assert usage.parent_of(12) == 11


def test_memory_is_read_with_and_without_what_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "PROC", tmp_path)
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "status").write_text("Name:\tx\nVmRSS:\t  4096 kB\n")

    assert usage.resident_mib(10) == 4.0
    assert usage.proportional_mib(10) == 4.0

    (tmp_path / "10" / "smaps_rollup").write_text("0-1 [rollup]\nPss:  3072 kB\nPss_Shmem:  1024 kB\n")

    assert usage.proportional_mib(10) == 3.0
    assert usage.proportional_mib(10, shared_memory=False) == 2.0


def test_crons_are_spread_over_the_day_and_due_after_now() -> None:
    planned = list(load.crons("http://localhost", 4, NOON))

    assert [one.definition.trigger.cron for one in planned] == [  # type: ignore[union-attr]
        "0 0 0 * * *",
        "0 0 6 * * *",
        "0 0 12 * * *",
        "0 0 18 * * *",
    ]
    hours = [one.first - NOON for one in planned]
    assert hours == [timedelta(hours=12), timedelta(hours=18), timedelta(hours=24), timedelta(hours=6)]


def test_every_scenario_is_described() -> None:
    page = (processes.ROOT / "docs/performance.md").read_text()

    described = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| *")]
    assert described == [f"*{name}*" for name in SCENARIOS]
