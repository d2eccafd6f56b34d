"""The JSON of explanations and of a task's occurrences."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from application.explanation import account, occurrences


class ExplainingEvent(Struct, frozen=True, kw_only=True):
    """An event of the log that a statement rests on."""

    position: Annotated[int, Meta(description="Its place in the log.")]
    topic: Annotated[str, Meta(description="What kind of event it is.")]
    stream: Annotated[UUID, Meta(description="The task or the execution that it is about.")]
    version: Annotated[int, Meta(description="Its number in that stream.")]
    at: Annotated[datetime, Meta(description="When it was decided.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]


class DecidingRule(Struct, frozen=True, kw_only=True):
    """The rule or policy that decided."""

    name: Annotated[str, Meta(description="Stable; a policy of the task has the name of its field.")]
    text: Annotated[str, Meta(description="What it says; of a policy of the task, its values.")]


class Statement(Struct, frozen=True, kw_only=True):
    """One thing that is known."""

    code: Annotated[str, Meta(description="Stable name of what is said.")]
    text: Annotated[str, Meta(description="The same in words.")]
    rule: DecidingRule
    events: list[ExplainingEvent]


class Explanation(Struct, frozen=True, kw_only=True):
    """What happened at an instant of a task, or did not, and why."""

    task_id: UUID
    execution_id: Annotated[UUID | None, Meta(description="null: no occurrence is spoken of.")]
    at: Annotated[datetime | None, Meta(description="The instant; null: the task as it stands now.")]
    verdict: Annotated[
        Literal[
            "pending",
            "running",
            "waiting",
            "succeeded",
            "failed",
            "skipped",
            "cancelled",
            "expected",
            "overdue",
            "paused",
            "withdrawn",
            "unaccounted",
            "no_occurrence",
            "scheduled",
            "over",
        ],
        Meta(description="What it comes to, in one word."),
    ]
    summary: Annotated[str, Meta(description="What it comes to, in one sentence.")]
    lateness_ms: Annotated[
        int | None,
        Meta(description="How long after its instant the first call was sent; null: none is known to be."),
    ]
    previous: Annotated[datetime | None, Meta(description="The nearest occurrence before.")]
    next: Annotated[datetime | None, Meta(description="The nearest occurrence after.")]
    statements: Annotated[list[Statement], Meta(description="In the order in which it happened.")]

    @classmethod
    def of(cls, explanation: account.Explanation) -> Explanation:
        """An explanation as it is shown."""
        return msgspec.convert(explanation, cls, from_attributes=True)


class Occurrence(Struct, frozen=True, kw_only=True):
    """A nominal instant of a task and what came of it."""

    due_at: datetime
    execution_id: UUID
    outcome: Annotated[
        str,
        Meta(
            description="A status of the ledger (running, succeeded, failed, skipped, cancelled, pending), "
            "or: expected (not due yet), overdue (due and not claimed yet), paused, withdrawn (the task was "
            "cancelled or rescheduled before it was claimed), unaccounted (must never happen)."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why, where the outcome does not say it all.")]


class OccurrenceWindow(Struct, frozen=True, kw_only=True):
    """Nominal instants of a task, in order."""

    items: list[Occurrence]
    start: Annotated[datetime, Meta(description="`from`: the first instant that may be listed.")]
    end: Annotated[datetime, Meta(description="`to`: the first instant that is not listed any more.")]
    next_from: Annotated[datetime | None, Meta(description="`from` of the next page; null: no more.")]

    @classmethod
    def of(cls, window: occurrences.Window) -> OccurrenceWindow:
        """A window as it is shown."""
        return msgspec.convert(window, cls, from_attributes=True)
