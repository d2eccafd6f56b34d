"""What must hold however the log is cut into batches."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from application.ports import NewFact, Recorded
from domain.facts import EventsRedacted, ExecutionSkipped, TaskCreated
from domain.redaction import erased
from infrastructure.event_store.mapper import FACT_TYPES
from projections import statistics, task_results, tasks
from projections.task_results import ResultRow
from projections.tasks import TaskRow
from tests.support.entries import log as recorded
from tests.support.entries import redaction
from tests.support.random_log import RandomLog

SEEDS = st.integers(0, 2**32)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=10)


def in_batches(log: list[Recorded], sizes: list[int]) -> list[list[Recorded]]:
    batches: list[list[Recorded]] = []
    place = 0
    while place < len(log):
        size = sizes[len(batches) % len(sizes)]
        batches.append(log[place : place + size])
        place += size
    return batches


def folded_tasks(batches: list[list[Recorded]]) -> tuple[dict[UUID, TaskRow], Counter[tuple[str, str]]]:
    rows: dict[UUID, TaskRow] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        erased = {entry.fact.task_id for entry in batch if isinstance(entry.fact, EventsRedacted)}
        known = {
            task_id: row if task_id in erased else replace(row, definition=None)
            for task_id, row in rows.items()
        }
        changes = tasks.fold(known, batch)
        for task_id, row in changes.rows.items():
            kept = row.definition or rows[task_id].definition
            rows[task_id] = replace(row, definition=kept)
        counts.update(changes.counts)
    return rows, counts


@settings(max_examples=60, deadline=None)
@given(SEEDS, CUTS)
def test_tasks_do_not_depend_on_the_batches(seed: int, sizes: list[int]) -> None:
    log = recorded(*RandomLog(seed).grow(150))
    whole, cut = folded_tasks([log]), folded_tasks(in_batches(log, sizes))
    assert whole == cut
    assert whole[1].keys() == cut[1].keys()


@settings(max_examples=60, deadline=None)
@given(SEEDS, CUTS)
def test_results_do_not_depend_on_the_batches(seed: int, sizes: list[int]) -> None:
    log = recorded(*RandomLog(seed).grow(150))
    rows: dict[UUID, ResultRow] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for batch in in_batches(log, sizes):
        changes = task_results.fold(rows, batch)
        rows |= changes.rows
        counts.update(changes.counts)
    whole = task_results.fold({}, log)
    assert (whole.rows, whole.counts) == (rows, counts)
    assert whole.counts.keys() == counts.keys()


@settings(max_examples=60, deadline=None)
@given(SEEDS, CUTS)
def test_statistics_do_not_depend_on_the_batches(seed: int, sizes: list[int]) -> None:
    log = recorded(*RandomLog(seed).grow(150))
    totals: Counter[tuple[str, str]] = Counter()
    minutes: Counter[datetime] = Counter()
    opened: dict[UUID, datetime] = {}
    for batch in in_batches(log, sizes):
        tally = statistics.fold(opened, batch)
        totals.update(tally.totals)
        minutes.update(tally.minutes)
        for execution_id in tally.closed:
            del opened[execution_id]
        opened |= tally.opened
    whole = statistics.fold({}, log)
    assert (whole.totals, whole.minutes, whole.opened) == (totals, minutes, opened)
    assert whole.totals.keys() == totals.keys()


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_counts_are_those_of_the_rows(seed: int) -> None:
    log = recorded(*RandomLog(seed).grow(150))
    rows, counts = folded_tasks([log])
    assert +counts == Counter((row.namespace, row.status) for row in rows.values())
    results = task_results.fold({}, log)
    assert +results.counts == Counter((row.namespace, row.status) for row in results.rows.values())
    over = [row for row in results.rows.values() if row.status not in {"running", "pending"}]
    outcomes = Counter(row.status for row in over)
    outcomes["skipped"] = sum(isinstance(entry.fact, ExecutionSkipped) for entry in log)
    totals = statistics.fold({}, log).totals
    assert +outcomes == Counter(
        {outcome: total for (metric, outcome), total in totals.items() if metric == "executions"}
    )


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_answer_shown_is_that_of_the_last_attempt(seed: int) -> None:
    rows = task_results.fold({}, recorded(*RandomLog(seed).grow(150))).rows
    for row in rows.values():
        last = row.attempt_log[-1] if row.attempt_log else None
        assert (row.status_code, row.duration_ms) == (
            (last.status_code, last.duration_ms) if last else (None, None)
        )
        assert (row.success is None) == (row.status not in ("succeeded", "failed"))
        assert (row.lease_until is None and row.retry_at is None) == (row.status != "running")


def test_the_random_log_has_every_kind_of_fact() -> None:
    kinds = {type(new.fact) for new in RandomLog(9).grow(2_000)}
    assert kinds == set(FACT_TYPES)


def erasures(facts: list[NewFact], chosen: set[UUID]) -> list[NewFact]:
    """What tells of the rewriting of these streams."""
    of_tasks = [new.stream for new in facts if isinstance(new.fact, TaskCreated) and new.stream in chosen]
    return [redaction(*chosen), *(redaction(task_id, task_id=task_id) for task_id in of_tasks)]


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_a_fold_of_the_rewritten_log_comes_to_the_rows_of_the_redacted_one(seed: int) -> None:
    facts = RandomLog(seed).grow(300)
    streams = sorted({new.stream for new in facts})
    chosen = set(random.Random(seed).sample(streams, len(streams) // 2))
    rewritten = [
        NewFact(new.stream, new.version, erased(new.fact)) if new.stream in chosen else new for new in facts
    ]
    told = erasures(facts, chosen)
    for fold in (tasks.fold, task_results.fold, statistics.fold):
        assert fold({}, recorded(*rewritten, *told)) == fold({}, recorded(*facts, *told))
