"""Every event. Facts carry what was decided, so that replay never computes it again.

A topic is the stored name of a fact: it never changes, fields are only ever added, with a default, and a
changed meaning is a new version with an upcaster. `tests/golden/` keeps bytes of every version.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field

from domain.definition import Definition


class Answered(Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="answered"):
    """The server answered.

    `headers` have lower-case names; repeated ones are joined by a comma and a space, those of `set-cookie`,
    which may hold commas, by a line feed.
    """

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    truncated: bool = False


class Unanswered(Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="unanswered"):
    """No usable answer: `error` says why in one sentence; `retryable` whether another attempt may help.

    `sent` False: the request has certainly not reached the target, not even in part.
    """

    error: str
    retryable: bool = True
    sent: bool = True


type Answer = Answered | Unanswered


class Attempt(Struct, frozen=True, gc=False, kw_only=True):
    """One call: its number (from 1), when the request was sent, how long it took and what came back."""

    number: int
    started_at: datetime
    duration_ms: int
    answer: Answer


class Fact(Struct, frozen=True, gc=False, kw_only=True):
    """`at` is the instant of the decision, by the clock of the one who decided."""

    topic: ClassVar[str]

    at: datetime


class TaskRedacted(Fact, frozen=True, kw_only=True):
    """The payloads, headers and bodies of a task that is over were erased, all of them."""

    topic: ClassVar[str] = "task.redacted.v1"


class Rewritten(Struct, frozen=True, gc=False, array_like=True):
    """An event by its place, and the SHA-256 (hex) of the state that it has from now on."""

    position: int
    stream: UUID
    sha256: str


class EventsRedacted(Fact, frozen=True, kw_only=True):
    """These events were rewritten in the same transaction, to redact `task_id`."""

    topic: ClassVar[str] = "events.redacted.v1"

    task_id: UUID
    rewritten: tuple[Rewritten, ...]


type OccurrenceKind = Literal["scheduled", "manual", "backfill"]
type SkippedBy = Literal["catch_up", "pause", "overlap", "change"]
type Outcome = Literal["succeeded", "failed"]


class TaskCreated(Fact, frozen=True, kw_only=True):
    """A task was accepted; it is first due at `next_run_at`."""

    topic: ClassVar[str] = "task.created.v1"

    namespace: str
    definition: Definition
    next_run_at: datetime


class TaskUpdated(Fact, frozen=True, kw_only=True):
    """The definition was replaced. `next_run_at` None: the trigger, and so the next run, is unchanged.

    `runs` is how many runs count against `max_runs` at a new next run; `rolled_back_to` is the number of the
    revision that the definition was taken from; unset, and not stored: it was given.
    """

    topic: ClassVar[str] = "task.updated.v1"

    definition: Definition
    next_run_at: datetime | None
    runs: int = 0
    rolled_back_to: int | UnsetType = UNSET


class TaskPaused(Fact, frozen=True, kw_only=True):
    """No further occurrence starts until the task is resumed; the next run is kept. `note` says why."""

    topic: ClassVar[str] = "task.paused.v1"

    note: str | None = None


class TaskResumed(Fact, frozen=True, kw_only=True):
    """The task fires again, from the next run that it kept; catch-up handles what the pause missed."""

    topic: ClassVar[str] = "task.resumed.v1"


class TaskCancelled(Fact, frozen=True, kw_only=True):
    """No further occurrence starts; `reason` says why when no user asked for it."""

    topic: ClassVar[str] = "task.cancelled.v1"

    reason: str | None = None


class TaskCompleted(Fact, frozen=True, kw_only=True):
    """The last occurrence is over: the one of a one-off, the last of `max_runs`, or the last to `end_at`."""

    topic: ClassVar[str] = "task.completed.v1"

    outcome: Outcome
    execution_id: UUID


class TaskFailuresCounted(Fact, frozen=True, kw_only=True):
    """So many executions have failed in a row, `execution_id` being the last of them; 0: it succeeded."""

    topic: ClassVar[str] = "task.failures_counted.v1"

    failures: int
    execution_id: UUID


class Occurrence(Struct, frozen=True, gc=False, kw_only=True):
    """One planned start of a task, with what its ledger row needs to be read alone.

    `fire_at` is when its call is to be sent, None: at `due_at`. `run` counts the scheduled occurrences that
    were started or queued since the trigger last changed, this one included if it is one of them.
    """

    task_id: UUID
    task_version: int
    task_name: str
    namespace: str
    due_at: datetime
    kind: OccurrenceKind = "scheduled"
    fire_at: datetime | None = None
    run: int = 0

    @property
    def send_at(self) -> datetime:
        """When its call is to be sent; what is sent later is late."""
        return self.fire_at or self.due_at


class ExecutionRequested(Fact, frozen=True, kw_only=True):
    """A user requests a run now, or a past occurrence. A scheduler claims it when it can."""

    topic: ClassVar[str] = "execution.requested.v1"

    occurrence: Occurrence


class ExecutionQueued(Fact, frozen=True, kw_only=True):
    """A scheduled occurrence waits until the run `behind` which it stands is over, and starts then.

    `next_run_at` and `next_fire_at` are as in a start.
    """

    topic: ClassVar[str] = "execution.queued.v1"

    occurrence: Occurrence
    behind: UUID
    next_run_at: datetime | None
    next_fire_at: datetime | None = None


class ExecutionStarted(Fact, frozen=True, kw_only=True):
    """The claim of an occurrence and of its first attempt; `next_run_at` is the task's next run.

    `next_fire_at` is when the call of that one is to be sent, None: at `next_run_at`.
    """

    topic: ClassVar[str] = "execution.started.v1"

    occurrence: Occurrence
    node: str
    lease_until: datetime
    next_run_at: datetime | None
    next_fire_at: datetime | None = None


class AttemptFailed(Fact, frozen=True, kw_only=True):
    """An attempt failed and another one follows at `retry_at`; the lease is given back.

    `unmet` is what the success policy asks for and an answer lacked whose status it admits.
    """

    topic: ClassVar[str] = "execution.attempt_failed.v1"

    task_id: UUID
    attempt: Attempt
    retry_at: datetime
    unmet: str | None = None


class AttemptStarted(Fact, frozen=True, kw_only=True):
    """The claim of a retry, or a claim renewed because the definition changed before the call was sent."""

    topic: ClassVar[str] = "execution.attempt_started.v1"

    task_id: UUID
    task_version: int
    number: int
    node: str
    lease_until: datetime


class ExecutionTakenOver(Fact, frozen=True, kw_only=True):
    """`node` claims attempt `number` because `lost_by` let its lease pass: what that one did is unknown."""

    topic: ClassVar[str] = "execution.taken_over.v1"

    task_id: UUID
    task_version: int
    number: int
    node: str
    lost_by: str
    lease_until: datetime


class ExecutionSucceeded(Fact, frozen=True, kw_only=True):
    """An attempt succeeded: the execution is over."""

    topic: ClassVar[str] = "execution.succeeded.v1"

    task_id: UUID
    attempt: Attempt


class ExecutionFailed(Fact, frozen=True, kw_only=True):
    """No attempt succeeded and none follows; `attempt` None: the outcome of the last one is unknown.

    `lapsed`: all outcomes are known, and the next attempt may not begin any more.
    `unmet` is as in `AttemptFailed`.
    """

    topic: ClassVar[str] = "execution.failed.v1"

    task_id: UUID
    attempt: Attempt | None
    reason: str
    unmet: str | None = None
    lapsed: bool = False


class ExecutionSkipped(Fact, frozen=True, kw_only=True):
    """An occurrence that will not run, and why; `next_run_at` and `next_fire_at` are as in a start.

    `by` is what decided (None in facts of older releases), `behind` the run that it would have overlapped.
    """

    topic: ClassVar[str] = "execution.skipped.v1"

    occurrence: Occurrence
    reason: str
    next_run_at: datetime | None
    next_fire_at: datetime | None = None
    by: SkippedBy | None = None
    behind: UUID | None = None


class ExecutionCancelled(Fact, frozen=True, kw_only=True):
    """An execution that will make no further attempt, and why.

    `interrupted`: an attempt was claimed, so its call may have been under way; what it did is unknown.
    `replaced_by`: the overlap policy ended it in favour of that execution.
    """

    topic: ClassVar[str] = "execution.cancelled.v1"

    task_id: UUID
    reason: str
    interrupted: bool = False
    replaced_by: UUID | None = None


class IdempotencyKeyUsed(Fact, frozen=True, kw_only=True):
    """A client's key stands for the task, or the execution, that it created.

    `digest` is a hash of what was asked for: the body of a new task, or which task to run. The key of a
    request for many tasks stands for all that it created: one of `task_ids` for each that was asked for,
    None: that one was not created; `task_id` is the first.
    """

    topic: ClassVar[str] = "idempotency.key_used.v1"

    key: str
    namespace: str
    task_id: UUID
    digest: str
    execution_id: UUID | None = None
    task_ids: tuple[UUID | None, ...] = ()


type TaskFact = (
    TaskCreated
    | TaskUpdated
    | TaskPaused
    | TaskResumed
    | TaskCancelled
    | TaskCompleted
    | TaskFailuresCounted
    | TaskRedacted
)
type ExecutionFact = (
    ExecutionRequested
    | ExecutionQueued
    | ExecutionStarted
    | AttemptFailed
    | AttemptStarted
    | ExecutionTakenOver
    | ExecutionSucceeded
    | ExecutionFailed
    | ExecutionSkipped
    | ExecutionCancelled
)
type PlacingFact = ExecutionStarted | ExecutionQueued | ExecutionSkipped
"""The facts that set the next run of a task, when the occurrence is a scheduled one."""
type AnyFact = TaskFact | ExecutionFact | IdempotencyKeyUsed | EventsRedacted
