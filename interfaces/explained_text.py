"""Explanations on the command line: what may be asked, and how the answer is printed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click
import msgspec
from msgspec import Struct

from application.explanation import wording
from application.explanation.account import EARLIEST, LATEST
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from application.explanation.account import Event, Explanation, Rule, Statement


class OfTask(Struct, frozen=True):
    """An instant of a task, or (`at` None) where it stands."""

    task_id: UUID
    at: datetime | None


class OfExecution(Struct, frozen=True):
    """What became of an execution."""

    execution_id: UUID


def question(task_id: UUID | None, at: str | None, execution_id: UUID | None) -> OfTask | OfExecution:
    """What is asked. Raises `click.UsageError`, which says what to give."""
    if execution_id is not None:
        if task_id is not None or at is not None:
            raise click.UsageError("--execution stands alone: leave TASK_ID and --at out.")
        return OfExecution(execution_id)
    if task_id is None:
        raise click.UsageError("Give the id of a task, or --execution with the id of an execution.")
    return OfTask(task_id, None if at is None else _instant(at))


def _instant(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        given = None
    if given is None or given.tzinfo is None:
        advice = "give ISO 8601 with an offset, such as 2030-01-01T12:00:00Z"
        raise click.UsageError(f"--at {shown(text)} is not an instant: {advice}.")
    if not EARLIEST <= given < LATEST:
        raise click.UsageError(f"--at {shown(text)} is out of reach: give an instant from 1970 to 9998.")
    return given


def as_json(explanation: Explanation) -> str:
    """The data, as the API shows it."""
    return msgspec.json.format(msgspec.json.encode(explanation)).decode()


def as_text(explanation: Explanation) -> str:
    """The sentences, each with the rule that decided and the events that tell it."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield explanation.summary
    yield ""
    facts = (
        ("verdict", explanation.verdict),
        ("task", explanation.task_id),
        ("execution", explanation.execution_id),
        ("instant", explanation.at),
        ("late by", _lateness(explanation.lateness_ms)),
        ("before", explanation.previous),
        ("after", explanation.next),
    )
    for name, value in facts:
        if value is not None:
            yield f"{name:<10} {wording.instant(value) if isinstance(value, datetime) else value}"
    for statement in explanation.statements:
        yield ""
        yield from _statement(statement)


def _lateness(milliseconds: int | None) -> str | None:
    return wording.span(timedelta(milliseconds=milliseconds)) if milliseconds else None


def _statement(statement: Statement) -> Iterator[str]:
    yield f"- {statement.text}"
    yield f"  rule: {_rule(statement.rule)}"
    for event in statement.events:
        yield f"  event: {_event(event)}"


def _rule(rule: Rule) -> str:
    """Most policies name themselves in what they say."""
    return rule.text if rule.text.startswith(f"{rule.name} ") else f"{rule.name}: {rule.text}"


def _event(event: Event) -> str:
    at, why = wording.instant(event.at), f": {event.reason}" if event.reason else ""
    place = f"{event.position} {event.topic}, version {event.version} of {event.stream}"
    return f"{place}, {at} by {event.actor}{why}"
