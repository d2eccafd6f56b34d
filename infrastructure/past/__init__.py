"""Reads the log as it was at an earlier moment."""

from infrastructure.past.reading import (
    MOST_EVENTS,
    MOST_TASK_EVENTS,
    PostgresPast,
    outcome_entries,
    task_entries,
)

__all__ = ["MOST_EVENTS", "MOST_TASK_EVENTS", "PostgresPast", "outcome_entries", "task_entries"]
