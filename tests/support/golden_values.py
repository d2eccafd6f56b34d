"""What the facts of the golden files are made of: definitions, occurrences, attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import replace

from application.ports import Meta
from domain.definition import (
    Action,
    CatchUp,
    Cron,
    Definition,
    Interval,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.facts import (
    Answered,
    Attempt,
    Occurrence,
    Unanswered,
)

TASK = UUID("0192f0c1-7a10-7c3e-9d2b-5f4a6b7c8d9e")
EXECUTION = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8c9")
META = Meta(
    actor="api",
    correlation_id="4bf92f3577b34da6a3ce929d0e0e4736",
    command_id=UUID("0192f0c1-7a0f-7d01-8e02-a1b2c3d4e5f6"),
)
ASKED = replace(
    META,
    actor="anonymous",
    address="2001:db8::17",
    reason='Umzug \N{EM DASH} "Ticket 4711" \\ Søren \N{ROCKET}',
)
DUE = datetime(2024, 11, 3, 8, 30, tzinfo=UTC)
AT = datetime(2024, 11, 3, 8, 29, 59, 987654, tzinfo=UTC)
LEASE = AT + timedelta(seconds=45)
NEXT = DUE + timedelta(days=1)

ONE_OFF = Definition(
    name="Rechnung an Søren \N{EURO SIGN} 1,50 \N{ROCKET}",
    trigger=OneOff(datetime=DUE, timezone="Europe/Copenhagen"),
    action=Action(
        method="POST",
        url="https://billing.example.com/invoices?dry=false&tag=%C3%A9",
        headers={"Authorization": "Bearer s3cr3t", "X-Trace": '"quoted" \\ and / slashed'},
        payload={
            "amount": 1.5,
            "lines": [1, -2, 3.25, True, None, ""],
            "big": 123456789012345678901234567890,
            "nested": {"a": {"b": []}},
            "control": "tab\tnewline\nnul\x00end",
        },
        timeout_seconds=12.5,
    ),
    retry=RetryPolicy(max_attempts=5, initial_delay_seconds=0.5, multiplier=3.0, max_delay_seconds=60.0),
)
NIGHTLY = Definition(
    name="nightly report",
    trigger=Cron(cron="30 8 * * mon-fri", timezone="America/New_York"),
    action=Action(method="GET", url="http://reports.internal:8080/run"),
)
HEARTBEAT = Definition(
    name="heartbeat",
    trigger=Interval(
        every_seconds=90,
        anchor=DUE,
        timezone="Europe/Copenhagen",
        start_at=DUE,
        end_at=DUE + timedelta(days=365),
        max_runs=1000,
        jitter_seconds=2.5,
    ),
    action=Action(method="HEAD", url="https://billing.example.com/alive"),
)
CAREFUL = Definition(
    name="careful",
    trigger=Cron(cron="*/5 * * * *", timezone="UTC"),
    action=Action(
        method="POST", url="https://ledger.example.com/close", connect_timeout_seconds=2.5, max_redirects=3
    ),
    retry=RetryPolicy(
        backoff="linear",
        jitter="full",
        max_elapsed_seconds=600.0,
        statuses=("404", "5xx"),
        final_statuses=("501",),
        max_retry_after_seconds=3600.0,
        on_gone="stop",
        disable_after_failures=5,
    ),
    success=SuccessPolicy(
        statuses=("200", "202"),
        body_contains="close\u00e9",
        json=JsonCondition(pointer="/state/0", equals={"done": True}),
    ),
    catch_up=CatchUp(mode="all", window_seconds=86_400, max_runs=12),
    overlap=Overlap(mode="queue_all", max_running=2, max_queued=20),
    delivery="at_most_once",
    priority=2,
)
OCCURRENCE = Occurrence(
    task_id=TASK, task_version=3, task_name="nightly report", namespace="default", due_at=DUE
)
DELAYED = Occurrence(
    task_id=TASK,
    task_version=3,
    task_name="heartbeat",
    namespace="default",
    due_at=DUE,
    fire_at=DUE + timedelta(seconds=1.75),
    run=8,
)
BY_HAND = replace(OCCURRENCE, kind="manual")
SUCCESS = Attempt(
    number=1,
    started_at=DUE + timedelta(microseconds=412),
    duration_ms=87,
    answer=Answered(
        status_code=200,
        headers={"content-type": "application/json", "set-cookie": "a=1, b=2"},
        body='{"ok":true,"name":"S\N{LATIN SMALL LETTER O WITH STROKE}ren"}\r\n',
    ),
)
CUT = Attempt(
    number=2,
    started_at=DUE,
    duration_ms=30_000,
    answer=Answered(status_code=503, headers={}, body="\N{REPLACEMENT CHARACTER}" * 3, truncated=True),
)
SILENCE = Attempt(
    number=3,
    started_at=DUE,
    duration_ms=5_003,
    answer=Unanswered(error="No connection to reports.internal:8080: connection refused."),
)

UNSENT = Attempt(
    number=1,
    started_at=DUE,
    duration_ms=3,
    answer=Unanswered(error="No connection to reports.internal:8080: connection refused.", sent=False),
)
OTHER = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8ca")
