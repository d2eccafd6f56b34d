"""What the HTTP layer asks, as protocols; `interfaces.bootstrap` makes them real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from application.events import EventFilter, EventPage, Origin
    from application.explanation.account import Explanation
    from application.explanation.occurrences import Window
    from application.past.moment import Moment
    from application.revisions import Compared, Revision
    from application.what_if.comparing import Accounts
    from application.what_if.question import Question
    from application.what_if.question import Window as SimulatedWindow
    from projections.views import Figures, Listing, Paging, ResultQuery, ResultView, TaskQuery, TaskView


class Queries(Protocol):
    """The read models. Raises `psycopg.OperationalError` when the database is away."""

    async def task(self, namespace: str, task_id: UUID, /) -> TaskView | None:
        """A task, or None."""
        ...

    async def tasks(self, query: TaskQuery, paging: Paging, /) -> Listing[TaskView]:
        """One page of tasks. Raises `projections.reader.BadCursor`, a ValueError."""
        ...

    async def results(self, query: ResultQuery, paging: Paging, /) -> Listing[ResultView]:
        """One page of results. Raises `projections.reader.BadCursor`, a ValueError."""
        ...

    async def result(self, namespace: str, result_id: UUID, /) -> ResultView | None:
        """A result, or None."""
        ...

    async def figures(self, now: datetime, /) -> Figures:
        """The specification's metrics."""
        ...


class Explainer(Protocol):
    """Explains from the log. Raises `application.ports.LogUnavailable`."""

    async def task(self, namespace: str, task_id: UUID, at: datetime | None, /) -> Explanation:
        """An instant of a task, or (None) where it stands now. Raises `domain.errors.TaskNotFound`."""
        ...

    async def execution(self, namespace: str, execution: UUID, /) -> Explanation:
        """What became of an execution. Raises `domain.errors.ExecutionNotFound`."""
        ...


class Occurrences(Protocol):
    """The nominal instants of tasks. Raises what `Queries` and `Explainer` raise."""

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, /
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`. Raises `domain.errors.TaskNotFound`."""
        ...


class Events(Protocol):
    """The log, page by page. Raises `application.ports.LogUnavailable`."""

    async def head(self) -> int:
        """The position of the newest event; 0 when there is none."""
        ...

    async def page(self, wanted: EventFilter, after: int, limit: int, until: int = ..., /) -> EventPage:
        """Events that match, after a position and up to `until`; looks at a bounded number of events."""
        ...

    async def of_stream(self, stream: UUID, after: int, limit: int, /) -> EventPage:
        """Events of a stream after a version."""
        ...

    async def origin(self, stream: UUID, /) -> Origin | None:
        """What a stream is about, or None."""
        ...


class Revisions(Protocol):
    """Definitions that tasks had. Raises `domain.errors.TaskNotFound` and what `Explainer` raises."""

    async def all(self, namespace: str, task_id: UUID, /) -> Sequence[Revision]:
        """Every revision of a task, the first one first."""
        ...

    async def one(self, namespace: str, task_id: UUID, number: int, /) -> Revision:
        """One of them. Raises `domain.errors.RevisionNotFound`."""
        ...

    async def compare(self, namespace: str, task_id: UUID, old: int | None, new: int | None, /) -> Compared:
        """What differs from one (None: the one before) to another (None: the latest). Raises as `one`."""
        ...


class Past(Protocol):
    """What `Queries` and `Occurrences` answered at an earlier moment, told by the log.

    Raises `application.ports.LogUnavailable`, and `psycopg.OperationalError` when the database is away.
    """

    async def at(self, instant: datetime, /) -> Moment:
        """The moment of an instant. Raises `application.past.moment.NotYet`."""
        ...

    async def after(self, position: int, /) -> Moment:
        """The moment right after an event. Raises `application.past.moment.NotYet`."""
        ...

    async def task(self, namespace: str, task_id: UUID, moment: Moment, /) -> TaskView | None:
        """A task; None: there was none yet."""
        ...

    async def tasks(self, query: TaskQuery, paging: Paging, moment: Moment, /) -> Listing[TaskView]:
        """One page of tasks, not by `next_run`.

        Raises `projections.reader.BadCursor` and `application.past.moment.TooMuchHistory`.
        """
        ...

    async def figures(self, moment: Moment, /) -> Figures:
        """The specification's metrics. Raises `application.past.moment.TooMuchHistory`."""
        ...

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, moment: Moment, /
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`.

        Raises `domain.errors.TaskNotFound` and `application.past.moment.TooMuchHistory`.
        """
        ...


class Simulator(Protocol):
    """What would have happened, or will.

    Raises `TaskNotFound`, `Inadmissible`, `application.past.moment.NotYet`, `LogUnavailable` and
    `application.what_if.question.TooMuchToSimulate`.
    """

    async def past(self, question: Question, window: SimulatedWindow, /) -> Accounts:
        """A window of the past, as it was and as it would have been."""
        ...

    async def future(self, question: Question, window: SimulatedWindow, /) -> Accounts:
        """A window of the future, as it is to be and as it would be."""
        ...
